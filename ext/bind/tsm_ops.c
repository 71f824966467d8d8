/* tsm_ops.c - the primitives on processes: send, exit, link, monitor, alias. */
#include "bind/tsm_bind.h"

#define FAST(name, fn, doc) \
    {name, (PyCFunction)(void (*)(void))fn, METH_FASTCALL | METH_KEYWORDS, doc}

/* ---- send ---- */

static int
one_flag(PyObject* const* values, PyObject* kwnames, const char* flag, const char* what, bool* out)
{
    Py_ssize_t named = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);
    for (Py_ssize_t i = 0; i < named; i++) {
        PyObject* name = PyTuple_GET_ITEM(kwnames, i);
        if (PyUnicode_CompareWithASCIIString(name, flag) != 0) {
            PyErr_Format(PyExc_TypeError, "%s got an unexpected argument %R", what, name);
            return -1;
        }
        int truth = PyObject_IsTrue(values[i]);
        if (truth < 0) {
            return -1;
        }
        *out = truth != 0;
    }
    return 0;
}

tsm_sig_t*
tsm_message_new(PyObject* message, uint64_t alias, bool priority)
{
    PyObject* copy = tsm_copy(message, "message");
    if (copy == NULL) {
        return NULL;
    }
    tsm_sig_t* sig = tsm_sig_new(TSM_SIG_MESSAGE);
    if (sig == NULL) {
        Py_DECREF(copy);
        PyErr_NoMemory();
        return NULL;
    }
    if (TSM_UNLIKELY(copy != message)) {
        tsm_limits_sent(copy);
    }
    sig->term = copy;
    sig->ref = alias;
    sig->flags = priority ? TSM_SIGF_PRIORITY : 0;
    return sig;
}

/* A process that is dead sends nothing any more. */
bool
tsm_caller_is_dead(void)
{
    tsm_proc_t* p = tsm_self == NULL ? NULL : tsm_worker_proc(tsm_self);
    return p != NULL && (p->flags & TSM_PF_DEAD) != 0;
}

/* Sends sig in the name of the caller, unless that died while sig was being made: what a
 * process sends never comes after its exit. Takes sig. */
PyObject*
tsm_post(tsm_pid_t pid, tsm_sig_t* sig)
{
    tsm_worker_t* w = tsm_self;
    tsm_proc_t* me = w == NULL ? NULL : tsm_worker_proc(w);
    bool dead = false;
    int rc = TSM_OK;
    if (me != NULL && !tsm_in_runtime(w)) {
        tsm_op_begin(w);
        dead = (me->flags & TSM_PF_DEAD) != 0;
        tsm_charge(w, 1);
        if (TSM_LIKELY(!dead)) {
            rc = tsm_signal_any(pid, sig);
        } else {
            tsm_bury(sig);
        }
        tsm_op_end(w);
    } else {
        rc = tsm_signal_any(pid, sig);
    }
    if (TSM_UNLIKELY(tsm_has_buried())) {
        tsm_flush();
    }
    if (TSM_UNLIKELY(rc == TSM_E_FULL)) {
        return tsm_post_full(pid, sig);
    }
    return TSM_UNLIKELY(dead) ? tsm_raise_killed() : Py_NewRef(Py_None);
}

PyDoc_STRVAR(send_doc, "send(dest, message, /, *, priority=False)\n--\n\n"
"Send message to dest; returns at once, also when dest is dead. Only to a process spawned\n"
"with on_full=\"wait\" whose queue is full it waits for room.\n\n"
"dest is a Pid, an alias Ref, a registered name, or (name, node). The message is copied\n"
"unless it is deeply immutable (numbers, str, bytes, Pids, tuples of them, functions,\n"
"classes); see share() and move(). With priority=True a receiver that opted in (alias or monitor made with\n"
"priority=True) gets it before all ordinary messages. Callable from any thread.\n\n"
"Raises:\n"
"    NoProcess: dest is a name nobody has registered.\n"
"    TypeError: The message holds something that cannot be copied (the text names the way to\n"
"        it, and nothing is sent), or dest is no address.\n"
"    QueueFull: dest has max_queue messages waiting and refuses more (on_full=\"reject\"), or\n"
"        the caller cannot wait for it (on_full=\"wait\"); see SpawnOptions.\n\n"
"Source: erlang:send/2,3.");

PyObject*
tsm_send(PyObject* Py_UNUSED(m), PyObject* const* args, Py_ssize_t n, PyObject* kwnames)
{
    tsm_pid_t pid;
    uint64_t alias;
    bool priority = false;
    if (TSM_UNLIKELY(n != 2)) {
        return PyErr_Format(PyExc_TypeError, "send() takes a destination and a message (%zd given)", n);
    }
    if (TSM_UNLIKELY(kwnames != NULL)
        && one_flag(args + 2, kwnames, "priority", "send()", &priority) < 0) {
        return NULL;
    }
    if (TSM_UNLIKELY(tsm_caller_is_dead())) {
        return tsm_raise_killed();
    }
    if (TSM_UNLIKELY(!tsm_check_caller())) {
        return NULL;
    }
    if (tsm_resolve(args[0], "send()", &pid, &alias) < 0) {
        return NULL;
    }
    tsm_sig_t* sig = tsm_message_new(args[1], alias, priority);
    if (sig == NULL) {
        return NULL;
    }
    sig->flags |= TSM_SIGF_ASKS;
    return tsm_post(pid, sig);
}

/* ---- exit signals ---- */

/* To oneself the signal acts at once: a process that does not trap exits goes no further. */
static PyObject*
exit_self(PyObject* reason)
{
    tsm_proc_t* p = tsm_begin("exit()");
    tsm_sig_t* sig = p == NULL ? NULL : tsm_sig_new(TSM_SIG_EXIT);
    if (sig == NULL) {
        Py_DECREF(reason);
        if (p == NULL) {
            return NULL;
        }
        PyErr_NoMemory();
        return tsm_done(NULL);
    }
    sig->term = reason;
    sig->from = tsm_proc_pid(p);
    (void)tsm_signal_any(tsm_proc_pid(p), sig);
    (void)tsm_proc_service_owner(p);
    return tsm_done(Py_NewRef(Py_None));
}

/* Takes reason. */
static PyObject*
exit_pid(tsm_pid_t pid, PyObject* reason)
{
    tsm_proc_t* me = tsm_self == NULL ? NULL : tsm_worker_proc(tsm_self);
    if (!tsm_check_caller()) {
        Py_DECREF(reason);
        return NULL;
    }
    if (tsm_caller_is_dead()) {
        Py_DECREF(reason);
        return tsm_raise_killed();
    }
    if (me != NULL && tsm_proc_pid(me) == pid) {
        return exit_self(reason);
    }
    tsm_sig_t* sig = tsm_sig_new(TSM_SIG_EXIT);
    if (sig == NULL) {
        Py_DECREF(reason);
        return PyErr_NoMemory();
    }
    sig->term = reason;
    sig->from = me == NULL ? 0 : tsm_proc_pid(me);
    return tsm_post(pid, sig);
}

PyDoc_STRVAR(exit_doc, "exit(pid, reason, /)\n--\n\n"
"Send an exit signal to pid; returns at once.\n\n"
"A process that does not trap exits ends with reason, unless reason is \"normal\"; one that\n"
"traps receives Exit(sender, reason). \"kill\" ends it in any case, with reason \"killed\".\n"
"To oneself the signal acts at once. Callable from any thread.\n\n"
"Source: erlang:exit/2 (semantics: the exit signal table).");

static PyObject*
py_exit(PyObject* Py_UNUSED(m), PyObject* const* args, Py_ssize_t n)
{
    if (n != 2) {
        return PyErr_Format(PyExc_TypeError, "exit() takes a Pid and a reason (%zd given)", n);
    }
    tsm_pid_t pid = tsm_as_pid(args[0], "exit()");
    PyObject* reason = pid == 0 ? NULL : tsm_reason(args[1]);
    return reason == NULL ? NULL : exit_pid(pid, reason);
}

PyDoc_STRVAR(kill_doc, "kill(pid, /)\n--\n\n"
"End pid now, whatever it does; the same as exit(pid, \"kill\").\n\n"
"Its links and monitors fire with \"killed\" and its name is free, also while its thread still\n"
"sits in native code; see node_info()[\"occupied\"].");

static PyObject*
py_kill(PyObject* Py_UNUSED(m), PyObject* arg)
{
    tsm_pid_t pid = tsm_as_pid(arg, "kill()");
    return pid == 0 ? NULL : exit_pid(pid, Py_NewRef(tsm_bind.s_kill));
}

/* ---- links ---- */

PyDoc_STRVAR(link_doc, "link(pid, /)\n--\n\n"
"Link the calling process and pid: when one ends abnormally, so does the other, unless it\n"
"traps exits. Linking twice is linking once; linking to oneself does nothing.\n\n"
"Raises:\n"
"    NoProcess: pid is dead and the caller does not trap exits; a caller that does receives\n"
"        Exit(pid, \"noproc\") instead.\n\nSource: erlang:link/1.");

static PyObject*
py_link(PyObject* Py_UNUSED(m), PyObject* arg)
{
    tsm_pid_t pid = tsm_as_pid(arg, "link()");
    tsm_proc_t* p = pid == 0 ? NULL : tsm_begin("link()");
    if (p == NULL) {
        return NULL;
    }
    int rc = tsm_link_owner(p, pid);
    if (rc == TSM_E_NOPROC) {
        if ((p->flags & TSM_PF_TRAP_EXIT) != 0) {
            rc = TSM_OK; /* the Exit message is in the inbox */
        } else {
            tsm_rel_t* rel = tsm_rel_find_owner(p, TSM_REL_LINK, pid);
            if (rel != NULL) {
                tsm_rel_take_owner(p, rel); /* the exit noproc on its way finds no link */
                tsm_rel_free(rel);
            }
        }
    }
    return tsm_done(rc < 0 ? tsm_raise(rc, "link()") : Py_NewRef(Py_None));
}

PyDoc_STRVAR(unlink_doc, "unlink(pid, /)\n--\n\n"
"Remove the link to pid, if there is one. After it returns no exit signal of that link takes\n"
"effect; an Exit message already in the mailbox stays.\n\nSource: erlang:unlink/1.");

static PyObject*
py_unlink(PyObject* Py_UNUSED(m), PyObject* arg)
{
    tsm_pid_t pid = tsm_as_pid(arg, "unlink()");
    tsm_proc_t* p = pid == 0 ? NULL : tsm_begin("unlink()");
    if (p == NULL) {
        return NULL;
    }
    /* What arrived before counts as before. */
    if (!tsm_inbox_is_empty(&p->inbox) && !tsm_proc_service_owner(p)) {
        return tsm_done(NULL);
    }
    int rc = tsm_unlink_owner(p, pid);
    return tsm_done(rc < 0 ? tsm_raise(rc, "unlink()") : Py_NewRef(Py_None));
}

/* ---- monitors and aliases ---- */

static int
alias_mode(PyObject* op, bool of_monitor)
{
    static const char* const names[] = {NULL, "explicit_unalias", "reply", "demonitor", "reply_demonitor"};
    if (op == NULL || op == Py_None) {
        return TSM_ALIAS_NONE;
    }
    for (int i = 1; PyUnicode_Check(op) && i < 5; i++) {
        bool allowed = i == TSM_ALIAS_EXPLICIT || (of_monitor ? i >= TSM_ALIAS_DEMONITOR : i == TSM_ALIAS_REPLY);
        if (allowed && PyUnicode_CompareWithASCIIString(op, names[i]) == 0) {
            return i;
        }
    }
    PyErr_Format(PyExc_ValueError, of_monitor
        ? "alias must be None, \"explicit_unalias\", \"demonitor\" or \"reply_demonitor\", not %R"
        : "mode must be \"explicit_unalias\" or \"reply\", not %R", op);
    return -1;
}

/* Messages that may match a new reference are younger than all that is here now. */
static void
mark(tsm_proc_t* p, uint64_t ref)
{
    if (!tsm_inbox_is_empty(&p->inbox)) {
        (void)tsm_proc_service_owner(p);
    }
    tsm_mark_owner(p, ref);
}

PyDoc_STRVAR(monitor_doc, "monitor(dest, /, *, alias=None, tag=None, priority=False)\n--\n\n"
"Watch dest: when it ends the caller receives Down(ref, pid, reason); at once, with reason\n"
"\"noproc\", when it is dead. Each call makes its own monitor.\n\n"
"Args:\n"
"    dest: Pid, registered name, or (name, node); Down.pid is (name, node) for the latter two.\n"
"    alias: Makes the Ref an address for send, too: \"explicit_unalias\" until unalias,\n"
"        \"demonitor\" until demonitor or Down, \"reply_demonitor\" until the first message\n"
"        through it, which also removes the monitor (the way calls are built: a late reply\n"
"        never reaches the mailbox).\n"
"    tag: Any value; Down.tag instead of \"DOWN\".\n"
"    priority: The Down is a priority message.\n\n"
"Returns:\n    Ref: for demonitor, receive(ref) and, with alias, send.\n\n"
"Source: erlang:monitor/2,3.");

static PyObject*
py_monitor(PyObject* Py_UNUSED(m), PyObject* args, PyObject* kwargs)
{
    static char* names[] = {"", "alias", "tag", "priority", NULL};
    PyObject *dest, *alias = NULL, *tag = Py_None;
    int priority = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|$OOp:monitor", names, &dest, &alias, &tag, &priority)) {
        return NULL;
    }
    int mode = alias_mode(alias, true);
    tsm_pid_t pid = 0;
    PyObject* name = NULL;
    if (mode < 0) {
        return NULL;
    }
    if (PyTuple_CheckExact(dest) && PyTuple_GET_SIZE(dest) == 2) {
        dest = PyTuple_GET_ITEM(dest, 0);
    }
    if (PyUnicode_CheckExact(dest)) {
        name = dest;
        pid = tsm_name_find_any(name, tsm_name_hash(name));
    } else if ((pid = tsm_as_pid(dest, "monitor()")) == 0) {
        return NULL;
    }
    PyObject* tag_copy = tag == Py_None ? NULL : tsm_copy(tag, "tag");
    if (tag != Py_None && tag_copy == NULL) {
        return NULL;
    }
    tsm_proc_t* p = tsm_begin("monitor()");
    if (p == NULL) {
        Py_XDECREF(tag_copy);
        return NULL;
    }
    uint64_t ref = tsm_ref_new();
    mark(p, ref);
    if ((p->flags & TSM_PF_DEAD) != 0) { /* of a signal among the mail */
        (void)(tag_copy != NULL && tsm_bury_term(tag_copy));
        return tsm_done(NULL);
    }
    int rc = tsm_monitor_owner(p, pid, (uint16_t)mode, priority != 0, tag_copy, Py_XNewRef(name), &ref);
    if (rc < 0) {
        (void)(tag_copy != NULL && tsm_bury_term(tag_copy));
        Py_XDECREF(name);
        return tsm_done(tsm_raise(rc, "monitor()"));
    }
    return tsm_done(tsm_ref_object(ref, tsm_proc_pid(p)));
}

static int
own_ref(PyObject* op, tsm_proc_t* p, const char* what, uint64_t* id)
{
    if (!tsm_ref_check(op)) {
        PyErr_Format(PyExc_TypeError, "%s: a Ref is needed, not %.200s", what, Py_TYPE(op)->tp_name);
        return -1;
    }
    if (((TsmRef*)op)->owner != tsm_proc_pid(p)) {
        (void)tsm_raise(TSM_E_NOT_OWNER, what);
        return -1;
    }
    *id = ((TsmRef*)op)->id;
    return 0;
}

PyDoc_STRVAR(demonitor_doc, "demonitor(ref, /, *, flush=False)\n--\n\n"
"Remove the monitor. After it returns no new Down of it is delivered; with flush=True one\n"
"already in the mailbox is removed, too.\n\n"
"Returns:\n    bool: True when it was removed in time, False when it had fired or was unknown.\n\n"
"Raises:\n    NotOwner: The monitor belongs to another process, where it stays.\n\n"
"Source: erlang:demonitor/2 with info.");

static PyObject*
py_demonitor(PyObject* Py_UNUSED(m), PyObject* const* args, Py_ssize_t n, PyObject* kwnames)
{
    bool flush = false, cancelled = false;
    uint64_t id;
    if (n != 1) {
        return PyErr_Format(PyExc_TypeError, "demonitor() takes one Ref (%zd given)", n);
    }
    if (one_flag(args + 1, kwnames, "flush", "demonitor()", &flush) < 0) {
        return NULL;
    }
    tsm_proc_t* p = tsm_begin("demonitor()");
    if (p == NULL) {
        return NULL;
    }
    if (own_ref(args[0], p, "demonitor()", &id) < 0) {
        return tsm_done(NULL);
    }
    if (!tsm_inbox_is_empty(&p->inbox) && !tsm_proc_service_owner(p)) {
        return tsm_done(NULL);
    }
    if (flush && (p->flags & TSM_PF_SCANNING) != 0) {
        PyErr_SetString(PyExc_RuntimeError, "demonitor(flush=True): not inside a predicate of receive");
        return tsm_done(NULL);
    }
    int rc = tsm_demonitor_owner(p, id, flush, &cancelled);
    return tsm_done(rc < 0 ? tsm_raise(rc, "demonitor()") : PyBool_FromLong(cancelled));
}

PyDoc_STRVAR(alias_doc, "alias(*, mode='explicit_unalias', priority=False)\n--\n\n"
"Make a Ref that others can send to in place of the caller's Pid, until unalias, or with\n"
"mode=\"reply\" until the first message through it. Later messages to it vanish.\n\n"
"With priority=True messages sent to it with priority=True come before all ordinary ones.\n\n"
"Source: erlang:alias/1.");

static PyObject*
py_alias(PyObject* Py_UNUSED(m), PyObject* args, PyObject* kwargs)
{
    static char* names[] = {"mode", "priority", NULL};
    PyObject* mode_op = NULL;
    int priority = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|$Op:alias", names, &mode_op, &priority)) {
        return NULL;
    }
    int mode = mode_op == NULL ? TSM_ALIAS_EXPLICIT : alias_mode(mode_op, false);
    if (mode == TSM_ALIAS_NONE) {
        PyErr_SetString(PyExc_ValueError, "mode must be \"explicit_unalias\" or \"reply\"");
        return NULL;
    }
    tsm_proc_t* p = mode < 0 ? NULL : tsm_begin("alias()");
    if (p == NULL) {
        return NULL;
    }
    uint64_t ref;
    int rc = tsm_alias_owner(p, (uint16_t)mode, priority != 0, &ref);
    if (rc < 0) {
        return tsm_done(tsm_raise(rc, "alias()"));
    }
    mark(p, ref);
    return tsm_done(tsm_ref_object(ref, tsm_proc_pid(p)));
}

PyDoc_STRVAR(unalias_doc, "unalias(ref, /)\n--\n\n"
"Stop the alias. Returns False when it was inactive already.\n\nSource: erlang:unalias/1.");

static PyObject*
py_unalias(PyObject* Py_UNUSED(m), PyObject* arg)
{
    if (!tsm_ref_check(arg)) {
        return PyErr_Format(PyExc_TypeError, "unalias(): a Ref is needed, not %.200s", Py_TYPE(arg)->tp_name);
    }
    tsm_proc_t* p = tsm_begin("unalias()");
    if (p == NULL) {
        return NULL;
    }
    uint64_t id = ((TsmRef*)arg)->id; /* another's is not found here: False, as in OTP */
    if ((!tsm_inbox_is_empty(&p->inbox) && !tsm_proc_service_owner(p))) {
        return tsm_done(NULL);
    }
    return tsm_done(PyBool_FromLong(tsm_unalias_owner(p, id)));
}

PyDoc_STRVAR(make_ref_doc, "make_ref()\n--\n\n"
"A fresh Ref, unique in the node. receive(ref) for the newest one skips all older mail.");

static PyObject*
py_make_ref(PyObject* Py_UNUSED(m), PyObject* Py_UNUSED(none))
{
    uint64_t ref = tsm_ref_new();
    tsm_proc_t* p = tsm_self == NULL ? NULL : tsm_worker_proc(tsm_self);
    if (p == NULL) {
        return tsm_ref_object(ref, 0);
    }
    if (tsm_begin("make_ref()") == NULL) {
        return NULL;
    }
    mark(p, ref);
    return tsm_done(tsm_ref_object(ref, tsm_proc_pid(p)));
}

/* ---- the calling process ---- */

PyDoc_STRVAR(current_pid_doc, "current_pid()\n--\n\nThe Pid of the calling process.\n\n"
"Raises:\n    NotInProcess: Called outside a process.\n\nSource: erlang:self/0.");

static PyObject*
py_current_pid(PyObject* Py_UNUSED(m), PyObject* Py_UNUSED(none))
{
    tsm_proc_t* p = tsm_here("current_pid()");
    return p == NULL ? NULL : tsm_pid_object(tsm_proc_pid(p));
}

PyDoc_STRVAR(trap_exit_doc, "trap_exit(flag, /)\n--\n\n"
"Receive exit signals as Exit messages (True) or act on them (False). Returns the old flag.\n"
"Judged when a signal is received, not when it was sent.\n\n"
"Source: erlang:process_flag(trap_exit, _).");

static PyObject*
py_trap_exit(PyObject* Py_UNUSED(m), PyObject* arg)
{
    if (!PyBool_Check(arg)) {
        return PyErr_Format(PyExc_TypeError, "trap_exit() takes True or False, not %R", arg);
    }
    bool flag = arg == Py_True;
    tsm_proc_t* p = tsm_begin("trap_exit()");
    if (p == NULL) {
        return NULL;
    }
    /* Signals that arrived before are judged by the old flag. */
    if (!tsm_inbox_is_empty(&p->inbox) && !tsm_proc_service_owner(p)) {
        return tsm_done(NULL);
    }
    bool old = (p->flags & TSM_PF_TRAP_EXIT) != 0;
    p->flags = flag ? p->flags | TSM_PF_TRAP_EXIT : p->flags & ~(uint32_t)TSM_PF_TRAP_EXIT;
    return tsm_done(PyBool_FromLong(old));
}

static PyObject*
py_set_priority(PyObject* Py_UNUSED(m), PyObject* arg)
{
    long priority = PyLong_AsLong(arg);
    tsm_proc_t* p = PyErr_Occurred() ? NULL : tsm_begin("set_priority()");
    if (p == NULL) {
        return NULL;
    }
    long old = p->priority;
    p->priority = (uint8_t)priority;
    return tsm_done(PyLong_FromLong(old));
}

PyDoc_STRVAR(reductions_doc, "reductions()\n--\n\n"
"Reductions the calling process has used so far: about one per call and loop turn of its\n"
"code and one per operation of the runtime.");

static PyObject*
py_reductions(PyObject* Py_UNUSED(m), PyObject* Py_UNUSED(none))
{
    tsm_proc_t* p = tsm_here("reductions()");
    if (p == NULL) {
        return NULL;
    }
    return PyLong_FromUnsignedLongLong(p->reds + (uint64_t)(tsm_det.slice_reds - tsm_budget_left(tsm_self)));
}

PyDoc_STRVAR(set_label_doc, "set_label(text, /)\n--\n\n"
"Name the calling process for reports and process_info; unlike a registered name it need\n"
"not be unique and is no address. None removes it.\n\nSource: proc_lib:set_label/1.");

static PyObject*
py_set_label(PyObject* Py_UNUSED(m), PyObject* arg)
{
    if (arg != Py_None && !PyUnicode_CheckExact(arg)) {
        return PyErr_Format(PyExc_TypeError, "set_label() takes a str, not %.200s", Py_TYPE(arg)->tp_name);
    }
    tsm_proc_t* p = tsm_begin("set_label()");
    if (p == NULL) {
        return NULL;
    }
    if (tsm_cold_owner(p) == NULL) {
        return tsm_done(PyErr_NoMemory());
    }
    if (p->cold->label != NULL && tsm_bury_term(p->cold->label) < 0) {
        return tsm_done(PyErr_NoMemory());
    }
    p->cold->label = arg == Py_None ? NULL : Py_NewRef(arg);
    return tsm_done(Py_NewRef(Py_None));
}

PyDoc_STRVAR(receive_doc, "receive(*match, timeout=None)\n--\n\n"
"Await the oldest message that matches; others stay, in order.\n\n"
"Args:\n"
"    match: Types, predicates (message -> bool), Refs; a message that any of them accepts\n"
"        matches; none given: any message. A Ref accepts the Down of that monitor, messages\n"
"        sent to that alias, and tuples whose first item is that Ref.\n"
"    timeout: Seconds from now, or None for ever. 0 looks at what is there and does not wait.\n\n"
"Returns:\n    The message; Exit and Down objects for signals.\n\n"
"Raises:\n    TimeoutError: No match in time.\n    NotInProcess: Awaited outside a process.\n\n"
"Suspends the calling process only. In a plain def use transom.sync.receive.\n\n"
"Source: Erlang's receive ... after.");

PyDoc_STRVAR(sleep_doc, "sleep(seconds, /)\n--\n\n"
"Await to suspend the calling process; messages wait meanwhile. sleep(0) lets others run.");

PyMethodDef tsm_ops_methods[] = {
    FAST("send", tsm_send, send_doc),
    FAST("receive", tsm_receive, receive_doc),
    FAST("_sync_receive", tsm_sync_receive, NULL),
    {"sleep", tsm_sleep, METH_O, sleep_doc},
    {"_sync_sleep", tsm_sync_sleep, METH_O, NULL},
    {"exit", (PyCFunction)(void (*)(void))py_exit, METH_FASTCALL, exit_doc},
    {"kill", py_kill, METH_O, kill_doc},
    {"link", py_link, METH_O, link_doc},
    {"unlink", py_unlink, METH_O, unlink_doc},
    {"monitor", (PyCFunction)(void (*)(void))py_monitor, METH_VARARGS | METH_KEYWORDS, monitor_doc},
    FAST("demonitor", py_demonitor, demonitor_doc),
    {"alias", (PyCFunction)(void (*)(void))py_alias, METH_VARARGS | METH_KEYWORDS, alias_doc},
    {"unalias", py_unalias, METH_O, unalias_doc},
    {"make_ref", py_make_ref, METH_NOARGS, make_ref_doc},
    {"current_pid", py_current_pid, METH_NOARGS, current_pid_doc},
    {"trap_exit", py_trap_exit, METH_O, trap_exit_doc},
    {"_set_priority", py_set_priority, METH_O, NULL},
    {"reductions", py_reductions, METH_NOARGS, reductions_doc},
    {"set_label", py_set_label, METH_O, set_label_doc},
    {NULL, NULL, 0, NULL},
};

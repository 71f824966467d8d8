/* tsm_ops.c - the primitives on processes: send, exit, link, monitor, alias. */
#include "bind/tsm_bind.h"
#include "bind/tsm_docs.h"
#include "proc/tsm_fault.h"

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

/* As tsm_post, where a fault may have the message sent twice. */
static PyObject*
post_faulty(tsm_pid_t pid, uint64_t alias, tsm_sig_t* sig, PyObject* message, bool priority)
{
    tsm_fault_send_begin();
    PyObject* done = tsm_post(pid, sig);
    if (!tsm_fault_send_again() || done == NULL) {
        return done;
    }
    Py_DECREF(done);
    tsm_sig_t* twin = tsm_message_new(message, alias, priority);
    if (twin == NULL) {
        return NULL;
    }
    twin->flags |= TSM_SIGF_ASKS;
    return tsm_post(pid, twin);
}

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
    if (TSM_UNLIKELY(tsm_fault_count != 0)) {
        return post_faulty(pid, alias, sig, args[1], priority);
    }
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

static PyObject*
py_kill(PyObject* Py_UNUSED(m), PyObject* arg)
{
    tsm_pid_t pid = tsm_as_pid(arg, "kill()");
    return pid == 0 ? NULL : exit_pid(pid, Py_NewRef(tsm_bind.s_kill));
}

/* ---- links ---- */

static PyObject*
link_to(tsm_pid_t pid, const char* what)
{
    tsm_proc_t* p = pid == 0 ? NULL : tsm_begin(what);
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
    return tsm_done(rc < 0 ? tsm_raise(rc, what) : Py_NewRef(Py_None));
}

static PyObject*
py_link(PyObject* Py_UNUSED(m), PyObject* arg)
{
    return link_to(tsm_as_pid(arg, "link()"), "link()");
}

/* _adopt(Pid or reference) -> Pid: a supervisor links what has been started for it. */
static PyObject*
py_adopt(PyObject* Py_UNUSED(m), PyObject* arg)
{
    tsm_pid_t pid = tsm_as_pid(arg, "what was started");
    return link_to(pid, "link()") == NULL ? NULL : tsm_pid_object(pid);
}

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

static PyObject*
py_current_pid(PyObject* Py_UNUSED(m), PyObject* Py_UNUSED(none))
{
    PyObject* home = NULL;
    if (tsm_self == NULL && PyContextVar_Get(tsm_bind.home_var, Py_None, &home) == 0 && home != Py_None) {
        PyObject* pid = PyObject_GetAttrString(home, "pid");
        Py_DECREF(home);
        return pid;
    }
    Py_XDECREF(home);
    tsm_proc_t* p = tsm_here("current_pid()");
    return p == NULL ? NULL : tsm_pid_object(tsm_proc_pid(p));
}

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

static PyObject*
py_reductions(PyObject* Py_UNUSED(m), PyObject* Py_UNUSED(none))
{
    tsm_proc_t* p = tsm_here("reductions()");
    if (p == NULL) {
        return NULL;
    }
    return PyLong_FromUnsignedLongLong(p->reds + (uint64_t)(tsm_det.slice_reds - tsm_budget_left(tsm_self)));
}

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

PyMethodDef tsm_ops_methods[] = {
    FAST("send", tsm_send, tsm_doc_send),
    FAST("receive", tsm_receive, tsm_doc_receive),
    FAST("_sync_receive", tsm_sync_receive, NULL),
    {"sleep", tsm_sleep, METH_O, tsm_doc_sleep},
    {"_sync_sleep", tsm_sync_sleep, METH_O, NULL},
    {"exit", (PyCFunction)(void (*)(void))py_exit, METH_FASTCALL, tsm_doc_exit},
    {"kill", py_kill, METH_O, tsm_doc_kill},
    {"link", py_link, METH_O, tsm_doc_link},
    {"_adopt", py_adopt, METH_O, NULL},
    {"unlink", py_unlink, METH_O, tsm_doc_unlink},
    {"monitor", (PyCFunction)(void (*)(void))py_monitor, METH_VARARGS | METH_KEYWORDS, tsm_doc_monitor},
    FAST("demonitor", py_demonitor, tsm_doc_demonitor),
    {"alias", (PyCFunction)(void (*)(void))py_alias, METH_VARARGS | METH_KEYWORDS, tsm_doc_alias},
    {"unalias", py_unalias, METH_O, tsm_doc_unalias},
    {"make_ref", py_make_ref, METH_NOARGS, tsm_doc_make_ref},
    {"current_pid", py_current_pid, METH_NOARGS, tsm_doc_current_pid},
    {"trap_exit", py_trap_exit, METH_O, tsm_doc_trap_exit},
    {"_set_priority", py_set_priority, METH_O, NULL},
    {"reductions", py_reductions, METH_NOARGS, tsm_doc_reductions},
    {"set_label", py_set_label, METH_O, tsm_doc_set_label},
    {NULL, NULL, 0, NULL},
};

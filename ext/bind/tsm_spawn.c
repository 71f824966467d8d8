/* tsm_spawn.c - making processes. */
#include "bind/tsm_bind.h"
#include "bind/tsm_docs.h"
#include "bind/tsm_start.h"

/* The code a call of fn would run, when fn is a plain function or method. */
static PyCodeObject*
code_of(PyObject* fn)
{
    if (PyMethod_Check(fn)) {
        fn = PyMethod_GET_FUNCTION(fn);
    }
    return PyFunction_Check(fn) ? (PyCodeObject*)PyFunction_GET_CODE(fn) : NULL;
}

/* args[0..n) positional, then the named ones: the coroutine, or (fn, args, kwargs). */
PyObject*
tsm_spawn_make_body(PyObject* fn, PyObject* const* args, Py_ssize_t n, PyObject* kwnames, uint32_t* flag)
{
    enum { SMALL = 8 };
    PyObject* small[SMALL];
    Py_ssize_t named = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);
    Py_ssize_t total = n + named;
    PyObject** copies = total <= SMALL ? small : PyMem_New(PyObject*, (size_t)total);
    PyObject* body = NULL;
    if (copies == NULL) {
        return PyErr_NoMemory();
    }
    if (tsm_copy_args(copies, args, total, kwnames) < 0) {
        goto out;
    }
    PyCodeObject* code = code_of(fn);
    bool coroutine = code != NULL && (code->co_flags & CO_COROUTINE) != 0;
    *flag = coroutine ? TSM_PF_COROUTINE : TSM_PF_THREADED;
    if (coroutine) {
        body = PyObject_Vectorcall(fn, copies, (size_t)n, kwnames);
    } else {
        PyObject* kwargs = named == 0 ? Py_NewRef(Py_None) : PyDict_New();
        PyObject* tuple = PyTuple_New(n);
        for (Py_ssize_t i = 0; tuple != NULL && i < n; i++) {
            PyTuple_SET_ITEM(tuple, i, Py_NewRef(copies[i]));
        }
        for (Py_ssize_t i = 0; kwargs != NULL && i < named; i++) {
            if (PyDict_SetItem(kwargs, PyTuple_GET_ITEM(kwnames, i), copies[n + i]) < 0) {
                Py_CLEAR(kwargs);
            }
        }
        if (tuple != NULL && kwargs != NULL) {
            body = PyTuple_Pack(3, fn, tuple, kwargs);
        }
        Py_XDECREF(tuple);
        Py_XDECREF(kwargs);
    }
    for (Py_ssize_t i = 0; i < total; i++) {
        Py_DECREF(copies[i]);
    }
out:
    if (copies != small) {
        PyMem_Free(copies);
    }
    return body;
}

void
tsm_spawn_drop_body(PyObject* body, uint32_t flag)
{
    PyObject* exc = PyErr_GetRaisedException();
    if (flag == TSM_PF_COROUTINE) { /* unstarted */
        PyObject* closed = PyObject_CallMethodNoArgs(body, tsm_bind.s_close);
        if (closed == NULL) {
            PyErr_Clear();
        }
        Py_XDECREF(closed);
    }
    Py_DECREF(body);
    PyErr_SetRaisedException(exc);
}

static int
set_name(tsm_proc_t* p, PyObject* name)
{
    int rc = tsm_name_register_any(name, tsm_name_hash(name), p, tsm_proc_pid(p));
    if (rc == TSM_E_NAME_TAKEN) {
        PyErr_Format(tsm_bind.name_taken, "spawn: the name %R is taken", name);
    } else if (rc < 0) {
        (void)tsm_raise(rc, "spawn");
    }
    return rc;
}

/* The relations a process is born with; nobody else knows child yet, so both sides are
 * written here. Memory for all of them is had before any is hooked in. */
static int
relate(tsm_proc_t* parent, tsm_proc_t* child, const tsm_spawn_options_t* options, tsm_spawned_t* out)
{
    enum { MOST = 6 };
    tsm_pid_t parent_pid = tsm_proc_pid(parent), child_pid = tsm_proc_pid(child);
    tsm_rel_t* rels[MOST] = {NULL};
    bool wanted[MOST] = {options->link, options->link, options->monitor, options->monitor,
                         options->start, options->start};
    for (int i = 0; i < MOST; i++) {
        if (wanted[i] && (rels[i] = tsm_alloc(TSM_SIG_BYTES)) == NULL) {
            while (i-- > 0) {
                tsm_free(rels[i], TSM_SIG_BYTES);
            }
            PyErr_NoMemory();
            return -1;
        }
    }
    if (options->link) {
        *rels[0] = (tsm_rel_t){.h = {.key = child_pid, .kind = TSM_REL_LINK}, .active = 1, .peer = child_pid};
        *rels[1] = (tsm_rel_t){.h = {.key = parent_pid, .kind = TSM_REL_LINK}, .active = 1, .peer = parent_pid};
        tsm_rel_insert_owner(parent, rels[0]);
        tsm_rel_insert_owner(child, rels[1]);
    }
    if (options->monitor) {
        uint64_t ref = out->ref = tsm_ref_new();
        *rels[2] = (tsm_rel_t){.h = {.key = ref, .kind = TSM_REL_MONITOR}, .active = 1, .peer = child_pid};
        *rels[3] = (tsm_rel_t){.h = {.key = ref, .kind = TSM_REL_MONITORED_BY}, .active = 1, .peer = parent_pid};
        tsm_rel_insert_owner(parent, rels[2]);
        tsm_rel_insert_owner(child, rels[3]);
    }
    if (options->start) {
        uint64_t ref = out->start_ref = tsm_ref_new();
        *rels[4] = (tsm_rel_t){.h = {.key = ref, .kind = TSM_REL_MONITOR}, .active = 1, .peer = child_pid};
        *rels[5] = (tsm_rel_t){.h = {.key = 0, .kind = TSM_REL_STARTER}, .active = 1, .peer = parent_pid, .unlink_id = ref};
        tsm_rel_insert_owner(parent, rels[4]);
        tsm_rel_insert_owner(child, rels[5]);
        child->flags |= TSM_PF_STARTING;
    }
    if (options->monitor || options->start) {
        if (!tsm_inbox_is_empty(&parent->inbox)) {
            (void)tsm_proc_service_owner(parent); /* older than the mark */
        }
        tsm_mark_owner(parent, options->start ? out->start_ref : out->ref);
    }
    return 0;
}

static int
prepare(tsm_proc_t* p, PyObject* body, uint32_t flag, PyObject* context, PyObject* origin,
        const tsm_spawn_options_t* options)
{
    p->body = body;
    if (flag == TSM_PF_COROUTINE) {
        tsm_hide_body(body);
    }
    p->flags = flag
               | (options->trap_exit ? TSM_PF_TRAP_EXIT : 0u)
               | (options->pinned ? TSM_PF_PINNED | TSM_PF_THREADED : 0u);
    p->priority = options->priority;
    p->context = context;
    if (options->label != NULL || origin != NULL) {
        if (tsm_cold_owner(p) == NULL) {
            Py_XDECREF(origin); /* its class is ours: no user code */
            PyErr_NoMemory();
            return -1;
        }
        p->cold->label = Py_XNewRef(options->label);
        p->cold->origin = origin;
    }
    if (TSM_UNLIKELY((options->max_heap | options->max_queue) != 0)
        && tsm_limits_set(p, options->max_heap, options->max_queue, options->on_full) < 0) {
        PyErr_NoMemory();
        return -1;
    }
    return options->name == NULL ? 0 : set_name(p, options->name);
}

/* A process that was never seen by anybody. */
static void
discard(tsm_proc_t* p)
{
    PyObject* body = p->body;
    uint32_t flag = p->flags & TSM_PF_COROUTINE;
    p->body = NULL;
    PyObject* exc = PyErr_GetRaisedException();
    Py_INCREF(tsm_bind.s_normal);
    tsm_proc_die_owner(p, tsm_bind.s_normal, NULL);
    tsm_body_release(p);
    if (p->cold != NULL) {
        Py_XDECREF((PyObject*)p->cold->label);
        Py_XDECREF((PyObject*)p->cold->origin);
        tsm_free(p->cold, sizeof(tsm_cold_t));
        p->cold = NULL;
    }
    p->exit_term = NULL;
    tsm_ptab_free_owner(p);
    tsm_flush();
    PyErr_SetRaisedException(exc);
    tsm_spawn_drop_body(body, flag);
}

static PyObject*
spawned(const tsm_spawned_t* spawned, const tsm_spawn_options_t* options)
{
    PyObject* pid_op = tsm_pid_object(spawned->pid);
    if (!options->monitor || pid_op == NULL) {
        return pid_op;
    }
    PyObject* ref_op = tsm_ref_object(spawned->ref, spawned->parent);
    PyObject* both = ref_op == NULL ? NULL : PyTuple_New(2);
    if (both == NULL) {
        Py_DECREF(pid_op);
        Py_XDECREF(ref_op);
        return NULL;
    }
    PyTuple_SET_ITEM(both, 0, pid_op);
    PyTuple_SET_ITEM(both, 1, ref_op);
    return both;
}

/* In a node that runs and is not about to stop? */
static int
check_node(void)
{
    if (!tsm_check_running()) {
        return -1;
    }
    if (!tsm_sched.stopping) {
        return 0;
    }
    if (tsm_self == NULL) {
        PyErr_Format(tsm_bind.not_running, "spawn(): the node is stopping");
    } else {
        /* A supervisor that restarts its children meanwhile ends quietly instead. */
        PyErr_SetObject(tsm_bind.stop, tsm_bind.s_shutdown);
    }
    return -1;
}

int
tsm_spawn_body(const tsm_spawn_options_t* options, PyObject* body, uint32_t flag, PyObject* origin,
               tsm_spawned_t* out)
{
    int err = 0;
    *out = (tsm_spawned_t){0};
    tsm_proc_t* parent = tsm_self == NULL ? NULL : tsm_worker_proc(tsm_self);
    PyObject* context = NULL; /* made here: it may run user code */
    if (flag == TSM_PF_COROUTINE) {
        tsm_disown(body); /* it ends on whatever thread runs it last */
    }
    if (check_node() < 0 || tsm_context_inherit(&context) < 0) {
        goto drop;
    }
    if (parent == NULL && (options->link || options->monitor || options->start)) {
        (void)tsm_here("spawn with a link or monitor");
        goto drop;
    }
    if (parent != NULL && tsm_begin("spawn()") == NULL) {
        goto drop;
    }
    tsm_proc_t* p = tsm_ptab_new_any(&err);
    if (p == NULL) {
        (void)tsm_raise(err, "spawn()");
        if (parent != NULL) {
            (void)tsm_done(NULL);
        }
        goto drop;
    }
    out->pid = tsm_proc_pid(p);
    p->parent = out->parent = parent == NULL ? 0 : tsm_proc_pid(parent);
    bool ok = prepare(p, body, flag, context, origin, options) == 0
              && (parent == NULL || relate(parent, p, options, out) == 0);
    if (ok) {
        tsm_det_spawned_any(p);
        tsm_ready_any(p); /* from here on p belongs to the scheduler */
        if (parent != NULL) {
            tsm_charge(tsm_self, 20);
        }
    }
    if (parent != NULL) {
        PyObject* done = tsm_done(ok ? Py_NewRef(Py_None) : NULL);
        if (ok && done == NULL) {
            return -1;
        }
    }
    if (!ok) {
        discard(p);
        return -1;
    }
    return 0;
drop:
    tsm_spawn_drop_body(body, flag);
    Py_XDECREF(context);
    Py_XDECREF(origin);
    return -1;
}

static PyObject*
spawn(const tsm_spawn_options_t* options, PyObject* const* args, Py_ssize_t n, PyObject* kwnames)
{
    uint32_t flag = 0;
    tsm_spawned_t out;
    if (n < 1 || !PyCallable_Check(args[0])) {
        if (n >= 1 && PyCoro_CheckExact(args[0])) {
            return PyErr_Format(PyExc_TypeError, "spawn() takes the function and its arguments, "
                                "not a coroutine: write spawn(fn, x), not spawn(fn(x))");
        }
        return PyErr_Format(PyExc_TypeError, "spawn() needs a function to run, not %.200s",
                            n < 1 ? "nothing" : Py_TYPE(args[0])->tp_name);
    }
    PyObject* body = tsm_spawn_make_body(args[0], args + 1, n - 1, kwnames, &flag);
    if (body == NULL || tsm_spawn_body(options, body, flag, NULL, &out) < 0) {
        return NULL;
    }
    return spawned(&out, options);
}

PyDoc_STRVAR(spawn_doc, "spawn(fn, /, *args, **kwargs)\n--\n\n"
"Start a process that runs fn(*args, **kwargs) and return its Pid at once.\n\n"
"fn is a coroutine function (async def), or a plain function, which borrows an OS thread\n"
"while it runs. Arguments are copied unless deeply immutable. The child starts with a copy\n"
"of the caller's context variables. Callable from any thread; never blocks.\n\n"
"Raises:\n"
"    NotRunning: No node is running.\n"
"    Stop: The node is stopping; left uncaught it ends the caller with \"shutdown\".\n"
"    ProcessLimit: The process table is full.\n"
"    TypeError: fn is not callable, does not take these arguments (coroutine functions), or\n"
"        an argument cannot be copied.\n\n"
"Example:\n"
"    >>> import transom\n"
"    >>> async def child(parent, n):\n"
"    ...     transom.send(parent, n * 2)\n"
"    >>> async def main():\n"
"    ...     transom.spawn(child, transom.current_pid(), 21)\n"
"    ...     return await transom.receive(int)\n"
"    >>> transom.run(main)\n"
"    42\n\n"
"Source: erlang:spawn/3.");

static PyObject*
py_spawn(PyObject* Py_UNUSED(m), PyObject* const* args, Py_ssize_t n, PyObject* kwnames)
{
    static const tsm_spawn_options_t plain = {.priority = TSM_PRIO_NORMAL};
    return spawn(&plain, args, n, kwnames);
}

static PyObject*
py_spawn_link(PyObject* Py_UNUSED(m), PyObject* const* args, Py_ssize_t n, PyObject* kwnames)
{
    static const tsm_spawn_options_t link = {.priority = TSM_PRIO_NORMAL, .link = true};
    return spawn(&link, args, n, kwnames);
}

static PyObject*
py_spawn_monitor(PyObject* Py_UNUSED(m), PyObject* const* args, Py_ssize_t n, PyObject* kwnames)
{
    static const tsm_spawn_options_t monitor = {.priority = TSM_PRIO_NORMAL, .monitor = true};
    return spawn(&monitor, args, n, kwnames);
}

int
tsm_spawn_options(PyObject* const* args, tsm_spawn_options_t* options)
{
    *options = (tsm_spawn_options_t){
        .name = args[0] == Py_None ? NULL : args[0],
        .priority = (uint8_t)PyLong_AsLong(args[1]),
        .trap_exit = args[2] == Py_True,
        .pinned = args[3] == Py_True,
        .label = args[4] == Py_None ? NULL : args[4],
        .max_heap = PyLong_AsLongLong(args[5]),
        .max_queue = (uint32_t)PyLong_AsUnsignedLong(args[6]),
        .on_full = (int)PyLong_AsLong(args[7]),
    };
    return PyErr_Occurred() ? -1 : 0;
}

/* _spawn_opt(link, monitor, *options as above, fn, *args, **kwargs) */
static PyObject*
py_spawn_opt(PyObject* Py_UNUSED(m), PyObject* const* args, Py_ssize_t n, PyObject* kwnames)
{
    enum { BEFORE = 2 + TSM_SPAWN_OPTIONS };
    tsm_spawn_options_t options;
    if (n < BEFORE) {
        return PyErr_Format(PyExc_TypeError, "spawn_opt() needs options and a function");
    }
    if (tsm_spawn_options(args + 2, &options) < 0) {
        return NULL;
    }
    options.link = args[0] == Py_True;
    options.monitor = args[1] == Py_True;
    return spawn(&options, args + BEFORE, n - BEFORE, kwnames);
}

#define FAST(name, fn, doc) \
    {name, (PyCFunction)(void (*)(void))fn, METH_FASTCALL | METH_KEYWORDS, doc}

PyMethodDef tsm_spawn_methods[] = {
    FAST("spawn", py_spawn, spawn_doc),
    FAST("spawn_link", py_spawn_link, tsm_doc_spawn_link),
    FAST("spawn_monitor", py_spawn_monitor, tsm_doc_spawn_monitor),
    FAST("_spawn_opt", py_spawn_opt, NULL),
    {NULL, NULL, 0, NULL},
};

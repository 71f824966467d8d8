/* tsm_spawn.c - making processes. */
#include "bind/tsm_bind.h"
#include "bind/tsm_docs.h"

typedef struct {
    bool link, monitor, trap_exit, pinned;
    uint8_t priority;
    PyObject* name;  /* str or NULL */
    PyObject* label; /* str or NULL */
    int64_t max_heap;   /* bytes; 0: no limit */
    uint32_t max_queue; /* messages; 0: no limit */
    int on_full;        /* enum tsm_on_full */
} options_t;

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
static PyObject*
make_body(PyObject* fn, PyObject* const* args, Py_ssize_t n, PyObject* kwnames, bool* coroutine)
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
    *coroutine = code != NULL && (code->co_flags & CO_COROUTINE) != 0;
    if (*coroutine) {
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

/* An unstarted coroutine that never becomes a process. */
static void
drop_body(PyObject* body, bool coroutine)
{
    PyObject* exc = PyErr_GetRaisedException();
    if (coroutine) {
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
relate(tsm_proc_t* parent, tsm_proc_t* child, const options_t* options, uint64_t* ref)
{
    tsm_pid_t parent_pid = tsm_proc_pid(parent), child_pid = tsm_proc_pid(child);
    tsm_rel_t* rels[4] = {NULL, NULL, NULL, NULL};
    bool wanted[4] = {options->link, options->link, options->monitor, options->monitor};
    for (int i = 0; i < 4; i++) {
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
        *ref = tsm_ref_new();
        *rels[2] = (tsm_rel_t){.h = {.key = *ref, .kind = TSM_REL_MONITOR}, .active = 1, .peer = child_pid};
        *rels[3] = (tsm_rel_t){.h = {.key = *ref, .kind = TSM_REL_MONITORED_BY}, .active = 1, .peer = parent_pid};
        tsm_rel_insert_owner(parent, rels[2]);
        tsm_rel_insert_owner(child, rels[3]);
        if (!tsm_inbox_is_empty(&parent->inbox)) {
            (void)tsm_proc_service_owner(parent); /* older than the mark */
        }
        tsm_mark_owner(parent, *ref);
    }
    return 0;
}

static int
prepare(tsm_proc_t* p, PyObject* body, bool coroutine, PyObject* context, const options_t* options)
{
    p->body = body;
    if (coroutine) {
        tsm_hide_body(body);
    }
    p->flags = (coroutine ? TSM_PF_COROUTINE : TSM_PF_THREADED)
               | (options->trap_exit ? TSM_PF_TRAP_EXIT : 0u)
               | (options->pinned ? TSM_PF_PINNED | TSM_PF_THREADED : 0u);
    p->priority = options->priority;
    p->context = context;
    if (options->label != NULL) {
        if (tsm_cold_owner(p) == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        p->cold->label = Py_NewRef(options->label);
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
    bool coroutine = (p->flags & TSM_PF_COROUTINE) != 0;
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
    drop_body(body, coroutine);
}

static PyObject*
spawned(tsm_pid_t pid, tsm_pid_t parent, const options_t* options, uint64_t ref)
{
    PyObject* pid_op = tsm_pid_object(pid);
    if (!options->monitor || pid_op == NULL) {
        return pid_op;
    }
    PyObject* ref_op = tsm_ref_object(ref, parent);
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

static PyObject*
spawn(const options_t* options, PyObject* const* args, Py_ssize_t n, PyObject* kwnames)
{
    bool coroutine = false;
    uint64_t ref = 0;
    int err = 0;
    if (n < 1 || !PyCallable_Check(args[0])) {
        if (n >= 1 && PyCoro_CheckExact(args[0])) {
            return PyErr_Format(PyExc_TypeError, "spawn() takes the function and its arguments, "
                                "not a coroutine: write spawn(fn, x), not spawn(fn(x))");
        }
        return PyErr_Format(PyExc_TypeError, "spawn() needs a function to run, not %.200s",
                            n < 1 ? "nothing" : Py_TYPE(args[0])->tp_name);
    }
    if (!tsm_check_running()) {
        return NULL;
    }
    if (tsm_sched.stopping) {
        if (tsm_self == NULL) {
            return PyErr_Format(tsm_bind.not_running, "spawn(): the node is stopping");
        }
        /* A supervisor that restarts its children meanwhile ends quietly instead. */
        PyErr_SetObject(tsm_bind.stop, tsm_bind.s_shutdown);
        return NULL;
    }
    PyObject* body = make_body(args[0], args + 1, n - 1, kwnames, &coroutine);
    if (body == NULL) {
        return NULL;
    }
    if (coroutine) {
        tsm_disown(body); /* it ends on whatever thread runs it last */
    }
    PyObject* context = NULL; /* made here: it may run user code */
    if (tsm_context_inherit(&context) < 0) {
        drop_body(body, coroutine);
        return NULL;
    }
    tsm_proc_t* parent = tsm_self == NULL ? NULL : tsm_worker_proc(tsm_self);
    if (parent == NULL && (options->link || options->monitor)) {
        drop_body(body, coroutine);
        Py_XDECREF(context);
        (void)tsm_here("spawn with a link or monitor");
        return NULL;
    }
    if (parent != NULL && tsm_begin("spawn()") == NULL) {
        drop_body(body, coroutine);
        Py_XDECREF(context);
        return NULL;
    }
    tsm_proc_t* p = tsm_ptab_new_any(&err);
    PyObject* result = NULL;
    if (p == NULL) {
        (void)tsm_raise(err, "spawn()");
        if (parent != NULL) {
            (void)tsm_done(NULL);
        }
        drop_body(body, coroutine);
        Py_XDECREF(context);
        return NULL;
    }
    tsm_pid_t pid = tsm_proc_pid(p);
    tsm_pid_t parent_pid = parent == NULL ? 0 : tsm_proc_pid(parent);
    p->parent = parent_pid;
    bool ok = prepare(p, body, coroutine, context, options) == 0
              && (parent == NULL || relate(parent, p, options, &ref) == 0);
    if (ok) {
        tsm_det_spawned_any(p);
        tsm_ready_any(p); /* from here on p belongs to the scheduler */
        if (parent != NULL) {
            tsm_charge(tsm_self, 20);
        }
        result = spawned(pid, parent_pid, options, ref);
    }
    if (parent != NULL) {
        result = tsm_done(result);
    }
    if (!ok) {
        discard(p);
    }
    return result;
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
    static const options_t plain = {.priority = TSM_PRIO_NORMAL};
    return spawn(&plain, args, n, kwnames);
}

static PyObject*
py_spawn_link(PyObject* Py_UNUSED(m), PyObject* const* args, Py_ssize_t n, PyObject* kwnames)
{
    static const options_t link = {.priority = TSM_PRIO_NORMAL, .link = true};
    return spawn(&link, args, n, kwnames);
}

static PyObject*
py_spawn_monitor(PyObject* Py_UNUSED(m), PyObject* const* args, Py_ssize_t n, PyObject* kwnames)
{
    static const options_t monitor = {.priority = TSM_PRIO_NORMAL, .monitor = true};
    return spawn(&monitor, args, n, kwnames);
}

/* _spawn_opt(link, monitor, name, priority, trap_exit, pinned, label, max_heap, max_queue, on_full,
 * fn, *args, **kwargs);
 * the Python side has checked the options. */
static PyObject*
py_spawn_opt(PyObject* Py_UNUSED(m), PyObject* const* args, Py_ssize_t n, PyObject* kwnames)
{
    enum { OPTIONS = 10 };
    if (n < OPTIONS) {
        return PyErr_Format(PyExc_TypeError, "spawn_opt() needs options and a function");
    }
    options_t options = {
        .link = args[0] == Py_True,
        .monitor = args[1] == Py_True,
        .name = args[2] == Py_None ? NULL : args[2],
        .priority = (uint8_t)PyLong_AsLong(args[3]),
        .trap_exit = args[4] == Py_True,
        .pinned = args[5] == Py_True,
        .label = args[6] == Py_None ? NULL : args[6],
        .max_heap = PyLong_AsLongLong(args[7]),
        .max_queue = (uint32_t)PyLong_AsUnsignedLong(args[8]),
        .on_full = (int)PyLong_AsLong(args[9]),
    };
    if (PyErr_Occurred()) {
        return NULL;
    }
    return spawn(&options, args + OPTIONS, n - OPTIONS, kwnames);
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

/* tsm_info.c - looking at processes.
 *
 * Protocol        A question about another process keeps the order of signals: what the
 *                 asker sent before has acted when the answer is made. A sleeping target
 *                 is claimed (its inbox word), read, and put to sleep again. An active one
 *                 gets an INFO signal and answers in its own turn, or, while it sits in
 *                 native code, whoever services it answers.
 */
#include "bind/tsm_docs.h"
#include "bind/tsm_start.h"

#include "base/tsm_clock.h"
#include "mem/tsm_arena.h"
#include "proc/tsm_qlimit.h"

#include <stdlib.h>

/* ---- items of process_info; the caller owns p ---- */

static const char* const status_names[] = {"free", "runnable", "running", "waiting", "blocked", "blocked", "exiting"};

static PyObject*
get_queue_len(tsm_proc_t* p)
{
    return PyLong_FromUnsignedLong(p->mb_len);
}

static PyObject*
get_rels(tsm_proc_t* p, uint32_t kind)
{
    PyObject* list = PyList_New(0);
    tsm_hmap_iter_t it = tsm_hmap_iter(&p->rels);
    tsm_rel_t* rel;
    while (list != NULL && (rel = (tsm_rel_t*)(void*)tsm_hmap_next(&it)) != NULL) {
        if (rel->h.kind != kind || !rel->active) {
            continue;
        }
        PyObject* peer = rel->name != NULL ? PyTuple_Pack(2, (PyObject*)rel->name, tsm_bind.node_name)
                                           : tsm_pid_object(rel->peer);
        if (peer == NULL || PyList_Append(list, peer) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(peer);
    }
    return list;
}

static PyObject*
get_links(tsm_proc_t* p)
{
    return get_rels(p, TSM_REL_LINK);
}

static PyObject*
get_monitors(tsm_proc_t* p)
{
    return get_rels(p, TSM_REL_MONITOR);
}

static PyObject*
get_monitored_by(tsm_proc_t* p)
{
    PyObject* list = get_rels(p, TSM_REL_MONITORED_BY);
    for (tsm_sig_t* msg = p->mb_first; list != NULL && msg != NULL; msg = tsm_sig_next(msg)) {
        if (msg->kind != TSM_SIG_CALL || tsm_call_is_over(msg->term)) {
            continue;
        }
        PyObject* peer = tsm_pid_object(msg->from);
        if (peer == NULL || PyList_Append(list, peer) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(peer);
    }
    return list;
}

static PyObject*
get_trap_exit(tsm_proc_t* p)
{
    return PyBool_FromLong((p->flags & TSM_PF_TRAP_EXIT) != 0);
}

static PyObject*
get_priority(tsm_proc_t* p)
{
    static const char* const names[] = {"low", "normal", "high", "max"};
    return PyUnicode_FromString(names[p->priority]);
}

static PyObject*
get_reductions(tsm_proc_t* p)
{
    return PyLong_FromUnsignedLongLong(p->reds);
}

static PyObject*
get_name(tsm_proc_t* p)
{
    PyObject* name = tsm_name_of_any(p);
    return name == NULL ? Py_NewRef(Py_None) : name;
}

static PyObject*
get_label(tsm_proc_t* p)
{
    PyObject* label = p->cold == NULL ? NULL : p->cold->label;
    return Py_NewRef(label == NULL ? Py_None : label);
}

static PyObject*
get_parent(tsm_proc_t* p)
{
    return p->parent == 0 ? Py_NewRef(Py_None) : tsm_pid_object(p->parent);
}

/* An attribute of where it comes from, or NULL. */
static PyObject*
from_origin(tsm_proc_t* p, const char* attribute)
{
    PyObject* value = NULL;
    if (p->cold != NULL && p->cold->origin != NULL) {
        (void)PyObject_GetOptionalAttrString(p->cold->origin, attribute, &value);
    }
    return value;
}

static PyObject*
get_ancestors(tsm_proc_t* p)
{
    PyObject* ancestors = from_origin(p, "ancestors");
    return ancestors != NULL ? ancestors : PyTuple_New(0);
}

PyObject*
tsm_initial_call_of(tsm_proc_t* p)
{
    PyObject* of = p->body;
    if (of == NULL) {
        return Py_NewRef(Py_None);
    }
    if (PyTuple_CheckExact(of)) {
        of = PyTuple_GET_ITEM(of, 0);
    }
    PyObject* name = NULL;
    if (PyCoro_CheckExact(of) || PyFunction_Check(of) || PyMethod_Check(of)) {
        (void)PyObject_GetOptionalAttrString(of, "__qualname__", &name);
    }
    return name != NULL ? name : PyUnicode_FromString(Py_TYPE(of)->tp_name);
}

static PyObject*
get_initial_call(tsm_proc_t* p)
{
    PyObject* known = from_origin(p, "initial_call");
    return known != NULL ? known : tsm_initial_call_of(p);
}

/* The innermost coroutine of a suspended body; user types are not followed. */
static PyObject*
innermost(PyObject* coro)
{
    PyObject* at = Py_NewRef(coro);
    for (;;) {
        PyObject* next = PyObject_GetAttrString(at, "cr_await");
        if (next == NULL || !PyCoro_CheckExact(next)) {
            Py_XDECREF(next);
            return at;
        }
        Py_SETREF(at, next);
    }
}

static PyObject*
get_current_function(tsm_proc_t* p)
{
    if (tsm_self != NULL && tsm_worker_proc(tsm_self) == p) {
        PyFrameObject* frame = PyEval_GetFrame();
        if (frame == NULL) {
            return Py_NewRef(Py_None);
        }
        PyCodeObject* code = PyFrame_GetCode(frame);
        PyObject* name = Py_NewRef(code->co_qualname);
        Py_DECREF(code);
        return name;
    }
    /* relaxed: we own p. Running frames of another thread must not be looked at. */
    if (tsm_load_relaxed(&p->a_worker) != NULL || p->body == NULL || !PyCoro_CheckExact(p->body)) {
        return Py_NewRef(Py_None);
    }
    PyObject* coro = innermost(p->body);
    PyObject* name = PyObject_GetAttrString(coro, "__qualname__");
    Py_DECREF(coro);
    return name;
}

static PyObject*
get_messages(tsm_proc_t* p)
{
    PyObject* list = PyList_New(0);
    for (tsm_sig_t* msg = p->mb_first; list != NULL && msg != NULL; msg = tsm_sig_next(msg)) {
        PyObject* message = tsm_message_object(msg, tsm_proc_pid(p));
        if (message == NULL || PyList_Append(list, message) < 0) {
            Py_CLEAR(list);
        }
    }
    return list;
}

/* Its struct and blocks of the pool, exactly: envelopes, relations, the timer, options. */
static size_t
native_bytes(tsm_proc_t* p)
{
    size_t bytes = sizeof(*p) + tsm_hmap_count(&p->rels) * (size_t)TSM_SIG_BYTES
                   + tsm_hmap_bytes(&p->rels);
    for (tsm_sig_t* msg = p->mb_first; msg != NULL; msg = tsm_sig_next(msg)) {
        bytes += msg->kind <= TSM_SIG_TIMEOUT ? TSM_MSG_BYTES : TSM_SIG_BYTES;
    }
    bytes += p->cold != NULL ? sizeof(tsm_cold_t) : 0;
    return bytes + (p->timer != NULL ? sizeof(tsm_ptimer_t) : 0);
}

static PyObject*
get_native_memory(tsm_proc_t* p)
{
    return PyLong_FromSize_t(native_bytes(p));
}

/* Bytes charged to it, when it has a limit. */
static PyObject*
get_total_heap_size(tsm_proc_t* p)
{
    int64_t used = tsm_limits_used(p);
    return used < 0 ? Py_NewRef(Py_None) : PyLong_FromLongLong(used);
}

static PyObject*
get_max_heap_size(tsm_proc_t* p)
{
    int64_t max = tsm_limits_max(p);
    return max == 0 ? Py_NewRef(Py_None) : PyLong_FromLongLong(max);
}

static PyObject*
get_buffer_memory(tsm_proc_t* p)
{
    return PyLong_FromLongLong(tsm_limits_buffers(p));
}

static PyObject*
get_max_queue(tsm_proc_t* p)
{
    tsm_qlimit_t* q = tsm_qlimit_of(p);
    return q == NULL ? Py_NewRef(Py_None) : PyLong_FromUnsignedLong(tsm_load_relaxed(&q->a_max)); /* relaxed: a report. */
}

static PyObject*
get_dropped(tsm_proc_t* p)
{
    tsm_qlimit_t* q = tsm_qlimit_of(p);
    return PyLong_FromUnsignedLongLong(q == NULL ? 0 : tsm_load_relaxed(&q->a_dropped)); /* relaxed: a report. */
}

static PyObject*
get_memory(tsm_proc_t* p)
{
    int64_t used = tsm_limits_used(p);
    size_t bytes = native_bytes(p) + (used > 0 ? (size_t)used : 0);
    PyObject* body = p->body;
    if (body != NULL && PyCoro_CheckExact(body)) {
        bytes += (size_t)(Py_TYPE(body)->tp_basicsize + Py_SIZE(body) * Py_TYPE(body)->tp_itemsize);
    }
    return PyLong_FromSize_t(bytes);
}

static PyObject*
get_thread(tsm_proc_t* p)
{
    tsm_worker_t* w = tsm_load_relaxed(&p->a_worker); /* relaxed: we own p. */
    return w == NULL ? Py_NewRef(Py_None)
                     : PyLong_FromUnsignedLongLong(tsm_load_relaxed(&w->a_tid)); /* relaxed: a report. */
}

static const struct {
    const char* name;
    PyObject* (*get)(tsm_proc_t* p);
    bool costly; /* only when asked for */
} items_table[] = {
    {"status", NULL, false}, /* as the asker found it: see add_item */
    {"message_queue_len", get_queue_len, false},
    {"links", get_links, false},
    {"monitors", get_monitors, false},
    {"monitored_by", get_monitored_by, false},
    {"trap_exit", get_trap_exit, false},
    {"priority", get_priority, false},
    {"reductions", get_reductions, false},
    {"registered_name", get_name, false},
    {"label", get_label, false},
    {"parent", get_parent, false},
    {"ancestors", get_ancestors, false},
    {"initial_call", get_initial_call, false},
    {"current_function", get_current_function, false},
    {"memory", get_memory, false},
    {"native_memory", get_native_memory, false},
    {"total_heap_size", get_total_heap_size, false},
    {"max_heap_size", get_max_heap_size, false},
    {"buffer_memory", get_buffer_memory, false},
    {"max_queue", get_max_queue, false},
    {"dropped", get_dropped, false},
    {"thread", get_thread, false},
    {"messages", get_messages, true},
};

enum { ITEMS = sizeof(items_table) / sizeof(items_table[0]) };

/* Adds one item. -1: no memory. */
static int
add_item(PyObject* dict, tsm_proc_t* p, int i, uint32_t status)
{
    PyObject* value = items_table[i].get != NULL ? items_table[i].get(p)
                                                : PyUnicode_FromString(status_names[status]);
    int rc = value == NULL ? -1 : PyDict_SetItemString(dict, items_table[i].name, value);
    Py_XDECREF(value);
    return rc;
}

static int
item_index(PyObject* name)
{
    int i = 0;
    while (i < ITEMS && PyUnicode_CompareWithASCIIString(name, items_table[i].name) != 0) {
        i++;
    }
    return i;
}

static int
add_items(PyObject* dict, tsm_proc_t* p, PyObject* items, uint32_t status)
{
    int rc = 0;
    if (items == NULL) {
        for (int i = 0; rc == 0 && i < ITEMS; i++) {
            rc = items_table[i].costly ? 0 : add_item(dict, p, i, status);
        }
        return rc;
    }
    for (Py_ssize_t k = 0; rc == 0 && k < PyTuple_GET_SIZE(items); k++) {
        rc = add_item(dict, p, item_index(PyTuple_GET_ITEM(items, k)), status);
    }
    return rc;
}

/* Runs in whoever owns p. A dict, or NULL with the exception cleared (no memory). */
void*
tsm_info_hook(tsm_proc_t* p, void* items, uint32_t status)
{
    PyObject* saved = PyErr_GetRaisedException();
    PyObject* dict = PyDict_New();
    if (dict != NULL && add_items(dict, p, items, status) < 0) {
        Py_CLEAR(dict);
    }
    PyErr_Clear();
    PyErr_SetRaisedException(saved);
    return dict;
}

/* ---- asking ---- */

/* Waits for the answer. In a process the slot goes on without us. */
static int
wait_answer(tsm_info_t* request)
{
    tsm_worker_t* w = tsm_self;
    bool inside = w != NULL && tsm_worker_proc(w) != NULL;
    int rc = 0;
    if (tsm_event_wait(&request->done, 0) == 0) {
        return 0; /* the target is dead */
    }
    if (inside) {
        tsm_op_begin(w);
        rc = tsm_inner_begin(w, &request->keep);
        if (rc < 0) {
            tsm_op_end(w); /* no thread to be had: the slot waits with us */
        }
    }
    /* Signals of the main thread are looked at afterwards: the request lives on this
     * stack and must be answered first. */
    Py_BEGIN_ALLOW_THREADS
    while (tsm_event_wait(&request->done, TSM_WAIT_FOREVER) != 0) {
    }
    Py_END_ALLOW_THREADS
    if (inside && rc == 0) {
        tsm_inner_end(w, request->ticket);
        (void)tsm_done(NULL);
        return PyErr_Occurred() ? -1 : 0;
    }
    return 0;
}

static PyObject*
ask_active(tsm_proc_t* p, tsm_pid_t pid, PyObject* items)
{
    /* relaxed: a moment's view, which may be old when the answer comes. */
    tsm_info_t request = {.items = items, .status = tsm_load_relaxed(&p->a_status)};
    tsm_sig_t* sig = tsm_sig_new(TSM_SIG_INFO);
    if (sig == NULL) {
        return PyErr_NoMemory();
    }
    sig->tag = &request;
    (void)tsm_signal_any(pid, sig);
    if (wait_answer(&request) < 0) {
        Py_XDECREF((PyObject*)request.answer);
        return NULL;
    }
    return request.answer != NULL ? request.answer : Py_NewRef(Py_None);
}

/* Of a sleeping process this thread becomes the owner for a moment. False: it is awake. */
static bool
ask_idle(tsm_proc_t* p, tsm_pid_t pid, PyObject* items, PyObject** answer)
{
    /* sc, both: against stop, which unsets a_running, then waits for the visitors to go,
     * and ends what is left of the processes as their only owner. */
    (void)tsm_add_sc(&tsm_sched.a_visitors, 1);
    bool claimed = tsm_load_sc(&tsm_sched.a_running) != 0 && tsm_inbox_claim_any(&p->inbox);
    if (claimed) {
        *answer = Py_NewRef(Py_None);
        if (tsm_ptab_get_any(pid) == p) { /* still this life */
            Py_SETREF(*answer, tsm_info_hook(p, items, TSM_ST_WAITING));
        }
        tsm_unclaim_any(p);
        if (*answer == NULL) {
            PyErr_NoMemory();
        }
    }
    (void)tsm_sub_sc(&tsm_sched.a_visitors, 1); /* sc: as above. */
    return claimed;
}

/* The answer, or None when pid is dead. */
static PyObject*
ask(tsm_pid_t pid, PyObject* items)
{
    tsm_proc_t* p = tsm_ptab_get_any(pid);
    if (p == NULL || tsm_inbox_is_dead(&p->inbox)) {
        Py_RETURN_NONE;
    }
    if (tsm_self != NULL && tsm_worker_proc(tsm_self) == p) {
        if (tsm_begin("process_info()") == NULL) {
            return NULL;
        }
        PyObject* answer = NULL;
        if (tsm_inbox_is_empty(&p->inbox) || tsm_proc_service_owner(p)) {
            answer = tsm_info_hook(p, items, TSM_ST_RUNNING);
        }
        return tsm_done(answer);
    }
    PyObject* answer = NULL;
    if (ask_idle(p, pid, items, &answer)) {
        return answer;
    }
    return ask_active(p, pid, items);
}

static int
check_items(PyObject* const* args, Py_ssize_t n)
{
    for (Py_ssize_t k = 0; k < n; k++) {
        if (!PyUnicode_Check(args[k])) {
            PyErr_Format(PyExc_TypeError, "process_info(): items are strings, not %R", args[k]);
            return -1;
        }
        if (item_index(args[k]) == ITEMS) {
            PyErr_Format(PyExc_ValueError, "process_info(): there is no item %R", args[k]);
            return -1;
        }
    }
    return 0;
}

/* The messages are the other process's: what is shown of them is a copy, but of what only
 * share() could send. -1: exception. */
static int
own_messages(PyObject* answer)
{
    PyObject* list = PyDict_Check(answer) ? PyDict_GetItemString(answer, "messages") : NULL;
    for (Py_ssize_t i = 0; list != NULL && i < PyList_GET_SIZE(list); i++) {
        PyObject* copy = tsm_copy(PyList_GET_ITEM(list, i), "a message");
        if (copy == NULL && !PyErr_ExceptionMatches(PyExc_TypeError)) {
            return -1;
        }
        if (copy == NULL) {
            PyErr_Clear();
            continue;
        }
        PyList_SetItem(list, i, copy);
    }
    return 0;
}

static PyObject*
py_process_info(PyObject* Py_UNUSED(m), PyObject* const* args, Py_ssize_t n)
{
    if (n < 1) {
        return PyErr_Format(PyExc_TypeError, "process_info() needs a Pid");
    }
    tsm_pid_t pid = tsm_check_caller() ? tsm_as_pid(args[0], "process_info()") : 0;
    if (pid == 0 || check_items(args + 1, n - 1) < 0) {
        return NULL;
    }
    PyObject* items = NULL;
    if (n > 1 && (items = PyTuple_New(n - 1)) == NULL) {
        return NULL;
    }
    for (Py_ssize_t i = 1; i < n; i++) {
        PyTuple_SET_ITEM(items, i - 1, Py_NewRef(args[i]));
    }
    PyObject* answer = ask(pid, items);
    Py_XDECREF(items);
    if (answer != NULL && own_messages(answer) < 0) {
        Py_CLEAR(answer);
    }
    return answer;
}

static PyObject*
py_is_alive(PyObject* Py_UNUSED(m), PyObject* arg)
{
    tsm_pid_t pid = tsm_check_caller() ? tsm_as_pid(arg, "is_alive()") : 0;
    if (pid == 0) {
        return NULL;
    }
    if (TSM_UNLIKELY(tsm_det.on != 0)) {
        tsm_det_touch_any();
    }
    tsm_proc_t* p = tsm_ptab_get_any(pid);
    if (p == NULL || tsm_inbox_is_dead(&p->inbox)) {
        Py_RETURN_FALSE;
    }
    /* acquire: pairs with tsm_drain_owner. An empty inbox and no drain under way: all
     * that was sent has acted. */
    if ((tsm_inbox_is_idle(&p->inbox) || tsm_inbox_is_empty(&p->inbox))
        && tsm_load_acquire(&p->a_draining) == 0) {
        return PyBool_FromLong(tsm_ptab_get_any(pid) == p && !tsm_inbox_is_dead(&p->inbox));
    }
    PyObject* none = PyTuple_New(0);
    PyObject* answer = none == NULL ? NULL : ask(pid, none);
    Py_XDECREF(none);
    if (answer == NULL) {
        return NULL;
    }
    bool alive = answer != Py_None;
    Py_DECREF(answer);
    return PyBool_FromLong(alive);
}

static PyObject*
py_processes(PyObject* Py_UNUSED(m), PyObject* Py_UNUSED(none))
{
    if (!tsm_check_running()) {
        return NULL;
    }
    PyObject* list = PyList_New(0);
    uint32_t high = tsm_ptab_high_any();
    for (uint32_t i = 0; list != NULL && i < high; i++) {
        tsm_proc_t* p = tsm_ptab_slot_any(i);
        tsm_pid_t pid = tsm_proc_pid(p);
        if (tsm_inbox_is_dead(&p->inbox)) {
            continue;
        }
        PyObject* op = tsm_pid_object(pid);
        if (op == NULL || PyList_Append(list, op) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(op);
    }
    return list;
}

PyMethodDef tsm_info_methods[] = {
    {"process_info", (PyCFunction)(void (*)(void))py_process_info, METH_FASTCALL, tsm_doc_process_info},
    {"is_alive", py_is_alive, METH_O, tsm_doc_is_alive},
    {"processes", py_processes, METH_NOARGS, tsm_doc_processes},
    {NULL, NULL, 0, NULL},
};

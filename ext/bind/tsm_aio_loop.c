/* tsm_aio_loop.c - the loop's half: its door, and what an operation offers to its task.
 *
 * Protocol        A push that finds the inbox IDLE writes to the descriptor, all others
 *                 only push. The loop takes everything; when nothing is left it turns
 *                 the inbox IDLE again, or is told that something came (tsm_inbox.h).
 *                 Between the two it lingers for some microseconds.
 * End             close: the inbox is DEAD, what stood in it is handed back.
 * Where tested    tests/semantics/test_aio.py
 * Source          the ports of the BEAM; wake-ups as in libuv's uv_async_t
 */
#include "bind/tsm_aio.h"

#include "base/tsm_clock.h"

#include <fcntl.h>
#include <stddef.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/eventfd.h>
#endif

#define LINGER_NS 20000 /* as a slot that searches for work (sched/tsm_worker.c) */

/* ---- the descriptor ---- */

static int
open_fds(TsmIoLoop* self)
{
#ifdef __linux__
    self->fd = self->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return self->fd < 0 ? -1 : 0;
#else
    int fds[2];
    if (pipe(fds) < 0) {
        return -1;
    }
    self->fd = fds[0];
    self->wake_fd = fds[1];
    for (int i = 0; i < 2; i++) {
        (void)fcntl(fds[i], F_SETFL, O_NONBLOCK);
        (void)fcntl(fds[i], F_SETFD, FD_CLOEXEC);
    }
    return 0;
#endif
}

void
tsm_io_wake(TsmIoLoop* self)
{
    uint64_t one = 1;
    if (write(self->wake_fd, &one, sizeof(one)) < 0) {
        return; /* full: it is awake */
    }
}

/* ---- the door ---- */

bool
tsm_io_push(TsmIoLoop* loop, tsm_io_entry_t* entry)
{
    PyObject* op = Py_NewRef(entry->op);
    switch (tsm_inbox_push_any(&loop->inbox, &entry->node)) {
    case TSM_PUSH_WOKE:
        tsm_io_wake(loop);
        return true;
    case TSM_PUSH_QUEUED:
        return true;
    case TSM_PUSH_DEAD:
        break;
    }
    Py_DECREF(op); /* the caller holds one */
    return false;
}

static PyObject*
loop_new(PyTypeObject* type, PyObject* Py_UNUSED(args), PyObject* Py_UNUSED(kwargs))
{
    TsmIoLoop* self = PyObject_New(TsmIoLoop, type);
    if (self == NULL) {
        return NULL;
    }
    self->taken = NULL;
    self->ts = NULL;
    self->next = NULL;
    self->looked_at = self->served = false;
    self->fd = self->wake_fd = -1;
    tsm_inbox_open_owner(&self->inbox);
    (void)!tsm_inbox_sleep_owner(&self->inbox);
    if (open_fds(self) < 0) {
        Py_DECREF(self);
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    return (PyObject*)self;
}

static void
loop_dealloc(PyObject* op)
{
    TsmIoLoop* self = (TsmIoLoop*)op;
    if (self->fd >= 0) {
        (void)close(self->fd);
    }
    if (self->wake_fd >= 0 && self->wake_fd != self->fd) {
        (void)close(self->wake_fd);
    }
    PyObject_Free(op);
}

/* One entry as its operation; the reference moves. */
static PyObject*
open_entry(tsm_node_t* node)
{
    tsm_io_entry_t* entry = (tsm_io_entry_t*)(void*)node;
    TsmIoOp* op = (TsmIoOp*)entry->op;
    if (entry == &op->note) {
        tsm_mutex_lock(&op->lock);
        op->noted = false;
        tsm_mutex_unlock(&op->lock);
    }
    return (PyObject*)op;
}

/* Who has just been answered often asks again at once: a little later than now costs two
 * system calls and a wake-up. Only while there is a core for it: one that no slot has, or that
 * of a slot that has nothing to run. The sockets of the loop wait as long. */
static void
linger(TsmIoLoop* self)
{
    /* relaxed: a hint. */
    uint32_t word = tsm_load_relaxed(&tsm_sched.idle.a_word);
    bool spare = self->has_core || tsm_idle_searchers(word) + tsm_idle_sleepers(word) != 0;
    if (!self->served || !spare) {
        return;
    }
    self->served = false;
    Py_BEGIN_ALLOW_THREADS
    uint64_t until_ns = tsm_now_ns() + LINGER_NS;
    while (tsm_inbox_is_empty(&self->inbox) && tsm_now_ns() < until_ns) {
        for (int i = 0; i < 32; i++) {
            tsm_pause();
        }
    }
    Py_END_ALLOW_THREADS
}

/* True: something is in `taken`. False: nothing came and the inbox is IDLE. */
static bool
refill(TsmIoLoop* self)
{
    while (self->taken == NULL) {
        if (tsm_inbox_is_idle(&self->inbox) || tsm_inbox_is_dead(&self->inbox)) {
            return false;
        }
        if (tsm_inbox_is_empty(&self->inbox)) {
            linger(self);
        }
        self->taken = tsm_inbox_take_owner(&self->inbox);
        if (self->taken == NULL && tsm_inbox_sleep_owner(&self->inbox)) {
            return false;
        }
    }
    return true;
}

static PyObject*
take_list(TsmIoLoop* self, unsigned int limit)
{
    PyObject* list = PyList_New(0);
    for (unsigned int n = 0; list != NULL && self->taken != NULL && n < limit; n++) {
        tsm_node_t* node = self->taken;
        self->taken = node->next; /* first: the operation may be gone after the next lines */
        PyObject* op = open_entry(node);
        if (PyList_Append(list, op) < 0) {
            Py_CLEAR(list);
        }
        Py_DECREF(op);
    }
    return list;
}

/* Does nothing wait to be taken? Any thread. */
static PyObject*
loop_idle(PyObject* op, PyObject* Py_UNUSED(none))
{
    TsmIoLoop* self = (TsmIoLoop*)op;
    return PyBool_FromLong(tsm_inbox_is_idle(&self->inbox) || tsm_inbox_is_dead(&self->inbox));
}

/* _take(limit, woken): operations that want something, in order; None: none do. */
static PyObject*
loop_take(PyObject* op, PyObject* args)
{
    TsmIoLoop* self = (TsmIoLoop*)op;
    unsigned int limit;
    int woken;
    char buffer[64];
    if (!PyArg_ParseTuple(args, "Ip:take", &limit, &woken)) {
        return NULL;
    }
    if (woken && read(self->fd, buffer, sizeof(buffer)) < 0) {
        woken = 0; /* there was nothing */
    }
    if (!refill(self)) {
        Py_RETURN_NONE;
    }
    self->served = true;
    return take_list(self, limit);
}

/* close() -> the operations that were waiting; no more can come. Loop thread. */
static PyObject*
loop_close(PyObject* op, PyObject* Py_UNUSED(none))
{
    TsmIoLoop* self = (TsmIoLoop*)op;
    PyObject* list = take_list(self, UINT32_MAX);
    if (list == NULL || tsm_inbox_is_dead(&self->inbox)) {
        return list;
    }
    self->taken = tsm_inbox_close_owner(&self->inbox);
    PyObject* late = take_list(self, UINT32_MAX);
    if (late == NULL || PyList_SetSlice(list, PyList_GET_SIZE(list), PyList_GET_SIZE(list), late) < 0) {
        Py_CLEAR(list);
    }
    Py_XDECREF(late);
    return list;
}

static PyMethodDef loop_methods[] = {
    {"idle", loop_idle, METH_NOARGS, NULL},
    {"take", loop_take, METH_VARARGS, NULL},
    {"close", loop_close, METH_NOARGS, NULL},
    {"attach", tsm_io_attach, METH_NOARGS, NULL},
    {"detach", tsm_io_detach, METH_NOARGS, NULL},
    {"stack", tsm_io_stack, METH_NOARGS, NULL},
    {"interrupt", tsm_io_interrupt, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef loop_members[] = {
    {"fd", Py_T_INT, offsetof(TsmIoLoop, fd), Py_READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

PyTypeObject TsmIoLoop_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "transom._core._IoLoop",
    .tp_basicsize = sizeof(TsmIoLoop),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .tp_new = loop_new,
    .tp_dealloc = loop_dealloc,
    .tp_methods = loop_methods,
    .tp_members = loop_members,
};

/* ---- operations ---- */

TsmIoOp*
tsm_io_op_new(TsmIoLoop* loop, PyObject* what, PyObject* context, enum tsm_io_kind kind, uint32_t cap)
{
    PyObject** ring = cap == 1 ? NULL : PyMem_RawCalloc(cap, sizeof(PyObject*));
    TsmIoOp* op = cap != 1 && ring == NULL ? NULL : PyObject_New(TsmIoOp, &TsmIoOp_Type);
    if (op == NULL) {
        PyMem_RawFree(ring);
        return PyErr_Occurred() ? NULL : (TsmIoOp*)PyErr_NoMemory();
    }
    PyObject head = op->ob_base;
    memset(op, 0, sizeof(*op));
    op->ob_base = head;
    op->loop = (TsmIoLoop*)Py_NewRef(loop);
    op->what = what;
    op->context = Py_NewRef(context);
    op->kind = (uint8_t)kind;
    op->cap = cap;
    op->ring = ring == NULL ? &op->one : ring;
    op->start.op = op->note.op = (PyObject*)op;
    return op;
}

static void
op_dealloc(PyObject* self)
{
    TsmIoOp* op = (TsmIoOp*)self;
    for (; op->len > 0; op->len--, op->head = (op->head + 1) % op->cap) {
        Py_DECREF(op->ring[op->head]);
    }
    if (op->ring != &op->one) {
        PyMem_RawFree(op->ring);
    }
    if (op->nudge != NULL) {
        tsm_sig_free(op->nudge);
    }
    Py_XDECREF(op->what);
    Py_XDECREF(op->context);
    Py_XDECREF(op->task);
    Py_XDECREF(op->room);
    Py_XDECREF(op->error);
    Py_XDECREF(op->exit_error);
    Py_DECREF(op->loop);
    PyObject_Free(self);
}

/* The process waited: wake it. nudge is taken. */
static void
nudge(tsm_pid_t pid, tsm_sig_t* sig)
{
    if (sig != NULL) {
        (void)tsm_signal_any(pid, sig);
        if (tsm_has_buried()) {
            tsm_flush();
        }
    }
}

/* Under the lock: the signal to send after it, or NULL. */
static tsm_sig_t*
take_nudge(TsmIoOp* op)
{
    tsm_sig_t* sig = op->waiting ? op->nudge : NULL;
    if (sig != NULL) {
        op->waiting = false;
        op->nudge = NULL;
    }
    return sig;
}

enum put { PUT_DROPPED = -1, PUT_FULL = 0, PUT_ROOM = 1 };

/* Takes item. */
static enum put
put(TsmIoOp* op, PyObject* item, bool last)
{
    enum put how = PUT_DROPPED;
    tsm_sig_t* sig = NULL;
    tsm_disown_all(item); /* it will be dropped by the process's thread */
    tsm_mutex_lock(&op->lock);
    if (!op->dropped && !op->ended && op->len < op->cap) {
        op->ring[(op->head + op->len++) % op->cap] = item;
        item = NULL;
        op->ended = last;
        op->stalled = !last && op->len == op->cap;
        how = op->stalled ? PUT_FULL : PUT_ROOM;
        sig = take_nudge(op);
    }
    tsm_mutex_unlock(&op->lock);
    nudge(op->owner, sig);
    Py_XDECREF(item);
    return how;
}

/* put(item) -> 1: more; 0: wait for room; -1: nobody wants it. */
static PyObject*
op_put(PyObject* self, PyObject* item)
{
    return PyLong_FromLong(put((TsmIoOp*)self, Py_NewRef(item), false));
}

static PyObject*
op_done(PyObject* self, PyObject* value)
{
    (void)put((TsmIoOp*)self, Py_NewRef(value), true);
    Py_RETURN_NONE;
}

/* fail(exception or None): it is over. */
static PyObject*
op_fail(PyObject* self, PyObject* error)
{
    TsmIoOp* op = (TsmIoOp*)self;
    tsm_sig_t* sig = NULL;
    tsm_mutex_lock(&op->lock);
    if (!op->ended && !op->dropped) {
        op->error = error == Py_None ? NULL : Py_NewRef(error);
        sig = take_nudge(op);
    }
    op->ended = true;
    tsm_mutex_unlock(&op->lock);
    nudge(op->owner, sig);
    Py_RETURN_NONE;
}

/* take_what(): what to run; once. */
static PyObject*
op_take_what(PyObject* self, PyObject* Py_UNUSED(none))
{
    TsmIoOp* op = (TsmIoOp*)self;
    PyObject* what = op->what;
    op->what = NULL;
    return what == NULL ? Py_NewRef(Py_None) : what;
}

static PyObject*
op_get_dropped(PyObject* self, void* Py_UNUSED(closure))
{
    TsmIoOp* op = (TsmIoOp*)self;
    tsm_mutex_lock(&op->lock);
    bool dropped = op->dropped;
    tsm_mutex_unlock(&op->lock);
    return PyBool_FromLong(dropped);
}

/* (is it to be closed, the exception that left its body or None). */
static PyObject*
op_get_released(PyObject* self, void* Py_UNUSED(closure))
{
    TsmIoOp* op = (TsmIoOp*)self;
    tsm_mutex_lock(&op->lock);
    bool released = op->released;
    PyObject* error = Py_XNewRef(op->exit_error);
    tsm_mutex_unlock(&op->lock);
    return Py_BuildValue("(NN)", PyBool_FromLong(released), error == NULL ? Py_NewRef(Py_None) : error);
}

static PyObject*
op_get_owner(PyObject* self, void* Py_UNUSED(closure))
{
    return tsm_pid_object(((TsmIoOp*)self)->owner);
}

static PyMethodDef op_methods[] = {
    {"put", op_put, METH_O, NULL},
    {"done", op_done, METH_O, NULL},
    {"fail", op_fail, METH_O, NULL},
    {"take_what", op_take_what, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef op_members[] = {
    {"kind", Py_T_UBYTE, offsetof(TsmIoOp, kind), Py_READONLY, NULL},
    {"context", Py_T_OBJECT_EX, offsetof(TsmIoOp, context), Py_READONLY, NULL},
    {"task", _Py_T_OBJECT, offsetof(TsmIoOp, task), 0, NULL},
    {"room", _Py_T_OBJECT, offsetof(TsmIoOp, room), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef op_getset[] = {
    {"dropped", op_get_dropped, NULL, NULL, NULL},
    {"released", op_get_released, NULL, NULL, NULL},
    {"owner", op_get_owner, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyTypeObject TsmIoOp_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "transom._core._IoOp",
    .tp_basicsize = sizeof(TsmIoOp),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = op_dealloc,
    .tp_methods = op_methods,
    .tp_members = op_members,
    .tp_getset = op_getset,
};

/* tsm_aio_watch.c - looking after the threads of event loops from outside.
 *
 * What it is      Garbage that waits for a sleeping loop is brought to its notice; a loop
 *                 that is blocked can be asked for its stack, and interrupted. Who asks,
 *                 and when, is in transom/_loop_watch.py.
 * Protocol: stack A thread must stand still to be looked at, so the world is stopped. That
 *                 lasts as long as the longest native call of any thread, so it is done
 *                 only when none is seen in one (tsm_world.c).
 * Where tested    tests/semantics/test_loop_watch.py
 */
#include "bind/tsm_aio.h"

#define MAX_FRAMES 64

static tsm_mutex_t watch_lock;
static TsmIoLoop* loops; /* whose threads run; under watch_lock */

/* ---- pending work of the interpreter: a sleeping loop would sit on it ---- */

PyObject*
tsm_io_attach(PyObject* op, PyObject* Py_UNUSED(none))
{
    TsmIoLoop* self = (TsmIoLoop*)op;
    tsm_mutex_lock(&watch_lock);
    if (self->ts == NULL) {
        self->next = loops;
        loops = self;
    }
    self->ts = PyThreadState_Get();
    self->has_core = tsm_sched.slot_count < (uint32_t)tsm_ncpu();
    tsm_mutex_unlock(&watch_lock);
    tsm_thread_be_urgent(); /* all processes wait for it, and it waits itself most of the time */
    tsm_on_loop = true;
    Py_RETURN_NONE;
}

/* Takes the lock at a moment when nobody looks at the thread's stack. */
static void
lock_unwatched(TsmIoLoop* self)
{
    tsm_event_t never = {0};
    tsm_mutex_lock(&watch_lock);
    while (self->looked_at) {
        tsm_mutex_unlock(&watch_lock);
        Py_BEGIN_ALLOW_THREADS
        (void)tsm_event_wait(&never, 100000);
        Py_END_ALLOW_THREADS
        tsm_mutex_lock(&watch_lock);
    }
}

PyObject*
tsm_io_detach(PyObject* op, PyObject* Py_UNUSED(none))
{
    TsmIoLoop* self = (TsmIoLoop*)op;
    lock_unwatched(self);
    for (TsmIoLoop** at = &loops; *at != NULL; at = &(*at)->next) {
        if (*at == self) {
            *at = self->next;
            break;
        }
    }
    self->ts = NULL;
    tsm_mutex_unlock(&watch_lock);
    tsm_on_loop = false;
    Py_RETURN_NONE;
}

void
tsm_io_tick(void)
{
    tsm_mutex_lock(&watch_lock);
    for (TsmIoLoop* loop = loops; loop != NULL; loop = loop->next) {
        if (tsm_eval_pending(loop->ts) && tsm_is_detached(loop->ts)) {
            tsm_io_wake(loop);
        }
    }
    tsm_mutex_unlock(&watch_lock);
}

bool
tsm_io_all_threads(bool (*visit)(PyThreadState* ts))
{
    bool yes = true;
    tsm_mutex_lock(&watch_lock);
    for (TsmIoLoop* loop = loops; loop != NULL; loop = loop->next) {
        yes &= visit(loop->ts);
    }
    tsm_mutex_unlock(&watch_lock);
    return yes;
}

/* ---- the stack of a blocked loop ---- */

static void
end_look(TsmIoLoop* self)
{
    tsm_mutex_lock(&watch_lock);
    self->looked_at = false;
    tsm_mutex_unlock(&watch_lock);
}

/* If the world may be stopped for it the thread stays until looked_at is unset; else NULL. */
static PyThreadState*
begin_look(TsmIoLoop* self)
{
    tsm_mutex_lock(&watch_lock);
    PyThreadState* ts = self->ts;
    self->looked_at = ts != NULL;
    tsm_mutex_unlock(&watch_lock);
    bool quick = false;
    if (ts != NULL) {
        Py_BEGIN_ALLOW_THREADS
        quick = tsm_world_is_quick(&self->asker);
        Py_END_ALLOW_THREADS
    }
    if (!quick) {
        end_look(self);
    }
    return quick ? ts : NULL;
}

static PyObject*
frames_as_list(tsm_stack_t* stack)
{
    PyObject* list = PyList_New(0);
    for (int i = 0; i < stack->n; i++) {
        tsm_seen_frame_t* frame = &stack->frames[i];
        int line = PyCode_Addr2Line(frame->code, frame->offset);
        PyObject* entry = list == NULL ? NULL : Py_BuildValue("(Oi)", (PyObject*)frame->code, line);
        if (list != NULL && (entry == NULL || PyList_Append(list, entry) < 0)) {
            Py_CLEAR(list);
        }
        Py_XDECREF(entry);
        Py_DECREF(frame->code);
    }
    return list;
}

/* stack() -> [(code, line), ...], innermost first; None: not now, ask again. Another thread. */
PyObject*
tsm_io_stack(PyObject* op, PyObject* Py_UNUSED(none))
{
    TsmIoLoop* self = (TsmIoLoop*)op;
    tsm_seen_frame_t frames[MAX_FRAMES];
    tsm_stack_t stack = {.ts = begin_look(self), .frames = frames, .max = MAX_FRAMES};
    if (stack.ts == NULL) {
        Py_RETURN_NONE;
    }
    tsm_stack_of(&stack);
    end_look(self);
    return frames_as_list(&stack);
}

/* interrupt(exception class or None): raise it in the loop's thread when it next runs
 * Python code; None takes it back. */
PyObject*
tsm_io_interrupt(PyObject* op, PyObject* error)
{
    TsmIoLoop* self = (TsmIoLoop*)op;
    unsigned long id = 0;
    tsm_mutex_lock(&watch_lock);
    if (self->ts != NULL) {
        id = self->ts->thread_id;
    }
    tsm_mutex_unlock(&watch_lock);
    return PyBool_FromLong(id != 0 && PyThreadState_SetAsyncExc(id, error == Py_None ? NULL : error) != 0);
}

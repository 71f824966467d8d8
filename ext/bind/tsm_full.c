/* tsm_full.c - what send does when the receiver's queue is full: refuse, or wait for room.
 *
 * Who waits       A process waits as in any blocking call: with its OS thread, off its slot,
 *                 so it counts against max_threads and exit signals reach it. A foreign thread
 *                 waits detached, with an eye on signals (Ctrl-C).
 * Who does not    A process that sends to itself, one whose wait would close a ring of waiting
 *                 processes, one at the thread cap, and code that runs in no process on a
 *                 scheduler's thread (finalisers, log handlers): they get QueueFull. Likewise
 *                 the thread of an event loop, where all others would wait, too. So
 *                 nothing waits for ever but for a receiver that lives and does not receive.
 * Invariant       A sender that is killed while it waits sends nothing: a place granted to it
 *                 is given back. It looks every LOOK_NS, since a death wakes nobody's thread.
 * Protocol        of waiting and waking: proc/tsm_qlimit.h
 */
#include "bind/tsm_bind.h"
#include "proc/tsm_qlimit.h"

#include <errno.h>

#define LOOK_NS 20000000

_Thread_local bool tsm_on_loop;

/* Takes sig. */
static PyObject*
refuse(tsm_pid_t pid, tsm_qlimit_t* q, tsm_sig_t* sig, const char* why)
{
    PyObject* pid_op = tsm_pid_object(pid);
    uint32_t max = tsm_load_relaxed(&q->a_max); /* relaxed: for the text. */
    PyObject* exc = pid_op == NULL ? NULL
        : PyObject_CallFunction(tsm_bind.queue_full, "OIs", pid_op, (unsigned int)max, why);
    Py_XDECREF(pid_op);
    Py_DECREF((PyObject*)sig->term);
    tsm_sig_free(sig);
    if (exc != NULL) {
        PyErr_SetObject(tsm_bind.queue_full, exc);
        Py_DECREF(exc);
    }
    return NULL;
}

static bool
is_waiting(tsm_waiter_t* waiter)
{
    /* acquire: pairs with dismiss_locked. */
    return tsm_load_acquire(&waiter->a_state) == TSM_WAIT_QUEUED;
}

/* Posts it, or drops it when its sender is dead. Takes sig. */
static void
go_on(tsm_pid_t pid, tsm_qlimit_t* q, tsm_sig_t* sig, bool granted, bool dead)
{
    if (dead) {
        if (granted) {
            tsm_qlimit_left_any(q);
        }
        tsm_bury(sig);
        return;
    }
    /* Not granted: the receiver is gone, and what comes now is not refused by its heir. */
    sig->flags = granted ? TSM_SIGF_COUNTED : 0;
    (void)tsm_signal_any(pid, sig);
}

/* In a process; user mode. */
static PyObject*
wait_in_process(tsm_worker_t* w, tsm_proc_t* me, tsm_pid_t pid, tsm_qlimit_t* q, tsm_sig_t* sig)
{
    tsm_waiter_t waiter = {0};
    tsm_op_begin(w);
    bool dead = (me->flags & TSM_PF_DEAD) != 0;
    const char* why = NULL;
    enum tsm_wait how = TSM_WAIT_GONE;
    if (!dead && !tsm_token_try(me)) {
        why = "the sender cannot wait: max_threads processes occupy an OS thread already";
    } else if (!dead) {
        how = tsm_qlimit_wait_begin(q, pid, &waiter, tsm_qlimit_of(me), tsm_proc_pid(me));
        why = how == TSM_WAIT_DEADLOCK ? "the sender cannot wait: it would wait for itself" : NULL;
    }
    if (why != NULL) {
        (void)tsm_done(NULL);
        return PyErr_Occurred() ? (tsm_bury(sig), tsm_flush(), NULL) : refuse(pid, q, sig, why);
    }
    bool granted = false;
    if (how == TSM_WAIT_QUEUED) {
        bool off = is_waiting(&waiter) && tsm_inner_begin(w, &waiter.keep) == TSM_OK;
        if (!off) {
            tsm_op_end(w); /* it was granted, or no thread is to be had: the slot waits with us */
        }
        Py_BEGIN_ALLOW_THREADS
        while (is_waiting(&waiter) && !tsm_inbox_is_dead(&me->inbox)) {
            (void)tsm_event_wait(&waiter.event, LOOK_NS);
        }
        Py_END_ALLOW_THREADS
        granted = tsm_qlimit_wait_end(q, &waiter);
        if (off) {
            tsm_inner_end(w, waiter.ticket);
        } else {
            tsm_op_begin(w);
        }
        dead = (me->flags & TSM_PF_DEAD) != 0;
    }
    go_on(pid, q, sig, granted, dead);
    return tsm_done(Py_NewRef(Py_None));
}

static PyObject*
wait_outside(tsm_pid_t pid, tsm_qlimit_t* q, tsm_sig_t* sig)
{
    tsm_waiter_t waiter = {0};
    bool granted = false, interrupted = false;
    if (tsm_qlimit_wait_begin(q, pid, &waiter, NULL, 0) == TSM_WAIT_QUEUED) {
        while (is_waiting(&waiter) && !interrupted) {
            interrupted = tsm_wait_event(&waiter.event, LOOK_NS) < 0;
        }
        granted = tsm_qlimit_wait_end(q, &waiter);
    }
    PyObject* exc = PyErr_GetRaisedException();
    go_on(pid, q, sig, granted, interrupted);
    tsm_flush();
    PyErr_SetRaisedException(exc);
    return interrupted ? NULL : Py_NewRef(Py_None);
}

bool
tsm_call_full(tsm_pid_t pid, tsm_sig_t* sig)
{
    tsm_proc_t* p = tsm_ptab_slot_any(tsm_pid_idx(pid));
    tsm_qlimit_t* q = tsm_load_acquire(&p->a_qlimit); /* acquire: as in tsm_qlimit_of. */
    if (tsm_load_relaxed(&q->a_mode) != TSM_FULL_WAIT) { /* relaxed: set before the pid was known. */
        tsm_bury(sig);
        return false;
    }
    sig->flags = 0;
    (void)tsm_signal_any(pid, sig);
    return true;
}

PyObject*
tsm_post_full(tsm_pid_t pid, tsm_sig_t* sig)
{
    tsm_proc_t* p = tsm_ptab_slot_any(tsm_pid_idx(pid));
    tsm_qlimit_t* q = tsm_load_acquire(&p->a_qlimit); /* acquire: as in tsm_qlimit_of. */
    tsm_worker_t* w = tsm_self;
    tsm_proc_t* me = w == NULL ? NULL : tsm_worker_proc(w);
    if (tsm_load_relaxed(&q->a_mode) != TSM_FULL_WAIT) { /* relaxed: set before the pid was known. */
        return refuse(pid, q, sig, "it takes no more until it has received some");
    }
    if (w == NULL && tsm_on_loop) {
        return refuse(pid, q, sig, "the sender cannot wait: it runs on an event loop");
    }
    if (w == NULL) {
        return wait_outside(pid, q, sig);
    }
    if (me == NULL || tsm_in_runtime(w)) {
        return refuse(pid, q, sig, "the sender cannot wait: it runs in no process");
    }
    return wait_in_process(w, me, pid, q, sig);
}

/* tsm_aio.h - operations that run on an event loop for a process.
 *
 * What it is
 *   loop       the door of one event loop thread: a queue that any thread pushes into and
 *              a file descriptor that wakes the loop, once for each batch
 *   operation  what a process and the loop share: what to run, and a small queue of what
 *              came of it
 *   handle     what aio() returns; it belongs to the process (tsm_aio.c)
 * Who touches what: see the field groups. Nothing of it goes through the mailbox: a
 * receive() in between never meets a result, and nothing is left there by one that came
 * too late. The loop wakes the process by a time-out signal of no timer, which acts on
 * nothing (tsm_signal.c, handle_timeout).
 * Protocol: who waits
 *   process    lock; nothing there: waiting = true; unlock; suspend
 *   loop       lock; put; was it waiting? waiting = false; unlock; wake it
 * Protocol: giving up
 *   The handle goes, is closed, or an exception is thrown in at the await: dropped = true
 *   and a note to the loop, which cancels the task. What it still brings is let go.
 */
#ifndef TSM_AIO_H
#define TSM_AIO_H

#include "bind/tsm_bind.h"

typedef struct tsm_io_loop {
    PyObject_HEAD
    tsm_inbox_t inbox; /* any thread; IDLE: write to the descriptor after the push */
    tsm_node_t* taken; /* loop thread: out of the inbox, not yet looked at */
    bool served;       /* loop thread: it has taken something since it last lingered */
    bool has_core;     /* loop thread, set once: there are fewer slots than cores */
    int fd, wake_fd;   /* the same where there is eventfd */
    /* under the lock of tsm_aio_watch.c */
    PyThreadState* ts; /* of the loop's thread while it runs */
    struct tsm_io_loop* next;
    bool looked_at; /* a look at its stack is under way: the thread stays */
    /* the thread that watches the loops */
    tsm_asker_t asker;
} TsmIoLoop;

typedef struct {
    tsm_node_t node;
    PyObject* op; /* one reference while it is queued */
} tsm_io_entry_t;

enum tsm_io_kind { TSM_IO_AWAIT, TSM_IO_STREAM, TSM_IO_SESSION };

typedef struct {
    PyObject_HEAD
    /* set once */
    TsmIoLoop* loop;
    PyObject* context;
    tsm_pid_t owner;
    uint32_t cap; /* of the queue */
    uint8_t kind;
    /* whoever pushed it, then the loop */
    tsm_io_entry_t start, note;
    /* loop thread, from the start */
    PyObject* what;
    PyObject *task, *room;
    /* under lock */
    tsm_mutex_t lock;
    bool waiting; /* the process wants to be woken; nudge is there */
    bool stalled; /* the loop waits for room */
    bool ended;   /* the loop is through with it; error: how */
    bool dropped; /* the process is */
    bool noted;   /* note is queued */
    bool released; /* SESSION: to be closed now, with exit_error or None */
    tsm_sig_t* nudge;
    PyObject* error;
    PyObject* exit_error;
    uint32_t head, len;
    PyObject** ring; /* &one where cap is 1 */
    PyObject* one;
} TsmIoOp;

extern PyTypeObject TsmIoLoop_Type, TsmIoOp_Type, TsmAio_Type;

/* Takes no reference: the queue makes its own. False: the loop is closed. Any thread. */
bool tsm_io_push(TsmIoLoop* loop, tsm_io_entry_t* entry);
void tsm_io_wake(TsmIoLoop* loop);
/* Methods of loops (tsm_aio_watch.c): the thread begins and ends; its stack, while others
 * run; an exception for it. */
PyObject* tsm_io_attach(PyObject* op, PyObject* none);
PyObject* tsm_io_detach(PyObject* op, PyObject* none);
PyObject* tsm_io_stack(PyObject* op, PyObject* none);
PyObject* tsm_io_interrupt(PyObject* op, PyObject* error);
/* Loops that sleep on unfinished work of the interpreter are woken. Monitor thread. */
void tsm_io_tick(void);
/* True when visit says so of the thread of every loop. Any thread. */
bool tsm_io_all_threads(bool (*visit)(PyThreadState* ts));

/* Takes what, unless it fails: NULL with an exception. */
TsmIoOp* tsm_io_op_new(TsmIoLoop* loop, PyObject* what, PyObject* context, enum tsm_io_kind kind, uint32_t cap);

/* The handle p waits for has something; from the driver. */
bool tsm_aio_ready(tsm_proc_t* p);

/* ---- tsm_disown.c ---- */
/* tsm_disown, for what hangs on op, too. Own thread. */
void tsm_disown_all(PyObject* op);

#endif

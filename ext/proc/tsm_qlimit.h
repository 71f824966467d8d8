/* tsm_qlimit.h - a bound for the messages that wait for a process.
 *
 * What it is      A count of the messages between send and receive (inbox and mailbox) of a
 *                 process that was spawned with max_queue, and what becomes of one more:
 *                 dropped, refused, the end of the receiver, or a sender that waits. Only
 *                 messages to the pid or name are counted: other signals are never limited,
 *                 nor is what comes through an alias, which the process asked for (replies).
 * Who touches what
 *   the struct    made for the first limited life of a table slot, kept with the slot for
 *                 ever: a sender with a stale pid may count in it at any time
 *   a_ fields     any thread
 *   list, pid     under lock
 *   a waiter      lives on the stack of the waiting thread; whoever takes it out of the list
 *                 is done with it when it gives the lock back, and its thread takes the lock
 *                 before it leaves
 * Invariants
 *   I1  a_count == messages with TSM_SIGF_COUNTED in inbox and mailbox of the slot, plus
 *       those between admission and push. It is never reset: a message sent to the life
 *       before is counted back by whoever finds it in the wrong life
 *   I2  a_count <= a_max, but for messages that cannot wait (see offer)
 *   I3  a_waiters == length of the list
 * Protocol: no lost wake-up
 *   waiter   lock; a_waiters + 1 (sc); list; grant as long as there is room; unlock; sleep
 *   leaver   a_count - 1 (sc); a_waiters (sc) is not 0: lock; grant; unlock
 *   In the one order of the sc operations either the leaver sees the waiter, or the waiter's
 *   own look at a_count comes after the subtraction and it finds the room itself. A sender
 *   that finds others waiting joins the list behind them.
 *   A process that dies closes the queue under the lock: the waiters go, later ones find it
 *   closed.
 * Deadlock        a_waits_for says at whose queue a limited process waits. A waiter sets its
 *                 own, then follows the chain; back at itself it refuses to wait. Of two that
 *                 close a ring at the same time at least one sees it whole (sc). A link read
 *                 early may have ended before a later one began, so a ring of n is believed
 *                 after n walks: the last link cannot change while the walker is here, and
 *                 with each walk one more before it is known to be as old.
 * Rejected        counting in the receiver only (senders would have to ask); a semaphore per
 *                 process (a system call per message, and nothing to close).
 * Where tested    tests/semantics/test_bounded_queues.py, tests/stress/test_queue_limits.py
 */
#ifndef TSM_QLIMIT_H
#define TSM_QLIMIT_H

#include "proc/tsm_proc.h"

enum tsm_on_full { TSM_FULL_DROP, TSM_FULL_REJECT, TSM_FULL_KILL, TSM_FULL_WAIT };

enum tsm_wait { TSM_WAIT_QUEUED, TSM_WAIT_GRANTED, TSM_WAIT_GONE, TSM_WAIT_DEADLOCK };

typedef struct tsm_waiter {
    struct tsm_waiter* next; /* under lock */
    struct tsm_qlimit* own;  /* of the waiting process, or NULL */
    uint32_t a_state;        /* enum tsm_wait; changed under the lock */
    bool keep;               /* as in tsm_info_t, like the next */
    uint32_t ticket;
    tsm_event_t event;
} tsm_waiter_t;

typedef struct tsm_qlimit {
    uint32_t a_max; /* 0: this life has no limit */
    uint32_t a_count;
    uint32_t a_waiters;
    uint32_t a_mode; /* enum tsm_on_full */
    uint64_t a_dropped;
    tsm_pid_t a_waits_for;
    uint32_t a_overrun; /* KILL: the exit signal is on its way */
    tsm_mutex_t lock;
    tsm_pid_t pid; /* the life it is open for; 0: none */
    tsm_waiter_t* first;
    tsm_waiter_t** last;
} tsm_qlimit_t;

/* Before anybody knows the pid. */
int tsm_qlimit_open_owner(tsm_proc_t* p, uint32_t max, enum tsm_on_full mode);
void tsm_qlimit_close_owner(tsm_proc_t* p);
/* A message on its way to `to`. TSM_OK: push it. TSM_E_FULL: sig stays the caller's, who
 * asked to know (TSM_SIGF_ASKS). 1: taken, it goes no further. */
int tsm_qlimit_offer_any(tsm_qlimit_t* q, tsm_pid_t to, tsm_sig_t* sig);
/* A counted message has left. */
void tsm_qlimit_left_any(tsm_qlimit_t* q);
/* own: of the calling process me, or NULL. Every begin but GONE and DEADLOCK is followed by
 * one end, which tells whether a place was granted. */
enum tsm_wait tsm_qlimit_wait_begin(tsm_qlimit_t* q, tsm_pid_t pid, tsm_waiter_t* waiter,
                                    tsm_qlimit_t* own, tsm_pid_t me);
bool tsm_qlimit_wait_end(tsm_qlimit_t* q, tsm_waiter_t* waiter);

/* The limit of this life, or NULL. */
static inline tsm_qlimit_t*
tsm_qlimit_of(tsm_proc_t* p)
{
    tsm_qlimit_t* q = tsm_load_acquire(&p->a_qlimit); /* acquire: pairs with open. */
    return q != NULL && tsm_load_relaxed(&q->a_max) != 0 ? q : NULL; /* relaxed: a peek. */
}

#endif

/* tsm_ptimer.h - timers that deliver a signal: send_after, receive timeouts, sleep.
 *
 * What it is      A wheel timer and the signal it will send, both allocated when the timer
 *                 is set, so that firing never fails. The memory is type-stable: a handle
 *                 (pointer, id) may be stale and is checked under the wheel's lock.
 * Death           Timers aimed at one process hang in one wheel, chosen by its index, and
 *                 stand in the group a_timers of the process: when it dies they go at once.
 *                   setting    arms the timer in the group; fence; is the target dead?
 *                   dying      the inbox becomes DEAD; fence; is there a group?
 *                 One of the two sees the other; who sets it for itself is both, and needs
 *                 no fence. The timer of the process's own receive
 *                 (arm) is in no group and hangs in the wheel of the slot it runs on.
 * Limits          Reading the clock costs as much as all else in beginning a wait, and most waits
 *                 are over within microseconds. So a wait that finds the timer of an earlier one,
 *                 which was set for no longer and so fires early enough whatever the time is, is
 *                 begun without it: a_wake is then not a time but UNRECKONED, a number of the wait
 *                 and its delay, and the slot notes the process.
 *                   reckoning  whoever next reads the clock for the slot (every 16 picks, at a
 *                              preemption, before it goes idle, with a new holder) reads the
 *                              words of those noted first, then the clock, and puts the time
 *                              where the word still stands (compare-and-swap)
 *                 So the time is never too early, and late by as much as that took. The process
 *                 may be gone or somewhere else in another wait meanwhile: the rule holds for
 *                 whichever wait the word was read of, and the number tells two of them apart.
 * Source          erlang:send_after/3, cancel_timer/1 (semantics 1.7)
 */
#ifndef TSM_PTIMER_H
#define TSM_PTIMER_H

#include "sched/tsm_sched.h"

typedef struct tsm_ptimer {
    tsm_timer_t t; /* first: what the wheel knows */
    tsm_sig_t* sig;
    tsm_pid_t to;
    void* name; /* resolved when the timer fires, instead of `to`; its hash in sig->ref */
    uint64_t name_hash;
} tsm_ptimer_t;

typedef struct tsm_timer_handle {
    tsm_ptimer_t* timer;
    uint64_t id;
    uint16_t slot;
} tsm_timer_handle_t;

void tsm_ptimer_init(void); /* once, before any timer */

/* Fires at the first millisecond not before delay_ns from now. Takes sig, and name
 * (one reference) when given. */
int tsm_ptimer_set(uint64_t delay_ns, tsm_pid_t to, void* name, uint64_t name_hash,
                   tsm_sig_t* sig, tsm_timer_handle_t* handle);
/* Nanoseconds left; false: fired, cancelled, or its target is dead. */
bool tsm_ptimer_cancel(const tsm_timer_handle_t* handle, uint64_t* left_ns);
bool tsm_ptimer_read(const tsm_timer_handle_t* handle, uint64_t* left_ns);

/* The time, for the slot we hold; reckons the limits. */
uint64_t tsm_ptimer_clock(tsm_slot_t* slot);

/* The timer of p's receive. Most waits end before their time, so ending one only forgets its
 * time: the timer stays, for the next wait, which uses it when it fires early enough and sets it
 * again when it fired too early. At most one is set at a time, and a process is woken for
 * nothing at most once in the time that it waits for at the longest. */
int tsm_ptimer_arm(tsm_proc_t* p, uint64_t delay_ns);
void tsm_ptimer_fired(tsm_proc_t* p); /* hooks.timer_fired */

/* The wait that goes on has a limit. */
static inline bool
tsm_ptimer_runs(const tsm_proc_t* p)
{
    return tsm_load_relaxed(&p->a_wake) != 0; /* relaxed: only the owner makes it 0 or not. */
}

static inline bool
tsm_ptimer_is_armed(const tsm_proc_t* p)
{
    return tsm_ptimer_runs(p) || (p->flags & TSM_PF_TIMED_OUT) != 0;
}
/* sig reaches `to` later; nobody cancels it. TSM_E_NOMEM: sig stays the caller's. */
int tsm_ptimer_later(tsm_pid_t to, tsm_sig_t* sig, uint64_t delay_ns);
void tsm_ptimer_disarm(tsm_proc_t* p);
void tsm_ptimer_remove(tsm_proc_t* p); /* and nothing stays */

/* Drops all timers aimed at p, which is dead. */
void tsm_ptimer_drop_owner(tsm_proc_t* p);

/* Sends what is due. Attached. True: something fired. */
bool tsm_ptimer_expire(tsm_slot_t* slot, uint64_t now_ms);

/* Drops all timers of all slots; the node has stopped. */
void tsm_ptimer_clear(void);

#endif

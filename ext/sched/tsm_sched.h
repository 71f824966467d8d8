/* tsm_sched.h - slots, workers, the node, and how they hold on to each other.
 *
 * What it is
 *   A slot is the right to run agent code, one per core, with its own run queues and
 *   timer wheel. A worker is an OS thread. A worker with a slot takes processes from
 *   its queues and runs them; a worker without one either waits in the pool or is
 *   occupied by a process that could not be unwound from it: parked (preempted in the
 *   middle of its Python frames), waiting (a plain def in sync.receive), or blocked (in
 *   native code, its slot taken away).
 *
 * Who touches what: see the field groups. The two hand-overs:
 *   giving    a worker that holds a slot gives it to another worker, which sleeps on its
 *             event: tsm_give_slot
 *   taking    the monitor thread takes the slot of a worker that sits in user code
 *             (tsm_retake). Worker and monitor meet in a_in_rt and a_lost:
 *               worker, entering the runtime   a_in_rt = 1; light fence; read a_lost
 *               monitor                        a_lost = 1; heavy fence; read a_in_rt
 *             At least one sees the other. The monitor backs off when it sees a_in_rt;
 *             a worker that sees a_lost takes `lock`, under which the monitor acts, and
 *             reads from a_slot what came of it. The fast path costs no RMW.
 *
 * Invariants
 *   I1  a slot has exactly one holder, whose a_slot points back, except in the hands of
 *       a giver or taker
 *   I2  occupied workers <= a_tokens <= max_tokens + (short blocking calls of the runtime)
 *   I3  a runnable process stands in a run queue, in inject, in token_wait, or is the
 *       `next` of the worker about to run it
 *
 * Where tested    tests/model (idle, runq, inbox), tests/stress, tests/semantics
 * Source          Go's M/P split and sysmon (runtime/proc.go); BEAM priorities
 */
#ifndef TSM_SCHED_H
#define TSM_SCHED_H

#include "proc/tsm_proc.h"
#include "queue/tsm_inject.h"
#include "sched/tsm_idle.h"
#include "proc/tsm_det.h"
#include "sched/tsm_slot.h"

enum tsm_occupied { TSM_OCC_NONE, TSM_OCC_PARKED, TSM_OCC_BLOCKED, TSM_OCC_WAITING, TSM_OCC_ABANDONED };

struct tsm_worker {
    /* own thread only; the monitor may zero a_budget (a lost write only costs time) */
    int32_t a_budget;
    uint32_t a_in_rt; /* 1: inside the runtime, the slot cannot be taken */
    tsm_proc_t* next; /* to be run first; set by the giver before the event */
    uint64_t user_since_ns; /* off the slot: when the native run began */
    uint64_t user_cpu_ns;   /* the same: processor time of the thread then */
    uint16_t yield_wanted;
    bool patient; /* its process used up a budget and has not waited since; see tsm_be_prompt */
    uint32_t ticket; /* deterministic run: the place kept for its process; see tsm_det.h */
    void* py; /* the binding's per-thread state */
    /* any thread, atomic */
    uint32_t a_lost; /* the monitor took or is about to take the slot */
    tsm_slot_t* a_slot; /* changed by giver, taker (under lock) or own thread */
    tsm_proc_t* a_proc; /* what runs or is kept here; written by own thread */
    uint32_t a_occupied; /* enum tsm_occupied; for reports */
    uint64_t a_since_ns; /* when it became occupied */
    uint32_t a_inner;   /* its process waits for another one, off the slot */
    uint32_t a_service; /* monitor: attach once and run pending interpreter work */
    uint32_t a_offslot; /* dispatcher: go on without a slot; enum tsm_offslot */
    uint32_t a_background; /* it gives way to other threads; this and the next: see tsm_burn.h */
    uint64_t a_back_since_ns, a_back_cpu_ns;
    uint64_t a_tid;
    tsm_mutex_t lock; /* a_slot against the monitor; the process while it is BLOCKED */
    tsm_event_t event;
    /* under node.pool_lock */
    tsm_worker_t* pool_next;
    tsm_worker_t* all_next;
    tsm_os_thread_t os_thread;
    uint64_t epoch;   /* of the node that made it */
    uint32_t a_ended; /* atomic: the thread is about to return */
};

enum tsm_offslot { TSM_OFFSLOT_NO, TSM_OFFSLOT_YES, TSM_OFFSLOT_BURNS };

enum tsm_run { TSM_RUN_WAIT, TSM_RUN_YIELD, TSM_RUN_ENDED };

typedef struct tsm_sched_hooks {
    int (*thread_begin)(tsm_worker_t* w); /* new thread, detached after */
    void (*thread_end)(tsm_worker_t* w);
    void (*attach)(tsm_worker_t* w);
    void (*detach)(tsm_worker_t* w);
    void (*safepoint)(tsm_worker_t* w); /* attached, no process */
    bool (*pending)(tsm_worker_t* w);   /* any thread: is interpreter work waiting for it? */
    bool (*detached)(tsm_worker_t* w);  /* any thread: does it wait in a blocking call? */
    bool (*holds)(tsm_worker_t* w);     /* any, under w->lock: must who stops the world wait for it? */
    /* attached, inside the runtime; the body runs between tsm_user_begin and _end */
    enum tsm_run (*run)(tsm_worker_t* w, tsm_proc_t* p);
    /* attached: does p, which has not begun, run what blocks mostly? */
    bool (*blocks)(tsm_proc_t* p);
    /* attached: drops what the binding keeps in p */
    void (*release)(tsm_proc_t* p);
    /* monitor thread, detached: the slot of w was taken from it */
    void (*taken)(tsm_worker_t* w, tsm_proc_t* p);
    /* monitor thread, detached: once a tick */
    void (*tick)(uint64_t now_ns);
    /* attached, no process; deterministic runs: may a thread that is no worker still send?
     * Runs user code: the slot may be gone afterwards. */
    bool (*outside)(tsm_worker_t* w);
    /* a dead process runs on in w: make its code raise soon */
    void (*interrupt)(tsm_worker_t* w);
    /* own thread, attached: takes that back; the runtime raises from here on */
    void (*calm)(tsm_worker_t* w);
} tsm_sched_hooks_t;

typedef struct tsm_sched {
    /* set once in tsm_sched_start */
    tsm_slot_t* slots;
    uint32_t slot_count;
    uint32_t max_tokens;
    tsm_sched_hooks_t hooks;
    bool background; /* threads may go into the background, for they may come back */
    uint64_t a_epoch; /* which start this is */
    bool stopping; /* stop() is at work: no new processes; written before the exits */
    /* any thread; each locks itself */
    tsm_inject_t inject[TSM_QUEUES];
    tsm_inject_t token_wait; /* signal nodes with the pids of those that wait for a token */
    tsm_idle_t idle;
    /* atomic */
    uint32_t a_running;  /* the node is up */
    uint32_t a_closing;  /* workers go home */
    uint32_t a_unwatched; /* the monitor goes home: before the workers, whose threads it looks at */
    uint32_t a_tokens;   /* processes that occupy a worker */
    uint32_t a_above;    /* queued processes of high and max priority */
    uint32_t a_rest;     /* the monitor sleeps long; wake it when work comes */
    uint32_t a_visitors; /* foreign threads that may own a process for a moment */
    uint64_t a_handovers, a_capped, a_offslot_runs;
    tsm_mutex_t pool_lock;
    /* under pool_lock */
    tsm_worker_t* pool;
    tsm_worker_t* all;
    tsm_worker_t* left;  /* outlive their node in native code; in no other list */
    tsm_worker_t* spare; /* structs whose thread ended; never freed: stale pointers */
    uint32_t worker_count;
    tsm_event_t monitor_event;
    tsm_os_thread_t monitor_thread;
} tsm_sched_t;

extern tsm_sched_t tsm_sched;
extern _Thread_local tsm_worker_t* tsm_self __attribute__((tls_model("initial-exec")));

/* ---- entering and leaving the runtime (see Taking above) ---- */

bool tsm_enter_slow(tsm_worker_t* w);

/* True: the slot is ours and stays ours until tsm_leave. False: it was taken. */
static inline bool
tsm_enter(tsm_worker_t* w)
{
    /* relaxed: the light fence below orders it before the load. */
    tsm_store_relaxed(&w->a_in_rt, 1);
    tsm_fence_light();
    /* relaxed: pairs with tsm_retake through the heavy fence. */
    if (TSM_LIKELY(tsm_load_relaxed(&w->a_lost) == 0)) {
        return true;
    }
    return tsm_enter_slow(w);
}

static inline void
tsm_leave(tsm_worker_t* w)
{
    /* release: pairs with the load in tsm_retake: what we did to the slot is visible. */
    tsm_store_release(&w->a_in_rt, 0);
}

static inline bool
tsm_in_runtime(tsm_worker_t* w)
{
    return tsm_load_relaxed(&w->a_in_rt) != 0; /* relaxed: own thread's flag. */
}

static inline tsm_proc_t*
tsm_worker_proc(tsm_worker_t* w)
{
    return tsm_load_relaxed(&w->a_proc); /* relaxed: own thread's field. */
}

static inline tsm_slot_t*
tsm_worker_slot(tsm_worker_t* w)
{
    return tsm_load_relaxed(&w->a_slot); /* relaxed: stable while inside the runtime. */
}

/* Asks agent code in w to come into the runtime. The count stays exact: a whole TSM_POKE
 * is taken away, or nothing when the owner's own write overtakes this one. Any thread. */
static inline void
tsm_poke_budget(tsm_worker_t* w)
{
    if (tsm_load_relaxed(&w->a_budget) > 0) {             /* relaxed: a hint. */
        (void)tsm_sub_relaxed(&w->a_budget, TSM_POKE_REDS); /* relaxed: as above. */
    }
}

/* What is left of the budget, below zero when overdrawn. Own thread. */
static inline int32_t
tsm_budget_left(tsm_worker_t* w)
{
    int32_t left = tsm_load_relaxed(&w->a_budget); /* relaxed: own counter. */
    return left < -TSM_POKE_REDS / 2 ? left + TSM_POKE_REDS : left;
}

/* Reductions for work of the runtime itself. Own thread. */
static inline void
tsm_charge(tsm_worker_t* w, int32_t reds)
{
    /* relaxed: own thread's counter; the monitor's zero may be overwritten. */
    tsm_store_relaxed(&w->a_budget, tsm_load_relaxed(&w->a_budget) - reds);
}

/* ---- tsm_sched.c ---- */
int tsm_sched_start(uint32_t slots, uint32_t max_tokens, const tsm_sched_hooks_t* hooks);
/* Sends the workers home. True: all ended within timeout_ns; the rest is left to itself. */
bool tsm_sched_stop(int64_t timeout_ns);
/* One of that rest holds up whoever stops the world. */
bool tsm_sched_left_any(void);
void tsm_ready_any(tsm_proc_t* p);             /* hooks.ready */
void tsm_poke_any(tsm_proc_t* p, uint32_t status); /* hooks.poke */
/* Into the queue of a slot the caller holds, or with NULL where all slots look. */
void tsm_enqueue(tsm_slot_t* slot, tsm_proc_t* p);
void tsm_enqueue_spent(tsm_slot_t* slot, tsm_proc_t* p); /* it used up its budget */
void tsm_wake_one(void);
void tsm_unclaim_any(tsm_proc_t* p); /* after tsm_inbox_claim_any: back to sleep */
bool tsm_any_work(const tsm_slot_t* own);
/* Leave to occupy a worker; false at the cap. */
bool tsm_token_try(tsm_proc_t* p);
bool tsm_token_below(tsm_proc_t* p, uint32_t limit);
void tsm_token_force(tsm_proc_t* p);
/* Puts p to sleep until there is one, or a signal. p is no longer the caller's. */
void tsm_token_wait(tsm_proc_t* p);
void tsm_token_release(tsm_proc_t* p);
bool tsm_token_due(void); /* somebody waits though there is one */
void tsm_token_wake(void);
uint64_t tsm_now_ms(void);

/* ---- tsm_worker.c ---- */
void tsm_worker_main(void* arg);
tsm_proc_t* tsm_pick_local(tsm_slot_t* slot, const tsm_proc_t* rival);
void tsm_balance(tsm_slot_t* slot); /* holder: takes work from a far longer queue */
void tsm_proc_finish(tsm_worker_t* w, tsm_proc_t* p);

/* ---- tsm_park.c ---- */
/* Budget used up in agent code. Attached, in user code. False: the process is dead and
 * its frames must be unwound. */
bool tsm_preempt(tsm_worker_t* w);
/* A pinned body yields: others run first, if there are any. */
void tsm_yield_threaded(tsm_worker_t* w);
/* Gets a slot again after tsm_enter said it was taken. */
void tsm_reacquire(tsm_worker_t* w);
/* The process waits for a signal but keeps the worker (plain def). */
int tsm_wait_threaded(tsm_worker_t* w);
/* Around a wait of the runtime itself inside a process. */
int tsm_block_begin(tsm_worker_t* w);
/* The same for a wait for another process, which will end it. *keep, *ticket: of who ends
 * it, in a deterministic run. */
int tsm_inner_begin(tsm_worker_t* w, bool* keep);
void tsm_inner_end(tsm_worker_t* w, uint32_t ticket);
bool tsm_is_away_any(void); /* does a process run, or sit in native code, without the slot? */
void tsm_block_end(tsm_worker_t* w);
void tsm_give_slot(tsm_slot_t* slot, tsm_worker_t* to, tsm_proc_t* next);
/* Waits, detached, for a slot or leave to go on without. False: the node closed. */
bool tsm_wait_slot(tsm_worker_t* w);
tsm_worker_t* tsm_pool_take(void);
void tsm_pool_put(tsm_worker_t* w);
/* burns: its process uses the processor. */
bool tsm_retake(tsm_slot_t* slot, bool burns);
void tsm_abandon(tsm_worker_t* w);
/* The worker goes on with something else than a process that computes. */
void tsm_be_prompt(tsm_worker_t* w);
bool tsm_run_offslot(tsm_proc_t* p);

/* ---- tsm_monitor.c ---- */
void tsm_monitor_main(void* arg);

/* Deterministic runs: the turn of p is accounted for, and may be its last by the test's will. Holder only. */
void tsm_det_turn_ends(tsm_proc_t* p, int32_t used);

#endif

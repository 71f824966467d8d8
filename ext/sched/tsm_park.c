/* tsm_park.c - how slots change hands: parking, waiting, blocking, taking.
 *
 * What it is
 *   tier 2  tsm_preempt: agent code used up its budget and others wait; the process
 *           parks together with its worker and the slot moves on
 *   waiting tsm_wait_threaded: a plain def waits for a signal and keeps its worker
 *   tier 3  tsm_retake: the monitor takes the slot of a worker stuck in native code;
 *           tsm_run_offslot: a process known for that runs without a slot at once
 *   back    tsm_reacquire: a worker without a slot queues its process and waits
 * Invariants
 *   I1  a worker gives its slot away only after its process stands in a queue, sleeps
 *       in its inbox word, or is BLOCKED: nothing is forgotten with the worker
 *   I2  between clearing a_slot and waiting, the old slot is known only as a local
 *       variable; a new one may be written to a_slot at any moment from then on
 * Rejected
 *   Switching C stacks (assembly, and CPython's C stack checks); greenlets (locks and
 *   thread-locals would change owner under the user's code).
 * Where tested    tests/stress, tests/semantics (preemption, killing)
 * Source          Go: entersyscall, exitsyscall, retake in runtime/proc.go
 */
#include "sched/tsm_burn.h"
#include "sched/tsm_op.h"

#include "base/tsm_clock.h"
#include "sched/tsm_ptimer.h"

#include <stdlib.h>
#include <string.h>

bool
tsm_enter_slow(tsm_worker_t* w)
{
    tsm_mutex_lock(&w->lock);
    bool ours = tsm_worker_slot(w) != NULL;
    if (ours) {
        tsm_store_relaxed(&w->a_lost, 0); /* relaxed: under the lock, as the taker. */
    }
    tsm_mutex_unlock(&w->lock);
    return ours;
}

/* ---- the pool ---- */

static tsm_worker_t*
worker_new(void)
{
    tsm_worker_t* w = tsm_sched.spare;
    if (w != NULL) {
        tsm_sched.spare = w->all_next;
    } else {
        w = aligned_alloc(TSM_CACHELINE, (sizeof(*w) + TSM_CACHELINE - 1) / TSM_CACHELINE * TSM_CACHELINE);
        if (w == NULL) {
            return NULL;
        }
    }
    memset(w, 0, sizeof(*w));
    w->epoch = tsm_load_relaxed(&tsm_sched.a_epoch); /* relaxed: changes between nodes. */
    w->a_in_rt = 1;
    if (tsm_thread_start(tsm_worker_main, w, 0, &w->os_thread) < 0) {
        w->all_next = tsm_sched.spare;
        tsm_sched.spare = w;
        return NULL;
    }
    w->all_next = tsm_sched.all;
    tsm_sched.all = w;
    tsm_sched.worker_count++;
    return w;
}

/* A worker without slot and process; NULL: the system gives no more threads. */
tsm_worker_t*
tsm_pool_take(void)
{
    tsm_mutex_lock(&tsm_sched.pool_lock);
    tsm_worker_t* w = tsm_sched.pool;
    if (w != NULL) {
        tsm_sched.pool = w->pool_next;
        w->pool_next = NULL;
    } else {
        w = worker_new();
    }
    tsm_mutex_unlock(&tsm_sched.pool_lock);
    return w;
}

void
tsm_pool_put(tsm_worker_t* w)
{
    tsm_mutex_lock(&tsm_sched.pool_lock);
    w->pool_next = tsm_sched.pool;
    tsm_sched.pool = w;
    tsm_mutex_unlock(&tsm_sched.pool_lock);
}

/* ---- giving and waiting ---- */

/* `to` waits in tsm_wait_slot, or will. next: what it shall run first, or NULL. */
void
tsm_give_slot(tsm_slot_t* slot, tsm_worker_t* to, tsm_proc_t* next)
{
    if (next != NULL && tsm_load_relaxed(&next->a_worker) != to) { /* relaxed: ours. */
        to->next = next;
    }
    tsm_store_relaxed(&to->a_lost, 0); /* relaxed: published by the store of a_slot. */
    /* release: pairs with those who wake or watch the holder. */
    tsm_store_release(&slot->a_holder, to);
    /* release: pairs with tsm_wait_slot: next and the slot's contents are visible. */
    tsm_store_release(&to->a_slot, slot);
    tsm_event_set(&to->event);
}

static void
occupied(tsm_worker_t* w, enum tsm_occupied how)
{
    /* relaxed: for reports. */
    tsm_store_relaxed(&w->a_since_ns, tsm_now_ns());
    tsm_store_relaxed(&w->a_occupied, (uint32_t)how);
}

/* The node of this worker closes or has closed. */
static bool
is_over(const tsm_worker_t* w)
{
    /* acquire: pairs with tsm_sched_stop. relaxed: changes between nodes only. */
    return tsm_load_acquire(&tsm_sched.a_closing) != 0
           || w->epoch != tsm_load_relaxed(&tsm_sched.a_epoch);
}

/* Pending work of the interpreter, finalisers among it, and in no process: the one that keeps
 * this thread sleeps or is queued, and is not to be acted for. */
static void
serve(tsm_worker_t* w)
{
    tsm_proc_t* p = tsm_worker_proc(w);
    tsm_sched.hooks.attach(w);
    tsm_store_relaxed(&w->a_proc, NULL); /* relaxed: own thread's field. */
    tsm_sched.hooks.safepoint(w);
    tsm_store_relaxed(&w->a_proc, p); /* relaxed: as above. */
    tsm_sched.hooks.detach(w);
}

bool
tsm_wait_slot(tsm_worker_t* w)
{
    bool open = true;
    tsm_sched.hooks.detach(w);
    for (;;) {
        /* acquire: pairs with tsm_give_slot and tsm_run_offslot. */
        if (tsm_load_acquire(&w->a_slot) != NULL || tsm_load_acquire(&w->a_offslot) != 0) {
            break;
        }
        if (is_over(w)) {
            open = false;
            break;
        }
        if (tsm_load_relaxed(&w->a_service) != 0) { /* relaxed: a request. */
            tsm_store_relaxed(&w->a_service, 0);
            serve(w);
            continue;
        }
        (void)tsm_event_wait(&w->event, TSM_WAIT_FOREVER);
    }
    if (tsm_load_relaxed(&w->a_offslot) == TSM_OFFSLOT_BURNS) { /* relaxed: read before. */
        tsm_burn_begin(w);
    } else {
        tsm_burn_end(w);
    }
    tsm_store_relaxed(&w->a_offslot, TSM_OFFSLOT_NO); /* relaxed: own from here on. */
    tsm_sched.hooks.attach(w);
    return open;
}

/* User code goes on without a slot. */
static void
user_runs(tsm_worker_t* w)
{
    tsm_store_relaxed(&w->user_since_ns, tsm_now_ns()); /* relaxed: the monitor looks at it, to set probes. */
    w->user_cpu_ns = tsm_thread_cpu_ns(&w->os_thread);
}

/* The process goes on in this worker after a wait. */
static void
resumed(tsm_worker_t* w, tsm_proc_t* p)
{
    occupied(w, TSM_OCC_NONE);
    if (tsm_worker_slot(w) == NULL) {
        user_runs(w);
    }
    tsm_store_relaxed(&w->a_budget, tsm_det.slice_reds); /* relaxed: own thread's. */
    tsm_store_relaxed(&p->a_status, TSM_ST_RUNNING); /* relaxed: as in run_here. */
    if ((p->flags & TSM_PF_DEAD) == 0 && !tsm_inbox_is_empty(&p->inbox)) {
        (void)tsm_proc_service_owner(p);
    }
}

/* Stop found us without a slot: nobody will give one any more. */
static void
closed(tsm_proc_t* p)
{
    if ((p->flags & TSM_PF_DEAD) == 0) {
        tsm_hooks.term_ref(tsm_terms.killed);
        tsm_proc_die_owner(p, tsm_terms.killed, NULL);
    }
}

static void
wait_and_resume(tsm_worker_t* w, tsm_proc_t* p)
{
    if (!tsm_wait_slot(w)) {
        p->flags |= TSM_PF_STRANDED; /* its queue node may be linked: the struct stays */
        closed(p);
    }
    resumed(w, p);
}

/* ---- tier 2 ---- */

static bool
others_wait(tsm_slot_t* slot, const tsm_proc_t* p)
{
    if (tsm_load_relaxed(&tsm_det.a_ready) != 0) { /* relaxed: a hint. */
        return true;
    }
    /* relaxed: a hint. High and max wherever they are queued come before low and normal. */
    if (tsm_queue_of(p) <= TSM_Q_NORMAL && tsm_load_relaxed(&tsm_sched.a_above) != 0) {
        return true;
    }
    for (uint32_t q = tsm_queue_beside(p); q < TSM_QUEUES; q++) {
        if (tsm_runq_len_any(&slot->runq[q]) != 0
            || tsm_inject_len_any(&tsm_sched.inject[q]) != 0) {
            return true;
        }
    }
    return false;
}

/* Who shall hold the slot: the keeper of the next process, or a pooled worker that runs
 * next (may be NULL) or looks for work. NULL: no thread to be had. */
static tsm_worker_t*
successor(const tsm_proc_t* next)
{
    tsm_worker_t* keeper = next == NULL ? NULL : tsm_load_relaxed(&next->a_worker); /* relaxed: ours. */
    if (keeper != NULL && (next->flags & TSM_PF_NATIVE) == 0) {
        return keeper;
    }
    return tsm_pool_take();
}

static void
hand_over(tsm_slot_t* slot, tsm_worker_t* to, tsm_proc_t* next)
{
    if (next != NULL && (next->flags & TSM_PF_NATIVE) != 0) {
        if (!tsm_run_offslot(next)) {
            tsm_enqueue(NULL, next);
        }
        next = NULL;
    }
    tsm_give_slot(slot, to, next);
}

/* Who computes keeps those that wake for a moment waiting for the end of its slice of the core,
 * each time; so the kernel is told who is which. */
static void
be_patient(tsm_worker_t* w)
{
    if (!w->patient) {
        w->patient = true;
        tsm_thread_be_patient();
    }
}

void
tsm_be_prompt(tsm_worker_t* w)
{
    /* In the background the kernel would not hear it. relaxed: own thread's; cleared by the monitor at most. */
    if (TSM_UNLIKELY(w->patient) && tsm_load_relaxed(&w->a_background) == 0) {
        w->patient = false;
        tsm_thread_be_prompt();
    }
}

/* False: it may occupy no thread; it goes on, and the monitor sees a stuck slot. */
static bool
park(tsm_worker_t* w, tsm_slot_t* slot, tsm_proc_t* p)
{
    if (is_over(w) || !tsm_token_below(p, tsm_sched.max_tokens + TSM_PARK_RESERVE)) {
        return false;
    }
    tsm_proc_t* next = tsm_pick_local(slot, p);
    if (next == NULL) {
        return true; /* stolen in the meantime, or of low priority and passed over */
    }
    tsm_worker_t* to = successor(next);
    if (to == NULL) {
        tsm_enqueue(slot, next);
        return false;
    }
    /* relaxed: a statistic. */
    tsm_store_relaxed(&slot->a_preemptions, slot->a_preemptions + 1);
    be_patient(w);
    occupied(w, TSM_OCC_PARKED);
    tsm_store_relaxed(&p->a_status, TSM_ST_RUNNABLE); /* relaxed: for reports. */
    tsm_store_relaxed(&w->a_slot, NULL); /* relaxed: inside the runtime; see I2. */
    tsm_enqueue_spent(slot, p);          /* from here on a slot may be given to us */
    hand_over(slot, to, next);
    wait_and_resume(w, p);
    return true;
}

bool
tsm_preempt(tsm_worker_t* w)
{
    tsm_proc_t* p = tsm_worker_proc(w);
    bool mine = tsm_enter(w);
    int32_t used = tsm_det.slice_reds - tsm_budget_left(w);
    p->reds += (uint64_t)used;
    if (TSM_UNLIKELY(tsm_det.on != 0)) {
        tsm_det_turn_ends(p, used);
    }
    if (!mine) {
        tsm_reacquire(w);
    } else {
        tsm_slot_t* slot = tsm_worker_slot(w);
        (void)tsm_ptimer_expire(slot, tsm_ptimer_clock(slot) / 1000000u);
        if ((p->flags & TSM_PF_DEAD) == 0 && !tsm_inbox_is_empty(&p->inbox)) {
            (void)tsm_proc_service_owner(p);
        }
        tsm_balance(slot);
        bool fair = true;
        if (others_wait(slot, p)) {
            tsm_wake_one();
            fair = park(w, slot, p);
        }
        slot = tsm_worker_slot(w);
        if (fair && slot != NULL) {
            tsm_store_relaxed(&slot->a_ticks, slot->a_ticks + 1); /* relaxed: heartbeat. */
        }
    }
    if (TSM_UNLIKELY(tsm_det.on != 0)) {
        tsm_det_slice(p);
    }
    tsm_store_relaxed(&w->a_budget, tsm_det.slice_reds); /* relaxed: own thread's. */
    return (p->flags & TSM_PF_DEAD) == 0;
}

void
tsm_yield_threaded(tsm_worker_t* w)
{
    tsm_slot_t* slot = tsm_worker_slot(w);
    tsm_proc_t* p = tsm_worker_proc(w);
    if (slot != NULL && others_wait(slot, p)) {
        (void)park(w, slot, p);
    }
}

/* ---- waiting with a thread ---- */

/* A run off the slot is over: was it worth it, and what did it do? */
static void
judge_offslot(tsm_worker_t* w, tsm_proc_t* p)
{
    uint64_t ran_ns = tsm_now_ns() - w->user_since_ns;
    if (ran_ns > TSM_QUICK_NS) {
        p->quick_runs = 0;
        uint64_t cpu_ns = tsm_thread_cpu_ns(&w->os_thread) - w->user_cpu_ns;
        bool had_all = tsm_load_relaxed(&w->a_background) == 0; /* relaxed: a hint. */
        bool burns = cpu_ns > TSM_BURNS_NS && (!had_all || cpu_ns > ran_ns / 2);
        p->flags = burns ? p->flags | TSM_PF_BURNS : p->flags & ~(uint32_t)TSM_PF_BURNS;
    } else if (++p->quick_runs >= TSM_QUICK_RUNS) {
        p->flags &= ~(uint32_t)(TSM_PF_NATIVE | TSM_PF_BURNS); /* it no longer sits in native code */
        p->quick_runs = 0;
    }
}

int
tsm_wait_threaded(tsm_worker_t* w)
{
    tsm_proc_t* p = tsm_worker_proc(w);
    tsm_slot_t* slot = tsm_worker_slot(w);
    tsm_worker_t* to = NULL;
    if (slot != NULL && (to = tsm_pool_take()) == NULL) {
        return TSM_E_THREADS;
    }
    if (slot == NULL) {
        judge_offslot(w, p);
        if ((p->flags & TSM_PF_BURNS) == 0) {
            tsm_burn_end(w);
        }
    }
    tsm_be_prompt(w);
    occupied(w, TSM_OCC_WAITING);
    tsm_store_relaxed(&w->a_slot, NULL);             /* relaxed: see I2. */
    tsm_store_relaxed(&p->a_status, TSM_ST_WAITING); /* relaxed: for reports. */
    if (!tsm_inbox_sleep_owner(&p->inbox)) {
        tsm_store_relaxed(&w->a_slot, slot); /* relaxed: nobody else could write it. */
        if (slot != NULL) {
            tsm_pool_put(to);
        }
        resumed(w, p);
        return TSM_OK;
    }
    if (slot != NULL) {
        tsm_give_slot(slot, to, NULL);
    }
    wait_and_resume(w, p);
    return TSM_OK;
}

/* ---- off the slot and back ---- */

/* BLOCKED ends here: from now on only this thread acts for the process. Who serves it
 * this moment may be making Python objects: the wait is detached. */
static void
claim_blocked(tsm_worker_t* w, tsm_proc_t* p)
{
    tsm_event_t never = {0};
    uint32_t seen = TSM_ST_BLOCKED;
    /* acq_rel: pairs with service_blocked: what it did to the process is visible. */
    while (!tsm_cas_acq_rel(&p->a_status, &seen, TSM_ST_RUNNING) && seen == TSM_ST_SERVED) {
        tsm_sched.hooks.detach(w);
        (void)tsm_event_wait(&never, 20000);
        tsm_sched.hooks.attach(w);
        seen = TSM_ST_BLOCKED;
    }
    if (TSM_UNLIKELY((p->flags & TSM_PF_INTERRUPTED) != 0)) {
        p->flags &= ~(uint32_t)TSM_PF_INTERRUPTED;
        tsm_sched.hooks.calm(w);
    }
}

void
tsm_reacquire(tsm_worker_t* w)
{
    tsm_proc_t* p = tsm_worker_proc(w);
    claim_blocked(w, p);
    if (is_over(w)) { /* and its queue node may still be linked from the last time */
        closed(p);
        return;
    }
    judge_offslot(w, p);
    tsm_burn_end(w);
    if (TSM_LIKELY(tsm_det.on == 0)) { /* else it counts as away until it is picked */
        tsm_store_relaxed(&p->a_status, TSM_ST_RUNNABLE); /* relaxed: for reports. */
    }
    occupied(w, TSM_OCC_PARKED);
    tsm_token_force(p);
    uint32_t ticket = w->ticket;
    w->ticket = 0;
    if (TSM_UNLIKELY(ticket != 0)) {
        tsm_det_return_any(p, ticket);
        tsm_wake_one();
    } else {
        tsm_enqueue(NULL, p);
    }
    wait_and_resume(w, p);
}

void
tsm_op_begin_slow(tsm_worker_t* w)
{
    claim_blocked(w, tsm_worker_proc(w));
}

void
tsm_op_end_slow(tsm_worker_t* w)
{
    tsm_proc_t* p = tsm_worker_proc(w);
    tsm_store_relaxed(&w->a_lost, 1); /* relaxed: own thread reads it; no slot, no taker. */
    (void)tsm_swap_sc(&p->a_status, TSM_ST_BLOCKED); /* sc: against poke in tsm_signal.c */
    if (!tsm_inbox_is_empty(&p->inbox)) {
        tsm_poke_any(p, TSM_ST_BLOCKED);
    }
    tsm_leave(w);
}

void
tsm_user_begin_slow(tsm_worker_t* w)
{
    occupied(w, TSM_OCC_BLOCKED);
    user_runs(w);
    tsm_op_end(w);
}

void
tsm_user_end_slow(tsm_worker_t* w)
{
    judge_offslot(w, tsm_worker_proc(w));
    occupied(w, TSM_OCC_NONE);
}

/* p is known to sit in native code: give it leave to run without a slot. Caller owns p
 * and keeps its slot. False: there is no thread, it takes a slot after all. */
bool
tsm_run_offslot(tsm_proc_t* p)
{
    tsm_worker_t* keeper = tsm_load_relaxed(&p->a_worker); /* relaxed: we own p. */
    if (keeper == NULL) {
        keeper = tsm_token_try(p) ? tsm_pool_take() : NULL;
        if (keeper == NULL) {
            p->flags &= ~(uint32_t)TSM_PF_NATIVE;
            return false;
        }
        keeper->next = p;
    }
    (void)tsm_add_relaxed(&tsm_sched.a_offslot_runs, 1); /* relaxed: a statistic. */
    /* release: pairs with tsm_wait_slot. */
    bool burns = (p->flags & TSM_PF_BURNS) != 0;
    tsm_store_release(&keeper->a_offslot, burns ? TSM_OFFSLOT_BURNS : TSM_OFFSLOT_YES);
    tsm_event_set(&keeper->event);
    return true;
}

/* Inside the runtime. After it others may act for the process (BLOCKED). */
int
tsm_block_begin(tsm_worker_t* w)
{
    tsm_proc_t* p = tsm_worker_proc(w);
    tsm_slot_t* slot = tsm_worker_slot(w);
    if (slot != NULL) {
        tsm_worker_t* to = tsm_pool_take();
        if (to == NULL) {
            return TSM_E_THREADS;
        }
        tsm_token_force(p);
        tsm_store_relaxed(&w->a_slot, NULL); /* relaxed: see I2. */
        tsm_give_slot(slot, to, NULL);
    }
    tsm_user_begin(w);
    return TSM_OK;
}

/* Outside the runtime, detached or not; inside it afterwards. */
void
tsm_block_end(tsm_worker_t* w)
{
    if (!tsm_enter(w)) {
        tsm_reacquire(w);
    }
}

int
tsm_inner_begin(tsm_worker_t* w, bool* keep)
{
    *keep = tsm_det.on != 0 && tsm_worker_slot(w) != NULL;
    tsm_store_relaxed(&w->a_inner, 1); /* relaxed: giving the slot publishes it. */
    int rc = tsm_block_begin(w);
    if (rc < 0) {
        tsm_store_relaxed(&w->a_inner, 0); /* relaxed: the slot is still ours. */
        *keep = false;
    }
    return rc;
}

void
tsm_inner_end(tsm_worker_t* w, uint32_t ticket)
{
    w->ticket = ticket;
    tsm_block_end(w);
    w->ticket = 0;
    tsm_store_relaxed(&w->a_inner, 0); /* relaxed: the slot is ours again. */
}

bool
tsm_is_away_any(void)
{
    tsm_mutex_lock(&tsm_sched.pool_lock);
    tsm_worker_t* w = tsm_sched.all; /* entries stay while the node runs */
    tsm_mutex_unlock(&tsm_sched.pool_lock);
    for (; w != NULL; w = w->all_next) {
        tsm_proc_t* p = tsm_load_relaxed(&w->a_proc); /* relaxed: given with the slot. */
        if (p == NULL || tsm_load_relaxed(&w->a_inner) != 0) { /* relaxed: as above. */
            continue;
        }
        /* acquire: what it has pushed before it settled down is visible. */
        uint32_t status = tsm_load_acquire(&p->a_status);
        bool active = status == TSM_ST_RUNNING || status == TSM_ST_BLOCKED || status == TSM_ST_SERVED;
        if (active && !tsm_inbox_is_dead(&p->inbox)) {
            return true;
        }
    }
    return false;
}

void
tsm_abandon(tsm_worker_t* w)
{
    tsm_slot_t* slot = tsm_worker_slot(w);
    if (slot != NULL) {
        tsm_worker_t* to = tsm_pool_take();
        if (to == NULL) {
            return;
        }
        tsm_store_relaxed(&w->a_slot, NULL); /* relaxed: see I2. */
        tsm_give_slot(slot, to, NULL);
    }
    occupied(w, TSM_OCC_ABANDONED);
    tsm_sched.hooks.detach(w);
    for (;;) {
        (void)tsm_event_wait(&w->event, TSM_WAIT_FOREVER);
    }
}

/* ---- tier 3: the monitor thread only ---- */

bool
tsm_retake(tsm_slot_t* slot, bool burns)
{
    /* acquire: pairs with tsm_give_slot. */
    tsm_worker_t* w = tsm_load_acquire(&slot->a_holder);
    tsm_worker_t* to = tsm_pool_take();
    if (to == NULL) {
        return false;
    }
    tsm_proc_t* p = NULL;
    tsm_mutex_lock(&w->lock);
    tsm_store_relaxed(&w->a_lost, 1); /* relaxed: the heavy fence orders it. */
    tsm_fence_heavy();
    /* acquire: pairs with tsm_leave: the slot's queues are as the worker left them. */
    if (tsm_load_acquire(&w->a_in_rt) != 0 || tsm_worker_slot(w) != slot) {
        /* Without a slot it stays lost. relaxed: the worker looks under the lock. */
        tsm_store_relaxed(&w->a_lost, tsm_worker_slot(w) == NULL);
        tsm_mutex_unlock(&w->lock);
        tsm_pool_put(to);
        return false;
    }
    p = tsm_worker_proc(w);
    tsm_store_relaxed(&w->a_slot, NULL); /* relaxed: under the lock. */
    tsm_poke_budget(w); /* its next event comes in */
    occupied(w, TSM_OCC_BLOCKED);
    if (p != NULL) {
        user_runs(w);
        tsm_token_force(p);
        p->flags |= tsm_det.on == 0 ? (uint32_t)TSM_PF_NATIVE : 0; /* a deterministic run has one runner */
        p->quick_runs = 0;
        if (burns && tsm_det.on == 0) {
            p->flags |= TSM_PF_BURNS;
            tsm_burn_begin(w);
        }
        tsm_store_sc(&p->a_status, TSM_ST_BLOCKED); /* sc: against poke in tsm_signal.c */
    }
    tsm_mutex_unlock(&w->lock);
    (void)tsm_add_relaxed(&tsm_sched.a_handovers, 1); /* relaxed: a statistic. */
    tsm_give_slot(slot, to, NULL);
    if (p != NULL) {
        tsm_sched.hooks.taken(w, p);
    }
    return true;
}

/* tsm_sched.c - the node: start, stop, and getting woken processes into run queues.
 *
 * Protocol: no lost wake-up
 *   A process that is woken is enqueued by the one that woke it; then the pusher looks
 *   for an idle slot (tsm_idle_wake_any: light fence, then the idle word). A worker that
 *   goes to sleep enters itself there, and the last one searching makes a heavy fence
 *   and looks at all queues once more. One of the two sees the other.
 *   A local push does not wake anybody while the queue was empty: the pusher is about to
 *   run the one it woke (two talking processes stay on one core). The work is seen at
 *   the next pick, at the next budget, or by the monitor thread within two ticks.
 * Where tested    tests/model/model_idle.c, tests/stress
 */
#include "sched/tsm_burn.h"
#include "sched/tsm_op.h"

#include "base/tsm_background.h"
#include "base/tsm_clock.h"

#include <stdlib.h>
#include <string.h>

tsm_sched_t tsm_sched;
_Thread_local tsm_worker_t* tsm_self __attribute__((tls_model("initial-exec")));

uint64_t
tsm_now_ms(void)
{
    return tsm_time_ns() / 1000000u;
}

bool
tsm_any_work(const tsm_slot_t* own)
{
    if (tsm_load_relaxed(&tsm_det.a_ready) != 0) { /* relaxed: a hint. */
        return true;
    }
    for (int q = 0; q < TSM_QUEUES; q++) {
        if (tsm_inject_len_any(&tsm_sched.inject[q]) != 0) {
            return true;
        }
    }
    for (uint32_t i = 0; i < tsm_sched.slot_count; i++) {
        for (int q = 0; q < TSM_QUEUES; q++) {
            if (tsm_runq_len_any(&tsm_sched.slots[i].runq[q]) != 0) {
                return true;
            }
        }
    }
    (void)own;
    return false;
}

/* One idle slot, if there is one and nobody searches already, gets up. */
void
tsm_wake_one(void)
{
    int id = tsm_idle_wake_any(&tsm_sched.idle);
    if (id < 0) {
        return;
    }
    /* acquire: pairs with tsm_give_slot. An idle slot keeps its holder. */
    tsm_worker_t* holder = tsm_load_acquire(&tsm_sched.slots[id].a_holder);
    tsm_event_set(&holder->event);
    if (tsm_load_relaxed(&tsm_sched.a_rest) != 0) { /* relaxed: at worst 100 ms late. */
        tsm_event_set(&tsm_sched.monitor_event);
    }
}

/* The queue is full: half of it and p move to inject, where all slots find them. */
static void
overflow(tsm_slot_t* slot, uint32_t q, tsm_proc_t* p)
{
    void* half[TSM_RUNQ_CAP / 2 + 1];
    /* 0 when a thief was faster; then p goes alone. */
    uint32_t n = tsm_runq_half_owner(&slot->runq[q], half, TSM_RUNQ_CAP / 2);
    half[n++] = p;
    for (uint32_t i = 0; i + 1 < n; i++) {
        ((tsm_proc_t*)half[i])->rq_node.next = &((tsm_proc_t*)half[i + 1])->rq_node;
    }
    ((tsm_proc_t*)half[n - 1])->rq_node.next = NULL;
    tsm_inject_push_batch_any(&tsm_sched.inject[q], &((tsm_proc_t*)half[0])->rq_node,
                              &((tsm_proc_t*)half[n - 1])->rq_node, n);
}

static void
enqueue_at(tsm_slot_t* slot, tsm_proc_t* p, uint32_t q)
{
    if (TSM_UNLIKELY(tsm_det.on != 0) && tsm_det_push_any(p, tsm_self == NULL)) {
        tsm_wake_one();
        return;
    }
    if (TSM_UNLIKELY(q > TSM_Q_NORMAL)) {
        /* relaxed: a hint where to look; the queues themselves are the truth. */
        (void)tsm_add_relaxed(&tsm_sched.a_above, 1);
    }
    if (slot == NULL) {
        tsm_inject_push_any(&tsm_sched.inject[q], &p->rq_node);
        tsm_wake_one();
        return;
    }
    bool busy = tsm_runq_len_any(&slot->runq[q]) != 0;
    if (TSM_UNLIKELY(!tsm_runq_push_owner(&slot->runq[q], p))) {
        overflow(slot, q, p);
    }
    if (busy) {
        tsm_wake_one();
    }
}

void
tsm_enqueue(tsm_slot_t* slot, tsm_proc_t* p)
{
    enqueue_at(slot, p, tsm_queue_of(p));
}

void
tsm_enqueue_spent(tsm_slot_t* slot, tsm_proc_t* p)
{
    enqueue_at(slot, p, tsm_queue_beside(p));
}

void
tsm_ready_any(tsm_proc_t* p)
{
    /* relaxed: for reports; the queue hands the process over. */
    tsm_store_relaxed(&p->a_status, TSM_ST_RUNNABLE);
    tsm_worker_t* w = tsm_self;
    if (w == NULL) {
        tsm_enqueue(NULL, p);
        return;
    }
    if (tsm_in_runtime(w)) {
        tsm_enqueue(tsm_worker_slot(w), p);
        return;
    }
    /* As tsm_enter, but never its slow half, which takes a lock: we may be called with
     * one held, and inject serves as well. relaxed, both: as there. */
    tsm_store_relaxed(&w->a_in_rt, 1);
    tsm_fence_light();
    bool mine = tsm_load_relaxed(&w->a_lost) == 0; /* relaxed: as in tsm_enter. */
    tsm_enqueue(mine ? tsm_worker_slot(w) : NULL, p);
    tsm_leave(w);
}

/* Urgent signals for a process in native code: act in its place. BLOCKED -> SERVED makes
 * this thread the owner; its own thread waits for SERVED to end before it takes over. No
 * lock is held, so making answers and dying may wait and detach. */
static void
service_blocked(tsm_proc_t* p)
{
    for (;;) {
        uint32_t seen = TSM_ST_BLOCKED;
        /* acq_rel: pairs with the swap below and with tsm_op_end_slow: ownership. */
        if (!tsm_cas_acq_rel(&p->a_status, &seen, TSM_ST_SERVED)) {
            return; /* it is served, or came back and looks itself */
        }
        tsm_worker_t* w = tsm_load_relaxed(&p->a_worker); /* relaxed: we own p. */
        if ((p->flags & TSM_PF_DEAD) == 0 && !tsm_proc_service_owner(p)
            && (p->flags & TSM_PF_ENDING) == 0) {
            p->flags |= TSM_PF_INTERRUPTED;
            tsm_sched.hooks.interrupt(w); /* w cannot leave p while it is SERVED */
        }
        /* sc: against the look at the status after a push (poke): whoever saw SERVED has
         * pushed before the look at the inbox below. */
        (void)tsm_swap_sc(&p->a_status, TSM_ST_BLOCKED);
        if ((p->flags & TSM_PF_DEAD) != 0 || tsm_inbox_is_empty(&p->inbox)) {
            return;
        }
    }
}

void
tsm_poke_any(tsm_proc_t* p, uint32_t status)
{
    /* A death under service_blocked pokes others in turn; they wait in a list, so that
     * a long chain of links does not become a deep stack. */
    static _Thread_local tsm_pid_t waiting[64];
    static _Thread_local uint32_t count;
    static _Thread_local bool busy;
    if (status != TSM_ST_BLOCKED) {
        /* acquire: pairs with the store in run_here; worker memory is type-stable. */
        tsm_worker_t* w = tsm_load_acquire(&p->a_worker);
        if (w != NULL) {
            tsm_poke_budget(w);
        }
        return;
    }
    if (busy) {
        if (count < 64) {
            waiting[count++] = tsm_proc_pid(p);
        } /* else a_urgent is set: the monitor thread services it at its next tick */
        return;
    }
    busy = true;
    service_blocked(p);
    while (count > 0) {
        tsm_proc_t* next = tsm_ptab_get_any(waiting[--count]);
        if (next != NULL) {
            service_blocked(next);
        }
    }
    busy = false;
}

void
tsm_unclaim_any(tsm_proc_t* p)
{
    /* relaxed: for reports. */
    tsm_store_relaxed(&p->a_status, TSM_ST_WAITING);
    if (!tsm_inbox_sleep_owner(&p->inbox)) {
        tsm_ready_any(p);
    }
}

/* ---- tokens: leave to occupy a worker beyond the slots ---- */

bool
tsm_token_try(tsm_proc_t* p)
{
    return tsm_token_below(p, tsm_sched.max_tokens);
}

bool
tsm_token_below(tsm_proc_t* p, uint32_t limit)
{
    if ((p->flags & TSM_PF_TOKEN) != 0) {
        return true;
    }
    uint32_t taken = tsm_load_relaxed(&tsm_sched.a_tokens); /* relaxed: the CAS decides. */
    do {
        if (taken >= limit) {
            (void)tsm_add_relaxed(&tsm_sched.a_capped, 1); /* relaxed: a statistic. */
            return false;
        }
        /* sc: against tsm_token_wait. */
    } while (!tsm_cas_sc(&tsm_sched.a_tokens, &taken, taken + 1));
    p->flags |= TSM_PF_TOKEN;
    return true;
}

void
tsm_token_force(tsm_proc_t* p)
{
    if ((p->flags & TSM_PF_TOKEN) == 0) {
        p->flags |= TSM_PF_TOKEN;
        (void)tsm_add_relaxed(&tsm_sched.a_tokens, 1); /* relaxed: a count. */
    }
}

/* Does the process of a waiting entry get up? *stays: it is awake for another reason and
 * tries in its turn; its entry is still wanted should it fail. */
static bool
token_wake(tsm_proc_t* p, bool* stays)
{
    *stays = false;
    if (p == NULL || tsm_inbox_is_dead(&p->inbox)) {
        return false;
    }
    if (!tsm_inbox_claim_any(&p->inbox)) {
        *stays = true;
        return false;
    }
    if ((p->flags & TSM_PF_TOKEN_WAIT) == 0) {
        tsm_unclaim_any(p); /* it got its token meanwhile and sleeps for other reasons */
        return false;
    }
    p->flags &= ~(uint32_t)TSM_PF_TOKEN_WAIT;
    tsm_ready_any(p);
    return true;
}

bool
tsm_token_due(void)
{
    /* relaxed: looked at again and again. */
    return tsm_inject_len_any(&tsm_sched.token_wait) != 0
           && tsm_load_relaxed(&tsm_sched.a_tokens) < tsm_sched.max_tokens;
}

/* One of those that wait gets up and tries again. Entries set aside meanwhile are out of
 * sight of others for a moment; the monitor looks after what that may miss. */
void
tsm_token_wake(void)
{
    tsm_node_t* awake = NULL; /* entries to be put back */
    tsm_node_t* node;
    bool done = false;
    while (!done && (node = tsm_inject_pop_any(&tsm_sched.token_wait)) != NULL) {
        tsm_sig_t* entry = (tsm_sig_t*)(void*)node;
        bool stays;
        done = token_wake(tsm_ptab_get_any(entry->from), &stays);
        if (stays) {
            node->next = awake;
            awake = node;
        } else {
            tsm_sig_free(entry);
        }
    }
    while (awake != NULL) {
        node = awake;
        awake = node->next;
        tsm_inject_push_any(&tsm_sched.token_wait, node);
    }
}

void
tsm_token_release(tsm_proc_t* p)
{
    if ((p->flags & TSM_PF_TOKEN) == 0) {
        return;
    }
    p->flags &= ~(uint32_t)TSM_PF_TOKEN;
    if (!tsm_ptab_is_current(p)) {
        return; /* of a node that has ended: its count went with it */
    }
    (void)tsm_sub_sc(&tsm_sched.a_tokens, 1); /* sc: against tsm_token_wait. */
    tsm_token_wake();
}

/* It sleeps in its inbox like a process in receive, so it still hears signals; its pid
 * stands in the list once. Pushing the entry, then looking at the count, against
 * releasing, then looking at the list: one of the two sees the other (both sc). */
void
tsm_token_wait(tsm_proc_t* p)
{
    tsm_sig_t* entry = NULL;
    if ((p->flags & TSM_PF_TOKEN_WAIT) == 0) {
        entry = tsm_sig_new(TSM_SIG_DROP);
        if (entry == NULL) {
            tsm_ready_any(p); /* no memory: it asks again each turn */
            return;
        }
        entry->from = tsm_proc_pid(p);
        p->flags |= TSM_PF_TOKEN_WAIT;
    }
    tsm_unclaim_any(p); /* no longer ours */
    if (entry != NULL) {
        tsm_inject_push_any(&tsm_sched.token_wait, &entry->node);
    }
    if (tsm_load_sc(&tsm_sched.a_tokens) < tsm_sched.max_tokens) { /* sc: see above. */
        tsm_token_wake();
    }
}

static int
make_slots(uint32_t count)
{
    if (tsm_sched.slots == NULL) {
        /* All slots are made once and kept: stale timer handles may name any. */
        tsm_sched.slots = aligned_alloc(TSM_CACHELINE, sizeof(tsm_slot_t) * TSM_MAX_SLOTS);
        if (tsm_sched.slots == NULL) {
            return TSM_E_NOMEM;
        }
        memset(tsm_sched.slots, 0, sizeof(tsm_slot_t) * TSM_MAX_SLOTS);
        for (uint16_t i = 0; i < TSM_MAX_SLOTS; i++) {
            tsm_sched.slots[i].id = i;
            tsm_wheel_init(&tsm_sched.slots[i].wheel, tsm_now_ms());
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        tsm_sched.slots[i].seen_ticks = tsm_sched.slots[i].seen_ns = 0;
        tsm_sched.slots[i].unreckoned_count = 0;
        tsm_sched.slots[i].picks = tsm_sched.slots[i].woken_reds = 0;
        tsm_wheel_restart(&tsm_sched.slots[i].wheel, tsm_now_ms());
        for (int q = 0; q < TSM_QUEUES; q++) {
            tsm_runq_init(&tsm_sched.slots[i].runq[q], count == 1);
        }
    }
    tsm_sched.slot_count = count;
    return TSM_OK;
}

int
tsm_sched_start(uint32_t slots, uint32_t max_tokens, const tsm_sched_hooks_t* hooks)
{
    tsm_fence_init();
    tsm_store_relaxed(&tsm_sched.a_epoch, tsm_sched.a_epoch + 1); /* relaxed: no worker yet. */
    tsm_sched.hooks = *hooks;
    tsm_sched.max_tokens = max_tokens;
    tsm_sched.background = tsm_background_possible();
    /* relaxed, all: no worker runs yet; starting the threads publishes all of this. */
    tsm_store_relaxed(&tsm_sched.a_closing, 0);
    tsm_store_relaxed(&tsm_sched.a_unwatched, 0);
    tsm_store_relaxed(&tsm_sched.a_tokens, 0);
    tsm_store_relaxed(&tsm_sched.a_above, 0);
    /* relaxed, all: as above. */
    tsm_store_relaxed(&tsm_sched.a_rest, 0);
    tsm_store_relaxed(&tsm_sched.a_handovers, 0);
    tsm_store_relaxed(&tsm_sched.a_capped, 0);
    tsm_store_relaxed(&tsm_sched.a_offslot_runs, 0); /* relaxed: as above. */
    for (int q = 0; q < TSM_QUEUES; q++) {
        tsm_inject_init(&tsm_sched.inject[q]);
    }
    tsm_inject_init(&tsm_sched.token_wait);
    tsm_sched.worker_count = 0;
    tsm_sched.all = tsm_sched.pool = NULL;
    if (make_slots(slots) < 0) {
        return TSM_E_NOMEM;
    }
    tsm_idle_init(&tsm_sched.idle, slots);
    for (uint32_t i = 0; i < slots; i++) {
        tsm_worker_t* w = tsm_pool_take();
        if (w == NULL) {
            (void)tsm_sched_stop(-1);
            return TSM_E_THREADS;
        }
        tsm_give_slot(&tsm_sched.slots[i], w, NULL);
    }
    if (tsm_thread_start(tsm_monitor_main, NULL, 0, &tsm_sched.monitor_thread) < 0) {
        (void)tsm_sched_stop(-1);
        return TSM_E_THREADS;
    }
    tsm_store_release(&tsm_sched.a_running, 1); /* release: pairs with API entries. */
    return TSM_OK;
}

/* Runnable processes nobody will run any more must not linger in the queues: the slots
 * are used again by the next node. The binding ends them (tsm_node.c); their structs are
 * not used again. */
static void
empty_queues(void)
{
    for (int q = 0; q < TSM_QUEUES; q++) {
        while (tsm_inject_pop_any(&tsm_sched.inject[q]) != NULL) {
        }
        for (uint32_t i = 0; i < tsm_sched.slot_count; i++) {
            while (tsm_runq_pop_owner(&tsm_sched.slots[i].runq[q]) != NULL) {
            }
        }
    }
    tsm_node_t* entry;
    while ((entry = tsm_inject_pop_any(&tsm_sched.token_wait)) != NULL) {
        tsm_sig_free((tsm_sig_t*)(void*)entry);
    }
}

/* The thread sits in native code and outlives the node: its slot is not its own any more.
 * Waiting without one (parked, in the pool) it finds out by itself. */
static void
leave_behind(tsm_worker_t* w)
{
    tsm_event_t never = {0};
    bool inside = true;
    for (int i = 0; inside && i < 100; i++) {
        tsm_mutex_lock(&w->lock);
        tsm_store_relaxed(&w->a_lost, 1); /* relaxed: the heavy fence orders it. */
        tsm_fence_heavy();
        tsm_proc_t* p = tsm_worker_proc(w);
        /* acquire, both: pair with tsm_leave and with the end of the worker. */
        inside = tsm_load_acquire(&w->a_in_rt) != 0 && tsm_load_acquire(&w->a_ended) == 0;
        if (!inside && tsm_worker_slot(w) != NULL) {
            tsm_store_relaxed(&w->a_slot, NULL); /* relaxed: under the lock. */
            if (p != NULL) {
                tsm_store_sc(&p->a_status, TSM_ST_BLOCKED); /* sc: as in tsm_retake. */
            }
        }
        tsm_mutex_unlock(&w->lock);
        if (inside) { /* the runtime is left soon, by whatever door */
            (void)tsm_event_wait(&never, 50000);
        }
    }
}

/* Inside the runtime, or without a process: it ends by itself in a moment, and must not
 * be left to touch what the next node starts with. */
static bool
goes_home(tsm_worker_t* w, uint64_t deadline_ns)
{
    /* acquire: pairs with tsm_leave. relaxed: as in reports. */
    bool soon = tsm_load_acquire(&w->a_in_rt) != 0 || tsm_load_relaxed(&w->a_proc) == NULL;
    return soon && tsm_now_ns() < deadline_ns + TSM_GO_HOME_NS;
}

static bool
join_worker(tsm_worker_t* w, uint64_t deadline_ns)
{
    /* acquire: pairs with the worker's last store. */
    while (tsm_load_acquire(&w->a_ended) == 0
           && (tsm_now_ns() < deadline_ns || goes_home(w, deadline_ns))
           && tsm_load_relaxed(&w->a_occupied) != TSM_OCC_ABANDONED) { /* relaxed: final. */
        tsm_event_set(&w->event);
        (void)tsm_event_wait(&tsm_sched.monitor_event, 200000);
    }
    if (tsm_load_acquire(&w->a_ended) == 0) { /* acquire: as above. */
        leave_behind(w);
        tsm_thread_detach(&w->os_thread);
        tsm_mutex_lock(&tsm_sched.pool_lock);
        w->all_next = tsm_sched.left;
        tsm_sched.left = w;
        tsm_mutex_unlock(&tsm_sched.pool_lock);
        return false;
    }
    tsm_thread_join(&w->os_thread);
    tsm_mutex_lock(&tsm_sched.pool_lock);
    w->all_next = tsm_sched.spare;
    tsm_sched.spare = w;
    tsm_mutex_unlock(&tsm_sched.pool_lock);
    return true;
}

/* Does a thread that was left behind hold up whoever stops the world? Of those that came
 * home meanwhile the structs are used again. */
bool
tsm_sched_left_any(void)
{
    bool holds = false;
    tsm_mutex_lock(&tsm_sched.pool_lock);
    tsm_worker_t** at = &tsm_sched.left;
    while (*at != NULL && !holds) {
        tsm_worker_t* w = *at;
        if (tsm_load_acquire(&w->a_ended) != 0) { /* acquire: pairs with its last store. */
            *at = w->all_next;
            w->all_next = tsm_sched.spare;
            tsm_sched.spare = w;
            continue;
        }
        tsm_mutex_lock(&w->lock);
        holds = tsm_sched.hooks.holds(w);
        tsm_mutex_unlock(&w->lock);
        at = &w->all_next;
    }
    tsm_mutex_unlock(&tsm_sched.pool_lock);
    return holds;
}

bool
tsm_sched_stop(int64_t timeout_ns)
{
    uint64_t deadline = tsm_now_ns() + (uint64_t)timeout_ns;
    bool started = tsm_load_relaxed(&tsm_sched.a_running) != 0; /* relaxed: own caller's. */
    tsm_store_sc(&tsm_sched.a_running, 0); /* sc: against visitors, bind/tsm_info.c. */
    if (started) {
        tsm_store_release(&tsm_sched.a_unwatched, 1); /* release: pairs with closing in tsm_monitor.c. */
        tsm_event_set(&tsm_sched.monitor_event);
        tsm_thread_join(&tsm_sched.monitor_thread);
    }
    tsm_store_sc(&tsm_sched.a_closing, 1); /* sc: seen by whoever goes to sleep after. */
    bool all_ended = true;
    tsm_mutex_lock(&tsm_sched.pool_lock);
    tsm_worker_t* w = tsm_sched.all;
    tsm_mutex_unlock(&tsm_sched.pool_lock);
    for (tsm_worker_t* each = w; each != NULL; each = each->all_next) {
        tsm_burn_end(each); /* the monitor, which would see to it, has ended */
        tsm_event_set(&each->event);
    }
    for (tsm_worker_t *each = w, *next; each != NULL; each = next) {
        next = each->all_next;
        all_ended &= join_worker(each, timeout_ns < 0 ? UINT64_MAX : deadline);
    }
    empty_queues();
    return all_ended;
}

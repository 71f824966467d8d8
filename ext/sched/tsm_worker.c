/* tsm_worker.c - the loop of a worker: wait for a slot, take processes, run them.
 *
 * What it is
 *   worker_main   wait in the pool until given a slot (or a process to run off-slot)
 *   hold_slot     while the slot is ours: pick, dispatch; nothing to do: search, sleep
 *   dispatch      a process that keeps another worker gets the slot handed over; all
 *                 others run here
 * Invariant       between the calls of this file a worker is inside the runtime; user
 *                 code runs only below hooks.run, hooks.safepoint and tsm_flush_user.
 * Where tested    tests/stress, tests/semantics
 */
#include "sched/tsm_sched.h"

#include "base/tsm_clock.h"
#include "proc/tsm_mailbox.h"
#include "sched/tsm_burn.h"
#include "sched/tsm_op.h"
#include "sched/tsm_ptimer.h"

#define SPIN_NS 20000

/* Drops buried terms and runs pending interpreter work, both of which may run any user
 * code (finalisers), and so outside the runtime. The slot may be gone afterwards. */
static void
flush_user(tsm_worker_t* w)
{
    if (!tsm_has_buried() && !tsm_sched.hooks.pending(w)) {
        return;
    }
    tsm_leave(w);
    tsm_flush();
    tsm_sched.hooks.safepoint(w);
    tsm_enter(w);
}

static tsm_proc_t*
proc_of(tsm_node_t* node)
{
    return (tsm_proc_t*)(void*)((char*)node - offsetof(tsm_proc_t, rq_node));
}

static tsm_proc_t*
taken_out(tsm_proc_t* p, int q)
{
    if (TSM_UNLIKELY(q > TSM_Q_NORMAL)) {
        (void)tsm_sub_relaxed(&tsm_sched.a_above, 1); /* relaxed: as in tsm_enqueue. */
    }
    return p;
}

/* Low priority: passed over so many turns while there is other work at its level. */
static bool
pass_over(tsm_slot_t* slot, int q, tsm_proc_t* p, const tsm_proc_t* rival)
{
    if (TSM_LIKELY(p->priority != TSM_PRIO_LOW)) {
        return false;
    }
    bool others = rival != NULL || tsm_runq_len_any(&slot->runq[TSM_Q_SPENT]) != 0
                  || tsm_runq_len_any(&slot->runq[TSM_Q_NORMAL]) != 0;
    if (p->low_turns == 0 || !others) {
        p->low_turns = TSM_LOW_TURNS;
        return false;
    }
    p->low_turns--;
    return tsm_runq_push_owner(&slot->runq[q], p);
}

/* The first of queue q that is not passed over; each is asked once, so that a rival goes
 * on when only low ones wait. Without a rival the rounds go on until one gives in. */
static tsm_proc_t*
pick_queue(tsm_slot_t* slot, int q, const tsm_proc_t* rival)
{
    uint32_t tries = tsm_runq_len_any(&slot->runq[q]);
    tsm_proc_t* p;
    while ((p = tsm_runq_pop_owner(&slot->runq[q])) != NULL) {
        if (!pass_over(slot, q, p, rival)) {
            return taken_out(p, q);
        }
        if (rival != NULL && --tries == 0) {
            return NULL;
        }
    }
    return NULL;
}

static tsm_proc_t*
pick_inject(int q)
{
    if (tsm_inject_len_any(&tsm_sched.inject[q]) == 0) {
        return NULL;
    }
    tsm_node_t* node = tsm_inject_pop_any(&tsm_sched.inject[q]);
    return node == NULL ? NULL : taken_out(proc_of(node), q);
}

/* From other slots, nothing below queue `lowest`. */
static tsm_proc_t*
steal(tsm_slot_t* slot, int lowest)
{
    for (uint32_t i = 1; i < tsm_sched.slot_count; i++) {
        tsm_slot_t* victim = &tsm_sched.slots[(slot->id + i) % tsm_sched.slot_count];
        for (int q = TSM_QUEUES - 1; q >= lowest; q--) {
            tsm_proc_t* p = tsm_runq_steal_any(&slot->runq[q], &victim->runq[q]);
            if (p != NULL) {
                /* relaxed: a statistic. */
                tsm_store_relaxed(&slot->a_steals, slot->a_steals + 1);
                return taken_out(p, q);
            }
        }
    }
    return NULL;
}

/* The node closes, or has closed and another one runs. */
static bool
closing(const tsm_worker_t* w)
{
    /* acquire: pairs with stop. relaxed: changes between nodes only. */
    return tsm_load_acquire(&tsm_sched.a_closing) != 0
           || w->epoch != tsm_load_relaxed(&tsm_sched.a_epoch);
}

/* Deterministic runs: those that were told to come back stand in the list in a moment. */
static void
await_returns(tsm_worker_t* w)
{
    tsm_event_t never = {0};
    /* acquire: pairs with tsm_det_return_any. */
    while (TSM_UNLIKELY(tsm_load_acquire(&tsm_det.a_returns) != 0) && !closing(w)) {
        tsm_sched.hooks.detach(w);
        (void)tsm_event_wait(&never, 20000);
        tsm_sched.hooks.attach(w);
    }
}

/* What tsm_pick_local would come to first at most picks: one that was woken, of normal priority.
 * NULL: ask it. */
static inline tsm_proc_t*
pick_woken(tsm_slot_t* slot)
{
    /* relaxed: as in tsm_pick_local. */
    if (TSM_UNLIKELY(tsm_det.on != 0 || tsm_load_relaxed(&tsm_sched.a_above) != 0
                     || slot->woken_reds >= TSM_BUDGET_REDS || (slot->picks + 1) % TSM_GLOBAL_EVERY == 0)) {
        return NULL;
    }
    tsm_proc_t* p = tsm_runq_pop_owner(&slot->runq[TSM_Q_NORMAL]);
    if (p == NULL || pass_over(slot, TSM_Q_NORMAL, p, NULL)) {
        return NULL;
    }
    slot->picks++;
    return p;
}

/* From the slot's own queues and inject, highest priority first. rival: the process that
 * would go on otherwise, or NULL; nothing below its priority is picked. Holder only. */
tsm_proc_t*
tsm_pick_local(tsm_slot_t* slot, const tsm_proc_t* rival)
{
    if (TSM_UNLIKELY(tsm_det.on != 0)) {
        await_returns(tsm_self);
        uint64_t next_ms = tsm_wheel_next_ms_any(&slot->wheel);
        tsm_proc_t* picked = tsm_det_pick(rival, next_ms == UINT64_MAX ? next_ms : next_ms * 1000000u);
        if (picked != NULL || rival != NULL) {
            return picked;
        } /* what found no memory to be listed stands in the queues */
    }
    bool inject_first = ++slot->picks % TSM_GLOBAL_EVERY == 0;
    int lowest = rival == NULL ? TSM_Q_SPENT : (int)tsm_queue_beside(rival);
    const tsm_proc_t* equal = rival != NULL && rival->priority == TSM_PRIO_NORMAL ? rival : NULL;
    /* relaxed: counted before it is queued, so zero means there is none to be found. */
    int highest = TSM_LIKELY(tsm_load_relaxed(&tsm_sched.a_above) == 0) ? TSM_Q_NORMAL : TSM_Q_MAX;
    if (slot->woken_reds >= TSM_BUDGET_REDS && highest == TSM_Q_NORMAL && lowest == TSM_Q_SPENT) {
        slot->woken_reds = 0;
        tsm_proc_t* p = pick_queue(slot, TSM_Q_SPENT, equal);
        if (p != NULL) {
            return p;
        }
    }
    for (int q = highest; q >= lowest; q--) {
        tsm_proc_t* p = inject_first ? pick_inject(q) : NULL;
        if (p == NULL) {
            p = pick_queue(slot, q, equal);
        }
        if (p == NULL) {
            p = pick_inject(q);
        }
        /* relaxed: a hint. High work queued elsewhere comes before normal work here. */
        if (p == NULL && q == TSM_Q_HIGH && tsm_load_relaxed(&tsm_sched.a_above) != 0) {
            p = steal(slot, TSM_Q_HIGH);
        }
        if (p != NULL) {
            return p;
        }
    }
    return NULL;
}

/* Busy slots do not steal, so a queue of hogs here and none there would stay as it is. */
void
tsm_balance(tsm_slot_t* slot)
{
    for (uint32_t i = 1; i < tsm_sched.slot_count; i++) {
        tsm_slot_t* other = &tsm_sched.slots[(slot->id + i) % tsm_sched.slot_count];
        uint32_t own = tsm_runq_len_any(&slot->runq[TSM_Q_SPENT]);
        if (tsm_runq_len_any(&other->runq[TSM_Q_SPENT]) > 2 * own + 2) {
            tsm_proc_t* p = tsm_runq_steal_any(&slot->runq[TSM_Q_SPENT], &other->runq[TSM_Q_SPENT]);
            if (p != NULL) {
                tsm_store_relaxed(&slot->a_steals, slot->a_steals + 1); /* relaxed: a statistic. */
                tsm_enqueue_spent(slot, p);
            }
            return;
        }
    }
}

static tsm_proc_t*
find_work(tsm_slot_t* slot)
{
    tsm_proc_t* p = tsm_pick_local(slot, NULL);
    return p != NULL ? p : steal(slot, TSM_Q_SPENT);
}

/* How long the slot may sleep: until its next timer. */
static int64_t
sleep_ns(tsm_slot_t* slot)
{
    uint64_t next_ms = tsm_wheel_next_ms_any(&slot->wheel);
    uint64_t now_ns = tsm_time_ns(), due_ns = next_ms * 1000000u;
    if (TSM_UNLIKELY(tsm_det.on != 0)) {
        return next_ms != UINT64_MAX && due_ns <= now_ns ? 0 : TSM_DET_NAP_NS;
    }
    if (next_ms == UINT64_MAX) {
        return TSM_WAIT_FOREVER;
    }
    return due_ns <= now_ns ? 0 : (int64_t)(due_ns - now_ns);
}

/* Detached. Counted as searching on entry and on return. False: look around again. */
static void
idle_sleep(tsm_worker_t* w, tsm_slot_t* slot)
{
    bool last = tsm_idle_sleep_begin(&tsm_sched.idle, slot->id, true);
    if (!(last && tsm_any_work(slot)) && !closing(w)) {
        int64_t ns = sleep_ns(slot);
        if (ns != 0) {
            (void)tsm_event_wait(&w->event, ns);
        }
    }
    /* Taken by a waker or not: either way we are searching from here on. */
    bool mine = tsm_idle_sleep_cancel(&tsm_sched.idle, slot->id);
    (void)mine; /* false: an unpark is under way; the next wait returns at once */
}

static tsm_proc_t*
search(tsm_worker_t* w, tsm_slot_t* slot)
{
    uint64_t until_ns = tsm_now_ns() + SPIN_NS;
    do {
        tsm_proc_t* p = find_work(slot);
        /* relaxed: set again by the monitor when missed. */
        if (p != NULL || tsm_load_relaxed(&w->a_service) != 0 || closing(w)) {
            return p;
        }
        for (int i = 0; i < 64; i++) {
            tsm_pause();
        }
    } while (tsm_now_ns() < until_ns && sleep_ns(slot) != 0);
    return NULL;
}

/* Nothing in our queues: steal, spin a little, sleep. Attached on entry and on return. */
static tsm_proc_t*
wait_for_work(tsm_worker_t* w, tsm_slot_t* slot)
{
    if (slot->unreckoned_count != 0) {
        (void)tsm_ptimer_clock(slot);
    }
    tsm_proc_t* p = steal(slot, TSM_Q_SPENT);
    if (p != NULL) {
        return p;
    }
    tsm_sched.hooks.detach(w);
    tsm_idle_search_begin(&tsm_sched.idle);
    while (!closing(w)) {
        p = search(w, slot);
        /* relaxed: a request of the monitor; the safe point comes after attach. */
        if (p != NULL || sleep_ns(slot) == 0 || tsm_load_relaxed(&w->a_service) != 0) {
            break;
        }
        idle_sleep(w, slot);
    }
    if (tsm_idle_search_end(&tsm_sched.idle)) {
        tsm_wake_one();
    }
    tsm_store_relaxed(&w->a_service, 0); /* relaxed: as above. */
    tsm_sched.hooks.attach(w);
    flush_user(w);
    return p;
}

static void
release_cold(tsm_proc_t* p)
{
    if (p->cold != NULL) {
        if (p->cold->label != NULL && tsm_bury_term(p->cold->label) < 0) {
            tsm_hooks.term_unref(p->cold->label);
        }
        if (p->cold->origin != NULL && tsm_bury_term(p->cold->origin) < 0) {
            tsm_hooks.term_unref(p->cold->origin);
        }
        tsm_free(p->cold, sizeof(tsm_cold_t));
        p->cold = NULL;
    }
}

/* The last frame is gone: everything the process still held goes, the slot of the
 * table is free again. */
void
tsm_proc_finish(tsm_worker_t* w, tsm_proc_t* p)
{
    tsm_assert((p->flags & TSM_PF_DEAD) != 0);
    tsm_ptimer_remove(p);
    tsm_ptimer_drop_owner(p);
    tsm_mailbox_clear_owner(p);
    tsm_sched.hooks.release(p);
    release_cold(p);
    if (p->exit_term != NULL) {
        /* "normal" has other holders: its end runs no user code. */
        if (p->exit_term == tsm_terms.normal || tsm_bury_term(p->exit_term) < 0) {
            tsm_hooks.term_unref(p->exit_term);
        }
        p->exit_term = NULL;
    }
    tsm_token_release(p);
    /* relaxed: own thread's field, read by reports. */
    tsm_store_relaxed(&w->a_proc, NULL);
    if ((p->flags & TSM_PF_STRANDED) == 0) {
        tsm_ptab_free_owner(p);
    }
}

/* The body awaits: let go of the process, unless something has arrived already. After a
 * successful sleep it may be running elsewhere; it must not be touched again. */
static void
settle(tsm_worker_t* w, tsm_proc_t* p, enum tsm_run how)
{
    tsm_token_release(p);
    /* relaxed: own thread's field; the others travel with the inbox word or the queue. */
    tsm_store_relaxed(&w->a_proc, NULL);
    tsm_store_relaxed(&p->a_worker, NULL);
    if (how == TSM_RUN_WAIT) {
        tsm_store_relaxed(&p->a_status, TSM_ST_WAITING); /* relaxed: for reports. */
        if (TSM_LIKELY(tsm_inbox_sleep_owner(&p->inbox))) {
            return;
        }
    }
    tsm_store_relaxed(&p->a_status, TSM_ST_RUNNABLE); /* relaxed: for reports. */
    tsm_enqueue(tsm_worker_slot(w), p);
}

/* Deterministic runs: the turn is accounted for, and may be the last by the test's will. */
void
tsm_det_turn_ends(tsm_proc_t* p, int32_t used)
{
    tsm_sig_t* sig = tsm_det_used(used) ? tsm_sig_new(TSM_SIG_EXIT) : NULL;
    if (sig != NULL) {
        tsm_hooks.term_ref(tsm_terms.kill);
        sig->term = tsm_terms.kill;
        (void)tsm_signal_any(tsm_proc_pid(p), sig);
    }
}

static void
account(tsm_worker_t* w, tsm_proc_t* p)
{
    int32_t used = tsm_det.slice_reds - tsm_budget_left(w);
    p->reds += (uint64_t)used;
    tsm_slot_t* slot = tsm_worker_slot(w);
    if (TSM_LIKELY(slot != NULL)) {
        slot->woken_reds += (uint32_t)(used > TSM_TURN_REDS ? used : TSM_TURN_REDS);
    }
    tsm_store_relaxed(&w->a_budget, tsm_det.slice_reds); /* relaxed: own thread's. */
    if (TSM_UNLIKELY(tsm_det.on != 0)) {
        tsm_det_turn_ends(p, used);
    }
}

/* Runs p on this thread until it waits, yields or ends. */
static void
run_here(tsm_worker_t* w, tsm_proc_t* p)
{
    tsm_store_relaxed(&w->a_budget, tsm_det.slice_reds); /* relaxed: own thread's. */
    tsm_store_relaxed(&w->a_proc, p); /* relaxed: published by the lock or the fences. */
    tsm_store_relaxed(&w->a_occupied, TSM_OCC_NONE); /* relaxed: for reports. */
    /* release: pairs with service_blocked and poke, which follow the pointer. */
    tsm_store_release(&p->a_worker, w);
    tsm_store_relaxed(&p->a_status, TSM_ST_RUNNING); /* relaxed: a late reader pokes late. */
    for (;;) {
        if ((p->flags & TSM_PF_DEAD) == 0 && !tsm_inbox_is_empty(&p->inbox)) {
            (void)tsm_proc_service_owner(p);
        }
        enum tsm_run how = tsm_sched.hooks.run(w, p);
        account(w, p);
        if (how == TSM_RUN_ENDED) {
            tsm_be_prompt(w);
            tsm_proc_finish(w, p);
            return;
        }
        if ((p->flags & TSM_PF_THREADED) == 0) {
            tsm_be_prompt(w);
            settle(w, p, how);
            return;
        }
        if (how == TSM_RUN_WAIT) {
            (void)tsm_wait_threaded(w);
        } else {
            tsm_yield_threaded(w);
        }
    }
}

/* May p, which will keep a worker, run? The dead may: there is nothing to keep. */
static bool
start_threaded(tsm_proc_t* p)
{
    if ((p->flags & TSM_PF_DEAD) != 0
        || (!tsm_inbox_is_empty(&p->inbox) && !tsm_proc_service_owner(p))) {
        return true;
    }
    if (!tsm_token_try(p)) {
        return false;
    }
    p->flags &= ~(uint32_t)TSM_PF_TOKEN_WAIT;
    return true;
}

/* A deterministic run has one runner. */
static bool
starts_offslot(tsm_proc_t* p)
{
    if (tsm_det.on != 0 || !tsm_sched.hooks.blocks(p)) {
        return false;
    }
    p->flags |= TSM_PF_NATIVE;
    return tsm_run_offslot(p);
}

static void
dispatch(tsm_worker_t* w, tsm_slot_t* slot, tsm_proc_t* p)
{
    /* relaxed: a heartbeat for the monitor. */
    tsm_store_relaxed(&slot->a_ticks, slot->a_ticks + 1);
    tsm_store_relaxed(&slot->a_switches, slot->a_switches + 1); /* relaxed: a statistic. */
    tsm_worker_t* keeper = tsm_load_relaxed(&p->a_worker); /* relaxed: we own p. */
    if (TSM_UNLIKELY((p->flags & TSM_PF_NATIVE) != 0)) {
        if (!tsm_run_offslot(p)) {
            tsm_enqueue(NULL, p);
        }
    } else if (TSM_UNLIKELY(keeper != NULL)) {
        tsm_store_relaxed(&w->a_slot, NULL); /* relaxed: own field, inside the runtime. */
        tsm_give_slot(slot, keeper, p);
    } else if (TSM_UNLIKELY((p->flags & TSM_PF_THREADED) != 0) && !start_threaded(p)) {
        tsm_token_wait(p);
    } else if (TSM_LIKELY((p->flags & TSM_PF_THREADED) == 0) || !starts_offslot(p)) {
        run_here(w, p);
    }
}

static void
look_at_clock(tsm_slot_t* slot)
{
    if (slot->picks % TSM_CLOCK_EVERY == 0
        && (tsm_wheel_next_ms_any(&slot->wheel) != UINT64_MAX || slot->unreckoned_count != 0)) {
        (void)tsm_ptimer_expire(slot, tsm_ptimer_clock(slot) / 1000000u);
    }
}

/* A short sleep of the slot in a deterministic run. */
static void
nap(tsm_worker_t* w, tsm_slot_t* slot)
{
    tsm_sched.hooks.detach(w);
    tsm_idle_search_begin(&tsm_sched.idle);
    idle_sleep(w, slot);
    bool last = tsm_idle_search_end(&tsm_sched.idle);
    (void)last; /* there is one slot: nobody else to wake */
    tsm_sched.hooks.attach(w);
}

/* A deterministic run, and nobody can run: on to the next timer, unless somebody without the
 * slot may still wake a process; then time goes as outside. Without both it is a deadlock. */
static void
det_idle(tsm_worker_t* w, tsm_slot_t* slot)
{
    bool running = tsm_det.main != 0 && tsm_load_relaxed(&tsm_det.a_closed) == 0; /* relaxed: a hint. */
    bool wait = tsm_is_away_any() || (running && tsm_sched.hooks.outside(w));
    /* acquire: who is gone now has pushed before. */
    if (tsm_load_acquire(&tsm_det.a_ready) != 0 || tsm_worker_slot(w) != slot) {
        return;
    }
    uint64_t next_ms = tsm_wheel_next_ms_any(&slot->wheel);
    if (!wait && next_ms != UINT64_MAX) {
        tsm_det_jump(next_ms * 1000000u);
    } else {
        if (!wait && running) {
            tsm_det_stall();
        }
        uint64_t began_ns = tsm_now_ns();
        nap(w, slot);
        if (wait) {
            tsm_det_pass(tsm_now_ns() - began_ns);
        }
    }
    (void)tsm_ptimer_expire(slot, tsm_now_ms());
}

/* Attached, inside the runtime, with a slot. Returns when the slot is gone. */
static void
hold_slot(tsm_worker_t* w)
{
    tsm_slot_t* slot = tsm_worker_slot(w);
    if (slot != NULL) {
        (void)tsm_ptimer_clock(slot); /* who held it may have left it long ago */
    }
    while ((slot = tsm_worker_slot(w)) != NULL && !closing(w)) {
        tsm_proc_t* p = w->next;
        w->next = NULL;
        look_at_clock(slot);
        if (p == NULL) {
            p = pick_woken(slot);
        }
        if (p == NULL) {
            p = tsm_pick_local(slot, NULL);
        }
        if (p == NULL && TSM_UNLIKELY(tsm_det.on != 0)) {
            det_idle(w, slot);
            flush_user(w);
            continue;
        }
        if (p == NULL) {
            p = wait_for_work(w, slot);
            (void)tsm_ptimer_expire(slot, tsm_now_ms());
            if (tsm_worker_slot(w) != slot) { /* lost in a finaliser */
                if (p != NULL) {
                    tsm_enqueue(NULL, p);
                }
                continue;
            }
        } else if (tsm_runq_len_any(&slot->runq[TSM_Q_NORMAL]) != 0
                   || tsm_runq_len_any(&slot->runq[TSM_Q_SPENT]) != 0) {
            tsm_wake_one();
        }
        if (p != NULL) {
            dispatch(w, slot, p);
        }
        flush_user(w);
    }
}

void
tsm_worker_main(void* arg)
{
    tsm_worker_t* w = arg;
    tsm_self = w;
    tsm_store_relaxed(&w->a_tid, tsm_gettid()); /* relaxed: for reports. */
    tsm_thread_setname("transom");
    tsm_thread_be_prompt();
    if (tsm_sched.hooks.thread_begin(w) == 0) {
        while (tsm_wait_slot(w)) {
            tsm_proc_t* p = w->next;
            if (tsm_worker_slot(w) == NULL && p != NULL) {
                w->next = NULL;
                run_here(w, p);
            }
            hold_slot(w);
            flush_user(w);
            if (closing(w)) {
                break;
            }
            tsm_burn_end(w);
            tsm_be_prompt(w);
            tsm_pool_put(w);
        }
        tsm_sched.hooks.thread_end(w);
    }
    tsm_self = NULL;
    tsm_pool_thread_exit();
    tsm_store_release(&w->a_ended, 1); /* release: pairs with join_worker. */
}

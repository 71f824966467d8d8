/* tsm_monitor.c - the monitor thread: what nobody else is awake to see.
 *
 * What it does, once a tick
 *   1. a worker that has not reported back for 10 ms while others wait loses its slot;
 *      at once, when a signal that may end its process waits
 *   2. timers of a slot that is stuck are fired in its place
 *   3. work queued at a busy slot while another is idle: the idle one is woken
 *   4. interpreter work (deferred frees of other threads' objects) that waits for a
 *      sleeping worker: it is asked to do it
 * The tick is 2 ms while anything runs and 100 ms when every slot sleeps; going from rest
 * to work wakes it (tsm_wake_one).
 * Where tested    tests/semantics (preemption, killing), tests/stress
 * Source          Go: sysmon in runtime/proc.go
 */
#include "base/tsm_clock.h"
#include "sched/tsm_burn.h"
#include "sched/tsm_ptimer.h"
#include "sched/tsm_sched.h"

#include <string.h>

#define AWAKE_TICKS 25 /* stay at the short tick so long after the last work */

static tsm_worker_t monitor; /* for attach and detach; it never holds a slot */

static bool
closing(void)
{
    return tsm_load_acquire(&tsm_sched.a_unwatched) != 0; /* acquire: pairs with stop. */
}

static bool
work_waits(const tsm_slot_t* slot)
{
    if (tsm_load_relaxed(&tsm_det.a_ready) != 0) { /* relaxed: a hint. */
        return true;
    }
    for (int q = 0; q < TSM_QUEUES; q++) {
        if (tsm_runq_len_any(&slot->runq[q]) != 0
            || tsm_inject_len_any(&tsm_sched.inject[q]) != 0) {
            return true;
        }
    }
    return false;
}

static void
take_slot(tsm_slot_t* slot, tsm_proc_t* p, bool burns)
{
    if (!tsm_retake(slot, burns)) {
        return;
    }
    tsm_sched.hooks.attach(&monitor);
    if (p != NULL && !tsm_inbox_is_empty(&p->inbox)) {
        tsm_poke_any(p, TSM_ST_BLOCKED);
    }
    tsm_flush();
    tsm_sched.hooks.detach(&monitor);
}

static void
fire_overdue(tsm_slot_t* slot, uint64_t now_ns)
{
    uint64_t now_ms = tsm_wheel_clock_ms(now_ns);
    if (tsm_wheel_next_ms_any(&slot->wheel) < now_ms) {
        tsm_sched.hooks.attach(&monitor);
        (void)tsm_ptimer_expire(slot, now_ms);
        tsm_flush();
        tsm_sched.hooks.detach(&monitor);
    }
}

/* Processor time of the holder since its last sign of life, about. */
static uint64_t
used_since(tsm_slot_t* slot, tsm_worker_t* w)
{
    uint64_t cpu_ns = tsm_thread_cpu_ns(&w->os_thread);
    if (slot->seen_cpu_ns == 0) {
        slot->seen_cpu_ns = cpu_ns;
    }
    return cpu_ns - slot->seen_cpu_ns;
}

/* In native code or in a blocking call for limit_ns; not merely kept from running by the
 * kernel because other programs want the core. */
static bool
is_stuck(tsm_worker_t* w, uint64_t used_ns, uint64_t stuck_ns, uint64_t limit_ns)
{
    bool detached = tsm_sched.hooks.detached(w);
    if (detached && stuck_ns >= TSM_ASLEEP_NS && used_ns < stuck_ns / 8 && limit_ns <= TSM_STUCK_NS) {
        return true;
    }
    if (stuck_ns < limit_ns) {
        return false;
    }
    if (detached || used_ns >= limit_ns / 2) {
        return true;
    }
    /* relaxed: fixed before the worker took its first slot. */
    return stuck_ns >= TSM_STUCK_MAX_NS && tsm_thread_sleeps(tsm_load_relaxed(&w->a_tid));
}

static void
check_slot(tsm_slot_t* slot, uint64_t now_ns)
{
    /* Then time is virtual, and nobody is disturbed. relaxed: a hint. */
    bool repeatable = tsm_det.on != 0 && tsm_load_relaxed(&tsm_det.a_closed) == 0;
    if (tsm_det.on == 0) {
        fire_overdue(slot, now_ns);
    }
    if (work_waits(slot)) {
        tsm_wake_one();
    }
    uint64_t ticks = tsm_load_relaxed(&slot->a_ticks); /* relaxed: a heartbeat. */
    /* acquire: pairs with tsm_give_slot. */
    tsm_worker_t* w = tsm_load_acquire(&slot->a_holder);
    if (ticks != slot->seen_ticks) {
        slot->seen_ticks = ticks;
        slot->seen_ns = now_ns;
        slot->seen_cpu_ns = 0;
        return;
    }
    if (w == NULL || tsm_load_relaxed(&w->a_in_rt) != 0) { /* relaxed: tsm_retake decides. */
        return;
    }
    tsm_proc_t* p = tsm_load_relaxed(&w->a_proc); /* relaxed: as above; type-stable. */
    uint64_t stuck_ns = now_ns - slot->seen_ns;
    bool mail = p != NULL && !tsm_inbox_is_empty(&p->inbox);
    /* relaxed: a hint, which may be left over from a signal long handled. Signals that
     * came while nobody was sure who runs p wait the ordinary time. */
    bool urgent = mail && tsm_load_relaxed(&p->a_urgent) != 0;
    uint64_t limit_ns = repeatable ? TSM_DET_STUCK_NS : urgent ? TSM_URGENT_NS : TSM_STUCK_NS;
    bool wanted = urgent || work_waits(slot) || (mail && stuck_ns >= TSM_STUCK_MAX_NS);
    uint64_t used_ns = used_since(slot, w);
    if (is_stuck(w, used_ns, stuck_ns, limit_ns) && wanted) {
        if (repeatable) {
            /* relaxed: a count, for the report that this run cannot be repeated. */
            (void)tsm_add_relaxed(&tsm_det.a_taken, 1);
        }
        take_slot(slot, p, used_ns >= stuck_ns / 2);
    } else if (!repeatable && stuck_ns >= TSM_STUCK_NS / 2) {
        tsm_poke_budget(w);
    }
}

/* Workers that sleep or sit in native code. */
static void
check_workers(uint64_t now_ns)
{
    tsm_mutex_lock(&tsm_sched.pool_lock);
    tsm_worker_t* w = tsm_sched.all; /* entries stay while the node runs */
    tsm_mutex_unlock(&tsm_sched.pool_lock);
    for (; w != NULL; w = w->all_next) {
        tsm_burn_check(w, now_ns);
        tsm_proc_t* p = tsm_load_relaxed(&w->a_proc); /* relaxed: service checks again. */
        /* relaxed, both: hints. */
        if (p != NULL && tsm_load_relaxed(&p->a_status) == TSM_ST_BLOCKED
            && tsm_load_relaxed(&p->a_urgent) != 0) {
            tsm_sched.hooks.attach(&monitor);
            tsm_poke_any(p, TSM_ST_BLOCKED);
            tsm_flush();
            tsm_sched.hooks.detach(&monitor);
        }
        if (tsm_load_relaxed(&w->a_in_rt) != 0 && tsm_sched.hooks.pending(w)) { /* relaxed: a hint. */
            tsm_store_relaxed(&w->a_service, 1); /* relaxed: the event follows. */
            tsm_event_set(&w->event);
        }
    }
}

static bool
all_idle(void)
{
    /* relaxed: decides only how long to sleep. */
    uint32_t word = tsm_load_relaxed(&tsm_sched.idle.a_word);
    return tsm_idle_sleepers(word) == tsm_sched.slot_count;
}

static void
sleep_tick(uint32_t* quiet)
{
    *quiet = all_idle() ? *quiet + 1 : 0;
    bool rest = *quiet > AWAKE_TICKS;
    /* sc: before the second look; a waker changes the idle word, then reads a_rest. */
    tsm_store_sc(&tsm_sched.a_rest, rest);
    if (rest && !all_idle()) {
        rest = false;
    }
    (void)tsm_event_wait(&tsm_sched.monitor_event, rest ? TSM_REST_NS : TSM_TICK_NS);
    tsm_store_relaxed(&tsm_sched.a_rest, 0); /* relaxed: spares wakers a system call. */
}

void
tsm_monitor_main(void* arg)
{
    (void)arg;
    memset(&monitor, 0, sizeof(monitor));
    tsm_thread_setname("transom-monitor");
    if (tsm_sched.hooks.thread_begin(&monitor) < 0) {
        return;
    }
    tsm_sched.hooks.detach(&monitor);
    uint32_t quiet = 0;
    while (!closing()) {
        sleep_tick(&quiet);
        uint64_t now_ns = tsm_now_ns();
        for (uint32_t i = 0; i < tsm_sched.slot_count; i++) {
            check_slot(&tsm_sched.slots[i], now_ns);
        }
        check_workers(now_ns);
        if (tsm_det.on == 0 && tsm_token_due()) { /* one slot misses nobody that waits */
            tsm_sched.hooks.attach(&monitor);
            tsm_token_wake();
            tsm_flush();
            tsm_sched.hooks.detach(&monitor);
        }
        if (tsm_det.on == 0) { /* collecting and probing depend on the real clock */
            tsm_sched.hooks.tick(now_ns);
        }
    }
    tsm_sched.hooks.attach(&monitor);
    tsm_sched.hooks.thread_end(&monitor);
    tsm_pool_thread_exit();
}

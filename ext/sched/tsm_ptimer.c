/* tsm_ptimer.c - see tsm_ptimer.h. */
#include "sched/tsm_ptimer.h"

#include "base/tsm_clock.h"

/* Handles may be stale: the memory of a timer stays a timer for ever. */
enum { TSM_KIND_TIMER = 0 };

void
tsm_ptimer_init(void)
{
    tsm_pool_kind_init(TSM_KIND_TIMER, sizeof(tsm_ptimer_t));
}

/* The wheel of the slot we hold; a thread without a slot uses that of slot 0 and makes
 * its holder look, which may be asleep until a later time. */
static tsm_slot_t*
home_slot(void)
{
    tsm_worker_t* w = tsm_self;
    if (w != NULL && tsm_in_runtime(w) && tsm_worker_slot(w) != NULL) {
        return tsm_worker_slot(w);
    }
    return &tsm_sched.slots[0];
}

static void
wake_holder(tsm_slot_t* slot)
{
    if (tsm_idle_wake_slot_any(&tsm_sched.idle, slot->id)) {
        /* acquire: pairs with tsm_give_slot. An idle slot keeps its holder. */
        tsm_event_set(&tsm_load_acquire(&slot->a_holder)->event);
    }
}

static bool
target_lives(tsm_pid_t to)
{
    tsm_proc_t* p = tsm_ptab_get_any(to);
    return p != NULL && !tsm_inbox_is_dead(&p->inbox);
}

static void
discard(tsm_ptimer_t* timer)
{
    if (timer->name != NULL && tsm_bury_term(timer->name) < 0) {
        tsm_hooks.term_unref(timer->name);
    }
    tsm_bury(timer->sig);
    tsm_free_kind(timer, TSM_KIND_TIMER);
}

/* A process that sets a timer for itself: nobody but this thread can end it meanwhile. */
static bool
is_own(const tsm_proc_t* p)
{
    tsm_worker_t* w = tsm_self;
    return p != NULL && w != NULL && tsm_in_runtime(w) && tsm_worker_proc(w) == p;
}

int
tsm_ptimer_set(uint64_t delay_ns, tsm_pid_t to, void* name, uint64_t name_hash,
               tsm_sig_t* sig, tsm_timer_handle_t* handle)
{
    tsm_ptimer_t* timer = tsm_alloc_kind(TSM_KIND_TIMER);
    if (timer == NULL) {
        return TSM_E_NOMEM;
    }
    bool grouped = name == NULL && sig->kind != TSM_SIG_TIMEOUT;
    tsm_proc_t* p = grouped ? tsm_ptab_get_any(to) : NULL;
    tsm_slot_t* slot = p == NULL ? home_slot() : &tsm_sched.slots[p->idx % tsm_sched.slot_count];
    *timer = (tsm_ptimer_t){.sig = sig, .to = to, .name = name, .name_hash = name_hash};
    uint64_t id = tsm_ref_new();
    if (sig->kind == TSM_SIG_TIMEOUT) {
        sig->ref = id;
    }
    *handle = (tsm_timer_handle_t){timer, id, slot->id};
    tsm_timer_init(&timer->t, id, slot->id);
    timer->t.group = p == NULL ? NULL : &p->a_timers;
    if (tsm_wheel_set_any(&slot->wheel, &timer->t, tsm_wheel_deadline_ms(tsm_time_ns(), delay_ns))) {
        wake_holder(slot);
    }
    if (grouped) {
        if (!is_own(p)) {
            tsm_barrier_sc(); /* sc: armed, then is it dead? see Death in tsm_ptimer.h. */
        }
        if (!target_lives(to)) {
            uint64_t left_ns;
            (void)tsm_ptimer_cancel(handle, &left_ns); /* the handle stays, of a timer gone */
        }
    }
    return TSM_OK;
}

/* The expiry was rounded up by less than a millisecond; never tell more than was asked. */
static uint64_t
time_left(uint64_t expires_ms)
{
    uint64_t now_ns = tsm_time_ns(), due_ns = (expires_ms - 1) * 1000000u;
    return due_ns > now_ns ? due_ns - now_ns : 0;
}

bool
tsm_ptimer_cancel(const tsm_timer_handle_t* handle, uint64_t* left_ns)
{
    tsm_slot_t* slot = &tsm_sched.slots[handle->slot];
    if (!tsm_wheel_cancel_any(&slot->wheel, &handle->timer->t, handle->id, left_ns)) {
        return false;
    }
    *left_ns = time_left(*left_ns);
    tsm_ptimer_t* timer = handle->timer; /* ours again */
    bool lives = timer->name != NULL || target_lives(timer->to); /* names: when it fires */
    discard(timer);
    return lives;
}

bool
tsm_ptimer_read(const tsm_timer_handle_t* handle, uint64_t* left_ns)
{
    tsm_slot_t* slot = &tsm_sched.slots[handle->slot];
    if (!tsm_wheel_read_any(&slot->wheel, &handle->timer->t, handle->id, left_ns)) {
        return false;
    }
    *left_ns = time_left(*left_ns);
    /* Type-stable memory: at worst the answer of a timer that has just ended. */
    return handle->timer->name != NULL || target_lives(handle->timer->to);
}

static void
remove_own(tsm_proc_t* p)
{
    tsm_timer_handle_t handle = {p->timer, p->timer_id, p->timer_slot};
    uint64_t left_ns;
    (void)tsm_ptimer_cancel(&handle, &left_ns); /* fired: its signal finds no taker */
    p->timer = NULL;
    p->timer_id = 0;
}

/* One that fires delay_ns from now. */
static int
set_own(tsm_proc_t* p, uint64_t delay_ns)
{
    tsm_sig_t* sig = tsm_sig_new(TSM_SIG_TIMEOUT);
    tsm_timer_handle_t handle;
    if (sig == NULL) {
        return TSM_E_NOMEM;
    }
    if (tsm_ptimer_set(delay_ns, tsm_proc_pid(p), NULL, 0, sig, &handle) < 0) {
        tsm_sig_free(sig);
        return TSM_E_NOMEM;
    }
    /* The timer may have fired already: its signal is in the inbox, which only we
     * drain, so writing these afterwards is early enough. */
    p->timer = handle.timer;
    p->timer_id = handle.id;
    p->timer_slot = handle.slot;
    p->timer_delay_ns = delay_ns;
    return TSM_OK;
}

/* ---- limits; see the essay ---- */

#define UNRECKONED (UINT64_C(1) << 63)
#define DELAY_BITS 40 /* some 18 minutes; 23 are left for the number of the wait */
#define LATEST_NS (UNRECKONED - 1)

static uint64_t
later(uint64_t now_ns, uint64_t delay_ns)
{
    return delay_ns < LATEST_NS - now_ns ? now_ns + delay_ns : LATEST_NS;
}

/* word was read before the clock. Returns the time, or another word that stands there now. */
static uint64_t
reckon(tsm_proc_t* p, uint64_t word, uint64_t now_ns)
{
    uint64_t due_ns = later(now_ns, word & ((UINT64_C(1) << DELAY_BITS) - 1));
    /* acq_rel: nothing comes with the word; relaxed does not exist. */
    return tsm_cas_acq_rel(&p->a_wake, &word, due_ns) ? due_ns : word;
}

uint64_t
tsm_ptimer_clock(tsm_slot_t* slot)
{
    uint64_t words[TSM_UNRECKONED];
    uint32_t n = slot->unreckoned_count;
    for (uint32_t i = 0; i < n; i++) {
        /* acquire: the clock is read afterwards. The struct stays, whoever lives in it. */
        words[i] = tsm_load_acquire(&slot->unreckoned[i]->a_wake);
    }
    slot->unreckoned_count = 0;
    uint64_t now_ns = tsm_time_ns();
    for (uint32_t i = 0; i < n; i++) {
        if ((words[i] & UNRECKONED) != 0) {
            (void)reckon(slot->unreckoned[i], words[i], now_ns);
        }
    }
    return now_ns;
}

static void
note_unreckoned(tsm_slot_t* slot, tsm_proc_t* p)
{
    uint32_t n = slot->unreckoned_count;
    if (TSM_LIKELY(n != 0) && slot->unreckoned[n - 1] == p) {
        return;
    }
    if (n == TSM_UNRECKONED) {
        (void)tsm_ptimer_clock(slot);
        n = 0;
    }
    slot->unreckoned[n] = p;
    slot->unreckoned_count = n + 1;
}

static int
arm_by_clock(tsm_proc_t* p, uint64_t delay_ns)
{
    uint64_t now_ns = tsm_time_ns();
    if (p->timer_id != 0) {
        if (p->timer_delay_ns <= delay_ns) {
            tsm_store_relaxed(&p->a_wake, later(now_ns, delay_ns)); /* relaxed: a word alone. */
            return TSM_OK;
        }
        remove_own(p);
    }
    int rc = set_own(p, delay_ns);
    tsm_store_relaxed(&p->a_wake, rc == TSM_OK ? later(now_ns, delay_ns) : 0); /* relaxed: as above. */
    return rc;
}

int
tsm_ptimer_arm(tsm_proc_t* p, uint64_t delay_ns)
{
    tsm_slot_t* slot = tsm_worker_slot(tsm_self);
    p->flags &= ~(uint32_t)TSM_PF_TIMED_OUT;
    bool early = p->timer_id != 0 && p->timer_delay_ns <= delay_ns;
    if (TSM_UNLIKELY(!early || slot == NULL || delay_ns >> DELAY_BITS != 0 || tsm_det.on != 0)) {
        return arm_by_clock(p, delay_ns);
    }
    /* relaxed: a word alone; whoever reckons it has found p by way of the slot. */
    tsm_store_relaxed(&p->a_wake, UNRECKONED | tsm_ref_new() << DELAY_BITS | delay_ns);
    note_unreckoned(slot, p);
    return TSM_OK;
}

void
tsm_ptimer_fired(tsm_proc_t* p)
{
    uint64_t due_ns = tsm_load_acquire(&p->a_wake); /* acquire: before the clock. */
    uint64_t now_ns = tsm_time_ns();
    if ((due_ns & UNRECKONED) != 0) {
        due_ns = reckon(p, due_ns, now_ns);
    }
    if (now_ns >= due_ns) {
        p->flags |= TSM_PF_TIMED_OUT;
    } else if (set_own(p, due_ns - now_ns) < 0) {
        tsm_store_relaxed(&p->a_wake, 0); /* relaxed: as above. */
    }
}

int
tsm_ptimer_later(tsm_pid_t to, tsm_sig_t* sig, uint64_t delay_ns)
{
    tsm_timer_handle_t handle;
    return tsm_ptimer_set(delay_ns, to, NULL, 0, sig, &handle) < 0 ? TSM_E_NOMEM : TSM_OK;
}

/* A deterministic run has no timers but those that are waited for: time jumps to them. */
void
tsm_ptimer_disarm(tsm_proc_t* p)
{
    tsm_store_relaxed(&p->a_wake, 0); /* relaxed: a word alone. */
    p->flags &= ~(uint32_t)TSM_PF_TIMED_OUT;
    if (TSM_UNLIKELY(tsm_det.on != 0) && p->timer_id != 0) {
        remove_own(p);
    }
}

void
tsm_ptimer_remove(tsm_proc_t* p)
{
    tsm_store_relaxed(&p->a_wake, 0); /* relaxed: a word alone. */
    if (p->timer_id != 0) {
        remove_own(p);
    }
}

static void
fire(tsm_ptimer_t* timer)
{
    tsm_pid_t to = timer->to;
    if (timer->name != NULL) {
        to = tsm_name_find_any(timer->name, timer->name_hash);
        if (tsm_bury_term(timer->name) < 0) {
            tsm_hooks.term_unref(timer->name);
        }
    }
    tsm_sig_t* sig = timer->sig;
    if (TSM_UNLIKELY(tsm_det.on != 0)) {
        tsm_det_record_any(TSM_DET_FIRE, 0, to, NULL);
    }
    tsm_free_kind(timer, TSM_KIND_TIMER);
    (void)tsm_signal_any(to, sig); /* pid 0: dropped, as by the dead */
}

void
tsm_ptimer_drop_owner(tsm_proc_t* p)
{
    tsm_barrier_sc(); /* sc: dead, then is there a group? as above. */
    /* relaxed: after the fence; see Death in tsm_ptimer.h. */
    if (TSM_LIKELY(tsm_load_relaxed(&p->a_timers) == NULL)) {
        return;
    }
    tsm_slot_t* slot = &tsm_sched.slots[p->idx % tsm_sched.slot_count];
    tsm_timer_t* timer = tsm_wheel_cancel_group_any(&slot->wheel, &p->a_timers);
    while (timer != NULL) {
        tsm_timer_t* next = timer->next;
        discard((tsm_ptimer_t*)(void*)timer);
        timer = next;
    }
}

bool
tsm_ptimer_expire(tsm_slot_t* slot, uint64_t now_ms)
{
    if (tsm_wheel_next_ms_any(&slot->wheel) > now_ms) {
        return false;
    }
    tsm_timer_t* due = tsm_wheel_expire_any(&slot->wheel, now_ms);
    bool any = due != NULL;
    while (due != NULL) {
        tsm_timer_t* next = due->next;
        fire((tsm_ptimer_t*)(void*)due);
        due = next;
    }
    return any;
}

void
tsm_ptimer_clear(void)
{
    for (uint32_t i = 0; i < tsm_sched.slot_count; i++) {
        tsm_timer_t* timer = tsm_wheel_drain_any(&tsm_sched.slots[i].wheel);
        while (timer != NULL) {
            tsm_timer_t* next = timer->next;
            discard((tsm_ptimer_t*)(void*)timer);
            timer = next;
        }
    }
}

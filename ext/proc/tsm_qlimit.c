/* tsm_qlimit.c - counting, refusing and waiting; essay in tsm_qlimit.h. */
#include "proc/tsm_qlimit.h"

#include "proc/tsm_det.h"

#include <stdlib.h>

int
tsm_qlimit_open_owner(tsm_proc_t* p, uint32_t max, enum tsm_on_full mode)
{
    tsm_qlimit_t* q = tsm_load_relaxed(&p->a_qlimit); /* relaxed: written by owners only. */
    bool fresh = q == NULL;
    if (fresh && (q = calloc(1, sizeof(*q))) == NULL) {
        return TSM_E_NOMEM;
    }
    tsm_mutex_lock(&q->lock);
    q->pid = tsm_proc_pid(p);
    if (fresh) {
        q->last = &q->first;
    }
    /* relaxed, all: senders learn the pid later; stale ones count for the wrong life anyway. */
    tsm_store_relaxed(&q->a_dropped, 0);
    tsm_store_relaxed(&q->a_overrun, 0);
    tsm_store_relaxed(&q->a_waits_for, 0);
    tsm_store_relaxed(&q->a_mode, (uint32_t)mode); /* relaxed: as above. */
    tsm_store_relaxed(&q->a_max, max);
    tsm_mutex_unlock(&q->lock);
    /* release: pairs with tsm_signal_any and tsm_qlimit_of: the struct is initialised. */
    tsm_store_release(&p->a_qlimit, q);
    return TSM_OK;
}

/* One more, unless it is full. */
static bool
admit(tsm_qlimit_t* q, uint32_t max)
{
    uint32_t count = tsm_load_sc(&q->a_count); /* sc: the waiter's look, see Protocol. */
    while (count < max) {
        /* sc: for one order with the leaver's subtraction. */
        if (tsm_cas_sc(&q->a_count, &count, count + 1)) {
            return true;
        }
    }
    return false;
}

static void
dismiss_locked(tsm_qlimit_t* q, tsm_waiter_t** at, enum tsm_wait state)
{
    tsm_waiter_t* waiter = *at;
    *at = waiter->next;
    if (q->last == &waiter->next) {
        q->last = at;
    }
    (void)tsm_sub_sc(&q->a_waiters, 1); /* sc: as where it was added. */
    if (waiter->own != NULL) {
        tsm_store_sc(&waiter->own->a_waits_for, 0); /* sc: the walks of closes_ring. */
    }
    if (TSM_UNLIKELY(waiter->keep)) {
        waiter->ticket = tsm_det_expect();
    }
    tsm_store_release(&waiter->a_state, (uint32_t)state); /* release: pairs with the waiter's look. */
    tsm_event_set(&waiter->event);
}

static void
grant_locked(tsm_qlimit_t* q)
{
    uint32_t max = tsm_load_relaxed(&q->a_max); /* relaxed: written under the lock. */
    while (q->first != NULL && admit(q, max)) {
        dismiss_locked(q, &q->first, TSM_WAIT_GRANTED);
    }
}

void
tsm_qlimit_close_owner(tsm_proc_t* p)
{
    tsm_qlimit_t* q = tsm_load_relaxed(&p->a_qlimit); /* relaxed: owners write it. */
    tsm_mutex_lock(&q->lock);
    q->pid = 0;
    tsm_store_relaxed(&q->a_max, 0); /* relaxed: a sender that missed it finds the inbox dead. */
    while (q->first != NULL) {
        dismiss_locked(q, &q->first, TSM_WAIT_GONE);
    }
    tsm_mutex_unlock(&q->lock);
}

void
tsm_qlimit_left_any(tsm_qlimit_t* q)
{
    (void)tsm_sub_sc(&q->a_count, 1); /* sc: before the look below, against a waiter. */
    if (TSM_UNLIKELY(tsm_load_sc(&q->a_waiters) != 0)) { /* sc: see Protocol. */
        tsm_mutex_lock(&q->lock);
        grant_locked(q);
        tsm_mutex_unlock(&q->lock);
    }
}

static void
end_receiver(tsm_qlimit_t* q, tsm_pid_t to)
{
    uint32_t none = 0;
    tsm_sig_t* sig = NULL;
    /* acq_rel: for want of a relaxed one; only says who sends the signal. */
    if (tsm_cas_acq_rel(&q->a_overrun, &none, 1) && (sig = tsm_sig_new(TSM_SIG_EXIT)) != NULL) {
        tsm_hooks.term_ref(tsm_terms.kill);
        sig->term = tsm_terms.kill;
        (void)tsm_signal_any(to, sig);
    }
}

int
tsm_qlimit_offer_any(tsm_qlimit_t* q, tsm_pid_t to, tsm_sig_t* sig)
{
    uint32_t max = tsm_load_relaxed(&q->a_max); /* relaxed: set before the pid was known. */
    bool aliased = sig->ref != 0 && sig->kind != TSM_SIG_CALL;
    bool limited = max != 0 && !aliased && (sig->flags & TSM_SIGF_COUNTED) == 0;
    if (!limited) {
        return TSM_OK;
    }
    uint32_t mode = tsm_load_relaxed(&q->a_mode); /* relaxed: as a_max. */
    bool asks = (sig->flags & TSM_SIGF_ASKS) != 0;
    /* sc: a late look only costs a place in the line. */
    bool line = mode == TSM_FULL_WAIT && asks && tsm_load_sc(&q->a_waiters) != 0;
    if (TSM_LIKELY(!line && admit(q, max))) {
        sig->flags |= TSM_SIGF_COUNTED;
        return TSM_OK;
    }
    if (asks && (mode == TSM_FULL_REJECT || mode == TSM_FULL_WAIT)) {
        return TSM_E_FULL;
    }
    if (mode == TSM_FULL_WAIT) {
        return TSM_OK; /* a timer's: it cannot wait, and this mode loses nothing */
    }
    (void)tsm_add_relaxed(&q->a_dropped, 1); /* relaxed: a statistic. */
    if (sig->kind == TSM_SIG_CALL) {
        tsm_call_lost_any(to, sig);
    } else {
        tsm_bury(sig);
    }
    if (mode == TSM_FULL_KILL) {
        end_receiver(q, to);
    }
    return 1;
}

static tsm_pid_t
waits_for(tsm_pid_t pid)
{
    tsm_proc_t* p = tsm_ptab_get_any(pid);
    tsm_qlimit_t* q = p == NULL ? NULL : tsm_qlimit_of(p);
    return q == NULL ? 0 : tsm_load_sc(&q->a_waits_for); /* sc: see Deadlock. */
}

/* Does the chain of waiting processes that begins at pid lead to me? */
static bool
closes_ring(tsm_pid_t pid, tsm_pid_t me)
{
    enum { LONGEST = 1000 };
    for (int walks = 1, wanted = 1; walks <= wanted; walks++) {
        int length = 1;
        for (tsm_pid_t at = pid; at != me; length++) {
            at = waits_for(at);
            if (at == 0 || length > LONGEST) {
                return false;
            }
        }
        wanted = length;
    }
    return true;
}

enum tsm_wait
tsm_qlimit_wait_begin(tsm_qlimit_t* q, tsm_pid_t pid, tsm_waiter_t* waiter, tsm_qlimit_t* own, tsm_pid_t me)
{
    *waiter = (tsm_waiter_t){.own = own};
    if (own != NULL) {
        tsm_store_sc(&own->a_waits_for, pid); /* sc: before the walk; see Deadlock. */
        if (closes_ring(pid, me)) {
            tsm_store_sc(&own->a_waits_for, 0); /* sc: as above. */
            return TSM_WAIT_DEADLOCK;
        }
    }
    tsm_mutex_lock(&q->lock);
    if (q->pid != pid) {
        if (own != NULL) {
            tsm_store_sc(&own->a_waits_for, 0); /* sc: as above. */
        }
        tsm_mutex_unlock(&q->lock);
        return TSM_WAIT_GONE;
    }
    (void)tsm_add_sc(&q->a_waiters, 1); /* sc: before the look at a_count in grant. */
    *q->last = waiter;
    q->last = &waiter->next;
    grant_locked(q);
    tsm_mutex_unlock(&q->lock);
    return TSM_WAIT_QUEUED;
}

bool
tsm_qlimit_wait_end(tsm_qlimit_t* q, tsm_waiter_t* waiter)
{
    tsm_mutex_lock(&q->lock);
    uint32_t state = tsm_load_relaxed(&waiter->a_state); /* relaxed: under the lock. */
    if (state == TSM_WAIT_QUEUED) { /* it gives up */
        tsm_waiter_t** at = &q->first;
        while (*at != waiter) {
            at = &(*at)->next;
        }
        dismiss_locked(q, at, TSM_WAIT_GONE);
    }
    tsm_mutex_unlock(&q->lock);
    return state == TSM_WAIT_GRANTED;
}

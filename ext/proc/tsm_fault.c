/* tsm_fault.c - see tsm_fault.h. */
#include "proc/tsm_fault.h"

#include "proc/tsm_det.h"

#include <string.h>

enum { MAX_RULES = 64, STEPS = 8 };

uint32_t tsm_fault_count;

static tsm_fault_t rules[MAX_RULES];
static uint32_t last_id;
static bool sending, again;

int64_t
tsm_fault_add(tsm_fault_t rule)
{
    int64_t id = TSM_E_FULL;
    tsm_mutex_lock(&tsm_det.lock);
    if (tsm_fault_count < MAX_RULES) {
        rule.id = ++last_id;
        rule.hits = 0;
        rules[tsm_fault_count++] = rule;
        id = rule.id;
    }
    tsm_mutex_unlock(&tsm_det.lock);
    return id;
}

int64_t
tsm_fault_hits(uint32_t id, bool remove)
{
    int64_t hits = TSM_E_NOPROC;
    tsm_mutex_lock(&tsm_det.lock);
    for (uint32_t i = 0; i < tsm_fault_count; i++) {
        if (rules[i].id == id) {
            hits = rules[i].hits;
            if (remove) {
                tsm_fault_count--;
                memmove(&rules[i], &rules[i + 1], (tsm_fault_count - i) * sizeof(rules[0]));
            }
            break;
        }
    }
    tsm_mutex_unlock(&tsm_det.lock);
    return hits;
}

void
tsm_fault_clear(void)
{
    tsm_fault_count = 0;
    sending = again = false;
}

/* Does it strike? 0: no. */
static uint32_t
strikes_locked(tsm_fault_t* rule)
{
    if (rule->hits >= rule->times) {
        return 0;
    }
    if (rule->skip > 0) {
        rule->skip--;
        return 0;
    }
    uint32_t ways = rule->kind == TSM_FAULT_REORDER ? STEPS : 1;
    uint32_t how = ways == 1 && rule->permille >= 1000 ? 1 : tsm_det_draw_locked(ways + 1, rule->permille);
    rule->hits += how != 0;
    return how;
}

static tsm_fault_t*
rule_for_locked(tsm_pid_t to, bool alloc, uint32_t* how)
{
    tsm_pid_t from = tsm_det_running_locked();
    *how = 0;
    for (uint32_t i = 0; i < tsm_fault_count; i++) {
        tsm_fault_t* rule = &rules[i];
        if ((rule->from != 0 && rule->from != from) || (rule->to != 0 && rule->to != to)
            || alloc != (rule->kind == TSM_FAULT_ALLOC) || (rule->kind == TSM_FAULT_DUPLICATE && !sending)) {
            continue;
        }
        if ((*how = strikes_locked(rule)) != 0) {
            return rule;
        }
    }
    return NULL;
}

/* False: no memory, it goes on at once. What is late takes no answer that a queue is full, and of a
 * CALL only the message is late: that its sender watches is told now. */
static bool
delay(tsm_pid_t to, tsm_sig_t* sig, uint64_t delay_ns)
{
    tsm_sig_t* late = sig->kind == TSM_SIG_CALL ? tsm_sig_new(TSM_SIG_MESSAGE) : sig;
    if (late == NULL) {
        return false;
    }
    late->term = sig->term;
    late->flags = (uint16_t)((sig->flags | TSM_SIGF_LATE) & ~TSM_SIGF_ASKS);
    tsm_det_record_any(TSM_DET_DELAYED, 0, to, sig->term);
    if (tsm_hooks.later(to, late, delay_ns) < 0) {
        if (late != sig) {
            tsm_sig_free(late);
        }
        return false;
    }
    if (late != sig) {
        sig->term = NULL;
        tsm_call_lost_any(to, sig);
    }
    return true;
}

bool
tsm_fault_message(tsm_pid_t to, tsm_sig_t* sig)
{
    uint32_t how;
    if ((sig->flags & TSM_SIGF_LATE) != 0) {
        return false;
    }
    tsm_mutex_lock(&tsm_det.lock);
    tsm_fault_t* rule = rule_for_locked(to, false, &how);
    uint32_t kind = rule == NULL ? 0 : rule->kind;
    uint64_t delay_ns = rule == NULL ? 0 : rule->delay_ns;
    again = again || (rule != NULL && kind == TSM_FAULT_DUPLICATE);
    tsm_mutex_unlock(&tsm_det.lock);
    if (rule == NULL || kind == TSM_FAULT_DUPLICATE) {
        return false;
    }
    if (kind == TSM_FAULT_DROP) {
        tsm_det_record_any(TSM_DET_DROPPED, 0, to, sig->term);
        if (sig->kind == TSM_SIG_CALL) {
            tsm_call_lost_any(to, sig);
        } else {
            tsm_bury(sig);
        }
        return true;
    }
    return delay(to, sig, kind == TSM_FAULT_REORDER ? delay_ns * how / STEPS : delay_ns);
}

void
tsm_fault_send_begin(void)
{
    sending = true;
    again = false;
}

bool
tsm_fault_send_again(void)
{
    bool was = again;
    sending = again = false;
    return was;
}

bool
tsm_fault_alloc(void)
{
    uint32_t how;
    tsm_mutex_lock(&tsm_det.lock);
    bool fails = rule_for_locked(0, true, &how) != NULL;
    tsm_mutex_unlock(&tsm_det.lock);
    return fails;
}

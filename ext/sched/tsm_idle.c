/* tsm_idle.c - going to sleep and being woken; the protocol is in tsm_idle.h. */
#include "sched/tsm_idle.h"

#include "base/tsm_assert.h"

void
tsm_idle_init(tsm_idle_t* idle, uint32_t slots)
{
    tsm_check(slots >= 1 && slots <= TSM_IDLE_SLOTS_MAX);
    idle->a_word = 0;
    idle->lock = (tsm_mutex_t){0};
    idle->depth = 0;
    idle->slots = slots;
}

/* One sleeper, already off the stack, becomes a searcher. */
static void
count_woken_locked(tsm_idle_t* idle)
{
    /* acq_rel: counts; RMW because searchers change the word without the lock. */
    tsm_add_acq_rel(&idle->a_word, TSM_IDLE_ONE_SEARCHER - TSM_IDLE_ONE_SLEEPER);
}

int
tsm_idle_wake_slow(tsm_idle_t* idle)
{
    int slot = -1;
    tsm_mutex_lock(&idle->lock);
    /* relaxed: ordered by the fence of tsm_idle_wake_any, whose reasons apply again:
     * who searches now has the duty. It keeps two pushers from waking two slots. */
    uint32_t word = tsm_load_relaxed(&idle->a_word);
    if (tsm_idle_searchers(word) == 0 && idle->depth > 0) {
        slot = idle->stack[--idle->depth];
        count_woken_locked(idle);
    }
    tsm_mutex_unlock(&idle->lock);
    return slot;
}

static bool
take_slot(tsm_idle_t* idle, uint32_t slot)
{
    tsm_mutex_lock(&idle->lock);
    uint32_t i = idle->depth;
    while (i > 0 && idle->stack[i - 1] != slot) {
        i--;
    }
    bool found = i > 0;
    if (found) {
        for (; i < idle->depth; i++) {
            idle->stack[i - 1] = idle->stack[i];
        }
        idle->depth--;
        count_woken_locked(idle);
    }
    tsm_mutex_unlock(&idle->lock);
    return found;
}

bool
tsm_idle_wake_slot_any(tsm_idle_t* idle, uint32_t slot)
{
    return take_slot(idle, slot);
}

bool
tsm_idle_sleep_begin(tsm_idle_t* idle, uint32_t slot, bool searching)
{
    tsm_mutex_lock(&idle->lock);
    tsm_assert(idle->depth < idle->slots);
    idle->stack[idle->depth++] = (uint16_t)slot;
    uint32_t change = TSM_IDLE_ONE_SLEEPER - (searching ? TSM_IDLE_ONE_SEARCHER : 0);
    /* acq_rel: counts; the fence below orders them against the look at the queues. */
    uint32_t word = tsm_add_acq_rel(&idle->a_word, change) + change;
    tsm_mutex_unlock(&idle->lock);
    if (tsm_idle_searchers(word) != 0) {
        return false;
    }
    /* heavy: pairs with the light fence of tsm_idle_wake_any. Outside the lock: a
     * pusher that takes us off the stack in between only makes the look unnecessary. */
    tsm_fence_heavy();
    return true;
}

bool
tsm_idle_sleep_cancel(tsm_idle_t* idle, uint32_t slot)
{
    return take_slot(idle, slot);
}

void
tsm_idle_validate(tsm_idle_t* idle)
{
    tsm_mutex_lock(&idle->lock);
    /* relaxed: the sleepers' half changes only under the lock. */
    uint32_t word = tsm_load_relaxed(&idle->a_word);
    tsm_check(tsm_idle_sleepers(word) == idle->depth); /* I1 */
    for (uint32_t i = 0; i < idle->depth; i++) {
        tsm_check(idle->stack[i] < idle->slots);
        for (uint32_t j = 0; j < i; j++) {
            tsm_check(idle->stack[i] != idle->stack[j]); /* I3 */
        }
    }
    tsm_mutex_unlock(&idle->lock);
}

/* model_bias.c - the owner of biased locks goes in and out while two others end the bias.
 *
 * Guards: tsm_bias.h: never two inside one lock, and what one did there the next one sees.
 * Both with membarrier and with two full fences. Must fail with
 *   PLANT_NO_HEAVY_FENCE      owner and ender do not see each other
 *   PLANT_RELEASE_IS_RELAXED  what the owner did inside may arrive late
 *   PLANT_NO_WAIT             the ender takes the mutex while the owner is inside
 *   PLANT_ENDING_IS_SHARED    the second of the others goes in before the first has waited
 *   PLANT_HEIR_AT_ONCE        there are two owners while the dead one is inside
 */
#include "base/tsm_bias.h"

#include "explorer.h"

static tsm_bias_t bias;
static tsm_bias_lock_t lock;
static uint32_t word; /* atomic so that it can arrive late */
static uint32_t heir_owns; /* as a_owner of a table */
static unsigned users, uses;

static void
setup(void)
{
    bias = (tsm_bias_t){0};
    lock = (tsm_bias_lock_t){0};
    users = uses = 0;
    word = heir_owns = 0;
}

static void
use(void)
{
    MODEL_CHECK(++users == 1, "two threads inside one lock");
    MODEL_CHECK(tsm_load_relaxed(&word) == uses, "what the last one did inside is not there");
    tsm_store_relaxed(&word, ++uses);
    users--;
}

static void
owner(void)
{
    for (int i = 0; i < 2; i++) {
        if (i == 0 && tsm_bias_enter(&bias, &lock)) { /* as update_counter does */
            use();
            tsm_bias_leave(&lock);
            continue;
        }
        tsm_bias_lock(&bias, &lock, true);
        use();
        tsm_bias_unlock(&lock);
    }
}

/* As tsm_table_share, for one lock; false: the owner stayed inside for too long for a model. */
static bool
share(void)
{
    bool left = true;
    tsm_mutex_lock(&bias.ending);
    if (!tsm_bias_is_shared(&bias)) {
        tsm_bias_ask(&bias);
#ifndef PLANT_NO_WAIT
        left = !tsm_bias_is_inside(&lock) || !tsm_bias_is_inside(&lock);
#endif
        if (left) {
            tsm_bias_end(&bias);
        }
    }
    tsm_mutex_unlock(&bias.ending);
    return left;
}

static bool
is_shared(void)
{
#ifdef PLANT_ENDING_IS_SHARED
    return tsm_load_acquire(&bias.a_shared) != TSM_BIAS_OWNED;
#else
    return tsm_bias_is_shared(&bias);
#endif
}

static void
other(void)
{
    if (is_shared() || share()) {
        tsm_bias_lock(&bias, &lock, false);
        use();
        tsm_bias_unlock(&lock);
    }
}

/* Another thread ends the owner, which may be inside, and makes the heir the owner, as
 * tsm_table_died. */
static void
killer(void)
{
#ifndef PLANT_HEIR_AT_ONCE
    if (!is_shared() && !share()) {
        return;
    }
#endif
    tsm_store_release(&heir_owns, 1);
}

static void
heir(void)
{
    if (tsm_load_acquire(&heir_owns) != 0) {
        tsm_bias_lock(&bias, &lock, true);
        use();
        tsm_bias_unlock(&lock);
    }
}

MODEL(owner_against_heir, .setup = setup, .threads = {owner, killer, heir}, .preemptions = 2, .stale = 2)
{
    MODEL_CHECK(uses >= 2, "the owner did not get in");
}

MODEL(owner_against_others, .setup = setup, .threads = {owner, other, other}, .preemptions = 2, .stale = 2)
{
    MODEL_CHECK(uses >= 2, "the owner did not get in");
}

MODEL(owner_against_others_full_fences, .setup = setup, .full_fences = true,
      .threads = {owner, other, other}, .preemptions = 2, .stale = 2)
{
    MODEL_CHECK(uses >= 2, "the owner did not get in");
}

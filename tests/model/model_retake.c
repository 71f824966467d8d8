/* model_retake.c - a worker enters and leaves the runtime while the monitor takes its slot.
 *
 * Guards: tsm_sched.h, "taking": never two users of one slot, and the slot's fields pass
 * from the old holder to the new one. The real tsm_enter, tsm_leave, tsm_retake and
 * tsm_wait_slot of ext/sched/tsm_park.c. Must fail with
 *   PLANT_NO_HEAVY_FENCE      worker and monitor do not see each other
 *   PLANT_RELEASE_IS_RELAXED  what the worker did to the slot may arrive late
 */
#include "explorer.h"
#include "sched/tsm_sched.h"

tsm_sched_t tsm_sched;

static tsm_slot_t slot;
static tsm_worker_t holder, pooled;
static unsigned users, uses;

static void
no_hook(tsm_worker_t* w)
{
    (void)w;
}

static void
setup(void)
{
    tsm_sched = (tsm_sched_t){.hooks = {.attach = no_hook, .detach = no_hook}};
    slot = (tsm_slot_t){.a_holder = &holder};
    holder = (tsm_worker_t){.a_slot = &slot};
    pooled = (tsm_worker_t){.a_in_rt = 1};
    tsm_sched.pool = &pooled;
    users = uses = 0;
}

/* What only the holder may do; a_ticks stands for all fields of the slot. */
static void
use_slot(void)
{
    MODEL_CHECK(++users == 1, "two threads use one slot");
    uint64_t ticks = tsm_load_relaxed(&slot.a_ticks);
    MODEL_CHECK(ticks == uses, "the last holder's writes are not there");
    tsm_store_relaxed(&slot.a_ticks, ticks + 1);
    uses++;
    users--;
}

/* In user code at first: enters the runtime twice, as a process that sends twice. */
static void
worker(void)
{
    for (int i = 0; i < 2; i++) {
        if (!tsm_enter(&holder)) {
            MODEL_CHECK(tsm_worker_slot(&holder) == NULL, "shut out, yet it has the slot");
            return;
        }
        MODEL_CHECK(tsm_worker_slot(&holder) == &slot, "entered without the slot");
        use_slot();
        tsm_leave(&holder);
    }
}

static void
monitor(void)
{
    for (int i = 0; i < 2 && !tsm_retake(&slot, false); i++) {
    }
}

static void
successor(void)
{
    MODEL_CHECK(tsm_wait_slot(&pooled), "closed");
    MODEL_CHECK(tsm_worker_slot(&pooled) == &slot, "woken without the slot");
    use_slot();
}

static void
one_holder(void)
{
    bool taken = tsm_worker_slot(&pooled) == &slot;
    MODEL_CHECK(taken != (tsm_worker_slot(&holder) == &slot), "not exactly one holder");
    MODEL_CHECK(taken != model_is_parked(2), "slot given and its holder sleeps");
}

MODEL(enter_against_retake, .setup = setup,
      .threads = {worker, monitor, successor}, .preemptions = 2, .stale = 2)
{
    one_holder();
}

MODEL(enter_against_retake_full_fences, .setup = setup, .full_fences = true,
      .threads = {worker, monitor, successor}, .preemptions = 2, .stale = 2)
{
    one_holder();
}

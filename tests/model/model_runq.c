/* model_runq.c - a run queue of 4 cells, its owner and thieves.
 *
 * Guards: every item handed out exactly once; the owner's and each thief's items come in
 * the order they were pushed. Must fail with
 *   PLANT_SOLO                pop by a plain store although there are thieves
 *   PLANT_STEAL_READS_LATE    thief moves head before it reads the cells
 *   PLANT_RELEASE_IS_RELAXED  tail may be seen before the cell it publishes
 */
#include "explorer.h"
#include "queue/tsm_runq.h"

enum { ITEMS_MAX = 8 };

static tsm_runq_t q, thief_q[2];
static unsigned seen[ITEMS_MAX + 1], pushed_count;

static void
setup(void)
{
#ifdef PLANT_SOLO
    tsm_runq_init(&q, true);
#else
    tsm_runq_init(&q, false);
#endif
    tsm_runq_init(&thief_q[0], false);
    tsm_runq_init(&thief_q[1], false);
    q.a_head = q.a_tail = UINT32_MAX - 1; /* the indices wrap under way */
    for (int i = 0; i <= ITEMS_MAX; i++) {
        seen[i] = 0;
    }
    pushed_count = 0;
}

static void
setup_half_full(void)
{
    setup();
    while (pushed_count < 2) {
        pushed_count += tsm_runq_push_owner(&q, (void*)(uintptr_t)(pushed_count + 1));
    }
}

static void
setup_full(void)
{
    setup();
    while (pushed_count < TSM_RUNQ_CAP) {
        pushed_count += tsm_runq_push_owner(&q, (void*)(uintptr_t)(pushed_count + 1));
    }
}

static void
got(void* item)
{
    uintptr_t i = (uintptr_t)item;
    MODEL_CHECK(i >= 1 && i <= ITEMS_MAX, "not an item");
    MODEL_CHECK(++seen[i] == 1, "handed out twice");
}

/* Push one more; a full queue first gives up its older half, as a slot does to the
 * overflow queue. */
static void
push_one(void)
{
    void* item = (void*)(uintptr_t)++pushed_count;
    while (!tsm_runq_push_owner(&q, item)) {
        void* out[TSM_RUNQ_CAP];
        uint32_t n = tsm_runq_half_owner(&q, out, TSM_RUNQ_CAP / 2);
        for (uint32_t i = 0; i < n; i++) {
            got(out[i]);
        }
    }
}

static void
pop_one(void)
{
    void* item = tsm_runq_pop_owner(&q);
    if (item != NULL) {
        got(item);
    }
}

static void
owner(void)
{
    push_one();
    pop_one();
    push_one();
    pop_one();
}

static void
owner_overflows(void)
{
    push_one();
    push_one();
    pop_one();
}

static void*
steal(int thief, tsm_runq_t* victim)
{
    tsm_runq_t* own = &thief_q[thief];
#ifdef PLANT_STEAL_READS_LATE
    uint32_t head = tsm_load_acquire(&victim->a_head);
    uint32_t tail = tsm_load_acquire(&victim->a_tail);
    if (tail == head || !tsm_cas_acq_rel(&victim->a_head, &head, head + 1)) {
        return NULL;
    }
    (void)own;
    return tsm_load_relaxed(tsm_runq_cell(victim, head));
#else
    return tsm_runq_steal_any(own, victim);
#endif
}

static void
steal_and_run(int thief, tsm_runq_t* victim)
{
    uintptr_t last = 0;
    for (void* item = steal(thief, victim); item != NULL;
         item = tsm_runq_pop_owner(&thief_q[thief])) {
        MODEL_CHECK((uintptr_t)item > last, "stolen out of order");
        last = (uintptr_t)item;
        got(item);
    }
}

static void
thief_a(void)
{
    steal_and_run(0, &q);
}

static void
thief_b(void)
{
    steal_and_run(1, &q);
}

static void
thief_of_thief(void)
{
    steal_and_run(1, &thief_q[0]);
}

static void
all_once(void)
{
    for (void* item; (item = tsm_runq_pop_owner(&q)) != NULL;) {
        got(item);
    }
    for (unsigned i = 1; i <= pushed_count; i++) {
        MODEL_CHECK(seen[i] == 1, "lost");
    }
}

MODEL(owner_and_two_thieves, .setup = setup_half_full, .threads = {owner, thief_a, thief_b},
      .preemptions = 2, .stale = 1)
{
    all_once();
}

MODEL(owner_and_thief_deep, .setup = setup_half_full, .threads = {owner, thief_a},
      .preemptions = 4, .stale = 2)
{
    all_once();
}

MODEL(overflow_and_thief, .setup = setup_full, .threads = {owner_overflows, thief_a},
      .preemptions = 3, .stale = 1)
{
    all_once();
}

MODEL(thief_of_a_thief, .setup = setup_full, .threads = {thief_a, thief_of_thief, owner},
      .preemptions = 2, .stale = 1)
{
    all_once();
}

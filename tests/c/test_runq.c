/* test_runq.c - FIFO, wrapping, halves, and one owner against three thieves. */
#include "queue/tsm_runq.h"

#include "base/tsm_rand.h"
#include "threads.h"

static tsm_runq_t q, own;

static void*
item(uint32_t i)
{
    return (void*)(uintptr_t)(i + 1);
}

/* Also where the 32-bit indices wrap. */
static void
fifo_from(uint32_t start, bool solo)
{
    tsm_runq_init(&q, solo);
    q.a_head = q.a_tail = start;
    CHECK(tsm_runq_pop_owner(&q) == NULL);
    for (int round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < TSM_RUNQ_CAP; i++) {
            CHECK(tsm_runq_len_any(&q) == i);
            CHECK(tsm_runq_push_owner(&q, item(i)));
        }
        CHECK(!tsm_runq_push_owner(&q, item(0)));
        for (uint32_t i = 0; i < TSM_RUNQ_CAP; i++) {
            CHECK(tsm_runq_pop_owner(&q) == item(i));
        }
        CHECK(tsm_runq_pop_owner(&q) == NULL);
    }
}

CASE(fifo)
{
    fifo_from(0, false);
    fifo_from(UINT32_MAX - 100, false);
    fifo_from(UINT32_MAX - 100, true);
}

CASE(half_is_the_older_half)
{
    void* out[TSM_RUNQ_CAP];
    tsm_runq_init(&q, false);
    CHECK(tsm_runq_half_owner(&q, out, TSM_RUNQ_CAP) == 0);
    for (uint32_t i = 0; i < 5; i++) {
        CHECK(tsm_runq_push_owner(&q, item(i)));
    }
    CHECK(tsm_runq_half_owner(&q, out, TSM_RUNQ_CAP) == 3);
    CHECK(out[0] == item(0) && out[2] == item(2));
    CHECK(tsm_runq_half_owner(&q, out, 0) == 0);
    CHECK(tsm_runq_half_owner(&q, out, TSM_RUNQ_CAP) == 1 && out[0] == item(3));
    CHECK(tsm_runq_pop_owner(&q) == item(4) && tsm_runq_pop_owner(&q) == NULL);
}

CASE(steal_takes_the_older_half_in_order)
{
    for (uint32_t n = 0; n <= TSM_RUNQ_CAP; n++) {
        tsm_runq_init(&q, false);
        tsm_runq_init(&own, false);
        for (uint32_t i = 0; i < n; i++) {
            CHECK(tsm_runq_push_owner(&q, item(i)));
        }
        uint32_t half = n - n / 2;
        CHECK(tsm_runq_steal_any(&own, &q) == (n == 0 ? NULL : item(0)));
        CHECK(tsm_runq_len_any(&own) == (half == 0 ? 0 : half - 1));
        for (uint32_t i = 1; i < half; i++) {
            CHECK(tsm_runq_pop_owner(&own) == item(i));
        }
        for (uint32_t i = half; i < n; i++) {
            CHECK(tsm_runq_pop_owner(&q) == item(i));
        }
    }
}

CASE(steal_takes_no_more_than_fits)
{
    tsm_runq_init(&q, false);
    tsm_runq_init(&own, false);
    for (uint32_t i = 0; i < TSM_RUNQ_CAP; i++) {
        CHECK(tsm_runq_push_owner(&q, item(i)));
    }
    for (uint32_t i = 0; i < TSM_RUNQ_CAP - 2; i++) {
        CHECK(tsm_runq_push_owner(&own, item(1000 + i)));
    }
    CHECK(tsm_runq_steal_any(&own, &q) == item(0));
    CHECK(tsm_runq_len_any(&own) == TSM_RUNQ_CAP);
    CHECK(tsm_runq_len_any(&q) == TSM_RUNQ_CAP - 3);
    CHECK(tsm_runq_steal_any(&own, &q) == item(3));
}

/* --- stress: each item is handed out exactly once ----------------------------------- */

enum { ITEMS = 400000, THIEVES = 3 };

static uint8_t a_seen[ITEMS];
static uint32_t a_out;
static tsm_runq_t thief_q[THIEVES];

static void
got(void* p)
{
    uint32_t i = (uint32_t)(uintptr_t)p - 1;
    CHECK(i < ITEMS);
    /* relaxed, both: counts. */
    CHECK(tsm_add_relaxed(&a_seen[i], 1) == 0);
    tsm_add_relaxed(&a_out, 1);
}

static void
steal_all(int idx)
{
    tsm_runq_t* mine = &thief_q[idx];
    uint32_t turns = 0;
    tsm_rand_t r;
    tsm_rand_init(&r, (uint64_t)idx);
    /* relaxed: a count. */
    while (tsm_load_relaxed(&a_out) < (uint32_t)ROUNDS(ITEMS)) {
        /* From the source or from a fellow thief. */
        tsm_runq_t* victim = idx == 0 || tsm_rand_below(&r, 3) != 0 ? &q : &thief_q[idx - 1];
        void* p = tsm_runq_steal_any(mine, victim);
        if (p == NULL) {
            spin(&turns);
        }
        while (p != NULL) {
            got(p);
            p = tsm_runq_pop_owner(mine);
        }
    }
}

CASE(stress_owner_and_thieves)
{
    tsm_runq_init(&q, false);
    for (int i = 0; i < THIEVES; i++) {
        tsm_runq_init(&thief_q[i], false);
    }
    q.a_head = q.a_tail = UINT32_MAX - 1000;
    threads_start(0, THIEVES, steal_all);
    void* out[TSM_RUNQ_CAP];
    for (uint32_t i = 0; i < (uint32_t)ROUNDS(ITEMS); i++) {
        while (!tsm_runq_push_owner(&q, item(i))) {
            uint32_t n = tsm_runq_half_owner(&q, out, TSM_RUNQ_CAP / 2);
            for (uint32_t k = 0; k < n; k++) {
                got(out[k]);
            }
        }
        if (i % 4 == 0) {
            void* p = tsm_runq_pop_owner(&q);
            if (p != NULL) {
                got(p);
            }
        }
    }
    for (void* p; (p = tsm_runq_pop_owner(&q)) != NULL;) {
        got(p);
    }
    threads_join(0, THIEVES);
    CHECK(a_out == (uint32_t)ROUNDS(ITEMS));
}

HARNESS_MAIN

/* test_atomic.c - the names mean what they say; the asymmetric fence pair orders. */
#include "base/tsm_atomic.h"

#include "base/tsm_clock.h"
#include "base/tsm_rand.h"
#include "threads.h"

CASE(results_are_old_values)
{
    uint32_t x = 5;
    CHECK(tsm_add_relaxed(&x, 2) == 5 && x == 7);
    CHECK(tsm_sub_acq_rel(&x, 3) == 7 && x == 4);
    CHECK(tsm_or_acq_rel(&x, 3) == 4 && x == 7);
    CHECK(tsm_and_acq_rel(&x, 5) == 7 && x == 5);
    CHECK(tsm_swap_acq_rel(&x, 9) == 5 && x == 9);
    uint32_t seen = 8;
    CHECK(!tsm_cas_acq_rel(&x, &seen, 1) && seen == 9 && x == 9);
    CHECK(tsm_cas_acq_rel(&x, &seen, 1) && x == 1);
}

CASE(all_widths_and_pointers)
{
    uint8_t a = 1;
    uint16_t b = 1;
    uint64_t c = 1;
    int* p = NULL;
    int target = 0;
    CHECK(tsm_add_sc(&a, 255) == 1 && a == 0);
    CHECK(tsm_add_sc(&b, 65535) == 1 && b == 0);
    CHECK(tsm_add_sc(&c, UINT64_MAX) == 1 && c == 0);
    tsm_store_release(&p, &target);
    CHECK(tsm_load_acquire(&p) == &target);
    CHECK(tsm_swap_sc(&p, NULL) == &target && p == NULL);
}

CASE(random_is_seeded_and_bounded)
{
    tsm_rand_t r, s;
    tsm_rand_init(&r, 42);
    tsm_rand_init(&s, 42);
    bool hit[7] = {false};
    for (int i = 0; i < 1000; i++) {
        uint32_t v = tsm_rand_below(&r, 7);
        CHECK(v < 7 && v == tsm_rand_below(&s, 7));
        hit[v] = true;
    }
    for (int i = 0; i < 7; i++) {
        CHECK(hit[i]);
    }
}

/* --- store buffering litmus: each side writes its word, then reads the other's ----- */

static uint32_t a_x TSM_ALIGNED(TSM_CACHELINE);
static uint32_t a_y TSM_ALIGNED(TSM_CACHELINE);
static uint32_t a_round TSM_ALIGNED(TSM_CACHELINE);
static uint32_t a_done TSM_ALIGNED(TSM_CACHELINE);
static uint32_t light_saw, heavy_saw;

enum { LITMUS_ROUNDS = 100000, LITMUS_STOP = UINT32_MAX };
#define LITMUS_NS (2 * TSM_NS_PER_SEC) /* on a busy machine: fewer rounds */

/* The other side's word once it has changed from `old`. */
static uint32_t
await_change(uint32_t* a, uint32_t old)
{
    uint32_t turns = 0, v;
    /* acquire: pairs with the release of the round's start or end. */
    while ((v = tsm_load_acquire(a)) == old) {
        spin(&turns);
    }
    return v;
}

static void
litmus_light(int idx)
{
    (void)idx;
    uint32_t round = 0;
    while ((round = await_change(&a_round, round)) != LITMUS_STOP) {
        /* relaxed, both: the fence under test orders them. */
        tsm_store_relaxed(&a_x, 1);
        tsm_fence_light();
        light_saw = tsm_load_relaxed(&a_y);
        /* release: pairs with await_change of the other side. */
        tsm_store_release(&a_done, round);
    }
}

static void
litmus_run(void)
{
    uint64_t end_ns = tsm_now_ns() + LITMUS_NS;
    threads_start(0, 1, litmus_light);
    for (uint32_t i = 1; i <= (uint32_t)ROUNDS(LITMUS_ROUNDS); i++) {
        a_x = a_y = 0;
        /* release: pairs with await_change of litmus_light. */
        tsm_store_release(&a_round, i);
        for (uint32_t pauses = i % 64; pauses > 0; pauses--) {
            tsm_pause();
        }
        /* relaxed, both: the fence under test orders them. */
        tsm_store_relaxed(&a_y, 1);
        tsm_fence_heavy();
        heavy_saw = tsm_load_relaxed(&a_x);
        (void)await_change(&a_done, i - 1);
        CHECK(light_saw == 1 || heavy_saw == 1);
        if (tsm_now_ns() > end_ns) {
            break;
        }
    }
    /* release: as above. */
    tsm_store_release(&a_round, LITMUS_STOP);
    threads_join(0, 1);
}

CASE(fences_order_with_membarrier)
{
    tsm_fence_init();
    tsm_fence_init();
    litmus_run();
}

CASE(fences_order_without_membarrier)
{
    CHECK(!tsm_fence_expedited);
    litmus_run();
}

HARNESS_MAIN

/* test_inject.c - FIFO across single and batch operations; threads lose nothing. */
#include "queue/tsm_inject.h"

#include "threads.h"

typedef struct {
    tsm_node_t node;
    uint32_t number;
} work_t;

static tsm_inject_t q;

CASE(fifo_singles_and_batches)
{
    work_t w[10];
    tsm_inject_init(&q);
    uint32_t n = 99;
    CHECK(tsm_inject_pop_any(&q) == NULL);
    CHECK(tsm_inject_pop_batch_any(&q, 5, &n) == NULL && n == 0);
    tsm_inject_push_any(&q, &w[0].node);
    for (int i = 1; i < 9; i++) {
        w[i].node.next = &w[i + 1].node;
    }
    tsm_inject_push_batch_any(&q, &w[1].node, &w[9].node, 9);
    CHECK(tsm_inject_len_any(&q) == 10);
    tsm_inject_validate(&q);
    CHECK(tsm_inject_pop_any(&q) == &w[0].node && w[0].node.next == NULL);
    tsm_node_t* chain = tsm_inject_pop_batch_any(&q, 4, &n);
    CHECK(n == 4);
    for (int i = 1; i < 5; i++, chain = chain->next) {
        CHECK(chain == &w[i].node);
    }
    CHECK(chain == NULL);
    tsm_inject_validate(&q);
    CHECK(tsm_inject_pop_batch_any(&q, 0, &n) == NULL && n == 0);
    CHECK(tsm_inject_pop_batch_any(&q, 100, &n) == &w[5].node && n == 5);
    CHECK(tsm_inject_len_any(&q) == 0 && tsm_inject_pop_any(&q) == NULL);
    tsm_inject_validate(&q);
}

enum { PUSHERS = 2, POPPERS = 2, EACH = 60000 };

static work_t work[PUSHERS][EACH];
static uint32_t a_out;

static void
push_all(int idx)
{
    for (int i = 0; i + 3 <= ROUNDS(EACH); i += 3) {
        work_t* w = &work[idx][i];
        tsm_inject_push_any(&q, &w[0].node);
        w[1].node.next = &w[2].node;
        tsm_inject_push_batch_any(&q, &w[1].node, &w[2].node, 2);
    }
}

static void
pop_all(int idx)
{
    uint32_t turns = 0;
    /* relaxed: a count. */
    while (tsm_load_relaxed(&a_out) < PUSHERS * (uint32_t)(ROUNDS(EACH) / 3 * 3)) {
        uint32_t n, count = 0;
        tsm_node_t* c = tsm_inject_pop_batch_any(&q, (uint32_t)idx * 2, &n);
        for (; c != NULL; c = c->next) {
            TSM_CONTAINER_OF(c, work_t, node)->number++;
            count++;
        }
        CHECK(count == n);
        if (n == 0) {
            spin(&turns);
        }
        /* relaxed: a count. */
        tsm_add_relaxed(&a_out, n);
    }
}

CASE(stress)
{
    tsm_inject_init(&q);
    threads_start(0, PUSHERS, push_all);
    threads_start(PUSHERS, POPPERS, pop_all);
    threads_join(0, PUSHERS + POPPERS);
    for (int i = 0; i < PUSHERS; i++) {
        for (int k = 0; k < ROUNDS(EACH) / 3 * 3; k++) {
            CHECK(work[i][k].number == 1);
        }
    }
    tsm_inject_validate(&q);
}

HARNESS_MAIN

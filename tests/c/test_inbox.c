/* test_inbox.c - states, order, and a stress run that counts what went in and came out. */
#include "queue/tsm_inbox.h"

#include "base/tsm_rand.h"
#include "mem/tsm_pool.h"
#include "threads.h"

typedef struct {
    tsm_node_t node;
    uint32_t sender, number;
} signal_t;

static tsm_inbox_t inbox;

CASE(order_is_that_of_the_pushes)
{
    signal_t s[5];
    for (int i = 0; i < 5; i++) {
        CHECK(tsm_inbox_push_any(&inbox, &s[i].node) == TSM_PUSH_QUEUED);
    }
    tsm_node_t* n = tsm_inbox_take_owner(&inbox);
    for (int i = 0; i < 5; i++, n = n->next) {
        CHECK(n == &s[i].node);
    }
    CHECK(n == NULL && tsm_inbox_take_owner(&inbox) == NULL);
}

CASE(states)
{
    signal_t s;
    CHECK(sizeof(tsm_inbox_t) == sizeof(void*));
    CHECK(tsm_inbox_is_empty(&inbox) && !tsm_inbox_is_idle(&inbox));
    CHECK(!tsm_inbox_claim_any(&inbox));
    CHECK(tsm_inbox_sleep_owner(&inbox) && tsm_inbox_is_idle(&inbox));
    CHECK(tsm_inbox_claim_any(&inbox) && tsm_inbox_is_empty(&inbox));
    CHECK(tsm_inbox_sleep_owner(&inbox));
    CHECK(tsm_inbox_push_any(&inbox, &s.node) == TSM_PUSH_WOKE && s.node.next == NULL);
    CHECK(!tsm_inbox_sleep_owner(&inbox) && !tsm_inbox_claim_any(&inbox));
    CHECK(tsm_inbox_close_owner(&inbox) == &s.node && tsm_inbox_is_dead(&inbox));
    s.node.next = &s.node;
    CHECK(tsm_inbox_push_any(&inbox, &s.node) == TSM_PUSH_DEAD && s.node.next == &s.node);
    CHECK(!tsm_inbox_claim_any(&inbox));
    CHECK(tsm_inbox_close_owner(&inbox) == NULL);
    tsm_inbox_open_owner(&inbox);
    CHECK(tsm_inbox_is_empty(&inbox) && !tsm_inbox_is_dead(&inbox));
    CHECK(tsm_inbox_sleep_owner(&inbox) && tsm_inbox_close_owner(&inbox) == NULL);
}

/* --- stress ------------------------------------------------------------------------
 * Four senders, one that only claims, and whoever owns the process. Ownership travels by
 * the inbox alone: the fields of `owned` are plain, TSan watches them. Sleeping hands the
 * process to the next waker, which runs it on its own thread, as a scheduler would. */

enum { SENDERS = 4 };

static struct {
    uint32_t next[SENDERS]; /* number expected from each sender */
    uint64_t taken, wakes;
} owned;

static uint64_t a_refused;

static void
run_process(void)
{
    owned.wakes++;
    do {
        for (tsm_node_t *n = tsm_inbox_take_owner(&inbox), *next; n != NULL; n = next) {
            next = n->next;
            signal_t* s = TSM_CONTAINER_OF(n, signal_t, node);
            CHECK(owned.next[s->sender]++ == s->number);
            owned.taken++;
            tsm_free(s, sizeof(*s));
        }
    } while (!tsm_inbox_sleep_owner(&inbox));
}

static void
send_all(int idx)
{
    for (uint32_t i = 0; i < (uint32_t)ROUNDS(200000); i++) {
        signal_t* s = tsm_alloc(sizeof(*s));
        CHECK(s != NULL);
        s->sender = (uint32_t)idx;
        s->number = i;
        tsm_push_t pushed = tsm_inbox_push_any(&inbox, &s->node);
        if (pushed == TSM_PUSH_WOKE) {
            run_process();
        }
        else if (pushed == TSM_PUSH_DEAD) {
            tsm_free(s, sizeof(*s));
            /* relaxed: a count, read after the join. */
            tsm_add_relaxed(&a_refused, 1);
        }
    }
}

static uint32_t a_stop;

static void
claim_often(int idx)
{
    (void)idx;
    uint32_t turns = 0;
    /* relaxed: only ends the loop. */
    while (!tsm_load_relaxed(&a_stop)) {
        if (tsm_inbox_claim_any(&inbox)) {
            run_process();
        }
        spin(&turns);
    }
}

CASE(stress_sleep_wake_claim)
{
    run_process(); /* falls asleep */
    threads_start(0, SENDERS, send_all);
    threads_start(SENDERS, 1, claim_often);
    threads_join(0, SENDERS);
    /* relaxed: only ends the loop. */
    tsm_store_relaxed(&a_stop, 1);
    threads_join(SENDERS, 1);
    CHECK(tsm_inbox_is_idle(&inbox) && a_refused == 0);
    CHECK(owned.taken == SENDERS * (uint64_t)ROUNDS(200000));
    CHECK(owned.wakes > 1);
}

/* The owner dies and is reborn under way; every signal is taken, swept up or refused. */
static uint64_t swept;

static void
die_often(int idx)
{
    (void)idx;
    /* relaxed: only ends the loop. */
    while (!tsm_load_relaxed(&a_stop)) {
        for (int i = 0; i < 50; i++) {
            for (tsm_node_t *n = tsm_inbox_take_owner(&inbox), *next; n; n = next) {
                next = n->next;
                owned.taken++;
                tsm_free(n, sizeof(signal_t));
            }
        }
        for (tsm_node_t *n = tsm_inbox_close_owner(&inbox), *next; n; n = next) {
            next = n->next;
            swept++;
            tsm_free(n, sizeof(signal_t));
        }
        tsm_inbox_open_owner(&inbox);
    }
}

CASE(stress_close_and_open)
{
    threads_start(SENDERS, 1, die_often);
    threads_start(0, SENDERS, send_all);
    threads_join(0, SENDERS);
    /* relaxed: only ends the loop. */
    tsm_store_relaxed(&a_stop, 1);
    threads_join(SENDERS, 1);
    for (tsm_node_t *n = tsm_inbox_take_owner(&inbox), *next; n != NULL; n = next) {
        next = n->next;
        swept++;
        tsm_free(n, sizeof(signal_t));
    }
    CHECK(owned.taken + swept + a_refused == SENDERS * (uint64_t)ROUNDS(200000));
    tsm_pool_stats_t s;
    tsm_pool_stats(&s);
    CHECK(s.live_objects == 0);
}

HARNESS_MAIN

/* test_idle.c - the counts by hand, then a toy scheduler that must never lose a wake-up. */
#include "sched/tsm_idle.h"

#include "base/tsm_rand.h"
#include "queue/tsm_inject.h"
#include "queue/tsm_runq.h"
#include "threads.h"

static tsm_idle_t idle;

CASE(counts_and_stack)
{
    tsm_idle_init(&idle, 4);
    CHECK(tsm_idle_wake_any(&idle) == -1);
    CHECK(tsm_idle_may_search(&idle));
    tsm_idle_search_begin(&idle);
    tsm_idle_search_begin(&idle);
    CHECK(!tsm_idle_may_search(&idle));
    CHECK(!tsm_idle_sleep_begin(&idle, 0, true)); /* another searches on */
    CHECK(tsm_idle_wake_any(&idle) == -1);        /* for the same reason */
    CHECK(tsm_idle_sleep_begin(&idle, 1, true));  /* the last: look again */
    CHECK(tsm_idle_sleep_begin(&idle, 2, false)); /* nobody searches: look again */
    tsm_idle_validate(&idle);
    CHECK(tsm_idle_wake_any(&idle) == 2);
    CHECK(tsm_idle_wake_any(&idle) == -1); /* 2 searches */
    CHECK(tsm_idle_search_end(&idle));     /* and was the last */
    CHECK(tsm_idle_wake_slot_any(&idle, 0) && !tsm_idle_wake_slot_any(&idle, 0));
    CHECK(tsm_idle_sleep_cancel(&idle, 1) && !tsm_idle_sleep_cancel(&idle, 1));
    tsm_idle_validate(&idle);
    CHECK(!tsm_idle_search_end(&idle) && tsm_idle_search_end(&idle));
    CHECK(idle.a_word == 0);
}

/* --- a toy scheduler: SLOTS threads that run numbers, PUSHERS that make them ------------- */

enum { SLOTS = 4, PUSHERS = 2, BURST_MAX = 40 };

typedef struct {
    tsm_node_t node;
    uint32_t children; /* running it pushes that many onto the slot's own queue */
} job_t;

static tsm_runq_t runqs[SLOTS];
static tsm_inject_t inject;
static tsm_event_t parks[SLOTS];
static uint64_t a_made, a_done;
static uint32_t a_stop;

static void
wake_one(void)
{
    int slot = tsm_idle_wake_any(&idle);
    if (slot >= 0) {
        tsm_event_set(&parks[slot]);
    }
}

static job_t*
job_new(uint32_t children)
{
    job_t* j = malloc(sizeof(*j));
    CHECK(j != NULL);
    j->children = children;
    /* relaxed: a count. */
    tsm_add_relaxed(&a_made, 1);
    return j;
}

static job_t*
look_everywhere(int idx, tsm_rand_t* r)
{
    void* p = tsm_runq_pop_owner(&runqs[idx]);
    if (p != NULL) {
        return p;
    }
    tsm_node_t* n = tsm_inject_pop_any(&inject);
    if (n != NULL) {
        return TSM_CONTAINER_OF(n, job_t, node);
    }
    uint32_t first = tsm_rand_below(r, SLOTS);
    for (uint32_t i = 0; i < SLOTS && p == NULL; i++) {
        uint32_t victim = (first + i) % SLOTS;
        if (victim != (uint32_t)idx) {
            p = tsm_runq_steal_any(&runqs[idx], &runqs[victim]);
        }
    }
    return p;
}

static bool
anything_queued(void)
{
    bool any = tsm_inject_len_any(&inject) != 0;
    for (int i = 0; i < SLOTS; i++) {
        any = any || tsm_runq_len_any(&runqs[i]) != 0;
    }
    return any;
}

static void
run_job(int idx, job_t* j)
{
    for (uint32_t i = 0; i < j->children; i++) {
        job_t* child = job_new(0);
        if (!tsm_runq_push_owner(&runqs[idx], child)) {
            tsm_inject_push_any(&inject, &child->node);
        }
        wake_one();
    }
    free(j);
    /* release: pairs with the pusher that waits for a_done == a_made. */
    tsm_add_acq_rel(&a_done, 1);
}

/* Out of work: steps 3 to 7. Returns with a job, or NULL to stop. */
static job_t*
find_job(int idx, tsm_rand_t* r)
{
    bool searching = tsm_idle_may_search(&idle);
    if (searching) {
        tsm_idle_search_begin(&idle);
    }
    for (;;) {
        job_t* j = searching ? look_everywhere(idx, r) : NULL;
        if (j != NULL) {
            if (tsm_idle_search_end(&idle)) {
                wake_one();
            }
            return j;
        }
        /* relaxed: only ends the loop; looked at again below. */
        if (tsm_load_relaxed(&a_stop)) {
            if (searching && tsm_idle_search_end(&idle)) {
                wake_one();
            }
            return NULL;
        }
        bool again = tsm_idle_sleep_begin(&idle, (uint32_t)idx, searching) && anything_queued();
        /* What tsm_idle_wake_slot_any announces is looked at in any case.
         * relaxed: its lock orders it. */
        again = again || tsm_load_relaxed(&a_stop) != 0;
        bool timed_out = false;
        if (!again) {
            int64_t limit = tsm_rand_below(r, 2) ? TSM_WAIT_FOREVER : 100000;
            timed_out = tsm_event_wait(&parks[idx], limit) != 0;
        }
        if ((again || timed_out) && !tsm_idle_sleep_cancel(&idle, (uint32_t)idx)) {
            CHECK(tsm_event_wait(&parks[idx], TSM_WAIT_FOREVER) == 0);
        }
        searching = true;
    }
}

static void
slot_main(int idx)
{
    tsm_rand_t r;
    tsm_rand_init(&r, (uint64_t)idx);
    for (;;) {
        void* p = tsm_runq_pop_owner(&runqs[idx]);
        job_t* j = p != NULL ? p : find_job(idx, &r);
        if (j == NULL) {
            return;
        }
        run_job(idx, j);
    }
}

static void
pusher_main(int idx)
{
    tsm_rand_t r;
    tsm_rand_init(&r, (uint64_t)idx + 100);
    for (int i = 0; i < ROUNDS(20000); i++) {
        uint32_t burst = 1 + tsm_rand_below(&r, BURST_MAX) / 8;
        for (uint32_t k = 0; k < burst; k++) {
            tsm_inject_push_any(&inject, &job_new(tsm_rand_below(&r, 4))->node);
            wake_one();
        }
        if (i % 8 == 0) {
            /* Wait until all is quiet, so that the slots fall asleep. A lost wake-up
             * hangs here, and the harness's time limit says so. */
            /* acquire: pairs with run_job. relaxed: a count. */
            while (tsm_load_acquire(&a_done) < tsm_load_relaxed(&a_made)) {
                sched_yield();
            }
        }
    }
}

CASE(stress_no_wakeup_is_lost)
{
    tsm_fence_init();
    tsm_idle_init(&idle, SLOTS);
    tsm_inject_init(&inject);
    for (int i = 0; i < SLOTS; i++) {
        tsm_runq_init(&runqs[i], false);
    }
    threads_start(0, SLOTS, slot_main);
    threads_start(SLOTS, PUSHERS, pusher_main);
    threads_join(SLOTS, PUSHERS);
    /* acquire: pairs with run_job. */
    while (tsm_load_acquire(&a_done) < a_made) {
        sched_yield();
    }
    CHECK(!anything_queued());
    tsm_idle_validate(&idle);
    /* relaxed: the lock of the wakes below orders it. */
    tsm_store_relaxed(&a_stop, 1);
    for (uint32_t i = 0; i < SLOTS; i++) {
        if (tsm_idle_wake_slot_any(&idle, i)) {
            tsm_event_set(&parks[i]);
        }
    }
    threads_join(0, SLOTS);
}

HARNESS_MAIN

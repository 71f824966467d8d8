/* model_idle.c - two slots that search and sleep, and whoever makes work.
 *
 * Guards: tsm_idle.h I4: no schedule ends with work queued while everybody sleeps. With the
 * work in the run queue of a slot that is busy (published by a store, which may linger in a
 * buffer: the fence pair is what makes it safe), and in the inject queue (published under a
 * lock). Both with membarrier and with two full fences. Must fail with
 *   PLANT_NO_HEAVY_FENCE   the sleeper's look at the queues may miss a lingering store
 *   PLANT_NO_SECOND_LOOK   step 5: parks without looking again
 *   PLANT_NO_CHAIN         step 4: the last searcher does not wake another
 *   PLANT_CANCEL_RUNS      step 6: after a cancel it runs instead of searching, so that
 *                          nobody wakes another for the rest of the work
 */
#include "explorer.h"
#include "queue/tsm_inject.h"
#include "queue/tsm_runq.h"
#include "sched/tsm_idle.h"

enum { SLOTS = 3, JOBS = 2 }; /* slots 0 and 1 run threads; 2 is the busy one that pushes */

static tsm_idle_t idle;
static tsm_event_t parks[SLOTS];
static tsm_runq_t runqs[SLOTS];
static tsm_inject_t inject;
static tsm_node_t jobs[JOBS];
static unsigned done;
static tsm_event_t never; /* a job that runs for ever: its slot takes nothing more */
static bool jobs_block;

static void
setup(void)
{
    jobs_block = false;
    tsm_idle_init(&idle, SLOTS);
    tsm_inject_init(&inject);
    for (int i = 0; i < SLOTS; i++) {
        tsm_runq_init(&runqs[i], false);
        parks[i].a_state = 0;
    }
    never.a_state = 0;
    done = 0;
}

static void
setup_blocking(void)
{
    setup();
    jobs_block = true;
}

static void
wake_one(void)
{
    int slot = tsm_idle_wake_any(&idle);
    if (slot >= 0) {
        tsm_event_set(&parks[slot]);
    }
}

static bool
anything_queued(void)
{
    return tsm_inject_len_any(&inject) != 0 || tsm_runq_len_any(&runqs[2]) != 0;
}

static void*
look_everywhere(uint32_t slot)
{
    void* job = tsm_runq_pop_owner(&runqs[slot]);
    if (job == NULL) {
        job = tsm_inject_pop_any(&inject);
    }
    if (job == NULL) {
        job = tsm_runq_steal_any(&runqs[slot], &runqs[2]);
    }
    return job;
}

static void
search_end(void)
{
    bool last = tsm_idle_search_end(&idle);
#ifndef PLANT_NO_CHAIN
    if (last) {
        wake_one();
    }
#else
    (void)last;
#endif
}

static void
run_job(void)
{
    done++;
    if (jobs_block) {
        tsm_event_wait(&never, TSM_WAIT_FOREVER);
    }
}

static void
slot_main(uint32_t slot)
{
    bool searching = tsm_idle_may_search(&idle);
    if (searching) {
        tsm_idle_search_begin(&idle);
    }
    for (;;) {
        void* job = look_everywhere(slot);
        if (job != NULL) {
            if (searching) {
                search_end();
            }
            run_job();
            searching = tsm_idle_may_search(&idle);
            if (searching) {
                tsm_idle_search_begin(&idle);
            }
            continue;
        }
        bool again = tsm_idle_sleep_begin(&idle, slot, searching);
#ifdef PLANT_NO_SECOND_LOOK
        again = false;
#else
        again = again && anything_queued();
#endif
        searching = true;
        if (!again) {
            tsm_event_wait(&parks[slot], TSM_WAIT_FOREVER);
        }
        else if (!tsm_idle_sleep_cancel(&idle, slot)) {
            tsm_event_wait(&parks[slot], TSM_WAIT_FOREVER);
        }
#ifdef PLANT_CANCEL_RUNS
        else {
            (void)tsm_idle_search_end(&idle);
            searching = false;
        }
#endif
    }
}

static void
slot_0(void)
{
    slot_main(0);
}

static void
slot_1(void)
{
    slot_main(1);
}

/* Slot 2 makes work and is then busy for ever. */
static void
push_own(void)
{
    for (int i = 0; i < JOBS; i++) {
        MODEL_CHECK(tsm_runq_push_owner(&runqs[2], &jobs[i]), "full");
        wake_one();
    }
}

/* A thread outside the node. */
static void
push_inject(void)
{
    for (int i = 0; i < JOBS; i++) {
        tsm_inject_push_any(&inject, &jobs[i]);
        wake_one();
    }
}

static void
nothing_left(void)
{
    MODEL_CHECK(done == JOBS, "work queued and everybody sleeps");
    tsm_idle_validate(&idle);
}

MODEL(stolen_work_membarrier, .setup = setup, .threads = {slot_0, slot_1, push_own},
      .preemptions = 2, .stale = 1)
{
    nothing_left();
}

MODEL(stolen_work_full_fences, .setup = setup, .full_fences = true,
      .threads = {slot_0, slot_1, push_own}, .preemptions = 2, .stale = 1)
{
    nothing_left();
}

MODEL(injected_work, .setup = setup, .threads = {slot_0, slot_1, push_inject},
      .preemptions = 2, .stale = 1)
{
    nothing_left();
}

/* Each job keeps its slot for ever, so the second needs a slot of its own. */
MODEL(blocking_jobs_need_both_slots, .setup = setup_blocking,
      .threads = {slot_0, slot_1, push_own}, .preemptions = 2, .stale = 1)
{
    nothing_left();
}

MODEL(blocking_injected_jobs, .setup = setup_blocking,
      .threads = {slot_0, slot_1, push_inject}, .preemptions = 2, .stale = 1)
{
    nothing_left();
}

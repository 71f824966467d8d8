/* tsm_idle.h - which slots sleep, how many search, and who must wake whom.
 *
 * What it is      A slot with nothing to run SEARCHES (looks at all queues, steals) and
 *                 then SLEEPS. One word counts both; a stack names the sleepers. The
 *                 question it answers for whoever makes work: must I wake a slot, and
 *                 which? In the common case, somebody searches already or nobody
 *                 sleeps, the answer is no and costs one load.
 * Who touches what
 *   a_word        changed by any thread; idle count only under the lock
 *   stack, depth  under the lock
 * Invariants
 *   I1  high 16 bits of a_word == depth of the stack, whenever the lock is free
 *   I2  low 16 bits == slots that search, those just woken included
 *   I3  a slot is at most once in the stack, and only between its sleep_begin and the
 *       call (wake or sleep_cancel) that takes it out
 *   I4  no work is queued while every slot sleeps and no wake is under way
 * Protocol        States of a slot: RUNS, SEARCHES, SLEEPS.
 *                 pusher   1. publish the work (run queue or inject)
 *                          2. tsm_idle_wake_any: light fence, look at a_word; if nobody
 *                             searches and somebody sleeps: take one off the stack,
 *                             count it as searching. The caller unparks it.
 *                 slot     3. runs out of work: search_begin (if may_search), look
 *                             everywhere
 *                          4. finds work: search_end; if it was the LAST searcher it
 *                             calls wake_any, because a pusher may have relied on it
 *                             (step 2 saw it searching) for other work than it found
 *                          5. finds none: sleep_begin puts it on the stack and out of
 *                             the searchers; if nobody searches now, it does the heavy
 *                             fence and returns true: look at all queues ONCE MORE
 *                          6. found something there: sleep_cancel. It SEARCHES again
 *                             (also when it was taken off the stack by a pusher
 *                             meanwhile, whose unpark it must then consume) and goes on
 *                             with step 3, so that step 4 wakes another if there is
 *                             more than one thing
 *                          7. found nothing: park. Unparked, it SEARCHES: step 3.
 *                             Time-out of the park (a timer is due): as step 6.
 *                 Why I4 holds: the pusher writes work and reads a_word; the sleeper
 *                 writes a_word and reads the work. With the fence pair at least one of
 *                 them sees the other. If the pusher saw "somebody searches", let S be
 *                 the last slot to leave the searchers after that: S looks once more
 *                 after its heavy fence (step 5) or wakes another (step 4), which
 *                 searches and inherits the duty. If it saw "nobody sleeps", every slot
 *                 runs or is on its way to step 5, and whoever leaves no searcher
 *                 behind looks once more there; a slot that leaves a searcher behind
 *                 passes the duty to it.
 * Memory ordering The asymmetric fences of tsm_atomic.h order step 1 against 2 (light)
 *                 and the stack against the look (heavy). Work moves between threads by
 *                 the queues' own orders; nothing is published by a_word itself.
 *                 What only ONE slot can run (a pinned process) must be looked at after
 *                 every sleep_begin, whatever it returned; tsm_idle_wake_slot_any takes
 *                 the lock, and the lock orders the two.
 * Rejected        Waking a slot for each push (a system call each, and a herd); one
 *                 condition variable (its mutex is on the path of every push); per-slot
 *                 flags only (the pusher must read them all); pusher-side full fence (5
 *                 ns of each message hop; this is what Go pays).
 * Where tested    tests/c/test_idle.c, tests/model/model_idle.c
 * Source          Go runtime, head of proc.go; tokio, multi_thread/idle.rs
 */
#ifndef TSM_IDLE_H
#define TSM_IDLE_H

#include "base/tsm_atomic.h"
#include "base/tsm_config.h"
#include "base/tsm_os.h"

enum { TSM_IDLE_SLOTS_MAX = 1024 };

typedef struct {
    /* any thread, atomic */
    uint32_t a_word TSM_ALIGNED(TSM_CACHELINE); /* sleepers << 16 | searchers */
    /* under lock */
    tsm_mutex_t lock TSM_ALIGNED(TSM_CACHELINE);
    uint32_t depth;
    uint16_t stack[TSM_IDLE_SLOTS_MAX]; /* last in, first woken: warm caches */
    /* set once in init */
    uint32_t slots;
} tsm_idle_t;

#define TSM_IDLE_ONE_SEARCHER UINT32_C(1)
#define TSM_IDLE_ONE_SLEEPER (UINT32_C(1) << 16)

TSM_INLINE uint32_t
tsm_idle_searchers(uint32_t word)
{
    return word & 0xFFFF;
}

TSM_INLINE uint32_t
tsm_idle_sleepers(uint32_t word)
{
    return word >> 16;
}

/* All slots count as running. 1 <= slots <= TSM_IDLE_SLOTS_MAX. */
void tsm_idle_init(tsm_idle_t* idle, uint32_t slots);

/* Cold half of tsm_idle_wake_any. */
int tsm_idle_wake_slow(tsm_idle_t* idle) TSM_COLD;

/* Step 2: after publishing work. Returns the slot to unpark (it counts as searching),
 * or -1: nobody needs to be woken. */
TSM_NODISCARD TSM_INLINE int
tsm_idle_wake_any(tsm_idle_t* idle)
{
    /* light: pairs with the heavy fence of tsm_idle_sleep_begin: either the sleeper
     * sees our work or we see it on the stack. */
    tsm_fence_light();
    /* relaxed: ordered by the fence. */
    uint32_t word = tsm_load_relaxed(&idle->a_word);
    if (TSM_LIKELY(tsm_idle_searchers(word) != 0 || tsm_idle_sleepers(word) == 0)) {
        return -1;
    }
    return tsm_idle_wake_slow(idle);
}

/* Wake this very slot, for work that only it can run or an earlier timer. true: unpark
 * it (it counts as searching). false: it does not sleep and will look by itself. */
TSM_NODISCARD bool tsm_idle_wake_slot_any(tsm_idle_t* idle, uint32_t slot);

/* Worth searching: fewer than half of the slots that do not sleep search already. */
TSM_INLINE bool
tsm_idle_may_search(const tsm_idle_t* idle)
{
    /* relaxed: a heuristic. */
    uint32_t word = tsm_load_relaxed(&idle->a_word);
    return 2 * tsm_idle_searchers(word) < idle->slots - tsm_idle_sleepers(word);
}

/* Step 3. The caller runs; now it searches. */
TSM_INLINE void
tsm_idle_search_begin(tsm_idle_t* idle)
{
    /* acq_rel: a count; RMW because others change the word too. */
    tsm_add_acq_rel(&idle->a_word, TSM_IDLE_ONE_SEARCHER);
}

/* Step 4. The caller searches; now it runs. true: it was the last searcher, and must
 * call tsm_idle_wake_any (now or when it has taken its work). */
TSM_NODISCARD TSM_INLINE bool
tsm_idle_search_end(tsm_idle_t* idle)
{
    /* acq_rel: a count. That pushers relied on us is answered by waking another, not by
     * seeing their work here. */
    uint32_t before = tsm_sub_acq_rel(&idle->a_word, TSM_IDLE_ONE_SEARCHER);
    return tsm_idle_searchers(before) == 1;
}

/* Step 5. The caller searches (or runs, when it was not allowed to search) and owns
 * `slot`; now it sleeps. true: nobody searches, look at all queues once more. */
TSM_NODISCARD bool tsm_idle_sleep_begin(tsm_idle_t* idle, uint32_t slot,
                                        bool searching);

/* Step 6. The caller sleeps but is awake; now it searches. false: somebody woke it in
 * this moment, and its unpark is under way: consume it. */
TSM_NODISCARD bool tsm_idle_sleep_cancel(tsm_idle_t* idle, uint32_t slot);

/* Check I1 and I3. */
void tsm_idle_validate(tsm_idle_t* idle);

#endif

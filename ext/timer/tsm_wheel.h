/* tsm_wheel.h - timers: set and cancel in O(1), 1 ms ticks, idle time costs nothing.
 *
 * What it is      A hierarchical timing wheel: 8 levels of 64 buckets, level L having
 *                 buckets 64^L ms wide, together 2^48 ms (8,900 years; what is farther
 *                 is never). A timer hangs at the level of the highest 6-bit digit in
 *                 which its expiry and the wheel's time differ, so every bucket in use
 *                 lies ahead of the wheel's time on its level, and the first used
 *                 bucket of the lowest used level is the earliest of all.
 * Who touches what
 *   a_next_ms     written under the lock, read by anybody
 *   a_id          written by the user before the timer is set, then under the lock; may
 *                 be read through a stale pointer (see Lifetime)
 *   all else      under the lock. Any thread may set, cancel, read and expire.
 * Invariants      With cur = wheel time, e = expires_ms of an armed timer:
 *   I1  e > cur: it hangs in bucket (digit L of e) of level L, L = highest digit of e ^
 *       cur; this stays true while cur moves up to the start of the earliest used
 *       bucket
 *   I2  e <= cur when set: it hangs in the due list and fires with the next expire
 *   I3  bit b of used[L] <=> bucket b of level L is not empty; bit L of levels <=>
 *       used[L] != 0
 *   I4  a_next_ms <= e for every armed timer; UINT64_MAX when there is none
 *   I5  timers of one bucket are in the order they were set; so are those of equal
 *       expiry
 * Protocol        expire(now): while the earliest used bucket starts at or before now:
 *                 move cur to its start; level 0: its timers fire; else hang each anew,
 *                 which lands it on a lower level, or fires it when e == cur. Then cur
 *                 = now. A jump of any length costs only per used bucket, and each
 *                 timer is rehung at most once per level.
 *                 Never early: users round their deadline up and their clock down
 *                 (tsm_wheel_deadline_ms, tsm_wheel_clock_ms).
 *                 Firing and cancelling both clear a_id under the lock; exactly one of
 *                 them finds it set and owns the timer from then.
 * Memory ordering The lock orders everything. a_next_ms is a hint for sleepers: set_any
 *                 tells its caller when it moved it forward, and waking the sleeper is
 *                 the caller's business. a_id is relaxed: the lock decides.
 * Lifetime        cancel and read take a pointer that may be stale, with the id the
 *                 timer had: ids are never used twice. So timers must live in memory
 *                 that stays timer memory: a kind of the pool (tsm_alloc_kind).
 * Groups          Armed timers may stand in a list of the user's, to be cancelled together
 *                 (those aimed at a process that dies). Its head is written under the
 *                 lock of the one wheel all its timers are set in, and may be peeked at.
 * Rejected        A heap (O(log n), and cancel needs an index); Linux's wheel without
 *                 rehanging (fires late by an eighth of the delay); one wheel per tick
 *                 thread (a send to it for each set).
 * Where tested    tests/c/test_wheel.c (a naive list, random operations and jumps)
 * Source          G. Varghese, A. Lauck 1987, scheme 7; levels as in tokio's wheel
 */
#ifndef TSM_WHEEL_H
#define TSM_WHEEL_H

#include "base/tsm_atomic.h"
#include "base/tsm_clock.h"
#include "base/tsm_config.h"
#include "base/tsm_os.h"

enum {
    TSM_WHEEL_BITS = 6,
    TSM_WHEEL_SLOTS = 1 << TSM_WHEEL_BITS,
    TSM_WHEEL_LEVELS = 8,
};

#define TSM_WHEEL_NEVER UINT64_MAX

/* Embedded in what the user allocates. */
typedef struct tsm_timer {
    struct tsm_timer* next; /* in the wheel; then in the list that expire returned */
    struct tsm_timer* prev;
    uint64_t expires_ms;
    uint64_t a_id;      /* 0: not armed */
    uint32_t wheel_idx; /* the user's: which wheel it was set in */
    uint32_t place;     /* where it hangs */
    struct tsm_timer** group;    /* the user's, before set_any: list to stand in, or NULL */
    struct tsm_timer* group_next;
    struct tsm_timer** group_at; /* what points to it in its group; NULL: in none */
} tsm_timer_t;

typedef struct {
    tsm_timer_t* first;
    tsm_timer_t* last;
} tsm_wheel_bucket_t;

typedef struct {
    /* any thread, atomic */
    uint64_t a_next_ms TSM_ALIGNED(TSM_CACHELINE); /* see I4 */
    /* under lock */
    tsm_mutex_t lock;
    uint32_t levels; /* bit L: level L is in use */
    uint64_t cur_ms;
    uint64_t used[TSM_WHEEL_LEVELS];
    uint64_t armed; /* timers in the wheel */
    tsm_wheel_bucket_t due;
    tsm_wheel_bucket_t buckets[TSM_WHEEL_LEVELS][TSM_WHEEL_SLOTS];
} tsm_wheel_t;

/* Clock for expire_any: whole milliseconds that have passed. */
TSM_INLINE uint64_t
tsm_wheel_clock_ms(uint64_t now_ns)
{
    return now_ns / TSM_NS_PER_MS;
}

/* Expiry for set_any: the first millisecond that is not before now + delay. */
TSM_INLINE uint64_t
tsm_wheel_deadline_ms(uint64_t now_ns, uint64_t delay_ns)
{
    uint64_t at_ns;
    if (__builtin_add_overflow(now_ns, delay_ns, &at_ns)) {
        return TSM_WHEEL_NEVER;
    }
    return at_ns / TSM_NS_PER_MS + (at_ns % TSM_NS_PER_MS != 0);
}

void tsm_wheel_init(tsm_wheel_t* w, uint64_t now_ms);

/* Give t its id (not 0, never used before) ahead of set_any. */
TSM_INLINE void
tsm_timer_init(tsm_timer_t* t, uint64_t id, uint32_t wheel_idx)
{
    t->wheel_idx = wheel_idx;
    t->group = t->group_at = NULL;
    /* relaxed: others learn id and pointer later, through whatever publishes them. */
    tsm_store_relaxed(&t->a_id, id);
}

/* An empty wheel is set to another time, which may lie before its own (another clock). One
 * that is not empty stays as it is. */
void tsm_wheel_restart(tsm_wheel_t* w, uint64_t now_ms);

/* Arm t, which is in no wheel. An expiry in the past fires with the next expire.
 * Returns true when t is now the earliest: a sleeper must be told. */
bool tsm_wheel_set_any(tsm_wheel_t* w, tsm_timer_t* t, uint64_t expires_ms);

/* Take t out if it still is the timer `id`. true: the caller owns it again, and
 * *expires_ms (may be NULL) says when it would have fired. false: it is gone. */
bool tsm_wheel_cancel_any(tsm_wheel_t* w, tsm_timer_t* t, uint64_t id,
                          uint64_t* expires_ms);

/* Take out all that stand in this group; a list by next, in no order. */
tsm_timer_t* tsm_wheel_cancel_group_any(tsm_wheel_t* w, tsm_timer_t** group);

/* When t fires, if it still is the timer `id`. */
bool tsm_wheel_read_any(tsm_wheel_t* w, tsm_timer_t* t, uint64_t id,
                        uint64_t* expires_ms);

/* Take out all that expire at or before now_ms: a list by next, earliest first, equal
 * ones in the order they were set; NULL: none. The caller owns them. */
tsm_timer_t* tsm_wheel_expire_any(tsm_wheel_t* w, uint64_t now_ms);

/* No armed timer expires before it; TSM_WHEEL_NEVER: none is armed. */
TSM_INLINE uint64_t
tsm_wheel_next_ms_any(const tsm_wheel_t* w)
{
    /* relaxed: a hint; see Memory ordering. */
    return tsm_load_relaxed(&w->a_next_ms);
}

/* Take out everything, for tearing down; a list by next, in no order. */
tsm_timer_t* tsm_wheel_drain_any(tsm_wheel_t* w);

/* Check I1 to I4; O(armed). */
void tsm_wheel_validate(tsm_wheel_t* w);

#endif

/* test_wheel.c - against a plain list: random sets, cancels and jumps of time. */
#include "timer/tsm_wheel.h"

#include "base/tsm_rand.h"
#include "mem/tsm_pool.h"
#include "threads.h"

static tsm_wheel_t w;

CASE(rounding_is_never_early)
{
    CHECK(tsm_wheel_deadline_ms(0, 0) == 0);
    CHECK(tsm_wheel_deadline_ms(1, 0) == 1);
    CHECK(tsm_wheel_deadline_ms(999999, 1) == 1);
    CHECK(tsm_wheel_deadline_ms(999999, 2) == 2);
    CHECK(tsm_wheel_deadline_ms(5, UINT64_MAX) == TSM_WHEEL_NEVER);
    CHECK(tsm_wheel_clock_ms(1999999) == 1);
}

CASE(one_timer_at_every_distance)
{
    for (uint64_t start = 1; start < UINT64_C(1) << 40; start = start * 5 + 3) {
        for (uint64_t distance = 1; distance < UINT64_C(1) << 45; distance = distance * 3 + 1) {
            tsm_timer_t t;
            tsm_wheel_init(&w, start);
            tsm_timer_init(&t, 1, 0);
            CHECK(tsm_wheel_set_any(&w, &t, start + distance));
            CHECK(tsm_wheel_next_ms_any(&w) == start + distance);
            CHECK(tsm_wheel_expire_any(&w, start + distance / 2) == NULL);
            tsm_wheel_validate(&w);
            CHECK(tsm_wheel_expire_any(&w, start + distance - 1) == NULL);
            CHECK(tsm_wheel_next_ms_any(&w) == start + distance);
            CHECK(tsm_wheel_expire_any(&w, start + distance) == &t && t.next == NULL);
            CHECK(tsm_wheel_next_ms_any(&w) == TSM_WHEEL_NEVER);
            tsm_wheel_validate(&w);
        }
    }
}

CASE(sleeping_until_next_reaches_every_timer)
{
    /* A sleeper that only ever wakes at a_next_ms: few wake-ups, none late. */
    tsm_timer_t t;
    tsm_wheel_init(&w, 12345);
    tsm_timer_init(&t, 1, 0);
    uint64_t expires = 12345 + (UINT64_C(1) << 33) + 77, now = 0;
    tsm_wheel_set_any(&w, &t, expires);
    CHECK(tsm_wheel_expire_any(&w, 12346) == NULL);
    int wakes = 0;
    while ((now = tsm_wheel_next_ms_any(&w)) <= expires) {
        wakes++;
        if (tsm_wheel_expire_any(&w, now) != NULL) {
            break;
        }
    }
    CHECK(now == expires && wakes <= TSM_WHEEL_LEVELS);
}

CASE(far_future_is_never)
{
    tsm_timer_t t;
    uint64_t at;
    tsm_wheel_init(&w, 0);
    tsm_timer_init(&t, 1, 0);
    tsm_wheel_set_any(&w, &t, TSM_WHEEL_NEVER);
    CHECK(tsm_wheel_read_any(&w, &t, 1, &at) && at == (UINT64_C(1) << 48) - 1);
    CHECK(tsm_wheel_expire_any(&w, UINT64_MAX) == NULL);
    tsm_wheel_validate(&w);
    CHECK(tsm_wheel_cancel_any(&w, &t, 1, NULL));
    tsm_wheel_validate(&w);
}

CASE(past_fires_at_once_and_in_order)
{
    tsm_timer_t t[4];
    tsm_wheel_init(&w, 100);
    for (uint64_t i = 0; i < 4; i++) {
        tsm_timer_init(&t[i], i + 1, 0);
    }
    CHECK(tsm_wheel_set_any(&w, &t[0], 101));
    CHECK(tsm_wheel_set_any(&w, &t[1], 50));
    CHECK(!tsm_wheel_set_any(&w, &t[2], 100));
    CHECK(!tsm_wheel_set_any(&w, &t[3], 101));
    CHECK(tsm_wheel_next_ms_any(&w) <= 50);
    tsm_wheel_validate(&w);
    CHECK(tsm_wheel_cancel_any(&w, &t[2], 3, NULL));
    tsm_timer_t* list = tsm_wheel_expire_any(&w, 90); /* clock behind: only what is due */
    CHECK(list == &t[1] && list->next == NULL);
    list = tsm_wheel_expire_any(&w, 101);
    CHECK(list == &t[0] && list->next == &t[3] && t[3].next == NULL);
}

CASE(cancel_and_read_know_their_timer)
{
    tsm_timer_t t;
    uint64_t at = 0;
    tsm_wheel_init(&w, 0);
    tsm_timer_init(&t, 7, 0);
    tsm_wheel_set_any(&w, &t, 1000);
    CHECK(!tsm_wheel_cancel_any(&w, &t, 8, &at) && !tsm_wheel_cancel_any(&w, &t, 0, &at));
    CHECK(tsm_wheel_read_any(&w, &t, 7, &at) && at == 1000);
    CHECK(tsm_wheel_cancel_any(&w, &t, 7, &at) && at == 1000);
    CHECK(!tsm_wheel_cancel_any(&w, &t, 7, &at) && !tsm_wheel_read_any(&w, &t, 7, &at));
    CHECK(tsm_wheel_next_ms_any(&w) == TSM_WHEEL_NEVER);
    tsm_timer_init(&t, 9, 0);
    tsm_wheel_set_any(&w, &t, 5);
    CHECK(tsm_wheel_expire_any(&w, 10) == &t);
    CHECK(!tsm_wheel_cancel_any(&w, &t, 9, &at) && !tsm_wheel_read_any(&w, &t, 9, &at));
}

/* --- random against a list ----------------------------------------------------------- */

enum { TIMERS = 400 };

typedef struct {
    tsm_timer_t t;
    uint64_t id, fires_ms, order; /* the naive list: id 0 is not armed */
} entry_t;

static entry_t entries[TIMERS];

static entry_t*
naive_first(uint64_t now)
{
    entry_t* best = NULL;
    for (int i = 0; i < TIMERS; i++) {
        entry_t* e = &entries[i];
        if (e->id != 0 && e->fires_ms <= now &&
            (best == NULL || e->fires_ms < best->fires_ms ||
             (e->fires_ms == best->fires_ms && e->order < best->order))) {
            best = e;
        }
    }
    return best;
}

static void
expire_and_compare(uint64_t now)
{
    tsm_timer_t* t = tsm_wheel_expire_any(&w, now);
    for (; t != NULL; t = t->next) {
        entry_t* e = naive_first(now);
        CHECK(e != NULL && t == &e->t);
        e->id = 0;
    }
    CHECK(naive_first(now) == NULL);
}

static uint64_t
random_distance(tsm_rand_t* r)
{
    /* All magnitudes alike. */
    return tsm_rand_next(r) >> (20 + tsm_rand_below(r, 44));
}

static void
set_random(entry_t* e, tsm_rand_t* r, uint64_t now, uint64_t serial)
{
    uint64_t distance = random_distance(r);
    uint64_t expires = now + distance % (UINT64_C(1) << 42);
    bool late = tsm_rand_below(r, 10) == 0 && distance < now;
    if (late) {
        expires = now - distance;
    }
    e->id = serial;
    e->order = serial;
    /* Set late, it counts as due at the wheel's time. */
    e->fires_ms = expires > now ? expires : now;
    tsm_timer_init(&e->t, e->id, 0);
    uint64_t before = tsm_wheel_next_ms_any(&w);
    CHECK(tsm_wheel_set_any(&w, &e->t, expires) == (expires < before));
}

CASE(random_operations_match)
{
    tsm_rand_t r;
    tsm_rand_init(&r, 3);
    uint64_t now = 1000000;
    tsm_wheel_init(&w, now);
    for (uint64_t i = 1; i <= (uint64_t)ROUNDS(150000); i++) {
        entry_t* e = &entries[tsm_rand_below(&r, TIMERS)];
        if (tsm_rand_below(&r, 8) == 0) {
            uint64_t step = random_distance(&r);
            now += step % (UINT64_C(1) << (i % 1000 == 0 ? 38 : 14));
            expire_and_compare(now);
        }
        else if (e->id == 0) {
            set_random(e, &r, now, i);
        }
        else {
            uint64_t at = 0;
            CHECK(tsm_wheel_cancel_any(&w, &e->t, e->id, &at));
            CHECK(at == e->fires_ms || (at < e->fires_ms && e->fires_ms <= now));
            e->id = 0;
        }
        if (i % 100 == 0) {
            tsm_wheel_validate(&w);
        }
    }
    expire_and_compare(now + (UINT64_C(1) << 43));
    CHECK(w.armed == 0 && tsm_wheel_next_ms_any(&w) == TSM_WHEEL_NEVER);
}

CASE(drain_returns_all)
{
    tsm_wheel_init(&w, 50);
    for (uint64_t i = 0; i < TIMERS; i++) {
        tsm_timer_init(&entries[i].t, i + 1, 0);
        tsm_wheel_set_any(&w, &entries[i].t, i * i * i);
    }
    int n = 0;
    for (tsm_timer_t* t = tsm_wheel_drain_any(&w); t != NULL; t = t->next) {
        n++;
    }
    CHECK(n == TIMERS && w.armed == 0);
    tsm_wheel_validate(&w);
}

/* --- stress: set, stale cancel and expire from several threads ------------------------- */

enum { SETTERS = 3, KIND = 0 };

static uint64_t a_clock, a_next_id = 1, a_fired, a_cancelled, a_set, a_stop;

static void
set_and_cancel(int idx)
{
    tsm_rand_t r;
    tsm_rand_init(&r, (uint64_t)idx);
    tsm_timer_t* held[32] = {NULL};
    uint64_t ids[32] = {0};
    for (int i = 0; i < ROUNDS(100000); i++) {
        uint32_t k = tsm_rand_below(&r, 32);
        /* Stale more often than not: fired, freed, and reused by somebody else. */
        if (held[k] != NULL && tsm_wheel_cancel_any(&w, held[k], ids[k], NULL)) {
            tsm_free_kind(held[k], KIND);
            /* relaxed: a count. */
            tsm_add_relaxed(&a_cancelled, 1);
        }
        tsm_timer_t* t = tsm_alloc_kind(KIND);
        CHECK(t != NULL);
        /* relaxed, all: counts and a clock nobody orders by. */
        ids[k] = tsm_add_relaxed(&a_next_id, 1);
        held[k] = t;
        tsm_timer_init(t, ids[k], 0);
        tsm_wheel_set_any(&w, t, tsm_load_relaxed(&a_clock) + tsm_rand_below(&r, 200));
        /* relaxed: a count. */
        tsm_add_relaxed(&a_set, 1);
    }
}

static void
expire_often(int idx)
{
    (void)idx;
    /* relaxed, both: only ends the loop; a clock nobody orders by. */
    while (!tsm_load_relaxed(&a_stop)) {
        uint64_t now = tsm_add_relaxed(&a_clock, 1);
        for (tsm_timer_t *t = tsm_wheel_expire_any(&w, now), *next; t != NULL; t = next) {
            next = t->next;
            CHECK(t->expires_ms <= now);
            tsm_free_kind(t, KIND);
            /* relaxed: a count. */
            tsm_add_relaxed(&a_fired, 1);
        }
    }
}

CASE(stress_stale_cancels)
{
    tsm_pool_kind_init(KIND, sizeof(tsm_timer_t));
    tsm_wheel_init(&w, 0);
    threads_start(SETTERS, 1, expire_often);
    threads_start(0, SETTERS, set_and_cancel);
    threads_join(0, SETTERS);
    /* relaxed: only ends the loop. */
    tsm_store_relaxed(&a_stop, 1);
    threads_join(SETTERS, 1);
    tsm_wheel_validate(&w);
    CHECK(a_set == a_fired + a_cancelled + w.armed);
}

CASE(a_group_goes_at_once)
{
    enum { MANY = 300, GROUPS = 3 };
    static tsm_timer_t members[MANY];
    tsm_timer_t* groups[GROUPS] = {NULL, NULL, NULL};
    tsm_rand_t r;
    tsm_rand_init(&r, 7);
    tsm_wheel_init(&w, 1000);
    int in_group[GROUPS + 1] = {0};
    for (uint32_t i = 0; i < MANY; i++) {
        uint32_t g = tsm_rand_below(&r, GROUPS + 1); /* the last: in none */
        tsm_timer_init(&members[i], i + 1, 0);
        members[i].group = g == GROUPS ? NULL : &groups[g];
        in_group[g]++;
        tsm_wheel_set_any(&w, &members[i], 900 + tsm_rand_below(&r, 100000));
    }
    for (uint32_t i = 0; i < MANY; i += 7) { /* some are cancelled, some fire */
        for (int g = 0; g < GROUPS; g++) {
            in_group[g] -= members[i].group == &groups[g];
        }
        in_group[GROUPS] -= members[i].group == NULL;
        CHECK(tsm_wheel_cancel_any(&w, &members[i], i + 1, NULL));
    }
    for (tsm_timer_t* t = tsm_wheel_expire_any(&w, 30000); t != NULL; t = t->next) {
        for (int g = 0; g < GROUPS; g++) {
            in_group[g] -= t->group == &groups[g];
        }
        in_group[GROUPS] -= t->group == NULL;
    }
    for (int g = 0; g < GROUPS; g++) {
        int n = 0;
        for (tsm_timer_t* t = tsm_wheel_cancel_group_any(&w, &groups[g]); t != NULL; t = t->next) {
            CHECK(t->group == &groups[g] && t->a_id == 0);
            n++;
        }
        CHECK(n == in_group[g] && n > 0 && groups[g] == NULL);
        CHECK(tsm_wheel_cancel_group_any(&w, &groups[g]) == NULL);
        tsm_wheel_validate(&w);
    }
    CHECK(w.armed == (uint64_t)in_group[GROUPS]);
}

HARNESS_MAIN

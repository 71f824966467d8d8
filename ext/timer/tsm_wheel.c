/* tsm_wheel.c - the timer wheel; essay in tsm_wheel.h. */
#include "timer/tsm_wheel.h"

#include "base/tsm_assert.h"

#include <string.h>

enum {
    SLOT_MASK = TSM_WHEEL_SLOTS - 1,
    RANGE_BITS = TSM_WHEEL_BITS * TSM_WHEEL_LEVELS,
    /* tsm_timer_t.place: level * 64 + bucket, or one of these */
    PLACE_NONE = TSM_WHEEL_LEVELS * TSM_WHEEL_SLOTS,
    PLACE_DUE,
};

#define WHEEL_LAST_MS ((UINT64_C(1) << RANGE_BITS) - 1)

/* --- buckets -------------------------------------------------------------------- */

static void
bucket_append(tsm_wheel_bucket_t* b, tsm_timer_t* t)
{
    t->next = NULL;
    t->prev = b->last;
    if (b->last != NULL) {
        b->last->next = t;
    }
    else {
        b->first = t;
    }
    b->last = t;
}

static void
bucket_remove(tsm_wheel_bucket_t* b, tsm_timer_t* t)
{
    if (t->prev != NULL) {
        t->prev->next = t->next;
    }
    else {
        b->first = t->next;
    }
    if (t->next != NULL) {
        t->next->prev = t->prev;
    }
    else {
        b->last = t->prev;
    }
}

static tsm_wheel_bucket_t
bucket_take(tsm_wheel_bucket_t* b)
{
    tsm_wheel_bucket_t all = *b;
    *b = (tsm_wheel_bucket_t){NULL, NULL};
    return all;
}

/* --- places --------------------------------------------------------------------- */

static uint32_t
place_of(uint64_t cur_ms, uint64_t expires_ms)
{
    uint64_t differ = expires_ms ^ cur_ms;
    uint32_t top_bit = 63 - (uint32_t)__builtin_clzll(differ | SLOT_MASK);
    uint32_t level = top_bit / TSM_WHEEL_BITS;
    uint32_t slot = (uint32_t)(expires_ms >> (level * TSM_WHEEL_BITS)) & SLOT_MASK;
    return level * TSM_WHEEL_SLOTS + slot;
}

/* First millisecond of the earliest used bucket; levels != 0. */
static uint64_t
earliest_start_locked(const tsm_wheel_t* w, uint32_t* place)
{
    uint32_t level = (uint32_t)__builtin_ctz(w->levels);
    uint32_t slot = (uint32_t)__builtin_ctzll(w->used[level]);
    uint32_t shift = level * TSM_WHEEL_BITS;
    *place = level * TSM_WHEEL_SLOTS + slot;
    /* The digits above from cur, this digit from the bucket, zeros below. */
    uint64_t above = w->cur_ms >> (shift + TSM_WHEEL_BITS) << TSM_WHEEL_BITS;
    return (above | slot) << shift;
}

static void
mark_empty_locked(tsm_wheel_t* w, uint32_t place)
{
    uint32_t level = place / TSM_WHEEL_SLOTS;
    w->used[level] &= ~(UINT64_C(1) << (place & SLOT_MASK));
    if (w->used[level] == 0) {
        w->levels &= ~(UINT32_C(1) << level);
    }
}

/* Hang t where it belongs; expires_ms > cur_ms. */
static void
hang_locked(tsm_wheel_t* w, tsm_timer_t* t)
{
    uint32_t place = place_of(w->cur_ms, t->expires_ms);
    uint32_t level = place / TSM_WHEEL_SLOTS;
    uint32_t slot = place & SLOT_MASK;
    t->place = place;
    bucket_append(&w->buckets[level][slot], t);
    w->used[level] |= UINT64_C(1) << slot;
    w->levels |= UINT32_C(1) << level;
}

static void
set_next_locked(tsm_wheel_t* w, uint64_t next_ms)
{
    /* relaxed: a hint; see Memory ordering in the header. */
    tsm_store_relaxed(&w->a_next_ms, next_ms);
}

/* A lower bound again after timers left; never below the bound that held before. */
static void
raise_next_locked(tsm_wheel_t* w)
{
    if (w->due.first != NULL) {
        return;
    }
    uint64_t next_ms = TSM_WHEEL_NEVER;
    if (w->levels != 0) {
        uint32_t place;
        next_ms = earliest_start_locked(w, &place);
        uint64_t before_ms = tsm_wheel_next_ms_any(w);
        if (next_ms < before_ms && before_ms != TSM_WHEEL_NEVER) {
            next_ms = before_ms;
        }
    }
    set_next_locked(w, next_ms);
}

/* The timer leaves the wheel: whoever calls this owns it. */
/* A group's head is peeked at without the lock. relaxed, here and below: the lock orders
 * the rest, and whoever peeks has a fence (sched/tsm_ptimer.c). */
static void
group_enter_locked(tsm_timer_t* t)
{
    tsm_timer_t* next = *t->group;
    t->group_next = next;
    t->group_at = t->group;
    if (next != NULL) {
        next->group_at = &t->group_next;
    }
    tsm_store_relaxed(t->group, t); /* relaxed: see above. */
}

static void
group_leave_locked(tsm_timer_t* t)
{
    if (t->group_next != NULL) {
        t->group_next->group_at = t->group_at;
    }
    tsm_store_relaxed(t->group_at, t->group_next); /* relaxed: see above. */
    t->group_at = NULL;
}

static void
disarm_locked(tsm_wheel_t* w, tsm_timer_t* t)
{
    if (t->group_at != NULL) {
        group_leave_locked(t);
    }
    t->place = PLACE_NONE;
    w->armed--;
    /* relaxed: read without the lock only as a hint that it has fired. */
    tsm_store_relaxed(&t->a_id, 0);
}

/* --- interface ------------------------------------------------------------------ */

void
tsm_wheel_init(tsm_wheel_t* w, uint64_t now_ms)
{
    memset(w, 0, sizeof(*w));
    tsm_check(now_ms <= WHEEL_LAST_MS);
    w->cur_ms = now_ms;
    w->a_next_ms = TSM_WHEEL_NEVER;
}

void
tsm_wheel_restart(tsm_wheel_t* w, uint64_t now_ms)
{
    tsm_mutex_lock(&w->lock);
    if (w->armed == 0) {
        w->cur_ms = now_ms;
    }
    tsm_mutex_unlock(&w->lock);
}

bool
tsm_wheel_set_any(tsm_wheel_t* w, tsm_timer_t* t, uint64_t expires_ms)
{
    if (expires_ms > WHEEL_LAST_MS) {
        expires_ms = WHEEL_LAST_MS;
    }
    t->expires_ms = expires_ms;
    tsm_mutex_lock(&w->lock);
    w->armed++;
    if (t->group != NULL) {
        group_enter_locked(t);
    }
    if (TSM_LIKELY(expires_ms > w->cur_ms)) {
        hang_locked(w, t);
    }
    else {
        t->place = PLACE_DUE;
        bucket_append(&w->due, t);
    }
    bool earliest = expires_ms < tsm_wheel_next_ms_any(w);
    if (earliest) {
        set_next_locked(w, expires_ms);
    }
    tsm_mutex_unlock(&w->lock);
    return earliest;
}

/* True while t is armed as the timer `id`; final only under the lock. */
static bool
is_armed(const tsm_timer_t* t, uint64_t id)
{
    /* relaxed: under the lock the lock orders it; without, see the callers. */
    return id != 0 && tsm_load_relaxed(&t->a_id) == id;
}

static void
take_out_locked(tsm_wheel_t* w, tsm_timer_t* t)
{
    if (t->place == PLACE_DUE) {
        bucket_remove(&w->due, t);
    }
    else {
        uint32_t level = t->place / TSM_WHEEL_SLOTS;
        tsm_wheel_bucket_t* b = &w->buckets[level][t->place & SLOT_MASK];
        bucket_remove(b, t);
        if (b->first == NULL) {
            mark_empty_locked(w, t->place);
        }
    }
    disarm_locked(w, t);
}

tsm_timer_t*
tsm_wheel_cancel_group_any(tsm_wheel_t* w, tsm_timer_t** group)
{
    tsm_timer_t* taken = NULL;
    tsm_mutex_lock(&w->lock);
    while (*group != NULL) {
        tsm_timer_t* t = *group;
        take_out_locked(w, t);
        t->next = taken;
        taken = t;
    }
    raise_next_locked(w);
    tsm_mutex_unlock(&w->lock);
    return taken;
}

bool
tsm_wheel_cancel_any(tsm_wheel_t* w, tsm_timer_t* t, uint64_t id, uint64_t* expires_ms)
{
    /* An id once gone never comes back, so "no" needs no lock. */
    if (!is_armed(t, id)) {
        return false;
    }
    tsm_mutex_lock(&w->lock);
    bool armed = is_armed(t, id);
    if (armed) {
        take_out_locked(w, t);
        if (expires_ms != NULL) {
            *expires_ms = t->expires_ms;
        }
        if (t->expires_ms <= tsm_wheel_next_ms_any(w)) {
            raise_next_locked(w);
        }
    }
    tsm_mutex_unlock(&w->lock);
    return armed;
}

bool
tsm_wheel_read_any(tsm_wheel_t* w, tsm_timer_t* t, uint64_t id, uint64_t* expires_ms)
{
    tsm_mutex_lock(&w->lock);
    bool armed = is_armed(t, id);
    if (armed) {
        *expires_ms = t->expires_ms;
    }
    tsm_mutex_unlock(&w->lock);
    return armed;
}

static void
fire_locked(tsm_wheel_t* w, tsm_wheel_bucket_t* out, tsm_timer_t* t)
{
    disarm_locked(w, t);
    bucket_append(out, t);
}

tsm_timer_t*
tsm_wheel_expire_any(tsm_wheel_t* w, uint64_t now_ms)
{
    tsm_wheel_bucket_t out = {NULL, NULL};
    if (now_ms > WHEEL_LAST_MS - 1) {
        now_ms = WHEEL_LAST_MS - 1; /* the last millisecond is never */
    }
    tsm_mutex_lock(&w->lock);
    tsm_wheel_bucket_t due = bucket_take(&w->due);
    for (tsm_timer_t *t = due.first, *next; t != NULL; t = next) {
        next = t->next;
        fire_locked(w, &out, t);
    }
    while (w->levels != 0) {
        uint32_t place;
        uint64_t start_ms = earliest_start_locked(w, &place);
        if (start_ms > now_ms) {
            break;
        }
        w->cur_ms = start_ms;
        tsm_wheel_bucket_t b =
            bucket_take(&w->buckets[place / TSM_WHEEL_SLOTS][place & SLOT_MASK]);
        mark_empty_locked(w, place);
        for (tsm_timer_t *t = b.first, *next; t != NULL; t = next) {
            next = t->next;
            if (t->expires_ms == start_ms) {
                fire_locked(w, &out, t);
            }
            else {
                hang_locked(w, t);
            }
        }
    }
    if (now_ms > w->cur_ms) {
        w->cur_ms = now_ms;
    }
    /* Everything up to now is gone: the old bound no longer helps. */
    set_next_locked(w, 0);
    raise_next_locked(w);
    tsm_mutex_unlock(&w->lock);
    return out.first;
}

tsm_timer_t*
tsm_wheel_drain_any(tsm_wheel_t* w)
{
    tsm_wheel_bucket_t out = {NULL, NULL};
    tsm_mutex_lock(&w->lock);
    tsm_wheel_bucket_t* all = &w->buckets[0][0];
    for (uint32_t i = 0; i <= TSM_WHEEL_LEVELS * TSM_WHEEL_SLOTS; i++) {
        tsm_wheel_bucket_t b =
            bucket_take(i < TSM_WHEEL_LEVELS * TSM_WHEEL_SLOTS ? &all[i] : &w->due);
        for (tsm_timer_t *t = b.first, *next; t != NULL; t = next) {
            next = t->next;
            fire_locked(w, &out, t);
        }
    }
    memset(w->used, 0, sizeof(w->used));
    w->levels = 0;
    set_next_locked(w, TSM_WHEEL_NEVER);
    tsm_mutex_unlock(&w->lock);
    return out.first;
}

/* --- validation ----------------------------------------------------------------- */

static uint64_t
validate_bucket_locked(const tsm_wheel_t* w, const tsm_wheel_bucket_t* b,
                       uint32_t place)
{
    uint64_t n = 0;
    const tsm_timer_t* prev = NULL;
    for (const tsm_timer_t* t = b->first; t != NULL; prev = t, t = t->next) {
        n++;
        tsm_check(t->prev == prev);
        tsm_check(t->place == place);
        tsm_check(!is_armed(t, 0));
        tsm_check(tsm_wheel_next_ms_any(w) <= t->expires_ms); /* I4 */
        if (place == PLACE_DUE) {
            tsm_check(t->expires_ms <= w->cur_ms); /* I2 */
        }
        else {
            tsm_check(t->expires_ms > w->cur_ms);
            tsm_check(place_of(w->cur_ms, t->expires_ms) == place); /* I1 */
        }
    }
    tsm_check(b->last == prev);
    return n;
}

void
tsm_wheel_validate(tsm_wheel_t* w)
{
    tsm_mutex_lock(&w->lock);
    uint64_t n = validate_bucket_locked(w, &w->due, PLACE_DUE);
    for (uint32_t level = 0; level < TSM_WHEEL_LEVELS; level++) {
        for (uint32_t slot = 0; slot < TSM_WHEEL_SLOTS; slot++) {
            const tsm_wheel_bucket_t* b = &w->buckets[level][slot];
            bool used = (w->used[level] >> slot & 1) != 0;
            tsm_check(used == (b->first != NULL)); /* I3 */
            n += validate_bucket_locked(w, b, level * TSM_WHEEL_SLOTS + slot);
        }
        tsm_check((w->levels >> level & 1) == (w->used[level] != 0)); /* I3 */
    }
    tsm_check(n == w->armed);
    tsm_check(n != 0 || tsm_wheel_next_ms_any(w) == TSM_WHEEL_NEVER); /* I4 */
    tsm_mutex_unlock(&w->lock);
}

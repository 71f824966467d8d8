/* test_bias.c - a biased lock: its owner, others, and the moment the bias ends. */
#include "base/tsm_bias.h"

#include "threads.h"

enum { LOCKS = 4, OWNERS = 2, OTHERS = 3 };

static struct {
    tsm_bias_lock_t lock;
    uint64_t count; /* plain: under the lock */
} rows[LOCKS];

static tsm_bias_t bias;
static uint32_t a_owner; /* whose turn it is to be the owner */

static void
share(void)
{
    tsm_mutex_lock(&bias.ending);
    if (!tsm_bias_is_shared(&bias)) {
        tsm_bias_ask(&bias);
        for (int i = 0; i < LOCKS; i++) {
            tsm_bias_wait(&rows[i].lock);
        }
        tsm_bias_end(&bias);
    }
    tsm_mutex_unlock(&bias.ending);
}

static void
count_one(int i, bool owner)
{
    if (!owner && !tsm_bias_is_shared(&bias)) {
        share();
    }
    if (owner && i % 2 == 0 && tsm_bias_enter(&bias, &rows[i % LOCKS].lock)) {
        rows[i % LOCKS].count++;
        tsm_bias_leave(&rows[i % LOCKS].lock);
        return;
    }
    tsm_bias_lock(&bias, &rows[i % LOCKS].lock, owner);
    rows[i % LOCKS].count++;
    tsm_bias_unlock(&rows[i % LOCKS].lock);
}

static uint64_t
total(void)
{
    uint64_t sum = 0;
    for (int i = 0; i < LOCKS; i++) {
        sum += rows[i].count;
    }
    return sum;
}

static void
owner_thread(int idx)
{
    uint32_t turns = 0;
    while (tsm_load_acquire(&a_owner) != (uint32_t)idx) { /* acquire: pairs with the store below. */
        spin(&turns);
    }
    for (int i = 0; i < ROUNDS(200000); i++) {
        count_one(i, true);
    }
    tsm_store_release(&a_owner, (uint32_t)idx + 1); /* release: the next owner sees what this one did. */
}

static void
other_thread(int idx)
{
    for (int i = 0; i < ROUNDS(100000); i++) {
        count_one(i + idx, false);
    }
}

CASE(the_owner_alone_takes_no_mutex)
{
    tsm_fence_init();
    count_one(0, true);
    tsm_bias_lock(&bias, &rows[1].lock, true);
    CHECK(rows[1].lock.mutex.a_state == 0 && tsm_bias_is_inside(&rows[1].lock));
    tsm_bias_unlock(&rows[1].lock);
    CHECK(!tsm_bias_is_inside(&rows[1].lock) && !tsm_bias_is_shared(&bias));
}

CASE(all_take_the_mutex_when_the_bias_is_over)
{
    tsm_fence_init();
    count_one(0, false);
    CHECK(tsm_bias_is_shared(&bias));
    for (int owner = 0; owner < 2; owner++) {
        tsm_bias_lock(&bias, &rows[1].lock, owner);
        CHECK(rows[1].lock.mutex.a_state == 1 && !tsm_bias_is_inside(&rows[1].lock));
        tsm_bias_unlock(&rows[1].lock);
        CHECK(rows[1].lock.mutex.a_state == 0);
    }
}

CASE(owners_in_turn_share_nothing)
{
    tsm_fence_init();
    threads_start(0, OWNERS, owner_thread);
    threads_join(0, OWNERS);
    CHECK(!tsm_bias_is_shared(&bias));
    CHECK(total() == OWNERS * (uint64_t)ROUNDS(200000));
}

static void
anyone(int idx)
{
    if (idx < OWNERS) {
        owner_thread(idx);
    } else {
        other_thread(idx);
    }
}

CASE(others_come_while_the_owner_works)
{
    tsm_fence_init();
    threads_start(0, OWNERS + OTHERS, anyone);
    threads_join(0, OWNERS + OTHERS);
    CHECK(tsm_bias_is_shared(&bias));
    CHECK(total() == OWNERS * (uint64_t)ROUNDS(200000) + OTHERS * (uint64_t)ROUNDS(100000));
}

HARNESS_MAIN

/* test_arena.c - blocks keep their contents, figures add up, arenas end with their last block. */
#include "mem/tsm_arena.h"

#include "base/tsm_rand.h"
#include "harness.h"

enum { BLOCKS = 300, ROUNDS = 20000 };

typedef struct {
    unsigned char* p;
    size_t bytes;
    unsigned char mark;
} block_t;

static uint64_t
arenas(void)
{
    uint64_t count, live;
    tsm_arena_totals(&count, &live);
    return count;
}

static void
check_block(const block_t* b)
{
    CHECK(((uintptr_t)b->p & 15) == 0);
    CHECK(tsm_arena_block_bytes(b->p) == b->bytes);
    for (size_t i = 0; i < b->bytes; i += 61) {
        CHECK(b->p[i] == b->mark);
    }
}

static size_t
some_bytes(tsm_rand_t* rand)
{
    uint64_t r = tsm_rand_next(rand);
    return r % 16 == 0 ? r % 100000 : r % 500;
}

CASE(random_blocks)
{
    tsm_rand_t rand;
    tsm_rand_init(&rand, 42);
    tsm_arena_t* a = tsm_arena_new();
    static block_t blocks[BLOCKS];
    int64_t live = 0;
    for (int i = 0; i < ROUNDS; i++) {
        block_t* b = &blocks[tsm_rand_next(&rand) % BLOCKS];
        if (b->p != NULL && tsm_rand_next(&rand) % 4 != 0) {
            check_block(b);
            tsm_arena_free_any(a, b->p);
            live -= (int64_t)b->bytes;
            b->p = NULL;
            continue;
        }
        size_t bytes = some_bytes(&rand);
        unsigned char* p = tsm_arena_realloc_any(a, b->p, bytes);
        CHECK(p != NULL);
        for (size_t k = 0; b->p != NULL && k < bytes && k < b->bytes; k += 61) {
            CHECK(p[k] == b->mark);
        }
        live += (int64_t)bytes - (b->p == NULL ? 0 : (int64_t)b->bytes);
        *b = (block_t){p, bytes, (unsigned char)i};
        memset(p, b->mark, bytes);
        CHECK(tsm_arena_live(a) == live);
        CHECK(a->a_reserved >= live);
    }
    for (int i = 0; i < BLOCKS; i++) {
        tsm_arena_free_any(a, blocks[i].p);
    }
    CHECK(tsm_arena_live(a) == 0);
    tsm_arena_drop(a);
    CHECK(arenas() == 0);
}

CASE(zeroed)
{
    tsm_arena_t* a = tsm_arena_new();
    for (size_t bytes = 1; bytes < 20000; bytes = bytes * 3 + 1) {
        unsigned char* p = tsm_arena_alloc_any(a, bytes);
        memset(p, 0xFF, bytes);
        tsm_arena_free_any(a, p);
        p = tsm_arena_calloc_any(a, bytes);
        for (size_t i = 0; i < bytes; i++) {
            CHECK(p[i] == 0);
        }
        tsm_arena_free_any(a, p);
    }
    tsm_arena_drop(a);
}

CASE(closed_keeps_only_live_blocks)
{
    tsm_arena_t* a = tsm_arena_new();
    void* small = tsm_arena_alloc_any(a, 100);
    void* large = tsm_arena_alloc_any(a, 100000);
    tsm_arena_close(a);
    memset(small, 1, 100); /* still valid */
    memset(large, 1, 100000);
    tsm_arena_free_any(a, large);
    CHECK(a->a_reserved == TSM_ARENA_CHUNK);
    tsm_arena_free_any(a, small);
    CHECK(a->a_reserved == 0 && tsm_arena_live(a) == 0);
    CHECK(arenas() == 1);
    tsm_arena_drop(a);
    CHECK(arenas() == 0);
}

CASE(dropped_ends_with_its_last_block)
{
    tsm_arena_t* a = tsm_arena_new();
    void* p = tsm_arena_alloc_any(a, 100);
    tsm_arena_drop(a);
    CHECK(arenas() == 1);
    tsm_arena_free_any(a, p);
    CHECK(arenas() == 0);
}

CASE(too_much_is_refused)
{
    tsm_arena_t* a = tsm_arena_new();
    CHECK(tsm_arena_alloc_any(a, SIZE_MAX) == NULL);
    CHECK(tsm_arena_calloc_any(a, SIZE_MAX - 8) == NULL);
    CHECK(tsm_arena_live(a) == 0 && a->a_reserved == 0);
    tsm_arena_drop(a);
}

HARNESS_MAIN

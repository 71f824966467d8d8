/* test_pool.c - classes, kinds, caches, depot, failing on purpose, threads that come and go. */
#include "mem/tsm_pool.h"

#include "base/tsm_rand.h"
#include "queue/tsm_inject.h"
#include "threads.h"

static tsm_pool_stats_t
stats(void)
{
    tsm_pool_stats_t s;
    tsm_pool_validate();
    tsm_pool_stats(&s);
    return s;
}

CASE(sizes_map_to_classes)
{
    CHECK(tsm_pool_class(0) == 0 && tsm_pool_class(1) == 0 && tsm_pool_class(16) == 0);
    CHECK(tsm_pool_class(17) == 1 && tsm_pool_class(512) == TSM_POOL_SIZES - 1);
}

CASE(blocks_are_aligned_distinct_and_reused)
{
    for (size_t bytes = 1; bytes <= 600; bytes += 7) {
        void* a = tsm_alloc(bytes);
        void* b = tsm_alloc(bytes);
        CHECK(a != NULL && b != NULL && a != b);
        CHECK((uintptr_t)a % 16 == 0 && (uintptr_t)b % 16 == 0);
        memset(a, 1, bytes);
        memset(b, 2, bytes);
        tsm_free(a, bytes);
        tsm_free(b, bytes);
    }
    tsm_free(NULL, 16);
    CHECK(stats().live_objects == 0);
}

CASE(stats_are_exact)
{
    enum { N = 1000 };
    static void* p[N];
    for (int i = 0; i < N; i++) {
        p[i] = tsm_alloc(40);
        CHECK(p[i] != NULL);
    }
    void* large = tsm_alloc(1000);
    tsm_pool_stats_t s = stats();
    CHECK(s.live_objects == N + 1);
    CHECK(s.live_bytes == N * 48 + 1000);
    CHECK(s.reserved_bytes >= s.live_bytes);
    for (int i = 0; i < N; i++) {
        tsm_free(p[i], 40);
    }
    tsm_free(large, 1000);
    s = stats();
    CHECK(s.live_objects == 0 && s.live_bytes == 0);
}

/* Random sizes, random order of frees, contents guarded by a pattern per block. */
CASE(random_blocks_keep_their_contents)
{
    enum { N = 2000 };
    static struct {
        unsigned char* p;
        size_t bytes;
        unsigned char mark;
    } b[N];
    tsm_rand_t r;
    tsm_rand_init(&r, 1);
    for (int round = 0; round < ROUNDS(200000); round++) {
        uint32_t i = tsm_rand_below(&r, N);
        if (b[i].p == NULL) {
            b[i].bytes = 1 + tsm_rand_below(&r, 560);
            b[i].mark = (unsigned char)tsm_rand_next(&r);
            b[i].p = tsm_alloc(b[i].bytes);
            CHECK(b[i].p != NULL);
            memset(b[i].p, b[i].mark, b[i].bytes);
        }
        else {
            CHECK(b[i].p[0] == b[i].mark && b[i].p[b[i].bytes - 1] == b[i].mark);
            tsm_free(b[i].p, b[i].bytes);
            b[i].p = NULL;
        }
        if (round % 10000 == 0) {
            tsm_pool_validate();
        }
    }
    for (int i = 0; i < N; i++) {
        tsm_free(b[i].p, b[i].bytes);
    }
    CHECK(stats().live_objects == 0);
}

/* --- kinds ------------------------------------------------------------------------- */

CASE(kinds_stay_readable_and_of_their_type)
{
    typedef struct {
        uint64_t link[2], id;
    } thing_t;
    enum { N = 300 };
    static thing_t* old[N];
    tsm_pool_kind_init(3, sizeof(thing_t));
    tsm_pool_kind_init(3, sizeof(thing_t));
    for (uint64_t i = 0; i < N; i++) {
        old[i] = tsm_alloc_kind(3);
        CHECK(old[i]->id == 0); /* fresh memory */
        old[i]->id = i + 1;
    }
    CHECK(stats().live_objects == N && stats().live_bytes == N * 32);
    for (int i = 0; i < N; i++) {
        tsm_free_kind(old[i], 3);
    }
    /* Blocks of the same size are never made of the dead things. */
    static void* other[3 * N];
    for (int i = 0; i < 3 * N; i++) {
        other[i] = tsm_alloc(32);
        CHECK(other[i] != NULL);
    }
    for (uint64_t i = 0; i < N; i++) {
        CHECK(old[i]->id == i + 1);
    }
    for (int i = 0; i < 3 * N; i++) {
        tsm_free(other[i], 32);
    }
}

/* --- running out ----------------------------------------------------------------- */

CASE(fails_when_told)
{
    tsm_pool_fail_after(1);
    CHECK(tsm_alloc(64) == NULL);
    CHECK(tsm_alloc(1000) == NULL);
    tsm_pool_fail_after(0);
    void* p = tsm_alloc(64);
    CHECK(p != NULL);
    tsm_free(p, 64);
#ifdef TSM_DEBUG
    tsm_pool_fail_after(3);
    void *a = tsm_alloc(64), *b = tsm_alloc(64);
    CHECK(a != NULL && b != NULL && tsm_alloc(64) == NULL);
    tsm_pool_fail_after(0);
    tsm_free(a, 64);
    tsm_free(b, 64);
#endif
    CHECK(stats().live_objects == 0);
}

CASE(absurd_size_is_refused)
{
    CHECK(tsm_alloc(SIZE_MAX) == NULL);
}

/* --- threads --------------------------------------------------------------------- */

enum { BYTES = 64, PER_THREAD = 20000, PRODUCERS = 2, CONSUMERS = 2 };

static tsm_inject_t pipe_line;
static uint32_t a_received;

static void
produce(int idx)
{
    for (int i = 0; i < ROUNDS(PER_THREAD); i++) {
        unsigned char* p = tsm_alloc(BYTES);
        CHECK(p != NULL);
        memset(p, idx + 1, BYTES);
        tsm_inject_push_any(&pipe_line, (tsm_node_t*)(void*)p);
    }
}

static void
consume(int idx)
{
    (void)idx;
    uint32_t turns = 0;
    uint32_t all = PRODUCERS * (uint32_t)ROUNDS(PER_THREAD);
    /* acquire: any order; a count. */
    while (tsm_load_acquire(&a_received) < all) {
        tsm_node_t* n = tsm_inject_pop_any(&pipe_line);
        if (n == NULL) {
            spin(&turns);
            continue;
        }
        unsigned char* p = (unsigned char*)n;
        CHECK(p[sizeof(tsm_node_t)] == p[BYTES - 1] && p[BYTES - 1] >= 1);
        tsm_free(p, BYTES);
        /* acq_rel: any order; a count. */
        tsm_add_acq_rel(&a_received, 1);
    }
}

CASE(any_thread_may_free)
{
    tsm_inject_init(&pipe_line);
    threads_start(0, PRODUCERS, produce);
    threads_start(PRODUCERS, CONSUMERS, consume);
    threads_join(0, PRODUCERS + CONSUMERS);
    tsm_pool_stats_t s = stats();
    CHECK(s.live_objects == 0);
    /* The consumers' frees fed the producers: no more slabs than the pipe was long. */
    CHECK(s.reserved_bytes <= (uint64_t)PRODUCERS * PER_THREAD * BYTES + 8 * 65536);
}

static void* left_behind[THREADS_MAX];

static void
leave_one(int idx)
{
    void* mine[200];
    for (int i = 0; i < 200; i++) {
        mine[i] = tsm_alloc(BYTES);
        CHECK(mine[i] != NULL);
    }
    for (int i = 1; i < 200; i++) {
        tsm_free(mine[i], BYTES);
    }
    left_behind[idx] = mine[0];
    void* large = tsm_alloc(4096);
    tsm_free(large, 4096);
    if (idx % 2 == 0) {
        tsm_pool_thread_exit(); /* by hand; the others by the key's destructor */
        tsm_free(tsm_alloc(32), 32);
    }
}

CASE(threads_give_their_cache_back)
{
    for (int round = 0; round < 20; round++) {
        threads_start(0, 8, leave_one);
        threads_join(0, 8);
        CHECK(stats().live_objects == 8);
        for (int i = 0; i < 8; i++) {
            tsm_free(left_behind[i], BYTES);
        }
        CHECK(stats().live_objects == 0);
    }
    /* 20 rounds of 8 threads with 200 blocks each live on the memory of 9 threads. */
    CHECK(stats().reserved_bytes <= 8 * 65536);
}

static void
churn(int idx)
{
    enum { N = 200 };
    void* p[N] = {NULL};
    size_t bytes[N];
    tsm_rand_t r;
    tsm_rand_init(&r, (uint64_t)idx);
    for (int i = 0; i < ROUNDS(200000); i++) {
        uint32_t k = tsm_rand_below(&r, N);
        if (p[k] != NULL) {
            tsm_free(p[k], bytes[k]);
            p[k] = NULL;
        }
        else {
            bytes[k] = 16 + 16 * tsm_rand_below(&r, 4);
            p[k] = tsm_alloc(bytes[k]);
            CHECK(p[k] != NULL);
            memset(p[k], idx, bytes[k]);
        }
    }
    for (int k = 0; k < N; k++) {
        tsm_free(p[k], bytes[k]);
    }
}

CASE(churn_from_many_threads)
{
    threads_start(0, 4, churn);
    for (int i = 0; i < 50; i++) {
        tsm_pool_stats_t s;
        tsm_pool_stats(&s); /* inexact now, but safe */
    }
    threads_join(0, 4);
    CHECK(stats().live_objects == 0);
}

CASE(destroy_returns_all_and_starts_afresh)
{
    tsm_pool_kind_init(0, 100);
    for (int round = 0; round < 3; round++) {
        void* p = tsm_alloc(100);
        void* k = tsm_alloc_kind(0);
        CHECK(p != NULL && k != NULL);
        tsm_free(p, 100);
        tsm_free_kind(k, 0);
        CHECK(stats().reserved_bytes > 0);
        tsm_pool_destroy();
        CHECK(stats().reserved_bytes == 0);
    }
}

HARNESS_MAIN

/* tsm_pool.h - memory for the small things: envelopes, timers, links, processes.
 *
 * What it is      Size classes of 16 bytes up to 512, each with a per-thread cache in
 *                 front of a shared depot (J. Bonwick, "Magazines and vmem", 2001).
 *                 Larger blocks go to malloc. The caller names the size again when it
 *                 frees, so a block carries no header. Any thread may free what another
 *                 allocated.
 *                 Beside the size classes there are KINDS: classes of their own for one
 *                 type each, whose memory never becomes anything else. A stale pointer
 *                 into a kind may be read (not written): it finds an object of that
 *                 type, dead or reborn, and an id in it decides which.
 * Who touches what
 *   tsm_pool_cache_t   its thread; a_room and the a_large_ counters are read by
 *                      tsm_pool_stats of any thread
 *   tsm_depot_t        any thread, under its lock
 *   slabs              carved under the depot's lock, released by tsm_pool_destroy
 * Invariants      With B = TSM_POOL_BATCH, for every class:
 *   I1  loaded holds B - a_room objects, 0 <= a_room <= B
 *   I2  spare holds 0 or B objects; every full batch of a depot holds B
 *   I3  carved == live + sum over threads (loaded + spare) + B * full + loose
 *   I4  memory of a slab belongs to one class until tsm_pool_destroy
 * Protocol        alloc: pop loaded; else swap in spare; else take a batch from the
 *                 depot; else carve a batch from a slab. free: push on loaded; when it
 *                 is full, it becomes spare and a spare that was there goes to the
 *                 depot. So a thread that only allocates, or only frees (a message's
 *                 receiver), takes the depot's lock once in B operations, and one that
 *                 alternates at a boundary never.
 *                 A thread's cache is made by its first trip to the depot. Before that,
 *                 and after tsm_pool_thread_exit, it points at a cache that is always
 *                 empty and always full, so that the fast path has no test for "none".
 * Memory ordering Objects change threads only through a depot (its mutex orders it) or
 *                 by the user's own queues. The counters are relaxed: exact only when
 *                 the other threads are quiet.
 * Rejected        malloc per envelope (19-25 ns a pair here, and a thread that frees
 *                 what others allocate fights over arena locks); returning blocks to
 *                 the allocating thread by a remote list (one atomic operation per
 *                 free); arrays of pointers as magazines (twice the cache lines: the
 *                 first word of a block is about to be written anyway); giving empty
 *                 slabs back (a count per slab on the hot path; a burst's memory is
 *                 used by the next).
 * Sanitizers      Under ASan the size classes are malloc too, so that a use after free
 *                 or a leak is found; kinds stay here, their stale reads are legal. In
 *                 debug builds a freed block of a size class is overwritten.
 * Where tested    tests/c/test_pool.c
 */
#ifndef TSM_POOL_H
#define TSM_POOL_H

#include "base/tsm_assert.h"
#include "base/tsm_atomic.h"
#include "base/tsm_config.h"

enum {
    TSM_POOL_GRAIN = 16,           /* bytes; one class per grain */
    TSM_POOL_MAX_BYTES = 512,      /* above: malloc */
    TSM_POOL_SIZES = 32,           /* size classes: MAX_BYTES / GRAIN */
    TSM_POOL_KINDS = 8,            /* classes of one type each */
    TSM_POOL_CLASSES = 40,         /* SIZES + KINDS */
    TSM_POOL_KIND_MAX_BYTES = 4096, /* largest object of a kind */
    TSM_POOL_BATCH = 64,           /* objects moved at a time */
    TSM_POOL_SLAB_BYTES = 64 * 1024,
};

_Static_assert(TSM_POOL_SIZES * TSM_POOL_GRAIN == TSM_POOL_MAX_BYTES, "size classes");
_Static_assert(TSM_POOL_CLASSES == TSM_POOL_SIZES + TSM_POOL_KINDS, "all classes");

/* A free object. */
typedef struct tsm_pool_free {
    struct tsm_pool_free* next;       /* next free object of the same batch */
    struct tsm_pool_free* next_batch; /* depot, first object of a batch only */
} tsm_pool_free_t;

/* What one thread holds of one class. */
typedef struct {
    tsm_pool_free_t* loaded; /* objects to hand out next */
    tsm_pool_free_t* spare;  /* NULL, or a full batch */
    uint32_t a_room;         /* how many more fit into loaded; written by the owner */
    uint32_t a_has_spare;    /* spare != NULL, for tsm_pool_stats */
} tsm_magazine_t;

typedef struct tsm_pool_cache {
    tsm_magazine_t magazines[TSM_POOL_CLASSES];
    int64_t a_large_objects; /* over TSM_POOL_MAX_BYTES: allocated - freed */
    int64_t a_large_bytes;
    struct tsm_pool_cache* prev; /* all caches, under caches_lock */
    struct tsm_pool_cache* next;
} tsm_pool_cache_t;

typedef struct {
    uint64_t live_objects;
    uint64_t live_bytes;     /* small blocks count as their class, large as asked */
    uint64_t reserved_bytes; /* slabs, plus live large blocks */
} tsm_pool_stats_t;

/* The calling thread's cache; never NULL. */
extern TSM_TLS tsm_pool_cache_t* tsm_pool_mine;

/* Cold halves. */
void* tsm_pool_alloc_slow(uint32_t cls) TSM_COLD;
void tsm_pool_free_slow(void* p, uint32_t cls) TSM_COLD;
void* tsm_pool_alloc_large(size_t bytes) TSM_COLD;
void tsm_pool_free_large(void* p, size_t bytes) TSM_COLD;

/* Declare kind 0 .. TSM_POOL_KINDS-1 to hold objects of this size. Once,
 * single-threaded, before its first use; the same size again is harmless. */
void tsm_pool_kind_init(uint32_t kind, size_t bytes);

/* Give back what the calling thread's cache holds. Runs by itself when a thread ends; a
 * thread that may go on using the pool afterwards. */
void tsm_pool_thread_exit(void);

/* Exact when no other thread is inside the pool. */
void tsm_pool_stats(tsm_pool_stats_t* out);

/* Return all slabs to the system. Only when nothing of the pool is in use: no object is
 * live, no other thread is inside. Kinds keep their sizes. */
void tsm_pool_destroy(void);

/* Test hook: the n-th allocation from now (1 is the next) and all after it return NULL;
 * 0 switches it off. Counts every allocation in debug builds, in release builds only
 * those that reach the depot or malloc. */
void tsm_pool_fail_after(uint64_t n);

/* Debug: check I1 and I2 of the calling thread's cache and of all depots. */
void tsm_pool_validate(void);

#if defined(TSM_DEBUG) || defined(TSM_ASAN)
#define TSM_POOL_CHECKED /* overwrite, count for tsm_pool_fail_after */
void* tsm_pool_alloc_checked(uint32_t cls);
void tsm_pool_free_checked(void* p, uint32_t cls);
#endif

TSM_INLINE uint32_t
tsm_pool_class(size_t bytes)
{
    return (uint32_t)((bytes + TSM_POOL_GRAIN - 1) / TSM_POOL_GRAIN - (bytes != 0));
}

TSM_INLINE void*
tsm_pool_pop(uint32_t cls)
{
    tsm_magazine_t* m = &tsm_pool_mine->magazines[cls];
    tsm_pool_free_t* p = m->loaded;
    if (TSM_UNLIKELY(p == NULL)) {
        return tsm_pool_alloc_slow(cls);
    }
    m->loaded = p->next;
    /* relaxed: only this thread writes it; tsm_pool_stats needs no order. */
    tsm_store_relaxed(&m->a_room, m->a_room + 1);
    return p;
}

TSM_INLINE void
tsm_pool_push(void* p, uint32_t cls)
{
    tsm_magazine_t* m = &tsm_pool_mine->magazines[cls];
    uint32_t room = m->a_room;
    if (TSM_UNLIKELY(room == 0)) {
        tsm_pool_free_slow(p, cls);
        return;
    }
    tsm_pool_free_t* f = p;
    f->next = m->loaded;
    m->loaded = f;
    /* relaxed: only this thread writes it; tsm_pool_stats needs no order. */
    tsm_store_relaxed(&m->a_room, room - 1);
}

/* Uninitialised memory aligned to 16, or NULL when there is none. */
TSM_NODISCARD TSM_INLINE void*
tsm_alloc(size_t bytes)
{
    if (TSM_UNLIKELY(bytes > TSM_POOL_MAX_BYTES)) {
        return tsm_pool_alloc_large(bytes);
    }
#ifdef TSM_POOL_CHECKED
    return tsm_pool_alloc_checked(tsm_pool_class(bytes));
#else
    return tsm_pool_pop(tsm_pool_class(bytes));
#endif
}

/* Give back what tsm_alloc(bytes) returned, with the same `bytes`; NULL is harmless. */
TSM_INLINE void
tsm_free(void* p, size_t bytes)
{
    if (TSM_UNLIKELY(p == NULL)) {
        return;
    }
    if (TSM_UNLIKELY(bytes > TSM_POOL_MAX_BYTES)) {
        tsm_pool_free_large(p, bytes);
        return;
    }
#ifdef TSM_POOL_CHECKED
    tsm_pool_free_checked(p, tsm_pool_class(bytes));
#else
    tsm_pool_push(p, tsm_pool_class(bytes));
#endif
}

/* The same for an object of a kind. Fresh memory is zero; a reused object keeps what it
 * held, but for its first two words. */
TSM_NODISCARD TSM_INLINE void*
tsm_alloc_kind(uint32_t kind)
{
#ifdef TSM_POOL_CHECKED
    return tsm_pool_alloc_checked(TSM_POOL_SIZES + kind);
#else
    return tsm_pool_pop(TSM_POOL_SIZES + kind);
#endif
}

TSM_INLINE void
tsm_free_kind(void* p, uint32_t kind)
{
#ifdef TSM_POOL_CHECKED
    tsm_pool_free_checked(p, TSM_POOL_SIZES + kind);
#else
    tsm_pool_push(p, TSM_POOL_SIZES + kind);
#endif
}

#endif

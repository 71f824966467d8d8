/* tsm_arena.h - the buffers of one process: big blocks of raw memory with one owner.
 *
 * What it is      Blocks of C memory (numpy data) that belong to one process, counted exactly.
 *                 Small ones are cut from chunks, which are given back when their last block
 *                 is freed; large ones are the system's. When the process ends the arena is
 *                 closed and keeps nothing but live blocks: what an array that outlives the
 *                 process holds stays valid, and goes with that array. It ends when it was
 *                 dropped (nobody can ask for blocks any more) and its last block is freed.
 * Who touches what
 *   all           any thread, under lock: arrays die on any thread
 *   a_ fields     written under the lock, read by anybody
 * Invariants
 *   I1  a_live == sum of the bytes of blocks handed out and not freed
 *   I2  a_reserved == what the arena holds from the system, >= a_live
 *   I3  no chunk but the newest is without live blocks; after close not even that one
 * Rejected        a bump arena unmapped at exit (an array sent away would point nowhere);
 *                 the same for envelopes, links and timers: the smallest chunk would double the
 *                 410 bytes of an idle process, and a block is freed by another process than
 *                 asked for it, so that the chunk of a long-lived sender never empties. They
 *                 stay in the pool (tsm_pool.h) and are counted there.
 * Where tested    tests/c/test_arena.c, tests/semantics/test_buffers.py
 * Source          docs/decisions/0009-memory-limits.md
 */
#ifndef TSM_ARENA_H
#define TSM_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/tsm_atomic.h"
#include "base/tsm_os.h"

enum {
    TSM_ARENA_CHUNK = 64 * 1024,
    TSM_ARENA_LARGE = 8 * 1024, /* from here on a block is on its own */
};

typedef struct tsm_arena_chunk tsm_arena_chunk_t;

typedef struct tsm_arena {
    tsm_mutex_t lock;
    bool closed, dropped;
    uint64_t blocks; /* handed out and not freed */
    tsm_arena_chunk_t* newest;
    int64_t a_live;
    int64_t a_reserved;
} tsm_arena_t;

tsm_arena_t* tsm_arena_new(void);
/* Aligned to 16; NULL: no memory. */
void* tsm_arena_alloc_any(tsm_arena_t* a, size_t bytes);
/* The same, filled with zeros. */
void* tsm_arena_calloc_any(tsm_arena_t* a, size_t bytes);
void* tsm_arena_realloc_any(tsm_arena_t* a, void* p, size_t bytes);
void tsm_arena_free_any(tsm_arena_t* a, void* p);
size_t tsm_arena_block_bytes(const void* p);
/* From here on nothing is kept for later. */
void tsm_arena_close(tsm_arena_t* a);
/* Closed, and no block will be asked for: frees itself with its last block, maybe now. */
void tsm_arena_drop(tsm_arena_t* a);
/* Of all arenas: how many there are, closed ones with live blocks included, and their bytes. */
void tsm_arena_totals(uint64_t* arenas, uint64_t* live_bytes);

static inline int64_t
tsm_arena_live(const tsm_arena_t* a)
{
    return tsm_load_relaxed(&a->a_live); /* relaxed: a figure. */
}

#endif

/* tsm_arena.c - chunks and blocks; essay in tsm_arena.h. */
#include "mem/tsm_arena.h"

#include "base/tsm_assert.h"

#include <stdlib.h>
#include <string.h>

struct tsm_arena_chunk {
    uint32_t used;   /* bytes cut */
    uint32_t blocks; /* live ones */
    uint64_t unused; /* the blocks behind stay aligned to 16 */
};

/* Before each block. chunk NULL: it is on its own. */
typedef struct {
    tsm_arena_chunk_t* chunk;
    size_t bytes;
} head_t;

_Static_assert(sizeof(head_t) == 16 && sizeof(tsm_arena_chunk_t) == 16, "alignment");

static uint64_t a_arenas, a_live_total;

static size_t
rounded(size_t bytes)
{
    return (bytes + sizeof(head_t) + 15) & ~(size_t)15;
}

/* relaxed, all in this file: written under the lock; readers want a figure. */
static void
count(tsm_arena_t* a, int64_t live, int64_t reserved)
{
    tsm_store_relaxed(&a->a_live, a->a_live + live);             /* relaxed: see above. */
    tsm_store_relaxed(&a->a_reserved, a->a_reserved + reserved); /* relaxed: see above. */
    (void)tsm_add_relaxed(&a_live_total, (uint64_t)live);        /* relaxed: see above. */
}

tsm_arena_t*
tsm_arena_new(void)
{
    tsm_arena_t* a = calloc(1, sizeof(*a));
    if (a != NULL) {
        (void)tsm_add_relaxed(&a_arenas, 1); /* relaxed: a figure. */
    }
    return a;
}

static void
arena_free(tsm_arena_t* a)
{
    tsm_assert(a->a_live == 0);
    free(a->newest);
    free(a);
    (void)tsm_sub_relaxed(&a_arenas, 1); /* relaxed: a figure. */
}

static head_t*
cut_locked(tsm_arena_t* a, size_t bytes)
{
    size_t whole = rounded(bytes);
    tsm_arena_chunk_t* c = a->newest;
    if (c != NULL && c->blocks == 0) {
        c->used = sizeof(*c);
    }
    if (c == NULL || TSM_ARENA_CHUNK - c->used < whole) {
        c = malloc(TSM_ARENA_CHUNK);
        if (c == NULL) {
            return NULL;
        }
        *c = (tsm_arena_chunk_t){.used = sizeof(*c)};
        if (a->newest != NULL && a->newest->blocks == 0) {
            free(a->newest); /* too little room for this one */
            count(a, 0, -TSM_ARENA_CHUNK);
        }
        a->newest = c;
        count(a, 0, TSM_ARENA_CHUNK);
    }
    head_t* head = (head_t*)(void*)((char*)c + c->used);
    c->used += (uint32_t)whole;
    c->blocks++;
    head->chunk = c;
    return head;
}

static void*
alloc(tsm_arena_t* a, size_t bytes, bool zero)
{
    head_t* head;
    if (bytes > SIZE_MAX / 2) {
        return NULL;
    }
    bool large = bytes >= TSM_ARENA_LARGE;
    if (large) {
        head = zero ? calloc(1, rounded(bytes)) : malloc(rounded(bytes));
        if (head == NULL) {
            return NULL;
        }
        head->chunk = NULL;
    }
    tsm_mutex_lock(&a->lock);
    if (large) {
        count(a, 0, (int64_t)rounded(bytes));
    } else if ((head = cut_locked(a, bytes)) == NULL) {
        tsm_mutex_unlock(&a->lock);
        return NULL;
    }
    head->bytes = bytes;
    a->blocks++;
    count(a, (int64_t)bytes, 0);
    tsm_mutex_unlock(&a->lock);
    if (zero && !large) {
        memset(head + 1, 0, bytes);
    }
    return head + 1;
}

void*
tsm_arena_alloc_any(tsm_arena_t* a, size_t bytes)
{
    return alloc(a, bytes, false);
}

void*
tsm_arena_calloc_any(tsm_arena_t* a, size_t bytes)
{
    return alloc(a, bytes, true);
}

size_t
tsm_arena_block_bytes(const void* p)
{
    return ((const head_t*)p - 1)->bytes;
}

void
tsm_arena_free_any(tsm_arena_t* a, void* p)
{
    if (p == NULL) {
        return;
    }
    head_t* head = (head_t*)p - 1;
    tsm_arena_chunk_t* c = head->chunk;
    size_t bytes = head->bytes;
    tsm_mutex_lock(&a->lock);
    count(a, -(int64_t)bytes, c == NULL ? -(int64_t)rounded(bytes) : 0);
    if (c != NULL && --c->blocks == 0 && (c != a->newest || a->closed)) {
        a->newest = c == a->newest ? NULL : a->newest;
        count(a, 0, -TSM_ARENA_CHUNK);
        free(c);
    }
    bool last = --a->blocks == 0 && a->dropped;
    tsm_mutex_unlock(&a->lock);
    if (c == NULL) {
        free(head);
    }
    if (last) {
        arena_free(a);
    }
}

void*
tsm_arena_realloc_any(tsm_arena_t* a, void* p, size_t bytes)
{
    if (p == NULL) {
        return tsm_arena_alloc_any(a, bytes);
    }
    size_t old = tsm_arena_block_bytes(p);
    void* fresh = tsm_arena_alloc_any(a, bytes);
    if (fresh != NULL) {
        memcpy(fresh, p, old < bytes ? old : bytes);
        tsm_arena_free_any(a, p);
    }
    return fresh;
}

static void
end(tsm_arena_t* a, bool drop)
{
    tsm_mutex_lock(&a->lock);
    a->closed = true;
    a->dropped |= drop;
    if (a->newest != NULL && a->newest->blocks == 0) {
        free(a->newest);
        a->newest = NULL;
        count(a, 0, -TSM_ARENA_CHUNK);
    }
    bool last = a->blocks == 0 && drop;
    tsm_mutex_unlock(&a->lock);
    if (last) {
        arena_free(a);
    }
}

void
tsm_arena_close(tsm_arena_t* a)
{
    end(a, false);
}

void
tsm_arena_drop(tsm_arena_t* a)
{
    end(a, true);
}

void
tsm_arena_totals(uint64_t* arenas, uint64_t* live_bytes)
{
    *arenas = tsm_load_relaxed(&a_arenas);         /* relaxed: figures. */
    *live_bytes = tsm_load_relaxed(&a_live_total); /* relaxed: figures. */
}

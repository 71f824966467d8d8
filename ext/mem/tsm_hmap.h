/* tsm_hmap.h - a small intrusive map: links, monitors and aliases of one process.
 *
 * What it is      (kind, key) -> node, unique. 16 bytes in its owner, zero is empty. Up
 *                 to 8 nodes it is one chain, searched from the front, with no memory
 *                 of its own: that is what nearly every process ever has. Beyond, it is
 *                 an array of chains that doubles and shrinks.
 * Who touches what
 *   everything    the owner of the process only; nothing here is atomic
 * Invariants
 *   I1  log2 == 0: all nodes hang on u.chain; else on u.buckets[hash(kind, key) >>
 *       shift]
 *   I2  count == number of nodes hanging there; no two have the same (kind, key)
 * Order           A chain is newest first; buckets are in no order, as keys are numbers
 *                 that grow from run to run. tsm_hmap_ordered keeps every map one chain.
 * Failure         Inserting cannot fail: without memory the chains get longer.
 * Rejected        Open addressing (moves nodes, so the map could not be intrusive, and
 *                 a process with two links would pay for eight slots); a red-black tree
 *                 as OTP has it (the order is of no use to us, and it is 3x the code).
 * Where tested    tests/c/test_hmap.c
 */
#ifndef TSM_HMAP_H
#define TSM_HMAP_H

#include "base/tsm_config.h"

typedef struct tsm_hnode {
    struct tsm_hnode* next;
    uint64_t key;
    uint32_t kind;
} tsm_hnode_t;

typedef struct {
    union {
        tsm_hnode_t* chain;    /* log2 == 0 */
        tsm_hnode_t** buckets; /* else: 1 << log2 chains */
    } u;
    uint32_t count;
    uint32_t log2;
} tsm_hmap_t;

enum { TSM_HMAP_CHAIN_MAX = 8 };

/* Deterministic runs: maps never get buckets, so that walks have an order. Set while there
 * are no maps. */
extern bool tsm_hmap_ordered;

/* Cold halves: maps with buckets, chains further in. */
tsm_hnode_t* tsm_hmap_remove_slow(tsm_hmap_t* m, uint32_t kind, uint64_t key);
tsm_hnode_t* tsm_hmap_find_slow(const tsm_hmap_t* m, uint32_t kind, uint64_t key);
void tsm_hmap_insert_slow(tsm_hmap_t* m, tsm_hnode_t* n);

TSM_INLINE void
tsm_hmap_init(tsm_hmap_t* m)
{
    *m = (tsm_hmap_t){.u.chain = NULL, .count = 0, .log2 = 0};
}

TSM_INLINE uint32_t
tsm_hmap_count(const tsm_hmap_t* m)
{
    return m->count;
}

/* The node or NULL. */
TSM_INLINE tsm_hnode_t*
tsm_hmap_find(const tsm_hmap_t* m, uint32_t kind, uint64_t key)
{
    if (TSM_UNLIKELY(m->log2 != 0)) {
        return tsm_hmap_find_slow(m, kind, key);
    }
    tsm_hnode_t* n = m->u.chain;
    while (n != NULL && (n->key != key || n->kind != kind)) {
        n = n->next;
    }
    return n;
}

/* n->key and n->kind are set and not in the map (debug: checked). Cannot fail. The
 * newest node is found first in a chain. */
TSM_INLINE void
tsm_hmap_insert(tsm_hmap_t* m, tsm_hnode_t* n)
{
#ifndef TSM_DEBUG
    if (TSM_LIKELY(m->log2 == 0 && m->count < TSM_HMAP_CHAIN_MAX)) {
        n->next = m->u.chain;
        m->u.chain = n;
        m->count++;
        return;
    }
#endif
    tsm_hmap_insert_slow(m, n);
}

/* Take the node out and return it; NULL when there is none. May shrink the map: not
 * inside a walk, see tsm_hmap_iter_remove. The newest of a chain costs next to nothing. */
TSM_INLINE tsm_hnode_t*
tsm_hmap_remove(tsm_hmap_t* m, uint32_t kind, uint64_t key)
{
    tsm_hnode_t* n = m->u.chain;
    if (TSM_LIKELY(m->log2 == 0 && n != NULL && n->key == key && n->kind == kind)) {
        m->u.chain = n->next;
        m->count--;
        return n;
    }
    return tsm_hmap_remove_slow(m, kind, key);
}

/* Take out any node; NULL when empty. For tearing a map down: the first call strings
 * the whole map on one chain, after which each costs O(1). */
tsm_hnode_t* tsm_hmap_pop_any(tsm_hmap_t* m);

/* Walk over all nodes, in no order:
 *     tsm_hmap_iter_t it = tsm_hmap_iter(m);
 *     while ((n = tsm_hmap_next(&it)) != NULL) ...
 * The node just returned may be removed with tsm_hmap_iter_remove and freed; no other
 * change of the map is allowed during the walk. */
typedef struct {
    tsm_hmap_t* map;
    tsm_hnode_t** link; /* where the current node hangs; NULL before the first */
    tsm_hnode_t* current;
    uint32_t bucket; /* of the current node */
} tsm_hmap_iter_t;

tsm_hmap_iter_t tsm_hmap_iter(tsm_hmap_t* m);
tsm_hnode_t* tsm_hmap_next(tsm_hmap_iter_t* it);
void tsm_hmap_iter_remove(tsm_hmap_iter_t* it);

/* Bytes of its table; the nodes are the user's. */
size_t tsm_hmap_bytes(const tsm_hmap_t* m);

/* Check I1 and I2; O(count squared) on long chains. */
void tsm_hmap_validate(const tsm_hmap_t* m);

#endif

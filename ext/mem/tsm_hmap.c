/* tsm_hmap.c - the bucketed half of the map; essay in tsm_hmap.h. */
#include "mem/tsm_hmap.h"

#include "base/tsm_assert.h"
#include "mem/tsm_pool.h"

#include <string.h>

enum {
    HMAP_LOG2_MIN = 4,
    HMAP_LOG2_MAX = 31,
};

bool tsm_hmap_ordered;

static uint32_t
hmap_bucket(uint32_t kind, uint64_t key, uint32_t log2)
{
    /* Keys are counters and pids: a multiplication spreads their low bits upwards,
     * where the shift takes the index from. */
    uint64_t mixed = (key ^ ((uint64_t)kind << 56)) * UINT64_C(0x9E3779B97F4A7C15);
    return (uint32_t)(mixed >> (64 - log2));
}

static size_t
hmap_bytes(uint32_t log2)
{
    return sizeof(tsm_hnode_t*) << log2;
}

/* All nodes as one chain; the array is freed. */
static tsm_hnode_t*
hmap_unstring(tsm_hmap_t* m)
{
    if (m->log2 == 0) {
        return m->u.chain;
    }
    tsm_hnode_t* all = NULL;
    for (uint32_t i = 0; i < UINT32_C(1) << m->log2; i++) {
        for (tsm_hnode_t *n = m->u.buckets[i], *next; n != NULL; n = next) {
            next = n->next;
            n->next = all;
            all = n;
        }
    }
    tsm_free(m->u.buckets, hmap_bytes(m->log2));
    return all;
}

/* Rebuild with 1 << log2 buckets, or as one chain when log2 is 0. Without memory for
 * the new array nothing changes. */
static void
hmap_resize(tsm_hmap_t* m, uint32_t log2)
{
    tsm_hnode_t** buckets = NULL;
    if (log2 != 0) {
        buckets = tsm_alloc(hmap_bytes(log2));
        if (buckets == NULL) {
            return;
        }
        memset(buckets, 0, hmap_bytes(log2));
    }
    tsm_hnode_t* all = hmap_unstring(m);
    m->log2 = log2;
    if (log2 == 0) {
        m->u.chain = all;
        return;
    }
    m->u.buckets = buckets;
    for (tsm_hnode_t* next; all != NULL; all = next) {
        next = all->next;
        tsm_hnode_t** b = &buckets[hmap_bucket(all->kind, all->key, log2)];
        all->next = *b;
        *b = all;
    }
}

static tsm_hnode_t**
hmap_head(const tsm_hmap_t* m, uint32_t kind, uint64_t key)
{
    if (m->log2 == 0) {
        return (tsm_hnode_t**)(uintptr_t)&m->u.chain;
    }
    return &m->u.buckets[hmap_bucket(kind, key, m->log2)];
}

static tsm_hnode_t**
hmap_link(const tsm_hmap_t* m, uint32_t kind, uint64_t key)
{
    tsm_hnode_t** link = hmap_head(m, kind, key);
    while (*link != NULL && ((*link)->key != key || (*link)->kind != kind)) {
        link = &(*link)->next;
    }
    return link;
}

tsm_hnode_t*
tsm_hmap_find_slow(const tsm_hmap_t* m, uint32_t kind, uint64_t key)
{
    return *hmap_link(m, kind, key);
}

void
tsm_hmap_insert_slow(tsm_hmap_t* m, tsm_hnode_t* n)
{
    tsm_assert(tsm_hmap_find(m, n->kind, n->key) == NULL);
    if (m->log2 == 0 && m->count >= TSM_HMAP_CHAIN_MAX && !tsm_hmap_ordered) {
        hmap_resize(m, HMAP_LOG2_MIN);
    }
    else if (m->log2 != 0 && m->count >> m->log2 != 0 && m->log2 < HMAP_LOG2_MAX) {
        hmap_resize(m, m->log2 + 1);
    }
    tsm_hnode_t** head = hmap_head(m, n->kind, n->key);
    n->next = *head;
    *head = n;
    m->count++;
}

tsm_hnode_t*
tsm_hmap_remove_slow(tsm_hmap_t* m, uint32_t kind, uint64_t key)
{
    tsm_hnode_t** link = hmap_link(m, kind, key);
    tsm_hnode_t* n = *link;
    if (n == NULL) {
        return NULL;
    }
    *link = n->next;
    m->count--;
    /* Far apart from the growth steps, so that a map at a border does not thrash. */
    if (TSM_UNLIKELY(m->log2 != 0)) {
        if (m->count <= TSM_HMAP_CHAIN_MAX / 2) {
            hmap_resize(m, 0);
        }
        else if (m->log2 > HMAP_LOG2_MIN && m->count < UINT32_C(1) << (m->log2 - 3)) {
            hmap_resize(m, m->log2 - 2);
        }
    }
    return n;
}

tsm_hnode_t*
tsm_hmap_pop_any(tsm_hmap_t* m)
{
    if (m->log2 != 0) {
        hmap_resize(m, 0);
    }
    tsm_hnode_t* n = m->u.chain;
    if (n != NULL) {
        m->u.chain = n->next;
        m->count--;
    }
    return n;
}

tsm_hmap_iter_t
tsm_hmap_iter(tsm_hmap_t* m)
{
    return (tsm_hmap_iter_t){.map = m, .link = NULL, .current = NULL, .bucket = 0};
}

tsm_hnode_t*
tsm_hmap_next(tsm_hmap_iter_t* it)
{
    tsm_hmap_t* m = it->map;
    if (it->link == NULL) {
        it->link = m->log2 == 0 ? &m->u.chain : &m->u.buckets[0];
    }
    else if (it->current != NULL) {
        it->link = &it->current->next;
    } /* else: removed, link already leads to what followed it */
    uint32_t last = m->log2 == 0 ? 0 : (UINT32_C(1) << m->log2) - 1;
    while (*it->link == NULL && it->bucket < last) {
        it->link = &m->u.buckets[++it->bucket];
    }
    it->current = *it->link;
    return it->current;
}

void
tsm_hmap_iter_remove(tsm_hmap_iter_t* it)
{
    tsm_assert(it->current != NULL && *it->link == it->current);
    *it->link = it->current->next;
    it->current = NULL;
    it->map->count--;
}

size_t
tsm_hmap_bytes(const tsm_hmap_t* m)
{
    return m->log2 == 0 ? 0 : hmap_bytes(m->log2);
}

void
tsm_hmap_validate(const tsm_hmap_t* m)
{
    uint32_t chains = m->log2 == 0 ? 1 : UINT32_C(1) << m->log2;
    uint32_t seen = 0;
    for (uint32_t i = 0; i < chains; i++) {
        const tsm_hnode_t* n = m->log2 == 0 ? m->u.chain : m->u.buckets[i];
        for (; n != NULL; n = n->next) {
            seen++;
            if (m->log2 != 0) {
                tsm_check(hmap_bucket(n->kind, n->key, m->log2) == i); /* I1 */
            }
            for (const tsm_hnode_t* o = n->next; o != NULL; o = o->next) {
                tsm_check(o->key != n->key || o->kind != n->kind); /* I2 */
            }
        }
    }
    tsm_check(seen == m->count); /* I2 */
}

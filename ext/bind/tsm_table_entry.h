/* tsm_table_entry.h - what stands for a key in a table, and the chains of a hash (tsm_table_store.c).
 */
#ifndef TSM_TABLE_ENTRY_H
#define TSM_TABLE_ENTRY_H

#include "bind/tsm_table_key.h"
#include "bind/tsm_table_row.h"

typedef struct tsm_entry {
    struct tsm_entry* a_next; /* in the chain, or on the lowest level */
    uint64_t hash;
    uint32_t len;   /* of the key */
    uint8_t words;  /* behind the key: bags: first and last row; ordered_set: links of levels 1.. */
    uint8_t bag;    /* its rows are on their own, else the one row stands behind the words */
    uint8_t unused;
    uint8_t key[]; /* its tag here, what follows the tag is aligned */
} tsm_entry_t;

_Static_assert(offsetof(tsm_entry_t, key) % 8 == 7, "the word of an int key is aligned");

static inline tsm_entry_t**
tsm_entry_words(const tsm_entry_t* e)
{
    return (tsm_entry_t**)((uintptr_t)(e->key + e->len + 7) & ~(uintptr_t)7);
}

static inline tsm_entry_t**
tsm_entry_link(tsm_entry_t* e, int level)
{
    return level == 0 ? &e->a_next : tsm_entry_words(e) + level - 1;
}

typedef struct tsm_bag_rows {
    tsm_row_t* a_first;
    tsm_row_t* last; /* under the lock */
} tsm_bag_rows_t;

static inline tsm_bag_rows_t*
tsm_entry_bag(const tsm_entry_t* e)
{
    return (tsm_bag_rows_t*)tsm_entry_words(e);
}

/* The only row, or the first. */
static inline tsm_row_t*
tsm_entry_row(const tsm_entry_t* e)
{
    if (TSM_UNLIKELY(e->bag)) {
        return tsm_load_acquire(&tsm_entry_bag(e)->a_first); /* acquire: pairs with unhook_same: a whole row. */
    }
    return (tsm_row_t*)(tsm_entry_words(e) + e->words);
}

/* The array of a shard: its address, which is that of a line, and in the lowest six bits how many
 * bits of the hash choose a chain. One word, so that readers get both at once, and without waiting
 * for one more line. 0: none. */
typedef uintptr_t tsm_buckets_t;

enum { TSM_BUCKETS_MIN_BITS = 3, TSM_BUCKETS_MAX_BITS = 31, TSM_BUCKETS_MASK = 63 };

static inline uint32_t
tsm_buckets_bits(tsm_buckets_t b)
{
    return b & TSM_BUCKETS_MASK;
}

static inline tsm_entry_t** /* 1 << bits chains */
tsm_buckets_heads(tsm_buckets_t b)
{
    return (tsm_entry_t**)(b & ~(uintptr_t)TSM_BUCKETS_MASK);
}

static inline uint32_t
tsm_buckets_index(tsm_buckets_t b, uint64_t hash)
{
    return (uint32_t)(hash << 6 >> (64 - tsm_buckets_bits(b))); /* below the shard's six bits */
}

static inline tsm_entry_t**
tsm_buckets_chain(tsm_buckets_t b, uint64_t hash)
{
    return &tsm_buckets_heads(b)[tsm_buckets_index(b, hash)];
}

/* Links are read here by readers and writers alike. */
static inline tsm_entry_t*
tsm_entry_at(tsm_entry_t* const* link)
{
    return tsm_load_acquire(link); /* acquire: pairs with tsm_store_link: a whole entry. */
}

/* The entry of an int, where keys have no order: chain_find without a key written down. */
static inline tsm_entry_t*
tsm_chain_word(tsm_buckets_t b, uint64_t hash, uint64_t word)
{
    tsm_entry_t* e = tsm_entry_at(tsm_buckets_chain(b, hash));
    while (e != NULL && e->hash < hash) {
        e = tsm_entry_at(&e->a_next);
    }
    for (; e != NULL && e->hash == hash; e = tsm_entry_at(&e->a_next)) {
        uint64_t mine;
        memcpy(&mine, e->key + 1, 8);
        if (TSM_LIKELY(mine == word && e->len == TSM_KEY_INT_LEN && e->key[0] == TSM_KEY_INT)) {
            return e;
        }
    }
    return NULL;
}

/* The row of the entry of an int in a set: no words stand between. */
static inline tsm_row_t*
tsm_entry_row_of_word(tsm_entry_t* e)
{
    return (tsm_row_t*)(e->key + TSM_KEY_INT_LEN);
}

#endif

/* tsm_table_store.c - entries: the chains of a hash and the skip list of an ordered_set.
 *
 * What it is      Both are singly linked lists (levels of them), so linking an entry is a
 *                 store at each of its places, and unlinking one, too. A bucket is chosen by
 *                 the upper bits of the hash and its chain is sorted, so the order of all
 *                 entries, (hash, key), is the same however many buckets there are: a walk
 *                 goes on from any key, there or not, and sees each entry that was there all
 *                 the time exactly once. No fixing of tables is needed.
 *                 In a set and an ordered_set the row stands in its entry's block, so a
 *                 lookup misses the cache twice and not three times. To replace a row is
 *                 to put a copy of the entry in its place. A reader that stands on the old
 *                 one follows links that were right after its section began.
 * Protocol        Readers follow links inside a section. Splitting the buckets of a shard
 *                 cuts chains, so who finds nothing looks whether a_seq moved.
 * Invariants      I1 of tsm_table.h
 * Rejected        Linear hashing (a chain a time): its order changes as it grows. Growing
 *                 all of a big table at once: a pause of 100 ms for a million rows; a shard
 *                 has a 64th of them.
 * Source          W. Pugh, "Skip lists", 1990
 */
#include "bind/tsm_table.h"

#include <stdlib.h>

/* Apart, so that who compares ints needs no frame. */
static __attribute__((noinline)) int
compare_bytes(const tsm_entry_t* e, const tsm_key_t* key)
{
    int order = memcmp(e->key, key->bytes, e->len < key->len ? e->len : key->len);
    return order != 0 ? order : (e->len > key->len) - (e->len < key->len);
}

static inline int
compare_keys(const tsm_entry_t* e, const tsm_key_t* key)
{
    if (key->len == 9 && e->len == 9) { /* an int: the word behind the tag, then the tag */
        uint64_t mine, other;
        memcpy(&mine, e->key + 1, 8);
        memcpy(&other, key->bytes + 1, 8);
        if (mine == other && e->key[0] == key->bytes[0]) {
            return 0;
        }
    }
    return compare_bytes(e, key);
}

/* <0: e stands before key. */
static inline int
compare(const tsm_entry_t* e, const tsm_key_t* key)
{
    if (e->hash != key->hash) {
        return e->hash < key->hash ? -1 : 1;
    }
    return compare_keys(e, key);
}

/* The link of e, or the table's own for NULL. */
static inline tsm_entry_t**
link_of(tsm_table_t* t, tsm_entry_t* e, int level)
{
    return e == NULL ? &t->a_head[level] : tsm_entry_link(e, level);
}

/* The place of key in a chain; *found: its entry, or NULL. */
static inline tsm_entry_t**
chain_seek(tsm_entry_t** at, const tsm_key_t* key, tsm_entry_t** found)
{
    tsm_entry_t* e;
    while ((e = tsm_entry_at(at)) != NULL && e->hash < key->hash) {
        at = &e->a_next;
    }
    int order = 1;
    while (e != NULL && e->hash == key->hash && (order = compare_keys(e, key)) < 0) {
        at = &e->a_next;
        e = tsm_entry_at(at);
    }
    *found = e != NULL && e->hash == key->hash && order == 0 ? e : NULL;
    return at;
}

static inline tsm_entry_t*
chain_find(tsm_buckets_t b, const tsm_key_t* key)
{
    if (key->len == TSM_KEY_INT_LEN && key->bytes[0] == TSM_KEY_INT) {
        uint64_t word;
        memcpy(&word, key->bytes + 1, 8);
        return tsm_chain_word(b, key->hash, word);
    }
    tsm_entry_t* e = tsm_entry_at(tsm_buckets_chain(b, key->hash));
    while (e != NULL && e->hash < key->hash) {
        e = tsm_entry_at(&e->a_next);
    }
    for (; e != NULL && e->hash == key->hash; e = tsm_entry_at(&e->a_next)) {
        if (TSM_LIKELY(compare_bytes(e, key) == 0)) {
            return e;
        }
    }
    return NULL;
}

static __attribute__((noinline)) tsm_entry_t*
find_ordered(tsm_table_t* t, const tsm_key_t* key)
{
    tsm_entry_t* at = NULL;
    for (int i = TSM_LEVELS - 1; i >= 0; i--) {
        for (tsm_entry_t* e; (e = tsm_entry_at(link_of(t, at, i))) != NULL; at = e) {
            int order = compare(e, key);
            if (order == 0) {
                return e;
            }
            if (order > 0) {
                break;
            }
        }
    }
    return NULL;
}

tsm_entry_t*
tsm_store_find(tsm_table_t* t, const tsm_key_t* key, bool* sure)
{
    *sure = true;
    if (t->kind == TSM_ORDERED) {
        return find_ordered(t, key);
    }
    tsm_shard_t* s = tsm_shard_of(t, key->hash);
    /* acquire, both: pair with tsm_store_reserve: the array and whether chains are whole. */
    uint32_t seq = tsm_load_acquire(&s->a_seq);
    tsm_buckets_t b = tsm_load_acquire(&s->a_buckets);
    tsm_entry_t* e = b == 0 ? NULL : chain_find(b, key);
    if (TSM_LIKELY(e != NULL)) {
        return e;
    }
    /* relaxed: the acquire loads of the links order it; pairs with tsm_store_reserve. */
    *sure = (seq & 1) == 0 && tsm_load_relaxed(&s->a_seq) == seq;
    return NULL;
}

tsm_entry_t*
tsm_store_get(tsm_table_t* t, tsm_shard_t* s, const tsm_key_t* key)
{
    if (TSM_UNLIKELY(t->kind == TSM_ORDERED)) {
        return find_ordered(t, key);
    }
    tsm_buckets_t b = tsm_load_relaxed(&s->a_buckets); /* relaxed: under the lock. */
    return b == 0 ? NULL : chain_find(b, key);
}

static __attribute__((noinline)) void
seek_ordered(tsm_table_t* t, const tsm_key_t* key, tsm_place_t* place)
{
    place->found = NULL;
    tsm_entry_t* at = NULL;
    for (int i = TSM_LEVELS - 1; i >= 0; i--) {
        tsm_entry_t* e;
        int order = -1;
        while ((e = tsm_entry_at(link_of(t, at, i))) != NULL && (order = compare(e, key)) < 0) {
            at = e;
        }
        place->at[i] = link_of(t, at, i);
        place->found = e != NULL && order == 0 ? e : NULL;
    }
}

void
tsm_store_seek(tsm_table_t* t, tsm_shard_t* s, const tsm_key_t* key, tsm_place_t* place)
{
    if (t->kind == TSM_ORDERED) {
        seek_ordered(t, key, place);
        return;
    }
    tsm_buckets_t b = tsm_load_relaxed(&s->a_buckets); /* relaxed: under the lock. */
    place->found = NULL;
    if (TSM_LIKELY(b != 0)) {
        place->at[0] = chain_seek(tsm_buckets_chain(b, key->hash), key, &place->found);
    }
}

int
tsm_store_reserve(tsm_table_t* t, tsm_shard_t* s, void** old)
{
    *old = NULL;
    if (t->kind == TSM_ORDERED) {
        return 0;
    }
    tsm_buckets_t b = tsm_load_relaxed(&s->a_buckets); /* relaxed: under the lock. */
    uint32_t had = tsm_buckets_bits(b), bits = b == 0 ? TSM_BUCKETS_MIN_BITS : had + 1;
    /* relaxed: as above. */
    if (b != 0 && (tsm_load_relaxed(&s->a_entries) < (1ull << had) || had >= TSM_BUCKETS_MAX_BITS)) {
        return 0;
    }
    size_t bytes = sizeof(tsm_entry_t*) << bits;
    tsm_entry_t** heads = aligned_alloc(TSM_BUCKETS_MASK + 1, bytes);
    if (heads == NULL) {
        return b == 0 ? -1 : 0; /* longer chains */
    }
    memset(heads, 0, bytes);
    tsm_buckets_t grown = (uintptr_t)heads | bits;
    tsm_entry_t** before = tsm_buckets_heads(b);
    /* acq_rel, both: odd before any link changes, even after all; tsm_store_find. */
    (void)tsm_add_acq_rel(&s->a_seq, 1);
    for (uint32_t i = 0; b != 0 && i < 1u << had; i++) {
        tsm_entry_t** tail = &heads[2 * i];
        uint32_t half = 2 * i;
        for (tsm_entry_t* e = before[i]; e != NULL; e = e->a_next) {
            if (tsm_buckets_index(grown, e->hash) != half) {
                tsm_store_release(tail, NULL); /* release: pairs with tsm_entry_at. */
                half++;
                tail = &heads[half];
            }
            tsm_store_release(tail, e); /* release: pairs with tsm_entry_at. */
            tail = &e->a_next;
        }
    }
    tsm_store_release(&s->a_buckets, grown); /* release: pairs with tsm_store_find. */
    (void)tsm_add_acq_rel(&s->a_seq, 1); /* acq_rel: see above. */
    *old = before;
    return 0;
}

/* Behind the header and the key: words, then the row of n cells, but for bags. */
static size_t
bytes_of(uint32_t len, uint32_t words, bool bag, uint32_t n)
{
    size_t bytes = (offsetof(tsm_entry_t, key) + len + 7) / 8 * 8 + words * sizeof(void*);
    return bag ? bytes : bytes + sizeof(tsm_row_t) + n * sizeof(tsm_cell_t);
}

tsm_entry_t*
tsm_entry_new(tsm_table_t* t, const tsm_key_t* key, uint32_t n)
{
    bool bag = t->kind > TSM_ORDERED;
    uint32_t words = bag ? sizeof(tsm_bag_rows_t) / sizeof(void*) : 0;
    if (t->kind == TSM_ORDERED) {
        uint64_t random = tsm_key_hash(key); /* so no generator has to be shared */
        while (words + 1 < TSM_LEVELS && (random & 3) == 0) {
            words++;
            random >>= 2;
        }
    }
    tsm_entry_t* e = tsm_alloc(bytes_of(key->len, words, bag, n));
    if (e == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    e->a_next = NULL;
    e->hash = key->hash;
    e->len = key->len;
    e->words = (uint8_t)words;
    e->bag = bag;
    memcpy(e->key, key->bytes, key->len);
    if (!bag) {
        tsm_row_init(tsm_entry_row(e), n, 0);
    }
    return e;
}

tsm_entry_t*
tsm_entry_with(tsm_table_t* t, const tsm_key_t* key, PyObject* op, const char* what)
{
    tsm_entry_t* e = tsm_row_fits(PyTuple_GET_SIZE(op), what) < 0 ? NULL
                     : tsm_entry_new(t, key, (uint32_t)PyTuple_GET_SIZE(op));
    if (e != NULL && tsm_row_fill(tsm_entry_row(e), op, what) < 0) {
        tsm_entry_free(e);
        return NULL;
    }
    return e;
}

tsm_entry_t*
tsm_entry_clone(tsm_entry_t* e)
{
    tsm_entry_t* copy = tsm_alloc(tsm_entry_bytes(e));
    if (copy == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    memcpy(copy, e, tsm_entry_bytes(e)); /* under the lock nobody writes to it */
    tsm_row_t* row = tsm_entry_row(copy);
    for (uint32_t i = 0; i < row->n; i++) {
        if (!tsm_cell_is_int(row->a_cells[i])) {
            Py_INCREF((PyObject*)row->a_cells[i]);
        }
    }
    return copy;
}

size_t
tsm_entry_bytes(const tsm_entry_t* e)
{
    return bytes_of(e->len, e->words, e->bag, e->bag ? 0 : tsm_entry_row(e)->n);
}

void
tsm_entry_free(tsm_entry_t* e)
{
    if (!e->bag) {
        tsm_row_clear(tsm_entry_row(e));
    }
    tsm_free(e, tsm_entry_bytes(e));
}

void
tsm_shard_count(tsm_shard_t* s, int64_t rows, int64_t entries, int64_t bytes)
{
    /* relaxed: written under the lock; read by info. */
    tsm_store_relaxed(&s->a_rows, s->a_rows + (uint64_t)rows);
    tsm_store_relaxed(&s->a_entries, s->a_entries + (uint64_t)entries);
    tsm_store_relaxed(&s->a_bytes, s->a_bytes + (uint64_t)bytes);
}

static int
levels_of(const tsm_entry_t* e)
{
    return e->bag ? 1 : 1 + e->words;
}

void
tsm_store_link(tsm_shard_t* s, tsm_place_t* place, tsm_entry_t* e)
{
    for (int i = 0; i < levels_of(e); i++) {
        *tsm_entry_link(e, i) = *place->at[i];
    }
    for (int i = 0; i < levels_of(e); i++) {
        tsm_store_release(place->at[i], e); /* release: pairs with tsm_entry_at. */
    }
    tsm_shard_count(s, 1, 1, (int64_t)(tsm_entry_bytes(e) + (e->bag ? tsm_row_bytes(tsm_entry_row(e)) : 0)));
}

/* The one of two entries that a search for the key finds is the highest level's, which is
 * one store. */
void
tsm_store_replace(tsm_shard_t* s, tsm_place_t* place, tsm_entry_t* e)
{
    tsm_entry_t* old = place->found;
    for (int i = 0; i < levels_of(e); i++) {
        *tsm_entry_link(e, i) = *tsm_entry_link(old, i);
    }
    for (int i = levels_of(e); i-- > 0;) {
        tsm_store_release(place->at[i], e); /* release: pairs with tsm_entry_at. */
    }
    tsm_shard_count(s, 0, 0, (int64_t)tsm_entry_bytes(e) - (int64_t)tsm_entry_bytes(old));
}

void
tsm_store_unlink(tsm_shard_t* s, tsm_place_t* place)
{
    tsm_entry_t* e = place->found;
    for (int i = levels_of(e); i-- > 0;) {
        tsm_store_release(place->at[i], *tsm_entry_link(e, i)); /* release: pairs with tsm_entry_at. */
    }
    int64_t rows = 0, bytes = (int64_t)tsm_entry_bytes(e);
    for (tsm_row_t* row = tsm_entry_row(e); row != NULL; row = tsm_row_next(row)) {
        rows++;
        bytes += e->bag ? (int64_t)tsm_row_bytes(row) : 0;
    }
    tsm_shard_count(s, -rows, -1, -bytes);
}

tsm_entry_t*
tsm_store_after(tsm_table_t* t, tsm_shard_t* s, const tsm_key_t* key)
{
    if (t->kind == TSM_ORDERED) {
        tsm_entry_t* at = NULL;
        for (int i = TSM_LEVELS - 1; key != NULL && i >= 0; i--) {
            tsm_entry_t* e;
            while ((e = tsm_entry_at(link_of(t, at, i))) != NULL && compare(e, key) <= 0) {
                at = e;
            }
        }
        return tsm_entry_at(link_of(t, at, 0));
    }
    tsm_buckets_t b = tsm_load_relaxed(&s->a_buckets); /* relaxed: under the lock. */
    uint32_t i = b == 0 || key == NULL ? 0 : tsm_buckets_index(b, key->hash);
    for (; b != 0 && i < 1u << tsm_buckets_bits(b); i++) {
        tsm_entry_t* e = tsm_entry_at(&tsm_buckets_heads(b)[i]);
        while (e != NULL && key != NULL && compare(e, key) <= 0) {
            e = tsm_entry_at(&e->a_next);
        }
        if (e != NULL) {
            return e;
        }
    }
    return NULL;
}

tsm_entry_t*
tsm_store_before(tsm_table_t* t, const tsm_key_t* key)
{
    tsm_entry_t* best = NULL;
    for (int i = TSM_LEVELS - 1; i >= 0; i--) {
        tsm_entry_t* e;
        while ((e = tsm_entry_at(link_of(t, best, i))) != NULL && (key == NULL || compare(e, key) < 0)) {
            best = e;
        }
    }
    return best;
}

static void
free_entries(tsm_entry_t* e)
{
    while (e != NULL) {
        tsm_entry_t* next = e->a_next;
        for (tsm_row_t *row = e->bag ? tsm_entry_row(e) : NULL, *after; row != NULL; row = after) {
            after = tsm_row_next(row);
            tsm_row_free(row);
        }
        tsm_entry_free(e);
        e = next;
    }
}

void
tsm_store_cut(tsm_table_t* t, tsm_cut_t* cut)
{
    for (uint32_t i = 0; i < t->shard_count; i++) {
        tsm_shard_t* s = &t->shards[i];
        cut->buckets[i] = tsm_load_relaxed(&s->a_buckets); /* relaxed: under the lock. */
        tsm_store_release(&s->a_buckets, 0);               /* release: nothing new is shown. */
        tsm_shard_count(s, -(int64_t)s->a_rows, -(int64_t)s->a_entries, -(int64_t)s->a_bytes);
    }
    cut->count = t->shard_count;
    cut->list = t->a_head[0];
    for (int i = 0; i < TSM_LEVELS; i++) {
        tsm_store_release(&t->a_head[i], NULL); /* release: nothing new is shown. */
    }
}

void
tsm_store_free(tsm_cut_t* cut)
{
    tsm_grace();
    free_entries(cut->list);
    for (uint32_t i = 0; i < cut->count; i++) {
        tsm_entry_t** heads = tsm_buckets_heads(cut->buckets[i]);
        for (uint32_t j = 0; heads != NULL && j < 1u << tsm_buckets_bits(cut->buckets[i]); j++) {
            free_entries(heads[j]);
        }
        free(heads);
    }
}

/* tsm_table_key.h - keys as bytes (tsm_table_key.c).
 */
#ifndef TSM_TABLE_KEY_H
#define TSM_TABLE_KEY_H

#include "bind/tsm_bind.h"

enum { TSM_KEY_INLINE = 112 };

typedef struct tsm_key {
    uint8_t* bytes;
    uint32_t len, cap;
    uint64_t hash;
    bool ordered; /* in: bytes sort as the keys do, and 1 is 1.0 */
    uint8_t buffer[TSM_KEY_INLINE];
} tsm_key_t;

enum { TSM_KEY_INT_LEN = 9, TSM_KEY_INT = 0x11 }; /* the tag of an int of at most 64 bits, outside of an ordered_set */
extern uint64_t tsm_key_seed; /* written before there are rows */
void tsm_key_init(void);
int tsm_key_make_any(tsm_key_t* key, PyObject* op, bool ordered);
int tsm_key_from_bytes(tsm_key_t* key, const void* bytes, size_t len);
void tsm_key_free(tsm_key_t* key);

#define TSM_KEY_K UINT64_C(0x9E3779B97F4A7C15) /* 2**64 divided by the golden ratio */

/* The upper bits choose shard and bucket, so they must depend on all of h. */
static inline uint64_t
tsm_key_mix(uint64_t h)
{
    h *= TSM_KEY_K;
    h ^= h >> 29;
    h *= UINT64_C(0xBF58476D1CE4E5B9);
    h ^= h >> 32;
    return h * UINT64_C(0x94D049BB133111EB);
}

/* Is op one of the ints whose key needs nothing but a word, outside of an ordered_set? Compact or
 * not depends on the value alone. */
static inline bool
tsm_key_is_word(PyObject* op)
{
    return PyLong_CheckExact(op) && PyUnstable_Long_IsCompact((PyLongObject*)op);
}

static inline uint64_t
tsm_key_word(PyObject* op)
{
    return (uint64_t)(int64_t)PyUnstable_Long_CompactValue((PyLongObject*)op);
}

/* Fibonacci hashing (Knuth): keys in a row hardly ever meet in a bucket, others as seldom as by
 * chance. Of 31 bits and a secret no keys can be made that meet much more often. */
static inline uint64_t
tsm_key_hash_word(uint64_t word)
{
    return (tsm_key_seed ^ word) * TSM_KEY_K;
}

/* -1 with an exception: no key. May run user code only for values of user classes. */
static inline int
tsm_key_make(tsm_key_t* key, PyObject* op, bool ordered)
{
    if (ordered || !tsm_key_is_word(op)) {
        return tsm_key_make_any(key, op, ordered);
    }
    uint64_t word = tsm_key_word(op); /* as put_int of tsm_table_key.c */
    key->bytes = key->buffer;
    key->buffer[0] = TSM_KEY_INT;
    memcpy(key->buffer + 1, &word, 8);
    key->len = TSM_KEY_INT_LEN;
    key->hash = tsm_key_hash_word(word);
    return 0;
}

static inline void
tsm_key_drop(tsm_key_t* key)
{
    if (TSM_UNLIKELY(key->bytes != key->buffer)) {
        tsm_key_free(key);
    }
}

uint64_t tsm_key_hash(const tsm_key_t* key);
/* Same type and structure; runs no user code. Other classes: only the same object. */
bool tsm_same(PyObject* a, PyObject* b);

#endif

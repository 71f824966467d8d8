/* tsm_table.h - what the files of tables share.
 *
 * What it is      Tables of rows outside any process, as OTP's ETS: a hash of shards
 *                 (set, bag, duplicate_bag) or one skip list (ordered_set).
 * Who touches what
 *   rows, entries    read by any thread inside a read section (tsm_table_epoch.c), so
 *                    without a lock and without touching a reference count; written
 *                    under the lock of their shard; given back after a grace period
 *   table fields     as grouped below
 * Invariants
 *   I1  a chain of entries is sorted by (hash, key), a skip list by key; both strictly
 *   I2  an entry has at least one row. In a set and an ordered_set exactly one, in the same
 *       block of memory: with an int for a key and two or three cells it is a cache line.
 *       It is replaced together with its entry, except that ints replace ints in place
 *   I3  nothing below a lock or in a read section runs user code or drops a reference:
 *       keys are bytes by then (tsm_table_key.c), values were copied before
 *   I4  what a_dead hides stays readable until every read section begun before has ended
 * Locks           tables.lock (tsm_table_own.c), then shards in ascending order. Waiting
 *                 for one stays attached: the holder never detaches. The shards' are biased
 *                 towards the owner of the table (base/tsm_bias.h): who owns it changes by
 *                 the owner's own doing or death alone, and the next one acquires a_owner.
 * Rejected        Python objects as rows (each lookup from another core touches their
 *                 reference counts); a readers' lock per bucket (the same line again);
 *                 hashing and comparing with __hash__ and __eq__ (user code).
 * Where tested    tests/semantics/test_tables.py, tests/stress/test_table_races.py
 * Source          OTP ets(3); K. Fraser, "Practical lock-freedom", 2004, for the epochs
 */
#ifndef TSM_TABLE_H
#define TSM_TABLE_H

#include "base/tsm_bias.h"
#include "bind/tsm_bind.h"
#include "bind/tsm_table_entry.h"
#include "bind/tsm_table_epoch.h"
#include "bind/tsm_table_key.h"
#include "bind/tsm_table_row.h"

/* ---- the store (tsm_table_store.c) ---- */

enum { TSM_LEVELS = 16, TSM_SHARDS = 64 };

typedef struct tsm_shard {
    tsm_bias_lock_t lock; /* of the bias of the table */
    uint32_t a_seq; /* odd while the buckets are split */
    tsm_buckets_t a_buckets;
    uint64_t a_rows;    /* written under the lock */
    uint64_t a_entries; /* the same */
    uint64_t a_bytes;   /* the same */
} __attribute__((aligned(64))) tsm_shard_t;

enum tsm_table_kind { TSM_SET, TSM_ORDERED, TSM_BAG, TSM_DUPLICATE };
enum tsm_table_access { TSM_PUBLIC, TSM_PROTECTED, TSM_PRIVATE };

typedef struct tsm_table {
    /* set once */
    uint64_t id;
    PyObject* name; /* str or NULL */
    uint8_t kind, access;
    uint32_t keypos;
    uint32_t shard_count;
    /* any thread */
    uint64_t a_refs;  /* handles, and one while it is alive */
    uint32_t a_dead;
    uint32_t a_batch; /* odd: a change of many rows is under way, readers take locks */
    tsm_pid_t a_owner; /* written under tables.lock; 0: nobody, it stays */
    tsm_bias_t bias;   /* of the shards' locks towards the owner */
    /* under tables.lock */
    struct tsm_table* owned_next;
    struct tsm_table* named_next;
    tsm_pid_t heir;
    PyObject* heir_data;
    /* under shards[0].lock, ordered_set */
    tsm_entry_t* a_head[TSM_LEVELS];
    tsm_shard_t shards[];
} tsm_table_t;

/* Where an entry hangs, or would: links to patch. */
typedef struct tsm_place {
    tsm_entry_t** at[TSM_LEVELS];
    tsm_entry_t* found;
} tsm_place_t;

static inline tsm_shard_t*
tsm_shard_of(tsm_table_t* t, uint64_t hash)
{
    return &t->shards[t->shard_count == 1 ? 0 : hash >> 58];
}

/* In a section. *sure is false when the answer "none" needs a second look under the lock. */
tsm_entry_t* tsm_store_find(tsm_table_t* t, const tsm_key_t* key, bool* sure);
/* Under the shard's lock from here on. */
tsm_entry_t* tsm_store_get(tsm_table_t* t, tsm_shard_t* s, const tsm_key_t* key); /* or NULL */
void tsm_store_seek(tsm_table_t* t, tsm_shard_t* s, const tsm_key_t* key, tsm_place_t* place);
/* Room for one more, before the seek; -1: no memory. *old: an array to retire after
 * unlocking, or NULL. */
int tsm_store_reserve(tsm_table_t* t, tsm_shard_t* s, void** old);
/* n: cells of the row inside, all 0, none in a bag. NULL: no memory, with an exception. */
tsm_entry_t* tsm_entry_new(tsm_table_t* t, const tsm_key_t* key, uint32_t n);
/* Not in a bag: with the row op, a tuple, whose values are copied in. */
tsm_entry_t* tsm_entry_with(tsm_table_t* t, const tsm_key_t* key, PyObject* op, const char* what);
tsm_entry_t* tsm_entry_clone(tsm_entry_t* e); /* with the row inside; under the lock */
void tsm_entry_free(tsm_entry_t* e);          /* with the row inside: drops references */
void tsm_store_link(tsm_shard_t* s, tsm_place_t* place, tsm_entry_t* e);
/* e has the same key; the one that was found is to be retired. */
void tsm_store_replace(tsm_shard_t* s, tsm_place_t* place, tsm_entry_t* e);
void tsm_store_unlink(tsm_shard_t* s, tsm_place_t* place);
/* The first entry of s behind key (NULL: of all), or NULL. */
tsm_entry_t* tsm_store_after(tsm_table_t* t, tsm_shard_t* s, const tsm_key_t* key);
/* ordered_set: the last entry before key (NULL: of all), or NULL. */
tsm_entry_t* tsm_store_before(tsm_table_t* t, const tsm_key_t* key);
void tsm_shard_count(tsm_shard_t* s, int64_t rows, int64_t entries, int64_t bytes);
size_t tsm_row_bytes(const tsm_row_t* row);
size_t tsm_entry_bytes(const tsm_entry_t* e); /* with the row inside */

typedef struct tsm_cut {
    uint32_t count;
    tsm_entry_t* list;
    tsm_buckets_t buckets[TSM_SHARDS];
} tsm_cut_t;

/* Takes all rows out; all shards are locked. */
void tsm_store_cut(tsm_table_t* t, tsm_cut_t* cut);
void tsm_store_free(tsm_cut_t* cut); /* no lock held: drops references */

/* ---- tables, their owners and names (tsm_table_own.c) ---- */

typedef struct {
    PyObject_HEAD
    tsm_table_t* table;
} TsmTable;

extern PyTypeObject TsmTable_Type;
extern struct tsm_tables {
    tsm_mutex_t lock;
    PyObject *no_table, *denied; /* exceptions */
    PyTypeObject* type;          /* transom.Table, a subclass of TsmTable_Type */
    PyObject* key_of;            /* (object) -> tuple of plain values that stand for it */
} tsm_tables;

PyObject* tsm_table_handle(tsm_table_t* t); /* a new handle; takes a reference of its own */
tsm_table_t* tsm_table_new(PyObject* name, int kind, int access, uint32_t keypos);
void tsm_table_release(tsm_table_t* t);
int tsm_table_drop(tsm_table_t* t);
void tsm_table_died(tsm_proc_t* p);
extern PyMethodDef tsm_table_own_methods[];  /* of the type */
extern PyMethodDef tsm_table_functions[];   /* of the module */
int tsm_table_own_init(PyObject* module);
void tsm_shards_lock(tsm_table_t* t);
void tsm_shards_unlock(tsm_table_t* t);
void tsm_table_share(tsm_table_t* t); /* somebody else than the owner wants a shard's lock */

/* Does p, the running process, own the table? It stays so until p itself gives it up. */
static inline bool
tsm_table_is_of(tsm_table_t* t, tsm_proc_t* p)
{
    /* acquire: pairs with owned_link: what the owner before did in the table. */
    return tsm_load_acquire(&t->a_owner) == tsm_proc_pid(p);
}

static inline bool
tsm_table_is_mine(tsm_table_t* t)
{
    tsm_worker_t* w = tsm_self;
    tsm_proc_t* me = TSM_LIKELY(w != NULL) ? tsm_worker_proc(w) : NULL;
    return TSM_LIKELY(me != NULL) && tsm_table_is_of(t, me);
}

/* To the owner it costs no atomic operation, as long as nobody else wants one of the locks. */
static inline void
tsm_shard_lock(tsm_table_t* t, tsm_shard_t* s)
{
    bool mine = tsm_table_is_mine(t);
    if (TSM_UNLIKELY(!mine && !tsm_bias_is_shared(&t->bias))) {
        tsm_table_share(t);
    }
    tsm_bias_lock(&t->bias, &s->lock, mine);
}

static inline void
tsm_shard_unlock(tsm_shard_t* s)
{
    tsm_bias_unlock(&s->lock);
}

/* ---- operations ---- */

/* As tsm_table_for, what it does when the answer is not a plain yes. */
tsm_table_t* tsm_table_check(PyObject* self, bool write, const char* what);

/* The table, if the caller may read (write) it; else NULL with an exception. One reduction. */
static inline tsm_table_t*
tsm_table_for(PyObject* self, bool write, const char* what)
{
    tsm_table_t* t = ((TsmTable*)self)->table;
    tsm_worker_t* w = tsm_self;
    tsm_proc_t* me = TSM_LIKELY(w != NULL) ? tsm_worker_proc(w) : NULL;
    if (TSM_UNLIKELY(me == NULL || (me->flags & TSM_PF_DEAD) != 0 || tsm_reader_mine == NULL)) {
        return tsm_table_check(self, write, what);
    }
    bool open = t->access == TSM_PUBLIC || (!write && t->access == TSM_PROTECTED);
    /* acquire: pairs with bury_table. relaxed: only the owner gives it up. */
    if (TSM_UNLIKELY(tsm_load_acquire(&t->a_dead) != 0 || (!open && tsm_load_relaxed(&t->a_owner) != tsm_proc_pid(me)))) {
        return tsm_table_check(self, write, what);
    }
    tsm_charge(w, 1);
    return t;
}

PyObject* tsm_table_gone(tsm_table_t* t, const char* what);
PyObject* tsm_table_lookup(PyObject* self, PyObject* key);
PyObject* tsm_table_member(PyObject* self, PyObject* key);
PyObject* tsm_table_lookup_element(PyObject* self, PyObject* const* args, Py_ssize_t n);
PyObject* tsm_table_insert(PyObject* self, PyObject* row);
PyObject* tsm_table_update_counter(PyObject* self, PyObject* const* args, Py_ssize_t n);
void tsm_table_redirect(PyObject* method, const char* name); /* tsm_table_call.c */
/* Whoever begins a batch holds all locks and is alone, readers included. False: dead. */
bool tsm_batch_begin(tsm_table_t* t);
void tsm_batch_end(tsm_table_t* t);
extern PyMethodDef tsm_table_read_methods[], tsm_table_write_methods[];
extern PyMethodDef tsm_table_update_methods[], tsm_table_scan_methods[];
int tsm_table_init(PyObject* module);
int tsm_table_add_methods(PyTypeObject* type); /* to transom.Table */
int tsm_counters_init(PyObject* module); /* tsm_counters.c */

#endif

/* tsm_pool.c - depots, slabs and the cold halves of the pool; essay in tsm_pool.h. */
#define _GNU_SOURCE
#include "mem/tsm_pool.h"

#include "base/tsm_os.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
    SLABS_PER_REGION = 16, /* asked of the system at a time */
    REGION_BYTES = SLABS_PER_REGION * TSM_POOL_SLAB_BYTES,
    JUNK_BYTE = 0xDB,
};

/* What all threads share of one class. */
typedef struct {
    tsm_mutex_t lock;
    uint32_t loose_objects;
    tsm_pool_free_t* full;  /* batches of TSM_POOL_BATCH, linked by next_batch */
    tsm_pool_free_t* loose; /* fewer than TSM_POOL_BATCH, left by ended threads */
    char* carve;            /* rest of the newest slab */
    char* carve_end;
    uint64_t full_batches;
    uint64_t carved_objects;
} TSM_ALIGNED(TSM_CACHELINE) tsm_depot_t;

/* A piece of address space from the system; the record is malloc'd beside it so that
 * slabs stay aligned to their size. */
typedef struct region {
    struct region* next;
    char* base;
    uint32_t slabs_used;
} region_t;

static tsm_depot_t depots[TSM_POOL_CLASSES];
static uint32_t kind_bytes[TSM_POOL_KINDS];

static tsm_mutex_t regions_lock; /* taken inside a depot's lock */
static region_t* regions;
static uint64_t reserved_bytes;

static tsm_mutex_t caches_lock; /* outermost: depots are locked inside it */
static tsm_pool_cache_t* caches;
static int64_t ended_large_objects; /* counters of threads that have ended */
static int64_t ended_large_bytes;

/* Always empty (loaded NULL) and always full (a_room 0); never written. */
static tsm_pool_cache_t no_cache;
TSM_TLS tsm_pool_cache_t* tsm_pool_mine = &no_cache;

static pthread_key_t exit_key;
static pthread_once_t exit_once = PTHREAD_ONCE_INIT;

/* Allocations left until failure; UINT64_MAX: never fail. */
static uint64_t a_fail_left = UINT64_MAX;

static uint32_t
class_bytes(uint32_t cls)
{
    return cls < TSM_POOL_SIZES ? (cls + 1) * TSM_POOL_GRAIN
                                : kind_bytes[cls - TSM_POOL_SIZES];
}

/* --- failing on purpose -------------------------------------------------------- */

void
tsm_pool_fail_after(uint64_t n)
{
    /* relaxed: set by a test while others are quiet. */
    tsm_store_relaxed(&a_fail_left, n == 0 ? UINT64_MAX : n - 1);
}

static bool
pool_must_fail(void)
{
    /* relaxed: a count, nothing is published by it. */
    uint64_t left = tsm_load_relaxed(&a_fail_left);
    if (TSM_LIKELY(left == UINT64_MAX)) {
        return false;
    }
    /* acq_rel for want of a relaxed cas; a test hook. */
    while (left > 0 && !tsm_cas_acq_rel(&a_fail_left, &left, left - 1)) {
    }
    return left == 0;
}

/* --- caches of threads --------------------------------------------------------- */

static void
thread_exit_by_key(void* unused)
{
    (void)unused;
    tsm_pool_thread_exit();
}

static void
exit_key_init(void)
{
    int rc = pthread_key_create(&exit_key, thread_exit_by_key);
    tsm_check(rc == 0);
}

/* The calling thread's own cache, made if need be; NULL when out of memory. */
static tsm_pool_cache_t*
cache_mine(void)
{
    if (TSM_LIKELY(tsm_pool_mine != &no_cache)) {
        return tsm_pool_mine;
    }
    pthread_once(&exit_once, exit_key_init);
    tsm_pool_cache_t* c = calloc(1, sizeof(*c));
    if (c == NULL || pthread_setspecific(exit_key, c) != 0) {
        free(c);
        return NULL;
    }
    for (uint32_t i = 0; i < TSM_POOL_CLASSES; i++) {
        c->magazines[i].a_room = TSM_POOL_BATCH;
    }
    tsm_mutex_lock(&caches_lock);
    c->next = caches;
    if (caches != NULL) {
        caches->prev = c;
    }
    caches = c;
    tsm_mutex_unlock(&caches_lock);
    tsm_pool_mine = c;
    return c;
}

/* --- depot ---------------------------------------------------------------------- */

static void
depot_put_batch(tsm_depot_t* d, tsm_pool_free_t* batch)
{
    tsm_mutex_lock(&d->lock);
    batch->next_batch = d->full;
    d->full = batch;
    d->full_batches++;
    tsm_mutex_unlock(&d->lock);
}

static void
depot_put_one_locked(tsm_depot_t* d, tsm_pool_free_t* f)
{
    f->next = d->loose;
    d->loose = f;
    if (++d->loose_objects == TSM_POOL_BATCH) {
        f->next_batch = d->full;
        d->full = f;
        d->full_batches++;
        d->loose = NULL;
        d->loose_objects = 0;
    }
}

/* A new slab for d, or false. Slabs are zero and aligned to a page. */
static bool
depot_grow_locked(tsm_depot_t* d)
{
    tsm_mutex_lock(&regions_lock);
    region_t* r = regions;
    if (r == NULL || r->slabs_used == SLABS_PER_REGION) {
        r = malloc(sizeof(*r));
        void* base = MAP_FAILED;
        if (r != NULL) {
            base = mmap(NULL, REGION_BYTES, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        }
        if (base == MAP_FAILED) {
            tsm_mutex_unlock(&regions_lock);
            free(r);
            return false;
        }
        r->base = base;
        r->slabs_used = 0;
        r->next = regions;
        regions = r;
    }
    d->carve = r->base + (size_t)r->slabs_used++ * TSM_POOL_SLAB_BYTES;
    d->carve_end = d->carve + TSM_POOL_SLAB_BYTES;
    reserved_bytes += TSM_POOL_SLAB_BYTES;
    tsm_mutex_unlock(&regions_lock);
    return true;
}

/* Cut up to a batch of fresh objects; *count says how many, 0 when out of memory. */
static tsm_pool_free_t*
depot_carve_locked(tsm_depot_t* d, uint32_t cls, uint32_t* count)
{
    uint32_t bytes = class_bytes(cls);
    if ((size_t)(d->carve_end - d->carve) < bytes && !depot_grow_locked(d)) {
        *count = 0;
        return NULL;
    }
    tsm_pool_free_t* first = NULL;
    tsm_pool_free_t** link = &first;
    uint32_t n = 0;
    while (n < TSM_POOL_BATCH && (size_t)(d->carve_end - d->carve) >= bytes) {
        tsm_pool_free_t* f = (tsm_pool_free_t*)(void*)d->carve;
        *link = f;
        link = &f->next;
        d->carve += bytes;
        n++;
    }
    *link = NULL;
    d->carved_objects += n;
    *count = n;
    return first;
}

static tsm_pool_free_t*
depot_take(tsm_depot_t* d, uint32_t cls, uint32_t* count)
{
    tsm_pool_free_t* batch;
    tsm_mutex_lock(&d->lock);
    if (d->full != NULL) {
        batch = d->full;
        d->full = batch->next_batch;
        d->full_batches--;
        *count = TSM_POOL_BATCH;
    }
    else if (d->loose != NULL) {
        batch = d->loose;
        *count = d->loose_objects;
        d->loose = NULL;
        d->loose_objects = 0;
    }
    else {
        batch = depot_carve_locked(d, cls, count);
    }
    tsm_mutex_unlock(&d->lock);
    return batch;
}

/* --- cold halves ---------------------------------------------------------------- */

void*
tsm_pool_alloc_slow(uint32_t cls)
{
#ifndef TSM_POOL_CHECKED
    if (pool_must_fail()) {
        return NULL;
    }
#endif
    tsm_pool_cache_t* c = cache_mine();
    if (c == NULL) {
        return NULL;
    }
    tsm_magazine_t* m = &c->magazines[cls];
    uint32_t count = TSM_POOL_BATCH;
    tsm_pool_free_t* batch = m->spare;
    if (batch != NULL) {
        m->spare = NULL;
        /* relaxed: only for tsm_pool_stats. */
        tsm_store_relaxed(&m->a_has_spare, 0);
    }
    else {
        batch = depot_take(&depots[cls], cls, &count);
        if (batch == NULL) {
            return NULL;
        }
    }
    m->loaded = batch->next;
    /* relaxed: only this thread writes it; tsm_pool_stats needs no order. */
    tsm_store_relaxed(&m->a_room, TSM_POOL_BATCH - count + 1);
    return batch;
}

void
tsm_pool_free_slow(void* p, uint32_t cls)
{
    tsm_pool_free_t* f = p;
    tsm_pool_cache_t* c = cache_mine();
    if (c == NULL) {
        /* No memory for a cache: the object goes straight to the depot. */
        tsm_mutex_lock(&depots[cls].lock);
        depot_put_one_locked(&depots[cls], f);
        tsm_mutex_unlock(&depots[cls].lock);
        return;
    }
    tsm_magazine_t* m = &c->magazines[cls];
    if (m->a_room == 0) {
        if (m->spare != NULL) {
            depot_put_batch(&depots[cls], m->spare);
        }
        m->spare = m->loaded;
        m->loaded = NULL;
        /* relaxed, both: only for tsm_pool_stats. */
        tsm_store_relaxed(&m->a_has_spare, 1);
        tsm_store_relaxed(&m->a_room, TSM_POOL_BATCH);
    }
    f->next = m->loaded;
    m->loaded = f;
    /* relaxed: only this thread writes it; tsm_pool_stats needs no order. */
    tsm_store_relaxed(&m->a_room, m->a_room - 1);
}

static void
large_count(tsm_pool_cache_t* c, int64_t objects, int64_t bytes)
{
    /* relaxed, both: only this thread writes them; tsm_pool_stats needs no order. */
    tsm_store_relaxed(&c->a_large_objects, c->a_large_objects + objects);
    tsm_store_relaxed(&c->a_large_bytes, c->a_large_bytes + bytes);
}

void*
tsm_pool_alloc_large(size_t bytes)
{
    tsm_pool_cache_t* c = cache_mine();
    if (c == NULL || bytes > PTRDIFF_MAX || pool_must_fail()) {
        return NULL;
    }
    void* p = malloc(bytes);
    if (p != NULL) {
        large_count(c, 1, (int64_t)bytes);
    }
    return p;
}

void
tsm_pool_free_large(void* p, size_t bytes)
{
    free(p);
    tsm_pool_cache_t* c = cache_mine();
    if (c != NULL) {
        large_count(c, -1, -(int64_t)bytes);
        return;
    }
    tsm_mutex_lock(&caches_lock);
    ended_large_objects -= 1;
    ended_large_bytes -= (int64_t)bytes;
    tsm_mutex_unlock(&caches_lock);
}

#ifdef TSM_POOL_CHECKED

void*
tsm_pool_alloc_checked(uint32_t cls)
{
#ifdef TSM_ASAN
    if (cls < TSM_POOL_SIZES) {
        return tsm_pool_alloc_large(class_bytes(cls));
    }
#endif
    return pool_must_fail() ? NULL : tsm_pool_pop(cls);
}

void
tsm_pool_free_checked(void* p, uint32_t cls)
{
    tsm_check((uintptr_t)p % TSM_POOL_GRAIN == 0);
    if (cls < TSM_POOL_SIZES) {
        memset(p, JUNK_BYTE, class_bytes(cls));
#ifdef TSM_ASAN
        tsm_pool_free_large(p, class_bytes(cls));
        return;
#endif
    }
    tsm_pool_push(p, cls);
}

#endif

/* --- life cycle ------------------------------------------------------------------ */

void
tsm_pool_kind_init(uint32_t kind, size_t bytes)
{
    tsm_check(kind < TSM_POOL_KINDS && bytes > 0 && bytes <= TSM_POOL_KIND_MAX_BYTES);
    uint32_t grains = (uint32_t)((bytes + TSM_POOL_GRAIN - 1) / TSM_POOL_GRAIN);
    uint32_t rounded = grains * TSM_POOL_GRAIN;
    tsm_check(kind_bytes[kind] == 0 || kind_bytes[kind] == rounded);
    kind_bytes[kind] = rounded;
}

static void
cache_flush(tsm_pool_cache_t* c, uint32_t cls)
{
    tsm_magazine_t* m = &c->magazines[cls];
    tsm_depot_t* d = &depots[cls];
    if (m->loaded == NULL && m->spare == NULL) {
        return;
    }
    tsm_mutex_lock(&d->lock);
    if (m->spare != NULL) {
        m->spare->next_batch = d->full;
        d->full = m->spare;
        d->full_batches++;
    }
    for (tsm_pool_free_t *f = m->loaded, *next; f != NULL; f = next) {
        next = f->next;
        depot_put_one_locked(d, f);
    }
    tsm_mutex_unlock(&d->lock);
}

void
tsm_pool_thread_exit(void)
{
    tsm_pool_cache_t* c = tsm_pool_mine;
    if (c == &no_cache) {
        return;
    }
    /* First, so that a free from a later destructor of this thread starts afresh. */
    tsm_pool_mine = &no_cache;
    pthread_setspecific(exit_key, NULL);
    /* Under caches_lock throughout: tsm_pool_stats must not see an object twice. */
    tsm_mutex_lock(&caches_lock);
    for (uint32_t cls = 0; cls < TSM_POOL_CLASSES; cls++) {
        cache_flush(c, cls);
    }
    ended_large_objects += c->a_large_objects;
    ended_large_bytes += c->a_large_bytes;
    if (c->prev != NULL) {
        c->prev->next = c->next;
    }
    else {
        caches = c->next;
    }
    if (c->next != NULL) {
        c->next->prev = c->prev;
    }
    tsm_mutex_unlock(&caches_lock);
    free(c);
}

/* Objects of one class that are nobody's; under caches_lock. */
static uint64_t
free_objects_locked(uint32_t cls, uint64_t* carved)
{
    tsm_depot_t* d = &depots[cls];
    tsm_mutex_lock(&d->lock);
    uint64_t n = d->full_batches * TSM_POOL_BATCH + d->loose_objects;
    *carved = d->carved_objects;
    tsm_mutex_unlock(&d->lock);
    for (tsm_pool_cache_t* c = caches; c != NULL; c = c->next) {
        tsm_magazine_t* m = &c->magazines[cls];
        /* relaxed, both: the figures are exact only when their owners are quiet. */
        n += TSM_POOL_BATCH - tsm_load_relaxed(&m->a_room);
        n += TSM_POOL_BATCH * (uint64_t)tsm_load_relaxed(&m->a_has_spare);
    }
    return n;
}

void
tsm_pool_stats(tsm_pool_stats_t* out)
{
    int64_t objects = 0, bytes = 0;
    tsm_mutex_lock(&caches_lock);
    for (uint32_t cls = 0; cls < TSM_POOL_CLASSES; cls++) {
        uint64_t carved;
        int64_t idle = (int64_t)free_objects_locked(cls, &carved);
        int64_t live = (int64_t)carved - idle;
        objects += live;
        bytes += live * class_bytes(cls);
    }
    int64_t large_objects = ended_large_objects, large_bytes = ended_large_bytes;
    for (tsm_pool_cache_t* c = caches; c != NULL; c = c->next) {
        /* relaxed, both: as in free_objects_locked. */
        large_objects += tsm_load_relaxed(&c->a_large_objects);
        large_bytes += tsm_load_relaxed(&c->a_large_bytes);
    }
    tsm_mutex_unlock(&caches_lock);
    objects += large_objects;
    bytes += large_bytes;
    /* While others are busy a sum may be a little off; never show it as negative. */
    out->live_objects = objects > 0 ? (uint64_t)objects : 0;
    out->live_bytes = bytes > 0 ? (uint64_t)bytes : 0;
    tsm_mutex_lock(&regions_lock);
    out->reserved_bytes = reserved_bytes;
    out->reserved_bytes += large_bytes > 0 ? (uint64_t)large_bytes : 0;
    tsm_mutex_unlock(&regions_lock);
}

void
tsm_pool_destroy(void)
{
    tsm_mutex_lock(&caches_lock);
    for (tsm_pool_cache_t* c = caches; c != NULL; c = c->next) {
        for (uint32_t i = 0; i < TSM_POOL_CLASSES; i++) {
            c->magazines[i] = (tsm_magazine_t){.a_room = TSM_POOL_BATCH};
        }
    }
    for (uint32_t i = 0; i < TSM_POOL_CLASSES; i++) {
        depots[i] = (tsm_depot_t){0};
    }
    while (regions != NULL) {
        region_t* r = regions;
        regions = r->next;
        munmap(r->base, REGION_BYTES);
        free(r);
    }
    reserved_bytes = 0;
    tsm_mutex_unlock(&caches_lock);
}

/* --- validation ------------------------------------------------------------------ */

#ifdef TSM_DEBUG

static uint32_t
chain_objects(const tsm_pool_free_t* f)
{
    uint32_t n = 0;
    for (; f != NULL; f = f->next) {
        n++;
    }
    return n;
}

void
tsm_pool_validate(void)
{
    for (uint32_t cls = 0; cls < TSM_POOL_CLASSES; cls++) {
        tsm_magazine_t* m = &tsm_pool_mine->magazines[cls];
        if (tsm_pool_mine != &no_cache) {
            tsm_check(chain_objects(m->loaded) == TSM_POOL_BATCH - m->a_room); /* I1 */
        }
        /* I2 */
        tsm_check(m->spare == NULL || chain_objects(m->spare) == TSM_POOL_BATCH);
        tsm_check((m->spare != NULL) == (m->a_has_spare != 0));
        tsm_depot_t* d = &depots[cls];
        tsm_mutex_lock(&d->lock);
        uint64_t batches = 0;
        for (tsm_pool_free_t* b = d->full; b != NULL; b = b->next_batch) {
            tsm_check(chain_objects(b) == TSM_POOL_BATCH); /* I2 */
            batches++;
        }
        tsm_check(batches == d->full_batches);
        tsm_check(chain_objects(d->loose) == d->loose_objects);
        tsm_mutex_unlock(&d->lock);
    }
}

#else

void
tsm_pool_validate(void)
{
}

#endif

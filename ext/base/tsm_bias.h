/* tsm_bias.h - locks that cost their owner two plain stores, until somebody else comes.
 *
 * What it is      A bias is the owner of some locks (the shards of a table) and whether any
 *                 other thread has ever wanted one. Before that the owner says "inside" in
 *                 a word beside the lock, which needs no read-modify-write; after that all
 *                 take the mutex, the owner too, for good.
 *                 Who the owner is, the caller knows: one thread at a time may say so, and
 *                 the next one only when it sees all that the one before did.
 * Who touches what
 *   a_shared      written by whoever ends the bias, under `ending`; read by all
 *   a_inside      written by the owner; read by whoever ends the bias
 * Protocol        The owner: 1. a_inside; 2. light fence; 3. looks at a_shared. Who ends the
 *                 bias: 1. a_shared; 2. heavy fence; 3. waits until a_inside is 0, lock by
 *                 lock; 4. says that it is over. One of the two sees the other. Nobody but
 *                 the owner takes a mutex before 4.
 * Invariants      B1  a mutex is held while its a_inside counts: never. So the holder can
 *                     tell by the mutex how it came in
 *                 B2  what is done inside is short and never waits, as under any lock here
 * Rejected        Giving the bias back: when, nobody can tell, and a heavy fence a time
 *                 costs more than thousands of mutexes.
 * Where tested    tests/c/test_bias.c, tests/model/model_bias.c
 * Source          F. Pizlo, D. Frampton, A. Hosking, "Fine-grained adaptive biased
 *                 locking", 2011
 */
#ifndef TSM_BIAS_H
#define TSM_BIAS_H

#include "base/tsm_atomic.h"
#include "base/tsm_os.h"

enum { TSM_BIAS_OWNED, TSM_BIAS_ENDING, TSM_BIAS_SHARED };

typedef struct {
    uint32_t a_shared; /* TSM_BIAS_* */
    tsm_mutex_t ending;
} tsm_bias_t;

typedef struct {
    tsm_mutex_t mutex;
    uint32_t a_inside;
} tsm_bias_lock_t;

/* The calling thread is the owner. False: the bias is over, take the mutex. */
TSM_INLINE bool
tsm_bias_enter(tsm_bias_t* bias, tsm_bias_lock_t* lock)
{
    /* relaxed: the light fence orders it before the load; tsm_bias_ask has the heavy one. */
    tsm_store_relaxed(&lock->a_inside, 1);
    tsm_fence_light();
    /* acquire: pairs with tsm_bias_end: nobody was inside by the mutex before that. */
    if (TSM_LIKELY(tsm_load_acquire(&bias->a_shared) == TSM_BIAS_OWNED)) {
        return true;
    }
    tsm_store_release(&lock->a_inside, 0); /* release: pairs with tsm_bias_is_inside. */
    return false;
}

/* After tsm_bias_enter said yes. */
TSM_INLINE void
tsm_bias_leave(tsm_bias_lock_t* lock)
{
    tsm_store_release(&lock->a_inside, 0); /* release: pairs with tsm_bias_is_inside. */
}

/* Under `ending`: from here on the owner goes in by the mutex only. */
TSM_INLINE void
tsm_bias_ask(tsm_bias_t* bias)
{
    tsm_store_relaxed(&bias->a_shared, TSM_BIAS_ENDING); /* relaxed: the fence orders it. */
    tsm_fence_heavy(); /* fence: pairs with the light one of tsm_bias_enter. */
}

TSM_INLINE bool
tsm_bias_is_inside(const tsm_bias_lock_t* lock)
{
    return tsm_load_acquire(&lock->a_inside) != 0; /* acquire: pairs with tsm_bias_unlock: what the owner wrote. */
}

#ifndef TSM_MODEL
/* After tsm_bias_ask, for each of the locks: until the owner has left it. */
void tsm_bias_wait(const tsm_bias_lock_t* lock) TSM_COLD;
#endif

TSM_INLINE void
tsm_bias_end(tsm_bias_t* bias)
{
    tsm_store_release(&bias->a_shared, TSM_BIAS_SHARED); /* release: pairs with tsm_bias_lock: as is_inside. */
}

TSM_INLINE bool
tsm_bias_is_shared(const tsm_bias_t* bias)
{
    return tsm_load_acquire(&bias->a_shared) == TSM_BIAS_SHARED; /* acquire: pairs with tsm_bias_end. */
}

/* The caller is the owner, or tsm_bias_is_shared has said yes. */
TSM_INLINE void
tsm_bias_lock(tsm_bias_t* bias, tsm_bias_lock_t* lock, bool owner)
{
    if (!owner || TSM_UNLIKELY(!tsm_bias_enter(bias, lock))) {
        tsm_mutex_lock(&lock->mutex);
    }
}

TSM_INLINE void
tsm_bias_unlock(tsm_bias_lock_t* lock)
{
    /* relaxed: locked by the caller, or by nobody (B1). */
    if (TSM_LIKELY(tsm_load_relaxed(&lock->mutex.a_state) == 0)) {
        tsm_bias_leave(lock);
    } else {
        tsm_mutex_unlock(&lock->mutex);
    }
}

#endif

/* tsm_inject.h - the run queue of everybody: overflow of full slots, work from outside.
 *
 * What it is      FIFO of intrusive nodes under a mutex, with its length beside it as
 *                 an atomic so that a slot can see "empty" without the lock.
 * Who touches what
 *   first, last   under the lock
 *   a_len         written under the lock, read by anybody
 * Invariants
 *   I1  a_len == number of nodes from first to last, whenever the lock is free
 *   I2  the last node's next is NULL; first == NULL <=> last == NULL
 * Protocol        push, THEN wake a slot (tsm_idle_wake_any); a slot about to sleep
 *                 looks at a_len once more after its heavy fence. See tsm_idle.h.
 * Memory ordering a_len is stored with release inside the lock; a stale "empty" is made
 *                 good by that protocol, a stale "not empty" by the look under the
 *                 lock.
 * Rejected        A lock-free queue: pushes come in batches of half a ring, or from
 *                 threads outside the node, and are never on the path of a message hop.
 * Where tested    tests/c/test_inject.c; as the work of tests/model/model_idle.c
 */
#ifndef TSM_INJECT_H
#define TSM_INJECT_H

#include "base/tsm_atomic.h"
#include "base/tsm_config.h"
#include "base/tsm_list.h"
#include "base/tsm_os.h"

typedef struct {
    tsm_mutex_t lock;
    /* under lock */
    uint32_t a_len;
    tsm_node_t* first;
    tsm_node_t* last;
} tsm_inject_t;

void tsm_inject_init(tsm_inject_t* q);

/* Append one; append a chain of n > 0 nodes in its order. */
void tsm_inject_push_any(tsm_inject_t* q, tsm_node_t* n);
void tsm_inject_push_batch_any(tsm_inject_t* q, tsm_node_t* first, tsm_node_t* last,
                               uint32_t n);

/* The oldest, or NULL; up to max of the oldest as a chain ending in NULL, *n says how
 * many (0: returns NULL). */
tsm_node_t* tsm_inject_pop_any(tsm_inject_t* q);
tsm_node_t* tsm_inject_pop_batch_any(tsm_inject_t* q, uint32_t max, uint32_t* n);

/* Without the lock: true at some moment of the call. */
TSM_INLINE uint32_t
tsm_inject_len_any(const tsm_inject_t* q)
{
    /* acquire: pairs with inject_set_len_locked; a stale answer is made good by the
     * sleep protocol (tsm_idle.h). */
    return tsm_load_acquire(&q->a_len);
}

/* Check I1 and I2. */
void tsm_inject_validate(tsm_inject_t* q);

#endif

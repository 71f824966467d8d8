/* tsm_runq.h - the run queue of one slot: a bounded ring that others steal from.
 *
 * What it is      FIFO of pointers. The owner (the thread that carries the slot) pushes
 *                 at the tail and pops at the head; thieves take half, from the head.
 * Who touches what
 *   a_tail        written by the owner, read by thieves
 *   a_head        moved forward by compare-and-swap, by the owner and by thieves
 *   a_ring[i]     written by the owner, read by all; i = index % TSM_RUNQ_CAP
 * Invariants
 *   I1  0 <= tail - head <= CAP (32-bit arithmetic, both wrap); entries head .. tail-1
 *       are queued
 *   I2  an entry is handed out once: to the one whose swap moved head past it
 *   I3  the owner writes a cell only after it saw head beyond the cell's last use
 * Protocol        A consumer reads the cells first and moves head afterwards: cells
 *                 from the head it saw cannot be overwritten unless head moves, and
 *                 then its compare-and-swap fails and the values are dropped unread.
 *                 A thief copies straight into its own ring behind its own tail, where
 *                 only it may write, and publishes them with its tail once its swap
 *                 succeeded.
 * ABA             head is 32 bits: a thief would have to sleep between read and swap
 *                 while exactly 2^32 entries pass. Go lives with the same.
 * Memory ordering argued at each call. A queue that is never stolen from (one slot) may
 *                 be set `solo`: then the pop's compare-and-swap is a plain store.
 * Rejected        Chase-Lev deque (LIFO at the owner's end: unfair to processes, which
 *                 must round-robin); a lock (the pop is on the path of each message
 *                 hop); a linked list (a thief cannot take half in O(1) steps without a
 *                 lock).
 * Where tested    tests/c/test_runq.c, tests/model/model_runq.c (CAP 4 there)
 * Source          Go runtime, proc.go: runqput, runqget, runqgrab
 */
#ifndef TSM_RUNQ_H
#define TSM_RUNQ_H

#include "base/tsm_assert.h"
#include "base/tsm_atomic.h"
#include "base/tsm_config.h"

#ifdef TSM_MODEL
enum { TSM_RUNQ_CAP = 4 };
#else
enum { TSM_RUNQ_CAP = 256 };
#endif

typedef struct {
    /* owner and thieves */
    uint32_t a_head TSM_ALIGNED(TSM_CACHELINE);
    /* written by the owner */
    uint32_t a_tail TSM_ALIGNED(TSM_CACHELINE);
    bool solo; /* set once: nobody steals */
    void* a_ring[TSM_RUNQ_CAP];
} tsm_runq_t;

_Static_assert((TSM_RUNQ_CAP & (TSM_RUNQ_CAP - 1)) == 0, "indices wrap by masking");

TSM_INLINE void
tsm_runq_init(tsm_runq_t* q, bool solo)
{
    q->a_head = 0;
    q->a_tail = 0;
    q->solo = solo;
    for (uint32_t i = 0; i < TSM_RUNQ_CAP; i++) {
        q->a_ring[i] = NULL;
    }
}

TSM_INLINE void**
tsm_runq_cell(tsm_runq_t* q, uint32_t idx)
{
    return &q->a_ring[idx & (TSM_RUNQ_CAP - 1)];
}

/* Queued entries; for others than the owner at some moment of the call. */
TSM_INLINE uint32_t
tsm_runq_len_any(const tsm_runq_t* q)
{
    /* relaxed, both: a peek. A head seen earlier is never past the tail. */
    uint32_t head = tsm_load_relaxed(&q->a_head);
    uint32_t tail = tsm_load_relaxed(&q->a_tail);
    uint32_t len = tail - head;
    return len <= TSM_RUNQ_CAP ? len : TSM_RUNQ_CAP;
}

/* Append. false: full, and the item is still the caller's. */
TSM_NODISCARD TSM_INLINE bool
tsm_runq_push_owner(tsm_runq_t* q, void* item)
{
    /* acquire: pairs with the swap of a consumer: it has read the cells before head, so
     * the cell written below is free (I3). */
    uint32_t head = tsm_load_acquire(&q->a_head);
    /* relaxed: only the owner writes it. */
    uint32_t tail = tsm_load_relaxed(&q->a_tail);
    if (TSM_UNLIKELY(tail - head >= TSM_RUNQ_CAP)) {
        return false;
    }
    /* relaxed: a late thief may read the cell meanwhile; its swap fails. Published by
     * the tail. */
    tsm_store_relaxed(tsm_runq_cell(q, tail), item);
    /* release: pairs with the acquire of tail in tsm_runq_steal_any: cell and item. */
    tsm_store_release(&q->a_tail, tail + 1);
    return true;
}

/* The oldest, or NULL. */
TSM_INLINE void*
tsm_runq_pop_owner(tsm_runq_t* q)
{
    /* relaxed: only the owner writes it. */
    uint32_t tail = tsm_load_relaxed(&q->a_tail);
    /* relaxed: a guess; the swap decides, and the cells are the owner's own writes. */
    uint32_t head = tsm_load_relaxed(&q->a_head);
    while (head != tail) {
        /* relaxed: written by this thread (or published to it with the slot). */
        void* item = tsm_load_relaxed(tsm_runq_cell(q, head));
        if (q->solo) {
            /* relaxed: nobody else consumes. */
            tsm_store_relaxed(&q->a_head, head + 1);
            return item;
        }
        /* release: keeps the read of the cell before the move of head, for the next
         * push into the cell. (acquire on failure: not needed.) */
        if (TSM_LIKELY(tsm_cas_acq_rel(&q->a_head, &head, head + 1))) {
            return item;
        }
    }
    return NULL;
}

/* Take the older half (rounded up), at most n, out into out[]; for a full queue on its
 * way to the overflow queue. Returns how many; 0: thieves were there, push again. */
TSM_INLINE uint32_t
tsm_runq_half_owner(tsm_runq_t* q, void** out, uint32_t n)
{
    /* relaxed, both: as in tsm_runq_pop_owner. */
    uint32_t tail = tsm_load_relaxed(&q->a_tail);
    uint32_t head = tsm_load_relaxed(&q->a_head);
    uint32_t half = tail - head - (tail - head) / 2;
    if (half > n) {
        half = n;
    }
    for (uint32_t i = 0; i < half; i++) {
        /* relaxed: as in tsm_runq_pop_owner. */
        out[i] = tsm_load_relaxed(tsm_runq_cell(q, head + i));
    }
    /* release: as in tsm_runq_pop_owner. */
    if (half == 0 || !tsm_cas_acq_rel(&q->a_head, &head, head + half)) {
        return 0;
    }
    return half;
}

/* Take half of victim's entries (rounded up): the oldest is returned, the others go to
 * own, which the caller owns. NULL: nothing there. */
TSM_INLINE void*
tsm_runq_steal_any(tsm_runq_t* own, tsm_runq_t* victim)
{
    tsm_assert(own != victim);
    /* relaxed: only the owner, which is the caller, writes it. */
    uint32_t own_tail = tsm_load_relaxed(&own->a_tail);
    /* acquire: pairs with consumers of own: the cells to be written are free (I3). */
    uint32_t room = TSM_RUNQ_CAP - (own_tail - tsm_load_acquire(&own->a_head));
    /* acquire: pairs with the swaps of other consumers: a tail read below is not older
     * than this head. */
    uint32_t head = tsm_load_acquire(&victim->a_head);
    for (;;) {
        /* acquire: pairs with tsm_runq_push_owner: cells and items. */
        uint32_t tail = tsm_load_acquire(&victim->a_tail);
        uint32_t n = tail - head - (tail - head) / 2;
        if (n == 0) {
            return NULL;
        }
        if (TSM_UNLIKELY(n > TSM_RUNQ_CAP / 2)) {
            /* head and tail are of different moments. acquire: as above. */
            head = tsm_load_acquire(&victim->a_head);
            continue;
        }
        if (n > room + 1) {
            n = room + 1;
        }
        /* relaxed: if the owner overwrites the cell meanwhile the swap below fails. */
        void* oldest = tsm_load_relaxed(tsm_runq_cell(victim, head));
        for (uint32_t i = 1; i < n; i++) {
            /* relaxed, both: read as above; our own cell is published by the tail. */
            void* item = tsm_load_relaxed(tsm_runq_cell(victim, head + i));
            tsm_store_relaxed(tsm_runq_cell(own, own_tail + i - 1), item);
        }
        /* release: pairs with tsm_runq_push_owner: the cells have been read.
         * acquire: pairs with other consumers, as for the first load of head. */
        if (tsm_cas_acq_rel(&victim->a_head, &head, head + n)) {
            /* release: pairs with thieves of own: cells and items. */
            tsm_store_release(&own->a_tail, own_tail + n - 1);
            return oldest;
        }
    }
}

#endif

/* tsm_inbox.h - the signal queue of a process: many senders, one owner, one word.
 *
 * What it is      A stack of intrusive nodes under one atomic word. Senders push; the
 *                 owner takes everything at once and reverses it. The same word says
 *                 whether the process sleeps or is dead:
 *                    0        active, empty
 *                    1 IDLE   asleep: empty, nobody owns the process
 *                    2 DEAD   dead to the world
 *                    else     active, pointer to the newest node
 * Who touches what
 *   a_word        any thread, by compare-and-swap and swap only
 *   node->next    the pusher until its compare-and-swap succeeded, then whoever takes
 *                 it
 * Invariants
 *   I1  following next from a_word reaches every node pushed and not yet taken, newest
 *       first, ending in NULL; there is no moment at which a pushed node is unreachable
 *   I2  IDLE and DEAD words have no nodes
 *   I3  exactly one thread turns IDLE into something else, and it is the owner from
 *       then
 *   I4  one sender's nodes come out in the order it pushed them, and if a push happens
 *       before another push (also by another thread) it comes out before it: pushes are
 *       ordered by their compare-and-swaps on one word. This is OTP's signal order.
 * Protocol        How an owner sleeps without losing a wake-up:
 *                   1. owner: take; nothing there; save all state of the process
 *                   2. owner: sleep = compare-and-swap 0 -> IDLE. When a sender was
 *                      first the word is a node, the swap fails, and the owner takes
 *                      again.
 *                   3. sender: its compare-and-swap replaces IDLE by its node. It alone
 *                      gets TSM_PUSH_WOKE, is the owner now and must schedule the
 *                      process.
 *                 "Is it empty" and "does it sleep" are one word, so there is no pair
 *                 of writes whose order matters: no Dekker, no fence, no second look.
 * Memory ordering Every change is acq_rel. release: a node and its payload before its
 *                 pointer; the sleeper's state before IDLE. acquire: the taker sees all
 *                 nodes, because each push read (or replaced) the word the push before
 *                 it wrote, and a chain of read-modify-writes carries the releases
 *                 along; the waker sees what the sleeper saved.
 * ABA             A push compares against a pointer that may have been taken, freed,
 *                 reused and pushed again meanwhile. That is harmless: the push needs
 *                 only that the word EQUALS its node's next at the moment of the swap,
 *                 which is what the compare says. Trouble needs a pop of one node
 *                 (which would store a next read earlier), and there is none: the owner
 *                 takes all or nothing.
 * Cost            push: 1 compare-and-swap. take: 1 swap, or 1 plain load when empty;
 *                 the reversal touches each node once, which warms it for its handling.
 * Rejected        D. Vyukov's MPSC queue, for which a push is one exchange that cannot
 *                 fail and which needs no reversal. But: between its exchange and its
 *                 link the queue looks empty though it is not, so that "empty" must be
 *                 asked of the tail and a taker may have to wait for a sender that lost
 *                 its core; a stub node makes it 24 bytes a process against 8; and the
 *                 sleep state is a second word that each push must read after a full
 *                 barrier, or change by a second read-modify-write. Under contention a
 *                 compare-and-swap does fail at times, but only senders to ONE process
 *                 compete, and the loser costs itself one retry: 35 to 60
 *                 against 25 to 40 ns a message where 4 senders on 2 busy cores do
 *                 nothing but send (tests/c/bench_native.c).
 *                 A separate state word (OTP, Pony): two words, hence the lost wake-up
 *                 that tests/model/model_inbox.c shows under PLANT_TWO_WORDS.
 * Where tested    tests/c/test_inbox.c, tests/model/model_inbox.c
 * Source          R. K. Treiber 1986 (the stack); taking all at once: Linux llist.h
 */
#ifndef TSM_INBOX_H
#define TSM_INBOX_H

#include "base/tsm_assert.h"
#include "base/tsm_atomic.h"
#include "base/tsm_config.h"
#include "base/tsm_list.h"

typedef struct {
    uintptr_t a_word;
} tsm_inbox_t;

#define TSM_INBOX_EMPTY ((uintptr_t)0)
#define TSM_INBOX_IDLE ((uintptr_t)1)
#define TSM_INBOX_DEAD ((uintptr_t)2)

/* What became of a push. */
typedef enum {
    TSM_PUSH_QUEUED, /* the owner is active and will see it */
    TSM_PUSH_WOKE,   /* it slept: the caller owns the process and must schedule it */
    TSM_PUSH_DEAD,   /* not queued, the node is still the caller's */
} tsm_push_t;

TSM_NODISCARD TSM_INLINE tsm_push_t
tsm_inbox_push_any(tsm_inbox_t* q, tsm_node_t* n)
{
    /* relaxed: a guess; the compare-and-swap decides. A DEAD seen here is no guess: it
     * was DEAD at some moment of the call, and that is all "dead" can promise. */
    uintptr_t seen = tsm_load_relaxed(&q->a_word);
    for (;;) {
        if (TSM_UNLIKELY(seen == TSM_INBOX_DEAD)) {
            return TSM_PUSH_DEAD;
        }
        n->next = seen == TSM_INBOX_IDLE ? NULL : (tsm_node_t*)seen;
        /* release: pairs with tsm_inbox_take_owner: the node and its payload.
         * acquire: pairs with tsm_inbox_sleep_owner (when it woke): what the sleeper
         *          saved; and with earlier pushes, to pass their releases on. */
        if (TSM_LIKELY(tsm_cas_acq_rel(&q->a_word, &seen, (uintptr_t)n))) {
            return seen == TSM_INBOX_IDLE ? TSM_PUSH_WOKE : TSM_PUSH_QUEUED;
        }
    }
}

/* All that has arrived, oldest first; NULL: nothing. */
TSM_INLINE tsm_node_t*
tsm_inbox_take_owner(tsm_inbox_t* q)
{
    /* relaxed: NULL claims nothing about the data of others. */
    if (tsm_load_relaxed(&q->a_word) == TSM_INBOX_EMPTY) {
        return NULL;
    }
    /* acquire: pairs with tsm_inbox_push_any: nodes and payloads.
     * (release: nothing; the order exists only as acq_rel.) */
    uintptr_t newest = tsm_swap_acq_rel(&q->a_word, TSM_INBOX_EMPTY);
    tsm_assert(newest != TSM_INBOX_IDLE && newest != TSM_INBOX_DEAD);
    return tsm_list_reverse((tsm_node_t*)newest);
}

/* Give the process up until something arrives. true: it sleeps, the caller does not own
 * it any more and must not touch it; false: something is there, take it. */
TSM_NODISCARD TSM_INLINE bool
tsm_inbox_sleep_owner(tsm_inbox_t* q)
{
    uintptr_t seen = TSM_INBOX_EMPTY;
    /* release: pairs with the push or claim that wakes: the state the owner saved.
     * (acquire on failure: not needed, the take that follows acquires.) */
    return tsm_cas_acq_rel(&q->a_word, &seen, TSM_INBOX_IDLE);
}

/* Become the owner of a sleeping process without a message. false: it is awake. */
TSM_NODISCARD TSM_INLINE bool
tsm_inbox_claim_any(tsm_inbox_t* q)
{
    uintptr_t seen = TSM_INBOX_IDLE;
    /* acquire: pairs with tsm_inbox_sleep_owner: the state it saved. */
    return tsm_cas_acq_rel(&q->a_word, &seen, TSM_INBOX_EMPTY);
}

/* Die: no push succeeds from here on. Returns what arrived before, oldest first. */
TSM_INLINE tsm_node_t*
tsm_inbox_close_owner(tsm_inbox_t* q)
{
    /* acquire: pairs with tsm_inbox_push_any: nodes and payloads.
     * release: who sees DEAD sees what the owner did before it died. */
    uintptr_t newest = tsm_swap_acq_rel(&q->a_word, TSM_INBOX_DEAD);
    bool none = newest <= TSM_INBOX_DEAD; /* empty, idle, dead: 0 to 2 */
    return none ? NULL : tsm_list_reverse((tsm_node_t*)newest);
}

/* DEAD -> active and empty: a new life of the same slot. */
TSM_INLINE void
tsm_inbox_open_owner(tsm_inbox_t* q)
{
    /* release: pairs with pushes: who can push sees the slot's new life. */
    tsm_store_release(&q->a_word, TSM_INBOX_EMPTY);
}

/* Peeks: true at some moment of the call. */
TSM_INLINE bool
tsm_inbox_is_empty(const tsm_inbox_t* q)
{
    /* relaxed: a peek; whoever acts on it uses one of the operations above. */
    return tsm_load_relaxed(&q->a_word) == TSM_INBOX_EMPTY;
}

TSM_INLINE bool
tsm_inbox_is_idle(const tsm_inbox_t* q)
{
    /* relaxed: a peek, as above. */
    return tsm_load_relaxed(&q->a_word) == TSM_INBOX_IDLE;
}

TSM_INLINE bool
tsm_inbox_is_dead(const tsm_inbox_t* q)
{
    /* acquire: pairs with tsm_inbox_close_owner: what the owner did before it died. */
    return tsm_load_acquire(&q->a_word) == TSM_INBOX_DEAD;
}

#endif

/* tsm_atomic.h - every atomic operation of the core, named by its memory order.
 *
 * What it is      Macros over the compiler's __atomic builtins, for plain integers of 1
 *                 to 8 bytes and for pointers. The order is in the name, so that
 *                 `grep _sc(` lists every sequentially consistent use. No other file
 *                 uses __atomic builtins or <stdatomic.h>.
 *                 load, swap, add, sub, or, and return the OLD value; cas is strong,
 *                 returns true when it stored, else puts what it saw into *expected
 *                 (then with acquire order).
 * Protocol        The asymmetric pair. Two threads that each write one word and then
 *                 read the other's (Dekker) both need a full barrier between the two.
 *                 Where one side runs for every message and the other only before a
 *                 sleep, the hot side takes tsm_fence_light(), a compiler barrier, and
 *                 the cold side tsm_fence_heavy(), a system call that makes every
 *                 running thread of this program execute a full barrier (Linux
 *                 membarrier, private expedited, since 4.14). Either the hot side's
 *                 write is visible to the cold side after its heavy fence, or the hot
 *                 side's read comes after that fence and sees the cold side's write.
 *                 Without membarrier (other systems, old kernels, a seccomp filter)
 *                 both are full fences; tsm_fence_init() finds out, once, before any
 *                 thread.
 * Memory ordering Users: tsm_idle.c (work published against "somebody searches").
 *                 tsm_barrier_sc() is the symmetric full barrier; no user so far.
 * Rejected        C11 _Atomic: it would forbid plain access in single-threaded phases
 *                 and cannot be redirected onto the explorer for existing types.
 *                 Stand-alone fences under TSan: gcc's TSan does not understand them
 *                 and reports races on correct pairs, so there all three are an RMW on
 *                 one dummy word, which gives the same order and which it does
 *                 understand.
 * Where tested    tests/c/test_atomic.c (litmus runs of the pair), tests/model/ (the
 *                 names mapped onto the explorer; model_idle.c needs the pair)
 */
#ifndef TSM_ATOMIC_H
#define TSM_ATOMIC_H

#include "base/tsm_config.h"

#ifdef TSM_MODEL

#include "tsm_model_atomic.h"

#else

#define tsm_load_relaxed(p) __atomic_load_n((p), __ATOMIC_RELAXED)
#define tsm_load_acquire(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define tsm_load_sc(p) __atomic_load_n((p), __ATOMIC_SEQ_CST)

#define tsm_store_relaxed(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define tsm_store_release(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
#define tsm_store_sc(p, v) __atomic_store_n((p), (v), __ATOMIC_SEQ_CST)

#define tsm_swap_relaxed(p, v) __atomic_exchange_n((p), (v), __ATOMIC_RELAXED)
#define tsm_swap_acq_rel(p, v) __atomic_exchange_n((p), (v), __ATOMIC_ACQ_REL)
#define tsm_swap_sc(p, v) __atomic_exchange_n((p), (v), __ATOMIC_SEQ_CST)

#define tsm_cas_acq_rel(p, expected, v)                                       \
    __atomic_compare_exchange_n((p), (expected), (v), 0, __ATOMIC_ACQ_REL,    \
                                __ATOMIC_ACQUIRE)
#define tsm_cas_sc(p, expected, v)                                            \
    __atomic_compare_exchange_n((p), (expected), (v), 0, __ATOMIC_SEQ_CST,    \
                                __ATOMIC_SEQ_CST)

#define tsm_add_relaxed(p, v) __atomic_fetch_add((p), (v), __ATOMIC_RELAXED)
#define tsm_add_acq_rel(p, v) __atomic_fetch_add((p), (v), __ATOMIC_ACQ_REL)
#define tsm_add_sc(p, v) __atomic_fetch_add((p), (v), __ATOMIC_SEQ_CST)

#define tsm_sub_relaxed(p, v) __atomic_fetch_sub((p), (v), __ATOMIC_RELAXED)
#define tsm_sub_acq_rel(p, v) __atomic_fetch_sub((p), (v), __ATOMIC_ACQ_REL)
#define tsm_sub_sc(p, v) __atomic_fetch_sub((p), (v), __ATOMIC_SEQ_CST)

#define tsm_or_relaxed(p, v) __atomic_fetch_or((p), (v), __ATOMIC_RELAXED)
#define tsm_or_acq_rel(p, v) __atomic_fetch_or((p), (v), __ATOMIC_ACQ_REL)
#define tsm_or_sc(p, v) __atomic_fetch_or((p), (v), __ATOMIC_SEQ_CST)

#define tsm_and_relaxed(p, v) __atomic_fetch_and((p), (v), __ATOMIC_RELAXED)
#define tsm_and_acq_rel(p, v) __atomic_fetch_and((p), (v), __ATOMIC_ACQ_REL)
#define tsm_and_sc(p, v) __atomic_fetch_and((p), (v), __ATOMIC_SEQ_CST)

/* Set by tsm_fence_init() before any thread starts, constant afterwards. */
extern bool tsm_fence_expedited;
#ifdef TSM_TSAN
extern uint32_t tsm_fence_dummy;
#endif

/* Tell the core that this is a spin loop. */
TSM_INLINE void
tsm_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
    __asm__ volatile("yield" ::: "memory");
#else
    __asm__ volatile("" ::: "memory");
#endif
}

/* Full barrier, both sides alike. */
TSM_INLINE void
tsm_barrier_sc(void)
{
#ifdef TSM_TSAN
    __atomic_fetch_add(&tsm_fence_dummy, 1, __ATOMIC_SEQ_CST);
#else
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}

/* Hot side of the asymmetric pair. */
TSM_INLINE void
tsm_fence_light(void)
{
#ifdef TSM_TSAN
    tsm_barrier_sc();
#else
    if (TSM_LIKELY(tsm_fence_expedited)) {
        __asm__ volatile("" ::: "memory");
    }
    else {
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
    }
#endif
}

/* Cold side of the asymmetric pair: about a microsecond. */
void tsm_fence_heavy(void);

/* Find out whether the cheap light side can be had. Call once before any thread of the
 * core starts; a second call is harmless. Without it the pair is two full fences. */
void tsm_fence_init(void);

#endif /* TSM_MODEL */
#endif

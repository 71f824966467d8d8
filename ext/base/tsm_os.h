/* tsm_os.h - what the core needs from the operating system: threads, futex, mutex,
 * event.
 *
 * What it is
 *   thread   pthread with the asynchronous signals blocked: signals belong to the
 *            thread the user's program was started on
 *   futex    sleep while a word has a value (Linux; a pthread stand-in elsewhere)
 *   mutex    4 bytes, zero is unlocked, 2 atomic operations uncontended
 *            (U. Drepper, "Futexes are tricky", mutex 2, with a short spin)
 *   event    4 bytes, zero is unset: a binary semaphore that one thread parks on
 * Invariants
 *   mutex.a_state   0 free, 1 held, 2 held and somebody may sleep
 *   event.a_state   0 unset, 1 set, 2 the waiter sleeps or is about to
 *   A set before the wait is not lost; two sets before a wait are one.
 * Memory ordering lock acquires what the last unlock released; a wait that returns 0
 *                 acquires what the set released.
 * Lifetime        unlock and set touch the word's ADDRESS once more after letting go
 *                 (the wake call). The memory may be reused by then, at worst somebody
 *                 gets a spurious wake-up, which all waits here absorb.
 * Rejected        pthread_mutex_t (40 bytes, 2x the time), sem_t (posts and waits are
 *                 not inlined), spin locks (a holder may lose its core for
 *                 milliseconds).
 * Where tested    tests/c/test_os.c, also with TSM_FUTEX_PORTABLE
 */
#ifndef TSM_OS_H
#define TSM_OS_H

#include "base/tsm_atomic.h"
#include "base/tsm_config.h"

#include <pthread.h>

/* --- threads ------------------------------------------------------------------- */

typedef struct {
    pthread_t handle;
} tsm_os_thread_t;

/* Run fn(arg) on a new thread; stack_bytes 0 means the system's default. Returns 0 or
 * -errno. All asynchronous signals are blocked in it; faults (SIGSEGV and kin) are not,
 * so that crash handlers work. Join or detach it. */
TSM_NODISCARD int tsm_thread_start(void (*fn)(void*), void* arg, size_t stack_bytes,
                                   tsm_os_thread_t* out);
void tsm_thread_join(tsm_os_thread_t* t);
void tsm_thread_detach(tsm_os_thread_t* t);

/* Name of the calling thread as debuggers and /proc show it; cut to 15 bytes. */
void tsm_thread_setname(const char* name);

/* The calling thread runs for moments at a time: when it wakes it should not wait for the end
 * of another thread's long slice. Its share of the processor stays what it was. Where the
 * system does not know such a thing (Linux before 6.12, others) nothing happens. */
void tsm_thread_be_prompt(void);
/* The opposite: it computes, and those that are prompt come first when they wake. */
void tsm_thread_be_patient(void);
/* Prompt, and with three times the share of the others, where the program may ask for that
 * (root, CAP_SYS_NICE, ulimit -e 25) and has not asked for anything else. What the thread
 * starts is as any other. */
void tsm_thread_be_urgent(void);

/* The kernel's number of the calling thread (threading.get_native_id()). A system call:
 * keep it. */
uint64_t tsm_gettid(void);

/* Processor time the thread has used, ns; 0 when the system does not tell. */
uint64_t tsm_thread_cpu_ns(tsm_os_thread_t* t);
/* False when the thread (tsm_gettid) runs or waits only for a processor; true when it
 * sleeps in the kernel, and where that cannot be told. */
bool tsm_thread_sleeps(uint64_t tid);

/* Cores this program may use now, at least 1; respects the affinity mask. */
int tsm_ncpu(void);

/* --- futex --------------------------------------------------------------------- */

#define TSM_WAIT_FOREVER INT64_C(-1)

/* Sleep while *a == expected, at most timeout_ns (TSM_WAIT_FOREVER: no limit). Returns
 * 0 (woken, or spuriously), -ETIMEDOUT, -EINTR, or -EAGAIN when *a differed. */
int tsm_futex_wait(uint32_t* a, uint32_t expected, int64_t timeout_ns);
/* Wake up to n sleepers. */
void tsm_futex_wake(uint32_t* a, int n);

/* --- mutex --------------------------------------------------------------------- */

typedef struct {
    uint32_t a_state;
} tsm_mutex_t;

#ifndef TSM_MODEL

void tsm_mutex_lock_slow(tsm_mutex_t* m) TSM_COLD;
void tsm_mutex_unlock_slow(tsm_mutex_t* m) TSM_COLD;

TSM_INLINE bool
tsm_mutex_trylock(tsm_mutex_t* m)
{
    uint32_t seen = 0;
    /* acquire: pairs with tsm_mutex_unlock: what the last holder wrote.
     * (release is not needed; the order exists only as acq_rel.) */
    return tsm_cas_acq_rel(&m->a_state, &seen, 1);
}

TSM_INLINE void
tsm_mutex_lock(tsm_mutex_t* m)
{
    if (TSM_UNLIKELY(!tsm_mutex_trylock(m))) {
        tsm_mutex_lock_slow(m);
    }
}

TSM_INLINE void
tsm_mutex_unlock(tsm_mutex_t* m)
{
    /* release: pairs with the next lock: what this holder wrote. A swap and not a
     * store because it must also learn whether somebody sleeps. */
    if (TSM_UNLIKELY(tsm_swap_acq_rel(&m->a_state, 0) == 2)) {
        tsm_mutex_unlock_slow(m);
    }
}

#else

#define tsm_mutex_trylock(m) tsm_model_trylock(&(m)->a_state)
#define tsm_mutex_lock(m) tsm_model_lock(&(m)->a_state)
#define tsm_mutex_unlock(m) tsm_model_unlock(&(m)->a_state)

#endif

/* --- event --------------------------------------------------------------------- */

typedef struct {
    uint32_t a_state;
} tsm_event_t;

/* Wake the waiter, or let its next wait return at once. Any thread. */
void tsm_event_set(tsm_event_t* e);

/* Wait until set, then unset it. One thread waits at a time. timeout_ns as for the
 * futex; 0 polls. Returns 0, -ETIMEDOUT, or -EINTR (a signal handler ran: only in
 * threads not made by tsm_thread_start; wait again after looking at signals). */
int tsm_event_wait(tsm_event_t* e, int64_t timeout_ns);

/* Between two looks at what nobody tells of: turn counts them from 0. Pauses at first, then naps of
 * 50 us; sched_yield would last a kernel tick beside a thread that computes. */
void tsm_backoff(uint32_t turn);

#endif

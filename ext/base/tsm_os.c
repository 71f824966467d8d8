/* tsm_os.c - threads, futex, mutex and event; contract and essay in tsm_os.h. */
#define _GNU_SOURCE
#include "base/tsm_os.h"

#include "base/tsm_assert.h"
#include "base/tsm_clock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if defined(TSM_LINUX)
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#endif

/* --- threads ------------------------------------------------------------------- */

typedef struct {
    void (*fn)(void*);
    void* arg;
} thread_start_t;

static void*
thread_main(void* raw)
{
    thread_start_t start = *(thread_start_t*)raw;
    free(raw);
    start.fn(start.arg);
    return NULL;
}

/* Signals are the main thread's. Linux gives it every signal of the process that it does not
 * block, so there our threads block none: a program that one of them starts (subprocess) would
 * inherit that and be deaf to SIGTERM. */
static void
thread_signals_to_block(sigset_t* set)
{
#ifdef TSM_LINUX
    sigemptyset(set);
#else
    /* Faults are sent to the thread that caused them; blocked, they would kill the
     * program without a word from faulthandler. */
    static const int faults[] = {SIGSEGV, SIGBUS,  SIGFPE, SIGILL,
                                 SIGTRAP, SIGABRT, SIGSYS};
    sigfillset(set);
    for (size_t i = 0; i < TSM_ARRAY_LEN(faults); i++) {
        sigdelset(set, faults[i]);
    }
#endif
}

int
tsm_thread_start(void (*fn)(void*), void* arg, size_t stack_bytes, tsm_os_thread_t* out)
{
    thread_start_t* start = malloc(sizeof(*start));
    if (start == NULL) {
        return -ENOMEM;
    }
    start->fn = fn;
    start->arg = arg;

    pthread_attr_t attr;
    int rc = pthread_attr_init(&attr);
    if (rc != 0) {
        goto fail_start;
    }
    if (stack_bytes != 0) {
        rc = pthread_attr_setstacksize(&attr, stack_bytes);
        if (rc != 0) {
            goto fail_attr;
        }
    }
    /* A new thread inherits its creator's mask. */
    sigset_t blocked, before;
    thread_signals_to_block(&blocked);
    pthread_sigmask(SIG_BLOCK, &blocked, &before);
    rc = pthread_create(&out->handle, &attr, thread_main, start);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0) {
        goto fail_attr;
    }
    pthread_attr_destroy(&attr);
    return 0;

fail_attr:
    pthread_attr_destroy(&attr);
fail_start:
    free(start);
    return -rc;
}

void
tsm_thread_join(tsm_os_thread_t* t)
{
    int rc = pthread_join(t->handle, NULL);
    tsm_check(rc == 0);
}

void
tsm_thread_detach(tsm_os_thread_t* t)
{
    int rc = pthread_detach(t->handle);
    tsm_check(rc == 0);
}

#if defined(TSM_LINUX) && defined(SYS_sched_setattr)
/* struct sched_attr of linux/sched/types.h, which collides with older glibc's sched.h. */
typedef struct {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime_ns, deadline_ns, period_ns;
    uint32_t util_min, util_max;
} sched_attr_t;
#endif

#define RESET_ON_FORK 1u /* SCHED_FLAG_RESET_ON_FORK, which older headers lack */
#define SLICE_PROMPT_NS 200000
#define SLICE_PATIENT_NS 10000000
#define NICE_URGENT (-5) /* three times the share of a thread that computes */

/* Requests; whatever the answer, the thread runs. */
static void
set_schedule(uint64_t slice_ns, bool urgent)
{
#if defined(TSM_LINUX) && defined(SYS_sched_setattr)
    sched_attr_t attr = {0};
    if (syscall(SYS_sched_getattr, 0, &attr, sizeof(attr), 0) != 0 || attr.policy != SCHED_OTHER) {
        return;
    }
    attr.runtime_ns = slice_ns;
    if (urgent && attr.nice == 0) { /* whoever chose another one has a reason */
        sched_attr_t raised = attr;
        raised.nice = NICE_URGENT;
        raised.flags |= RESET_ON_FORK; /* threads and programs that it starts are not */
        if (syscall(SYS_sched_setattr, 0, &raised, 0) == 0) {
            return;
        }
    }
    (void)syscall(SYS_sched_setattr, 0, &attr, 0);
#else
    (void)slice_ns;
    (void)urgent;
#endif
}

void
tsm_thread_be_prompt(void)
{
    set_schedule(SLICE_PROMPT_NS, false);
}

void
tsm_thread_be_patient(void)
{
    set_schedule(SLICE_PATIENT_NS, false);
}

void
tsm_thread_be_urgent(void)
{
    set_schedule(SLICE_PROMPT_NS, true);
}

void
tsm_thread_setname(const char* name)
{
    char cut[16];
    strncpy(cut, name, sizeof(cut) - 1);
    cut[sizeof(cut) - 1] = '\0';
#if defined(TSM_LINUX)
    pthread_setname_np(pthread_self(), cut);
#elif defined(__APPLE__)
    pthread_setname_np(cut);
#endif
}

uint64_t
tsm_gettid(void)
{
#if defined(TSM_LINUX)
    return (uint64_t)syscall(SYS_gettid);
#elif defined(__APPLE__)
    uint64_t id = 0;
    pthread_threadid_np(NULL, &id);
    return id;
#else
    return (uint64_t)(uintptr_t)pthread_self();
#endif
}

int
tsm_ncpu(void)
{
#if defined(TSM_LINUX)
    /* The set's size must be at least the kernel's; grow until it is. */
    for (int cpus = 1024; cpus <= 1 << 16; cpus *= 2) {
        cpu_set_t* set = CPU_ALLOC(cpus);
        if (set == NULL) {
            break;
        }
        size_t bytes = CPU_ALLOC_SIZE(cpus);
        int rc = sched_getaffinity(0, bytes, set);
        int count = rc == 0 ? CPU_COUNT_S(bytes, set) : 0;
        CPU_FREE(set);
        if (count > 0) {
            return count;
        }
    }
#endif
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 && online < INT_MAX ? (int)online : 1;
}

/* --- futex --------------------------------------------------------------------- */

#if defined(TSM_LINUX) && !defined(TSM_FUTEX_PORTABLE)

int
tsm_futex_wait(uint32_t* a, uint32_t expected, int64_t timeout_ns)
{
    struct timespec ts, *timeout = NULL;
    if (timeout_ns >= 0) {
        ts.tv_sec = (time_t)(timeout_ns / (int64_t)TSM_NS_PER_SEC);
        ts.tv_nsec = (long)(timeout_ns % (int64_t)TSM_NS_PER_SEC);
        timeout = &ts;
    }
    long rc = syscall(SYS_futex, a, FUTEX_WAIT_PRIVATE, expected, timeout, NULL, 0);
    if (rc == 0) {
        return 0;
    }
    tsm_check(errno == ETIMEDOUT || errno == EINTR || errno == EAGAIN);
    return -errno;
}

void
tsm_futex_wake(uint32_t* a, int n)
{
    /* The result is of no use: EFAULT only says that the word is gone by now, and with
     * it whoever waited. */
    (void)syscall(SYS_futex, a, FUTEX_WAKE_PRIVATE, n, NULL, NULL, 0);
}

#else

/* Stand-in for systems without futexes: sleepers queue on one of a few condition
 * variables picked by the address. Tested on Linux only (TSM_FUTEX_PORTABLE). */
typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t wakeups;
} futex_bucket_t;

enum { FUTEX_BUCKETS = 64 };

static futex_bucket_t futex_table[FUTEX_BUCKETS];
static pthread_once_t futex_once = PTHREAD_ONCE_INIT;

static void
futex_table_init(void)
{
    for (int i = 0; i < FUTEX_BUCKETS; i++) {
        pthread_mutex_init(&futex_table[i].lock, NULL);
        pthread_cond_init(&futex_table[i].wakeups, NULL);
    }
}

static futex_bucket_t*
futex_bucket(const uint32_t* a)
{
    pthread_once(&futex_once, futex_table_init);
    uint64_t mixed = (uint64_t)(uintptr_t)a * UINT64_C(0x9E3779B97F4A7C15);
    return &futex_table[mixed >> 58];
}

static struct timespec
futex_deadline(int64_t timeout_ns)
{
    /* Portable condition variables wait on the wall clock; a step of it makes one wait
     * too long or too short, which callers see as a spurious or late wake-up. */
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    int64_t sec = timeout_ns / (int64_t)TSM_NS_PER_SEC;
    int64_t nsec = timeout_ns % (int64_t)TSM_NS_PER_SEC + ts.tv_nsec;
    ts.tv_sec += (time_t)(sec + nsec / (int64_t)TSM_NS_PER_SEC);
    ts.tv_nsec = (long)(nsec % (int64_t)TSM_NS_PER_SEC);
    return ts;
}

int
tsm_futex_wait(uint32_t* a, uint32_t expected, int64_t timeout_ns)
{
    futex_bucket_t* b = futex_bucket(a);
    struct timespec deadline = {0, 0};
    if (timeout_ns >= 0) {
        deadline = futex_deadline(timeout_ns);
    }
    int rc = 0;
    pthread_mutex_lock(&b->lock);
    /* relaxed: the bucket's lock orders this look against tsm_futex_wake; the order of
     * the data behind the word is the business of the caller's own atomics. */
    if (tsm_load_relaxed(a) != expected) {
        rc = EAGAIN;
    }
    else if (timeout_ns >= 0) {
        rc = pthread_cond_timedwait(&b->wakeups, &b->lock, &deadline);
    }
    else {
        rc = pthread_cond_wait(&b->wakeups, &b->lock);
    }
    pthread_mutex_unlock(&b->lock);
    return -rc;
}

void
tsm_futex_wake(uint32_t* a, int n)
{
    (void)n; /* several words share a bucket: wake all, the others sleep again */
    futex_bucket_t* b = futex_bucket(a);
    pthread_mutex_lock(&b->lock);
    pthread_cond_broadcast(&b->wakeups);
    pthread_mutex_unlock(&b->lock);
}

#endif

/* --- mutex --------------------------------------------------------------------- */

#ifndef TSM_MODEL

enum { MUTEX_SPINS = 60 };

void
tsm_mutex_lock_slow(tsm_mutex_t* m)
{
    /* Sections are tens of instructions: one short look before the system call. */
    for (int i = 0; i < MUTEX_SPINS; i++) {
        tsm_pause();
        /* relaxed: only a hint; trylock acquires. */
        if (tsm_load_relaxed(&m->a_state) == 0 && tsm_mutex_trylock(m)) {
            return;
        }
    }
    /* acquire: pairs with tsm_mutex_unlock, as in trylock. From here on the state is 2:
     * whoever unlocks must wake, because others may sleep behind us. */
    while (tsm_swap_acq_rel(&m->a_state, 2) != 0) {
        tsm_futex_wait(&m->a_state, 2, TSM_WAIT_FOREVER);
    }
}

void
tsm_mutex_unlock_slow(tsm_mutex_t* m)
{
    tsm_futex_wake(&m->a_state, 1);
}

/* --- event --------------------------------------------------------------------- */

void
tsm_event_set(tsm_event_t* e)
{
    /* release: pairs with event_consume: what the setter wrote before.
     * (acquire is not needed; the order exists only as acq_rel.) */
    if (tsm_swap_acq_rel(&e->a_state, 1) == 2) {
        tsm_futex_wake(&e->a_state, 1);
    }
}

static bool
event_consume(tsm_event_t* e)
{
    uint32_t seen = 1;
    /* acquire: pairs with tsm_event_set: what the setter wrote before. */
    return tsm_cas_acq_rel(&e->a_state, &seen, 0);
}

int
tsm_event_wait(tsm_event_t* e, int64_t timeout_ns)
{
    uint64_t deadline_ns = 0;
    if (timeout_ns > 0) {
        deadline_ns = tsm_now_ns() + (uint64_t)timeout_ns;
    }
    for (;;) {
        if (event_consume(e)) {
            return 0;
        }
        if (timeout_ns == 0) {
            return -ETIMEDOUT;
        }
        uint32_t seen = 0;
        /* relaxed would do: 2 only asks the setter for a wake call. A failure means 1
         * (consumed above next time round) or 2 (left from a spurious wake-up). */
        (void)tsm_cas_acq_rel(&e->a_state, &seen, 2);
        int rc = 0;
        if (seen != 1) {
            rc = tsm_futex_wait(&e->a_state, 2, timeout_ns);
        }
        if (event_consume(e)) {
            return 0;
        }
        if (rc == -ETIMEDOUT || rc == -EINTR) {
            uint32_t asleep = 2;
            /* Take the request for a wake back. Failure: set meanwhile, consume it.
             * acquire on failure and in event_consume: pairs with tsm_event_set. */
            if (tsm_cas_acq_rel(&e->a_state, &asleep, 0) || !event_consume(e)) {
                return rc;
            }
            return 0;
        }
        if (timeout_ns > 0) {
            uint64_t now_ns = tsm_now_ns();
            timeout_ns = now_ns < deadline_ns ? (int64_t)(deadline_ns - now_ns) : 0;
        }
    }
}

void
tsm_backoff(uint32_t turn)
{
    tsm_event_t never = {0};
    if (turn < 64) {
        tsm_pause();
    } else {
        (void)tsm_event_wait(&never, 50000);
    }
}

#endif /* TSM_MODEL */

uint64_t
tsm_thread_cpu_ns(tsm_os_thread_t* t)
{
#ifdef __linux__
    clockid_t clock;
    struct timespec ts;
    if (pthread_getcpuclockid(t->handle, &clock) == 0 && clock_gettime(clock, &ts) == 0) {
        return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
    }
#else
    (void)t;
#endif
    return 0;
}

bool
tsm_thread_sleeps(uint64_t tid)
{
#ifdef __linux__
    char path[64], text[256];
    (void)snprintf(path, sizeof(path), "/proc/self/task/%llu/stat", (unsigned long long)tid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t n = read(fd, text, sizeof(text) - 1);
        (void)close(fd);
        text[n > 0 ? n : 0] = '\0';
        const char* name_end = strrchr(text, ')'); /* "42 (a name) R ..." */
        if (name_end != NULL && name_end[1] == ' ') {
            return name_end[2] != 'R';
        }
    }
#else
    (void)tid;
#endif
    return true;
}

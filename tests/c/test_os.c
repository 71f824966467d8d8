/* test_os.c - threads, futex, mutex, event; built a second time with the pthread futex. */
#define _GNU_SOURCE
#include "base/tsm_os.h"

#include "base/tsm_clock.h"
#include "threads.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>

#define MS INT64_C(1000000)

CASE(clock_goes_forward)
{
    uint64_t last = tsm_now_ns();
    for (int i = 0; i < 1000; i++) {
        uint64_t now = tsm_now_ns();
        CHECK(now >= last);
        last = now;
    }
}

CASE(ncpu_respects_affinity)
{
    CHECK(tsm_ncpu() >= 1);
    cpu_set_t all, one;
    CHECK(sched_getaffinity(0, sizeof(all), &all) == 0);
    int cpu = 0;
    while (!CPU_ISSET(cpu, &all)) {
        cpu++;
    }
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    CHECK(sched_setaffinity(0, sizeof(one), &one) == 0);
    CHECK(tsm_ncpu() == 1);
}

/* --- threads ------------------------------------------------------------------- */

static uint64_t thread_tid;
static sigset_t thread_mask;
static char thread_name[32];

static void
look_around(int idx)
{
    (void)idx;
    thread_tid = tsm_gettid();
    pthread_sigmask(SIG_SETMASK, NULL, &thread_mask);
    tsm_thread_setname("a name that is too long");
    pthread_getname_np(pthread_self(), thread_name, sizeof(thread_name));
}

CASE(threads_leave_signals_to_the_main_thread_but_not_faults)
{
    threads_start(0, 1, look_around);
    threads_join(0, 1);
    CHECK(thread_tid != 0 && thread_tid != tsm_gettid());
#ifdef TSM_LINUX /* which prefers it by itself */
    CHECK(!sigismember(&thread_mask, SIGINT) && !sigismember(&thread_mask, SIGTERM));
#else
    CHECK(sigismember(&thread_mask, SIGINT) && sigismember(&thread_mask, SIGTERM));
#endif
    CHECK(!sigismember(&thread_mask, SIGSEGV) && !sigismember(&thread_mask, SIGABRT));
    CHECK(strcmp(thread_name, "a name that is ") == 0);
    sigset_t mine;
    pthread_sigmask(SIG_SETMASK, NULL, &mine);
    CHECK(!sigismember(&mine, SIGINT));
}

static void
nothing(void* unused)
{
    (void)unused;
}

CASE(bad_stack_size_is_an_error)
{
    tsm_os_thread_t t;
    CHECK(tsm_thread_start(nothing, NULL, 1, &t) == -EINVAL);
    CHECK(tsm_thread_start(nothing, NULL, 1 << 18, &t) == 0);
    tsm_thread_detach(&t);
}

/* --- futex and mutex ------------------------------------------------------------ */

CASE(futex_results)
{
    uint32_t word = 1;
    CHECK(tsm_futex_wait(&word, 2, TSM_WAIT_FOREVER) == -EAGAIN);
    uint64_t before = tsm_now_ns();
    CHECK(tsm_futex_wait(&word, 1, 20 * MS) == -ETIMEDOUT);
    CHECK(tsm_now_ns() - before >= 19 * (uint64_t)MS);
    tsm_futex_wake(&word, 1);
}

static tsm_mutex_t lock;
static uint64_t counter;

static void
count_up(int idx)
{
    (void)idx;
    for (int i = 0; i < ROUNDS(200000); i++) {
        tsm_mutex_lock(&lock);
        counter++;
        tsm_mutex_unlock(&lock);
    }
}

CASE(mutex_excludes)
{
    threads_start(0, 4, count_up);
    threads_join(0, 4);
    CHECK(counter == 4 * (uint64_t)ROUNDS(200000));
    CHECK(tsm_mutex_trylock(&lock) && !tsm_mutex_trylock(&lock));
    tsm_mutex_unlock(&lock);
    CHECK(lock.a_state == 0);
}

static void
lock_and_count(int idx)
{
    (void)idx;
    tsm_mutex_lock(&lock);
    counter++;
    tsm_mutex_unlock(&lock);
}

CASE(mutex_wakes_all_sleepers_in_turn)
{
    tsm_mutex_lock(&lock);
    threads_start(0, 4, lock_and_count);
    usleep(50000);
    CHECK(counter == 0);
    tsm_mutex_unlock(&lock);
    threads_join(0, 4);
    CHECK(counter == 4);
}

/* --- event ----------------------------------------------------------------------- */

static tsm_event_t ping, pong;

CASE(event_set_before_wait_is_kept_once)
{
    tsm_event_set(&ping);
    tsm_event_set(&ping);
    CHECK(tsm_event_wait(&ping, TSM_WAIT_FOREVER) == 0);
    CHECK(tsm_event_wait(&ping, 0) == -ETIMEDOUT);
}

CASE(event_times_out)
{
    uint64_t before = tsm_now_ns();
    CHECK(tsm_event_wait(&ping, 20 * MS) == -ETIMEDOUT);
    uint64_t took = tsm_now_ns() - before;
    CHECK(took >= 19 * (uint64_t)MS && took < 2000 * (uint64_t)MS);
    CHECK(ping.a_state == 0);
    tsm_event_set(&ping);
    CHECK(tsm_event_wait(&ping, 0) == 0);
}

static void
answer(int idx)
{
    (void)idx;
    for (int i = 0; i < ROUNDS(20000); i++) {
        CHECK(tsm_event_wait(&ping, TSM_WAIT_FOREVER) == 0);
        counter++; /* ordered by the two events alone: TSan checks it */
        tsm_event_set(&pong);
    }
}

CASE(event_ping_pong_orders_plain_data)
{
    threads_start(0, 1, answer);
    for (int i = 0; i < ROUNDS(20000); i++) {
        CHECK(counter == (uint64_t)i);
        tsm_event_set(&ping);
        CHECK(tsm_event_wait(&pong, TSM_WAIT_FOREVER) == 0);
    }
    threads_join(0, 1);
}

static void
set_often(int idx)
{
    (void)idx;
    for (int i = 0; i < ROUNDS(20000); i++) {
        tsm_event_set(&ping);
        /* acq_rel: any order; a count. */
        tsm_add_acq_rel(&counter, 1);
    }
}

CASE(event_short_timeouts_lose_no_set)
{
    threads_start(0, 2, set_often);
    /* Every set that is not merged into a later one must be seen: the last one is. */
    /* acquire: any order; a count. */
    while (tsm_load_acquire(&counter) < 2 * (uint64_t)ROUNDS(20000)) {
        (void)tsm_event_wait(&ping, 1000);
    }
    threads_join(0, 2);
    tsm_event_set(&ping);
    CHECK(tsm_event_wait(&ping, TSM_WAIT_FOREVER) == 0);
    CHECK(tsm_event_wait(&ping, 0) == -ETIMEDOUT);
}

#ifndef TSM_FUTEX_PORTABLE

static void
on_signal(int sig)
{
    (void)sig;
}

static uint64_t sleeper_tid;

static void
sleep_on_ping(int idx)
{
    (void)idx;
    __atomic_store_n(&sleeper_tid, tsm_gettid(), __ATOMIC_RELEASE); /* pairs with the case. */
    CHECK(tsm_event_wait(&ping, TSM_WAIT_FOREVER) == 0);
}

CASE(a_sleeping_thread_is_told_from_a_running_one)
{
    CHECK(!tsm_thread_sleeps(tsm_gettid()));
    threads_start(0, 1, sleep_on_ping);
    uint64_t tid;
    while ((tid = __atomic_load_n(&sleeper_tid, __ATOMIC_ACQUIRE)) == 0 || !tsm_thread_sleeps(tid)) {
        sched_yield();
    }
    tsm_event_set(&ping);
    threads_join(0, 1);
}

CASE(event_reports_interruption)
{
    struct sigaction sa = {.sa_handler = on_signal};
    sigaction(SIGUSR1, &sa, NULL);
    timer_t timer;
    struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    struct itimerspec in_20_ms = {.it_value = {0, 20 * MS}, .it_interval = {0, 20 * MS}};
    CHECK(timer_create(CLOCK_MONOTONIC, &ev, &timer) == 0);
    CHECK(timer_settime(timer, 0, &in_20_ms, NULL) == 0);
    CHECK(tsm_event_wait(&ping, TSM_WAIT_FOREVER) == -EINTR);
    timer_delete(timer);
    tsm_event_set(&ping);
    CHECK(tsm_event_wait(&ping, TSM_WAIT_FOREVER) == 0);
}

#endif

HARNESS_MAIN

/* threads.h - start n threads on fn(index), wait for all; shared by the stress cases. */
#ifndef TSM_TEST_THREADS_H
#define TSM_TEST_THREADS_H

#include "base/tsm_os.h"
#include "harness.h"

#include <sched.h>

enum { THREADS_MAX = 16 };

typedef struct {
    void (*fn)(int);
    int idx;
    tsm_os_thread_t thread;
} test_thread_t;

static test_thread_t test_threads[THREADS_MAX];

/* One turn of a waiting loop: spins at first, then lets others run, because the machine may
 * have fewer free cores than the test has threads. */
static inline void
spin(uint32_t* turns)
{
    if (++*turns % 256 == 0) {
        sched_yield();
    }
    else {
        tsm_pause();
    }
}

static inline void
test_thread_main(void* raw)
{
    test_thread_t* t = raw;
    t->fn(t->idx);
}

static inline void
threads_start(int first, int n, void (*fn)(int))
{
    for (int i = first; i < first + n; i++) {
        test_threads[i].fn = fn;
        test_threads[i].idx = i;
        CHECK(tsm_thread_start(test_thread_main, &test_threads[i], 0,
                               &test_threads[i].thread) == 0);
    }
}

static inline void
threads_join(int first, int n)
{
    for (int i = first; i < first + n; i++) {
        tsm_thread_join(&test_threads[i].thread);
    }
}

#endif

/* bench_native.c - nanoseconds of what a message, a timer or a wake-up is made of.
 * Best of several rounds, one thread, warm caches: a floor, not a promise. The last
 * lines compare the inbox under contention with the queue it was preferred to. */
#include "base/tsm_clock.h"
#include "base/tsm_rand.h"
#include "mem/tsm_hmap.h"
#include "mem/tsm_pool.h"
#include "queue/tsm_inbox.h"
#include "queue/tsm_inject.h"
#include "queue/tsm_runq.h"
#include "sched/tsm_idle.h"
#include "threads.h"
#include "timer/tsm_wheel.h"

enum { N = 1000000, BEST_OF = 7 };

/* The compiler must assume that *p is used. */
#define USED(p) __asm__ volatile("" : : "r"(p) : "memory")

#define BENCH(what, count, body) BENCH_EACH(what, count, 1, body)

/* One turn of body does `each` of what is measured. */
#define BENCH_EACH(what, count, each, body)                                   \
    do {                                                                      \
        double best = 1e9;                                                    \
        for (int round = 0; round < BEST_OF; round++) {                       \
            uint64_t start = tsm_now_ns();                                    \
            for (int i = 0; i < (count); i++) {                               \
                body;                                                         \
            }                                                                 \
            double ns = (double)(tsm_now_ns() - start) / (count) / (each);    \
            best = ns < best ? ns : best;                                     \
        }                                                                     \
        printf("%-52s %8.1f ns\n", what, best);                               \
    } while (0)

static tsm_mutex_t lock;
static tsm_inbox_t inbox TSM_ALIGNED(TSM_CACHELINE);
static tsm_inject_t inject;
static tsm_runq_t runq, solo_runq, thief;
static tsm_wheel_t wheel;
static tsm_idle_t idle;
static tsm_node_t nodes[1024];

static void
bench_base(void)
{
    BENCH("clock: tsm_now_ns", N, USED(tsm_now_ns()));
    BENCH("mutex: lock + unlock, free", N, {
        tsm_mutex_lock(&lock);
        tsm_mutex_unlock(&lock);
    });
    BENCH("fence: light", N, tsm_fence_light());
    BENCH("fence: heavy (membarrier)", N / 100, tsm_fence_heavy());
}

static void
bench_pool(void)
{
    BENCH("pool: alloc + free, 48 bytes", N, {
        void* p = tsm_alloc(48);
        USED(p);
        tsm_free(p, 48);
    });
    BENCH("pool: malloc + free for comparison, 48 bytes", N, {
        void* p = malloc(48);
        USED(p);
        free(p);
    });
    static void* held[1000];
    BENCH_EACH("pool: 1000 allocs, then 1000 frees; per pair", N / 1000, 1000, {
        for (int k = 0; k < 1000; k++) {
            held[k] = tsm_alloc(48);
        }
        for (int k = 0; k < 1000; k++) {
            tsm_free(held[k], 48);
        }
    });
}

static void
bench_queues(void)
{
    BENCH("inbox: push + take", N, {
        USED(tsm_inbox_push_any(&inbox, &nodes[0]));
        USED(tsm_inbox_take_owner(&inbox));
    });
    BENCH("inbox: sleep + push that wakes + take", N, {
        USED(tsm_inbox_sleep_owner(&inbox));
        USED(tsm_inbox_push_any(&inbox, &nodes[0]));
        USED(tsm_inbox_take_owner(&inbox));
    });
    BENCH("runq: push + pop", N, {
        USED(tsm_runq_push_owner(&runq, &nodes[0]));
        USED(tsm_runq_pop_owner(&runq));
    });
    BENCH("runq: push + pop, one slot (solo)", N, {
        USED(tsm_runq_push_owner(&solo_runq, &nodes[0]));
        USED(tsm_runq_pop_owner(&solo_runq));
    });
    BENCH_EACH("runq: push 64, steal half, pop all; per item", N / 64, 64, {
        for (int k = 0; k < 64; k++) {
            USED(tsm_runq_push_owner(&runq, &nodes[k]));
        }
        USED(tsm_runq_steal_any(&thief, &runq));
        while (tsm_runq_pop_owner(&thief) != NULL || tsm_runq_pop_owner(&runq) != NULL) {
        }
    });
    BENCH("inject: push + pop", N, {
        tsm_inject_push_any(&inject, &nodes[0]);
        USED(tsm_inject_pop_any(&inject));
    });
    BENCH("idle: wake_any, nobody sleeps", N, USED((intptr_t)tsm_idle_wake_any(&idle)));
    BENCH("idle: wake_any, takes a sleeper + sleep_begin", N / 100, {
        bool again = tsm_idle_sleep_begin(&idle, 1, i != 0);
        USED(&again);
        USED((intptr_t)tsm_idle_wake_any(&idle));
    });
}

static void
bench_wheel(void)
{
    static tsm_timer_t background[10000];
    tsm_timer_t t;
    tsm_rand_t r;
    uint64_t id = 1;
    tsm_rand_init(&r, 1);
    tsm_wheel_init(&wheel, 0);
    BENCH("wheel: set + cancel, otherwise empty", N, {
        tsm_timer_init(&t, ++id, 0);
        USED((intptr_t)tsm_wheel_set_any(&wheel, &t, 5000));
        USED((intptr_t)tsm_wheel_cancel_any(&wheel, &t, id, NULL));
    });
    for (int k = 0; k < 10000; k++) {
        tsm_timer_init(&background[k], ++id, 0);
        tsm_wheel_set_any(&wheel, &background[k], 1 + tsm_rand_below(&r, 100000));
    }
    BENCH("wheel: set + cancel, 10,000 armed", N, {
        tsm_timer_init(&t, ++id, 0);
        USED((intptr_t)tsm_wheel_set_any(&wheel, &t, 5000 + (uint64_t)i % 60000));
        USED((intptr_t)tsm_wheel_cancel_any(&wheel, &t, id, NULL));
    });
    uint64_t start = tsm_now_ns();
    for (uint64_t now = 0; now <= 100001; now++) {
        tsm_wheel_expire_any(&wheel, now);
    }
    printf("%-52s %8.1f ns\n", "wheel: 100,000 ticks that fire 10,000; per tick",
           (double)(tsm_now_ns() - start) / 1e5);
}

static void
bench_hmap(void)
{
    static tsm_hnode_t few[4], many[1000];
    tsm_hmap_t m;
    tsm_hmap_init(&m);
    for (uint64_t i = 0; i < 4; i++) {
        few[i].key = i;
        tsm_hmap_insert(&m, &few[i]);
    }
    tsm_hnode_t n = {.key = 99};
    BENCH("hmap: insert + find + remove beside 4 others", N, {
        tsm_hmap_insert(&m, &n);
        USED(tsm_hmap_find(&m, 0, 99));
        USED(tsm_hmap_remove(&m, 0, 99));
    });
    for (uint64_t i = 0; i < 1000; i++) {
        many[i].key = 1000 + i;
        tsm_hmap_insert(&m, &many[i]);
    }
    BENCH("hmap: insert + find + remove beside 1,004 others", N, {
        tsm_hmap_insert(&m, &n);
        USED(tsm_hmap_find(&m, 0, 99));
        USED(tsm_hmap_remove(&m, 0, 99));
    });
}

static tsm_event_t ping, pong;

static void
answer(int unused)
{
    (void)unused;
    for (int i = 0; i < N / 50; i++) {
        tsm_event_wait(&ping, TSM_WAIT_FOREVER);
        tsm_event_set(&pong);
    }
}

static void
bench_event(void)
{
    uint64_t start = tsm_now_ns();
    threads_start(0, 1, answer);
    for (int i = 0; i < N / 50; i++) {
        tsm_event_set(&ping);
        tsm_event_wait(&pong, TSM_WAIT_FOREVER);
    }
    threads_join(0, 1);
    printf("%-52s %8.1f ns\n", "event: round trip of two threads",
           (double)(tsm_now_ns() - start) / (N / 50));
}

/* --- fan-in: 4 senders, 1 receiver ------------------------------------------------------ */

enum { SENDERS = 4, EACH = 500000 };

typedef struct vnode {
    struct vnode* a_next;
} vnode_t;

static struct {
    vnode_t* a_head TSM_ALIGNED(TSM_CACHELINE);
    vnode_t* tail TSM_ALIGNED(TSM_CACHELINE);
    vnode_t stub;
} vyukov;

static void
send_inbox(int unused)
{
    (void)unused;
    for (int i = 0; i < EACH; i++) {
        tsm_node_t* n = tsm_alloc(48);
        USED(tsm_inbox_push_any(&inbox, n));
    }
}

static void
send_vyukov(int unused)
{
    (void)unused;
    for (int i = 0; i < EACH; i++) {
        vnode_t* n = tsm_alloc(48);
        /* Orders as argued in 1024cores, "intrusive MPSC node-based queue". */
        tsm_store_relaxed(&n->a_next, NULL);
        vnode_t* prev = tsm_swap_acq_rel(&vyukov.a_head, n);
        tsm_store_release(&prev->a_next, n);
    }
}

static void
bench_fan_in(void)
{
    uint64_t start = tsm_now_ns();
    threads_start(0, SENDERS, send_inbox);
    for (int left = SENDERS * EACH; left > 0;) {
        for (tsm_node_t *n = tsm_inbox_take_owner(&inbox), *next; n != NULL; n = next) {
            next = n->next;
            tsm_free(n, 48);
            left--;
        }
    }
    threads_join(0, SENDERS);
    printf("%-52s %8.1f ns\n", "fan-in of 4 senders, inbox; per message",
           (double)(tsm_now_ns() - start) / (SENDERS * EACH));

    vyukov.a_head = vyukov.tail = &vyukov.stub;
    start = tsm_now_ns();
    threads_start(0, SENDERS, send_vyukov);
    for (int left = SENDERS * EACH; left > 0;) {
        vnode_t* tail = vyukov.tail;
        /* acquire: pairs with the release store of send_vyukov. */
        vnode_t* next = tsm_load_acquire(&tail->a_next);
        if (next != NULL) {
            vyukov.tail = next;
            if (tail != &vyukov.stub) {
                tsm_free(tail, 48);
            }
            left--;
        }
    }
    threads_join(0, SENDERS);
    printf("%-52s %8.1f ns\n", "fan-in of 4 senders, Vyukov's queue; per message",
           (double)(tsm_now_ns() - start) / (SENDERS * EACH));
}

int
main(void)
{
    tsm_fence_init();
    tsm_runq_init(&runq, false);
    tsm_runq_init(&thief, false);
    tsm_runq_init(&solo_runq, true);
    tsm_inject_init(&inject);
    tsm_idle_init(&idle, 2);
    printf("membarrier: %s; cores: %d\n", tsm_fence_expedited ? "yes" : "no", tsm_ncpu());
    bench_base();
    bench_pool();
    bench_queues();
    bench_hmap();
    bench_wheel();
    bench_event();
    bench_fan_in();
    return 0;
}

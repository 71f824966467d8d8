/* explorer.c - fibers, store buffers and the depth-first search; see explorer.h. */
#include "explorer.h"

#include "base/tsm_assert.h"
#include "base/tsm_os.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

enum {
    STACK_BYTES = 64 * 1024,
    CHOICES_MAX = 4096,
    BUFFER_MAX = 64,
    STEPS_MAX = 2000, /* more in one schedule: it spins for ever */
    MODELS_MAX = 16,
    DEFAULT_BOUND = 2,
    MAIN = -1,
};

typedef struct {
    volatile void* p;
    size_t bytes;
    uint64_t v;
    bool release;
} store_t;

typedef enum { READY, LOCK_WAIT, PARKED, DONE } fiber_state_t;

typedef struct {
    ucontext_t context;
    fiber_state_t state;
    const uint32_t* waits_for; /* lock or event */
    store_t buffer[BUFFER_MAX];
    int stores;
} fiber_t;

static const model_t* models[MODELS_MAX];
static int model_count;

static const model_t* model; /* being explored */
static fiber_t fibers[MODEL_THREADS_MAX];
static char stacks[MODEL_THREADS_MAX][STACK_BYTES] __attribute__((aligned(64)));
static int fiber_count;
static int current = MAIN;
static ucontext_t main_context;

/* The schedule: choice i took `taken` out of `offered`. */
static struct {
    unsigned taken, offered;
} choices[CHOICES_MAX];
static int choice_idx, choice_count;
static int preemptions_left, stale_left, steps;

static bool failed, tracing;
static char failure[256];

bool tsm_fence_expedited = true;

/* --- choices -------------------------------------------------------------------- */

unsigned
model_choose(unsigned n)
{
    if (n <= 1) {
        return 0;
    }
    if (choice_idx == choice_count) {
        if (choice_count == CHOICES_MAX) {
            model_fail("too many choices in one schedule", "explorer");
        }
        choices[choice_count].taken = 0;
        choices[choice_count++].offered = n;
    }
    if (choices[choice_idx].offered != n) {
        fprintf(stderr, "explorer: the model is not deterministic\n");
        exit(2);
    }
    return choices[choice_idx++].taken;
}

/* Set up the next schedule of the depth-first search; false: that was the last. */
static bool
next_schedule(void)
{
    while (choice_count > 0) {
        if (++choices[choice_count - 1].taken < choices[choice_count - 1].offered) {
            return true;
        }
        choice_count--;
    }
    return false;
}

static void TSM_PRINTF(2, 3)
trace(const char* where, const char* fmt, ...)
{
    if (!tracing || current == MAIN) {
        return;
    }
    va_list args;
    va_start(args, fmt);
    fprintf(stderr, "    T%d  ", current);
    vfprintf(stderr, fmt, args);
    fprintf(stderr, "  %s\n", where);
    va_end(args);
}

/* --- switching ------------------------------------------------------------------- */

static void
switch_to(int next)
{
    int before = current;
    if (next == before) {
        return;
    }
    current = next;
    ucontext_t* from = before == MAIN ? &main_context : &fibers[before].context;
    ucontext_t* to = next == MAIN ? &main_context : &fibers[next].context;
    if (swapcontext(from, to) != 0) {
        abort();
    }
}

/* Somebody else must go on, at no cost; nobody can: the schedule is over. */
static void
switch_away(void)
{
    int ready[MODEL_THREADS_MAX], n = 0;
    for (int i = 0; i < fiber_count; i++) {
        if (fibers[i].state == READY) {
            ready[n++] = i;
        }
    }
    switch_to(n == 0 ? MAIN : ready[model_choose((unsigned)n)]);
}

/* Before each operation on shared memory: go on, or let another go first. */
static void
yield_point(void)
{
    if (current == MAIN) {
        return;
    }
    if (++steps > STEPS_MAX) {
        model_fail("does not come to an end", "explorer");
    }
    if (preemptions_left == 0) {
        return;
    }
    int ready[MODEL_THREADS_MAX] = {current}, n = 1;
    for (int i = 0; i < fiber_count; i++) {
        if (i != current && fibers[i].state == READY) {
            ready[n++] = i;
        }
    }
    unsigned k = model_choose((unsigned)n);
    if (k != 0) {
        preemptions_left--;
        switch_to(ready[k]);
    }
}

static void
wait_for(fiber_state_t state, const uint32_t* word)
{
    fibers[current].state = state;
    fibers[current].waits_for = word;
    switch_away();
}

static void
make_ready(fiber_state_t state, const uint32_t* word)
{
    for (int i = 0; i < fiber_count; i++) {
        if (fibers[i].state == state && fibers[i].waits_for == word) {
            fibers[i].state = READY;
        }
    }
}

void
model_fail(const char* what, const char* where)
{
    failed = true;
    snprintf(failure, sizeof(failure), "%s (%s)", what, where);
    if (current != MAIN) {
        switch_to(MAIN);
    }
    fprintf(stderr, "FAILED: %s\n", failure);
    exit(2); /* only from setup; finish is run as a fiber */
}

void
tsm_fatal(const char* fmt, ...)
{
    char text[200];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    model_fail(text, "tsm_fatal");
}

/* --- memory ------------------------------------------------------------------------ */

static uint64_t
raw_load(const volatile void* p, size_t bytes)
{
    uint64_t v = 0;
    memcpy(&v, (const void*)(uintptr_t)p, bytes); /* little endian, like our hosts */
    return v;
}

static void
raw_store(volatile void* p, size_t bytes, uint64_t v)
{
    memcpy((void*)(uintptr_t)p, &v, bytes);
}

/* Entry i of f's buffer arrives in memory, after those that must arrive before it. */
static void
drain_entry(fiber_t* f, int i)
{
    store_t s = f->buffer[i];
    for (int k = 0; k < i;) {
        if (s.release || f->buffer[k].p == s.p) {
            drain_entry(f, k);
            i--;
        }
        else {
            k++;
        }
    }
    raw_store(s.p, s.bytes, s.v);
    f->stores--;
    memmove(&f->buffer[i], &f->buffer[i + 1], sizeof(store_t) * (size_t)(f->stores - i));
}

static void
drain_all(fiber_t* f)
{
    while (f->stores > 0) {
        drain_entry(f, 0);
    }
}

static int
find_entry(const fiber_t* f, const volatile void* p)
{
    for (int i = 0; i < f->stores; i++) {
        if (f->buffer[i].p == p) {
            return i;
        }
    }
    return -1;
}

/* The current thread looks at p: what others stored there may or may not be there yet. */
static void
let_arrive(const volatile void* p)
{
    for (int u = 0; u < fiber_count; u++) {
        for (int i; u != current && (i = find_entry(&fibers[u], p)) >= 0;) {
            if (stale_left > 0 && model_choose(2) == 1) {
                stale_left--;
                trace("", "(T%d's store to %p has not arrived)", u, (const void*)(uintptr_t)p);
                break;
            }
            drain_entry(&fibers[u], i);
        }
    }
}

uint64_t
model_load(const volatile void* p, size_t bytes, model_order_t order, const char* where)
{
    yield_point();
    uint64_t v;
    int newest = -1;
    if (current != MAIN) {
        fiber_t* f = &fibers[current];
        if (order == MODEL_SC) {
            drain_all(f);
        }
        for (int i = 0; i < f->stores; i++) {
            newest = f->buffer[i].p == p ? i : newest;
        }
        if (newest < 0) {
            let_arrive(p);
        }
    }
    v = newest >= 0 ? fibers[current].buffer[newest].v : raw_load(p, bytes);
    trace(where, "load  %p -> %#llx", (const void*)(uintptr_t)p, (unsigned long long)v);
    return v;
}

void
model_store(volatile void* p, size_t bytes, uint64_t v, model_order_t order,
            const char* where)
{
    yield_point();
    trace(where, "store %p <- %#llx", (void*)(uintptr_t)p, (unsigned long long)v);
    if (current == MAIN) {
        raw_store(p, bytes, v);
        return;
    }
    fiber_t* f = &fibers[current];
    if (f->stores == BUFFER_MAX) {
        drain_entry(f, 0);
    }
    f->buffer[f->stores++] =
        (store_t){.p = p, .bytes = bytes, .v = v, .release = order == MODEL_RELEASE};
    if (order == MODEL_SC) {
        drain_all(f);
    }
}

/* Before a read-modify-write of p: the newest value is in memory. */
static void
own_the_word(volatile void* p, model_order_t order)
{
    yield_point();
    if (current == MAIN) {
        return;
    }
    fiber_t* f = &fibers[current];
    if (order != MODEL_RELAXED) {
        drain_all(f);
    }
    for (int i; (i = find_entry(f, p)) >= 0;) {
        drain_entry(f, i);
    }
    let_arrive(p);
}

uint64_t
model_rmw(volatile void* p, size_t bytes, model_rmw_t op, uint64_t v, model_order_t order,
          const char* where)
{
    own_the_word(p, order);
    uint64_t old = raw_load(p, bytes);
    uint64_t new = op == MODEL_SWAP  ? v
                   : op == MODEL_ADD ? old + v
                   : op == MODEL_SUB ? old - v
                   : op == MODEL_OR  ? (old | v)
                                     : (old & v);
    raw_store(p, bytes, new);
    trace(where, "rmw   %p: %#llx, operand %#llx", (void*)(uintptr_t)p,
          (unsigned long long)old, (unsigned long long)v);
    return old;
}

bool
model_cas(volatile void* p, size_t bytes, void* expected, uint64_t v, model_order_t order,
          const char* where)
{
    own_the_word(p, order);
    uint64_t old = raw_load(p, bytes);
    bool same = old == raw_load(expected, bytes);
    if (same) {
        raw_store(p, bytes, v);
    }
    else {
        raw_store(expected, bytes, old);
    }
    trace(where, "cas   %p: %#llx, new %#llx: %s", (void*)(uintptr_t)p,
          (unsigned long long)old, (unsigned long long)v, same ? "done" : "differs");
    return same;
}

void
model_fence(bool all_threads, const char* where)
{
    yield_point();
    trace(where, all_threads ? "fence, all threads" : "fence");
    for (int i = 0; i < fiber_count; i++) {
        if (all_threads || i == current) {
            drain_all(&fibers[i]);
        }
    }
}

/* --- locks and events ---------------------------------------------------------------- */

bool
model_trylock(uint32_t* m, const char* where)
{
    yield_point();
    bool got = *m == 0;
    trace(where, "trylock %p: %s", (void*)m, got ? "taken" : "held by another");
    *m = 1;
    return got;
}

void
model_lock(uint32_t* m, const char* where)
{
    yield_point();
    while (*m != 0) {
        trace(where, "lock  %p: waits", (void*)m);
        wait_for(LOCK_WAIT, m);
    }
    trace(where, "lock  %p", (void*)m);
    *m = 1;
}

void
model_unlock(uint32_t* m, const char* where)
{
    yield_point();
    if (*m != 1) {
        model_fail("unlock of a free lock", where);
    }
    trace(where, "unlock %p", (void*)m);
    if (current != MAIN) {
        drain_all(&fibers[current]);
    }
    *m = 0;
    make_ready(LOCK_WAIT, m);
}

void
tsm_event_set(tsm_event_t* e)
{
    yield_point();
    trace("", "set   event %p", (void*)e);
    if (current != MAIN) {
        drain_all(&fibers[current]);
    }
    e->a_state = 1;
    make_ready(PARKED, &e->a_state);
}

int
tsm_event_wait(tsm_event_t* e, int64_t timeout_ns)
{
    yield_point();
    while (e->a_state == 0) {
        if (timeout_ns >= 0) {
            return -ETIMEDOUT; /* the model chooses by its argument */
        }
        trace("", "park  on event %p", (void*)e);
        wait_for(PARKED, &e->a_state);
    }
    trace("", "woken by event %p", (void*)e);
    e->a_state = 0;
    return 0;
}

bool
model_is_parked(int thread)
{
    return fibers[thread].state == PARKED;
}

/* --- the search ------------------------------------------------------------------------ */

static void
fiber_main(int i)
{
    model->threads[i]();
    fibers[i].state = DONE;
    switch_away();
    abort(); /* nobody switches to a finished fiber */
}

static void
start_fibers(void)
{
    fiber_count = 0;
    while (fiber_count < MODEL_THREADS_MAX && model->threads[fiber_count] != NULL) {
        fiber_t* f = &fibers[fiber_count];
        f->state = READY;
        f->stores = 0;
        getcontext(&f->context);
        f->context.uc_stack.ss_sp = stacks[fiber_count];
        f->context.uc_stack.ss_size = STACK_BYTES;
        f->context.uc_link = NULL;
        makecontext(&f->context, (void (*)(void))(uintptr_t)fiber_main, 1, fiber_count);
        fiber_count++;
    }
}

static void
finish_main(void)
{
    model->finish();
    switch_to(MAIN);
}

static void
check_end(void)
{
    for (int i = 0; i < fiber_count; i++) {
        if (fibers[i].state == LOCK_WAIT) {
            failed = true;
            snprintf(failure, sizeof(failure), "deadlock: thread %d waits for a lock", i);
            return;
        }
        drain_all(&fibers[i]);
    }
    /* On a fiber of its own, so that model_fail can leave it; a spare context: the threads'
     * states must stay as they are for model_is_parked. */
    ucontext_t keep = fibers[0].context;
    fibers[0].context.uc_stack.ss_sp = stacks[0];
    preemptions_left = 0;
    stale_left = 0;
    makecontext(&fibers[0].context, finish_main, 0);
    switch_to(0);
    fibers[0].context = keep;
}

static int
bound_of(const char* variable, int given)
{
    const char* text = getenv(variable);
    return text != NULL ? atoi(text) : given > 0 ? given : DEFAULT_BOUND;
}

static void
run_once(void)
{
    choice_idx = 0;
    steps = 0;
    failed = false;
    preemptions_left = bound_of("TSM_MODEL_BOUND", model->preemptions);
    stale_left = bound_of("TSM_MODEL_STALE", model->stale);
    current = MAIN;
    fiber_count = 0;
    tsm_fence_expedited = !model->full_fences;
    model->setup();
    start_fibers();
    switch_away();
    if (!failed) {
        check_end();
    }
}

/* Explore all; returns the schedules run; `failed` tells how it ended. */
static unsigned long
explore(const model_t* m)
{
    unsigned long schedules = 0;
    model = m;
    choice_count = 0;
    do {
        run_once();
        schedules++;
    } while (!failed && next_schedule());
    return schedules;
}

static void
show_failure(void)
{
    fprintf(stderr, "%s: %s\n  choices: TSM_MODEL_REPLAY=", model->name, failure);
    choice_count = choice_idx;
    for (int i = 0; i < choice_count; i++) {
        fprintf(stderr, "%s%u/%u", i == 0 ? "" : ",", choices[i].taken, choices[i].offered);
    }
    fprintf(stderr, "\n");
    tracing = true;
    run_once();
    tracing = false;
    fprintf(stderr, "    %s\n", failed ? failure : "the second run did not fail");
}

static void
replay(const char* text)
{
    choice_count = 0;
    for (int used; sscanf(text, "%u/%u%n", &choices[choice_count].taken,
                          &choices[choice_count].offered, &used) == 2;) {
        choice_count++;
        text += used + (text[used] == ',');
    }
    tracing = true;
    run_once();
    fprintf(stderr, "    %s\n", failed ? failure : "holds");
}

void
model_add(const model_t* m)
{
    models[model_count++] = m;
}

/* model_x [model]: explore all or one. With PLANTED a bug was put in, and it must be found. */
int
main(int argc, char** argv)
{
    const char* program = strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];
    const char* recorded = getenv("TSM_MODEL_REPLAY");
    bool any_failed = false;
    for (int i = 0; i < model_count; i++) {
        if (argc > 1 && strcmp(argv[1], models[i]->name) != 0) {
            continue;
        }
        model = models[i];
        if (recorded != NULL) {
            replay(recorded);
            continue;
        }
        unsigned long n = explore(models[i]);
#ifdef PLANTED
        if (failed) {
            printf("ok %s.%s found after %lu schedules: %s\n", program, model->name, n, failure);
            return 0;
        }
#else
        printf("%s %s.%s (%lu schedules)\n", failed ? "FAIL" : "ok", program, model->name, n);
        if (failed) {
            show_failure();
            any_failed = true;
        }
#endif
        fflush(stdout);
    }
#ifdef PLANTED
    printf("FAIL %s: the planted bug was not found\n", program);
    any_failed = true;
#endif
    return any_failed;
}

/* explorer.h - run a few threads in every order that matters.
 *
 * What it is      A model is a handful of small threads over the real headers of ext/, and
 *                 what must hold afterwards. The explorer runs it again and again, each time
 *                 with another schedule, depth first over all choices:
 *                   - before each atomic operation: who goes on (switching away from a
 *                     thread that could go on costs one of `preemptions`)
 *                   - at each read of a word for which another thread has a store waiting
 *                     in its buffer: does it arrive before the read, or not (reading the
 *                     old value costs one of `stale`)
 *                   - model_choose(): whatever the model leaves open
 *                 A failure prints the list of choices, and the schedule step by step.
 * Memory          relaxed and release stores wait in their thread's buffer. A release store
 *                 arrives after all earlier stores of its thread, relaxed ones to different
 *                 words in any order. Read-modify-writes and sc operations empty the buffer
 *                 of their thread first. The heavy fence empties those of all threads.
 *                 The thread itself sees its own stores at once.
 * Not modelled    Loads are not delayed: a missing acquire is not found. Plain accesses happen
 *                 at once and are no yield points. Both are ThreadSanitizer's part.
 * Source          M. Musuvathi, S. Qadeer, CHESS (preemption bounding); the idea of mapping
 *                 the atomics of the product itself: tokio's loom
 */
#ifndef TSM_EXPLORER_H
#define TSM_EXPLORER_H

#include "base/tsm_atomic.h"
#include "base/tsm_config.h"

enum { MODEL_THREADS_MAX = 4 };

typedef struct {
    const char* name;
    void (*setup)(void);                      /* before each schedule */
    void (*threads[MODEL_THREADS_MAX])(void); /* NULL ends the list */
    void (*finish)(void);                     /* when nobody can go on; checks */
    int preemptions;                          /* per schedule; default 2 */
    int stale;                                /* old values read per schedule; default 2 */
    bool full_fences;                         /* the asymmetric fence without membarrier */
} model_t;

/* MODEL(name, .setup = .., .threads = {..}) { checks } */
#define MODEL(model_name, ...)                                              \
    static void model_name##_finish(void);                                  \
    static const model_t model_name = {                                     \
        .name = #model_name, .finish = model_name##_finish, __VA_ARGS__};   \
    __attribute__((constructor)) static void model_name##_add(void)         \
    {                                                                       \
        model_add(&model_name);                                             \
    }                                                                       \
    static void model_name##_finish(void)

#define MODEL_CHECK(cond, what)                                             \
    do {                                                                    \
        if (!(cond)) {                                                      \
            model_fail(what, MODEL_HERE);                                   \
        }                                                                   \
    } while (0)

void model_add(const model_t* m);
void model_fail(const char* what, const char* where) TSM_NORETURN;

/* 0 .. n-1, all of them in turn. */
unsigned model_choose(unsigned n);

/* In finish: the thread waits on an event (else it has returned). */
bool model_is_parked(int thread);

#endif

/* tsm_account.h - the memory of processes that have a limit (max_heap).
 *
 * What it is      An account per limited process of what its Python code allocates, kept by
 *                 wrappers around CPython's allocators for the domains "mem" and "obj"; they
 *                 are in place only while a limited process lives. They pass pointers on
 *                 unchanged: objects stay mimalloc's. When the account passes the limit, the
 *                 process itself measures, at its next safe point, what its frames, state and
 *                 mailbox reach (tsm_measure.c), and that decides.
 * Who touches what
 *   used          the thread the process runs on
 *   a_mail        whoever drains its inbox (the owner, or who serves it while it is blocked)
 *   a_over        both; only ever leads to a look
 *   the rest      the owner
 * What is counted
 *   + every block its code asks for, with its real size     - every block freed while it runs
 *   + messages as they come into its mailbox                - copies it has sent away
 *   + numpy data (its arena)                                - the same when freed
 *   A free cannot know who allocated, so the account drifts: objects freed by another
 *   process or later by another thread stay charged. Free lists of the interpreter bypass it.
 *   Exempt: what the runtime itself allocates, and a process that is dead or ending.
 * Protocol        tsm_account_enforce
 *   1. R = measured bytes. R > limit: killed, with a report of the biggest holders
 *   2. else the rest is drift, garbage in cycles, or held by native code in progress (list(gen)).
 *      With native code on the stack: killed when the account passes limit * 3/2.
 *      Without: forgiven, the account becomes R; when a whole limit's worth of it has been
 *      forgiven a garbage collection is due.
 *   3. the next look is at max(limit, R + limit/8)
 *   A single request above the limit, or one that would make the account twice the limit, is
 *   refused: MemoryError in this process, whatever code asked.
 * Rejected        allocating objects in arenas (3.13t reads lists and dicts without locks and
 *                 needs its own pages); a header per block (breaks the interpreter's heap walk);
 *                 measuring only (a walk cannot see what native code holds); killing on the
 *                 account alone (it drifts).
 * Where tested    tests/semantics/test_limits.py, tests/leak/test_limits.py
 * Source          erlang:process_flag(max_heap_size); docs/decisions/0009-memory-limits.md
 */
#ifndef TSM_ACCOUNT_H
#define TSM_ACCOUNT_H

#include "bind/tsm_bind.h"
#include "mem/tsm_arena.h"

typedef struct tsm_account {
    int64_t used;
    int64_t a_mail;
    int64_t limit;
    int64_t soft;      /* look when the account is above */
    int64_t forgiven;  /* since the last collection */
    uint32_t a_over;
    uint32_t paused;   /* own thread: measuring, reporting */
    uint64_t denied;   /* requests refused */
    tsm_proc_t* proc;
    tsm_arena_t* arena; /* numpy data; NULL before numpy was seen */
    PyObject* handler;  /* owns the arena (tsm_buffers.c) */
} tsm_account_t;

/* Of the process this thread runs, when it is limited. */
extern _Thread_local tsm_account_t* tsm_account_mine __attribute__((tls_model("initial-exec")));

static inline tsm_account_t*
tsm_account_of(const tsm_proc_t* p)
{
    return p->cold == NULL ? NULL : p->cold->account;
}

/* Everything charged now. */
int64_t tsm_account_total(const tsm_account_t* a);
/* Is there room for bytes more? Counts a refusal. Own thread or a thread that uses its arena. */
bool tsm_account_may(tsm_account_t* a, size_t bytes);
void tsm_account_check(tsm_account_t* a); /* own thread: above soft? then a look is due */

/* ---- tsm_measure.c ---- */
enum { TSM_HOLDERS = 6, TSM_HOLDER_NAME = 120 };

typedef struct {
    size_t bytes, objects;
    char name[TSM_HOLDER_NAME];
} tsm_holder_t;

typedef struct tsm_measured {
    size_t bytes, objects;
    bool whole;  /* false: it stopped at the bound or out of memory, bytes is a lower one */
    bool native; /* native code stands between the process' frames and may hold more */
    tsm_holder_t roots[TSM_HOLDERS]; /* biggest first */
    tsm_holder_t types[TSM_HOLDERS];
} tsm_measured_t;

/* What p reaches from its body, its frames on this thread (on_stack), mailbox and context.
 * mail: strong references to its messages. At most max_objects are looked at. User mode. */
void tsm_measure_proc(tsm_proc_t* p, bool on_stack, PyObject* const* mail, size_t mails,
                      size_t max_objects, tsm_measured_t* out);
/* One value and all it reaches. No user code. */
size_t tsm_measure_term(PyObject* term, size_t max_objects, bool* whole);

/* ---- tsm_buffers.c ---- */
/* Inside its context, user mode: numpy data of this process comes from its own arena from
 * now on, if numpy is there. */
void tsm_buffers_adopt(tsm_account_t* a);

#endif

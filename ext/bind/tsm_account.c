/* tsm_account.c - charging allocations, and what happens at the limit; essay in tsm_account.h.
 *
 * Wrappers        PyMem_SetAllocator replaces function pointers that other threads read at the
 *                 same moment. That is harmless: the context stays the original's, and any mix
 *                 of old and new functions works, since pointers pass through unchanged.
 */
#include "bind/tsm_account.h"
#include "bind/tsm_compat_inner.h"
#include "proc/tsm_qlimit.h"

#include <stdlib.h>
#include <string.h>

_Thread_local tsm_account_t* tsm_account_mine __attribute__((tls_model("initial-exec")));

enum { MEASURE_OBJECTS = 2000000, MAIL_OBJECTS = 20000 };

/* ---- the account ---- */

int64_t
tsm_account_total(const tsm_account_t* a)
{
    /* relaxed, both: a figure; who decides on it looks again. */
    int64_t mail = tsm_load_relaxed(&a->a_mail);
    int64_t arena = a->arena == NULL ? 0 : tsm_arena_live(a->arena);
    return tsm_load_relaxed(&a->used) + mail + arena; /* relaxed: own thread's, or a report. */
}

/* relaxed: flags are the owner's; a death seen late charges a little more. */
static bool
is_exempt(const tsm_account_t* a)
{
    return a->paused != 0 || tsm_self == NULL || tsm_in_runtime(tsm_self)
           || (tsm_load_relaxed(&a->proc->flags) & (TSM_PF_DEAD | TSM_PF_ENDING)) != 0; /* relaxed: as above. */
}

bool
tsm_account_may(tsm_account_t* a, size_t bytes)
{
    if (TSM_LIKELY(bytes <= (size_t)a->limit
                   && tsm_account_total(a) + (int64_t)bytes <= 2 * a->limit) || is_exempt(a)) {
        return true;
    }
    a->denied++;
    return false;
}

void
tsm_account_check(tsm_account_t* a)
{
    if (TSM_UNLIKELY(tsm_account_total(a) > a->soft) && tsm_load_relaxed(&a->a_over) == 0) { /* relaxed: a hint. */
        tsm_store_relaxed(&a->a_over, 1); /* relaxed: own thread looks at it. */
        if (tsm_self != NULL) {
            tsm_poke_budget(tsm_self);
        }
    }
}

static void
charge(tsm_account_t* a, int64_t bytes)
{
    if (is_exempt(a)) {
        return;
    }
    int64_t used = a->used + bytes;
    tsm_store_relaxed(&a->used, used > 0 ? used : 0); /* relaxed: own thread's, read by reports. */
    if (bytes > 0) {
        tsm_account_check(a);
    }
}

/* ---- the wrappers, one set for each of two domains ---- */

static PyMemAllocatorEx before[2]; /* mem, obj */

static bool knows_sizes; /* blocks are mimalloc's; set once */

static size_t
block_bytes(const void* p, size_t guess)
{
    return knows_sizes ? tsm_block_bytes(p) : guess;
}

#define WRAPPERS(D)                                                                          \
    static void* malloc_##D(void* ctx, size_t n)                                             \
    {                                                                                        \
        tsm_account_t* a = tsm_account_mine;                                                 \
        if (TSM_LIKELY(a == NULL)) {                                                         \
            return before[D].malloc(ctx, n);                                                 \
        }                                                                                    \
        void* p = tsm_account_may(a, n) ? before[D].malloc(ctx, n) : NULL;                   \
        if (p != NULL) {                                                                     \
            charge(a, (int64_t)block_bytes(p, n));                                           \
        }                                                                                    \
        return p;                                                                            \
    }                                                                                        \
    static void* calloc_##D(void* ctx, size_t k, size_t n)                                   \
    {                                                                                        \
        tsm_account_t* a = tsm_account_mine;                                                 \
        if (TSM_LIKELY(a == NULL)) {                                                         \
            return before[D].calloc(ctx, k, n);                                              \
        }                                                                                    \
        bool fits = n == 0 || k <= (size_t)PY_SSIZE_T_MAX / n;                               \
        void* p = fits && tsm_account_may(a, k * n) ? before[D].calloc(ctx, k, n) : NULL;    \
        if (p != NULL) {                                                                     \
            charge(a, (int64_t)block_bytes(p, k * n));                                       \
        }                                                                                    \
        return p;                                                                            \
    }                                                                                        \
    static void* realloc_##D(void* ctx, void* old, size_t n)                                 \
    {                                                                                        \
        tsm_account_t* a = tsm_account_mine;                                                 \
        if (TSM_LIKELY(a == NULL)) {                                                         \
            return before[D].realloc(ctx, old, n);                                           \
        }                                                                                    \
        size_t had = old == NULL ? 0 : block_bytes(old, 0);                                  \
        if (n > had && !tsm_account_may(a, n - had)) {                                       \
            return NULL;                                                                     \
        }                                                                                    \
        void* p = before[D].realloc(ctx, old, n);                                            \
        if (p != NULL) {                                                                     \
            charge(a, (int64_t)block_bytes(p, n) - (int64_t)had);                            \
        }                                                                                    \
        return p;                                                                            \
    }                                                                                        \
    static void free_##D(void* ctx, void* p)                                                 \
    {                                                                                        \
        tsm_account_t* a = tsm_account_mine;                                                 \
        if (TSM_UNLIKELY(a != NULL) && p != NULL) {                                          \
            charge(a, -(int64_t)block_bytes(p, 0));                                          \
        }                                                                                    \
        before[D].free(ctx, p);                                                              \
    }

WRAPPERS(0)
WRAPPERS(1)

static struct {
    tsm_mutex_t lock;
    uint32_t limited; /* processes with an account */
    bool in_place;
} wrappers;

static const PyMemAllocatorDomain domains[2] = {PYMEM_DOMAIN_MEM, PYMEM_DOMAIN_OBJ};

static void
wrap(void)
{
    const char* choice = getenv("PYTHONMALLOC");
    bool foreign = choice != NULL && strncmp(choice, "malloc", 6) == 0; /* not mimalloc's blocks */
#ifdef TSM_HAVE_BLOCK_BYTES
    knows_sizes = !foreign;
#else
    (void)foreign;
#endif
    for (int i = 0; i < 2; i++) {
        PyMem_GetAllocator(domains[i], &before[i]);
    }
    PyMem_SetAllocator(PYMEM_DOMAIN_MEM,
        &(PyMemAllocatorEx){before[0].ctx, malloc_0, calloc_0, realloc_0, free_0});
    PyMem_SetAllocator(PYMEM_DOMAIN_OBJ,
        &(PyMemAllocatorEx){before[1].ctx, malloc_1, calloc_1, realloc_1, free_1});
}

/* False: somebody (tracemalloc) has wrapped the wrappers; they stay, and only pass through. */
static bool
unwrap(void)
{
    PyMemAllocatorEx now[2];
    PyMem_GetAllocator(domains[0], &now[0]);
    PyMem_GetAllocator(domains[1], &now[1]);
    if (now[0].malloc != malloc_0 || now[1].malloc != malloc_1) {
        return false;
    }
    PyMem_SetAllocator(domains[0], &before[0]);
    PyMem_SetAllocator(domains[1], &before[1]);
    return true;
}

static void
count_limited(int change)
{
    tsm_mutex_lock(&wrappers.lock);
    wrappers.limited += (uint32_t)change;
    if (wrappers.limited > 0 && !wrappers.in_place) {
        wrap();
        wrappers.in_place = true;
    } else if (wrappers.limited == 0 && wrappers.in_place) {
        wrappers.in_place = !unwrap();
    }
    tsm_mutex_unlock(&wrappers.lock);
}

/* ---- making and ending an account ---- */

int
tsm_limits_set(tsm_proc_t* p, int64_t max_heap, uint32_t max_queue, int on_full)
{
    if (max_queue != 0 && tsm_qlimit_open_owner(p, max_queue, (enum tsm_on_full)on_full) < 0) {
        return TSM_E_NOMEM;
    }
    p->flags |= TSM_PF_LIMITED;
    if (max_heap == 0) {
        return TSM_OK;
    }
    tsm_account_t* a = tsm_cold_owner(p) == NULL ? NULL : calloc(1, sizeof(*a));
    if (a == NULL) {
        return TSM_E_NOMEM;
    }
    bool whole;
    a->proc = p;
    a->limit = a->soft = max_heap;
    a->used = (int64_t)tsm_measure_term(p->body, MAIL_OBJECTS, &whole); /* its arguments */
    a->a_over = a->used > a->limit || !whole;
    p->cold->account = a;
    count_limited(1);
    return TSM_OK;
}

/* The process has ended; attached. Its numpy data lives on as long as arrays do. */
void
tsm_limits_release(tsm_proc_t* p)
{
    tsm_account_t* a = tsm_account_of(p);
    if (a == NULL) {
        return;
    }
    p->cold->account = NULL;
    if (a->arena != NULL) {
        tsm_arena_close(a->arena);
    }
    if (tsm_account_mine == a) {
        tsm_account_mine = NULL;
    }
    if (a->handler != NULL && tsm_bury_term(a->handler) < 0) {
        Py_DECREF(a->handler);
    }
    free(a);
    count_limited(-1);
}

/* ---- messages ---- */

/* hooks.mail: in the owner, inside the runtime. */
void
tsm_limits_mail(tsm_proc_t* p, tsm_sig_t* msg)
{
    tsm_account_t* a = tsm_account_of(p);
    if (a == NULL) {
        return;
    }
    bool whole;
    size_t bytes = TSM_MSG_BYTES + tsm_measure_term(msg->term, MAIL_OBJECTS, &whole);
    /* relaxed, all: drainers exclude each other; others only want a figure or a hint. */
    tsm_store_relaxed(&a->a_mail, a->a_mail + (int64_t)bytes);
    if (!whole || tsm_account_total(a) > a->soft) {
        tsm_store_relaxed(&a->a_over, 1); /* relaxed: as above. */
        tsm_worker_t* w = tsm_load_relaxed(&p->a_worker);
        if (w != NULL) {
            tsm_poke_budget(w);
        }
    }
}

/* The sender gives copy away: it is no longer charged for it. */
void
tsm_limits_sent(PyObject* copy)
{
    tsm_account_t* a = tsm_account_mine;
    bool whole;
    if (a != NULL && !is_exempt(a)) {
        charge(a, -(int64_t)tsm_measure_term(copy, MAIL_OBJECTS, &whole));
    }
}

/* ---- a turn ---- */

bool
tsm_limits_over(tsm_proc_t* p)
{
    tsm_account_t* a = tsm_account_of(p);
    return a != NULL && tsm_load_relaxed(&a->a_over) != 0; /* relaxed: a hint. */
}

void
tsm_limits_turn_begin(tsm_proc_t* p)
{
    tsm_account_t* a = tsm_account_of(p);
    tsm_account_mine = a;
    if (a != NULL) {
        /* relaxed, both: the owner's, who drains excluded: inside the runtime. */
        tsm_store_relaxed(&a->used, a->used + a->a_mail);
        tsm_store_relaxed(&a->a_mail, 0);
    }
}

/* In the process' context, user mode. */
void
tsm_limits_adopt(void)
{
    if (tsm_account_mine != NULL) {
        tsm_buffers_adopt(tsm_account_mine);
    }
}

void
tsm_limits_turn_end(void)
{
    tsm_account_mine = NULL;
}

/* ---- over the limit ---- */

static PyObject*
holder_list(const tsm_holder_t* holders)
{
    PyObject* list = PyList_New(0);
    for (int i = 0; list != NULL && i < TSM_HOLDERS && holders[i].bytes != 0; i++) {
        PyObject* item = Py_BuildValue("(snn)", holders[i].name, (Py_ssize_t)holders[i].bytes,
                                       (Py_ssize_t)holders[i].objects);
        if (item == NULL || PyList_Append(list, item) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(item);
    }
    return list;
}

/* fn(*args) in no process, so that log handlers may do anything; user mode. Takes args. */
static void
call_outside(tsm_worker_t* w, PyObject* fn, PyObject* args)
{
    tsm_proc_t* p = tsm_worker_proc(w);
    tsm_account_t* mine = tsm_account_mine;
    PyObject* exc = PyErr_GetRaisedException();
    tsm_account_mine = NULL;
    tsm_op_begin(w);
    tsm_store_relaxed(&w->a_proc, NULL); /* relaxed: own thread's field. */
    tsm_leave(w);
    PyObject* done = args == NULL ? NULL : PyObject_CallObject(fn, args);
    if (done == NULL) {
        PyErr_WriteUnraisable(fn);
    }
    Py_XDECREF(done);
    Py_XDECREF(args);
    (void)tsm_enter(w);
    tsm_store_relaxed(&w->a_proc, p); /* relaxed: as above. */
    tsm_op_end(w);
    tsm_account_mine = mine;
    PyErr_SetRaisedException(exc);
}

static PyObject*
label_of(tsm_proc_t* p)
{
    return p->cold != NULL && p->cold->label != NULL ? p->cold->label : Py_None;
}

/* A new tuple, NULL with an exception. */
static PyObject*
heap_report(tsm_proc_t* p, tsm_account_t* a, const tsm_measured_t* m)
{
    return Py_BuildValue("(NOLLnONNN)", tsm_pid_object(tsm_proc_pid(p)), label_of(p), (long long)a->limit,
                         (long long)tsm_account_total(a), (Py_ssize_t)m->bytes, m->whole ? Py_True : Py_False,
                         holder_list(m->roots), holder_list(m->types), PyLong_FromUnsignedLongLong(a->denied));
}

/* Strong references to the messages waiting; inside the runtime. */
static PyObject**
take_mail(tsm_proc_t* p, size_t* n)
{
    PyObject** mail = p->mb_len == 0 ? NULL : malloc(p->mb_len * sizeof(*mail));
    *n = 0;
    for (tsm_sig_t* msg = p->mb_first; mail != NULL && msg != NULL; msg = tsm_sig_next(msg)) {
        mail[(*n)++] = Py_NewRef((PyObject*)msg->term);
    }
    return mail;
}

static void
drop_mail(PyObject** mail, size_t n)
{
    while (n-- > 0) {
        Py_DECREF(mail[n]);
    }
    free(mail);
}

enum verdict { GOES_ON, OVER };

/* Steps 1 to 3 of the protocol; user mode, the account is paused. */
static enum verdict
judge(tsm_account_t* a, tsm_measured_t* m)
{
    int64_t reached = (int64_t)m->bytes, total = tsm_account_total(a);
    if (reached > a->limit || (!m->whole && total > a->limit)) {
        return OVER;
    }
    int64_t next = reached + a->limit / 8;
    if (m->native) {
        a->soft = total + a->limit / 8;
        return total > a->limit + a->limit / 2 ? OVER : GOES_ON;
    }
    int64_t arena = a->arena == NULL ? 0 : tsm_arena_live(a->arena);
    a->forgiven += total > reached ? total - reached : 0;
    a->soft = next > a->limit ? next : a->limit;
    /* relaxed: own thread's. What a drainer adds meanwhile is measured again some day. */
    tsm_store_relaxed(&a->used, reached > arena ? reached - arena : 0);
    tsm_store_relaxed(&a->a_mail, 0); /* relaxed: as above. */
    if (a->forgiven >= a->limit && !tsm_reds_is_native()) {
        a->forgiven = 0;
        (void)PyGC_Collect();
    }
    return GOES_ON;
}

void
tsm_limits_enforce(tsm_worker_t* w, tsm_proc_t* p, bool on_stack)
{
    tsm_account_t* a = tsm_account_of(p);
    if ((p->flags & (TSM_PF_DEAD | TSM_PF_ENDING)) != 0) {
        return;
    }
    tsm_measured_t* m = calloc(1, sizeof(*m));
    size_t mails;
    PyObject** mail = take_mail(p, &mails);
    tsm_store_relaxed(&a->a_over, 0); /* relaxed: set again by whoever charges more. */
    if (m == NULL) {
        drop_mail(mail, mails);
        return;
    }
    tsm_op_end(w);
    PyObject* exc = PyErr_GetRaisedException();
    a->paused++;
    tsm_measure_proc(p, on_stack, mail, mails, MEASURE_OBJECTS, m);
    drop_mail(mail, mails);
    bool over = judge(a, m) == OVER;
    if (over) {
        call_outside(w, tsm_bind.report_heap, heap_report(p, a, m));
    }
    a->paused--;
    free(m);
    PyErr_SetRaisedException(exc);
    tsm_op_begin(w);
    if (over && (p->flags & TSM_PF_DEAD) == 0
        && (tsm_inbox_is_empty(&p->inbox) || tsm_proc_service_owner(p))) {
        Py_INCREF(tsm_bind.s_killed);
        tsm_proc_die_owner(p, tsm_bind.s_killed, NULL);
    }
}

/* The process has ended and its frames are gone; inside the runtime. */
void
tsm_limits_ended(tsm_worker_t* w, tsm_proc_t* p)
{
    tsm_qlimit_t* q = tsm_load_relaxed(&p->a_qlimit); /* relaxed: owners write it. */
    if (q == NULL || tsm_load_relaxed(&q->a_overrun) == 0 || p->exit_term != tsm_terms.killed) { /* relaxed: a report. */
        return;
    }
    tsm_op_end(w);
    call_outside(w, tsm_bind.report_queue,
                 Py_BuildValue("(NO)", tsm_pid_object(tsm_proc_pid(p)), label_of(p)));
    tsm_op_begin(w);
}

/* ---- figures ---- */

int64_t
tsm_limits_used(const tsm_proc_t* p)
{
    const tsm_account_t* a = tsm_account_of(p);
    return a == NULL ? -1 : tsm_account_total(a);
}

int64_t
tsm_limits_max(const tsm_proc_t* p)
{
    const tsm_account_t* a = tsm_account_of(p);
    return a == NULL ? 0 : a->limit;
}

int64_t
tsm_limits_buffers(const tsm_proc_t* p)
{
    const tsm_account_t* a = tsm_account_of(p);
    return a == NULL || a->arena == NULL ? 0 : tsm_arena_live(a->arena);
}

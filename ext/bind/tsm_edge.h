/* tsm_edge.h - the edge between Python and the core: entering, leaving, exceptions. Part of tsm_bind.h.
 *
 * tsm_errors.c is the only place that turns TSM_E_* into exceptions.
 */
#ifndef TSM_EDGE_H
#define TSM_EDGE_H

PyObject* tsm_raise(int rc, const char* what); /* always NULL */
PyObject* tsm_raise_killed(void);
/* The calling process, or NULL with an exception: not in a process. */
tsm_proc_t* tsm_here(const char* what);
tsm_proc_t* tsm_begin_slow(const char* what);
PyObject* tsm_done_slow(PyObject* result, bool dead);

/* The same, inside the runtime and alive; end with tsm_done. */
static inline tsm_proc_t*
tsm_begin(const char* what)
{
    tsm_worker_t* w = tsm_self;
    tsm_proc_t* p = w == NULL ? NULL : tsm_worker_proc(w);
    if (TSM_LIKELY(p != NULL)) {
        tsm_op_begin(w);
        if (TSM_LIKELY((p->flags & TSM_PF_DEAD) == 0)) {
            tsm_charge(w, 1);
            return p;
        }
    }
    return tsm_begin_slow(what);
}

/* Leaves the runtime, drops what was buried, raises if the process died meanwhile.
 * Takes result (may be NULL: an exception is set). */
static inline PyObject*
tsm_done(PyObject* result)
{
    tsm_worker_t* w = tsm_self;
    bool dead = (tsm_worker_proc(w)->flags & TSM_PF_DEAD) != 0;
    tsm_op_end(w);
    return TSM_LIKELY(!dead && !tsm_has_buried()) ? result : tsm_done_slow(result, dead);
}
/* The node runs and we are not a forked child, or false with an exception. */
bool tsm_check_running(void);
bool tsm_check_caller(void);

#endif

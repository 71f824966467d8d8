/* tsm_op.h - where user code and the runtime meet, several times a message: the hot halves.
 *
 * What is slow (the slot was taken meanwhile) stands in tsm_park.c.
 */
#ifndef TSM_OP_H
#define TSM_OP_H

#include "sched/tsm_sched.h"

void tsm_user_begin_slow(tsm_worker_t* w);
void tsm_user_end_slow(tsm_worker_t* w);
/* Around an operation of the runtime that touches the calling process: called from
 * user code, with or without a slot; in between only this thread acts for it. */
void tsm_op_begin_slow(tsm_worker_t* w);
void tsm_op_end_slow(tsm_worker_t* w);

static inline void
tsm_op_begin(tsm_worker_t* w)
{
    if (TSM_UNLIKELY(!tsm_enter(w)) && tsm_worker_proc(w) != NULL) {
        tsm_op_begin_slow(w);
    }
}

static inline void
tsm_op_end(tsm_worker_t* w)
{
    if (TSM_UNLIKELY(tsm_worker_slot(w) == NULL) && tsm_worker_proc(w) != NULL) {
        tsm_op_end_slow(w);
        return;
    }
    tsm_leave(w);
}

/* Around the body's own code: in the driver. */
static inline void
tsm_user_begin(tsm_worker_t* w)
{
    if (TSM_UNLIKELY(tsm_worker_slot(w) == NULL)) {
        tsm_user_begin_slow(w);
        return;
    }
    tsm_leave(w);
}

static inline void
tsm_user_end(tsm_worker_t* w)
{
    tsm_op_begin(w);
    if (TSM_UNLIKELY(tsm_worker_slot(w) == NULL)) {
        tsm_user_end_slow(w);
    }
}

#endif

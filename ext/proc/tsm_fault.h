/* tsm_fault.h - faults put into a deterministic run: messages, allocations.
 *
 * What it is      Rules, in the order they were added; the first that fits a message and is
 *                 not used up decides. Whether it strikes is a choice of the run, so it is
 *                 written down, replayed and shrunk like who runs when.
 * Who touches what
 *   all           under tsm_det.lock; tsm_fault_count is 0 while there is nothing to look at
 * Not touched     Links, monitors and exit signals: they are the node's own, which keeps its
 *                 promises. Only plain sends are duplicated: a call is one.
 */
#ifndef TSM_FAULT_H
#define TSM_FAULT_H

#include "proc/tsm_proc.h"

enum tsm_fault_kind { TSM_FAULT_DROP, TSM_FAULT_DELAY, TSM_FAULT_REORDER, TSM_FAULT_DUPLICATE, TSM_FAULT_ALLOC };

typedef struct {
    uint32_t id; /* 0: a free place */
    uint32_t kind;
    tsm_pid_t from, to; /* 0: anybody */
    uint32_t skip;      /* so many that fit pass first */
    uint32_t times;     /* strikes so often */
    uint32_t permille;  /* 1000: always, without a choice */
    uint32_t hits;
    uint64_t delay_ns;
} tsm_fault_t;

extern uint32_t tsm_fault_count; /* rules; changed by the holder of the slot only */

/* The id, or TSM_E_FULL. Holder only, like all below. */
int64_t tsm_fault_add(tsm_fault_t rule);
/* How often it struck; TSM_E_NOPROC: there is none. */
int64_t tsm_fault_hits(uint32_t id, bool remove);
void tsm_fault_clear(void);
/* A message on its way. True: taken, it goes no further for now. */
bool tsm_fault_message(tsm_pid_t to, tsm_sig_t* sig);
/* A plain send begins; after it: is it to be done again? */
void tsm_fault_send_begin(void);
bool tsm_fault_send_again(void);
bool tsm_fault_alloc(void); /* does this allocation fail? */

#endif

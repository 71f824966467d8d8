/* tsm_background.h - a thread gives way to all others of the machine, and takes that back.
 *
 * What it is      Linux' SCHED_IDLE: such a thread gets what no other thread wants, and any other
 *                 that wakes takes its core at once. Going there is everybody's right, coming back
 *                 needs CAP_SYS_NICE or an RLIMIT_NICE (ulimit -e) of 20: without it nobody goes.
 * Rejected        nice 19: the others wait for the end of its slice, 8 ms at p99 where this has 4
 *                 (docs/decisions/0022). Longer slices for it: its share stays what it was, 30 ms.
 * Where tested    tests/semantics/test_background.py
 * Source          sched(7)
 */
#ifndef TSM_BACKGROUND_H
#define TSM_BACKGROUND_H

#include "base/tsm_config.h"

#include <stdbool.h>
#include <stdint.h>

/* May a thread of this program come back? Found out by trying, on a thread made for that, when
 * it is asked for the first time; not by two threads at once. Blocks for as long as that takes. */
bool tsm_background_possible(void);

/* tid: tsm_gettid of a thread of this program. False: nothing happened. */
bool tsm_background_enter(uint64_t tid);
/* When it may not any more (the program gave its rights away) nobody enters from then on. */
void tsm_background_leave(uint64_t tid);

#endif

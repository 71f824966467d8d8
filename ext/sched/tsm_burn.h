/* tsm_burn.h - native code that computes gives way to what waits for messages.
 *
 * What it is      Off its slot a process competes with the slots' threads and the event loops' for
 *                 the cores, as the kernel sees fit: each gets an equal share, and who wakes for a
 *                 moment's work waits behind a parser of 200 ms. So a worker whose process computes
 *                 without a slot goes into the background, and comes back with the slot.
 * Who goes        the monitor sends it when it takes the slot of one that uses the processor
 *                 (tsm_retake); from the next time on it goes by itself, while its process is known
 *                 for that (TSM_PF_BURNS).
 * Invariants      A worker in the background holds no slot: those behind it would wait as long.
 *                 One that got less than an eighth of a core over 100 ms comes back at once, for it
 *                 may hold what others need, and shall end some day on a machine that is busy.
 *                 One that waits with a process that does not compute any more waits in the
 *                 foreground: it may be given a slot, and would have to wake first.
 *                 Nobody is left there by a node that stops: who looks after them goes, too.
 * Who touches what
 *   a_background  own thread, or the monitor: entering, under w->lock, with the worker out of the
 *                 runtime for certain. Leaving: any thread, at any time, which the worker does not
 *                 notice: it writes 0, then leaves; who enters does so before it writes 1; so a
 *                 worker that is there has a 1
 *   a_back_*      written before a_background by who sets it; read by the monitor
 * Price           What such a thread starts inherits its place, for good: threads that native code
 *                 makes. Of what Python starts bind/tsm_births.c takes care.
 * Where tested    tests/semantics/test_background.py
 * Source          docs/decisions/0022
 */
#ifndef TSM_BURN_H
#define TSM_BURN_H

#include "sched/tsm_sched.h"

void tsm_burn_begin(tsm_worker_t* w);
void tsm_burn_end(tsm_worker_t* w); /* own thread, or one that w cannot end before */
void tsm_burn_check(tsm_worker_t* w, uint64_t now_ns); /* monitor */

#endif

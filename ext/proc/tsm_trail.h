/* tsm_trail.h - what a schedule search knows of each process: a rank and a fingerprint.
 *
 * What it is      Ranks are those of probabilistic concurrency testing: who has the highest
 *                 runs, and at a few points of the run whoever runs gets the lowest.
 *                 The fingerprint stands for what a process has been through: in what order
 *                 signals came to it, where its senders then were, how far it has run since.
 *                 Two runs whose processes have all been through the same are in the same
 *                 state, whatever the order of what did not concern each other.
 * Who touches what
 *   all           under tsm_det.lock, in deterministic runs only
 * Not covered     Python globals, the real clock, and in whose microsecond a timer was set.
 *                 Names and deaths count as touched by all (tsm_trail_touch); with tables,
 *                 directories or counters there is no fingerprint (tsm_trail_share).
 * Source          Burckhardt, Kothari, Musuvathi, Nagarakatte 2010 (PCT); Musuvathi, Qadeer
 *                 2007 (happens-before caching)
 */
#ifndef TSM_TRAIL_H
#define TSM_TRAIL_H

#include "proc/tsm_proc.h"

typedef struct {
    tsm_pid_t pid;
    uint64_t base;  /* what it had been through when it last read its inbox */
    uint64_t inbox; /* what has been sent to it */
    uint64_t read;  /* inbox as of its last turn */
    uint64_t reds;  /* since then */
    uint64_t share; /* its part of the state's fingerprint */
    uint64_t run;   /* reductions in all */
    uint64_t kill_at; /* is killed when run gets there; 0: never */
    uint64_t rank;
} tsm_trail_t;

void tsm_trail_begin(uint64_t seed, bool shared);
/* NULL: no memory, and the run has no fingerprints any more. Making one moves the others. */
tsm_trail_t* tsm_trail_of(tsm_pid_t pid);
void tsm_trail_spawn(tsm_pid_t parent, tsm_pid_t child);
void tsm_trail_signal(tsm_pid_t from, tsm_pid_t to, uint8_t kind);
void tsm_trail_turn(tsm_pid_t pid); /* begins; what has been sent to it is read */
void tsm_trail_used(tsm_pid_t pid, uint64_t reds);
void tsm_trail_touch(tsm_pid_t pid); /* something that all can look at */
void tsm_trail_share(void);
void tsm_trail_demote(tsm_pid_t pid); /* below all others */
uint64_t tsm_trail_state(uint64_t with); /* 0: unknown */

#endif

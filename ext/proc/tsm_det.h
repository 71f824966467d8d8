/* tsm_det.h - deterministic runs: one seed decides who runs next and for how long.
 *
 * What it is      While it is on there is one slot. Runnable processes stand in one list
 *                 in the order they became so; the seed, or a script of choices, picks from
 *                 it and says after how many reductions the picked one is interrupted. Time
 *                 is virtual: it moves a little with every pick, and jumps to the next timer
 *                 when nobody can run. Choices and signals are written down.
 * Who touches what
 *   on, slice_reds, now_ns of a run that is off: set between nodes, constant during one
 *   all else      under lock; slice_reds and now_ns are written by the holder of the slot
 * Invariants      A choice is a number below n, and n counts the ways that were open. The
 *                 list of choices alone replays a run: 0 is what came first, or no
 *                 interruption. Nothing here depends on addresses, threads or the clock.
 * Cost when off   One branch in each of tsm_signal_any, enqueueing and picking; the budget
 *                 is a variable in place of a constant.
 * Rejected        Deciding in the run queues themselves: they keep 256 and spill over.
 * Where tested    tests/semantics/test_deterministic.py
 * Source          Burckhardt et al. 2010 (what a schedule consists of); Pony's systematic
 *                 testing; the BEAM's Concuerror
 */
#ifndef TSM_DET_H
#define TSM_DET_H

#include "base/tsm_clock.h"
#include "base/tsm_rand.h"
#include "proc/tsm_proc.h"

enum { TSM_DET_BUDGET = 4000, TSM_DET_SLICES = 64, TSM_DET_TEXT = 40 };

/* enum tsm_sig_kind for signals; these for the rest. */
enum tsm_det_event {
    TSM_DET_SCHEDULE = 32, TSM_DET_PREEMPT, TSM_DET_SPAWN, TSM_DET_DEAD, TSM_DET_FIRE, TSM_DET_JUMP,
    TSM_DET_LOST,
};

typedef struct {
    uint64_t now_ns;
    tsm_pid_t from, to; /* 0: none */
    uint8_t kind;
    char text[TSM_DET_TEXT]; /* what was sent, in short */
} tsm_det_record_t;

typedef struct {
    uint32_t options, chosen;
    bool slice; /* where to interrupt, not who runs */
} tsm_det_choice_t;

typedef struct {
    uint32_t seeded;   /* beyond the script: by seed; else always 0 */
    uint32_t preempts; /* interruptions still allowed */
    uint64_t seed;
    const uint16_t* script;
    uint32_t script_len;
    uint32_t max_records;
    void (*describe)(void* term, char* text); /* TSM_DET_TEXT bytes, ends with 0 */
} tsm_det_plan_t;

typedef struct {
    uint32_t on;
    int32_t slice_reds; /* budget of a turn; TSM_DET_BUDGET while off */
    uint64_t now_ns;
    /* under lock */
    tsm_mutex_t lock;
    bool closed; /* the main process has ended: nothing is written down any more */
    tsm_det_plan_t plan;
    tsm_rand_t rand;
    uint64_t picks;
    tsm_proc_t** ready;
    uint32_t ready_len, ready_cap;
    tsm_det_choice_t* choices;
    uint32_t choice_len, choice_cap;
    tsm_det_record_t* records;
    uint64_t record_count; /* the last max_records of them are kept */
    uint32_t a_ready;   /* atomic: ready_len */
    uint32_t a_stalled; /* atomic: nobody can run, and no timer is set */
    uint32_t a_taken;   /* atomic: slots taken from native code: the run is not repeatable */
    uint32_t a_foreign; /* atomic: wake-ups by threads that are no workers; the first starts the run */
    uint32_t a_lost;    /* atomic: messages to the dead */
} tsm_det_t;

extern tsm_det_t tsm_det;

/* Between nodes. TSM_E_NOMEM. */
int tsm_det_begin(const tsm_det_plan_t* plan);
void tsm_det_end(void); /* drops what is left; records stay until the next begin */

/* p, which nobody else has, waits to be picked. False: no memory. */
bool tsm_det_push_any(tsm_proc_t* p, bool foreign);
/* Who runs now. rival: would go on otherwise, or NULL; it may win (NULL is returned). Also
 * decides the slice. NULL without a rival: nobody can run. Holder only. */
tsm_proc_t* tsm_det_pick(const tsm_proc_t* rival);
void tsm_det_slice(const tsm_proc_t* p); /* p goes on: its next slice. Holder only. */
void tsm_det_jump(uint64_t now_ns);     /* nobody can run: time moves on. Holder only. */
void tsm_det_close_any(void);

void tsm_det_record_any(enum tsm_det_event kind, tsm_pid_t from, tsm_pid_t to, void* term);
void tsm_det_signal_any(tsm_pid_t to, const tsm_sig_t* sig);

void tsm_det_spawned_any(const tsm_proc_t* p);

/* The clock of everything that processes wait for. */
static inline uint64_t
tsm_time_ns(void)
{
    return TSM_LIKELY(tsm_det.on == 0) ? tsm_now_ns() : tsm_det.now_ns;
}

#endif

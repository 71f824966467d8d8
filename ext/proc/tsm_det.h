/* tsm_det.h - deterministic runs: one seed decides who runs next and for how long.
 *
 * What it is      While it is on there is one slot. Runnable processes stand in one list
 *                 in the order they became so; the seed, or a script of choices, picks from
 *                 it and says after how many reductions the picked one is interrupted. Time
 *                 is virtual: a turn takes a microsecond and something for each reduction,
 *                 and when nobody can run, it jumps to the next timer. While a process sits
 *                 in native code off the slot, or a thread outside may still send, it goes
 *                 with the real clock instead. Choices and signals are written down.
 * Who touches what
 *   on            set between nodes; slice_reds and now_ns do not change while it is 0
 *   all else      under lock; slice_reds and now_ns are written by the holder of the slot
 * Invariants      A choice is a number below n, and n counts the ways that were open. The
 *                 list of choices alone replays a run: 0 is what came first, or no
 *                 interruption; otherwise, of a slice, it is the number of reductions. What
 *                 a turn then used is the number of ways, for who goes through all of them.
 *                 Nothing here depends on addresses, threads or the clock.
 * Polling         Turns after which no signal has been sent make no progress: after QUIET of
 *                 them in a row a turn takes longer and longer, up to the next timer. Turns
 *                 that compute do not count: they end by interruption.
 * Coming back     A process that waits for another's answer without the slot (process_info,
 *                 a full mailbox) comes back by itself, at some moment of the real clock.
 *                 So who answers keeps a place in the list for it, with a ticket, and nobody
 *                 is picked before it has taken its place.
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

enum { TSM_DET_BUDGET = 4000, TSM_DET_TEXT = 40 };

/* enum tsm_sig_kind for signals; these for the rest. */
enum tsm_det_event {
    TSM_DET_SCHEDULE = 32, TSM_DET_PREEMPT, TSM_DET_SPAWN, TSM_DET_DEAD, TSM_DET_FIRE, TSM_DET_JUMP,
    TSM_DET_LOST, TSM_DET_DROPPED, TSM_DET_DELAYED,
};

typedef struct {
    uint64_t now_ns;
    tsm_pid_t from, to; /* 0: none */
    uint8_t kind;
    char text[TSM_DET_TEXT]; /* what was sent, in short */
} tsm_det_record_t;

typedef struct {
    tsm_proc_t* p;   /* NULL: it will come, with this ticket */
    uint32_t ticket;
} tsm_det_entry_t;

typedef struct {
    uint32_t options, chosen;
    bool slice;     /* where to interrupt, not who runs */
    uint64_t state; /* fingerprint of where it was made; 0: unknown */
} tsm_det_choice_t;

typedef struct {
    uint32_t seeded;   /* beyond the script: by seed; else always 0 */
    uint32_t preempts; /* interruptions still allowed */
    uint32_t demotions; /* of PCT; 0: all choices alike */
    uint64_t steps;    /* PCT: how many reductions the run may take, in all */
    bool shared;       /* state that fingerprints do not know */
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
    tsm_det_plan_t plan;
    tsm_rand_t rand;
    uint64_t picks;
    uint32_t quiet;     /* turns since a signal was sent */
    bool stirred;       /* a signal was sent in this turn */
    bool calm;          /* no choices any more: first come, first served */
    uint64_t run;       /* reductions of all */
    int64_t slice_at;   /* where the choice of this slice stands, or -1 */
    tsm_pid_t main;     /* spawned first: with its end the run is over */
    tsm_det_entry_t* ready;
    uint32_t ready_len, ready_cap, tickets;
    tsm_det_choice_t* choices;
    uint32_t choice_len, choice_cap;
    tsm_det_record_t* records;
    uint64_t record_count; /* the last max_records of them are kept */
    tsm_event_t news;   /* for the thread that waits for the run: a_stalled or a_over */
    uint32_t a_closed;  /* atomic, written under lock: the main process has ended, nothing is written down */
    uint32_t a_ready;   /* atomic: ready_len */
    uint32_t a_returns; /* atomic: places kept */
    uint32_t a_stalled; /* atomic: nobody can run, no timer is set, and nobody can send from outside */
    uint32_t a_over;    /* atomic: the main process is dead */
    uint32_t a_waited;  /* atomic: ms of the real clock spent on threads outside and native code */
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
/* Who runs now. rival: would go on otherwise, or NULL. next_ns: when the next timer is due.
 * Also decides the slice. NULL: nobody else can run. Holder only. */
tsm_proc_t* tsm_det_pick(const tsm_proc_t* rival, uint64_t next_ns);
void tsm_det_slice(const tsm_proc_t* p); /* p goes on: its next slice. Holder only. */
/* So much of the slice was used. True: the process is to be killed here. Holder only. */
bool tsm_det_used(int32_t reds);
void tsm_det_jump(uint64_t now_ns);      /* nobody can run: time moves on. Holder only. */
void tsm_det_pass(uint64_t ns);          /* so long did others outside take. Holder only. */
void tsm_det_stall(void);                /* nobody will ever run again. Holder only. */
void tsm_det_close_any(void);
void tsm_det_calm(void);                 /* what follows is of no interest. Holder only. */
void tsm_det_skew(int64_t ns);           /* the clock jumps. Holder only. */
void tsm_det_kill_at(tsm_pid_t pid, uint64_t reds); /* after so many more. Holder only. */
void tsm_det_touch_any(void);            /* the running process looks at or changes what all can see */
void tsm_det_share_any(void);            /* there is state that fingerprints do not know */
/* Faults: a choice among options; permille: how likely any but 0. Under lock. */
uint32_t tsm_det_draw_locked(uint32_t options, uint32_t permille);
tsm_pid_t tsm_det_running_locked(void);
/* Somebody off the slot is about to be told to come back: a ticket for it; 0: no memory, it
 * stands behind the others. Holder only. */
uint32_t tsm_det_expect(void);
void tsm_det_return_any(tsm_proc_t* p, uint32_t ticket); /* it takes its place */

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

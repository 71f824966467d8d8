/* tsm_limits.h - the numbers of the scheduler, in one place. Times in ns, work in
 * reductions; where one is somebody else's choice, that is named. */
#ifndef TSM_LIMITS_H
#define TSM_LIMITS_H

#define TSM_BUDGET_REDS 4000  /* as the BEAM's CONTEXT_REDS */
#define TSM_POKE_REDS (1 << 24) /* taken off a budget by others, to be told from use */
#define TSM_LOW_TURNS 7       /* a low process is passed over so often, then runs */
#define TSM_GLOBAL_EVERY 61u  /* picks between two looks at inject first (Go's number) */
#define TSM_CLOCK_EVERY 16u   /* picks between two looks at the clock */
#define TSM_UNRECKONED 15     /* waits begun since then */
#define TSM_STUCK_NS 10000000 /* tier 3: so long in native code costs the slot */
#define TSM_DET_STUCK_NS 2000000000 /* the same in a deterministic run, which it spoils */
#define TSM_DET_NAP_NS 2000000 /* deterministic run: how often it looks at threads outside */
#define TSM_ASLEEP_NS 3000000 /* the same in a call that blocks and uses no processor */
#define TSM_URGENT_NS 4000000  /* the same when a signal may end its process */
#define TSM_STUCK_MAX_NS 30000000 /* so long asleep with the interpreter attached: the same */
#define TSM_TICK_NS 2000000   /* monitor period while anything runs */
#define TSM_REST_NS 100000000 /* monitor period while all slots are idle */
#define TSM_GRACE_REDS 100000 /* what a dead process may use for its finally blocks */
#define TSM_GRACE_KILLS 3     /* so often Killed comes with a grace, then at every event */
#define TSM_MAX_KILLS 1000    /* swallowed so often: abandoned */
#define TSM_GO_HOME_NS 5000000000 /* stop waits so long for workers about to end */
#define TSM_PARK_RESERVE 64 /* preempted processes may exceed max_threads by so many */
#define TSM_QUICK_NS 1000000 /* off the slot: a run shorter than this was not native */
#define TSM_BURNS_NS 3000000 /* off the slot: processor time of a run that computes */
#define TSM_QUICK_RUNS 8     /* so many in a row: it takes a slot again */
#define TSM_QUEUES 4          /* by urgency: see enum tsm_queue */
#define TSM_TURN_REDS 10      /* a turn counts as at least so many */
#define TSM_MAX_SLOTS 256

#endif

/* tsm_slot.h - a slot: the right to run agent code, its run queues and timers. Who holds
 * it, and how it changes hands: tsm_sched.h. */
#ifndef TSM_SLOT_H
#define TSM_SLOT_H

#include "proc/tsm_proc.h"
#include "queue/tsm_runq.h"
#include "sched/tsm_limits.h"
#include "timer/tsm_wheel.h"

/* Run queues. Low and normal processes that used up a whole budget stand behind those that
 * were woken, so a message is answered at once beside any number of hogs. When the woken
 * have used a budget in all, one of the spent comes first: neither starves the other, and
 * a process that wakes or spawns others without end does not outrun them. High and max
 * are strict. */
enum tsm_queue { TSM_Q_SPENT, TSM_Q_NORMAL, TSM_Q_HIGH, TSM_Q_MAX };
_Static_assert((int)TSM_Q_NORMAL == (int)TSM_PRIO_NORMAL && (int)TSM_Q_MAX == (int)TSM_PRIO_MAX, "in step");

static inline uint32_t
tsm_queue_of(const tsm_proc_t* p)
{
    return p->priority; /* low ones stand with the spent */
}

/* The lowest queue that may run before p goes on. */
static inline uint32_t
tsm_queue_beside(const tsm_proc_t* p)
{
    uint32_t q = tsm_queue_of(p);
    return q <= TSM_Q_NORMAL ? TSM_Q_SPENT : q;
}

typedef struct tsm_slot {
    uint16_t id;
    /* any thread, atomic */
    tsm_worker_t* a_holder;
    uint64_t a_ticks; /* grows with every dispatch and budget; written by the holder */
    tsm_runq_t runq[TSM_QUEUES];
    tsm_wheel_t wheel; /* locks itself */
    /* holder only */
    uint32_t picks;
    uint32_t unreckoned_count;
    tsm_proc_t* unreckoned[TSM_UNRECKONED]; /* their limits await a look at the clock (tsm_ptimer.h) */
    uint32_t woken_reds; /* used since a spent process was picked */
    uint64_t a_switches; /* statistics: written by the holder, read by any (relaxed) */
    uint64_t a_preemptions;
    uint64_t a_steals;
    /* monitor only */
    uint64_t seen_ticks;
    uint64_t seen_ns;
    uint64_t seen_cpu_ns; /* processor time of the holder, a tick after seen_ns; 0: none yet */
} tsm_slot_t;

#endif

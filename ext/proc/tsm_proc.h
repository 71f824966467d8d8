/* tsm_proc.h - the process and all that hangs on it.
 *
 * What it is
 *   A process is a C struct in a type-stable table (tsm_ptab.c): its memory is never
 *   returned while the OS process lives, so any thread may look at the struct behind
 *   any pid ever made. A pid is (generation << 32 | index); a struct whose generation
 *   differs is another life of the same slot, and a signal for the old life is answered
 *   as if its target were dead (tsm_signal.c).
 *
 * Who touches what
 *   Each field group below names its toucher. "The owner" is whoever may run the
 *   process just now; ownership moves, it is never shared:
 *     waiting    nobody; the one whose push or claim turns the inbox word from IDLE
 *                to active becomes the owner (tsm_inbox.h)
 *     runnable   the run queue it stands in; taking it out takes it over
 *     running    the OS thread in a_worker, between tsm_enter and tsm_leave
 *     blocked    the process sits in native code off its slot: whoever turns a_status
 *                from BLOCKED to SERVED, or, coming back, to RUNNING
 *     exiting    the thread that unwinds its Python frames; the world sees it dead
 *
 * Invariants
 *   I1  inbox is DEAD  <=>  the pid of this generation is dead to the world
 *   I2  mb_last points at the next-field of the last message, or at mb_first
 *   I3  mb_save and mark point into the same list (at mb_first or some next-field)
 *   I4  a process stands in at most one run queue
 *
 * Terms
 *   Messages, reasons, tags and names are opaque `void*` here. The binding gives the
 *   meaning (tsm_hooks_t). A term is dropped only through tsm_bury, never in the middle
 *   of an operation, because dropping may run user code (__del__).
 *
 * Where tested    tests/semantics, tests/stress; the inbox word in tests/model
 * Source          OTP erl_process.h and erl_proc_sig_queue.h for the semantics
 */
#ifndef TSM_PROC_H
#define TSM_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/tsm_assert.h"
#include "base/tsm_atomic.h"
#include "base/tsm_os.h"
#include "mem/tsm_hmap.h"
#include "mem/tsm_pool.h"
#include "queue/tsm_inbox.h"
#include "timer/tsm_wheel.h"

typedef uint64_t tsm_pid_t; /* 0: no process */

static inline uint32_t tsm_pid_idx(tsm_pid_t pid) { return (uint32_t)pid; }
static inline uint32_t tsm_pid_gen(tsm_pid_t pid) { return (uint32_t)(pid >> 32); }
static inline tsm_pid_t
tsm_pid_make(uint32_t idx, uint32_t gen)
{
    return ((uint64_t)gen << 32) | idx;
}

/* Errors. 0 is success everywhere. */
enum {
    TSM_OK = 0,
    TSM_E_NOMEM = -1,
    TSM_E_NOPROC = -2,
    TSM_E_LIMIT = -3,
    TSM_E_NAME_TAKEN = -4,
    TSM_E_HAS_NAME = -5,
    TSM_E_NOT_OWNER = -6,
    TSM_E_STOPPED = -7,
    TSM_E_THREADS = -8,
    TSM_E_FULL = -9,
};

/* What a signal is. Kinds from TSM_SIG_EXIT on change the receiver itself: their sender
 * makes a running or blocked receiver look at its inbox soon (tsm_signal.c, poke). */
enum tsm_sig_kind {
    TSM_SIG_MESSAGE,    /* term; ref: the alias it was sent to, or 0 */
    TSM_SIG_TIMEOUT,    /* ref: the id of the receive timer that fired */
    TSM_SIG_DROP,       /* only a term on its way to tsm_flush */
    TSM_SIG_CALL,       /* term; from; ref: a message, and `from` watches until it is answered */
    TSM_SIG_EXIT,       /* term: reason; from. Also the message a trapper sees */
    TSM_SIG_LINK_EXIT,  /* like EXIT, but acted on only while the link is active */
    TSM_SIG_LINK,       /* from */
    TSM_SIG_UNLINK,     /* from; ref: unlink id */
    TSM_SIG_UNLINK_ACK, /* from; ref: unlink id */
    TSM_SIG_MONITOR,    /* from; ref */
    TSM_SIG_DEMONITOR,  /* from; ref */
    TSM_SIG_DOWN,       /* from; ref; term: reason. Also the message */
    TSM_SIG_READY,      /* from; ref; term: what its start gives, or NULL. Also the message */
    TSM_SIG_NOT_READY,  /* from; ref; term: why it ended before it was ready. Also the message */
    TSM_SIG_INFO,       /* request: a tsm_info_t */
};

enum {
    TSM_SIGF_PRIORITY = 1,  /* the sender asked for it */
    TSM_SIGF_CONVERTED = 2, /* term already is what receive hands out */
    TSM_SIGF_COUNTED = 4,   /* in a_count of the receiver's tsm_qlimit_t */
    TSM_SIGF_ASKS = 8,      /* its sender takes TSM_E_FULL for an answer */
    TSM_SIGF_LATE = 16,     /* held up by a fault once; not again */
    TSM_SIGF_RELEASED = 32, /* an answer to a CALL whose sender watches no more (tsm_call_release_owner) */
    TSM_SIGF_IGNORE = 64,   /* NOT_READY: it is not needed, and its start gives nothing */
};

/* One signal, and later one message in the mailbox: the node is reused as it moves from
 * the inbox to the mailbox. Plain messages are allocated without the tail part. */
typedef struct tsm_sig {
    tsm_node_t node;
    uint32_t gen; /* generation of the target it is meant for */
    uint16_t kind;
    uint16_t flags;
    void* term;
    uint64_t ref;
    /* not in TSM_SIG_MESSAGE and TSM_SIG_TIMEOUT */
    tsm_pid_t from;
    void* tag;  /* DOWN: the monitor's tag or NULL; INFO: the request */
    void* name; /* DOWN: the name monitored or NULL */
} tsm_sig_t;

#define TSM_MSG_BYTES offsetof(tsm_sig_t, from)
#define TSM_SIG_BYTES 64u /* the class shared with tsm_rel_t, see there */

static inline tsm_sig_t*
tsm_sig_next(const tsm_sig_t* sig)
{
    return (tsm_sig_t*)sig->node.next;
}

enum tsm_rel_kind {
    TSM_REL_LINK,         /* key: peer pid */
    TSM_REL_MONITOR,      /* I watch peer; key: ref */
    TSM_REL_MONITORED_BY, /* peer watches me; key: ref */
    TSM_REL_ALIAS,        /* an address of mine; key: ref */
    TSM_REL_STARTER,      /* peer waits until I am ready; key: 0, unlink_id: its ref */
};

enum tsm_alias_mode {
    TSM_ALIAS_NONE,
    TSM_ALIAS_EXPLICIT,        /* until unalias */
    TSM_ALIAS_REPLY,           /* until the first message through it */
    TSM_ALIAS_DEMONITOR,       /* until demonitor or DOWN */
    TSM_ALIAS_REPLY_DEMONITOR, /* first message or DOWN ends alias and monitor */
};

/* One link, monitor or alias in its owner's table. Allocated in the same size class as
 * a signal: when the process dies the node itself becomes the exit or DOWN signal, so
 * dying never allocates. */
typedef struct tsm_rel {
    tsm_hnode_t h; /* next, key, kind */
    uint16_t alias_mode;
    uint8_t active; /* LINK: false between unlink and its ack; STARTER: false after init_ignore */
    uint8_t priority;
    tsm_pid_t peer;
    uint64_t unlink_id;
    void* tag;
    void* name;
} tsm_rel_t;

_Static_assert(sizeof(tsm_sig_t) <= TSM_SIG_BYTES, "signal outgrew its class");
_Static_assert(sizeof(tsm_rel_t) <= TSM_SIG_BYTES, "relation outgrew its class");

/* Does it end up in the mailbox as it is? */
static inline bool
tsm_sig_is_mail(uint16_t kind)
{
    return kind == TSM_SIG_MESSAGE || kind == TSM_SIG_CALL;
}

enum tsm_status {
    TSM_ST_FREE,
    TSM_ST_RUNNABLE,
    TSM_ST_RUNNING,
    TSM_ST_WAITING,
    TSM_ST_BLOCKED,
    TSM_ST_SERVED, /* blocked, and another thread acts for it */
    TSM_ST_EXITING,
};

enum tsm_priority { TSM_PRIO_LOW, TSM_PRIO_NORMAL, TSM_PRIO_HIGH, TSM_PRIO_MAX };

/* flags, owner only */
enum {
    TSM_PF_TRAP_EXIT = 1 << 0,
    TSM_PF_THREADED = 1 << 1,  /* keeps its OS thread while waiting: plain def, pinned */
    TSM_PF_STARTED = 1 << 2,
    TSM_PF_TOKEN = 1 << 3,     /* counted in node.a_tokens */
    TSM_PF_NATIVE = 1 << 4,    /* known to sit in native code: runs off its slot */
    TSM_PF_TIMED_OUT = 1 << 5, /* the receive timer fired */
    TSM_PF_DEAD = 1 << 6,      /* dead to the world, frames not yet unwound */
    TSM_PF_SCANNING = 1 << 7,  /* a receive predicate runs */
    TSM_PF_PINNED = 1 << 8,
    TSM_PF_COROUTINE = 1 << 9, /* body is a coroutine (else a call still to be made) */
    TSM_PF_ENDING = 1 << 10,   /* the crash report is being made: Killed is not raised */
    TSM_PF_INTERRUPTED = 1 << 11, /* dead: its thread was asked to raise; undone at its end */
    TSM_PF_STRANDED = 1 << 12,  /* the node closed while it stood in a queue: never freed */
    TSM_PF_TOKEN_WAIT = 1 << 13, /* its pid stands in token_wait */
    TSM_PF_SERVER = 1 << 14,   /* body is an idle server (bind/tsm_server.c) */
    TSM_PF_LIMITED = 1 << 15,  /* spawned with max_heap or max_queue */
    TSM_PF_STARTING = 1 << 16, /* it has a STARTER */
    TSM_PF_BURNS = 1 << 17,    /* NATIVE, and computes there: its thread gives way to others */
};

typedef struct tsm_worker tsm_worker_t; /* sched/tsm_sched.h; opaque here */

/* What few processes have. Owner only. */
typedef struct tsm_cold {
    void* label;
    void* origin; /* ancestors and initial call (bind/tsm_origin.c) */
    uint32_t priority_refs; /* aliases and monitors that take priority messages */
    void* account; /* of its memory, when that is limited (bind/tsm_account.h) */
} tsm_cold_t;

typedef struct tsm_proc {
    /* any thread, atomic */
    tsm_inbox_t inbox;
    uint32_t a_gen;         /* written by the owner when the slot is freed */
    uint32_t a_status;      /* enum tsm_status; sc where BLOCKED meets poke */
    tsm_worker_t* a_worker; /* the OS thread it runs on or keeps, or NULL */
    struct tsm_qlimit* a_qlimit; /* NULL: no life of this slot had one (tsm_qlimit.h) */
    uint32_t a_draining;    /* signals taken from the inbox are being acted on */
    /* under the lock of tsm_name.c; sc where registering meets dying */
    tsm_sig_t* a_name;
    /* written under the lock of the wheel they hang in (sched/tsm_ptimer.h); outlives this
     * life, as a late timer may still stand in it */
    struct tsm_timer* a_timers; /* that will send to this process, but for `timer` */
    /* set once in tsm_ptab */
    uint32_t idx;
    uint32_t a_held; /* any thread, sc: bits, what is kept in its name elsewhere (hooks.died) */
    /* owner, or the run queue it stands in */
    tsm_node_t rq_node;
    /* owner only */
    tsm_sig_t* mb_first;
    tsm_sig_t** mb_last;
    tsm_sig_t** mb_save; /* receive resumes its scan here */
    tsm_sig_t** mark;    /* nothing older than this can match mark_ref */
    uint64_t mark_ref;
    uint32_t mb_len;
    uint32_t flags;
    tsm_hmap_t rels;
    void* body;
    void* wait; /* what the body awaits (bind/tsm_receive.c) */
    void* context;
    tsm_cold_t* cold;
    void* timer; /* tsm_ptimer_t that wakes it, of a wait that may be over (sched/tsm_ptimer.h) */
    uint64_t timer_id; /* 0: none is set */
    uint64_t timer_delay_ns; /* what that one was set for */
    tsm_pid_t parent;
    uint64_t reds;
    void* exit_term; /* why it ended, from the fatal signal to the last frame */
    uint16_t timer_slot;
    uint8_t priority;
    uint8_t low_turns; /* low priority: turns still to be passed over */
    uint16_t kills;    /* how often Killed was raised in it */
    uint32_t quick_runs;
    uint32_t epoch; /* of the node it belongs to; set by tsm_ptab */
    /* any thread, atomic: when the wait going on times out, or 0. Only the owner makes it 0 or
     * not; who reads the clock may put a time for a delay (sched/tsm_ptimer.h) */
    uint64_t a_wake;
    uint32_t a_urgent; /* any thread, atomic: look at the inbox; far from what all senders write to */
} tsm_proc_t;

static inline tsm_pid_t
tsm_proc_pid(const tsm_proc_t* p)
{
    /* relaxed: the owner itself wrote it, or the caller holds the process. */
    return tsm_pid_make(p->idx, tsm_load_relaxed(&p->a_gen));
}

/* A question that the target answers in its own turn among the signals. The asker
 * waits on `done`; the struct lives on the asker's stack. */
typedef struct tsm_info {
    void* answer; /* made by hooks.info; NULL when the target is dead */
    void* items;
    uint32_t status; /* of the target as the asker found it */
    bool keep;       /* the asker waits off its slot in a deterministic run: keep it a place */
    uint32_t ticket; /* of that place; see tsm_det.h */
    tsm_event_t done;
} tsm_info_t;

typedef struct tsm_hooks {
    /* terms; the calling thread is attached to the interpreter */
    void (*term_ref)(void* term);
    void (*term_unref)(void* term);
    bool (*term_equal)(void* a, void* b); /* names only; runs no user code */
    void* (*info)(tsm_proc_t* p, void* items, uint32_t status);
    /* p is dead, its relations have not fired, a_held is not 0. May be NULL. No user code. */
    void (*died)(tsm_proc_t* p);
    /* scheduling: p was woken by this thread and must get into a run queue */
    void (*ready)(tsm_proc_t* p);
    /* p may run or sit in native code and has urgent signals */
    void (*poke)(tsm_proc_t* p, uint32_t status);
    /* p is limited, and msg is about to come into its mailbox */
    void (*mail)(tsm_proc_t* p, tsm_sig_t* msg);
    /* a receive timer fired while p waits: is its time up? else set again; no memory: it waits
     * without a limit */
    void (*timer_fired)(tsm_proc_t* p);
    /* send it to `to` after a while; TSM_E_NOMEM: sig stays the caller's */
    int (*later)(tsm_pid_t to, tsm_sig_t* sig, uint64_t delay_ns);
} tsm_hooks_t;

/* Reasons the core itself compares or makes: canonical pointers set by the binding. */
typedef struct tsm_terms {
    void *normal, *kill, *killed, *noproc, *noconnection, *shutdown;
} tsm_terms_t;

extern tsm_hooks_t tsm_hooks;
extern tsm_terms_t tsm_terms;

/* ---- tsm_ptab.c: the table ---- */

/* A new node: sets the limit and counts from zero; keeps what earlier nodes allocated,
 * some of whose processes may still be unwinding. */
int tsm_ptab_init(uint32_t max_processes);
/* A fresh process, owned by the caller, inbox active; NULL: *err is NOMEM or LIMIT. */
tsm_proc_t* tsm_ptab_new_any(int* err);
/* Ends the slot's life after the last frame is gone. Owner only. */
void tsm_ptab_free_owner(tsm_proc_t* p);
/* The struct behind an index, or NULL when that index was never used. */
tsm_proc_t* tsm_ptab_slot_any(uint32_t idx);
uint32_t tsm_ptab_live_any(void);
uint32_t tsm_ptab_high_any(void); /* one past the highest index ever used */
uint64_t tsm_ptab_spawned_any(void); /* since tsm_ptab_init, like the next */
uint64_t tsm_ptab_died_any(void);
void tsm_ptab_count_death(tsm_proc_t* p);
bool tsm_ptab_is_current(const tsm_proc_t* p); /* it belongs to the node that runs now */

/* The struct of a pid, NULL when its generation is over. The answer may be stale. */
static inline tsm_proc_t*
tsm_ptab_get_any(tsm_pid_t pid)
{
    tsm_proc_t* p = tsm_ptab_slot_any(tsm_pid_idx(pid));
    /* acquire: pairs with tsm_ptab_new_any, whose initialisation becomes visible. */
    if (p == NULL || tsm_load_acquire(&p->a_gen) != tsm_pid_gen(pid)) {
        return NULL;
    }
    return p;
}

/* ---- tsm_signal.c: sending and handling ---- */

tsm_sig_t* tsm_sig_new(enum tsm_sig_kind kind);
void tsm_sig_free(tsm_sig_t* sig); /* the memory only; terms are the caller's */
/* Takes sig, but with TSM_E_FULL (tsm_qlimit.h; only with TSM_SIGF_ASKS).
 * TSM_E_NOPROC: the target is dead (answered where due). */
int tsm_signal_any(tsm_pid_t to, tsm_sig_t* sig);
/* The message of a CALL is lost on its way; that its sender watches is not. Takes sig. */
void tsm_call_lost_any(tsm_pid_t to, tsm_sig_t* sig);
/* Handles all that arrived. Returns true while alive; false: exit_term is set and the
 * caller must call tsm_proc_die with the rest of the chain. */
bool tsm_drain_owner(tsm_proc_t* p, tsm_sig_t** rest);
/* Death to the world: name, links, monitors, what is left in the inbox. Takes reason. */
void tsm_proc_die_owner(tsm_proc_t* p, void* reason, tsm_sig_t* rest);
/* Both of the above. True while alive. */
bool tsm_proc_service_owner(tsm_proc_t* p);

/* Terms to drop later, per OS thread. tsm_flush runs user code (finalisers). */
void tsm_bury(tsm_sig_t* sig);
int tsm_bury_term(void* term);
void tsm_flush(void);
extern TSM_TLS tsm_sig_t* tsm_buried;
static inline bool
tsm_has_buried(void)
{
    return tsm_buried != NULL;
}

/* ---- tsm_link.c: links, monitors, aliases of the calling process ---- */

uint64_t tsm_ref_new(void);
int tsm_link_owner(tsm_proc_t* p, tsm_pid_t peer);
int tsm_unlink_owner(tsm_proc_t* p, tsm_pid_t peer);
/* Takes tag and name (may be NULL). The ref may be made before (0: make one). */
int tsm_monitor_owner(tsm_proc_t* p, tsm_pid_t target, uint16_t alias_mode, bool priority,
                      void* tag, void* name, uint64_t* ref);
/* *cancelled: it had not fired. flush also removes a DOWN already in the mailbox. */
int tsm_demonitor_owner(tsm_proc_t* p, uint64_t ref, bool flush, bool* cancelled);
int tsm_alias_owner(tsm_proc_t* p, uint16_t mode, bool priority, uint64_t* ref);
bool tsm_unalias_owner(tsm_proc_t* p, uint64_t ref);
tsm_rel_t* tsm_rel_find_owner(tsm_proc_t* p, enum tsm_rel_kind kind, uint64_t key);
tsm_rel_t* tsm_rel_add_owner(tsm_proc_t* p, enum tsm_rel_kind kind, uint64_t key);
void tsm_rel_insert_owner(tsm_proc_t* p, tsm_rel_t* rel); /* cannot fail */
/* Unhooks it from the table; the caller frees or reuses the memory. */
void tsm_rel_take_owner(tsm_proc_t* p, tsm_rel_t* rel);
tsm_rel_t* tsm_rel_pop_owner(tsm_proc_t* p); /* any one, unhooked; NULL: none left */
void tsm_rel_free(tsm_rel_t* rel);
/* A CALL came out of the mailbox, its term is the caller's: what is left becomes the relation of
 * one who is watched. Takes sig. */
void tsm_call_accept_owner(tsm_proc_t* p, tsm_sig_t* sig);
/* p answers the CALL ref itself: it is no longer watched for it. False: nobody watches. The
 * answer then says so (TSM_SIGF_RELEASED), which saves a DEMONITOR. */
bool tsm_call_release_owner(tsm_proc_t* p, uint64_t ref);
/* Turns the unhooked rel into a signal to its peer. term (may be NULL) is borrowed. */
void tsm_rel_send_owner(tsm_proc_t* p, tsm_rel_t* rel, enum tsm_sig_kind kind, void* term);
/* The calling process is ready: its starter gets term (borrowed, may be NULL). false: nobody waits. */
bool tsm_ready_owner(tsm_proc_t* p, void* term);
/* Its end, which is near, is no failure. false: nobody waits. */
bool tsm_ignore_owner(tsm_proc_t* p);
/* Remembers that only messages from now on can match ref (the marker of receive). */
void tsm_mark_owner(tsm_proc_t* p, uint64_t ref);

/* ---- tsm_name.c: registered names ---- */

/* Names are terms (exact str); hash comes from the binding. */
int tsm_name_register_any(void* name, uint64_t hash, tsm_proc_t* p, tsm_pid_t pid);
int tsm_name_unregister_any(void* name, uint64_t hash);
tsm_pid_t tsm_name_find_any(void* name, uint64_t hash);
void tsm_name_drop_owner(tsm_proc_t* p);
void* tsm_name_of_any(tsm_proc_t* p); /* a reference to its name, or NULL */
/* Calls visit for every entry under the table's lock; visit must not call back. */
void tsm_name_each_any(void (*visit)(void* arg, void* name, tsm_pid_t pid), void* arg);

tsm_cold_t* tsm_cold_owner(tsm_proc_t* p); /* made on first use; NULL: no memory */

#endif

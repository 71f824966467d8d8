/* tsm_bind.h - what the files of bind/ share.
 *
 * Only this folder knows Python. Rules, beside those of tsm_proc.h and tsm_sched.h:
 *   - user code (bodies, predicates, copying, finalisers) runs outside the runtime, that
 *     is not between tsm_op_begin and tsm_op_end; so no reference to a user's object is
 *     dropped in between, it is buried (tsm_bury)
 *   - no lock of ours is held while the thread detaches or user code runs
 *   - every wait is detached
 *   - module state is one static struct: the module refuses subinterpreters
 */
#ifndef TSM_BIND_H
#define TSM_BIND_H

#include "bind/tsm_compat.h"
#include "proc/tsm_mailbox.h"
#include "sched/tsm_op.h"
#include "sched/tsm_ptimer.h"
#include "sched/tsm_sched.h"

/* Objects kept for the next of their kind (tsm_spare.h). */
enum tsm_spare_kind { TSM_SPARE_BOUND, TSM_SPARE_CALL_0, TSM_SPARE_CALL_1, TSM_SPARE_CALL_2, TSM_SPARE_KINDS };
enum { TSM_SPARE_EACH = 7 };
typedef struct {
    uint32_t count, room;
    PyObject* kept[TSM_SPARE_EACH];
} tsm_spare_t;

/* Per OS thread that runs processes; w->py. Own thread only, but for `ts`. */
typedef struct tsm_pyworker {
    PyThreadState* ts; /* read by the monitor */
    PyObject* context;  /* the empty context processes without one run in */
    PyObject* stop;     /* StopIteration, used again and again (receive) */
    uint32_t probes;    /* monitor only: answered in a row */
    uint64_t probe_ns;  /* monitor only: the run they belong to */
    struct tsm_reclaim* reclaim; /* tsm_reclaim.c; NULL until first needed */
    struct tsm_found* lookups;   /* tsm_lookup.h; the same */
    tsm_spare_t spares[TSM_SPARE_KINDS];
} tsm_pyworker_t;

typedef struct tsm_bind {
    /* exceptions and callables of transom/, set once by _core._setup */
    PyObject *not_in_process, *not_running, *no_process, *name_taken, *process_limit;
    PyObject *forked_error, *not_owner, *killed, *stop, *copy_error, *queue_full;
    PyObject* make_crash; /* (exception) -> Crash */
    PyObject* report;     /* (pid, reason, info) logs one crash report */
    PyObject* discover;   /* (code) -> bool: is it agent code? */
    PyObject* restart_events; /* () -> None: ask again where events were switched off */
    PyObject* collection_due; /* () -> bool */
    PyObject* collect;    /* () -> None */
    PyObject* outside;      /* () -> bool: may a thread that is no worker still send? */
    PyObject *report_heap, *report_queue; /* log the end of a process over its limit */
    PyObject* check_arguments; /* (function, agent class, args, kwargs) raises TypeError */
    PyObject* call_error;   /* (call, reason) -> CallError */
    PyObject* no_method;    /* (reference, name) raises AttributeError with what there is */
    PyObject* call_outside; /* (call) -> iterator: awaited in no process */
    PyObject* call_blocking; /* (call) -> the answer: asked for in no process */
    PyObject* call_watch;   /* (call) -> None, or the circle it would close */
    PyObject* call_unwatch; /* (call) the wait is over */
    PyObject* aio_loop;     /* (which) -> _IoLoop, started */
    PyObject* aio_outside;  /* (aio) -> iterator: awaited in no process */
    PyObject* aio_outside_stream;  /* (aio) -> asynchronous iterator: the same for streams */
    PyObject* aio_blocking; /* (aio) -> the result: asked for in no process */
    PyObject* aio_blocking_stream; /* (aio) -> iterator, for plain functions */
    PyObject* foreign_await; /* (what a body yielded) -> the exception for it */
    PyObject* home_var;     /* context variable: the agent on the loop whose handler this is */
    PyObject* refused;      /* the class of an answer that is an error */
    PyObject* server_dispatch; /* (server, message) handles what is no plain call */
    PyObject* server_crashed;  /* (server, exception) -> coroutine: terminate, raise it */
    PyObject* server_after;    /* (server) -> coroutine: what the handler asked for */
    PyObject* server_refuse;   /* (server, call) -> answer to a call of another class */
    PyObject* server_booted;   /* (server, what init gave): of a state machine */
    PyObject* server_enter;    /* (server, *args, **kwargs) -> coroutine: init on the loop */
    PyObject* starting;        /* the class of starts, derived from _core._Start */
    PyObject* start_demand;    /* (kind) raises NotInProcess outside of processes */
    PyObject *start_outside, *start_blocking; /* (start), (start, timeout): as of calls */
    PyObject* start_error;     /* (reason, ref or None) -> StartError */
    PyObject* start_taken;     /* (name) -> AlreadyStarted */
    PyObject* s_timeout_message; /* what an idle server gets when its time is up */
    PyObject* own_context; /* (Context) -> Context: with what must not be shared copied */
    PyObject* classify;   /* (type) -> how its instances are copied, tsm_copy.h */
    PyObject* explain_copy; /* (exception, root, steps, culprit) -> exception */
    PyObject* move_array; /* (ndarray) -> the empty array that takes it over */
    PyObject* copyreg_table; /* copyreg.dispatch_table */
    PyObject* safepoint;  /* an empty Python function */
    /* interned strings */
    PyObject *s_normal, *s_kill, *s_killed, *s_noproc, *s_noconnection, *s_shutdown;
    PyObject *s_timeout, *s_calling_self, *s_queue_full, *s_init;
    PyObject *s_down, *s_throw, *s_close, *s_disable;
    PyObject *s_deepcopy, *s_reduce_ex, *s_setstate, *s_dict, *s_append;
    PyObject* four;       /* the int 4: protocol of __reduce_ex__ */
    PyObject* node_name;  /* str */
    PyObject* marker;     /* what our awaitables yield to the driver */
    PyInterpreterState* interp;
    bool forked;
} tsm_bind_t;

extern tsm_bind_t tsm_bind;

extern PyTypeObject TsmPid_Type, TsmRef_Type, TsmTimer_Type, TsmExit_Type, TsmDown_Type;
extern PyTypeObject TsmReceive_Type, TsmShare_Type, TsmMove_Type;

typedef struct {
    PyObject_HEAD
    tsm_pid_t pid;
} TsmPid;

typedef struct {
    PyObject_HEAD
    uint64_t id;
    tsm_pid_t owner; /* 0: made outside a process */
} TsmRef;

typedef struct {
    PyObject_HEAD
    tsm_timer_handle_t handle;
} TsmTimer;

PyObject* tsm_pid_object(tsm_pid_t pid);
PyObject* tsm_ref_object(uint64_t id, tsm_pid_t owner);
PyObject* tsm_exit_object(PyObject* sender, PyObject* reason);
PyObject* tsm_down_object(PyObject* ref, PyObject* pid, PyObject* reason, PyObject* tag);
PyObject* tsm_record_tuple(PyObject* record); /* the fields of an Exit or Down */
PyObject* tsm_record_reason(PyObject* record); /* user mode: its own copy */
PyObject* tsm_record_reason_shared(PyObject* record); /* what others may hold, too */
PyObject* tsm_record_make(PyTypeObject* type, PyObject* const* fields);
int tsm_types_init(PyObject* module);

static inline bool
tsm_pid_check(PyObject* op)
{
    return Py_IS_TYPE(op, &TsmPid_Type);
}

static inline bool
tsm_ref_check(PyObject* op)
{
    return Py_IS_TYPE(op, &TsmRef_Type);
}

#include "bind/tsm_edge.h"

/* ---- terms ---- */
/* Isolation: value itself where it is immutable, else a copy. New reference, or NULL with an
 * exception that names the way to what cannot be sent, beginning with word. */
PyObject* tsm_copy(PyObject* value, const char* word);
/* The arguments of a vectorcall, the last ones named by kwnames (or NULL). */
int tsm_copy_args(PyObject** to, PyObject* const* from, Py_ssize_t n, PyObject* kwnames);
/* A reason as the core compares them: canonical where it is one of the known words.
 * New reference. */
PyObject* tsm_reason(PyObject* value);
uint64_t tsm_name_hash(PyObject* name);
/* dest of any form -> pid and alias id. 0: exception. quiet_name: a (name, node) form,
 * which never fails: *pid may be 0. */
int tsm_resolve(PyObject* dest, const char* what, tsm_pid_t* pid, uint64_t* alias);
/* Pid, or an object with a _transom_pid attribute. 0 with an exception. */
tsm_pid_t tsm_as_pid(PyObject* op, const char* what);

PyObject* tsm_send(PyObject* self, PyObject* const* args, Py_ssize_t n, PyObject* kwnames);

/* send met a full queue: refuses or waits. Takes sig (tsm_full.c). */
PyObject* tsm_post_full(tsm_pid_t pid, tsm_sig_t* sig);
extern _Thread_local bool tsm_on_loop; /* this is the thread of an event loop */
/* A call that the queue of pid had no room for: true, sent all the same, since its sender waits anyway
 * (on_full="wait"); false: refused. Takes sig. Inside the runtime. */
bool tsm_call_full(tsm_pid_t pid, tsm_sig_t* sig);

/* ---- bodies (tsm_body.c) ---- */
enum tsm_run tsm_body_run(tsm_worker_t* w, tsm_proc_t* p);
void tsm_body_release(tsm_proc_t* p);
/* The body came to its end by itself: result, or NULL with an exception. Dead on return. */
void tsm_body_conclude(tsm_worker_t* w, tsm_proc_t* p, PyObject* result);
/* One step of a coroutine, in user mode. As PyIter_Send. */
PySendResult tsm_body_resume(PyObject* coro, PyObject** result);
/* Its coroutine awaits: wait, or go on because something is there already. */
enum tsm_run tsm_body_waits(tsm_worker_t* w, tsm_proc_t* p);
/* The caller's context for a new process, or NULL where it is empty. -1: error. */
int tsm_context_inherit(PyObject** context);

/* ---- reclaiming (tsm_reclaim.c): cycles that only a process held go when it ends ---- */
int tsm_reclaim_init(void);
/* Remembers op (borrowed) as held by the process that ends, if it may be part of a cycle. */
void tsm_reclaim_hold(tsm_worker_t* w, PyObject* op);
void tsm_reclaim_hold_process(tsm_worker_t* w, tsm_proc_t* p);
/* Drops what was remembered, cycles included; user mode. */
void tsm_reclaim_run(tsm_worker_t* w);
void tsm_reclaim_thread_end(tsm_worker_t* w);

/* ---- receive (tsm_receive.c) ---- */
int tsm_receive_init(void);
bool tsm_receive_ready(tsm_proc_t* p);
/* For awaitables: end the await with value (taken); suspend until ready; no longer wait. */
PyObject* tsm_finish_await(tsm_worker_t* w, PyObject* value);
PyObject* tsm_suspend(tsm_worker_t* w, tsm_proc_t* p, PyObject* self, bool yield);
void tsm_stop_waiting(tsm_proc_t* p, PyObject* self);
PyObject* tsm_receive(PyObject* self, PyObject* const* args, Py_ssize_t n, PyObject* kwnames);
PyObject* tsm_sync_receive(PyObject* self, PyObject* const* args, Py_ssize_t n, PyObject* kwnames);
PyObject* tsm_sleep(PyObject* self, PyObject* arg);
PyObject* tsm_sync_sleep(PyObject* self, PyObject* arg);
/* What receive would hand out for this mailbox entry: borrowed, kept in the entry. */
PyObject* tsm_message_object(tsm_sig_t* msg, tsm_pid_t receiver);
/* msg is out of the mailbox, and that object handed out. Takes msg. */
void tsm_message_free(tsm_proc_t* p, tsm_sig_t* msg);
int tsm_delay_ns(PyObject* seconds, const char* what, uint64_t* ns);

/* ---- limits (tsm_account.c); p has TSM_PF_LIMITED but where that is said ---- */
/* Not yet limited; nobody knows the pid. max_heap 0, max_queue 0: none. NOMEM. */
int tsm_limits_set(tsm_proc_t* p, int64_t max_heap, uint32_t max_queue, int on_full);
void tsm_limits_release(tsm_proc_t* p);
void tsm_limits_mail(tsm_proc_t* p, tsm_sig_t* msg);
void tsm_limits_sent(PyObject* copy); /* any caller */
bool tsm_limits_over(tsm_proc_t* p);
void tsm_limits_turn_begin(tsm_proc_t* p);
void tsm_limits_adopt(void);
void tsm_limits_turn_end(void);
/* Inside the runtime: measures, and ends p when it holds too much. on_stack: its frames are
 * on this thread. */
void tsm_limits_enforce(tsm_worker_t* w, tsm_proc_t* p, bool on_stack);
void tsm_limits_ended(tsm_worker_t* w, tsm_proc_t* p);
/* For reports, any p: -1, 0, 0 without a limit. */
int64_t tsm_limits_used(const tsm_proc_t* p);
int64_t tsm_limits_max(const tsm_proc_t* p);
int64_t tsm_limits_buffers(const tsm_proc_t* p);

/* ---- the rest of the module's functions, one file each ---- */
/* A message signal with a copy of message; NULL with an exception. */
tsm_sig_t* tsm_message_new(PyObject* message, uint64_t alias, bool priority);
/* Sends sig in the name of the caller, if that is alive. Takes sig. */
PyObject* tsm_post(tsm_pid_t pid, tsm_sig_t* sig);
/* A process that is dead acts no more on others. */
bool tsm_caller_is_dead(void);
extern PyMethodDef tsm_ops_methods[], tsm_names_methods[], tsm_spawn_methods[], tsm_info_methods[];
extern PyMethodDef tsm_nodeinfo_methods[], tsm_copy_methods[];
extern PyMethodDef tsm_reds_methods[], tsm_node_methods[], tsm_reclaim_methods[];
extern PyMethodDef tsm_data_methods[], tsm_replay_methods[], tsm_server_methods[], tsm_anycall_methods[];
int tsm_node_init(void);
int tsm_births_watch(void); /* after the start of a node */
void* tsm_info_hook(tsm_proc_t* p, void* items, uint32_t status);
bool tsm_counters_used(void); /* arrays that all change may be there */
void tsm_key_fix_order(void);  /* no table has rows: from now on their order is the same in every program */
/* Waits detached for an event of our own; 0, or -1 with an exception (signals). */
int tsm_wait_event(tsm_event_t* event, int64_t timeout_ns);

#include "bind/tsm_reds.h"

#endif

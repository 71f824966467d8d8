/* tsm_agent.h - what the files about agents share: calls, references, servers. */
#ifndef TSM_AGENT_H
#define TSM_AGENT_H

#include "bind/tsm_bind.h"

/* The descriptor that stands for one public method in the class of references. */
typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyObject* name;     /* exact str, interned */
    PyObject* owner;    /* the agent class */
    PyObject* function; /* in that class */
    PyObject* names;    /* of its parameters and variables: a tuple */
    PyObject* kwdefaults; /* dict or NULL */
    PyObject* code;       /* of that function, when the class was made: the next two and `names` are read from it */
    int needed;           /* positional parameters without a default, self not counted */
    int most;             /* positional arguments it takes; -1: it must be looked into */
} TsmMethod;

/* A reference to an agent: by pid, or by name (then pid is 0). */
typedef struct {
    PyObject_HEAD
    tsm_pid_t pid;
    PyObject* name;
} TsmAgentRef;

enum tsm_call_state { TSM_CALL_NEW, TSM_CALL_SENT, TSM_CALL_DONE, TSM_CALL_CAST, TSM_CALL_SENDING };

/* A call, from the expression that makes it to its answer; it is also the message that
 * the agent gets. NEW: any thread may have it. Who turns that into SENDING owns it, copies the
 * arguments, and sends it. After that only the caller touches `begun` and changes the state,
 * only the agent `args[0]`, and the rest is read-only. */
typedef struct {
    PyObject_VAR_HEAD /* number of arguments, the named ones last */
    TsmMethod* method;
    PyObject* name;    /* of the agent, or NULL */
    PyObject* kwnames; /* tuple or NULL */
    tsm_pid_t to, from;
    uint64_t ref; /* the alias the answer goes to; 0: a cast */
    uint64_t timeout_ns;
    uint8_t a_state; /* atomic */
    bool begun;
    bool tracked;      /* by the collector: it has arguments that may lead back here. Set once */
    uint8_t a_settled; /* atomic: it is answered, or somebody else is to answer it */
    uint8_t a_over;    /* atomic: the caller waits no more; set before its DEMONITOR is sent */
    PyObject* args[1]; /* [0] is room for self */
} TsmCall;

#define TSM_CALL_TIMEOUT_NS 5000000000u

/* Goes on looking for what bears ref; true: mb_save points at it. */
static inline bool
tsm_scan_ref(tsm_proc_t* p, uint64_t ref)
{
    while (*p->mb_save != NULL && (*p->mb_save)->ref != ref) {
        tsm_charge(tsm_self, 1);
        p->mb_save = (tsm_sig_t**)(void*)&(*p->mb_save)->node.next;
    }
    return *p->mb_save != NULL;
}

/* A reference of this class, which derives from TsmAgentRef_Type. */
PyObject* tsm_agentref_make(PyTypeObject* type, tsm_pid_t pid);

extern PyTypeObject TsmMethod_Type, TsmBound_Type, TsmAgentRef_Type, TsmCall_Type, TsmServer_Type;
extern PyTypeObject TsmAnyCall_Type;

/* args[0..n) positional, then the named ones. */
PyObject* tsm_call_new(TsmMethod* method, TsmAgentRef* to, uint64_t timeout_ns,
                       PyObject* const* args, Py_ssize_t n, PyObject* kwnames);
/* -1: TypeError, the arguments do not fit the function (tsm_signature.c). */
int tsm_arguments_check(TsmMethod* method, PyObject* const* args, Py_ssize_t n, PyObject* kwnames);
/* For calls without names this is all there is to check; false: ask the above. */
static inline bool
tsm_arguments_fit(const TsmMethod* method, Py_ssize_t n, PyObject* kwnames)
{
    return kwnames == NULL && n >= method->needed && n <= method->most
           && PyFunction_GET_CODE(method->function) == method->code;
}
void tsm_arguments_learn(TsmMethod* method); /* of its function, once */
/* Sends it without an answer. Takes call. */
PyObject* tsm_call_cast(PyObject* call);
/* The answer is there, or the time is up; from the driver. */
PyObject* tsm_watch_calls(PyObject* m, PyObject* arg);
/* tsm_call_look.c */
PyObject* tsm_call_repr(PyObject* op);
PyObject* tsm_call_arguments(PyObject* op, PyObject* none);
extern PyGetSetDef tsm_call_getset[];
void tsm_call_settle(TsmCall* call); /* by the agent */
/* The CALL with it came out of the mailbox: has its caller gone, or given up, meanwhile? Then its
 * DEMONITOR may have come and gone, and nobody would undo a relation made now. */
bool tsm_call_is_over(const TsmCall* call);
/* Was it sent to this process as a call? Else it is a call that somebody put into a message. */
bool tsm_call_is_for(const TsmCall* call, tsm_pid_t pid);
bool tsm_call_ready(tsm_proc_t* p);
bool tsm_anycall_ready(tsm_proc_t* p);
enum tsm_run tsm_server_run(tsm_worker_t* w, tsm_proc_t* p);
/* The coroutine that stands in a server (or body), or NULL. Borrowed. */
PyObject* tsm_server_coro(tsm_proc_t* p);

/* The state of a server. Borrowed; NULL: none. */
PyObject* tsm_server_agent(tsm_proc_t* p);
/* What Python keeps with a server: a dict or None. New reference. */
PyObject* tsm_server_extra(tsm_proc_t* p);

/* What a server leads to, which the collector does not track; others: nothing. */
void tsm_agent_visit(PyObject* op, visitproc visit, void* arg);

#endif

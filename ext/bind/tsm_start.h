/* tsm_start.h - what the files about starting share: spawning with options, where a process
 * comes from, and how a start is waited for.
 */
#ifndef TSM_START_H
#define TSM_START_H

#include "bind/tsm_agent.h"

typedef struct {
    bool link, monitor, trap_exit, pinned;
    bool start;         /* its spawner waits until it is ready */
    uint8_t priority;
    PyObject* name;     /* str or NULL */
    PyObject* label;    /* str or NULL */
    int64_t max_heap;   /* bytes; 0: no limit */
    uint32_t max_queue; /* messages; 0: no limit */
    int on_full;        /* enum tsm_on_full */
} tsm_spawn_options_t;

enum { TSM_SPAWN_OPTIONS = 8 };

/* From (name, priority, trap_exit, pinned, label, max_heap, max_queue, on_full), which Python
 * has checked. Borrows. -1: exception. */
int tsm_spawn_options(PyObject* const* args, tsm_spawn_options_t* options);

typedef struct {
    tsm_pid_t pid, parent;
    uint64_t ref;       /* of options->monitor */
    uint64_t start_ref; /* of options->start */
} tsm_spawned_t;

/* A coroutine, a call still to be made, or a server: by flag, TSM_PF_COROUTINE, _THREADED or
 * _SERVER. Takes body and origin (may be NULL). -1: exception. Any caller in user mode. */
int tsm_spawn_body(const tsm_spawn_options_t* options, PyObject* body, uint32_t flag,
                   PyObject* origin, tsm_spawned_t* out);
/* What a process is to run that calls fn: *flag as above. New reference. */
PyObject* tsm_spawn_make_body(PyObject* fn, PyObject* const* args, Py_ssize_t n, PyObject* kwnames,
                              uint32_t* flag);

void tsm_spawn_drop_body(PyObject* body, uint32_t flag); /* that never becomes a process */

/* None for a process that was not started through proc_lib; new reference. Owner of p. */
PyObject* tsm_origin_of(tsm_proc_t* p);
PyObject* tsm_initial_call_of(tsm_proc_t* p); /* as its body tells it; a str or None */
/* The origin of a process that the caller is about to start. New reference; user mode. */
PyObject* tsm_origin_of_child(PyObject* initial_call);

/* A server that is still to run init with these arguments, which are copied. */
PyObject* tsm_server_unborn(PyObject* agent, uint32_t flags, bool linked, PyObject* const* args,
                            Py_ssize_t n, PyObject* kwnames);

extern PyTypeObject TsmHow_Type, TsmStart_Type, TsmStarting_Type, TsmOrigin_Type;
extern PyMethodDef tsm_start_methods[];

/* The process that is started has told, or has ended; from the driver. */
bool tsm_start_ready(tsm_proc_t* p);
/* NULL with an exception, as in a process that nobody waits for. Outside the runtime. */
PyObject* tsm_start_nobody(void);

#endif

/* tsm_reds.h - reductions, native code, and when the world may be stopped. Part of tsm_bind.h.
 *
 * tsm_reds.c counts, tsm_blocks.c remembers what blocks, tsm_world.c asks who would be waited for,
 * tsm_callback.c makes callables of what sys.monitoring calls (tsm_on_*).
 */
#ifndef TSM_REDS_H
#define TSM_REDS_H

PyObject* tsm_on_code(PyObject* self, PyObject* const* args, size_t nargsf, PyObject* kwnames);
PyObject* tsm_on_return(PyObject* self, PyObject* const* args, size_t nargsf, PyObject* kwnames);
int tsm_callbacks_init(PyObject* module);

void tsm_reds_taken(tsm_worker_t* w, tsm_proc_t* p);
void tsm_reds_tick(uint64_t now_ns);
void tsm_reds_calm_down(void); /* no node runs: what the last one left does not count for the next */
bool tsm_reds_is_agent(PyObject* code);
/* Of processes with a plain function: does it block? What a run off the slot, just over, was like. */
bool tsm_blocks(tsm_proc_t* p);
void tsm_blocks_learn(tsm_worker_t* w, PyObject* body);
typedef struct { /* zeroed: nothing is wanted */
    uint64_t wanted_ns, asked_ns; /* since when the world shall be stopped; when it was asked last */
} tsm_asker_t;
bool tsm_world_is_quick(tsm_asker_t* asker);
void tsm_world_main_thread(PyThreadState* ts);
void tsm_reds_interrupt(tsm_worker_t* w), tsm_reds_calm(tsm_worker_t* w);
bool tsm_reds_is_native(void); /* a thread sits in attached native code: stop no world */
PyObject* tsm_disable_here(void); /* what a callback of sys.monitoring answers for library code */
/* Budget used up (or the slot lost) in user code. false: an exception is set. */
bool tsm_reds_slow(tsm_worker_t* w);

#endif

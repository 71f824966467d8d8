/* tsm_nodeinfo.c - figures of the node, and who occupies its threads. */
#include "bind/tsm_bind.h"

#include "base/tsm_clock.h"
#include "mem/tsm_arena.h"

typedef struct {
    tsm_pid_t pid;
    uint64_t tid, since_ns;
    uint32_t how;
    bool alive;
} occupant_t;

/* A snapshot without Python objects: taken under the pool's lock. */
static size_t
occupants(occupant_t* out, size_t room)
{
    size_t n = 0;
    tsm_mutex_lock(&tsm_sched.pool_lock);
    for (tsm_worker_t* w = tsm_sched.all; w != NULL; w = w->all_next) {
        /* relaxed, all: a report; process memory is type-stable. */
        tsm_proc_t* p = tsm_load_relaxed(&w->a_proc);
        uint32_t how = tsm_load_relaxed(&w->a_occupied);
        if (p == NULL || how == TSM_OCC_NONE) {
            continue;
        }
        bool alive = !tsm_inbox_is_dead(&p->inbox);
        if (!alive && how == TSM_OCC_BLOCKED) {
            how = TSM_OCC_ABANDONED;
        }
        if (n < room) {
            out[n] = (occupant_t){tsm_proc_pid(p), tsm_load_relaxed(&w->a_tid), /* relaxed: as above. */
                                  tsm_load_relaxed(&w->a_since_ns), how, alive};
        }
        n++;
    }
    tsm_mutex_unlock(&tsm_sched.pool_lock);
    return n;
}

static PyObject*
occupied_list(void)
{
    static const char* const names[] = {"none", "parked", "blocked", "waiting", "abandoned"};
    size_t room = tsm_sched.worker_count + 16u;
    occupant_t* found = PyMem_New(occupant_t, room);
    PyObject* list = found == NULL ? PyErr_NoMemory() : PyList_New(0);
    size_t n = list == NULL ? 0 : occupants(found, room);
    uint64_t now_ns = tsm_now_ns();
    for (size_t i = 0; list != NULL && i < n && i < room; i++) {
        double seconds = (double)(now_ns - found[i].since_ns) / 1e9;
        PyObject* item = Py_BuildValue("{s:N,s:O,s:K,s:s,s:d}", "pid", tsm_pid_object(found[i].pid),
            "alive", found[i].alive ? Py_True : Py_False, "thread_id", (unsigned long long)found[i].tid,
            "kind", names[found[i].how], "seconds", seconds);
        if (item == NULL || PyList_Append(list, item) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(item);
    }
    PyMem_Free(found);
    return list;
}

typedef struct {
    unsigned long long switches, preemptions, steals, queued;
} totals_t;

static totals_t
totals(void)
{
    totals_t sum = {0, 0, 0, 0};
    for (uint32_t i = 0; i < tsm_sched.slot_count; i++) {
        tsm_slot_t* slot = &tsm_sched.slots[i];
        /* relaxed, all: statistics. */
        sum.switches += tsm_load_relaxed(&slot->a_switches);
        sum.preemptions += tsm_load_relaxed(&slot->a_preemptions);
        sum.steals += tsm_load_relaxed(&slot->a_steals);
        for (int q = 0; q < TSM_QUEUES; q++) {
            sum.queued += tsm_runq_len_any(&slot->runq[q]);
        }
    }
    for (int q = 0; q < TSM_QUEUES; q++) {
        sum.queued += tsm_inject_len_any(&tsm_sched.inject[q]);
    }
    return sum;
}

PyDoc_STRVAR(node_info_doc, "node_info()\n--\n\n"
"Figures of the node, a dict: slots, threads, max_threads, processes (live), spawned and\n"
"exited (since the node started), run_queue, switches, preemptions (tier 2), handovers (tier 3:\n"
"slots taken from native code), capped (wanted a thread at the cap), steals, buffers and\n"
"buffer_memory (arenas of numpy data of processes with max_heap, and bytes), and occupied: one\n"
"dict for each OS thread a process sits on off its turn: pid, alive, thread_id, seconds, and kind\n"
"\"parked\" (preempted), \"blocked\" (in native code), \"waiting\" (a plain def in sync.receive) or\n"
"\"abandoned\" (dead, but its native call has not returned, or it swallows every Killed).");

static PyObject*
py_node_info(PyObject* Py_UNUSED(m), PyObject* Py_UNUSED(none))
{
    if (!tsm_check_running()) {
        return NULL;
    }
    PyObject* occupied = occupied_list();
    if (occupied == NULL) {
        return NULL;
    }
    totals_t sum = totals();
    /* relaxed, all: statistics. */
    unsigned long long spawned = tsm_ptab_spawned_any(), died = tsm_ptab_died_any();
    unsigned long long handovers = tsm_load_relaxed(&tsm_sched.a_handovers);
    unsigned long long capped = tsm_load_relaxed(&tsm_sched.a_capped);
    unsigned long long off = tsm_load_relaxed(&tsm_sched.a_offslot_runs);
    uint64_t arenas, buffer_bytes;
    tsm_arena_totals(&arenas, &buffer_bytes);
    return Py_BuildValue("{s:I,s:I,s:I,s:I,s:K,s:K,s:K,s:K,s:K,s:K,s:K,s:K,s:K,s:K,s:K,s:N}",
        "slots", tsm_sched.slot_count, "threads", tsm_sched.worker_count,
        "max_threads", tsm_sched.max_tokens,
        "processes", (unsigned int)(spawned > died ? spawned - died : 0),
        "spawned", spawned, "exited", died, "run_queue", sum.queued, "switches", sum.switches,
        "preemptions", sum.preemptions, "handovers", handovers, "capped", capped,
        "offslot_runs", off, "steals", sum.steals, "buffers", (unsigned long long)arenas,
        "buffer_memory", (unsigned long long)buffer_bytes, "occupied", occupied);
}

/* _activity() -> (turns of processes, live processes), for the monitor's decisions. */
static PyObject*
py_activity(PyObject* Py_UNUSED(m), PyObject* Py_UNUSED(none))
{
    unsigned long long spawned = tsm_ptab_spawned_any(), died = tsm_ptab_died_any();
    return Py_BuildValue("(KK)", totals().switches, spawned > died ? spawned - died : 0ULL);
}

PyMethodDef tsm_nodeinfo_methods[] = {
    {"_activity", py_activity, METH_NOARGS, NULL},
    {"node_info", py_node_info, METH_NOARGS, node_info_doc},
    {NULL, NULL, 0, NULL},
};

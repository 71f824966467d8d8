/* tsm_replay.c - deterministic runs for Python: begin, state, the trace and the choices.
 * What they are: proc/tsm_det.h. */
#include "bind/tsm_bind.h"

#include "proc/tsm_det.h"
#include "proc/tsm_fault.h"

#include <stdlib.h>
#include <string.h>

static uint16_t* script;

/* A term in short; runs no user code and names no address. */
static void
describe(void* term, char* text)
{
    PyObject* value = term;
    if (PyTuple_CheckExact(value) && PyTuple_GET_SIZE(value) > 0
        && PyUnicode_CheckExact(PyTuple_GET_ITEM(value, 0))) {
        value = PyTuple_GET_ITEM(value, 0);
    }
    const char* open = value != (PyObject*)term ? "(" : "";
    const char* shut = value != (PyObject*)term ? ", ...)" : "";
    if (PyUnicode_CheckExact(value)) {
        char word[25] = {0};
        Py_ssize_t n = PyUnicode_GET_LENGTH(value);
        for (Py_ssize_t i = 0; i < n && i < 24; i++) {
            Py_UCS4 c = PyUnicode_READ_CHAR(value, i);
            word[i] = c >= 32 && c < 127 ? (char)c : '?';
        }
        (void)snprintf(text, TSM_DET_TEXT, "%s'%s'%s", open, word, shut);
    } else if (PyLong_CheckExact(value) && _PyLong_NumBits(value) < 63) {
        (void)snprintf(text, TSM_DET_TEXT, "%lld", PyLong_AsLongLong(value));
    } else {
        (void)snprintf(text, TSM_DET_TEXT, "%s", Py_TYPE(value)->tp_name);
    }
}

/* _replay_begin(seed, seeded, script, preempts, records, empty, demotions, steps): the next node is
 * deterministic. empty: no table has rows. */
static PyObject*
py_begin(PyObject* Py_UNUSED(m), PyObject* args)
{
    unsigned long long seed;
    int seeded, empty;
    Py_buffer given;
    unsigned int preempts, records, demotions;
    unsigned long long steps;
    if (!PyArg_ParseTuple(args, "Kpy*IIpIK:_replay_begin", &seed, &seeded, &given, &preempts, &records, &empty,
                          &demotions, &steps)) {
        return NULL;
    }
    if (tsm_load_acquire(&tsm_sched.a_running) != 0) { /* acquire: as in _is_running. */
        PyBuffer_Release(&given);
        PyErr_SetString(PyExc_RuntimeError, "_replay_begin() while a node runs");
        return NULL;
    }
    free(script);
    script = malloc((size_t)given.len + 1);
    int rc = script == NULL ? TSM_E_NOMEM : TSM_OK;
    if (rc == TSM_OK) {
        memcpy(script, given.buf, (size_t)given.len);
        tsm_det_plan_t plan = {.seeded = (uint32_t)seeded, .preempts = preempts, .seed = seed,
                               .script = script, .script_len = (uint32_t)(given.len / 2),
                               .max_records = records, .describe = describe, .demotions = demotions, .steps = steps,
                               .shared = empty == 0 || tsm_counters_used()};
        rc = tsm_det_begin(&plan);
        tsm_reds_calm_down();
        if (empty) {
            tsm_key_fix_order();
        }
    }
    PyBuffer_Release(&given);
    return rc < 0 ? PyErr_NoMemory() : Py_NewRef(Py_None);
}

static PyObject*
py_end(PyObject* Py_UNUSED(m), PyObject* Py_UNUSED(none))
{
    tsm_det_end();
    Py_RETURN_NONE;
}

static PyObject*
py_close(PyObject* Py_UNUSED(m), PyObject* Py_UNUSED(none))
{
    tsm_det_close_any();
    Py_RETURN_NONE;
}

/* _replay_wait(seconds) -> (nobody will ever run again, the main process has ended) */
static PyObject*
py_wait(PyObject* Py_UNUSED(m), PyObject* seconds)
{
    double s = PyFloat_AsDouble(seconds);
    if (PyErr_Occurred()) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    (void)tsm_event_wait(&tsm_det.news, (int64_t)(s * 1e9));
    Py_END_ALLOW_THREADS
    if (PyErr_CheckSignals() < 0) {
        return NULL;
    }
    /* acquire: pairs with tsm_det_record_any. relaxed: the event orders it, or it is seen next time. */
    bool over = tsm_load_acquire(&tsm_det.a_over) != 0 || tsm_load_relaxed(&tsm_det.a_closed) != 0;
    return Py_BuildValue("OO", tsm_load_acquire(&tsm_det.a_stalled) != 0 ? Py_True : Py_False, /* acquire: as above. */
                         over ? Py_True : Py_False);
}

/* (picks, slots taken, foreign wake-ups, messages to the dead, ms that others took, reductions) */
static PyObject*
py_state(PyObject* Py_UNUSED(m), PyObject* Py_UNUSED(none))
{
    tsm_mutex_lock(&tsm_det.lock);
    unsigned long long picks = tsm_det.picks, run = tsm_det.run;
    /* relaxed, all: looked at again by the caller, or after the run. */
    unsigned int taken = tsm_load_relaxed(&tsm_det.a_taken);
    unsigned int foreign = tsm_load_relaxed(&tsm_det.a_foreign); /* relaxed: as above. */
    unsigned int lost = tsm_load_relaxed(&tsm_det.a_lost);       /* relaxed: as above. */
    unsigned int waited = tsm_load_relaxed(&tsm_det.a_waited);   /* relaxed: as above. */
    tsm_mutex_unlock(&tsm_det.lock);
    return Py_BuildValue("KIIIIK", picks, taken, foreign, lost, waited, run);
}

/* After the run: [(options, chosen, slice, state)]. */
static PyObject*
py_choices(PyObject* Py_UNUSED(m), PyObject* Py_UNUSED(none))
{
    PyObject* list = PyList_New(0);
    for (uint32_t i = 0; list != NULL && i < tsm_det.choice_len; i++) {
        const tsm_det_choice_t* c = &tsm_det.choices[i];
        PyObject* item = Py_BuildValue("IIiK", c->options, c->chosen, (int)c->slice,
                                       (unsigned long long)c->state);
        if (item == NULL || PyList_Append(list, item) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(item);
    }
    return list;
}

/* After the run: (count, [(ns, kind, from, to, text)]), the last of them. */
static PyObject*
py_records(PyObject* Py_UNUSED(m), PyObject* Py_UNUSED(none))
{
    PyObject* list = PyList_New(0);
    uint64_t keep = tsm_det.plan.max_records, count = tsm_det.record_count;
    for (uint64_t i = count > keep ? count - keep : 0; list != NULL && i < count; i++) {
        const tsm_det_record_t* r = &tsm_det.records[i % keep];
        PyObject* item = Py_BuildValue("KIKKs", (unsigned long long)r->now_ns, (unsigned int)r->kind,
                                       (unsigned long long)r->from, (unsigned long long)r->to, r->text);
        if (item == NULL || PyList_Append(list, item) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(item);
    }
    return list == NULL ? NULL : Py_BuildValue("KN", (unsigned long long)count, list);
}

/* _monotonic(): seconds of the clock that processes live by. */
static PyObject*
py_monotonic(PyObject* Py_UNUSED(m), PyObject* Py_UNUSED(none))
{
    return PyFloat_FromDouble((double)tsm_time_ns() / 1e9);
}

static PyObject*
py_calm(PyObject* Py_UNUSED(m), PyObject* Py_UNUSED(none))
{
    tsm_det_calm();
    Py_RETURN_NONE;
}

/* Is a deterministic run on, and does a process of it ask? Else an error. */
static bool
may_fault(void)
{
    if (tsm_det.on != 0 && tsm_self != NULL && tsm_worker_proc(tsm_self) != NULL) {
        return true;
    }
    PyErr_SetString(PyExc_RuntimeError, "faults can be put into deterministic runs only, by a process of the run: "
                                        "run(main, deterministic=seed), or @pytest.mark.transom(deterministic=True)");
    return false;
}

/* _fault_add(kind, from or None, to or None, skip, times, permille, delay_ns) -> id */
static PyObject*
py_fault_add(PyObject* Py_UNUSED(m), PyObject* args)
{
    unsigned long long delay;
    PyObject *from, *to;
    tsm_fault_t rule = {0};
    if (!PyArg_ParseTuple(args, "IOOIIIK:_fault_add", &rule.kind, &from, &to, &rule.skip, &rule.times,
                          &rule.permille, &delay)
        || !may_fault()) {
        return NULL;
    }
    rule.from = from == Py_None ? 0 : tsm_as_pid(from, "sender");
    rule.to = to == Py_None ? 0 : tsm_as_pid(to, "to");
    if (PyErr_Occurred()) {
        return NULL;
    }
    rule.delay_ns = delay;
    int64_t id = tsm_fault_add(rule);
    if (id < 0) {
        PyErr_SetString(PyExc_RuntimeError, "there are 64 faults already; stop() some");
        return NULL;
    }
    return PyLong_FromLongLong(id);
}

/* _fault_hits(id, remove) -> how often it struck, or None: there is none */
static PyObject*
py_fault_hits(PyObject* Py_UNUSED(m), PyObject* args)
{
    unsigned int id;
    int remove;
    if (!PyArg_ParseTuple(args, "Ip:_fault_hits", &id, &remove)) {
        return NULL;
    }
    int64_t hits = tsm_fault_hits(id, remove != 0);
    return hits < 0 ? Py_NewRef(Py_None) : PyLong_FromLongLong(hits);
}

/* _fault_draw(permille): does a fault strike that is none of messages? A choice of the schedule. */
static PyObject*
py_fault_draw(PyObject* Py_UNUSED(m), PyObject* arg)
{
    unsigned long permille = PyLong_AsUnsignedLong(arg);
    if (PyErr_Occurred() || !may_fault()) {
        return NULL;
    }
    tsm_mutex_lock(&tsm_det.lock);
    bool strikes = tsm_det_draw_locked(2, (uint32_t)permille) != 0;
    tsm_mutex_unlock(&tsm_det.lock);
    return PyBool_FromLong(strikes);
}

/* _fault_kill(pid, reductions) */
static PyObject*
py_fault_kill(PyObject* Py_UNUSED(m), PyObject* args)
{
    PyObject* op;
    unsigned long long reds;
    if (!PyArg_ParseTuple(args, "OK:_fault_kill", &op, &reds) || !may_fault()) {
        return NULL;
    }
    tsm_pid_t pid = tsm_as_pid(op, "kill_at()");
    if (pid == 0) {
        return NULL;
    }
    tsm_det_kill_at(pid, reds);
    Py_RETURN_NONE;
}

/* _fault_skew(seconds) */
static PyObject*
py_fault_skew(PyObject* Py_UNUSED(m), PyObject* seconds)
{
    double s = PyFloat_AsDouble(seconds);
    if (PyErr_Occurred() || !may_fault()) {
        return NULL;
    }
    tsm_det_skew((int64_t)(s * 1e9));
    Py_RETURN_NONE;
}

PyMethodDef tsm_replay_methods[] = {
    {"_replay_calm", py_calm, METH_NOARGS, NULL},
    {"_fault_add", py_fault_add, METH_VARARGS, NULL},
    {"_fault_hits", py_fault_hits, METH_VARARGS, NULL},
    {"_fault_draw", py_fault_draw, METH_O, NULL},
    {"_fault_kill", py_fault_kill, METH_VARARGS, NULL},
    {"_fault_skew", py_fault_skew, METH_O, NULL},
    {"_replay_begin", py_begin, METH_VARARGS, NULL},
    {"_replay_end", py_end, METH_NOARGS, NULL},
    {"_replay_wait", py_wait, METH_O, NULL},
    {"_replay_close", py_close, METH_NOARGS, NULL},
    {"_replay_state", py_state, METH_NOARGS, NULL},
    {"_replay_choices", py_choices, METH_NOARGS, NULL},
    {"_replay_records", py_records, METH_NOARGS, NULL},
    {"_monotonic", py_monotonic, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

/* tsm_table_own.c - who owns which table: names, heirs, giving away, death.
 *
 * What it is      All living tables, by owner and by name, under one mutex. A handle is a
 *                 small object per holder (copying it makes another one); the table lives
 *                 until its owner ends or drops it, handles or not.
 * Protocol        Giving and dying race as registering and dying do (tsm_name.c): the giver
 *                 marks the heir (a_held), looks whether it is dead, then links the table to
 *                 it, all under the lock; the dying process turns dead, looks at a_held, then
 *                 takes the lock: one of the two sees the other. Who is dead is never the owner,
 *                 not for a moment: its thread may be in native code on the table, and would
 *                 go in as the owner beside the giver.
 *                 A process that dies is inside the runtime, so its rows are not freed there:
 *                 they are buried with a capsule, and freed where the thread flushes. What
 *                 others see, "no such table", is so before its monitors fire.
 * Source          ets:give_away/3, ets:setopts/2 {heir, _, _}
 */
#include "bind/tsm_table.h"
#include "proc/tsm_det.h"
#include "sched/tsm_burn.h"

#include <stdlib.h>

enum { CHAINS = 256 };

struct tsm_tables tsm_tables;
static tsm_table_t* owned[CHAINS]; /* under tsm_tables.lock, like the next three */
static tsm_table_t* named[CHAINS];
static uint64_t last_id;
static uint64_t living;
static PyTypeObject* transfer_type;

static tsm_table_t**
chain_of(tsm_pid_t owner)
{
    return &owned[(tsm_pid_idx(owner) ^ tsm_pid_gen(owner)) % CHAINS];
}

static tsm_table_t**
name_chain(PyObject* name)
{
    return &named[tsm_name_hash(name) % CHAINS];
}

static tsm_table_t*
find_name(PyObject* name)
{
    tsm_table_t* t = *name_chain(name);
    while (t != NULL && PyUnicode_Compare(t->name, name) != 0) {
        t = t->named_next;
    }
    return t;
}

static void
owned_unlink(tsm_table_t* t)
{
    tsm_table_t** at = chain_of(t->a_owner);
    while (*at != t) {
        at = &(*at)->owned_next;
    }
    *at = t->owned_next;
}

static void
owned_link(tsm_table_t* t, tsm_pid_t owner)
{
    tsm_store_release(&t->a_owner, owner); /* release: pairs with tsm_table_is_mine. */
    t->owned_next = *chain_of(owner);
    *chain_of(owner) = t;
}

/* True while p lives, and then its death will look for its tables. */
static bool
hold(tsm_proc_t* p, tsm_pid_t pid)
{
    if (pid == 0) {
        return true;
    }
    if (p == NULL) {
        return false;
    }
    (void)tsm_or_sc(&p->a_held, 1); /* sc: against tsm_proc_die_owner, see Protocol. */
    return tsm_ptab_get_any(pid) == p && !tsm_inbox_is_dead(&p->inbox);
}

/* ---- life ---- */

void
tsm_table_release(tsm_table_t* t)
{
    /* acq_rel: the last one sees what all others did. */
    if (tsm_sub_acq_rel(&t->a_refs, 1) == 1) {
        Py_XDECREF(t->name);
        free(t);
    }
}

PyObject*
tsm_table_handle(tsm_table_t* t)
{
    TsmTable* self = (TsmTable*)tsm_tables.type->tp_alloc(tsm_tables.type, 0);
    if (self != NULL) {
        (void)tsm_add_relaxed(&t->a_refs, 1); /* relaxed: the caller has one. */
        self->table = t;
    }
    return (PyObject*)self;
}

/* Links t; 0, or -1: the name is taken. */
static int
publish(tsm_table_t* t, tsm_proc_t* p)
{
    if (TSM_UNLIKELY(tsm_det.on != 0)) {
        tsm_det_share_any();
    }
    tsm_pid_t owner = p == NULL ? 0 : tsm_proc_pid(p);
    tsm_mutex_lock(&tsm_tables.lock);
    bool taken = t->name != NULL && find_name(t->name) != NULL;
    if (!taken) {
        t->id = ++last_id;
        living++;
        owned_link(t, owner);
        if (t->name != NULL) {
            t->named_next = *name_chain(t->name);
            *name_chain(t->name) = t;
        }
        (void)hold(p, owner);
    }
    tsm_mutex_unlock(&tsm_tables.lock);
    return taken ? -1 : 0;
}

/* A table of the calling process, or with name None of nobody. */
tsm_table_t*
tsm_table_new(PyObject* name, int kind, int access, uint32_t keypos)
{
    uint32_t shards = kind == TSM_ORDERED ? 1 : TSM_SHARDS;
    tsm_table_t* t = aligned_alloc(64, (sizeof(*t) + shards * sizeof(tsm_shard_t) + 63) / 64 * 64);
    if (t == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    memset(t, 0, sizeof(*t) + shards * sizeof(tsm_shard_t));
    t->kind = (uint8_t)kind;
    t->access = (uint8_t)access;
    t->keypos = keypos;
    t->shard_count = shards;
    t->a_refs = 1;
    t->name = Py_XNewRef(name);
    return t;
}

/* Under the lock: nobody finds it any more. */
static void
bury_table(tsm_table_t* t)
{
    owned_unlink(t);
    living--;
    if (t->name != NULL) {
        tsm_table_t** at = name_chain(t->name);
        while (*at != t) {
            at = &(*at)->named_next;
        }
        *at = t->named_next;
    }
    /* sc: a strong order costs nothing here; operations look at it under their lock. */
    tsm_store_sc(&t->a_dead, 1);
}

void
tsm_table_share(tsm_table_t* t)
{
    tsm_mutex_lock(&t->bias.ending);
    if (!tsm_bias_is_shared(&t->bias)) {
        tsm_bias_ask(&t->bias);
        for (uint32_t i = 0; i < t->shard_count; i++) {
            tsm_bias_wait(&t->shards[i].lock);
        }
        tsm_bias_end(&t->bias);
    }
    tsm_mutex_unlock(&t->bias.ending);
}

void
tsm_shards_lock(tsm_table_t* t)
{
    for (uint32_t i = 0; i < t->shard_count; i++) {
        tsm_shard_lock(t, &t->shards[i]);
    }
}

void
tsm_shards_unlock(tsm_table_t* t)
{
    for (uint32_t i = t->shard_count; i-- > 0;) {
        tsm_shard_unlock(&t->shards[i]);
    }
}

/* The rows of a dead table; user mode. Takes the reference of the living. */
static void
clear_remains(tsm_table_t* t)
{
    tsm_cut_t cut;
    tsm_shards_lock(t);
    tsm_store_cut(t, &cut);
    tsm_shards_unlock(t);
    tsm_store_free(&cut);
    Py_CLEAR(t->heir_data);
    tsm_table_release(t);
}

static void
remains_dealloc(PyObject* capsule)
{
    clear_remains(PyCapsule_GetPointer(capsule, "transom.remains"));
}

/* ---- transfer ---- */

static PyObject*
transfer_object(tsm_table_t* t, tsm_pid_t from, PyObject* data)
{
    PyObject* op = PyStructSequence_New(transfer_type);
    PyObject* table = op == NULL ? NULL : tsm_table_handle(t);
    PyObject* pid = table == NULL ? NULL : tsm_pid_object(from);
    if (pid == NULL) {
        Py_XDECREF(table);
        Py_XDECREF(op);
        return NULL;
    }
    PyStructSequence_SetItem(op, 0, table);
    PyStructSequence_SetItem(op, 1, pid);
    PyStructSequence_SetItem(op, 2, Py_NewRef(data));
    return op;
}

static tsm_sig_t*
transfer_message(tsm_table_t* t, tsm_pid_t from, PyObject* data)
{
    tsm_sig_t* sig = tsm_sig_new(TSM_SIG_MESSAGE);
    PyObject* op = sig == NULL ? NULL : transfer_object(t, from, data == NULL ? Py_None : data);
    if (op == NULL) {
        if (sig != NULL) {
            tsm_sig_free(sig);
        }
        return NULL;
    }
    sig->term = op;
    return sig;
}

/* Another thread ends p, whose own one is in native code: in an operation on t, it may be. That goes
 * in and out as the owner, and shall not meet the heir there, who would do the same. */
static void
expel(tsm_table_t* t, tsm_proc_t* p)
{
    tsm_burn_end(tsm_load_relaxed(&p->a_worker)); /* relaxed: we own p; it is waited for. */
    tsm_table_share(t);
}

/* p is dead; its tables go to their heirs or with it. Called by tsm_proc_die_owner. */
void
tsm_table_died(tsm_proc_t* p)
{
    tsm_pid_t pid = tsm_proc_pid(p);
    tsm_worker_t* w = tsm_load_relaxed(&p->a_worker); /* relaxed: we own p. */
    bool elsewhere = w != NULL && w != tsm_self;
    for (;;) {
        tsm_mutex_lock(&tsm_tables.lock);
        tsm_table_t* t = *chain_of(pid);
        while (t != NULL && t->a_owner != pid) {
            t = t->owned_next;
        }
        if (t == NULL) {
            tsm_mutex_unlock(&tsm_tables.lock);
            return;
        }
        tsm_pid_t heir = t->heir;
        bool passed = heir != 0 && heir != pid && hold(tsm_ptab_get_any(heir), heir);
        if (passed && elsewhere && !tsm_bias_is_shared(&t->bias)) {
            (void)tsm_add_relaxed(&t->a_refs, 1); /* relaxed: it is alive under the lock. */
            tsm_mutex_unlock(&tsm_tables.lock);
            expel(t, p);
            tsm_table_release(t);
            continue;
        }
        if (passed) {
            owned_unlink(t);
            owned_link(t, heir);
            /* relaxed: the heir may drop it before the message is made. */
            (void)tsm_add_relaxed(&t->a_refs, 1);
        } else {
            bury_table(t);
        }
        PyObject* data = passed ? Py_XNewRef(t->heir_data) : NULL;
        tsm_mutex_unlock(&tsm_tables.lock);
        if (passed) {
            tsm_sig_t* sig = transfer_message(t, pid, data);
            if (sig != NULL) {
                (void)tsm_signal_any(heir, sig);
            }
            if (data != NULL && tsm_bury_term(data) < 0) {
                Py_DECREF(data); /* the table or the message has one as well */
            }
            tsm_table_release(t);
        } else {
            PyObject* remains = PyCapsule_New(t, "transom.remains", remains_dealloc);
            if (remains == NULL || tsm_bury_term(remains) < 0) {
                PyErr_Clear(); /* no memory at all: its rows stay */
            }
        }
    }
}

int
tsm_table_drop(tsm_table_t* t)
{
    tsm_mutex_lock(&tsm_tables.lock);
    bool alive = tsm_load_relaxed(&t->a_dead) == 0; /* relaxed: written under the lock. */
    if (alive) {
        bury_table(t);
    }
    tsm_mutex_unlock(&tsm_tables.lock);
    if (alive) {
        clear_remains(t);
        tsm_retire_flush();
    }
    return alive ? 0 : -1;
}

/* ---- methods and functions ---- */

static int
check_owner(tsm_table_t* t, const char* what)
{
    tsm_proc_t* me = tsm_here(what);
    if (me == NULL) {
        return -1;
    }
    if (tsm_load_relaxed(&t->a_owner) != tsm_proc_pid(me)) { /* relaxed: a permission. */
        PyErr_Format(tsm_tables.denied, "%s: only the owner of the table may do that", what);
        return -1;
    }
    return 0;
}

PyDoc_STRVAR(give_away_doc, "give_away($self, pid, data=None, /)\n--\n\n"
"Make pid the owner; it receives TableTransfer(table, sender, data). Only the owner may.\n\n"
"The heir stays as it is set. Runs in the caller, does not block.\n\n"
"Raises:\n    NoProcess: pid is dead; the table stays with the caller.\n"
"    ValueError: pid is the owner already.\n    TableAccess: The caller is not the owner.\n\n"
"Source: ets:give_away/3.");

static PyObject*
give_away(PyObject* self, PyObject* const* args, Py_ssize_t n)
{
    if (n < 1 || n > 2) {
        return PyErr_Format(PyExc_TypeError, "give_away() takes a Pid and data (%zd given)", n);
    }
    tsm_table_t* t = tsm_table_for(self, false, "give_away()");
    tsm_pid_t pid = t == NULL || check_owner(t, "give_away()") < 0 ? 0 : tsm_as_pid(args[0], "give_away()");
    PyObject* data = pid == 0 ? NULL : tsm_copy(n == 2 ? args[1] : Py_None, "give_away()");
    if (data == NULL) {
        return NULL;
    }
    tsm_proc_t* me = tsm_begin("give_away()");
    tsm_pid_t mine = me == NULL ? 0 : tsm_proc_pid(me);
    tsm_sig_t* sig = me == NULL ? NULL : transfer_message(t, mine, data);
    if (me == NULL) {
        Py_DECREF(data);
        return NULL;
    }
    enum { GIVEN, SELF, GONE, NO_PROCESS } how = mine == pid ? SELF : GIVEN;
    if (sig != NULL && how == GIVEN) {
        tsm_mutex_lock(&tsm_tables.lock);
        if (t->a_dead || t->a_owner != mine) {
            how = GONE;
        } else if (!hold(tsm_ptab_get_any(pid), pid)) { /* first: it shall not pass for the owner meanwhile */
            how = NO_PROCESS;
        } else {
            owned_unlink(t);
            owned_link(t, pid);
        }
        tsm_mutex_unlock(&tsm_tables.lock);
    }
    PyObject* result = NULL;
    if (sig == NULL) {
        PyErr_NoMemory();
    } else if (how == GIVEN) {
        (void)tsm_signal_any(pid, sig);
        result = Py_NewRef(Py_None);
    } else {
        tsm_bury(sig);
        PyErr_SetString(how == SELF ? PyExc_ValueError : how == GONE ? tsm_tables.no_table : tsm_bind.no_process,
                        how == SELF ? "give_away(): the process owns the table already"
                        : how == GONE ? "give_away(): the table is gone" : "give_away(): no such process");
    }
    result = tsm_done(result);
    Py_DECREF(data);
    return result;
}

PyDoc_STRVAR(set_heir_doc, "set_heir($self, pid, data=None, /)\n--\n\n"
"Let pid, a Pid or None for nobody, have the table when its owner ends. Only the owner may.\n\n"
"The heir then receives TableTransfer(table, sender, data). An heir that is dead by then\n"
"inherits nothing, and the table goes.\n\nSource: ets:setopts/2 with heir.");

static PyObject*
set_heir(PyObject* self, PyObject* const* args, Py_ssize_t n)
{
    if (n < 1 || n > 2) {
        return PyErr_Format(PyExc_TypeError, "set_heir() takes a Pid or None and data (%zd given)", n);
    }
    tsm_table_t* t = tsm_table_for(self, false, "set_heir()");
    if (t == NULL || check_owner(t, "set_heir()") < 0) {
        return NULL;
    }
    tsm_pid_t heir = args[0] == Py_None ? 0 : tsm_as_pid(args[0], "set_heir()");
    if (heir == 0 && args[0] != Py_None) {
        return NULL;
    }
    tsm_pid_t mine = tsm_proc_pid(tsm_worker_proc(tsm_self));
    PyObject* data = tsm_copy(n == 2 ? args[1] : Py_None, "set_heir()");
    if (data == NULL) {
        return NULL;
    }
    tsm_mutex_lock(&tsm_tables.lock);
    bool still = t->a_dead == 0 && t->a_owner == mine; /* copying may have run code that gave it away */
    PyObject* old = data;
    if (still) {
        old = t->heir_data;
        t->heir = heir;
        t->heir_data = data;
    }
    tsm_mutex_unlock(&tsm_tables.lock);
    Py_XDECREF(old);
    if (!still) {
        return check_owner(t, "set_heir()") < 0 ? NULL : tsm_table_gone(t, "set_heir()");
    }
    return Py_NewRef(Py_None);
}

PyDoc_STRVAR(drop_doc, "drop($self, /)\n--\n\n"
"Delete the whole table: its rows are freed, its name is free, every handle is void.\n\n"
"Needs write access.\n\nSource: ets:delete/1.");

static PyObject*
drop(PyObject* self, PyObject* Py_UNUSED(none))
{
    tsm_table_t* t = tsm_table_for(self, true, "drop()");
    if (t == NULL) {
        return NULL;
    }
    return tsm_table_drop(t) < 0 ? tsm_table_gone(t, "drop()") : Py_NewRef(Py_None);
}

static PyObject*
owner_info(tsm_table_t* t)
{
    tsm_mutex_lock(&tsm_tables.lock);
    tsm_pid_t owner = t->a_owner, heir = t->heir;
    bool dead = t->a_dead != 0;
    tsm_mutex_unlock(&tsm_tables.lock);
    if (dead) {
        Py_RETURN_NONE;
    }
    uint64_t rows = 0, bytes = sizeof(*t) + t->shard_count * sizeof(tsm_shard_t);
    for (uint32_t i = 0; i < t->shard_count; i++) {
        tsm_shard_t* s = &t->shards[i];
        rows += tsm_load_relaxed(&s->a_rows);   /* relaxed: a statistic. */
        bytes += tsm_load_relaxed(&s->a_bytes); /* relaxed: as above. */
    }
    return Py_BuildValue("{sKsOsisisIsNsNsKsK}", "id", (unsigned long long)t->id, "name",
                         t->name == NULL ? Py_None : t->name, "kind", t->kind, "access", t->access, "keypos",
                         t->keypos, "owner", owner == 0 ? Py_NewRef(Py_None) : tsm_pid_object(owner), "heir",
                         heir == 0 ? Py_NewRef(Py_None) : tsm_pid_object(heir), "size", (unsigned long long)rows,
                         "memory", (unsigned long long)bytes);
}

static PyObject*
table_info(PyObject* self, PyObject* Py_UNUSED(none))
{
    return owner_info(((TsmTable*)self)->table);
}

/* _table_new(name or None, kind, access, keypos, global): a handle */
static PyObject*
table_new(PyObject* Py_UNUSED(m), PyObject* args)
{
    PyObject* name;
    int kind, access, global;
    unsigned int keypos;
    if (!PyArg_ParseTuple(args, "OiiIp:_table_new", &name, &kind, &access, &keypos, &global)) {
        return NULL;
    }
    if (tsm_reader_ready() < 0 || (!global && tsm_here("Table()") == NULL)) {
        return NULL;
    }
    tsm_table_t* t = tsm_table_new(name == Py_None ? NULL : name, kind, access, keypos);
    PyObject* handle = t == NULL ? NULL : tsm_table_handle(t);
    if (handle == NULL) {
        if (t != NULL) {
            tsm_table_release(t);
        }
        return NULL;
    }
    tsm_proc_t* p = global ? NULL : tsm_begin("Table()");
    if (!global && p == NULL) {
        t->a_dead = 1;
        tsm_table_release(t);
        Py_DECREF(handle);
        return NULL;
    }
    if (publish(t, p) < 0) {
        t->a_dead = 1;
        Py_SETREF(handle, NULL); /* the last reference but one */
        tsm_table_release(t);
        PyErr_Format(tsm_bind.name_taken, "Table(): the name %R is taken", name);
    }
    return global ? handle : tsm_done(handle);
}

static PyObject*
table_named(PyObject* Py_UNUSED(m), PyObject* name)
{
    if (!PyUnicode_CheckExact(name)) {
        return PyErr_Format(PyExc_TypeError, "a table's name is a str, not %R", name);
    }
    tsm_mutex_lock(&tsm_tables.lock);
    tsm_table_t* t = find_name(name);
    if (t != NULL) {
        (void)tsm_add_relaxed(&t->a_refs, 1); /* relaxed: it is alive under the lock. */
    }
    tsm_mutex_unlock(&tsm_tables.lock);
    if (t == NULL) {
        Py_RETURN_NONE;
    }
    PyObject* handle = tsm_table_handle(t);
    tsm_table_release(t);
    return handle;
}

/* How many tables there are; what threads keep back for readers is freed first. */
static PyObject*
table_count(PyObject* Py_UNUSED(m), PyObject* Py_UNUSED(none))
{
    tsm_retire_flush();
    tsm_mutex_lock(&tsm_tables.lock);
    uint64_t n = living;
    tsm_mutex_unlock(&tsm_tables.lock);
    return PyLong_FromUnsignedLongLong(n);
}

static PyObject*
table_setup(PyObject* Py_UNUSED(m), PyObject* args)
{
    PyObject *type, *no_table, *denied, *key_of;
    if (!PyArg_ParseTuple(args, "O!OOO:_table_setup", &PyType_Type, &type, &no_table, &denied, &key_of)) {
        return NULL;
    }
    Py_XSETREF(tsm_tables.type, (PyTypeObject*)Py_NewRef(type));
    Py_XSETREF(tsm_tables.no_table, Py_NewRef(no_table));
    Py_XSETREF(tsm_tables.denied, Py_NewRef(denied));
    Py_XSETREF(tsm_tables.key_of, Py_NewRef(key_of));
    if (tsm_table_add_methods(tsm_tables.type) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

#define FAST(fn) (PyCFunction)(void (*)(void))fn, METH_FASTCALL

PyMethodDef tsm_table_own_methods[] = {
    {"give_away", FAST(give_away), give_away_doc},
    {"set_heir", FAST(set_heir), set_heir_doc},
    {"drop", drop, METH_NOARGS, drop_doc},
    {"_info", table_info, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

PyMethodDef tsm_table_functions[] = {
    {"_table_new", table_new, METH_VARARGS, NULL},
    {"_table_named", table_named, METH_O, NULL},
    {"_table_count", table_count, METH_NOARGS, NULL},
    {"_table_setup", table_setup, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyStructSequence_Field transfer_fields[] = {
    {"table", "The table, now owned by the receiver."},
    {"sender", "Pid of the owner before."},
    {"data", "What the owner gave with it."},
    {NULL, NULL},
};

static PyStructSequence_Desc transfer_desc = {
    .name = "transom.TableTransfer",
    .doc = "TableTransfer(table, sender, data)\n\nA table has become the receiver's: given away, or inherited.\n\n"
           "Example:\n"
           "    >>> import transom\n"
           "    >>> async def heir(boss):\n"
           "    ...     transfer = await transom.receive(transom.TableTransfer)\n"
           "    ...     transom.send(boss, (transfer.sender == boss, transfer.data))\n"
           "    >>> async def main():\n"
           "    ...     table = transom.Table()\n"
           "    ...     table.give_away(transom.spawn(heir, transom.current_pid()), \"yours\")\n"
           "    ...     return await transom.receive(tuple)\n"
           "    >>> transom.run(main)\n"
           "    (True, 'yours')\n\n"
           "Source: the message 'ETS-TRANSFER'.",
    .fields = transfer_fields,
    .n_in_sequence = 3,
};

int
tsm_table_own_init(PyObject* module)
{
    transfer_type = PyStructSequence_NewType(&transfer_desc);
    return transfer_type == NULL ? -1 : PyModule_AddObjectRef(module, "TableTransfer", (PyObject*)transfer_type);
}

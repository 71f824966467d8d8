/* tsm_measure.c - how much memory does a process reach, and what holds it?
 *
 * What it is      A walk over everything the roots of a process lead to: variables and value
 *                 stacks of its frames, what its body keeps, its mailbox, its context. Each
 *                 object counts once, for the first root that leads to it, by its size as
 *                 __sizeof__ tells it. Modules, classes, code and whatever is immortal belong
 *                 to the program, not to the process, and end the walk.
 * Who touches what
 *   the objects   belong to the process, but others may be reached that are shared. So each is
 *                 traversed under its own critical section, and is referenced before that is
 *                 left: no other thread can free or change it under the walk
 *   frames        only the process' own: on this thread's stack, or of suspended coroutines;
 *                 generators that run are passed by
 * No user code runs: only tp_traverse, and __sizeof__ where it is a method of C.
 */
#include "bind/tsm_account.h"
#include "bind/tsm_agent.h"
#include "bind/tsm_compat_inner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TYPES = 512, INLINE_VALUES_BYTES = 64, FRAMES = 1000, CORO_DEPTH = 1000 };

typedef struct {
    PyTypeObject* type;
    size_t bytes, objects;
} kind_t;

typedef struct {
    uintptr_t* seen; /* open addressing */
    size_t mask, count;
    PyObject** todo; /* strong references */
    size_t todo_count, todo_room;
    size_t bytes, objects, max_objects;
    bool failed;
    kind_t* kinds; /* TYPES of them, or NULL: not wanted */
} walk_t;

/* ---- the set of what was seen, and what is still to be done ---- */

static size_t
place(const walk_t* walk, uintptr_t key)
{
    size_t i = (size_t)((key >> 4) * UINT64_C(0x9E3779B97F4A7C15) >> 20) & walk->mask;
    while (walk->seen[i] != 0 && walk->seen[i] != key) {
        i = (i + 1) & walk->mask;
    }
    return i;
}

static bool
grow(walk_t* walk)
{
    walk_t bigger = *walk;
    size_t size = walk->seen == NULL ? 256 : (walk->mask + 1) * 2;
    bigger.mask = size - 1;
    bigger.seen = calloc(size, sizeof(uintptr_t));
    if (bigger.seen == NULL) {
        return false;
    }
    for (size_t i = 0; walk->seen != NULL && i <= walk->mask; i++) {
        if (walk->seen[i] != 0) {
            bigger.seen[place(&bigger, walk->seen[i])] = walk->seen[i];
        }
    }
    free(walk->seen);
    walk->seen = bigger.seen;
    walk->mask = bigger.mask;
    return true;
}

static bool
add_seen(walk_t* walk, PyObject* op)
{
    if (walk->count * 2 >= walk->mask && !grow(walk)) {
        walk->failed = true;
        return false;
    }
    size_t i = place(walk, (uintptr_t)op);
    if (walk->seen[i] != 0) {
        return false;
    }
    walk->seen[i] = (uintptr_t)op;
    walk->count++;
    return true;
}

static bool
belongs_to_program(PyObject* op)
{
    return tsm_is_immortal(op) || PyType_Check(op) || PyModule_Check(op) || PyCode_Check(op)
           || PyCFunction_CheckExact(op) || Py_IS_TYPE(op, &PyDictProxy_Type);
}

static int
visit(PyObject* op, void* arg)
{
    walk_t* walk = arg;
    if (op == NULL || walk->failed || belongs_to_program(op) || !add_seen(walk, op)) {
        return 0;
    }
    if (walk->todo_count == walk->todo_room) {
        size_t room = walk->todo_room == 0 ? 64 : walk->todo_room * 2;
        PyObject** todo = realloc(walk->todo, room * sizeof(*todo));
        if (todo == NULL) {
            walk->failed = true;
            return 0;
        }
        walk->todo = todo;
        walk->todo_room = room;
    }
    walk->todo[walk->todo_count++] = Py_NewRef(op);
    return 0;
}

/* ---- sizes ---- */

/* __sizeof__ of its type, where that is written in C; 0: unknown. */
static size_t
asked_size(PyObject* op)
{
    PyObject* method = PyObject_GetAttrString((PyObject*)Py_TYPE(op), "__sizeof__");
    PyObject* size = NULL;
    if (method != NULL && Py_IS_TYPE(method, &PyMethodDescr_Type)) {
        size = PyObject_CallOneArg(method, op);
    }
    Py_XDECREF(method);
    size_t bytes = size == NULL || !PyLong_Check(size) ? 0 : PyLong_AsSize_t(size);
    Py_XDECREF(size);
    if (PyErr_Occurred()) {
        PyErr_Clear();
        return 0;
    }
    return bytes;
}

static size_t
size_of(PyObject* op)
{
    PyTypeObject* type = Py_TYPE(op);
    size_t bytes = (size_t)type->tp_basicsize;
    if (type == &PyUnicode_Type) {
        size_t n = (size_t)PyUnicode_GET_LENGTH(op) + 1;
        bytes = PyUnicode_IS_COMPACT_ASCII(op) ? sizeof(PyASCIIObject) + n
                                               : sizeof(PyCompactUnicodeObject) + n * PyUnicode_KIND(op);
    } else if (type == &PyFloat_Type) {
        return bytes;
    } else if (type == &PyBytes_Type || type == &PyTuple_Type) {
        bytes += (size_t)Py_SIZE(op) * (size_t)type->tp_itemsize;
    } else if (type == &PyList_Type) {
        bytes += (size_t)((PyListObject*)op)->allocated * sizeof(PyObject*);
    } else {
        size_t asked = asked_size(op);
        bytes = asked > bytes ? asked : bytes;
        if ((type->tp_flags & Py_TPFLAGS_INLINE_VALUES) != 0) {
            bytes += INLINE_VALUES_BYTES;
        }
    }
    return (bytes + 15) & ~(size_t)15;
}

static void
count_kind(walk_t* walk, PyTypeObject* type, size_t bytes)
{
    size_t at = (size_t)((uintptr_t)type >> 4) * UINT64_C(0x9E3779B97F4A7C15) >> 40;
    for (size_t i = 0; walk->kinds != NULL && i < TYPES; i++) {
        kind_t* kind = &walk->kinds[(at + i) % TYPES];
        if (kind->type == NULL || kind->type == type) {
            kind->type = type;
            kind->bytes += bytes;
            kind->objects++;
            return;
        }
    }
}

/* ---- walking ---- */

static void
traverse(walk_t* walk, PyObject* op)
{
    if (PyFunction_Check(op)) { /* not its globals: those are the program's */
        (void)visit(PyFunction_GET_CLOSURE(op), walk);
        (void)visit(PyFunction_GET_DEFAULTS(op), walk);
        return;
    }
    tsm_agent_visit(op, visit, walk);
    traverseproc down = Py_TYPE(op)->tp_traverse;
    if (down != NULL && PyObject_IS_GC(op) && !tsm_is_running_generator(op)) {
        Py_BEGIN_CRITICAL_SECTION(op);
        (void)down(op, visit, walk);
        Py_END_CRITICAL_SECTION();
    }
}

static void
drain(walk_t* walk)
{
    while (walk->todo_count > 0) {
        PyObject* op = walk->todo[--walk->todo_count];
        if (!walk->failed) {
            size_t bytes = size_of(op);
            walk->bytes += bytes;
            walk->objects++;
            count_kind(walk, Py_TYPE(op), bytes);
            traverse(walk, op);
            walk->failed = walk->objects >= walk->max_objects;
        }
        Py_DECREF(op);
    }
}

static void
walk_end(walk_t* walk)
{
    free(walk->seen);
    free(walk->todo);
    free(walk->kinds);
}

size_t
tsm_measure_term(PyObject* term, size_t max_objects, bool* whole)
{
    walk_t walk = {.max_objects = max_objects};
    *whole = true;
    if (term == NULL || belongs_to_program(term)) {
        return 0;
    }
    if (Py_TYPE(term)->tp_traverse == NULL) { /* a leaf: no set is needed */
        return size_of(term);
    }
    (void)visit(term, &walk);
    drain(&walk);
    *whole = !walk.failed;
    walk_end(&walk);
    return walk.bytes;
}

/* ---- the roots of a process ---- */

static void
note(tsm_holder_t* holders, const char* name, size_t bytes, size_t objects)
{
    int at = TSM_HOLDERS;
    while (at > 0 && holders[at - 1].bytes < bytes) {
        at--;
    }
    if (at == TSM_HOLDERS || bytes == 0) {
        return;
    }
    memmove(&holders[at + 1], &holders[at], (size_t)(TSM_HOLDERS - 1 - at) * sizeof(*holders));
    holders[at].bytes = bytes;
    holders[at].objects = objects;
    (void)snprintf(holders[at].name, sizeof(holders[at].name), "%s", name);
}

static void
root(walk_t* walk, tsm_measured_t* out, PyObject* op, const char* name)
{
    size_t bytes = walk->bytes, objects = walk->objects;
    (void)visit(op, walk);
    drain(walk);
    note(out->roots, name, walk->bytes - bytes, walk->objects - objects);
}

static const char*
text_of(PyObject* str)
{
    const char* text = str != NULL && PyUnicode_Check(str) ? PyUnicode_AsUTF8(str) : NULL;
    if (text == NULL) {
        PyErr_Clear();
    }
    return text == NULL ? "?" : text;
}

#ifdef TSM_HAVE_FRAMES
static void
frame_roots(walk_t* walk, tsm_measured_t* out, tsm_inner_frame_t* frame)
{
    PyCodeObject* code = tsm_frame_code(frame);
    int values = tsm_frame_values(frame);
    for (int i = 0; i < values; i++) {
        PyObject* value = tsm_frame_at(frame, i);
        char name[TSM_HOLDER_NAME];
        if (value == NULL || belongs_to_program(value)) {
            continue;
        }
        const char* kind = Py_TYPE(value)->tp_name;
        if (i < code->co_nlocalsplus) {
            (void)snprintf(name, sizeof(name), "local %s of %s (%s)",
                text_of(PyTuple_GET_ITEM(code->co_localsplusnames, i)), text_of(code->co_qualname), kind);
        } else {
            (void)snprintf(name, sizeof(name), "a value being worked on in %s (%s)", text_of(code->co_qualname), kind);
        }
        if (!PyCoro_CheckExact(value)) { /* an awaited one is a body of its own */
            root(walk, out, value, name);
        }
    }
}

static void
stack_roots(walk_t* walk, tsm_measured_t* out)
{
    tsm_inner_frame_t* frame = tsm_frame_first();
    for (int i = 0; frame != NULL && i < FRAMES; i++) {
        bool native;
        frame_roots(walk, out, frame);
        frame = tsm_frame_back(frame, &native);
        out->native |= native && frame != NULL;
    }
}

/* A suspended body, outermost coroutine first. */
static void
coroutine_roots(walk_t* walk, tsm_measured_t* out, PyObject* coro)
{
    for (int i = 0; i < CORO_DEPTH && coro != NULL && PyCoro_CheckExact(coro); i++) {
        tsm_inner_frame_t* frame = tsm_frame_of_coroutine(coro);
        if (frame == NULL) {
            return;
        }
        frame_roots(walk, out, frame);
        int values = tsm_frame_values(frame);
        coro = values > 0 ? tsm_frame_at(frame, values - 1) : NULL;
    }
}
#else
static void
stack_roots(walk_t* walk, tsm_measured_t* out)
{
    (void)walk;
    out->native = true; /* frames cannot be looked into: the account alone decides */
}

static void
coroutine_roots(walk_t* walk, tsm_measured_t* out, PyObject* coro)
{
    root(walk, out, coro, "its frames");
}
#endif

static void
note_kinds(walk_t* walk, tsm_measured_t* out)
{
    for (size_t i = 0; walk->kinds != NULL && i < TYPES; i++) {
        if (walk->kinds[i].type != NULL) {
            note(out->types, walk->kinds[i].type->tp_name, walk->kinds[i].bytes, walk->kinds[i].objects);
        }
    }
}

void
tsm_measure_proc(tsm_proc_t* p, bool on_stack, PyObject* const* mail, size_t mails,
                 size_t max_objects, tsm_measured_t* out)
{
    walk_t walk = {.max_objects = max_objects, .kinds = calloc(TYPES, sizeof(kind_t))};
    PyObject* body = p->body;
    *out = (tsm_measured_t){.native = false};
    if (on_stack) {
        stack_roots(&walk, out);
    } else if (body != NULL) {
        coroutine_roots(&walk, out, (p->flags & TSM_PF_SERVER) != 0 ? tsm_server_coro(p) : body);
    }
    if ((p->flags & TSM_PF_SERVER) != 0) {
        root(&walk, out, tsm_server_agent(p), "its state");
    }
    if (body != NULL) {
        root(&walk, out, body, "its body and arguments");
    }
    size_t bytes = walk.bytes;
    for (size_t i = 0; i < mails; i++) {
        (void)visit(mail[i], &walk);
    }
    drain(&walk);
    walk.bytes += mails * TSM_MSG_BYTES;
    char name[TSM_HOLDER_NAME];
    (void)snprintf(name, sizeof(name), "mailbox (%zu messages)", mails);
    note(out->roots, name, walk.bytes - bytes, mails);
    if (p->context != NULL) {
        root(&walk, out, p->context, "its context variables");
    }
    note_kinds(&walk, out);
    out->bytes = walk.bytes;
    out->objects = walk.objects;
    out->whole = !walk.failed;
    walk_end(&walk);
}

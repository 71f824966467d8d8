/* tsm_buffers.c - numpy data of a limited process, from an arena of its own.
 *
 * What it is      numpy asks the handler in a context variable for the memory of arrays, and
 *                 every array keeps the handler that made it (NEP 49). A process runs in its
 *                 own context, so a handler set there is its alone. The arena (tsm_arena.h)
 *                 goes with the handler, that is with the last array made by it.
 * Optional        Nothing here needs numpy to compile or to run: its C interface is looked up
 *                 when the module is loaded, by its numbers, which numpy promises to keep.
 * When            At the beginning of each turn until numpy is there. Arrays a process makes in
 *                 the very turn that imports numpy for the first time are not counted.
 * Only limited    A context of its own costs a process 64 to 192 bytes, and each array a lock;
 *                 arrays of the others come from numpy's own cache.
 * Source          NEP 49; numpy C-API, PyDataMem_SetHandler
 */
#include "bind/tsm_account.h"

#include <stdlib.h>

enum { SET_HANDLER = 304 }; /* its place in numpy's table of functions */

/* As numpy's PyDataMem_Handler, version 1. */
typedef struct {
    char name[127];
    uint8_t version;
    void* ctx;
    void* (*malloc)(void* ctx, size_t size);
    void* (*calloc)(void* ctx, size_t count, size_t size);
    void* (*realloc)(void* ctx, void* p, size_t size);
    void (*free)(void* ctx, void* p, size_t size);
} handler_t;

static bool
may(tsm_arena_t* arena, size_t bytes)
{
    tsm_account_t* a = tsm_account_mine; /* numpy may call from a thread of somebody else */
    return a == NULL || a->arena != arena || tsm_account_may(a, bytes);
}

static void*
counted(tsm_arena_t* arena, void* p)
{
    tsm_account_t* a = tsm_account_mine;
    if (p != NULL && a != NULL && a->arena == arena) {
        tsm_account_check(a);
    }
    return p;
}

static void*
buffer_malloc(void* ctx, size_t size)
{
    return may(ctx, size) ? counted(ctx, tsm_arena_alloc_any(ctx, size)) : NULL;
}

static void*
buffer_calloc(void* ctx, size_t count, size_t size)
{
    if (size != 0 && count > SIZE_MAX / size) {
        return NULL;
    }
    return may(ctx, count * size) ? counted(ctx, tsm_arena_calloc_any(ctx, count * size)) : NULL;
}

static void*
buffer_realloc(void* ctx, void* p, size_t size)
{
    return may(ctx, size) ? counted(ctx, tsm_arena_realloc_any(ctx, p, size)) : NULL;
}

static void
buffer_free(void* ctx, void* p, size_t Py_UNUSED(size))
{
    tsm_arena_free_any(ctx, p);
}

static const char* const capsule_name = "mem_handler";

static void
handler_end(PyObject* capsule)
{
    handler_t* handler = PyCapsule_GetPointer(capsule, capsule_name);
    tsm_arena_drop(handler->ctx);
    free(handler);
}

static PyObject*
handler_new(tsm_arena_t** arena)
{
    handler_t* handler = calloc(1, sizeof(*handler));
    *arena = tsm_arena_new();
    if (handler == NULL || *arena == NULL) {
        goto fail;
    }
    *handler = (handler_t){.name = "transom", .version = 1, .ctx = *arena, .malloc = buffer_malloc,
                           .calloc = buffer_calloc, .realloc = buffer_realloc, .free = buffer_free};
    PyObject* capsule = PyCapsule_New(handler, capsule_name, handler_end);
    if (capsule != NULL) {
        return capsule;
    }
fail:
    free(handler);
    if (*arena != NULL) {
        tsm_arena_drop(*arena);
    }
    return NULL;
}

/* numpy's PyDataMem_SetHandler; NULL: no numpy, or not yet. */
static PyObject* (*set_handler(void))(PyObject*)
{
    PyObject* modules = PyImport_GetModuleDict(); /* borrowed */
    PyObject *module = NULL, *table = NULL;
    PyObject* (*found)(PyObject*) = NULL;
    if (PyDict_GetItemStringRef(modules, "numpy._core._multiarray_umath", &module) == 1
        && PyObject_GetOptionalAttrString(module, "_ARRAY_API", &table) == 1 && PyCapsule_CheckExact(table)) {
        void** functions = PyCapsule_GetPointer(table, NULL);
        if (functions != NULL) {
            found = (PyObject * (*)(PyObject*)) functions[SET_HANDLER];
        }
    }
    Py_XDECREF(module);
    Py_XDECREF(table);
    PyErr_Clear();
    return found;
}

void
tsm_buffers_adopt(tsm_account_t* a)
{
    if (TSM_LIKELY(a->handler != NULL)) {
        return;
    }
    PyObject* (*set)(PyObject*) = set_handler();
    if (set == NULL) {
        return;
    }
    a->paused++;
    PyObject* handler = handler_new(&a->arena);
    PyObject* old = handler == NULL ? NULL : set(handler);
    if (old != NULL) {
        a->handler = handler;
        Py_DECREF(old);
    } else {
        PyErr_Clear(); /* no memory: tried again at the next turn */
        a->arena = NULL;
        Py_XDECREF(handler);
    }
    a->paused--;
}

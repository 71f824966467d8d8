/* tsm_copy_memo.c - what has been copied in this message: original -> copy.
 *
 * A small table that lives in the walk, then a larger one. Hooks of users (__deepcopy__)
 * need the dict of copy.deepcopy; from the first hook on both are kept.
 */
#include "bind/tsm_copy.h"

#include <string.h>

static size_t
place(PyObject* from, size_t mask)
{
    uint64_t x = (uint64_t)(uintptr_t)from >> 4;
    return (size_t)((x * UINT64_C(0x9E3779B97F4A7C15)) >> 32) & mask;
}

void
tsm_memo_init(tsm_memo_t* memo)
{
    memset(memo->inline_entries, 0, sizeof(memo->inline_entries));
    memo->entries = memo->inline_entries;
    memo->mask = TSM_MEMO_INLINE - 1;
    memo->used = 0;
    memo->dict = NULL;
}

void
tsm_memo_clear(tsm_memo_t* memo)
{
    for (size_t i = 0; memo->used > 0 && i <= memo->mask; i++) {
        Py_XDECREF(memo->entries[i].from);
        Py_XDECREF(memo->entries[i].to);
    }
    if (memo->entries != memo->inline_entries) {
        PyMem_Free(memo->entries);
    }
    Py_CLEAR(memo->dict);
    memo->entries = memo->inline_entries;
    memo->used = 0;
}

static tsm_memo_entry_t*
find(tsm_memo_entry_t* entries, size_t mask, PyObject* from)
{
    size_t i = place(from, mask);
    while (entries[i].from != NULL && entries[i].from != from) {
        i = (i + 1) & mask;
    }
    return &entries[i];
}

static int
grow(tsm_memo_t* memo)
{
    size_t room = (memo->mask + 1) * 4;
    tsm_memo_entry_t* entries = PyMem_Calloc(room, sizeof(*entries));
    if (entries == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (size_t i = 0; i <= memo->mask; i++) {
        if (memo->entries[i].from != NULL) {
            *find(entries, room - 1, memo->entries[i].from) = memo->entries[i];
        }
    }
    if (memo->entries != memo->inline_entries) {
        PyMem_Free(memo->entries);
    }
    memo->entries = entries;
    memo->mask = room - 1;
    return 0;
}

static int
dict_put(PyObject* dict, PyObject* from, PyObject* to)
{
    PyObject* id = PyLong_FromVoidPtr(from);
    int rc = id == NULL ? -1 : PyDict_SetItem(dict, id, to);
    Py_XDECREF(id);
    return rc;
}

PyObject*
tsm_memo_get(tsm_memo_t* memo, PyObject* from)
{
    PyObject* to = memo->used == 0 ? NULL : find(memo->entries, memo->mask, from)->to;
    if (to != NULL) {
        return Py_NewRef(to);
    }
    PyObject* id;
    if (TSM_UNLIKELY(memo->dict != NULL) && (id = PyLong_FromVoidPtr(from)) != NULL) {
        (void)PyDict_GetItemRef(memo->dict, id, &to); /* copied inside a hook */
        Py_DECREF(id);
    }
    return to;
}

int
tsm_memo_put(tsm_memo_t* memo, PyObject* from, PyObject* to)
{
    if (memo->used * 2 > memo->mask && grow(memo) < 0) {
        return -1;
    }
    tsm_memo_entry_t* entry = find(memo->entries, memo->mask, from);
    if (entry->from == NULL) {
        entry->from = Py_NewRef(from);
        memo->used++;
    }
    Py_XSETREF(entry->to, Py_NewRef(to));
    return memo->dict == NULL ? 0 : dict_put(memo->dict, from, to);
}

PyObject*
tsm_memo_dict(tsm_memo_t* memo)
{
    PyObject* dict = memo->dict == NULL ? PyDict_New() : memo->dict;
    if (dict == NULL || memo->dict != NULL) {
        return dict;
    }
    for (size_t i = 0; i <= memo->mask; i++) {
        tsm_memo_entry_t* entry = &memo->entries[i];
        if (entry->from != NULL && dict_put(dict, entry->from, entry->to) < 0) {
            Py_DECREF(dict);
            return NULL;
        }
    }
    memo->dict = dict;
    return dict;
}

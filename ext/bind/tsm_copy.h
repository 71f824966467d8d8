/* tsm_copy.h - what the files that copy messages share.
 *
 * A copy is a walk with a stack of frames in heap memory, so depth is limited by memory
 * and not by the C stack, and the way to a value that cannot be sent is known at any
 * moment. Order of files: tsm_copy.c (entry, immutability), tsm_copy_walk.c (the walk and
 * the builtin containers), tsm_copy_object.c (instances of classes), tsm_copy_kind.c (what
 * a class needs), tsm_copy_memo.c (what was copied already), tsm_copy_wrap.c (share and
 * move), tsm_copy_error.c (where it failed).
 *
 * Rules:
 *   - all of it runs outside the runtime: hooks of users' classes are called
 *   - the sender's other threads may change what is being copied: only snapshots are
 *     walked, and every reference used across a call is a strong one
 *   - a copy under construction belongs to the walk alone
 */
#ifndef TSM_COPY_H
#define TSM_COPY_H

#include "bind/tsm_bind.h"

/* ---- kinds: how a value is copied (tsm_copy_kind.c) ----
 * The numbers up to TSM_COPY_CLASSES are also returned by transom._copying.classify. */
enum tsm_copy_kind {
    TSM_COPY_VALUE = 1,  /* by reference */
    TSM_COPY_FROZEN,     /* by reference when its attributes are; else as PLAIN */
    TSM_COPY_PLAIN,      /* attributes in __dict__ and slots, nothing else */
    TSM_COPY_DICT_SUB,   /* subclasses of builtins: contents and attributes */
    TSM_COPY_LIST_SUB,
    TSM_COPY_SET_SUB,
    TSM_COPY_TUPLE_SUB,  /* by reference when its items are and it can have no attributes */
    TSM_COPY_SCALAR_SUB, /* str, int, ...: by reference when it can have none; else REDUCE */
    TSM_COPY_HOOK,       /* __deepcopy__ */
    TSM_COPY_REDUCE,     /* copyreg or __reduce_ex__ */
    TSM_COPY_ERROR,      /* an exception: as REDUCE, without running its __init__ */
    TSM_COPY_NEVER,      /* not sendable */
    TSM_COPY_CLASSES = TSM_COPY_NEVER,
    TSM_COPY_LIST,
    TSM_COPY_DICT,
    TSM_COPY_SET,
    TSM_COPY_TUPLE,
    TSM_COPY_FROZENSET,
    TSM_COPY_BYTEARRAY,
    TSM_COPY_METHOD,
    TSM_COPY_BUILTIN,
    TSM_COPY_RECORD, /* Exit and Down */
    TSM_COPY_SHARE,
    TSM_COPY_MOVE,
};

/* -1: exception. */
int tsm_copy_kind(PyTypeObject* type);

/* ---- the memo: original -> copy (tsm_copy_memo.c) ---- */
enum { TSM_MEMO_INLINE = 16 };

typedef struct {
    PyObject* from; /* strong: its address must not be used again meanwhile */
    PyObject* to;   /* strong */
} tsm_memo_entry_t;

typedef struct {
    tsm_memo_entry_t* entries; /* open addressing, at most half full */
    size_t mask;
    size_t used;
    PyObject* dict; /* the same for __deepcopy__ hooks, from the first of them on; or NULL */
    tsm_memo_entry_t inline_entries[TSM_MEMO_INLINE];
} tsm_memo_t;

void tsm_memo_init(tsm_memo_t* memo);
void tsm_memo_clear(tsm_memo_t* memo);
/* New reference, or NULL without an exception. */
PyObject* tsm_memo_get(tsm_memo_t* memo, PyObject* from);
int tsm_memo_put(tsm_memo_t* memo, PyObject* from, PyObject* to);
/* Borrowed; the dict copy.deepcopy wants. */
PyObject* tsm_memo_dict(tsm_memo_t* memo);

/* ---- the walk (tsm_copy_walk.c) ---- */
typedef struct tsm_copy_frame {
    PyObject* from;  /* strong */
    PyObject* to;    /* strong; NULL until made */
    PyObject* aux;   /* strong; what this kind of frame needs */
    PyObject* key;   /* strong; of the part that is copied now, or NULL */
    Py_ssize_t at;   /* where it stands: index or dict position */
    uint8_t step;    /* enum tsm_copy_step */
    uint8_t phase;   /* of STATE and REDUCE */
    bool error;      /* REDUCE: an exception, made without its __init__ */
    bool unique;     /* nothing else in the message can refer to `from`: no memo entry */
} tsm_copy_frame_t;

enum tsm_copy_step {
    TSM_STEP_LIST,   /* to: a clone whose items are replaced; at: item */
    TSM_STEP_DICT,   /* to: a clone whose values are replaced; at: PyDict_Next */
    TSM_STEP_KEYS,   /* a dict with keys to copy. aux: [k0, v0, k1, ...]; at: into it */
    TSM_STEP_SET,    /* aux: list of items; at */
    TSM_STEP_TUPLE,  /* tuple, its subclasses. aux: items copied so far, when any differs */
    TSM_STEP_FROZENSET, /* aux: list of items, replaced in place; at */
    TSM_STEP_STATE,  /* attributes of an instance. aux: its dict, cloned; at: slots */
    TSM_STEP_REDUCE, /* aux: what __reduce_ex__ returned, a list of six; phase */
    TSM_STEP_PART,   /* rebuilt from one copied part. at: kind */
};

typedef struct tsm_copier {
    tsm_copy_frame_t* frames;
    size_t depth, room;
    PyObject* moves;   /* list of Move wrappers to carry out at the end, or NULL */
    PyObject* culprit; /* strong; the value that failed, when it has no frame */
    Py_ssize_t nodes;  /* copied so far, for the reductions charged */
    Py_ssize_t reduced; /* REDUCE frames on the stack */
    tsm_memo_t memo;
} tsm_copier_t;

/* Results of enter and step functions. */
enum { TSM_COPY_FAILED = -1, TSM_COPY_PUSHED = 0, TSM_COPY_DONE = 1 };

/* Copies op, or begins to: DONE: *copy is a new reference; PUSHED: a frame will yield it.
 * held: how many references to op the walk itself accounts for; with just those, nothing
 * else in the message can refer to op. 0: not known. */
int tsm_copy_enter(tsm_copier_t* c, PyObject* op, Py_ssize_t held, PyObject** copy);
/* Steals to and aux; NULL with an exception, both dropped. Remembers from -> to unless
 * unique or to is NULL. Frames move: no pointer to one survives this. */
tsm_copy_frame_t* tsm_copy_push(tsm_copier_t* c, int step, PyObject* from, PyObject* to,
                                PyObject* aux, bool unique);
void tsm_copy_pop(tsm_copier_t* c);
/* Pops the top frame and yields its `to`. */
int tsm_copy_finish(tsm_copier_t* c, PyObject** copy);
/* Replaces what is mutable in dict, a clone, by copies; goes on at the top frame's `at`. */
int tsm_copy_values(tsm_copier_t* c, PyObject* dict, PyObject** copy);
/* On failure the frames stay: they are the way to the culprit. */
PyObject* tsm_copy_walk(tsm_copier_t* c, PyObject* root);

/* ---- instances (tsm_copy_object.c) ----
 * Steps take the finished child (or NULL at first) in *copy and yield as enter does. */
int tsm_copy_enter_object(tsm_copier_t* c, PyObject* op, int kind, bool unique, PyObject** copy);
int tsm_copy_step_state(tsm_copier_t* c, PyObject** copy);
int tsm_copy_step_reduce(tsm_copier_t* c, PyObject** copy);
int tsm_copy_step_part(tsm_copier_t* c, PyObject** copy);
/* A new instance of a subclass of a builtin; arg may be NULL. */
PyObject* tsm_copy_alloc(PyTypeObject* builtin, PyTypeObject* type, PyObject* arg);
/* Instances of type have no attributes of their own. */
bool tsm_copy_is_bare(PyTypeObject* type);
/* All attributes of op are immutable: 1, 0; -1 with an exception. */
int tsm_copy_state_is_immutable(PyObject* op, int depth);

/* ---- immutability (tsm_copy.c) ---- 1, 0, or -1 with an exception. */
int tsm_copy_is_immutable(PyObject* op, int depth);

/* Values that most messages are made of. */
static inline bool
tsm_copy_is_leaf(PyObject* op)
{
    PyTypeObject* type = Py_TYPE(op);
    if (TSM_LIKELY(type == &PyUnicode_Type)) { /* one branch each, not eight comparisons */
        return true;
    }
    if (TSM_LIKELY(type == &PyLong_Type)) {
        return true;
    }
    return type == &TsmPid_Type || op == Py_None || type == &PyBool_Type || type == &PyFloat_Type
           || type == &PyBytes_Type || type == &TsmRef_Type;
}

/* ---- share and move (tsm_copy_wrap.c) ---- */
PyObject* tsm_share_value(PyObject* share); /* borrowed */
/* The receiver's object, empty until tsm_moves_commit. New reference. */
PyObject* tsm_move_begin(tsm_copier_t* c, PyObject* move);
/* All or nothing. */
int tsm_moves_commit(PyObject* moves);
/* After a failure: what was to be moved stays where it was. */
void tsm_moves_abandon(PyObject* moves);

/* ---- errors (tsm_copy_error.c) ---- */
/* Where a copy starts, for messages: word, word[index] or word["name"]. */
typedef struct {
    const char* word;
    Py_ssize_t index; /* -1: none */
    PyObject* name;   /* or NULL */
} tsm_copy_root_t;

/* Turns the exception set now into one that names the way to the value that failed. */
void tsm_copy_explain(tsm_copier_t* c, tsm_copy_root_t root);

#endif

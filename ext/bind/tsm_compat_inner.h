/* tsm_compat_inner.h - tricks of tsm_compat.h that need the interpreter's inner headers.
 *
 * For tsm_account.c and tsm_measure.c alone.
 *
 *   trick                          3.13t, 3.14t       with GIL          3.15 and later
 *   size of an allocated block     mimalloc's page    unknown (0)       unknown (0)
 *   variables of frames            _PyInterpreterFrame  the same        none
 */
#ifndef TSM_COMPAT_INNER_H
#define TSM_COMPAT_INNER_H

#include "bind/tsm_compat.h"

static inline bool
tsm_is_immortal(PyObject* op)
{
    return _Py_IsImmortal(op);
}

#ifndef Py_BUILD_CORE
#define Py_BUILD_CORE
#endif
#if defined(Py_GIL_DISABLED) && PY_VERSION_HEX < 0x030F0000
#define TSM_HAVE_BLOCK_BYTES
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wundef"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wstrict-prototypes"
#pragma GCC diagnostic ignored "-Wextra"
#include "internal/pycore_mimalloc.h"
#pragma GCC diagnostic pop
#if MI_SEGMENT_SHIFT != 25 && MI_SEGMENT_SHIFT != 22
#error "another mimalloc: see tsm_block_bytes"
#endif

/* The size of the block that p, from the MEM or OBJ domain, lies in: of its page. */
static inline size_t
tsm_block_bytes(const void* p)
{
    const mi_segment_t* segment = (const mi_segment_t*)(((uintptr_t)p - 1) & ~(uintptr_t)MI_SEGMENT_MASK);
    size_t index = (size_t)((const char*)p - (const char*)segment) >> MI_SEGMENT_SLICE_SHIFT;
    const mi_slice_t* slice = &segment->slices[index];
    const mi_page_t* page = (const mi_page_t*)(const void*)((const char*)slice - slice->slice_offset);
    return page->xblock_size < MI_HUGE_BLOCK_SIZE ? page->xblock_size
                                                  : (size_t)page->slice_count * MI_SEGMENT_SLICE_SIZE;
}
#else
static inline size_t
tsm_block_bytes(const void* p)
{
    (void)p;
    return 0;
}
#endif

#if PY_VERSION_HEX < 0x030F0000
#define TSM_HAVE_FRAMES
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wundef"
#pragma GCC diagnostic ignored "-Wshadow"
#include "internal/pycore_frame.h"
#if PY_VERSION_HEX >= 0x030E0000
#include "internal/pycore_interpframe_structs.h"
#define TSM_FRAME_OF_C FRAME_OWNED_BY_INTERPRETER
#else
#define TSM_FRAME_OF_C FRAME_OWNED_BY_CSTACK
#endif
#pragma GCC diagnostic pop

typedef _PyInterpreterFrame tsm_inner_frame_t;

/* What tsm_compat.h states in words. */
_Static_assert(offsetof(_PyInterpreterFrame, f_executable) == TSM_FRAME_CODE * sizeof(void*)
                   && offsetof(_PyInterpreterFrame, previous) == TSM_FRAME_PREVIOUS * sizeof(void*)
                   && offsetof(_PyInterpreterFrame, instr_ptr) == TSM_FRAME_INSTRUCTION * sizeof(void*)
                   && offsetof(_PyInterpreterFrame, localsplus) == TSM_FRAME_LOCALS * sizeof(void*),
               "another frame: see tsm_compat.h");
#if PY_VERSION_HEX >= 0x030E0000
_Static_assert(offsetof(_PyInterpreterFrame, stackpointer) == TSM_FRAME_STACK * sizeof(void*)
                   && offsetof(PyGenObject, gi_iframe) == offsetof(tsm_gen_t, frame)
                   && offsetof(PyGenObject, gi_frame_state) == offsetof(tsm_gen_t, gi_frame_state)
                   && FRAME_EXECUTING == 0 && FRAME_CLEARED == 4,
               "another generator: see tsm_compat.h");
#ifdef Py_GIL_DISABLED
_Static_assert(offsetof(_PyInterpreterFrame, tlbc_index) == (TSM_FRAME_STACK + 1) * sizeof(void*),
               "another frame: see tsm_compat.h");
#endif
#endif

/* The next frame of Python code from here outwards, or NULL. */
static inline tsm_inner_frame_t*
tsm_frame_skip(tsm_inner_frame_t* frame)
{
    while (frame != NULL && frame->owner >= TSM_FRAME_OF_C) {
        frame = frame->previous;
    }
    return frame;
}

static inline tsm_inner_frame_t*
tsm_frame_first(void)
{
    return tsm_frame_skip(PyThreadState_Get()->current_frame);
}

/* native: it called the inner one by way of native code, which may hold more. */
static inline tsm_inner_frame_t*
tsm_frame_back(tsm_inner_frame_t* frame, bool* native)
{
    tsm_inner_frame_t* back = tsm_frame_skip(frame->previous);
    *native = back != frame->previous;
    return back;
}

/* Of a coroutine that does not run; NULL when it has none any more. */
static inline tsm_inner_frame_t*
tsm_frame_of_coroutine(PyObject* coro)
{
    return ((tsm_gen_t*)coro)->gi_frame_state < FRAME_EXECUTING
        ? (tsm_inner_frame_t*)(void*)TSM_GEN_FRAME(coro) : NULL;
}

static inline PyCodeObject*
tsm_frame_code(tsm_inner_frame_t* frame)
{
    return (PyCodeObject*)tsm_frame_value(((void**)(void*)frame)[TSM_FRAME_CODE]);
}

/* How many values there are; 3.13 does not know its stack while it is in native code. */
static inline int
tsm_frame_values(tsm_inner_frame_t* frame)
{
#if PY_VERSION_HEX < 0x030E0000
    return frame->stacktop < 0 ? tsm_frame_code(frame)->co_nlocalsplus : frame->stacktop;
#else
    return frame->stackpointer == NULL ? tsm_frame_code(frame)->co_nlocalsplus
                                       : (int)(frame->stackpointer - frame->localsplus);
#endif
}

/* The i-th of them; NULL: none. */
static inline PyObject*
tsm_frame_at(tsm_inner_frame_t* frame, int i)
{
    return tsm_frame_value(((void**)(void*)frame)[TSM_FRAME_LOCALS + i]);
}
#endif

/* A generator of any kind whose frame must not be looked into: it may be running. */
static inline bool
tsm_is_running_generator(PyObject* op)
{
    bool any = PyGen_CheckExact(op) || PyCoro_CheckExact(op) || PyAsyncGen_CheckExact(op);
    return any && ((tsm_gen_t*)op)->gi_frame_state == 0; /* FRAME_EXECUTING */
}

#endif

/* tsm_compat_inner.h - tricks of tsm_compat.h that need the interpreter's inner headers.
 *
 * For tsm_account.c and tsm_measure.c alone.
 *
 *   trick                          3.13t              3.13 with GIL     3.14 and later
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
#if defined(Py_GIL_DISABLED) && PY_VERSION_HEX < 0x030E0000
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

#if PY_VERSION_HEX < 0x030E0000
#define TSM_HAVE_FRAMES
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wundef"
#pragma GCC diagnostic ignored "-Wshadow"
#include "internal/pycore_frame.h"
#pragma GCC diagnostic pop

typedef _PyInterpreterFrame tsm_frame_t;

/* The next frame of Python code from here outwards, or NULL. */
static inline tsm_frame_t*
tsm_frame_skip(tsm_frame_t* frame)
{
    while (frame != NULL && frame->owner == FRAME_OWNED_BY_CSTACK) {
        frame = frame->previous;
    }
    return frame;
}

static inline tsm_frame_t*
tsm_frame_first(void)
{
    return tsm_frame_skip(PyThreadState_Get()->current_frame);
}

static inline tsm_frame_t*
tsm_frame_back(tsm_frame_t* frame)
{
    return tsm_frame_skip(frame->previous);
}

/* Of a coroutine that does not run; NULL when it has none any more. */
static inline tsm_frame_t*
tsm_frame_of_coroutine(PyObject* coro)
{
    PyGenObject* gen = (PyGenObject*)coro;
    return gen->gi_frame_state < FRAME_EXECUTING
        ? (tsm_frame_t*)(void*)((char*)gen + offsetof(PyGenObject, gi_iframe)) : NULL;
}

/* How many of localsplus are valid: in native code that it called its stack is not known. */
static inline int
tsm_frame_values(tsm_frame_t* frame, bool* native)
{
    *native = frame->stacktop < 0;
    return *native ? ((PyCodeObject*)frame->f_executable)->co_nlocalsplus : frame->stacktop;
}
#endif

/* A generator of any kind whose frame must not be looked into: it may be running. */
static inline bool
tsm_is_running_generator(PyObject* op)
{
    bool any = PyGen_CheckExact(op) || PyCoro_CheckExact(op) || PyAsyncGen_CheckExact(op);
    return any && ((PyGenObject*)op)->gi_frame_state == 0; /* FRAME_EXECUTING */
}

#endif

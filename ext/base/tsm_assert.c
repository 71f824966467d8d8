/* tsm_assert.c - the last words of a broken runtime; see tsm_assert.h. */
#include "base/tsm_assert.h"

#include "base/tsm_atomic.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static void (*fatal_hook)(void) = NULL;
static uint32_t a_fatal_depth = 0;

void
tsm_fatal_set_hook(void (*hook)(void))
{
    fatal_hook = hook;
}

void
tsm_fatal(const char* fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fprintf(stderr, "transom: fatal: ");
    vfprintf(stderr, fmt, args);
    fprintf(stderr, "\n");
    fflush(stderr);
    va_end(args);
    /* relaxed: only counts, so that a hook that fails itself does not call the hook. */
    if (tsm_add_relaxed(&a_fatal_depth, 1) == 0 && fatal_hook != NULL) {
        fatal_hook();
    }
    abort();
}

/* tsm_births.c - what Python starts in the background is not born there.
 *
 * What it is      A thread or a program inherits the place of the thread that starts it, and nobody
 *                 would ever bring it back: a pool of threads made in the middle of a long
 *                 computation would get three parts in a thousand of a busy machine for ever. So a
 *                 worker in the background comes back first (sched/tsm_burn.h). An audit hook hears
 *                 of such starts; threads that native code makes for itself it does not.
 * Price           With a hook the interpreter makes a tuple for each event it audits: id(x) takes
 *                 some 40 ns more. So there is one only where there is a background.
 * Where tested    tests/semantics/test_background.py
 */
#include "bind/tsm_bind.h"
#include "sched/tsm_burn.h"

#include <string.h>

static int
before_birth(const char* event, PyObject* Py_UNUSED(args), void* Py_UNUSED(data))
{
    tsm_worker_t* w = tsm_self;
    /* relaxed: own thread's; cleared by the monitor at most. */
    if (TSM_LIKELY(w == NULL || tsm_load_relaxed(&w->a_background) == 0)) {
        return 0;
    }
    static const char* const births[] = {"_thread.start", "subprocess.", "os.fork", "os.posix_spawn", "os.system",
                                         "os.exec", "pty.spawn"};
    for (size_t i = 0; i < TSM_ARRAY_LEN(births); i++) {
        if (strncmp(event, births[i], strlen(births[i])) == 0) {
            tsm_burn_end(w);
            break;
        }
    }
    return 0;
}

int
tsm_births_watch(void)
{
    static bool watched; /* a hook stays as long as the program */
    if (watched || !tsm_sched.background) {
        return 0;
    }
    watched = true;
    return PySys_AddAuditHook(before_birth, NULL);
}

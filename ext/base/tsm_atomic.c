/* tsm_atomic.c - the cold side of the asymmetric fence; see tsm_atomic.h. */
#include "base/tsm_atomic.h"

#include "base/tsm_assert.h"

#if defined(TSM_LINUX)
#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

bool tsm_fence_expedited = false;
#ifdef TSM_TSAN
uint32_t tsm_fence_dummy = 0;
#endif

#if defined(TSM_LINUX) && defined(SYS_membarrier)

/* Values of linux/membarrier.h, which older build images lack. */
enum {
    MEMBARRIER_QUERY = 0,
    MEMBARRIER_PRIVATE_EXPEDITED = 1 << 3,
    MEMBARRIER_REGISTER_PRIVATE_EXPEDITED = 1 << 4,
};

void
tsm_fence_init(void)
{
    long known = syscall(SYS_membarrier, MEMBARRIER_QUERY, 0, 0);
    if (known < 0 || (known & MEMBARRIER_PRIVATE_EXPEDITED) == 0) {
        return;
    }
    if (syscall(SYS_membarrier, MEMBARRIER_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0) {
        tsm_fence_expedited = true;
    }
}

void
tsm_fence_heavy(void)
{
    tsm_barrier_sc();
    if (!tsm_fence_expedited) {
        return;
    }
    /* The light side is already only a compiler barrier: to go on without the call
     * would lose wake-ups, so a kernel that takes the permission back ends us. */
    if (syscall(SYS_membarrier, MEMBARRIER_PRIVATE_EXPEDITED, 0, 0) != 0) {
        tsm_fatal("membarrier failed after it was registered: errno %d", errno);
    }
}

#else

void
tsm_fence_init(void)
{
}

void
tsm_fence_heavy(void)
{
    tsm_barrier_sc();
}

#endif

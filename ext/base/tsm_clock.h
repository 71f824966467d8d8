/* tsm_clock.h - monotonic time. About 20 ns a call (vDSO); never goes back; unaffected
 * by changes of the wall clock. */
#ifndef TSM_CLOCK_H
#define TSM_CLOCK_H

#include "base/tsm_config.h"

#include <time.h>

#define TSM_NS_PER_MS UINT64_C(1000000)
#define TSM_NS_PER_SEC UINT64_C(1000000000)

TSM_INLINE uint64_t
tsm_now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * TSM_NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

#endif

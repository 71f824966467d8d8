/* tsm_bias.c - the cold half of tsm_bias.h. */
#include "base/tsm_bias.h"

#include <sched.h>

#define SPINS 64

#ifndef TSM_MODEL

void
tsm_bias_wait(const tsm_bias_lock_t* lock)
{
    for (int i = 0; tsm_bias_is_inside(lock); i++) {
        if (i < SPINS) {
            tsm_pause();
        } else {
            sched_yield();
        }
    }
}

#endif

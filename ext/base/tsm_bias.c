/* tsm_bias.c - the cold half of tsm_bias.h. */
#include "base/tsm_bias.h"

#ifndef TSM_MODEL

/* The owner's way out is a plain store, so nobody wakes who waits here. */
void
tsm_bias_wait(const tsm_bias_lock_t* lock)
{
    for (uint32_t turn = 0; tsm_bias_is_inside(lock); turn++) {
        tsm_backoff(turn);
    }
}

#endif

/* tsm_bias.c - the cold half of tsm_bias.h. */
#include "base/tsm_bias.h"

#define SPINS 64
#define NAP_NS 50000

#ifndef TSM_MODEL

/* The owner's way out is a plain store, so nobody wakes who waits here; and a yield lasts as long as
 * a kernel tick beside a thread that computes. */
void
tsm_bias_wait(const tsm_bias_lock_t* lock)
{
    tsm_event_t never = {0};
    for (int i = 0; tsm_bias_is_inside(lock); i++) {
        if (i < SPINS) {
            tsm_pause();
        } else {
            (void)tsm_event_wait(&never, NAP_NS);
        }
    }
}

#endif

/* tsm_rand.h - small seeded random numbers for victim choice and tests.
 *
 * splitmix64 (Steele, Lea, Flood 2014): one add and one mix per number, any seed is
 * good, the state is one word that its owner keeps. Not for secrets.
 */
#ifndef TSM_RAND_H
#define TSM_RAND_H

#include "base/tsm_config.h"

typedef struct {
    uint64_t state;
} tsm_rand_t;

TSM_INLINE void
tsm_rand_init(tsm_rand_t* r, uint64_t seed)
{
    r->state = seed;
}

TSM_INLINE uint64_t
tsm_rand_next(tsm_rand_t* r)
{
    uint64_t z = (r->state += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

/* 0 .. n-1; n > 0. The bias is n / 2^32. */
TSM_INLINE uint32_t
tsm_rand_below(tsm_rand_t* r, uint32_t n)
{
    return (uint32_t)(((tsm_rand_next(r) >> 32) * n) >> 32);
}

#endif

/* tsm_model_atomic.h - base/tsm_atomic.h mapped onto the explorer; included from there when
 * TSM_MODEL is defined. Same names, same meaning, but every operation is a yield point and
 * stores that are not sequentially consistent wait in a buffer. See explorer.h. */
#ifndef TSM_MODEL_ATOMIC_H
#define TSM_MODEL_ATOMIC_H

#include "base/tsm_config.h"

typedef enum {
    MODEL_RELAXED,
    MODEL_ACQUIRE,
    MODEL_RELEASE,
    MODEL_ACQ_REL,
    MODEL_SC,
} model_order_t;

typedef enum { MODEL_SWAP, MODEL_ADD, MODEL_SUB, MODEL_OR, MODEL_AND } model_rmw_t;

uint64_t model_load(const volatile void* p, size_t bytes, model_order_t order,
                    const char* where);
void model_store(volatile void* p, size_t bytes, uint64_t v, model_order_t order,
                 const char* where);
uint64_t model_rmw(volatile void* p, size_t bytes, model_rmw_t op, uint64_t v,
                   model_order_t order, const char* where);
bool model_cas(volatile void* p, size_t bytes, void* expected, uint64_t v,
               model_order_t order, const char* where);
void model_fence(bool all_threads, const char* where);
bool model_trylock(uint32_t* m, const char* where);
void model_lock(uint32_t* m, const char* where);
void model_unlock(uint32_t* m, const char* where);

/* Read by the fences: with membarrier, or two full fences. Set by a model's setup. */
extern bool tsm_fence_expedited;

#define MODEL_STR2(x) #x
#define MODEL_STR(x) MODEL_STR2(x)
#define MODEL_HERE __FILE__ ":" MODEL_STR(__LINE__)
#define MODEL_VALUE(v) ((uint64_t)(uintptr_t)(v))
#define MODEL_TYPED(p, v) ((__typeof__(*(p) + 0))(uintptr_t)(v))

#define MODEL_LOAD(p, order) \
    MODEL_TYPED(p, model_load((p), sizeof(*(p)), order, MODEL_HERE))
#define MODEL_STORE(p, v, order) \
    model_store((p), sizeof(*(p)), MODEL_VALUE(v), order, MODEL_HERE)
#define MODEL_RMW(p, op, v, order) \
    MODEL_TYPED(p, model_rmw((p), sizeof(*(p)), op, MODEL_VALUE(v), order, MODEL_HERE))
#define MODEL_CAS(p, expected, v, order) \
    model_cas((p), sizeof(*(p)), (expected), MODEL_VALUE(v), order, MODEL_HERE)

#define tsm_load_relaxed(p) MODEL_LOAD(p, MODEL_RELAXED)
#define tsm_load_acquire(p) MODEL_LOAD(p, MODEL_ACQUIRE)
#define tsm_load_sc(p) MODEL_LOAD(p, MODEL_SC)

#define tsm_store_relaxed(p, v) MODEL_STORE(p, v, MODEL_RELAXED)
#ifdef PLANT_RELEASE_IS_RELAXED
#define tsm_store_release(p, v) MODEL_STORE(p, v, MODEL_RELAXED)
#else
#define tsm_store_release(p, v) MODEL_STORE(p, v, MODEL_RELEASE)
#endif
#define tsm_store_sc(p, v) MODEL_STORE(p, v, MODEL_SC)

#define tsm_swap_acq_rel(p, v) MODEL_RMW(p, MODEL_SWAP, v, MODEL_ACQ_REL)
#define tsm_swap_sc(p, v) MODEL_RMW(p, MODEL_SWAP, v, MODEL_SC)
#define tsm_cas_acq_rel(p, expected, v) MODEL_CAS(p, expected, v, MODEL_ACQ_REL)
#define tsm_cas_sc(p, expected, v) MODEL_CAS(p, expected, v, MODEL_SC)
#define tsm_add_relaxed(p, v) MODEL_RMW(p, MODEL_ADD, v, MODEL_RELAXED)
#define tsm_add_acq_rel(p, v) MODEL_RMW(p, MODEL_ADD, v, MODEL_ACQ_REL)
#define tsm_add_sc(p, v) MODEL_RMW(p, MODEL_ADD, v, MODEL_SC)
#define tsm_sub_relaxed(p, v) MODEL_RMW(p, MODEL_SUB, v, MODEL_RELAXED)
#define tsm_sub_acq_rel(p, v) MODEL_RMW(p, MODEL_SUB, v, MODEL_ACQ_REL)
#define tsm_sub_sc(p, v) MODEL_RMW(p, MODEL_SUB, v, MODEL_SC)
#define tsm_or_relaxed(p, v) MODEL_RMW(p, MODEL_OR, v, MODEL_RELAXED)
#define tsm_or_acq_rel(p, v) MODEL_RMW(p, MODEL_OR, v, MODEL_ACQ_REL)
#define tsm_or_sc(p, v) MODEL_RMW(p, MODEL_OR, v, MODEL_SC)
#define tsm_and_relaxed(p, v) MODEL_RMW(p, MODEL_AND, v, MODEL_RELAXED)
#define tsm_and_acq_rel(p, v) MODEL_RMW(p, MODEL_AND, v, MODEL_ACQ_REL)
#define tsm_and_sc(p, v) MODEL_RMW(p, MODEL_AND, v, MODEL_SC)

#define tsm_pause() ((void)0)
#define tsm_barrier_sc() model_fence(false, MODEL_HERE)
#define tsm_fence_init() ((void)0)
#define tsm_fence_light()                     \
    do {                                      \
        if (!tsm_fence_expedited) {           \
            model_fence(false, MODEL_HERE);   \
        }                                     \
    } while (0)
#ifdef PLANT_NO_HEAVY_FENCE
#define tsm_fence_heavy() ((void)0)
#else
#define tsm_fence_heavy() model_fence(tsm_fence_expedited, MODEL_HERE)
#endif

#define tsm_model_trylock(m) model_trylock((m), MODEL_HERE)
#define tsm_model_lock(m) model_lock((m), MODEL_HERE)
#define tsm_model_unlock(m) model_unlock((m), MODEL_HERE)

#endif

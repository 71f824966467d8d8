/* tsm_ptab.c - the process table.
 *
 * What it is      A directory of chunks of process structs. A chunk is allocated when
 *                 first needed and never freed, so a stale pid always leads to readable
 *                 memory (type stability). Free slots form a stack.
 * Who touches what
 *   directory     any thread reads; written once per chunk under the lock
 *   free stack, counts    under the lock
 *   slot contents the owner of the process (tsm_proc.h)
 * Invariants
 *   I1  a_live counts the slots in use by processes of this epoch, a_spawned - a_died those
 *       that are alive: max_processes is a limit of the latter, so that whoever has seen a
 *       process die (Down, is_alive, processes) finds its place free. Dead ones whose frames
 *       are not yet unwound may take as many slots again (has_place)
 *   I2  a_gen of a slot only grows, and grows exactly when a life ends
 * Rejected        one contiguous reservation (10 million slots at once upset
 *                 overcommit limits); a lock-free free list (ABA needs a tag, and the
 *                 lock costs less than the coroutine that every spawn makes).
 * Where tested    tests/stress, tests/leak
 */
#include "proc/tsm_proc.h"

#include <stdlib.h>
#include <string.h>

#define CHUNK_BITS 10u
#define CHUNK_SLOTS (1u << CHUNK_BITS)
#define MAX_BITS 27u /* as many as the BEAM's +P allows */
#define MAX_CHUNKS (1u << (MAX_BITS - CHUNK_BITS))

tsm_hooks_t tsm_hooks;
tsm_terms_t tsm_terms;

static struct {
    tsm_proc_t* a_chunks[MAX_CHUNKS];
    tsm_mutex_t lock;
    /* under lock */
    tsm_proc_t* free;
    uint32_t max_processes;
    uint32_t a_live; /* atomic for readers without the lock, like the next two */
    uint32_t a_high;
    uint64_t a_spawned;
    uint64_t a_died; /* atomic, any thread */
    uint32_t a_epoch;
} table;

int
tsm_ptab_init(uint32_t max_processes)
{
    if (max_processes == 0 || max_processes > (1u << MAX_BITS)) {
        return TSM_E_LIMIT;
    }
    tsm_mutex_lock(&table.lock);
    table.max_processes = max_processes;
    /* relaxed, all: nobody spawns between two nodes. */
    tsm_store_relaxed(&table.a_epoch, table.a_epoch + 1);
    tsm_store_relaxed(&table.a_live, 0);
    tsm_store_relaxed(&table.a_spawned, 0);
    tsm_store_relaxed(&table.a_died, 0); /* relaxed: as above. */
    tsm_mutex_unlock(&table.lock);
    return TSM_OK;
}

tsm_proc_t*
tsm_ptab_slot_any(uint32_t idx)
{
    if (idx >= (1u << MAX_BITS)) {
        return NULL;
    }
    /* acquire: pairs with table_grow: the chunk is zeroed before it is published. */
    tsm_proc_t* chunk = tsm_load_acquire(&table.a_chunks[idx >> CHUNK_BITS]);
    return chunk == NULL ? NULL : &chunk[idx & (CHUNK_SLOTS - 1)];
}

/* A slot never used before; under the lock. */
static tsm_proc_t*
table_grow(void)
{
    uint32_t idx = tsm_load_relaxed(&table.a_high); /* relaxed: written under our lock. */
    if (idx >= (1u << MAX_BITS)) {
        return NULL;
    }
    /* relaxed: only growers write it, under our lock. */
    tsm_proc_t* chunk = tsm_load_relaxed(&table.a_chunks[idx >> CHUNK_BITS]);
    if (chunk == NULL) {
        chunk = calloc(CHUNK_SLOTS, sizeof(tsm_proc_t));
        if (chunk == NULL) {
            return NULL;
        }
        for (uint32_t i = 0; i < CHUNK_SLOTS; i++) {
            chunk[i].idx = (idx & ~(CHUNK_SLOTS - 1)) + i;
            chunk[i].a_gen = 1;
            (void)tsm_inbox_close_owner(&chunk[i].inbox);
        }
        /* release: pairs with tsm_ptab_slot_any. */
        tsm_store_release(&table.a_chunks[idx >> CHUNK_BITS], chunk);
    }
    /* relaxed: a reader that misses the newest slot missed nothing it was promised. */
    tsm_store_relaxed(&table.a_high, idx + 1);
    return &chunk[idx & (CHUNK_SLOTS - 1)];
}

/* Is there a place for one more, with so many slots in use? Under the lock. */
static bool
has_place(uint32_t used)
{
    enum { SPARE = 1024 }; /* slots of the dead, beside as many as may live */
    /* relaxed: a_died grows before a process is seen dead, so who saw it sees the count. */
    uint64_t alive = tsm_load_relaxed(&table.a_spawned) - tsm_load_relaxed(&table.a_died);
    return alive < table.max_processes && used < 2 * (uint64_t)table.max_processes + SPARE;
}

static tsm_proc_t*
table_take(int* err)
{
    tsm_proc_t* p = NULL;
    tsm_mutex_lock(&table.lock);
    uint32_t live = tsm_load_relaxed(&table.a_live); /* relaxed: written under our lock. */
    if (!has_place(live)) {
        *err = TSM_E_LIMIT;
    } else if (table.free != NULL) {
        p = table.free;
        table.free = (tsm_proc_t*)(void*)p->rq_node.next;
    } else {
        p = table_grow();
        *err = TSM_E_NOMEM;
    }
    if (p != NULL) {
        /* relaxed: statistics, and the limit is checked under the lock. */
        tsm_store_relaxed(&table.a_live, live + 1);
        tsm_store_relaxed(&table.a_spawned, table.a_spawned + 1);
    }
    tsm_mutex_unlock(&table.lock);
    return p;
}

tsm_proc_t*
tsm_ptab_new_any(int* err)
{
    tsm_proc_t* p = table_take(err);
    if (p == NULL) {
        return NULL;
    }
    /* From rq_node on everything starts as zero; what is above, and from a_wake on, is atomic
     * and may be looked at by holders of old pids, so each field is set on its own. */
    memset(&p->rq_node, 0, offsetof(tsm_proc_t, a_wake) - offsetof(tsm_proc_t, rq_node));
    p->mb_last = &p->mb_first;
    p->mb_save = &p->mb_first;
    p->priority = TSM_PRIO_NORMAL;
    p->epoch = tsm_load_relaxed(&table.a_epoch); /* relaxed: changes between nodes only. */
    /* relaxed: nobody knows the new pid yet; publishing it publishes these. */
    tsm_store_relaxed(&p->a_worker, NULL);
    tsm_store_relaxed(&p->a_wake, 0);
    tsm_store_relaxed(&p->a_urgent, 0);
    tsm_store_relaxed(&p->a_held, 0);
    tsm_store_relaxed(&p->a_status, TSM_ST_RUNNABLE);
    tsm_inbox_open_owner(&p->inbox);
    return p;
}

void
tsm_ptab_free_owner(tsm_proc_t* p)
{
    tsm_assert(tsm_inbox_is_dead(&p->inbox));
    /* relaxed: only the owner writes the generation. */
    uint32_t gen = tsm_load_relaxed(&p->a_gen) + 1;
    /* relaxed: a reader of the old status is as stale as its pid. */
    tsm_store_relaxed(&p->a_status, TSM_ST_FREE);
    /* release: pairs with tsm_ptab_get_any: who sees the old generation may still push,
     * onto DEAD or onto the next life, whose drain sees the wrong generation. */
    tsm_store_release(&p->a_gen, gen == 0 ? 1 : gen);
    tsm_mutex_lock(&table.lock);
    p->rq_node.next = (tsm_node_t*)(void*)table.free;
    table.free = p;
    /* relaxed: statistics, written under the lock. */
    tsm_store_relaxed(&table.a_live, table.a_live - (p->epoch == table.a_epoch));
    tsm_mutex_unlock(&table.lock);
}

uint32_t
tsm_ptab_live_any(void)
{
    return tsm_load_relaxed(&table.a_live); /* relaxed: a statistic. */
}

uint32_t
tsm_ptab_high_any(void)
{
    return tsm_load_relaxed(&table.a_high); /* relaxed: a bound that may be stale. */
}

uint64_t
tsm_ptab_spawned_any(void)
{
    return tsm_load_relaxed(&table.a_spawned); /* relaxed: a statistic. */
}

uint64_t
tsm_ptab_died_any(void)
{
    return tsm_load_relaxed(&table.a_died); /* relaxed: a statistic. */
}

bool
tsm_ptab_is_current(const tsm_proc_t* p)
{
    return p->epoch == tsm_load_relaxed(&table.a_epoch); /* relaxed: between nodes only. */
}

void
tsm_ptab_count_death(tsm_proc_t* p)
{
    if (tsm_ptab_is_current(p)) {
        (void)tsm_add_relaxed(&table.a_died, 1); /* relaxed: a statistic. */
    }
}

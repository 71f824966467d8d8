/* tsm_table_epoch.h - read sections and grace periods (tsm_table_epoch.c).
 */
#ifndef TSM_TABLE_EPOCH_H
#define TSM_TABLE_EPOCH_H

#include "bind/tsm_bind.h"

enum { TSM_LIMBO_ROOM = 256 };

typedef struct tsm_reader {
    uint64_t a_active; /* the epoch its section began in; 0: in none */
    uint32_t a_used;
    /* own thread only */
    uint32_t count;
    void* limbo[TSM_LIMBO_ROOM];
    uint8_t limbo_kind[TSM_LIMBO_ROOM];
    struct tsm_reader* next; /* set once */
} tsm_reader_t;

extern _Thread_local tsm_reader_t* tsm_reader_mine __attribute__((tls_model("initial-exec")));
extern uint64_t tsm_epoch_a_now;

enum tsm_limbo { TSM_LIMBO_ROW, TSM_LIMBO_ENTRY, TSM_LIMBO_ARRAY }; /* an entry: with the row inside */

/* Makes the calling thread's reader; -1: no memory, with an exception. Before a section. */
int tsm_reader_ready_slow(void);
/* All sections begun before the call have ended when it returns. Not inside a section. */
void tsm_grace(void);
/* p is unlinked; it is freed after a grace period. No lock may be held: drops references. */
void tsm_retire(void* p, enum tsm_limbo kind, bool heavy);
void tsm_retire_flush(void);
int tsm_epoch_init(void);

static inline int
tsm_reader_ready(void)
{
    return TSM_LIKELY(tsm_reader_mine != NULL) ? 0 : tsm_reader_ready_slow();
}

static inline void
tsm_read_begin(void)
{
    /* acquire: pairs with the addition in tsm_grace: what was unlinked before is. */
    uint64_t now = tsm_load_acquire(&tsm_epoch_a_now);
    /* relaxed: the light fence orders it before the loads of the section; tsm_grace has
     * the heavy one. */
    tsm_store_relaxed(&tsm_reader_mine->a_active, now);
    tsm_fence_light();
}

static inline void
tsm_read_end(void)
{
    /* release: pairs with tsm_grace: our reads are done. */
    tsm_store_release(&tsm_reader_mine->a_active, 0);
}

#endif

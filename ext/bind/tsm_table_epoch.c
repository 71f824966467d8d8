/* tsm_table_epoch.c - when memory that readers may still look at can be given back.
 *
 * What it is      Readers announce their section in a word of their own and touch no
 *                 shared line. Who unlinks something keeps it in the limbo of its thread;
 *                 a full limbo is freed after a grace period.
 * Protocol        grace: 1. the epoch grows; 2. heavy fence; 3. wait until no reader is in
 *                 a section of an older epoch. A reader that announced itself before 2 is
 *                 seen in 3; one that comes later sees all that was unlinked before 1.
 *                 A section is short and never blocks, so the wait in 3 is, too.
 * Invariants      limbo of light rows only is bounded by its size; a heavy row (anything
 *                 bigger than numbers and short text) is freed at once.
 */
#include "bind/tsm_table.h"

#include <pthread.h>
#include <stdlib.h>

_Thread_local tsm_reader_t* tsm_reader_mine __attribute__((tls_model("initial-exec")));
uint64_t tsm_epoch_a_now = 1;
static tsm_reader_t* a_readers; /* all ever made; never freed */
static tsm_mutex_t readers_lock;
static pthread_key_t exit_key;

/* The thread is gone; who takes its reader over frees what is in the limbo. */
static void
reader_exit(void* reader)
{
    tsm_reader_mine = NULL;
    /* release: pairs with reader_take: the limbo goes with it. */
    tsm_store_release(&((tsm_reader_t*)reader)->a_used, 0);
}

int
tsm_epoch_init(void)
{
    tsm_fence_init();
    return pthread_key_create(&exit_key, reader_exit) == 0 ? 0 : -1;
}

static tsm_reader_t*
reader_take(void)
{
    tsm_mutex_lock(&readers_lock);
    tsm_reader_t* first = tsm_load_relaxed(&a_readers); /* relaxed: under the lock. */
    tsm_reader_t* r = first;
    /* acquire: pairs with reader_exit: its limbo. */
    while (r != NULL && tsm_load_acquire(&r->a_used) != 0) {
        r = r->next;
    }
    if (r == NULL && (r = aligned_alloc(64, (sizeof(*r) + 63) / 64 * 64)) != NULL) {
        *r = (tsm_reader_t){.next = first};
        /* release: pairs with tsm_grace: the reader is whole. */
        tsm_store_release(&a_readers, r);
    }
    if (r != NULL) {
        tsm_store_relaxed(&r->a_used, 1); /* relaxed: taken under the lock. */
    }
    tsm_mutex_unlock(&readers_lock);
    return r;
}

int
tsm_reader_ready_slow(void)
{
    tsm_reader_t* r = reader_take();
    if (r == NULL || pthread_setspecific(exit_key, r) != 0) {
        PyErr_NoMemory();
        return -1;
    }
    tsm_reader_mine = r;
    return 0;
}

void
tsm_grace(void)
{
    /* acq_rel: pairs with tsm_read_begin: what was unlinked before is not found there. */
    uint64_t now = tsm_add_acq_rel(&tsm_epoch_a_now, 1) + 1;
    tsm_fence_heavy(); /* fence: pairs with the light one of tsm_read_begin. */
    /* acquire: pairs with reader_take: whole readers. One made later begins later. */
    for (tsm_reader_t* r = tsm_load_acquire(&a_readers); r != NULL; r = r->next) {
        for (uint32_t turn = 0;; turn++) {
            uint64_t active = tsm_load_acquire(&r->a_active); /* acquire: pairs with tsm_read_end. */
            if (active == 0 || active >= now) {
                break;
            }
            tsm_backoff(turn);
        }
    }
}

void
tsm_retire_flush(void)
{
    tsm_reader_t* r = tsm_reader_mine;
    if (r == NULL || r->count == 0) {
        return;
    }
    void* limbo[TSM_LIMBO_ROOM];
    uint8_t kinds[TSM_LIMBO_ROOM];
    uint32_t count = r->count;
    memcpy(limbo, r->limbo, count * sizeof(limbo[0]));
    memcpy(kinds, r->limbo_kind, count);
    r->count = 0; /* finalisers may retire again */
    tsm_grace();
    for (uint32_t i = 0; i < count; i++) {
        if (kinds[i] == TSM_LIMBO_ROW) {
            tsm_row_free(limbo[i]);
        } else if (kinds[i] == TSM_LIMBO_ENTRY) {
            tsm_entry_free(limbo[i]);
        } else {
            free(limbo[i]);
        }
    }
}

void
tsm_retire(void* p, enum tsm_limbo kind, bool heavy)
{
    tsm_reader_t* r = tsm_reader_mine;
    r->limbo[r->count] = p;
    r->limbo_kind[r->count] = (uint8_t)kind;
    r->count++;
    if (heavy || r->count == TSM_LIMBO_ROOM) {
        tsm_retire_flush();
    }
}

/* tsm_name.c - registered names: one name a process, one process a name.
 *
 * What it is      A chained hash table under one mutex. An entry is a signal node
 *                 (name in term, pid in from, hash in ref), so that dropping one is
 *                 burying it and needs no memory.
 * Protocol        Registering and dying race. The registrar publishes p->a_name and
 *                 then looks whether p is dead; the dying process turns dead and then
 *                 looks at p->a_name: one of the two sees the other (both orders sc).
 * Where tested    tests/semantics, tests/stress
 * Source          erlang:register/2
 */
#include "proc/tsm_det.h"

#include <stdlib.h>

static struct {
    tsm_mutex_t lock;
    /* under lock */
    tsm_sig_t** buckets;
    uint32_t mask; /* buckets - 1 */
    uint32_t count;
} names;

static tsm_sig_t**
names_find(void* name, uint64_t hash)
{
    static tsm_sig_t* nothing;
    if (names.buckets == NULL) {
        nothing = NULL;
        return &nothing;
    }
    tsm_sig_t** at = &names.buckets[hash & names.mask];
    while (*at != NULL
           && !((*at)->ref == hash && tsm_hooks.term_equal((*at)->term, name))) {
        at = (tsm_sig_t**)(void*)&(*at)->node.next;
    }
    return at;
}

/* Room for one more; a failed growth only makes chains longer. */
static int
names_grow(void)
{
    if (names.buckets != NULL && names.count <= names.mask) {
        return TSM_OK;
    }
    uint32_t size = names.buckets == NULL ? 16 : (names.mask + 1) * 2;
    tsm_sig_t** grown = calloc(size, sizeof(*grown));
    if (grown == NULL) {
        return names.buckets == NULL ? TSM_E_NOMEM : TSM_OK;
    }
    for (uint32_t i = 0; names.buckets != NULL && i <= names.mask; i++) {
        for (tsm_sig_t *e = names.buckets[i], *next; e != NULL; e = next) {
            next = tsm_sig_next(e);
            e->node.next = (tsm_node_t*)grown[e->ref & (size - 1)];
            grown[e->ref & (size - 1)] = e;
        }
    }
    free(names.buckets);
    names.buckets = grown;
    names.mask = size - 1;
    return TSM_OK;
}

/* Unhooks the entry at *at; under the lock. Its process no longer knows it. */
static tsm_sig_t*
names_take(tsm_sig_t** at)
{
    tsm_sig_t* entry = *at;
    *at = tsm_sig_next(entry);
    names.count--;
    /* By struct, whatever life it is in: the registrar may have been late. */
    tsm_proc_t* p = tsm_ptab_slot_any(tsm_pid_idx(entry->from));
    if (p != NULL && tsm_load_relaxed(&p->a_name) == entry) { /* relaxed: under the lock. */
        tsm_store_relaxed(&p->a_name, NULL); /* relaxed: a dying p looks again under it. */
    }
    return entry;
}

static int
names_insert(tsm_sig_t* entry, tsm_proc_t* p)
{
    tsm_sig_t** at = names_find(entry->term, entry->ref);
    if (*at != NULL) {
        return TSM_E_NAME_TAKEN;
    }
    if (tsm_load_relaxed(&p->a_name) != NULL) { /* relaxed: under the lock. */
        return TSM_E_HAS_NAME;
    }
    if (names_grow() < 0) {
        return TSM_E_NOMEM;
    }
    at = names_find(entry->term, entry->ref);
    entry->node.next = NULL;
    *at = entry;
    names.count++;
    /* sc: against the swap in tsm_proc_die_owner, see Protocol above. */
    tsm_store_sc(&p->a_name, entry);
    if (tsm_ptab_get_any(entry->from) != p || tsm_inbox_is_dead(&p->inbox)) {
        (void)names_take(at);
        return TSM_E_NOPROC;
    }
    return TSM_OK;
}

int
tsm_name_register_any(void* name, uint64_t hash, tsm_proc_t* p, tsm_pid_t pid)
{
    if (TSM_UNLIKELY(tsm_det.on != 0)) {
        tsm_det_touch_any();
    }
    tsm_sig_t* entry = tsm_sig_new(TSM_SIG_DROP);
    if (entry == NULL) {
        return TSM_E_NOMEM;
    }
    tsm_hooks.term_ref(name);
    entry->term = name;
    entry->ref = hash;
    entry->from = pid;
    tsm_mutex_lock(&names.lock);
    int rc = names_insert(entry, p);
    tsm_mutex_unlock(&names.lock);
    if (rc < 0) {
        tsm_bury(entry);
    }
    return rc;
}

int
tsm_name_unregister_any(void* name, uint64_t hash)
{
    if (TSM_UNLIKELY(tsm_det.on != 0)) {
        tsm_det_touch_any();
    }
    tsm_sig_t* entry = NULL;
    tsm_mutex_lock(&names.lock);
    tsm_sig_t** at = names_find(name, hash);
    if (*at != NULL) {
        entry = names_take(at);
    }
    tsm_mutex_unlock(&names.lock);
    if (entry == NULL) {
        return TSM_E_NOPROC;
    }
    tsm_bury(entry);
    return TSM_OK;
}

tsm_pid_t
tsm_name_find_any(void* name, uint64_t hash)
{
    if (TSM_UNLIKELY(tsm_det.on != 0)) {
        tsm_det_touch_any();
    }
    tsm_pid_t pid = 0;
    tsm_mutex_lock(&names.lock);
    tsm_sig_t* entry = *names_find(name, hash);
    if (entry != NULL) {
        pid = entry->from;
    }
    tsm_mutex_unlock(&names.lock);
    tsm_proc_t* p = pid == 0 ? NULL : tsm_ptab_get_any(pid);
    return p == NULL || tsm_inbox_is_dead(&p->inbox) ? 0 : pid;
}

void
tsm_name_drop_owner(tsm_proc_t* p)
{
    /* sc: against names_insert, see Protocol above. */
    if (tsm_load_sc(&p->a_name) == NULL) {
        return;
    }
    tsm_sig_t* entry = NULL;
    tsm_mutex_lock(&names.lock);
    tsm_sig_t* mine = tsm_load_relaxed(&p->a_name); /* relaxed: under the lock. */
    if (mine != NULL) {
        tsm_sig_t** at = &names.buckets[mine->ref & names.mask];
        while (*at != mine) {
            at = (tsm_sig_t**)(void*)&(*at)->node.next;
        }
        entry = names_take(at);
    }
    tsm_mutex_unlock(&names.lock);
    if (entry != NULL) {
        tsm_bury(entry);
    }
}

void*
tsm_name_of_any(tsm_proc_t* p)
{
    void* name = NULL;
    tsm_mutex_lock(&names.lock);
    tsm_sig_t* entry = tsm_load_relaxed(&p->a_name); /* relaxed: under the lock. */
    if (entry != NULL && entry->from == tsm_proc_pid(p)) {
        name = entry->term;
        tsm_hooks.term_ref(name);
    }
    tsm_mutex_unlock(&names.lock);
    return name;
}

void
tsm_name_each_any(void (*visit)(void* arg, void* name, tsm_pid_t pid), void* arg)
{
    tsm_mutex_lock(&names.lock);
    for (uint32_t i = 0; names.buckets != NULL && i <= names.mask; i++) {
        for (tsm_sig_t* e = names.buckets[i]; e != NULL; e = tsm_sig_next(e)) {
            visit(arg, e->term, e->from);
        }
    }
    tsm_mutex_unlock(&names.lock);
}

/* tsm_link.c - links, monitors and aliases as their owner sees them.
 *
 * What it is      Relations live in a small hash table inside the process, keyed by peer
 *                 (links) or reference (the rest). All functions run in the owner.
 * Protocol        Links follow OTP's unlink-id protocol: an unlinked relation stays,
 *                 inactive and with a fresh id, until its peer acknowledges that id; an
 *                 exit of an inactive link has no effect. So after unlink no exit signal
 *                 of that link takes effect, and a link made anew is not undone by an
 *                 old acknowledgement.
 * Where tested    tests/semantics, tests/property
 * Source          erl_link.html, "link protocol"; semantics 1.3 and 1.4
 */
#include "proc/tsm_mailbox.h"

#include <string.h>

/* References are unique in the node: blocks of numbers are handed to OS threads. */
uint64_t
tsm_ref_new(void)
{
    enum { BLOCK = 1024 };
    static uint64_t a_next_block;
    static _Thread_local uint64_t next, end;
    if (next == end) {
        /* relaxed: uniqueness is all that counts, and the RMW gives it. */
        next = tsm_add_relaxed(&a_next_block, BLOCK);
        end = next + BLOCK;
    }
    return ++next;
}

static void
rel_release_terms(tsm_rel_t* rel, tsm_sig_t* sig)
{
    sig->term = NULL;
    sig->tag = rel->tag;
    sig->name = rel->name;
}

/* The memory goes through the graveyard when it holds terms: it is of signal size. */
void
tsm_rel_free(tsm_rel_t* rel)
{
    if (rel->tag == NULL && rel->name == NULL) {
        tsm_free(rel, TSM_SIG_BYTES);
        return;
    }
    tsm_rel_t copy = *rel;
    tsm_sig_t* sig = (tsm_sig_t*)(void*)rel;
    memset(sig, 0, sizeof(*sig));
    sig->kind = TSM_SIG_DROP;
    rel_release_terms(&copy, sig);
    tsm_bury(sig);
}

tsm_rel_t*
tsm_rel_find_owner(tsm_proc_t* p, enum tsm_rel_kind kind, uint64_t key)
{
    return (tsm_rel_t*)(void*)tsm_hmap_find(&p->rels, kind, key);
}

void
tsm_rel_insert_owner(tsm_proc_t* p, tsm_rel_t* rel)
{
    tsm_hmap_insert(&p->rels, &rel->h);
}

tsm_rel_t*
tsm_rel_add_owner(tsm_proc_t* p, enum tsm_rel_kind kind, uint64_t key)
{
    tsm_rel_t* rel = tsm_alloc(TSM_SIG_BYTES);
    if (rel != NULL) {
        *rel = (tsm_rel_t){.h = {.key = key, .kind = kind}, .active = 1};
        tsm_rel_insert_owner(p, rel);
    }
    return rel;
}

void
tsm_rel_take_owner(tsm_proc_t* p, tsm_rel_t* rel)
{
    (void)tsm_hmap_remove(&p->rels, rel->h.kind, rel->h.key);
}

tsm_rel_t*
tsm_rel_pop_owner(tsm_proc_t* p)
{
    return (tsm_rel_t*)(void*)tsm_hmap_pop_any(&p->rels);
}

void
tsm_call_accept_owner(tsm_proc_t* p, tsm_sig_t* sig)
{
    tsm_pid_t peer = sig->from;
    uint64_t ref = sig->ref;
    tsm_rel_t* rel = (tsm_rel_t*)(void*)sig;
    *rel = (tsm_rel_t){.h = {.key = ref, .kind = TSM_REL_MONITORED_BY}, .active = 1, .peer = peer};
    tsm_rel_insert_owner(p, rel);
}

bool
tsm_call_release_owner(tsm_proc_t* p, uint64_t ref)
{
    tsm_rel_t* rel = (tsm_rel_t*)(void*)tsm_hmap_remove(&p->rels, TSM_REL_MONITORED_BY, ref);
    if (rel == NULL) {
        return false;
    }
    tsm_free(rel, TSM_SIG_BYTES);
    return true;
}

void
tsm_rel_send_owner(tsm_proc_t* p, tsm_rel_t* rel, enum tsm_sig_kind kind, void* term)
{
    tsm_rel_t old = *rel;
    tsm_sig_t* sig = (tsm_sig_t*)(void*)rel;
    memset(sig, 0, sizeof(*sig));
    sig->kind = (uint16_t)kind;
    sig->from = tsm_proc_pid(p);
    sig->ref = old.h.key;
    rel_release_terms(&old, sig);
    if (term != NULL) {
        tsm_hooks.term_ref(term);
        sig->term = term;
    }
    (void)tsm_signal_any(old.peer, sig);
}

int
tsm_link_owner(tsm_proc_t* p, tsm_pid_t peer)
{
    if (peer == tsm_proc_pid(p)) {
        return TSM_OK;
    }
    tsm_rel_t* rel = tsm_rel_find_owner(p, TSM_REL_LINK, peer);
    if (rel != NULL && rel->active) {
        return TSM_OK;
    }
    tsm_sig_t* sig = tsm_sig_new(TSM_SIG_LINK);
    if (sig == NULL || (rel == NULL && (rel = tsm_rel_add_owner(p, TSM_REL_LINK, peer)) == NULL)) {
        if (sig != NULL) {
            tsm_sig_free(sig);
        }
        return TSM_E_NOMEM;
    }
    rel->peer = peer;
    rel->active = 1;
    rel->unlink_id = 0;
    sig->from = tsm_proc_pid(p);
    /* To the dead: the answer (exit noproc) is in our inbox already; the caller turns
     * it into an exception where the process does not trap exits. */
    return tsm_signal_any(peer, sig);
}

int
tsm_unlink_owner(tsm_proc_t* p, tsm_pid_t peer)
{
    tsm_rel_t* rel = tsm_rel_find_owner(p, TSM_REL_LINK, peer);
    if (rel == NULL || !rel->active) {
        return TSM_OK;
    }
    tsm_sig_t* sig = tsm_sig_new(TSM_SIG_UNLINK);
    if (sig == NULL) {
        return TSM_E_NOMEM;
    }
    rel->active = 0;
    rel->unlink_id = tsm_ref_new();
    sig->from = tsm_proc_pid(p);
    sig->ref = rel->unlink_id;
    (void)tsm_signal_any(peer, sig);
    return TSM_OK;
}

/* There is nothing to remove later; only an alias lives on. */
static void
watch_self(tsm_proc_t* p, tsm_rel_t* rel, uint16_t alias_mode, bool priority, void* tag, void* name)
{
    tsm_rel_take_owner(p, rel);
    if (alias_mode != TSM_ALIAS_NONE) {
        rel->h.kind = TSM_REL_ALIAS;
        rel->alias_mode = alias_mode == TSM_ALIAS_REPLY_DEMONITOR ? TSM_ALIAS_REPLY : alias_mode;
        rel->priority = priority;
        tsm_rel_insert_owner(p, rel);
        rel = tsm_alloc(TSM_SIG_BYTES); /* only to carry the terms away */
    }
    if (rel != NULL) {
        *rel = (tsm_rel_t){.tag = tag, .name = name};
        tsm_rel_free(rel);
    }
}

int
tsm_monitor_owner(tsm_proc_t* p, tsm_pid_t target, uint16_t alias_mode, bool priority,
                  void* tag, void* name, uint64_t* ref)
{
    if (*ref == 0) {
        *ref = tsm_ref_new();
    }
    tsm_sig_t* sig = tsm_sig_new(TSM_SIG_MONITOR);
    tsm_rel_t* rel = sig == NULL ? NULL : tsm_rel_add_owner(p, TSM_REL_MONITOR, *ref);
    if (rel == NULL) {
        if (sig != NULL) {
            tsm_sig_free(sig);
        }
        return TSM_E_NOMEM;
    }
    if (target == tsm_proc_pid(p)) { /* watching oneself: a reference, never a DOWN */
        tsm_sig_free(sig);
        watch_self(p, rel, alias_mode, priority, tag, name);
        return TSM_OK;
    }
    rel->peer = target;
    rel->alias_mode = alias_mode;
    rel->priority = priority;
    rel->tag = tag;
    rel->name = name;
    sig->from = tsm_proc_pid(p);
    sig->ref = *ref;
    (void)tsm_signal_any(target, sig);
    return TSM_OK;
}

static bool
mailbox_drop_end(tsm_proc_t* p, uint64_t ref)
{
    for (tsm_sig_t** at = &p->mb_first; *at != NULL;
         at = (tsm_sig_t**)(void*)&(*at)->node.next) {
        if ((*at)->kind >= TSM_SIG_DOWN && (*at)->ref == ref) { /* or READY, NOT_READY */
            tsm_bury(tsm_mailbox_take_owner(p, at));
            return true;
        }
    }
    return false;
}

int
tsm_demonitor_owner(tsm_proc_t* p, uint64_t ref, bool flush, bool* cancelled)
{
    tsm_rel_t* rel = tsm_rel_find_owner(p, TSM_REL_MONITOR, ref);
    *cancelled = rel != NULL;
    if (rel == NULL) {
        if (flush) {
            (void)mailbox_drop_end(p, ref);
        }
        return TSM_OK;
    }
    if (rel->alias_mode == TSM_ALIAS_EXPLICIT) { /* the address stays */
        tsm_sig_t* sig = tsm_sig_new(TSM_SIG_DEMONITOR);
        if (sig == NULL) {
            return TSM_E_NOMEM;
        }
        sig->from = tsm_proc_pid(p);
        sig->ref = ref;
        tsm_rel_take_owner(p, rel);
        rel->h.kind = TSM_REL_ALIAS;
        tsm_rel_insert_owner(p, rel);
        (void)tsm_signal_any(rel->peer, sig);
        return TSM_OK;
    }
    tsm_rel_take_owner(p, rel);
    tsm_rel_send_owner(p, rel, TSM_SIG_DEMONITOR, NULL);
    return TSM_OK;
}

int
tsm_alias_owner(tsm_proc_t* p, uint16_t mode, bool priority, uint64_t* ref)
{
    *ref = tsm_ref_new();
    tsm_rel_t* rel = tsm_rel_add_owner(p, TSM_REL_ALIAS, *ref);
    if (rel == NULL) {
        return TSM_E_NOMEM;
    }
    rel->alias_mode = mode;
    rel->priority = priority;
    return TSM_OK;
}

bool
tsm_unalias_owner(tsm_proc_t* p, uint64_t ref)
{
    tsm_rel_t* rel = tsm_rel_find_owner(p, TSM_REL_ALIAS, ref);
    if (rel != NULL) {
        tsm_rel_take_owner(p, rel);
        tsm_rel_free(rel);
        return true;
    }
    rel = tsm_rel_find_owner(p, TSM_REL_MONITOR, ref);
    if (rel == NULL || rel->alias_mode == TSM_ALIAS_NONE) {
        return false;
    }
    rel->alias_mode = TSM_ALIAS_NONE;
    return true;
}

static tsm_rel_t*
starter_of(tsm_proc_t* p)
{
    tsm_rel_t* rel = (p->flags & TSM_PF_STARTING) != 0 ? tsm_rel_find_owner(p, TSM_REL_STARTER, 0) : NULL;
    return rel != NULL && rel->active ? rel : NULL;
}

bool
tsm_ready_owner(tsm_proc_t* p, void* term)
{
    tsm_rel_t* rel = starter_of(p);
    if (rel == NULL) {
        return false;
    }
    tsm_rel_take_owner(p, rel);
    p->flags &= ~(uint32_t)TSM_PF_STARTING;
    rel->h.key = rel->unlink_id;
    tsm_rel_send_owner(p, rel, TSM_SIG_READY, term);
    return true;
}

bool
tsm_ignore_owner(tsm_proc_t* p)
{
    tsm_rel_t* rel = starter_of(p);
    if (rel != NULL) {
        rel->active = 0;
    }
    return rel != NULL;
}

void
tsm_mark_owner(tsm_proc_t* p, uint64_t ref)
{
    p->mark = p->mb_last;
    p->mark_ref = ref;
}

tsm_cold_t*
tsm_cold_owner(tsm_proc_t* p)
{
    if (p->cold == NULL && (p->cold = tsm_alloc(sizeof(tsm_cold_t))) != NULL) {
        memset(p->cold, 0, sizeof(tsm_cold_t));
    }
    return p->cold;
}

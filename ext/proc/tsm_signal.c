/* tsm_signal.c - sending signals and acting on them.
 *
 * What it is
 *   Every influence of one process on another is a signal through the one inbox of the
 *   receiver, so signals of one sender keep their order whatever their kind. The owner
 *   of the receiver drains the inbox: messages move to the mailbox, the rest acts.
 * Who touches what
 *   sending     any thread that is attached to the interpreter
 *   draining    the owner of the process (tsm_proc.h)
 *   buried      the calling OS thread alone
 * Protocol: messages for the sleeping
 *   Who wakes a process owns it, and an inbox that was asleep is empty: a message is handled
 *   right there and goes into the mailbox, in the order in which the inbox would give it out
 *   (deliver_asleep).
 * Protocol: death
 *   1. inbox becomes DEAD: no later push succeeds, the pid is dead to the world
 *   2. the name goes, and what it holds elsewhere (tables)
 *   3. links get their exit, monitors their DOWN, monitored ones their demonitor, calls
 *      that were not looked at a DOWN; each relation's own memory becomes the signal, so
 *      dying cannot run out of memory
 *   4. what stood in the inbox behind the fatal signal is answered as by the dead
 *   Links come before monitors: who is told by a Down finds that the linked have been.
 *   Whoever holds a pid and finds DEAD or another generation answers for the dead
 *   itself (answer_for_dead): a link gets exit noproc, a monitor DOWN noproc.
 * Protocol: start
 *   Who starts a process and waits until it is ready has a MONITOR of it, and that has a
 *   STARTER, from before its first step (bind/tsm_start.c). Being ready turns the STARTER
 *   into READY, which ends the MONITOR: no demonitor travels. A death before that turns it
 *   into NOT_READY instead, and the link between the two, if there is one, ends with it:
 *   the starter gets no exit signal of a start that failed.
 * Memory ordering
 *   A push is an acq_rel RMW of the inbox word; poke then reads a_status (sc), and the
 *   monitor thread stores BLOCKED (sc) before it looks at the inbox: one of the two
 *   sees the other, so a blocked process never sits on an exit signal.
 * Rejected
 *   A queue per kind (breaks the order rule); exit flags in the target (two pending
 *   exits could swap); canonical shared pid objects (reference count contention).
 * Where tested    tests/semantics, tests/property, tests/stress
 * Source          OTP erl_proc_sig_queue.c; link protocol as OTP 23+ (unlink ids)
 */
#include "proc/tsm_det.h"
#include "proc/tsm_fault.h"
#include "proc/tsm_mailbox.h"
#include "proc/tsm_qlimit.h"

TSM_TLS tsm_sig_t* tsm_buried;

static size_t
sig_bytes(uint16_t kind)
{
    return kind <= TSM_SIG_TIMEOUT ? TSM_MSG_BYTES : TSM_SIG_BYTES;
}

tsm_sig_t*
tsm_sig_new(enum tsm_sig_kind kind)
{
    if (TSM_UNLIKELY(tsm_fault_count != 0) && tsm_fault_alloc()) {
        return NULL;
    }
    tsm_sig_t* sig = tsm_alloc(sig_bytes((uint16_t)kind));
    if (sig == NULL) {
        return NULL;
    }
    sig->node.next = NULL;
    sig->kind = (uint16_t)kind;
    sig->flags = 0;
    sig->term = NULL;
    sig->ref = 0;
    if (kind > TSM_SIG_TIMEOUT) {
        sig->from = 0;
        sig->tag = NULL;
        sig->name = NULL;
    }
    return sig;
}

void
tsm_sig_free(tsm_sig_t* sig)
{
    tsm_free(sig, sig_bytes(sig->kind));
}

void
tsm_bury(tsm_sig_t* sig)
{
    sig->node.next = (tsm_node_t*)tsm_buried;
    tsm_buried = sig;
}

int
tsm_bury_term(void* term)
{
    tsm_sig_t* sig = tsm_sig_new(TSM_SIG_DROP);
    if (sig == NULL) {
        return TSM_E_NOMEM;
    }
    sig->term = term;
    tsm_bury(sig);
    return TSM_OK;
}

void
tsm_flush(void)
{
    while (tsm_buried != NULL) {
        tsm_sig_t* sig = tsm_buried;
        tsm_buried = tsm_sig_next(sig);
        void* terms[3] = {sig->term, NULL, NULL};
        if (sig->kind > TSM_SIG_TIMEOUT) {
            terms[1] = sig->tag;
            terms[2] = sig->name;
        }
        tsm_sig_free(sig);
        for (int i = 0; i < 3; i++) {
            if (terms[i] != NULL) {
                tsm_hooks.term_unref(terms[i]);
            }
        }
    }
}

static void
turn_into(tsm_sig_t* sig, enum tsm_sig_kind kind, tsm_pid_t from, void* term)
{
    sig->kind = (uint16_t)kind;
    sig->from = from;
    sig->term = term;
    if (term != NULL) {
        tsm_hooks.term_ref(term);
    }
}

/* The request is the asker's again afterwards. */
static void
answered(tsm_info_t* request, void* answer)
{
    request->answer = answer;
    request->ticket = TSM_UNLIKELY(request->keep) ? tsm_det_expect() : 0;
    tsm_event_set(&request->done);
}

static void
drop_term(tsm_sig_t* sig)
{
    if (tsm_bury_term(sig->term) < 0) {
        tsm_hooks.term_unref(sig->term);
    }
    sig->term = NULL;
}

static void
uncount(tsm_pid_t to, tsm_sig_t* sig)
{
    if (TSM_UNLIKELY((sig->flags & TSM_SIGF_COUNTED) != 0)) {
        tsm_proc_t* p = tsm_ptab_slot_any(tsm_pid_idx(to));
        tsm_qlimit_left_any(tsm_load_acquire(&p->a_qlimit)); /* acquire: as in tsm_qlimit_of. */
    }
}

void
tsm_call_lost_any(tsm_pid_t to, tsm_sig_t* sig)
{
    if (sig->term != NULL) {
        drop_term(sig);
    }
    sig->kind = TSM_SIG_MONITOR;
    sig->flags = 0;
    (void)tsm_signal_any(to, sig);
}

/* What a dead process answers to sig. Takes sig. */
static void
answer_for_dead(tsm_pid_t dead, tsm_sig_t* sig)
{
    tsm_pid_t asker;
    tsm_info_t* request;
    switch ((enum tsm_sig_kind)sig->kind) {
    case TSM_SIG_LINK:
        asker = sig->from;
        turn_into(sig, TSM_SIG_LINK_EXIT, dead, tsm_terms.noproc);
        break;
    case TSM_SIG_UNLINK:
        asker = sig->from;
        turn_into(sig, TSM_SIG_UNLINK_ACK, dead, NULL);
        break;
    case TSM_SIG_CALL:
        uncount(dead, sig);
        if (TSM_UNLIKELY(tsm_det.on != 0)) {
            tsm_det_record_any(TSM_DET_LOST, 0, dead, sig->term);
        }
        drop_term(sig);
        sig->flags = 0;
        asker = sig->from;
        turn_into(sig, TSM_SIG_DOWN, dead, tsm_terms.noproc);
        break;
    case TSM_SIG_MONITOR:
        asker = sig->from;
        turn_into(sig, TSM_SIG_DOWN, dead, tsm_terms.noproc);
        break;
    case TSM_SIG_INFO:
        request = sig->tag;
        sig->tag = NULL;
        tsm_sig_free(sig);
        answered(request, NULL);
        return;
    default:
        uncount(dead, sig);
        if (TSM_UNLIKELY(tsm_det.on != 0) && sig->kind == TSM_SIG_MESSAGE && sig->ref == 0) {
            tsm_det_record_any(TSM_DET_LOST, 0, dead, sig->term);
        }
        tsm_bury(sig);
        return;
    }
    (void)tsm_signal_any(asker, sig); /* answers to the dead are dropped there */
}

static void
poke(tsm_proc_t* p)
{
    /* sc: after the push, against the store of BLOCKED in sched/tsm_monitor.c. */
    uint32_t status = tsm_load_sc(&p->a_status);
    if (status == TSM_ST_RUNNING || status == TSM_ST_BLOCKED) {
        tsm_hooks.poke(p, status); /* missed: a_urgent is set, and the monitor thread looks again */
    }
}

/* An exit signal. Returns the reason to die with (one reference), or NULL: sig is now
 * a message or buried. */
static void*
handle_exit(tsm_proc_t* p, tsm_sig_t* sig, bool by_link)
{
    void* reason = sig->term;
    bool to_self = sig->from == tsm_proc_pid(p);
    if (!by_link && reason == tsm_terms.kill) {
        reason = tsm_terms.killed;
    } else if ((p->flags & TSM_PF_TRAP_EXIT) != 0) {
        sig->flags &= (uint16_t)~TSM_SIGF_PRIORITY;
        tsm_mailbox_append_owner(p, sig);
        return NULL;
    } else if (reason == tsm_terms.normal && (by_link || !to_self)) {
        tsm_bury(sig);
        return NULL;
    }
    tsm_hooks.term_ref(reason);
    tsm_bury(sig);
    return reason;
}

static void*
handle_link_exit(tsm_proc_t* p, tsm_sig_t* sig)
{
    tsm_rel_t* rel = tsm_rel_find_owner(p, TSM_REL_LINK, sig->from);
    if (rel == NULL || !rel->active) {
        tsm_bury(sig); /* unlinked in the meantime */
        return NULL;
    }
    tsm_rel_take_owner(p, rel);
    tsm_rel_free(rel);
    sig->kind = TSM_SIG_EXIT;
    sig->ref = 0; /* as a message it belongs to no reference */
    return handle_exit(p, sig, true);
}

/* The signal's own memory becomes the relation, so accepting cannot fail. */
static void
accept_relation(tsm_proc_t* p, tsm_sig_t* sig, enum tsm_rel_kind kind)
{
    tsm_pid_t peer = sig->from;
    uint64_t key = kind == TSM_REL_LINK ? peer : sig->ref;
    if (tsm_rel_find_owner(p, kind, key) != NULL) {
        tsm_bury(sig);
        return;
    }
    tsm_rel_t* rel = (tsm_rel_t*)(void*)sig;
    *rel = (tsm_rel_t){.h = {.key = key, .kind = kind}, .active = 1, .peer = peer};
    tsm_rel_insert_owner(p, rel);
}

static void
handle_unlink(tsm_proc_t* p, tsm_sig_t* sig)
{
    tsm_pid_t peer = sig->from;
    tsm_rel_t* rel = tsm_rel_find_owner(p, TSM_REL_LINK, peer);
    if (rel != NULL && rel->active) {
        tsm_rel_take_owner(p, rel);
        tsm_rel_free(rel);
    }
    turn_into(sig, TSM_SIG_UNLINK_ACK, tsm_proc_pid(p), NULL);
    (void)tsm_signal_any(peer, sig);
}

static void
handle_unlink_ack(tsm_proc_t* p, tsm_sig_t* sig)
{
    tsm_rel_t* rel = tsm_rel_find_owner(p, TSM_REL_LINK, sig->from);
    if (rel != NULL && !rel->active && rel->unlink_id == sig->ref) {
        tsm_rel_take_owner(p, rel);
        tsm_rel_free(rel);
    }
    tsm_bury(sig);
}

static void
handle_demonitor(tsm_proc_t* p, tsm_sig_t* sig)
{
    tsm_rel_t* rel = tsm_rel_find_owner(p, TSM_REL_MONITORED_BY, sig->ref);
    if (rel != NULL && rel->peer == sig->from) {
        tsm_rel_take_owner(p, rel);
        tsm_rel_free(rel);
    }
    tsm_bury(sig);
}

static void
handle_down(tsm_proc_t* p, tsm_sig_t* sig)
{
    tsm_rel_t* rel = tsm_rel_find_owner(p, TSM_REL_MONITOR, sig->ref);
    if (rel == NULL) {
        tsm_bury(sig); /* demonitored in the meantime */
        return;
    }
    tsm_rel_take_owner(p, rel);
    sig->tag = rel->tag;
    sig->name = rel->name;
    sig->flags = rel->priority ? TSM_SIGF_PRIORITY : 0;
    rel->tag = rel->name = NULL;
    if (rel->alias_mode == TSM_ALIAS_EXPLICIT) {
        rel->h.kind = TSM_REL_ALIAS; /* the address outlives the monitor */
        tsm_rel_insert_owner(p, rel);
    } else {
        tsm_rel_free(rel);
    }
    tsm_mailbox_append_owner(p, sig);
}

/* Of a process that p starts: it is ready, or has ended before it was. */
static void
handle_started(tsm_proc_t* p, tsm_sig_t* sig)
{
    tsm_rel_t* link = sig->kind == TSM_SIG_READY ? NULL : tsm_rel_find_owner(p, TSM_REL_LINK, sig->from);
    if (link != NULL && link->active) {
        tsm_rel_take_owner(p, link);
        tsm_rel_free(link);
    }
    tsm_rel_t* rel = tsm_rel_find_owner(p, TSM_REL_MONITOR, sig->ref);
    if (rel == NULL) {
        tsm_bury(sig); /* nobody waits any more */
        return;
    }
    tsm_rel_take_owner(p, rel);
    tsm_rel_free(rel);
    tsm_mailbox_append_owner(p, sig);
}

/* A message through an alias: false when that address is no longer in use. */
static bool
pass_alias(tsm_proc_t* p, tsm_sig_t* msg)
{
    tsm_rel_t* rel = tsm_rel_find_owner(p, TSM_REL_MONITOR, msg->ref); /* a reference is one or the other */
    if (rel == NULL) {
        rel = tsm_rel_find_owner(p, TSM_REL_ALIAS, msg->ref);
    }
    if (rel == NULL || rel->alias_mode == TSM_ALIAS_NONE) {
        return false;
    }
    if (!rel->priority) {
        msg->flags &= (uint16_t)~TSM_SIGF_PRIORITY;
    }
    if (rel->alias_mode == TSM_ALIAS_REPLY) {
        tsm_rel_take_owner(p, rel);
        tsm_rel_free(rel);
    } else if (rel->alias_mode == TSM_ALIAS_REPLY_DEMONITOR) {
        tsm_rel_take_owner(p, rel);
        if (rel->h.kind == TSM_REL_MONITOR && (msg->flags & TSM_SIGF_RELEASED) == 0) {
            tsm_rel_send_owner(p, rel, TSM_SIG_DEMONITOR, NULL);
        } else {
            tsm_rel_free(rel);
        }
    }
    return true;
}

static void
handle_message(tsm_proc_t* p, tsm_sig_t* msg)
{
    if (TSM_LIKELY(msg->ref == 0 || msg->kind == TSM_SIG_CALL)) {
        msg->flags &= TSM_SIGF_COUNTED; /* priority counts only through an alias that takes it */
    } else if (!pass_alias(p, msg)) {
        tsm_bury(msg);
        return;
    }
    tsm_mailbox_append_owner(p, msg);
}

/* A message for a process that sleeps: who wakes it owns it, and nothing has come before that is
 * not handled, so the message is handled at once. The way through the inbox would cost a
 * read-modify-write more. False: it is awake. */
static bool
deliver_asleep(tsm_proc_t* p, tsm_sig_t* sig)
{
    if (!tsm_inbox_is_idle(&p->inbox) || !tsm_inbox_claim_any(&p->inbox)) {
        return false;
    }
    /* relaxed: ours now. It may be another life of the slot. */
    if (TSM_LIKELY(tsm_load_relaxed(&p->a_gen) == sig->gen) && TSM_LIKELY((p->flags & TSM_PF_LIMITED) == 0)) {
        handle_message(p, sig);
    } else {
        tsm_push_t how = tsm_inbox_push_any(&p->inbox, &sig->node); /* active, and only we could end it */
        tsm_assert(how == TSM_PUSH_QUEUED);
        (void)how;
    }
    tsm_hooks.ready(p);
    return true;
}

int
tsm_signal_any(tsm_pid_t to, tsm_sig_t* sig)
{
    tsm_proc_t* p = tsm_ptab_get_any(to);
    uint16_t kind = sig->kind; /* after the push sig is no longer ours */
    if (TSM_UNLIKELY(tsm_det.on != 0)) {
        tsm_det_signal_any(to, sig);
        if (tsm_fault_count != 0 && tsm_sig_is_mail(kind) && tsm_fault_message(to, sig)) {
            return TSM_OK;
        }
    }
    if (p != NULL) {
        /* acquire: pairs with tsm_qlimit_open_owner. */
        tsm_qlimit_t* limit = tsm_load_acquire(&p->a_qlimit);
        if (TSM_UNLIKELY(limit != NULL) && tsm_sig_is_mail(kind)) {
            int rc = tsm_qlimit_offer_any(limit, to, sig);
            if (rc != TSM_OK) {
                return rc < 0 ? rc : TSM_OK;
            }
        }
        bool first = (sig->flags & TSM_SIGF_PRIORITY) != 0;
        sig->gen = tsm_pid_gen(to);
        if (tsm_sig_is_mail(kind) && TSM_LIKELY(tsm_det.on == 0) && deliver_asleep(p, sig)) {
            return TSM_OK;
        }
        switch (tsm_inbox_push_any(&p->inbox, &sig->node)) {
        case TSM_PUSH_WOKE:
            tsm_hooks.ready(p);
            return TSM_OK;
        case TSM_PUSH_QUEUED:
            if (TSM_UNLIKELY(first || kind >= TSM_SIG_EXIT)) {
                tsm_store_relaxed(&p->a_urgent, 1); /* relaxed: after the push, see drain. */
            }
            if (TSM_UNLIKELY(kind >= TSM_SIG_EXIT)) {
                poke(p);
            }
            return TSM_OK;
        case TSM_PUSH_DEAD:
            break;
        }
    }
    answer_for_dead(to, sig);
    return TSM_E_NOPROC;
}

static void
handle_timeout(tsm_proc_t* p, tsm_sig_t* sig)
{
    if (sig->ref == p->timer_id && p->timer_id != 0) {
        p->timer_id = 0;
        p->timer = NULL;
        if (tsm_load_relaxed(&p->a_wake) != 0) { /* relaxed: only we make it 0 or not. */
            tsm_hooks.timer_fired(p);
        }
    }
    tsm_sig_free(sig);
}

/* Everything but messages. Returns the reason to die with, or NULL. */
static void*
handle_signal(tsm_proc_t* p, tsm_sig_t* sig)
{
    tsm_info_t* request;
    switch ((enum tsm_sig_kind)sig->kind) {
    case TSM_SIG_EXIT:
        return handle_exit(p, sig, false);
    case TSM_SIG_LINK_EXIT:
        return handle_link_exit(p, sig);
    case TSM_SIG_LINK:
        accept_relation(p, sig, TSM_REL_LINK);
        break;
    case TSM_SIG_UNLINK:
        handle_unlink(p, sig);
        break;
    case TSM_SIG_UNLINK_ACK:
        handle_unlink_ack(p, sig);
        break;
    case TSM_SIG_MONITOR:
        accept_relation(p, sig, TSM_REL_MONITORED_BY);
        break;
    case TSM_SIG_DEMONITOR:
        handle_demonitor(p, sig);
        break;
    case TSM_SIG_DOWN:
        handle_down(p, sig);
        break;
    case TSM_SIG_READY:
    case TSM_SIG_NOT_READY:
        handle_started(p, sig);
        break;
    case TSM_SIG_TIMEOUT:
        handle_timeout(p, sig);
        break;
    case TSM_SIG_INFO:
        request = sig->tag;
        sig->tag = NULL;
        tsm_sig_free(sig);
        answered(request, tsm_hooks.info(p, request->items, request->status));
        break;
    case TSM_SIG_MESSAGE:
    case TSM_SIG_CALL:
    case TSM_SIG_DROP:
        tsm_bury(sig);
        break;
    }
    return NULL;
}

static bool
drain(tsm_proc_t* p, tsm_sig_t** rest)
{
    bool limited = (p->flags & TSM_PF_LIMITED) != 0;
    uint32_t gen = tsm_load_relaxed(&p->a_gen); /* relaxed: we own the process. */
    /* relaxed: whoever sets it later has pushed later, and pokes again. */
    tsm_store_relaxed(&p->a_urgent, 0);
    tsm_sig_t* sig = (tsm_sig_t*)(void*)tsm_inbox_take_owner(&p->inbox);
    while (sig != NULL) {
        tsm_sig_t* next = tsm_sig_next(sig);
        if (TSM_UNLIKELY(sig->gen != gen)) {
            answer_for_dead(tsm_pid_make(p->idx, sig->gen), sig);
        } else if (tsm_sig_is_mail(sig->kind)) {
            if (TSM_UNLIKELY(limited)) {
                tsm_hooks.mail(p, sig);
            }
            handle_message(p, sig);
        } else {
            void* reason = handle_signal(p, sig);
            if (reason != NULL) {
                p->exit_term = reason;
                *rest = next;
                return false;
            }
        }
        sig = next;
    }
    return true;
}

bool
tsm_drain_owner(tsm_proc_t* p, tsm_sig_t** rest)
{
    /* relaxed: the swap in tsm_inbox_take_owner releases it. Who sees the inbox empty
     * sees this, and knows that signals may still be on their way to act (is_alive). */
    tsm_store_relaxed(&p->a_draining, 1);
    bool alive = drain(p, rest);
    if (alive) {
        /* release: pairs with is_alive: what the signals did is visible. */
        tsm_store_release(&p->a_draining, 0);
    }
    return alive;
}

static void
fail_start(tsm_proc_t* p, tsm_rel_t* rel, void* reason)
{
    bool ignore = !rel->active;
    tsm_sig_t* sig = (tsm_sig_t*)(void*)rel;
    tsm_pid_t starter = rel->peer;
    uint64_t ref = rel->unlink_id;
    *sig = (tsm_sig_t){.flags = ignore ? TSM_SIGF_IGNORE : 0, .ref = ref};
    turn_into(sig, TSM_SIG_NOT_READY, tsm_proc_pid(p), reason);
    (void)tsm_signal_any(starter, sig);
}

static void
die_relation(tsm_proc_t* p, tsm_rel_t* rel, void* reason)
{
    switch ((enum tsm_rel_kind)rel->h.kind) {
    case TSM_REL_STARTER:
        fail_start(p, rel, reason);
        break;
    case TSM_REL_MONITORED_BY:
        tsm_rel_send_owner(p, rel, TSM_SIG_DOWN, reason);
        break;
    case TSM_REL_MONITOR:
        tsm_rel_send_owner(p, rel, TSM_SIG_DEMONITOR, NULL);
        break;
    case TSM_REL_LINK:
    case TSM_REL_ALIAS:
        tsm_rel_free(rel);
        break;
    }
}

static void
die_relations(tsm_proc_t* p, void* reason)
{
    tsm_rel_t *rel, *later = NULL;
    rel = (p->flags & TSM_PF_STARTING) == 0 ? NULL : tsm_rel_find_owner(p, TSM_REL_STARTER, 0);
    tsm_pid_t starter = rel == NULL ? 0 : rel->peer;
    while ((rel = tsm_rel_pop_owner(p)) != NULL) {
        if (rel->h.kind == TSM_REL_LINK && rel->active && rel->peer != starter) {
            tsm_rel_send_owner(p, rel, TSM_SIG_LINK_EXIT, reason);
        } else {
            rel->h.next = (tsm_hnode_t*)(void*)later;
            later = rel;
        }
    }
    while ((rel = later) != NULL) {
        later = (tsm_rel_t*)(void*)rel->h.next;
        die_relation(p, rel, reason);
    }
}

/* Calls that stand in the mailbox: who sent them watches. */
static void
die_calls(tsm_proc_t* p, void* reason)
{
    for (tsm_sig_t** at = &p->mb_first; *at != NULL;) {
        if ((*at)->kind != TSM_SIG_CALL) {
            at = (tsm_sig_t**)(void*)&(*at)->node.next;
            continue;
        }
        tsm_sig_t* sig = tsm_mailbox_take_owner(p, at);
        tsm_pid_t asker = sig->from;
        drop_term(sig);
        turn_into(sig, TSM_SIG_DOWN, tsm_proc_pid(p), reason);
        (void)tsm_signal_any(asker, sig);
    }
}

static void
answer_chain(tsm_proc_t* p, tsm_sig_t* sig)
{
    while (sig != NULL) {
        tsm_sig_t* next = tsm_sig_next(sig);
        answer_for_dead(tsm_pid_make(p->idx, sig->gen), sig);
        sig = next;
    }
}

void
tsm_proc_die_owner(tsm_proc_t* p, void* reason, tsm_sig_t* rest)
{
    if (TSM_UNLIKELY(tsm_det.on != 0)) {
        tsm_det_record_any(TSM_DET_DEAD, 0, tsm_proc_pid(p), reason);
    }
    p->flags |= TSM_PF_DEAD;
    p->exit_term = reason;
    tsm_ptab_count_death(p); /* before anybody can see it: its place is free */
    tsm_sig_t* late = (tsm_sig_t*)(void*)tsm_inbox_close_owner(&p->inbox); /* step 1 */
    if (TSM_UNLIKELY(p->a_qlimit != NULL)) {
        tsm_qlimit_close_owner(p);
    }
    tsm_name_drop_owner(p);                                               /* step 2 */
    /* sc: against who gives p something to hold (bind/tsm_table_own.c), as for the name. */
    if (TSM_UNLIKELY(tsm_load_sc(&p->a_held) != 0) && tsm_hooks.died != NULL) {
        tsm_hooks.died(p);
    }
    die_relations(p, reason);                                             /* step 3 */
    die_calls(p, reason);
    answer_chain(p, rest);                                                /* step 4 */
    answer_chain(p, late);
    tsm_store_release(&p->a_draining, 0); /* release: after DEAD, see tsm_drain_owner. */
}

bool
tsm_proc_service_owner(tsm_proc_t* p)
{
    tsm_sig_t* rest = NULL;
    if (tsm_drain_owner(p, &rest)) {
        return true;
    }
    tsm_proc_die_owner(p, p->exit_term, rest);
    return false;
}

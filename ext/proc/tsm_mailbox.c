/* tsm_mailbox.c - the inner queue: messages in the order receive looks at them.
 *
 * Owner only, no atomics. A singly linked list walked by pointers to next-fields, so
 * that taking a message out of the middle is O(1). Three such pointers are remembered
 * in the process (mb_last, mb_save, mark); taking a message moves those that point
 * into it. Priority messages stand before all ordinary ones: their number is not kept,
 * the flag in the node tells where they end.
 */
#include "proc/tsm_mailbox.h"

#include "proc/tsm_qlimit.h"

static void
mailbox_insert_priority(tsm_proc_t* p, tsm_sig_t* msg)
{
    tsm_sig_t** at = &p->mb_first;
    while (*at != NULL && ((*at)->flags & TSM_SIGF_PRIORITY) != 0) {
        at = (tsm_sig_t**)(void*)&(*at)->node.next;
    }
    msg->node.next = &(*at)->node;
    if (*at == NULL) {
        msg->node.next = NULL;
        p->mb_last = (tsm_sig_t**)(void*)&msg->node.next;
    }
    *at = msg;
    /* A scan under way may have passed this place, and the marker may lie behind it. */
    p->mb_save = &p->mb_first;
    p->mark_ref = 0;
}

/* msg->flags & TSM_SIGF_PRIORITY: the caller has checked that p takes such messages. */
void
tsm_mailbox_append_owner(tsm_proc_t* p, tsm_sig_t* msg)
{
    p->mb_len++;
    if (TSM_UNLIKELY((msg->flags & TSM_SIGF_PRIORITY) != 0)) {
        mailbox_insert_priority(p, msg);
        return;
    }
    msg->node.next = NULL;
    *p->mb_last = msg;
    p->mb_last = (tsm_sig_t**)(void*)&msg->node.next;
}

void
tsm_mailbox_left_owner(tsm_proc_t* p, tsm_sig_t* msg)
{
    msg->flags &= (uint16_t)~TSM_SIGF_COUNTED;
    tsm_qlimit_left_any(tsm_load_relaxed(&p->a_qlimit)); /* relaxed: owners write it. */
}

void
tsm_mailbox_clear_owner(tsm_proc_t* p)
{
    while (p->mb_first != NULL) {
        tsm_bury(tsm_mailbox_take_owner(p, &p->mb_first));
    }
}

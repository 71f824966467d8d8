/* tsm_mailbox.h - the inner queue of a process; essay in tsm_mailbox.c. */
#ifndef TSM_MAILBOX_H
#define TSM_MAILBOX_H

#include "proc/tsm_proc.h"

/* The mailbox: messages whose signal part is done. Owner only. */
void tsm_mailbox_append_owner(tsm_proc_t* p, tsm_sig_t* msg);
void tsm_mailbox_left_owner(tsm_proc_t* p, tsm_sig_t* msg); /* the counted half of the next */
/* Unhooks the message at *at; the memory and the term are the caller's. */
static inline tsm_sig_t*
tsm_mailbox_take_owner(tsm_proc_t* p, tsm_sig_t** at)
{
    tsm_sig_t* msg = *at;
    tsm_sig_t** inside = (tsm_sig_t**)(void*)&msg->node.next;
    *at = *inside;
    p->mb_len--;
    p->mb_last = p->mb_last == inside ? at : p->mb_last;
    p->mb_save = p->mb_save == inside ? at : p->mb_save;
    p->mark = p->mark == inside ? at : p->mark;
    if (TSM_UNLIKELY((msg->flags & TSM_SIGF_COUNTED) != 0)) {
        tsm_mailbox_left_owner(p, msg);
    }
    return msg;
}
void tsm_mailbox_clear_owner(tsm_proc_t* p);

#endif

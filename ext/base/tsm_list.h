/* tsm_list.h - the one intrusive link that queues share, and the way back to its owner.
 *
 * A tsm_node_t sits inside what is queued; a thing is in at most one queue per node.
 */
#ifndef TSM_LIST_H
#define TSM_LIST_H

#include "base/tsm_config.h"

typedef struct tsm_node {
    struct tsm_node* next;
} tsm_node_t;

/* The struct of `type` whose member `member` is at `ptr`. */
#define TSM_CONTAINER_OF(ptr, type, member) \
    ((type*)(void*)((char*)(ptr) - offsetof(type, member)))

/* Turn a chain round, in place; returns the new first node. */
TSM_INLINE tsm_node_t*
tsm_list_reverse(tsm_node_t* newest)
{
    tsm_node_t* oldest = NULL;
    while (newest != NULL) {
        tsm_node_t* next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    return oldest;
}

#endif

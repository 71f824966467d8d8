/* tsm_inject.c - the overflow queue; essay in tsm_inject.h. */
#include "queue/tsm_inject.h"

#include "base/tsm_assert.h"

void
tsm_inject_init(tsm_inject_t* q)
{
    *q = (tsm_inject_t){.first = NULL, .last = NULL, .a_len = 0};
}

static uint32_t
inject_len_locked(const tsm_inject_t* q)
{
    /* relaxed: written under the lock that the caller holds. */
    return tsm_load_relaxed(&q->a_len);
}

static void
inject_set_len_locked(tsm_inject_t* q, uint32_t len)
{
    /* release: pairs with tsm_inject_len_any. */
    tsm_store_release(&q->a_len, len);
}

void
tsm_inject_push_batch_any(tsm_inject_t* q, tsm_node_t* first, tsm_node_t* last,
                          uint32_t n)
{
    last->next = NULL;
    tsm_mutex_lock(&q->lock);
    if (q->last != NULL) {
        q->last->next = first;
    }
    else {
        q->first = first;
    }
    q->last = last;
    inject_set_len_locked(q, inject_len_locked(q) + n);
    tsm_mutex_unlock(&q->lock);
}

void
tsm_inject_push_any(tsm_inject_t* q, tsm_node_t* n)
{
    tsm_inject_push_batch_any(q, n, n, 1);
}

tsm_node_t*
tsm_inject_pop_batch_any(tsm_inject_t* q, uint32_t max, uint32_t* n)
{
    *n = 0;
    if (max == 0 || tsm_inject_len_any(q) == 0) {
        return NULL;
    }
    tsm_mutex_lock(&q->lock);
    uint32_t len = inject_len_locked(q);
    tsm_node_t* first = q->first;
    if (first != NULL) {
        tsm_node_t* last = first;
        uint32_t taken = 1;
        while (taken < max && last->next != NULL) {
            last = last->next;
            taken++;
        }
        q->first = last->next;
        if (q->first == NULL) {
            q->last = NULL;
        }
        last->next = NULL;
        inject_set_len_locked(q, len - taken);
        *n = taken;
    }
    tsm_mutex_unlock(&q->lock);
    return first;
}

tsm_node_t*
tsm_inject_pop_any(tsm_inject_t* q)
{
    uint32_t n;
    return tsm_inject_pop_batch_any(q, 1, &n);
}

void
tsm_inject_validate(tsm_inject_t* q)
{
    tsm_mutex_lock(&q->lock);
    uint32_t n = 0;
    tsm_node_t* last = NULL;
    for (tsm_node_t* node = q->first; node != NULL; node = node->next) {
        last = node;
        n++;
    }
    tsm_check(n == inject_len_locked(q)); /* I1 */
    tsm_check(last == q->last);           /* I2 */
    tsm_mutex_unlock(&q->lock);
}

/* model_inbox.c - the inbox of a process: senders, sleeping, claiming, dying.
 *
 * Guards: nothing lost, nothing doubled, each sender's order kept, never two owners, nobody
 * asleep with signals waiting. Must fail with
 *   PLANT_PUSH_STORE   push by load and store: two senders overwrite each other
 *   PLANT_SLEEP_STORE  sleep by load and store: overwrites what has just arrived
 *   PLANT_TWO_WORDS    "sleeps" in a word of its own: the classic lost wake-up
 */
#include "explorer.h"
#include "queue/tsm_inbox.h"

enum { SIGNALS_MAX = 4 };

typedef struct {
    tsm_node_t node;
    unsigned sender, number;
    uint32_t a_payload; /* atomic, so that its arrival is modelled */
} signal_t;

static tsm_inbox_t inbox;
static signal_t signals[2][SIGNALS_MAX];
static unsigned next_number[2]; /* expected from each sender */
static unsigned taken, refused, owners;
#ifdef PLANT_TWO_WORDS
static uint32_t a_asleep;
#endif

static void
setup(void)
{
    inbox.a_word = TSM_INBOX_EMPTY;
    for (unsigned s = 0; s < 2; s++) {
        next_number[s] = 0;
        for (unsigned i = 0; i < SIGNALS_MAX; i++) {
            signals[s][i] = (signal_t){.sender = s, .number = i};
        }
    }
    taken = refused = owners = 0;
#ifdef PLANT_TWO_WORDS
    a_asleep = 0;
#endif
}

/* --- what is under test, or a broken form of it ------------------------------------ */

static tsm_push_t
push(tsm_node_t* n)
{
#if defined(PLANT_PUSH_STORE)
    uintptr_t seen = tsm_load_acquire(&inbox.a_word);
    n->next = seen <= TSM_INBOX_DEAD ? NULL : (tsm_node_t*)seen;
    tsm_store_sc(&inbox.a_word, (uintptr_t)n);
    return seen == TSM_INBOX_IDLE ? TSM_PUSH_WOKE : TSM_PUSH_QUEUED;
#elif defined(PLANT_TWO_WORDS)
    tsm_push_t pushed = tsm_inbox_push_any(&inbox, n);
    uint32_t asleep = 1;
    if (tsm_load_sc(&a_asleep) == 1 && tsm_cas_sc(&a_asleep, &asleep, 0)) {
        return TSM_PUSH_WOKE;
    }
    return pushed;
#else
    return tsm_inbox_push_any(&inbox, n);
#endif
}

static bool
sleep_now(void)
{
#if defined(PLANT_SLEEP_STORE)
    if (tsm_load_acquire(&inbox.a_word) != TSM_INBOX_EMPTY) {
        return false;
    }
    tsm_store_sc(&inbox.a_word, TSM_INBOX_IDLE);
    return true;
#elif defined(PLANT_TWO_WORDS)
    tsm_store_release(&a_asleep, 1);
    if (tsm_inbox_is_empty(&inbox)) {
        return true;
    }
    uint32_t asleep = 1; /* awake again, unless a sender was faster and wakes us */
    return !tsm_cas_sc(&a_asleep, &asleep, 0);
#else
    return tsm_inbox_sleep_owner(&inbox);
#endif
}

/* --- threads ------------------------------------------------------------------------- */

static void
take_chain(tsm_node_t* n)
{
    for (; n != NULL; n = n->next) {
        signal_t* s = TSM_CONTAINER_OF(n, signal_t, node);
        MODEL_CHECK(tsm_load_relaxed(&s->a_payload) == s->number + 1, "payload not there");
        MODEL_CHECK(next_number[s->sender] <= s->number, "order broken, or taken twice");
        next_number[s->sender] = s->number + 1;
        taken++;
    }
}

/* Run the process until it sleeps; the caller owns it. */
static void
run_process(void)
{
    bool asleep;
    do {
        MODEL_CHECK(++owners == 1, "two owners");
        take_chain(tsm_inbox_take_owner(&inbox));
        owners--;
        asleep = sleep_now();
    } while (!asleep);
}

static void
send(unsigned sender, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        signal_t* s = &signals[sender][i];
        tsm_store_relaxed(&s->a_payload, i + 1);
        tsm_push_t pushed = push(&s->node);
        if (pushed == TSM_PUSH_WOKE) {
            run_process();
        }
        refused += pushed == TSM_PUSH_DEAD;
    }
}

static void
send_two_a(void)
{
    send(0, 2);
}

static void
send_two_b(void)
{
    send(1, 2);
}

static void
claim(void)
{
    if (tsm_inbox_claim_any(&inbox)) {
        run_process();
    }
}

/* Take once, die, live again, take what the new life got. */
static void
die_and_return(void)
{
    take_chain(tsm_inbox_take_owner(&inbox));
    take_chain(tsm_inbox_close_owner(&inbox));
    MODEL_CHECK(tsm_inbox_is_dead(&inbox), "not dead");
    tsm_inbox_open_owner(&inbox);
    run_process();
}

MODEL(two_senders_and_owner, .setup = setup,
      .threads = {run_process, send_two_a, send_two_b}, .preemptions = 3)
{
    MODEL_CHECK(taken == 4, "signal lost or still queued with the owner asleep");
#ifndef PLANT_TWO_WORDS
    MODEL_CHECK(tsm_inbox_is_idle(&inbox), "not asleep at the end");
#endif
}

MODEL(sender_owner_and_claimer, .setup = setup,
      .threads = {run_process, send_two_a, claim}, .preemptions = 4)
{
    MODEL_CHECK(taken == 2, "signal lost or still queued with the owner asleep");
}

#ifndef PLANT_TWO_WORDS
MODEL(death_and_new_life, .setup = setup,
      .threads = {die_and_return, send_two_a, send_two_b}, .preemptions = 3)
{
    MODEL_CHECK(taken + refused == 4, "signal neither handled nor refused");
    MODEL_CHECK(tsm_inbox_is_idle(&inbox), "not asleep at the end");
}
#endif

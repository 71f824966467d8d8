/* tsm_det.c - see tsm_det.h. */
#include "proc/tsm_det.h"

#include "proc/tsm_fault.h"
#include "proc/tsm_trail.h"

#include <stdlib.h>
#include <string.h>

#define START_NS UINT64_C(1000000000000) /* 1000 s: any fixed number */
#define PICK_NS 1000u                    /* a turn takes a virtual microsecond, */
#define RED_NS 25u                       /* and so much for each reduction */
#define QUIET 64u                        /* turns without a signal, before time goes faster */
#define HASTE 16u                        /* turns until it goes twice as fast again */
#define MAX_HASTE 40u

tsm_det_t tsm_det = {.slice_reds = TSM_DET_BUDGET};

enum { MAX_DEMOTIONS = 16 };

static uint32_t rate;     /* under lock: of eight turns so many are interrupted */
static uint64_t demotions[MAX_DEMOTIONS]; /* under lock: PCT: when, in reductions of all, sorted */
static uint32_t demotion; /* under lock: the next of them */
static tsm_pid_t running; /* under lock: the process picked last */

/* Room for one more in *items. */
static bool
grow(void** items, uint32_t len, uint32_t* cap, size_t size)
{
    if (len < *cap) {
        return true;
    }
    uint32_t more = *cap == 0 ? 256 : *cap * 2;
    void* larger = realloc(*items, more * size);
    if (larger == NULL) {
        return false;
    }
    *items = larger;
    *cap = more;
    return true;
}

/* Where whoever runs is put behind all others. */
static void
draw_demotions(void)
{
    uint32_t n = tsm_det.plan.demotions < MAX_DEMOTIONS ? tsm_det.plan.demotions : MAX_DEMOTIONS;
    uint64_t steps = tsm_det.plan.steps == 0 ? 1 : tsm_det.plan.steps;
    tsm_det.plan.demotions = n;
    demotion = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t at = 1 + tsm_rand_next(&tsm_det.rand) % steps;
        uint32_t k = i;
        for (; k > 0 && demotions[k - 1] > at; k--) {
            demotions[k] = demotions[k - 1];
        }
        demotions[k] = at;
    }
}

int
tsm_det_begin(const tsm_det_plan_t* plan)
{
    free(tsm_det.records);
    tsm_det_record_t* records = calloc(plan->max_records + 1, sizeof(*records));
    tsm_det.records = records;
    if (records == NULL) {
        return TSM_E_NOMEM;
    }
    tsm_det.plan = *plan;
    tsm_rand_init(&tsm_det.rand, plan->seed);
    rate = 1u << tsm_rand_below(&tsm_det.rand, 3);
    tsm_det.slice_reds = TSM_DET_BUDGET;
    tsm_det.now_ns = START_NS;
    running = 0;
    tsm_det.picks = tsm_det.record_count = tsm_det.main = 0;
    tsm_det.ready_len = tsm_det.choice_len = tsm_det.tickets = tsm_det.quiet = 0;
    tsm_det.stirred = tsm_det.calm = false;
    tsm_det.run = 0;
    draw_demotions();
    tsm_trail_begin(plan->seed, plan->shared);
    tsm_det.slice_at = -1;
    tsm_det.a_ready = tsm_det.a_returns = tsm_det.a_stalled = tsm_det.a_over = tsm_det.a_closed = 0;
    tsm_det.a_taken = tsm_det.a_foreign = tsm_det.a_lost = tsm_det.a_waited = 0;
    tsm_det.news = (tsm_event_t){0};
    tsm_hmap_ordered = true;
    tsm_det.on = 1;
    return TSM_OK;
}

void
tsm_det_end(void)
{
    tsm_det.on = 0;
    tsm_fault_clear();
    tsm_hmap_ordered = false;
    tsm_det.slice_reds = TSM_DET_BUDGET;
    tsm_det.ready_len = tsm_det.a_ready = tsm_det.a_returns = 0;
}

void
tsm_det_close_any(void)
{
    tsm_mutex_lock(&tsm_det.lock);
    tsm_store_relaxed(&tsm_det.a_closed, 1); /* relaxed: under the lock; others need no order. */
    tsm_mutex_unlock(&tsm_det.lock);
    tsm_event_set(&tsm_det.news);
}

/* Under the lock, where it is final; elsewhere a hint. */
static bool
is_closed(void)
{
    return tsm_load_relaxed(&tsm_det.a_closed) != 0; /* relaxed: see above. */
}

static void
record_locked(uint8_t kind, tsm_pid_t from, tsm_pid_t to, const char* text)
{
    if (is_closed() || tsm_det.plan.max_records == 0) {
        return;
    }
    tsm_det_record_t* r = &tsm_det.records[tsm_det.record_count++ % tsm_det.plan.max_records];
    *r = (tsm_det_record_t){.now_ns = tsm_det.now_ns, .from = from, .to = to, .kind = kind};
    memcpy(r->text, text, TSM_DET_TEXT);
}

static void
record(uint8_t kind, tsm_pid_t from, tsm_pid_t to, void* term)
{
    char text[TSM_DET_TEXT] = {0};
    if (term != NULL && tsm_det.plan.describe != NULL) {
        tsm_det.plan.describe(term, text);
    }
    tsm_mutex_lock(&tsm_det.lock);
    tsm_det.stirred = true;
    bool by_running = from == 0 && kind != TSM_SIG_TIMEOUT && kind != TSM_DET_DEAD && kind != TSM_DET_FIRE;
    tsm_pid_t by = by_running ? running : from;
    record_locked(kind, by, to, text);
    if (kind < TSM_DET_SCHEDULE) {
        tsm_trail_signal(by, to, kind);
    } else if (kind == TSM_DET_SPAWN) {
        tsm_trail_spawn(by, to);
    } else if (kind == TSM_DET_DEAD) {
        tsm_trail_touch(to);
    }
    tsm_mutex_unlock(&tsm_det.lock);
}

void
tsm_det_record_any(enum tsm_det_event kind, tsm_pid_t from, tsm_pid_t to, void* term)
{
    if (kind == TSM_DET_LOST) {
        (void)tsm_add_relaxed(&tsm_det.a_lost, 1); /* relaxed: a count. */
    }
    record((uint8_t)kind, from, to, term);
    if (kind == TSM_DET_DEAD && to == tsm_det.main) {
        tsm_store_release(&tsm_det.a_over, 1); /* release: what led to it is visible to who waits. */
        tsm_event_set(&tsm_det.news);
    }
}

void
tsm_det_signal_any(tsm_pid_t to, const tsm_sig_t* sig)
{
    tsm_pid_t from = sig->kind > TSM_SIG_DROP ? sig->from : 0;
    bool term = sig->kind <= TSM_SIG_LINK_EXIT || (sig->kind >= TSM_SIG_DOWN && sig->kind <= TSM_SIG_NOT_READY);
    record((uint8_t)sig->kind, from, to, term ? sig->term : NULL);
    if (sig->kind == TSM_SIG_INFO) {
        tsm_det_share_any(); /* its answer is no signal */
    }
}

void
tsm_det_spawned_any(const tsm_proc_t* p)
{
    if (TSM_UNLIKELY(tsm_det.on != 0)) {
        if (tsm_det.main == 0) {
            tsm_det.main = tsm_proc_pid(p); /* no other process runs yet */
        }
        record(TSM_DET_SPAWN, 0, tsm_proc_pid(p), NULL);
    }
}

/* A turn's length: how many are interrupted is drawn once for the run, as interrupting many
 * hides what takes long, and few what takes several; and then short and long ones alike, up
 * to a whole budget. */
static uint32_t
draw_slice_locked(void)
{
    if (tsm_rand_below(&tsm_det.rand, 8) >= rate) {
        return 0;
    }
    uint32_t low = 1u << tsm_rand_below(&tsm_det.rand, 12);
    uint32_t reds = low + tsm_rand_below(&tsm_det.rand, low);
    return reds < TSM_DET_BUDGET ? reds : 0;
}

enum what { WHO, SLICE, FAULT };

/* A choice: by the script, else as drawn. 0 .. options-1. */
static uint32_t
note_locked(uint32_t options, uint32_t drawn, enum what what, tsm_pid_t who)
{
    uint32_t chosen = 0, at = tsm_det.choice_len;
    if (is_closed() || tsm_det.calm) {
        return 0;
    }
    if (at < tsm_det.plan.script_len) {
        chosen = tsm_det.plan.script[at] % options;
    } else if (tsm_det.plan.seeded != 0) {
        chosen = drawn;
    }
    tsm_trail_t* t = tsm_trail_of(who);
    uint64_t with = (t == NULL ? 0 : t->share) + ((uint64_t)tsm_det.plan.preempts << 2) + what;
    void* items = tsm_det.choices;
    if (grow(&items, at, &tsm_det.choice_cap, sizeof(tsm_det_choice_t))) {
        tsm_det.choices = items;
        tsm_det.choices[at] = (tsm_det_choice_t){options, chosen, what == SLICE, tsm_trail_state(with)};
        tsm_det.slice_at = what == SLICE ? (int64_t)at : tsm_det.slice_at;
        tsm_det.choice_len++;
    }
    return chosen;
}

uint32_t
tsm_det_draw_locked(uint32_t options, uint32_t permille)
{
    bool strikes = tsm_rand_below(&tsm_det.rand, 1000) < permille;
    return note_locked(options, strikes ? 1 + tsm_rand_below(&tsm_det.rand, options - 1) : 0, FAULT, running);
}

tsm_pid_t
tsm_det_running_locked(void)
{
    return running;
}

/* PCT: who is ahead runs on until the next demotion. */
static uint32_t
slice_to_demotion_locked(void)
{
    uint64_t left = demotion < tsm_det.plan.demotions ? demotions[demotion] - tsm_det.run : TSM_DET_BUDGET;
    return left < TSM_DET_BUDGET ? (uint32_t)left : 0;
}

static void
slice_locked(void)
{
    tsm_det.slice_at = -1;
    bool may = tsm_det.plan.preempts != 0;
    uint32_t drawn = 0;
    if (may && tsm_det.plan.seeded != 0) {
        drawn = tsm_det.plan.demotions != 0 ? slice_to_demotion_locked() : draw_slice_locked();
    }
    uint32_t chosen = note_locked(may ? TSM_DET_BUDGET : 1, drawn, SLICE, running);
    tsm_det.plan.preempts -= chosen != 0;
    tsm_det.slice_reds = chosen == 0 ? TSM_DET_BUDGET : (int32_t)chosen;
    tsm_trail_t* t = tsm_trail_of(running);
    if (t != NULL && t->kill_at > t->run && t->kill_at - t->run < (uint64_t)tsm_det.slice_reds) {
        tsm_det.slice_reds = (int32_t)(t->kill_at - t->run);
    }
}

void
tsm_det_slice(const tsm_proc_t* p)
{
    tsm_mutex_lock(&tsm_det.lock);
    running = tsm_proc_pid(p);
    tsm_trail_turn(running);
    slice_locked();
    tsm_mutex_unlock(&tsm_det.lock);
}

bool
tsm_det_used(int32_t reds)
{
    tsm_mutex_lock(&tsm_det.lock);
    uint32_t used = reds > 0 ? (uint32_t)reds : 0;
    tsm_det.now_ns += (uint64_t)used * RED_NS;
    if (tsm_det.slice_at >= 0) {
        tsm_det_choice_t* c = &tsm_det.choices[tsm_det.slice_at];
        /* Interrupting it later than that would have been no interruption. */
        if (c->chosen == 0 && used + 1 < c->options) {
            c->options = used + 1;
        }
        tsm_det.slice_at = -1;
    }
    tsm_trail_used(running, used);
    tsm_det.run += used;
    bool demoted = false;
    while (demotion < tsm_det.plan.demotions && demotions[demotion] <= tsm_det.run) {
        demotion++;
        demoted = true;
    }
    if (tsm_det.plan.demotions != 0 && (demoted || used >= TSM_DET_BUDGET)) { /* a whole budget: for fairness */
        tsm_trail_demote(running);
    }
    tsm_trail_t* t = tsm_trail_of(running);
    bool kill = t != NULL && t->kill_at != 0 && t->run >= t->kill_at;
    if (kill) {
        t->kill_at = 0;
    }
    tsm_mutex_unlock(&tsm_det.lock);
    return kill;
}

void
tsm_det_kill_at(tsm_pid_t pid, uint64_t reds)
{
    tsm_mutex_lock(&tsm_det.lock);
    tsm_trail_t* t = tsm_trail_of(pid);
    if (t != NULL) {
        t->kill_at = t->run + reds;
    }
    tsm_mutex_unlock(&tsm_det.lock);
}

void
tsm_det_calm(void)
{
    tsm_mutex_lock(&tsm_det.lock);
    tsm_det.calm = true;
    tsm_mutex_unlock(&tsm_det.lock);
}

void
tsm_det_skew(int64_t ns)
{
    tsm_mutex_lock(&tsm_det.lock);
    tsm_det.now_ns += (uint64_t)ns;
    tsm_mutex_unlock(&tsm_det.lock);
}

void
tsm_det_touch_any(void)
{
    tsm_mutex_lock(&tsm_det.lock);
    tsm_trail_touch(running);
    tsm_mutex_unlock(&tsm_det.lock);
}

void
tsm_det_share_any(void)
{
    tsm_mutex_lock(&tsm_det.lock);
    tsm_trail_share();
    tsm_mutex_unlock(&tsm_det.lock);
}

static bool
append_locked(tsm_proc_t* p, uint32_t ticket)
{
    void* items = tsm_det.ready;
    if (!grow(&items, tsm_det.ready_len, &tsm_det.ready_cap, sizeof(tsm_det_entry_t))) {
        return false;
    }
    tsm_det.ready = items;
    tsm_det.ready[tsm_det.ready_len++] = (tsm_det_entry_t){p, ticket};
    /* release: pairs with tsm_det_idle's second look. */
    tsm_store_release(&tsm_det.a_ready, tsm_det.ready_len);
    return true;
}

bool
tsm_det_push_any(tsm_proc_t* p, bool foreign)
{
    tsm_mutex_lock(&tsm_det.lock);
    bool room = append_locked(p, 0);
    if (foreign && !is_closed()) {
        (void)tsm_add_relaxed(&tsm_det.a_foreign, 1); /* relaxed: a count. */
    }
    tsm_mutex_unlock(&tsm_det.lock);
    return room;
}

uint32_t
tsm_det_expect(void)
{
    tsm_mutex_lock(&tsm_det.lock);
    uint32_t ticket = ++tsm_det.tickets;
    if (append_locked(NULL, ticket)) {
        (void)tsm_add_relaxed(&tsm_det.a_returns, 1); /* relaxed: read by the holder, who is us. */
    } else {
        ticket = 0;
    }
    tsm_mutex_unlock(&tsm_det.lock);
    return ticket;
}

void
tsm_det_return_any(tsm_proc_t* p, uint32_t ticket)
{
    tsm_mutex_lock(&tsm_det.lock);
    for (uint32_t i = 0; i < tsm_det.ready_len; i++) {
        if (tsm_det.ready[i].ticket == ticket) {
            tsm_det.ready[i] = (tsm_det_entry_t){p, 0};
            (void)tsm_sub_sc(&tsm_det.a_returns, 1); /* sc: once an answer; p is visible to who picks. */
            break;
        }
    }
    tsm_mutex_unlock(&tsm_det.lock);
}

static uint8_t
level_of(const tsm_proc_t* p)
{
    return p == NULL || p->priority < TSM_PRIO_NORMAL ? (uint8_t)TSM_PRIO_NORMAL : p->priority;
}

/* Of those that stand at the highest level, the one numbered chosen. */
static uint32_t
find_locked(uint8_t level, uint32_t chosen)
{
    uint32_t i = 0;
    while (level_of(tsm_det.ready[i].p) != level || chosen-- != 0) {
        i++;
    }
    return i;
}

/* PCT: the one of the highest rank. */
static uint32_t
first_by_rank_locked(uint8_t level)
{
    uint64_t best = 0;
    uint32_t number = 0, first = 0;
    for (uint32_t i = 0; i < tsm_det.ready_len; i++) {
        tsm_proc_t* p = tsm_det.ready[i].p;
        if (level_of(p) == level) {
            tsm_trail_t* t = p == NULL ? NULL : tsm_trail_of(tsm_proc_pid(p));
            if (t != NULL && t->rank > best) {
                best = t->rank;
                first = number;
            }
            number++;
        }
    }
    return first;
}

static uint32_t
choose_locked(uint8_t level, uint32_t n, const tsm_proc_t* rival)
{
    bool ranked = tsm_det.plan.demotions != 0 && tsm_det.quiet < QUIET; /* who only polls must not keep others waiting */
    uint32_t drawn = 0;
    if (tsm_det.plan.seeded != 0) {
        drawn = ranked ? first_by_rank_locked(level) : tsm_rand_below(&tsm_det.rand, n);
    }
    return note_locked(n, drawn, WHO, rival == NULL ? 0 : tsm_proc_pid(rival));
}

static tsm_proc_t*
pick_locked(const tsm_proc_t* rival)
{
    uint8_t level = rival == NULL ? 0 : level_of(rival);
    uint32_t n = 0;
    for (uint32_t i = 0; i < tsm_det.ready_len; i++) {
        uint8_t other = level_of(tsm_det.ready[i].p);
        n = other > level ? 1 : n + (other == level);
        level = other > level ? other : level;
    }
    if (n == 0) {
        return NULL;
    }
    uint32_t at = n == 1 ? find_locked(level, 0) : find_locked(level, choose_locked(level, n, rival));
    tsm_proc_t* p = tsm_det.ready[at].p;
    tsm_det.ready_len--;
    memmove(&tsm_det.ready[at], &tsm_det.ready[at + 1], (tsm_det.ready_len - at) * sizeof(tsm_det_entry_t));
    tsm_store_relaxed(&tsm_det.a_ready, tsm_det.ready_len); /* relaxed: a hint; the lock decides. */
    return p;
}

/* How long this turn takes; see Polling in tsm_det.h. */
static uint64_t
turn_ns_locked(bool interrupted, uint64_t next_ns)
{
    tsm_det.quiet = tsm_det.stirred ? 0 : tsm_det.quiet + !interrupted;
    tsm_det.stirred = false;
    if (tsm_det.quiet < QUIET || next_ns == UINT64_MAX) {
        return PICK_NS;
    }
    uint32_t haste = (tsm_det.quiet - QUIET) / HASTE;
    uint64_t ns = (uint64_t)PICK_NS << (haste < MAX_HASTE ? haste : MAX_HASTE);
    uint64_t left_ns = next_ns > tsm_det.now_ns + PICK_NS ? next_ns - tsm_det.now_ns : PICK_NS;
    return ns < left_ns ? ns : left_ns;
}

static const char no_text[TSM_DET_TEXT];

tsm_proc_t*
tsm_det_pick(const tsm_proc_t* rival, uint64_t next_ns)
{
    tsm_mutex_lock(&tsm_det.lock);
    tsm_proc_t* p = pick_locked(rival);
    if (p != NULL) {
        tsm_store_relaxed(&tsm_det.a_stalled, 0); /* relaxed: the run goes on, or is over. */
        tsm_det.picks += !is_closed();
        tsm_det.now_ns += turn_ns_locked(rival != NULL, next_ns);
        if (rival != NULL) {
            record_locked(TSM_DET_PREEMPT, tsm_proc_pid(rival), 0, no_text);
        }
        running = tsm_proc_pid(p);
        tsm_trail_turn(running);
        record_locked(TSM_DET_SCHEDULE, 0, running, no_text);
        slice_locked();
    }
    tsm_mutex_unlock(&tsm_det.lock);
    return p;
}

void
tsm_det_jump(uint64_t now_ns)
{
    tsm_mutex_lock(&tsm_det.lock);
    if (now_ns > tsm_det.now_ns) {
        tsm_det.now_ns = now_ns;
    }
    running = 0;
    record_locked(TSM_DET_JUMP, 0, 0, no_text);
    tsm_mutex_unlock(&tsm_det.lock);
}

void
tsm_det_pass(uint64_t ns)
{
    tsm_mutex_lock(&tsm_det.lock);
    tsm_det.now_ns += ns;
    running = 0;
    tsm_mutex_unlock(&tsm_det.lock);
    (void)tsm_add_relaxed(&tsm_det.a_waited, (uint32_t)(ns / 1000000u + 1)); /* relaxed: a statistic. */
}

void
tsm_det_stall(void)
{
    if (tsm_swap_sc(&tsm_det.a_stalled, 1) == 0) { /* sc: once; what led to it is visible to who waits. */
        tsm_event_set(&tsm_det.news);
    }
}

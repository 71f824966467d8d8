/* tsm_det.c - see tsm_det.h. */
#include "proc/tsm_det.h"

#include <stdlib.h>
#include <string.h>

#define START_NS UINT64_C(1000000000000) /* 1000 s: any fixed number */
#define PICK_NS 1000u                    /* a turn takes a virtual microsecond */

tsm_det_t tsm_det = {.slice_reds = TSM_DET_BUDGET};

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
    tsm_det.slice_reds = TSM_DET_BUDGET;
    tsm_det.now_ns = START_NS;
    running = 0;
    tsm_det.closed = false;
    tsm_det.picks = tsm_det.record_count = 0;
    tsm_det.ready_len = tsm_det.choice_len = 0;
    tsm_det.a_ready = tsm_det.a_stalled = tsm_det.a_taken = tsm_det.a_foreign = tsm_det.a_lost = 0;
    tsm_det.on = 1;
    return TSM_OK;
}

void
tsm_det_end(void)
{
    tsm_det.on = 0;
    tsm_det.slice_reds = TSM_DET_BUDGET;
    tsm_det.ready_len = tsm_det.a_ready = 0;
}

void
tsm_det_close_any(void)
{
    tsm_mutex_lock(&tsm_det.lock);
    tsm_det.closed = true;
    tsm_mutex_unlock(&tsm_det.lock);
}

static void
record_locked(uint8_t kind, tsm_pid_t from, tsm_pid_t to, const char* text)
{
    if (tsm_det.closed || tsm_det.plan.max_records == 0) {
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
    bool by_running = from == 0 && kind != TSM_SIG_TIMEOUT && kind != TSM_DET_DEAD && kind != TSM_DET_FIRE;
    record_locked(kind, by_running ? running : from, to, text);
    tsm_mutex_unlock(&tsm_det.lock);
}

void
tsm_det_record_any(enum tsm_det_event kind, tsm_pid_t from, tsm_pid_t to, void* term)
{
    if (kind == TSM_DET_LOST) {
        (void)tsm_add_relaxed(&tsm_det.a_lost, 1); /* relaxed: a count. */
    }
    record((uint8_t)kind, from, to, term);
}

void
tsm_det_signal_any(tsm_pid_t to, const tsm_sig_t* sig)
{
    tsm_pid_t from = sig->kind > TSM_SIG_DROP ? sig->from : 0;
    bool term = sig->kind <= TSM_SIG_LINK_EXIT || sig->kind == TSM_SIG_DOWN;
    record((uint8_t)sig->kind, from, to, term ? sig->term : NULL);
}

void
tsm_det_spawned_any(const tsm_proc_t* p)
{
    if (TSM_UNLIKELY(tsm_det.on != 0)) {
        record(TSM_DET_SPAWN, 0, tsm_proc_pid(p), NULL);
    }
}

/* 0 .. options-1. */
static uint32_t
choose_locked(uint32_t options, bool slice)
{
    uint32_t chosen = 0, at = tsm_det.choice_len;
    if (options <= 1 || tsm_det.closed) {
        return 0;
    }
    if (at < tsm_det.plan.script_len) {
        chosen = tsm_det.plan.script[at] % options;
    } else if (tsm_det.plan.seeded != 0) {
        uint32_t drawn = tsm_rand_below(&tsm_det.rand, options);
        /* Most turns go undisturbed: interrupting every one hides what takes long. */
        chosen = slice && tsm_rand_below(&tsm_det.rand, 4) != 0 ? 0 : drawn;
    }
    void* items = tsm_det.choices;
    if (grow(&items, at, &tsm_det.choice_cap, sizeof(tsm_det_choice_t))) {
        tsm_det.choices = items;
        tsm_det.choices[at] = (tsm_det_choice_t){options, chosen, slice};
        tsm_det.choice_len++;
    }
    return chosen;
}

static void
slice_locked(void)
{
    uint32_t chosen = tsm_det.plan.preempts == 0 ? 0 : choose_locked(TSM_DET_SLICES, true);
    tsm_det.plan.preempts -= chosen != 0;
    tsm_det.slice_reds = chosen == 0 ? TSM_DET_BUDGET : (int32_t)chosen;
}

void
tsm_det_slice(const tsm_proc_t* p)
{
    tsm_mutex_lock(&tsm_det.lock);
    running = tsm_proc_pid(p);
    slice_locked();
    tsm_mutex_unlock(&tsm_det.lock);
}

bool
tsm_det_push_any(tsm_proc_t* p, bool foreign)
{
    tsm_mutex_lock(&tsm_det.lock);
    void* items = tsm_det.ready;
    bool room = grow(&items, tsm_det.ready_len, &tsm_det.ready_cap, sizeof(tsm_proc_t*));
    if (room) {
        tsm_det.ready = items;
        tsm_det.ready[tsm_det.ready_len++] = p;
        tsm_store_relaxed(&tsm_det.a_ready, tsm_det.ready_len); /* relaxed: a hint; the lock decides. */
    }
    if (foreign && !tsm_det.closed) {
        (void)tsm_add_relaxed(&tsm_det.a_foreign, 1); /* relaxed: a count. */
    }
    tsm_mutex_unlock(&tsm_det.lock);
    return room;
}

static uint8_t
level_of(const tsm_proc_t* p)
{
    return p->priority < TSM_PRIO_NORMAL ? (uint8_t)TSM_PRIO_NORMAL : p->priority;
}

/* Of the n that stand at the highest level, the one numbered chosen. */
static uint32_t
find_locked(uint8_t level, uint32_t chosen)
{
    uint32_t i = 0;
    while (level_of(tsm_det.ready[i]) != level || chosen-- != 0) {
        i++;
    }
    return i;
}

static tsm_proc_t*
pick_locked(const tsm_proc_t* rival)
{
    uint8_t level = rival == NULL ? 0 : level_of(rival);
    uint32_t n = 0;
    for (uint32_t i = 0; i < tsm_det.ready_len; i++) {
        uint8_t other = level_of(tsm_det.ready[i]);
        n = other > level ? 1 : n + (other == level);
        level = other > level ? other : level;
    }
    if (n == 0) {
        return NULL;
    }
    uint32_t at = find_locked(level, choose_locked(n, false));
    tsm_proc_t* p = tsm_det.ready[at];
    tsm_det.ready_len--;
    memmove(&tsm_det.ready[at], &tsm_det.ready[at + 1], (tsm_det.ready_len - at) * sizeof(tsm_proc_t*));
    tsm_store_relaxed(&tsm_det.a_ready, tsm_det.ready_len); /* relaxed: as in push. */
    return p;
}

tsm_proc_t*
tsm_det_pick(const tsm_proc_t* rival)
{
    static const char none[TSM_DET_TEXT];
    tsm_mutex_lock(&tsm_det.lock);
    tsm_proc_t* p = pick_locked(rival);
    if (p != NULL) {
        tsm_store_relaxed(&tsm_det.a_stalled, 0); /* relaxed: read with picks, under the lock. */
        tsm_det.picks++;
        tsm_det.now_ns += PICK_NS;
        if (rival != NULL) {
            record_locked(TSM_DET_PREEMPT, tsm_proc_pid(rival), 0, none);
        }
        running = tsm_proc_pid(p);
        record_locked(TSM_DET_SCHEDULE, 0, running, none);
        slice_locked();
    }
    tsm_mutex_unlock(&tsm_det.lock);
    return p;
}

void
tsm_det_jump(uint64_t now_ns)
{
    static const char none[TSM_DET_TEXT];
    tsm_mutex_lock(&tsm_det.lock);
    if (now_ns > tsm_det.now_ns) {
        tsm_det.now_ns = now_ns;
    }
    running = 0;
    record_locked(TSM_DET_JUMP, 0, 0, none);
    tsm_mutex_unlock(&tsm_det.lock);
}

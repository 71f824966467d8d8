/* tsm_trail.c - see tsm_trail.h. */
#include "proc/tsm_trail.h"

#include <stdlib.h>
#include <string.h>

#include "base/tsm_rand.h"

enum { FIRST_LOG2 = 6 };

static struct {
    tsm_trail_t* trails; /* open addressing; pid 0: free */
    uint32_t log2, count;
    uint64_t sum;   /* of all shares */
    uint64_t world; /* what all can look at */
    bool shared;
    uint64_t lowest; /* rank of who was demoted last */
    tsm_rand_t rand;
} all; /* under tsm_det.lock */

static uint64_t
mix(uint64_t a, uint64_t b)
{
    uint64_t z = (a ^ (b + UINT64_C(0x9E3779B97F4A7C15) + (a << 6) + (a >> 2))) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

void
tsm_trail_begin(uint64_t seed, bool shared)
{
    free(all.trails);
    memset(&all, 0, sizeof(all));
    all.shared = shared;
    all.lowest = UINT64_C(1) << 31;
    tsm_rand_init(&all.rand, ~seed); /* apart from the choices' */
}

static tsm_trail_t*
place(tsm_trail_t* trails, uint32_t log2, tsm_pid_t pid)
{
    uint32_t mask = (1u << log2) - 1;
    uint32_t i = (uint32_t)(mix(pid, 0) & mask);
    while (trails[i].pid != 0 && trails[i].pid != pid) {
        i = (i + 1) & mask;
    }
    return &trails[i];
}

static bool
make_room(void)
{
    if (all.trails != NULL && all.count * 2 < 1u << all.log2) {
        return true;
    }
    uint32_t log2 = all.trails == NULL ? FIRST_LOG2 : all.log2 + 1;
    tsm_trail_t* larger = calloc((size_t)1 << log2, sizeof(*larger));
    if (larger == NULL) {
        all.shared = true;
        return false;
    }
    for (uint32_t i = 0; all.trails != NULL && i < 1u << all.log2; i++) {
        if (all.trails[i].pid != 0) {
            *place(larger, log2, all.trails[i].pid) = all.trails[i];
        }
    }
    free(all.trails);
    all.trails = larger;
    all.log2 = log2;
    return true;
}

tsm_trail_t*
tsm_trail_of(tsm_pid_t pid)
{
    if (pid == 0) {
        return NULL;
    }
    tsm_trail_t* t = all.trails == NULL ? NULL : place(all.trails, all.log2, pid);
    if (t == NULL || t->pid == 0) {
        if (!make_room()) {
            return NULL;
        }
        t = place(all.trails, all.log2, pid);
        t->pid = pid;
        t->base = 1;
        t->rank = (UINT64_C(1) << 32) + (tsm_rand_next(&all.rand) >> 1) / 2;
        all.count++;
    }
    return t;
}

/* What it has been through until now. */
static uint64_t
here(const tsm_trail_t* t)
{
    return t == NULL ? 0 : mix(mix(t->base, t->read), t->reds);
}

static void
recount(tsm_trail_t* t)
{
    all.sum -= t->share;
    t->share = mix(here(t), t->inbox);
    all.sum += t->share;
}

void
tsm_trail_spawn(tsm_pid_t parent, tsm_pid_t child)
{
    (void)tsm_trail_of(parent);
    tsm_trail_t* c = tsm_trail_of(child); /* may move the others */
    tsm_trail_t* p = parent == 0 ? NULL : tsm_trail_of(parent);
    if (c == NULL) {
        return;
    }
    c->base = mix(here(p), 'S');
    if (p != NULL) { /* the next child is another one */
        p->base = mix(p->base, 'C');
        recount(p);
    }
    recount(c);
}

void
tsm_trail_signal(tsm_pid_t from, tsm_pid_t to, uint8_t kind)
{
    (void)tsm_trail_of(from);
    tsm_trail_t* t = tsm_trail_of(to);
    if (t != NULL) {
        t->inbox = mix(t->inbox, mix(here(from == 0 ? NULL : tsm_trail_of(from)), kind));
        recount(t);
    }
}

static void
read_inbox(tsm_trail_t* t)
{
    t->base = here(t);
    t->read = t->inbox;
    t->reds = 0;
}

void
tsm_trail_turn(tsm_pid_t pid)
{
    tsm_trail_t* t = tsm_trail_of(pid);
    if (t != NULL && t->read != t->inbox) {
        read_inbox(t);
        recount(t);
    }
}

void
tsm_trail_used(tsm_pid_t pid, uint64_t reds)
{
    tsm_trail_t* t = tsm_trail_of(pid);
    if (t != NULL) {
        t->reds += reds;
        t->run += reds;
        recount(t);
    }
}

void
tsm_trail_touch(tsm_pid_t pid)
{
    tsm_trail_t* t = tsm_trail_of(pid);
    uint64_t before = here(t);
    if (t != NULL) {
        read_inbox(t);
        t->base = mix(t->base, all.world);
        recount(t);
    }
    all.world = mix(all.world, before);
}

void
tsm_trail_share(void)
{
    all.shared = true;
}

void
tsm_trail_demote(tsm_pid_t pid)
{
    tsm_trail_t* t = tsm_trail_of(pid);
    if (t != NULL) {
        t->rank = --all.lowest;
    }
}

uint64_t
tsm_trail_state(uint64_t with)
{
    uint64_t state = mix(mix(all.sum, all.world), with);
    return all.shared || state == 0 ? 0 : state;
}

/* tsm_table_dir.c - directories: which processes stand under which key. Registry, Groups and
 * PubSub are thin faces of this.
 *
 * What it is      key -> members (pid, value), in the order they came; a map from pid to the
 *                 keys it stands under; watchers that hear of every change.
 * Who touches what
 *   a directory     any thread, under its lock; events are sent under it, so a watcher sees
 *                   changes in their order and none twice or never beside its snapshot
 *   all             dirs.lock, taken before a directory's
 * Protocol        Joining and dying race as in tsm_table_own.c (a_held). A dead process is out
 *                 of all directories before its monitors fire.
 * Invariants      No user code and no dropped reference under a lock: keys are bytes, values
 *                 were copied, what leaves is buried.
 * Source          OTP pg(3), Elixir Registry, Phoenix.PubSub
 */
#include "bind/tsm_table_dir.h"
#include "proc/tsm_det.h"

#include <stdlib.h>

enum { HELD_DIR = 2 };

static struct {
    tsm_mutex_t lock;
    tsm_dir_t* all; /* living ones */
} dirs;

/* ---- members ---- */

static tsm_group_t*
group_find(tsm_dir_t* d, const tsm_key_t* key)
{
    tsm_group_t* g = (tsm_group_t*)(void*)tsm_hmap_find(&d->groups, 0, key->hash);
    while (g != NULL && (g->len != key->len || memcmp(g->bytes, key->bytes, key->len) != 0)) {
        g = g->same_hash;
    }
    return g;
}

static tsm_group_t*
group_new(tsm_dir_t* d, const tsm_key_t* key, PyObject* key_op)
{
    tsm_group_t* g = malloc(sizeof(*g) + key->len);
    if (g == NULL) {
        return NULL;
    }
    *g = (tsm_group_t){.h = {.key = key->hash}, .key = Py_NewRef(key_op), .len = key->len};
    memcpy(g->bytes, key->bytes, key->len);
    tsm_group_t* first = (tsm_group_t*)(void*)tsm_hmap_find(&d->groups, 0, key->hash);
    if (first != NULL) {
        g->same_hash = first->same_hash;
        first->same_hash = g;
    } else {
        tsm_hmap_insert(&d->groups, &g->h);
    }
    return g;
}

static void
bury(PyObject* op)
{
    if (op != NULL && tsm_bury_term(op) < 0) {
        PyErr_Clear(); /* no memory: it stays */
    }
}

/* An empty group goes. */
static void
group_free(tsm_dir_t* d, tsm_group_t* g)
{
    tsm_group_t* first = (tsm_group_t*)(void*)tsm_hmap_find(&d->groups, 0, g->h.key);
    if (first == g) {
        (void)tsm_hmap_remove(&d->groups, 0, g->h.key);
        if (g->same_hash != NULL) {
            tsm_hmap_insert(&d->groups, &g->same_hash->h);
        }
    } else {
        while (first->same_hash != g) {
            first = first->same_hash;
        }
        first->same_hash = g->same_hash;
    }
    bury(g->key);
    free(g->members);
    free(g);
}

static int
holder_add(tsm_dir_t* d, tsm_pid_t pid, tsm_group_t* g)
{
    tsm_holder_t* h = (tsm_holder_t*)(void*)tsm_hmap_find(&d->holders, 0, pid);
    if (h == NULL) {
        h = calloc(1, sizeof(*h));
        if (h == NULL) {
            return -1;
        }
        h->h.key = pid;
        tsm_hmap_insert(&d->holders, &h->h);
    }
    if (h->count == h->room) {
        uint32_t room = h->room == 0 ? 2 : h->room * 2;
        tsm_group_t** grown = realloc(h->groups, room * sizeof(*grown));
        if (grown == NULL) {
            return -1; /* an empty holder does no harm */
        }
        h->groups = grown;
        h->room = room;
    }
    h->groups[h->count++] = g;
    return 0;
}

/* Takes one mention of g out of the list of pid. */
static void
holder_remove(tsm_dir_t* d, tsm_pid_t pid, tsm_group_t* g)
{
    tsm_holder_t* h = (tsm_holder_t*)(void*)tsm_hmap_find(&d->holders, 0, pid);
    uint32_t i = h->count - 1;
    while (h->groups[i] != g) {
        i--;
    }
    memmove(&h->groups[i], &h->groups[i + 1], (h->count - i - 1) * sizeof(h->groups[0]));
    if (--h->count == 0) {
        (void)tsm_hmap_remove(&d->holders, 0, pid);
        free(h->groups);
        free(h);
    }
}

static int
group_add(tsm_group_t* g, tsm_pid_t pid, PyObject* value)
{
    if (g->count == g->room) {
        uint32_t room = g->room == 0 ? 2 : g->room * 2;
        tsm_member_t* grown = realloc(g->members, room * sizeof(*grown));
        if (grown == NULL) {
            return -1;
        }
        g->members = grown;
        g->room = room;
    }
    g->members[g->count++] = (tsm_member_t){.pid = pid, .value = value};
    return 0;
}

/* Index of pid from `from` on, or count. */
static uint32_t
member_at(const tsm_group_t* g, tsm_pid_t pid, uint32_t from)
{
    while (from < g->count && g->members[from].pid != pid) {
        from++;
    }
    return from;
}

/* Takes member i out; the group may be gone after it. */
static void
member_remove(tsm_dir_t* d, tsm_group_t* g, uint32_t i)
{
    tsm_member_t gone = g->members[i];
    memmove(&g->members[i], &g->members[i + 1], (g->count - i - 1) * sizeof(g->members[0]));
    g->count--;
    d->total--;
    holder_remove(d, gone.pid, g);
    bury(gone.value);
}

/* ---- events ---- */

/* (ref, word, key, pid) to all who watch g; under the lock, inside the runtime. */
static void
announce(tsm_dir_t* d, tsm_group_t* g, tsm_pid_t pid, bool joined)
{
    for (tsm_watcher_t* w = d->watchers; w != NULL; w = w->next) {
        if (w->bytes != NULL && (w->len != g->len || memcmp(w->bytes, g->bytes, g->len) != 0)) {
            continue;
        }
        tsm_sig_t* sig = tsm_sig_new(TSM_SIG_MESSAGE);
        PyObject* ref = sig == NULL ? NULL : tsm_ref_object(w->ref, w->pid);
        PyObject* who = ref == NULL ? NULL : tsm_pid_object(pid);
        PyObject* event = who == NULL ? NULL : PyTuple_Pack(4, ref, joined ? d->joined : d->left, g->key, who);
        Py_XDECREF(ref);
        Py_XDECREF(who);
        if (event == NULL) {
            PyErr_Clear(); /* no memory: the event is lost */
            if (sig != NULL) {
                tsm_sig_free(sig);
            }
            continue;
        }
        sig->term = event;
        (void)tsm_signal_any(w->pid, sig);
    }
}

/* ---- death ---- */

static void
watchers_drop(tsm_dir_t* d, tsm_pid_t pid, uint64_t ref)
{
    for (tsm_watcher_t** at = &d->watchers; *at != NULL;) {
        tsm_watcher_t* w = *at;
        if (w->pid == pid && (ref == 0 || w->ref == ref)) {
            *at = w->next;
            free(w->bytes);
            free(w);
        } else {
            at = &w->next;
        }
    }
}

static void
pid_out(tsm_dir_t* d, tsm_pid_t pid)
{
    tsm_holder_t* h;
    while ((h = (tsm_holder_t*)(void*)tsm_hmap_find(&d->holders, 0, pid)) != NULL) {
        if (h->count == 0) { /* an addition failed half-way */
            (void)tsm_hmap_remove(&d->holders, 0, pid);
            free(h->groups);
            free(h);
            continue;
        }
        tsm_group_t* g = h->groups[h->count - 1];
        member_remove(d, g, member_at(g, pid, 0));
        announce(d, g, pid, false);
        if (g->count == 0) {
            group_free(d, g);
        }
    }
}

/* All out; under the lock. */
static void
dir_clear(tsm_dir_t* d)
{
    tsm_hnode_t* n;
    while ((n = tsm_hmap_pop_any(&d->groups)) != NULL) {
        for (tsm_group_t *g = (tsm_group_t*)(void*)n, *after; g != NULL; g = after) {
            after = g->same_hash;
            for (uint32_t i = 0; i < g->count; i++) {
                bury(g->members[i].value);
            }
            bury(g->key);
            free(g->members);
            free(g);
        }
    }
    while ((n = tsm_hmap_pop_any(&d->holders)) != NULL) {
        free(((tsm_holder_t*)(void*)n)->groups);
        free(n);
    }
    while (d->watchers != NULL) {
        tsm_watcher_t* w = d->watchers;
        d->watchers = w->next;
        free(w->bytes);
        free(w);
    }
    d->total = 0;
}

void
tsm_dir_died(tsm_proc_t* p)
{
    /* acquire: a hint; the bits are set before the lock is taken by who joins. */
    if ((tsm_load_acquire(&p->a_held) & HELD_DIR) == 0) {
        return;
    }
    tsm_pid_t pid = tsm_proc_pid(p);
    tsm_dir_t* dead = NULL;
    tsm_mutex_lock(&dirs.lock);
    for (tsm_dir_t** at = &dirs.all; *at != NULL;) {
        tsm_dir_t* d = *at;
        tsm_mutex_lock(&d->lock);
        pid_out(d, pid);
        watchers_drop(d, pid, 0);
        if (d->owner == pid) {
            d->dead = true;
            dir_clear(d);
            *at = d->next;
            d->next = dead;
            dead = d;
        } else {
            at = &d->next;
        }
        tsm_mutex_unlock(&d->lock);
    }
    tsm_mutex_unlock(&dirs.lock);
    for (tsm_dir_t* after; dead != NULL; dead = after) {
        after = dead->next;
        tsm_dir_release(dead);
    }
}

/* ---- life ---- */

void
tsm_dir_release(tsm_dir_t* d)
{
    if (tsm_sub_acq_rel(&d->a_refs, 1) == 1) { /* acq_rel: the last one frees. */
        Py_XDECREF(d->name);
        Py_XDECREF(d->joined);
        Py_XDECREF(d->left);
        free(d);
    }
}

/* The living directory of that kind and name with a reference, or NULL. */
tsm_dir_t*
tsm_dir_named(int kind, PyObject* name)
{
    tsm_mutex_lock(&dirs.lock);
    tsm_dir_t* d = dirs.all;
    while (d != NULL && (d->kind != kind || d->name == NULL || PyUnicode_Compare(d->name, name) != 0)) {
        d = d->next;
    }
    if (d != NULL) {
        (void)tsm_add_relaxed(&d->a_refs, 1); /* relaxed: it lives under the lock. */
    }
    tsm_mutex_unlock(&dirs.lock);
    return d;
}

static bool
dir_hold(tsm_proc_t* p, tsm_pid_t pid)
{
    if (p == NULL) {
        return false;
    }
    if (TSM_UNLIKELY(tsm_det.on != 0)) {
        tsm_det_share_any();
    }
    (void)tsm_or_sc(&p->a_held, HELD_DIR); /* sc: against tsm_proc_die_owner, see Protocol. */
    return tsm_ptab_get_any(pid) == p && !tsm_inbox_is_dead(&p->inbox);
}

/* Makes one (with a reference for the caller and one while it lives). -1: the name is
 * taken; -2: no memory. owner NULL: nobody's, it lives as long as the program. */
int
tsm_dir_new(int kind, PyObject* name, bool unique, PyObject* joined, PyObject* left, tsm_proc_t* owner, tsm_dir_t** out)
{
    tsm_dir_t* d = calloc(1, sizeof(*d));
    if (d == NULL) {
        return -2;
    }
    d->a_refs = 2;
    d->kind = kind;
    d->unique = unique;
    d->name = Py_XNewRef(name);
    d->joined = Py_NewRef(joined);
    d->left = Py_NewRef(left);
    d->owner = owner == NULL ? 0 : tsm_proc_pid(owner);
    tsm_hmap_init(&d->groups);
    tsm_hmap_init(&d->holders);
    if (owner != NULL) {
        (void)dir_hold(owner, d->owner);
    }
    tsm_mutex_lock(&dirs.lock);
    tsm_dir_t* other = name == NULL ? NULL : dirs.all;
    while (other != NULL && (other->kind != kind || other->name == NULL || PyUnicode_Compare(other->name, name) != 0)) {
        other = other->next;
    }
    if (other == NULL) {
        d->next = dirs.all;
        dirs.all = d;
    }
    tsm_mutex_unlock(&dirs.lock);
    if (other != NULL) {
        d->a_refs = 1;
        tsm_dir_release(d);
        return -1;
    }
    *out = d;
    return 0;
}

/* ---- operations; inside the runtime ---- */

int
tsm_dir_join(tsm_dir_t* d, const tsm_key_t* key, PyObject* key_op, tsm_pid_t pid, PyObject* value, tsm_pid_t* taken)
{
    *taken = 0;
    tsm_mutex_lock(&d->lock);
    int rc = d->dead ? TSM_DIR_GONE : dir_hold(tsm_ptab_get_any(pid), pid) ? 0 : TSM_E_NOPROC;
    tsm_group_t* g = rc < 0 ? NULL : group_find(d, key);
    if (rc == 0 && g != NULL && d->unique) {
        *taken = g->members[0].pid; /* the dead are out before anybody can know */
        rc = TSM_E_NAME_TAKEN;
    }
    if (rc == 0 && g == NULL && (g = group_new(d, key, key_op)) == NULL) {
        rc = TSM_E_NOMEM;
    }
    if (rc == 0 && (holder_add(d, pid, g) < 0)) {
        rc = TSM_E_NOMEM;
    } else if (rc == 0 && group_add(g, pid, value) < 0) {
        holder_remove(d, pid, g);
        rc = TSM_E_NOMEM;
    }
    if (rc == 0) {
        d->total++;
        announce(d, g, pid, true);
    } else if (g != NULL && g->count == 0) {
        group_free(d, g);
    }
    tsm_mutex_unlock(&d->lock);
    return rc;
}

/* How many mentions of pid under key were taken out: one, or all. */
int64_t
tsm_dir_leave(tsm_dir_t* d, const tsm_key_t* key, tsm_pid_t pid, bool all)
{
    int64_t count = 0;
    tsm_mutex_lock(&d->lock);
    tsm_group_t* g = group_find(d, key);
    uint32_t i = 0;
    while (g != NULL && (all || count == 0) && (i = member_at(g, pid, i)) < g->count) {
        member_remove(d, g, i);
        announce(d, g, pid, false);
        count++;
    }
    if (g != NULL && g->count == 0) {
        group_free(d, g);
    }
    tsm_mutex_unlock(&d->lock);
    return count;
}

/* Members of key: pids, and values with a reference each if wanted, in arrays of malloc.
 * -1: no memory. */
int64_t
tsm_dir_members(tsm_dir_t* d, const tsm_key_t* key, tsm_pid_t** pids, PyObject*** values)
{
    tsm_mutex_lock(&d->lock);
    tsm_group_t* g = group_find(d, key);
    int64_t n = g == NULL ? 0 : g->count;
    *pids = n == 0 ? NULL : malloc((size_t)n * sizeof(tsm_pid_t));
    if (values != NULL) {
        *values = n == 0 ? NULL : malloc((size_t)n * sizeof(PyObject*));
    }
    if (n > 0 && (*pids == NULL || (values != NULL && *values == NULL))) {
        n = -1;
    }
    for (int64_t i = 0; i < n; i++) {
        (*pids)[i] = g->members[i].pid;
        if (values != NULL) {
            (*values)[i] = Py_XNewRef(g->members[i].value);
        }
    }
    tsm_mutex_unlock(&d->lock);
    if (n < 0) {
        free(*pids);
        if (values != NULL) {
            free(*values);
        }
    }
    return n;
}

tsm_pid_t
tsm_dir_first(tsm_dir_t* d, const tsm_key_t* key)
{
    tsm_mutex_lock(&d->lock);
    tsm_group_t* g = group_find(d, key);
    tsm_pid_t pid = g == NULL ? 0 : g->members[0].pid;
    tsm_mutex_unlock(&d->lock);
    return pid;
}

/* Sets the value of pid's first mention under key. False: there is none. Takes value. */
bool
tsm_dir_set(tsm_dir_t* d, const tsm_key_t* key, tsm_pid_t pid, PyObject* value)
{
    tsm_mutex_lock(&d->lock);
    tsm_group_t* g = group_find(d, key);
    uint32_t i = g == NULL ? 0 : member_at(g, pid, 0);
    bool found = g != NULL && i < g->count;
    if (found) {
        PyObject* old = g->members[i].value;
        g->members[i].value = value;
        value = old;
    }
    tsm_mutex_unlock(&d->lock);
    bury(value);
    return found;
}

/* Appends what is there to list: keys of pid, or with pid 0 all keys; with members: (key, pid, value). */
int
tsm_dir_list(tsm_dir_t* d, tsm_pid_t pid, bool members, PyObject* list)
{
    int rc = 0;
    tsm_mutex_lock(&d->lock);
    if (pid != 0) {
        tsm_holder_t* h = (tsm_holder_t*)(void*)tsm_hmap_find(&d->holders, 0, pid);
        for (uint32_t i = 0; h != NULL && rc == 0 && i < h->count; i++) {
            rc = PyList_Append(list, h->groups[i]->key);
        }
    }
    tsm_hmap_iter_t it = tsm_hmap_iter(&d->groups);
    tsm_hnode_t* n;
    while (pid == 0 && rc == 0 && (n = tsm_hmap_next(&it)) != NULL) {
        for (tsm_group_t* g = (tsm_group_t*)(void*)n; rc == 0 && g != NULL; g = g->same_hash) {
            if (!members) {
                rc = PyList_Append(list, g->key);
            }
            for (uint32_t i = 0; members && rc == 0 && i < g->count; i++) {
                PyObject* who = tsm_pid_object(g->members[i].pid);
                PyObject* value = g->members[i].value == NULL ? Py_None : g->members[i].value;
                PyObject* row = who == NULL ? NULL : PyTuple_Pack(3, g->key, who, value);
                rc = row == NULL ? -1 : PyList_Append(list, row);
                Py_XDECREF(row);
                Py_XDECREF(who);
            }
        }
    }
    tsm_mutex_unlock(&d->lock);
    return rc;
}

/* key NULL: all keys. The snapshot belongs to the same moment. */
int
tsm_dir_watch(tsm_dir_t* d, const tsm_key_t* key, tsm_proc_t* me, uint64_t ref, PyObject* snapshot)
{
    tsm_watcher_t* w = calloc(1, sizeof(*w));
    if (w == NULL || (key != NULL && (w->bytes = malloc(key->len + 1)) == NULL)) {
        free(w);
        return TSM_E_NOMEM;
    }
    w->pid = tsm_proc_pid(me);
    w->ref = ref;
    if (key != NULL) {
        w->len = key->len;
        memcpy(w->bytes, key->bytes, key->len);
    }
    int rc = 0;
    tsm_mutex_lock(&d->lock);
    (void)dir_hold(me, w->pid);
    rc = d->dead ? TSM_DIR_GONE : 0;
    tsm_hmap_iter_t it = tsm_hmap_iter(&d->groups);
    tsm_hnode_t* n;
    while (rc == 0 && (n = tsm_hmap_next(&it)) != NULL) {
        for (tsm_group_t* g = (tsm_group_t*)(void*)n; rc == 0 && g != NULL; g = g->same_hash) {
            if (key != NULL && (g->len != key->len || memcmp(g->bytes, key->bytes, key->len) != 0)) {
                continue;
            }
            for (uint32_t i = 0; rc == 0 && i < g->count; i++) {
                PyObject* who = tsm_pid_object(g->members[i].pid);
                PyObject* pair = who == NULL ? NULL : PyTuple_Pack(2, g->key, who);
                rc = pair == NULL || PyList_Append(snapshot, pair) < 0 ? TSM_E_NOMEM : 0;
                Py_XDECREF(pair);
                Py_XDECREF(who);
            }
        }
    }
    if (rc == 0) {
        w->next = d->watchers;
        d->watchers = w;
    }
    tsm_mutex_unlock(&d->lock);
    if (rc < 0) {
        free(w->bytes);
        free(w);
    }
    return rc;
}

void
tsm_dir_unwatch(tsm_dir_t* d, tsm_pid_t pid, uint64_t ref)
{
    tsm_mutex_lock(&d->lock);
    watchers_drop(d, pid, ref);
    tsm_mutex_unlock(&d->lock);
}

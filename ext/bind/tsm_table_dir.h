/* tsm_table_dir.h - directories: which processes stand under which key (tsm_table_dir.c). */
#ifndef TSM_TABLE_DIR_H
#define TSM_TABLE_DIR_H

#include "bind/tsm_table.h"
#include "mem/tsm_hmap.h"

typedef struct tsm_member {
    tsm_pid_t pid;
    PyObject* value; /* or NULL */
} tsm_member_t;

typedef struct tsm_group {
    tsm_hnode_t h; /* key: the hash */
    struct tsm_group* same_hash;
    PyObject* key;
    tsm_member_t* members;
    uint32_t count, room;
    uint32_t len;
    uint8_t bytes[];
} tsm_group_t;

typedef struct tsm_holder {
    tsm_hnode_t h; /* key: the pid */
    tsm_group_t** groups; /* one mention for each membership */
    uint32_t count, room;
} tsm_holder_t;

typedef struct tsm_watcher {
    struct tsm_watcher* next;
    tsm_pid_t pid;
    uint64_t ref;
    uint8_t* bytes; /* the key, or NULL: all keys */
    uint32_t len;
} tsm_watcher_t;

typedef struct tsm_dir {
    /* any thread */
    uint64_t a_refs; /* handles, and one while it lives */
    /* set once */
    int kind;
    bool unique;
    PyObject *name, *joined, *left; /* joined, left: the words of events */
    tsm_pid_t owner;
    tsm_mutex_t lock;
    /* under lock */
    bool dead;
    uint64_t total;
    tsm_hmap_t groups, holders;
    tsm_watcher_t* watchers;
    /* under dirs.lock */
    struct tsm_dir* next;
} tsm_dir_t;

enum { TSM_DIR_GONE = -100 };

void tsm_dir_died(tsm_proc_t* p);
void tsm_dir_release(tsm_dir_t* d);
tsm_dir_t* tsm_dir_named(int kind, PyObject* name);
int tsm_dir_new(int kind, PyObject* name, bool unique, PyObject* joined, PyObject* left, tsm_proc_t* owner,
                tsm_dir_t** out);
/* 0 (takes value), TSM_DIR_GONE, TSM_E_NOPROC, TSM_E_NAME_TAKEN (*taken), TSM_E_NOMEM. */
int tsm_dir_join(tsm_dir_t* d, const tsm_key_t* key, PyObject* key_op, tsm_pid_t pid, PyObject* value,
                 tsm_pid_t* taken);
int64_t tsm_dir_leave(tsm_dir_t* d, const tsm_key_t* key, tsm_pid_t pid, bool all);
int64_t tsm_dir_members(tsm_dir_t* d, const tsm_key_t* key, tsm_pid_t** pids, PyObject*** values);
tsm_pid_t tsm_dir_first(tsm_dir_t* d, const tsm_key_t* key);
bool tsm_dir_set(tsm_dir_t* d, const tsm_key_t* key, tsm_pid_t pid, PyObject* value);
int tsm_dir_list(tsm_dir_t* d, tsm_pid_t pid, bool members, PyObject* list);
int tsm_dir_watch(tsm_dir_t* d, const tsm_key_t* key, tsm_proc_t* me, uint64_t ref, PyObject* snapshot);
void tsm_dir_unwatch(tsm_dir_t* d, tsm_pid_t pid, uint64_t ref);
int tsm_dir_init(PyObject* module);

#endif

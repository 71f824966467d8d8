/* test_hmap.c - against a plain array, through growth, shrinking and lack of memory. */
#include "mem/tsm_hmap.h"

#include "base/tsm_rand.h"
#include "harness.h"
#include "mem/tsm_pool.h"

enum { KEYS = 700, KINDS = 3 };

typedef struct {
    tsm_hnode_t h;
    bool in;
} item_t;

static item_t items[KINDS][KEYS];
static tsm_hmap_t map;

static void
items_init(void)
{
    tsm_hmap_init(&map);
    for (uint32_t kind = 0; kind < KINDS; kind++) {
        for (uint32_t key = 0; key < KEYS; key++) {
            items[kind][key].h.kind = kind;
            items[kind][key].h.key = key * UINT64_C(0x100000001);
            items[kind][key].in = false;
        }
    }
}

static void
put(item_t* it)
{
    tsm_hmap_insert(&map, &it->h);
    it->in = true;
}

static void
take(item_t* it)
{
    CHECK(tsm_hmap_remove(&map, it->h.kind, it->h.key) == (it->in ? &it->h : NULL));
    it->in = false;
}

static void
compare_all(void)
{
    uint32_t n = 0;
    for (uint32_t kind = 0; kind < KINDS; kind++) {
        for (uint32_t key = 0; key < KEYS; key++) {
            item_t* it = &items[kind][key];
            CHECK(tsm_hmap_find(&map, kind, it->h.key) == (it->in ? &it->h : NULL));
            n += it->in;
        }
    }
    CHECK(tsm_hmap_count(&map) == n);
    tsm_hmap_validate(&map);
}

CASE(zero_is_empty)
{
    memset(&map, 0, sizeof(map));
    CHECK(tsm_hmap_count(&map) == 0 && tsm_hmap_find(&map, 0, 0) == NULL);
    CHECK(tsm_hmap_remove(&map, 0, 0) == NULL && tsm_hmap_pop_any(&map) == NULL);
    CHECK(sizeof(map) == 16 && sizeof(tsm_hnode_t) == 24);
}

CASE(chain_becomes_buckets_and_back)
{
    items_init();
    for (uint32_t i = 0; i < KEYS; i++) {
        put(&items[i % KINDS][i]);
        CHECK((map.log2 == 0) == (i < TSM_HMAP_CHAIN_MAX));
        CHECK(map.log2 == 0 || map.count <= (UINT32_C(1) << map.log2));
    }
    compare_all();
    for (uint32_t i = 0; i < KEYS; i++) {
        take(&items[i % KINDS][i]);
        CHECK(map.log2 <= 4 || map.count >= (UINT32_C(1) << map.log2) / 8);
    }
    CHECK(map.log2 == 0 && map.u.chain == NULL);
    compare_all();
}

CASE(random_operations_match)
{
    items_init();
    tsm_rand_t r;
    tsm_rand_init(&r, 7);
    for (int i = 0; i < ROUNDS(300000); i++) {
        /* Walk the size up and down so that both borders are crossed often. */
        uint32_t span = i / 500 % 2 == 0 ? KEYS : 12;
        item_t* it = &items[tsm_rand_below(&r, KINDS)][tsm_rand_below(&r, span)];
        if (it->in) {
            take(it);
        }
        else if (tsm_rand_below(&r, 5) != 0) {
            put(it);
        }
        else {
            take(it);
        }
        if (i % 5000 == 0) {
            compare_all();
        }
    }
    compare_all();
}

CASE(walk_sees_each_once_and_may_remove)
{
    for (uint32_t n = 0; n <= KEYS; n = n * 3 + 1) {
        items_init();
        for (uint32_t i = 0; i < n; i++) {
            put(&items[0][i]);
        }
        uint32_t seen = 0;
        tsm_hmap_iter_t it = tsm_hmap_iter(&map);
        for (tsm_hnode_t* h; (h = tsm_hmap_next(&it)) != NULL;) {
            seen++;
            item_t* item = &items[h->kind][h->key & 0xFFFFFFFF];
            CHECK(&item->h == h && item->in);
            if (h->key % 3 != 0) {
                tsm_hmap_iter_remove(&it);
                item->in = false;
                h->next = (tsm_hnode_t*)1; /* ours again */
            }
        }
        CHECK(seen == n);
        compare_all();
        while (tsm_hmap_count(&map) > 0) {
            CHECK(tsm_hmap_pop_any(&map) != NULL);
        }
        CHECK(tsm_hmap_pop_any(&map) == NULL && map.log2 == 0);
    }
}

CASE(works_without_memory)
{
    items_init();
    tsm_pool_fail_after(1);
    for (uint32_t i = 0; i < 100; i++) {
        put(&items[0][i]);
    }
    CHECK(map.log2 == 0);
    compare_all();
    tsm_pool_fail_after(0);
    for (uint32_t i = 100; i < 400; i++) {
        put(&items[0][i]);
    }
    CHECK(map.log2 != 0);
    compare_all();
    tsm_pool_fail_after(1);
    for (uint32_t i = 0; i < 400; i++) {
        take(&items[0][i]);
    }
    compare_all();
    tsm_pool_fail_after(0);
    tsm_pool_stats_t s;
    tsm_pool_stats(&s);
    CHECK(s.live_objects == 0);
}

HARNESS_MAIN

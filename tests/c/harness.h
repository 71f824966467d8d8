/* harness.h - named cases, each in a child process of its own with a time limit.
 *
 *     CASE(name) { CHECK(cond); }
 *     HARNESS_MAIN
 *
 * A crash, a sanitizer report or a hang is one failed case, not the end of the run. Prints
 * `ok <file>.<case>` or `FAIL <file>.<case>` per case. One argument picks one case. */
#ifndef TSM_HARNESS_H
#define TSM_HARNESS_H

#include "base/tsm_assert.h"
#include "base/tsm_config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { HARNESS_CASES_MAX = 64, HARNESS_SECONDS = 60 };

static struct {
    const char* name;
    void (*fn)(void);
} harness_cases[HARNESS_CASES_MAX] TSM_UNUSED;
static int harness_count TSM_UNUSED;

#define CASE(case_name)                                                       \
    static void case_name(void);                                              \
    __attribute__((constructor)) static void harness_add_##case_name(void)    \
    {                                                                         \
        harness_cases[harness_count].name = #case_name;                       \
        harness_cases[harness_count++].fn = case_name;                        \
    }                                                                         \
    static void case_name(void)

#define CHECK(cond)                                                           \
    do {                                                                      \
        if (!(cond)) {                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);        \
            _exit(1);                                                         \
        }                                                                     \
    } while (0)

/* Rounds of a stress case: fewer where a sanitizer makes each several times dearer. */
#if defined(TSM_TSAN) || defined(TSM_ASAN) || defined(TSM_DEBUG)
#define ROUNDS(n) ((n) / 5 + 1)
#else
#define ROUNDS(n) (n)
#endif

static inline bool
harness_run(const char* file, int i)
{
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        alarm(HARNESS_SECONDS);
        harness_cases[i].fn();
        exit(0);
    }
    int status = -1;
    bool ok = child > 0 && waitpid(child, &status, 0) == child && status == 0;
    printf("%s %s.%s\n", ok ? "ok" : "FAIL", file, harness_cases[i].name);
    return ok;
}

#define HARNESS_MAIN                                                          \
    int main(int argc, char** argv)                                           \
    {                                                                         \
        const char* slash = strrchr(argv[0], '/');                            \
        int failed = 0;                                                       \
        for (int i = 0; i < harness_count; i++) {                             \
            if (argc < 2 || strcmp(argv[1], harness_cases[i].name) == 0) {    \
                failed += !harness_run(slash ? slash + 1 : argv[0], i);       \
            }                                                                 \
        }                                                                     \
        return failed != 0;                                                   \
    }

#endif

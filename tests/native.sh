#!/bin/sh
# Build and run the tests of the C units that need no Python: everything below ext/proc and
# the sleep protocol of ext/sched. One line per case, then `N passed, N failed`.
#
#   tests/native.sh                 all of the following but bench
#   tests/native.sh plain           optimised, as shipped, and once with checks on
#   tests/native.sh asan            address and undefined-behaviour sanitizer
#   tests/native.sh tsan            thread sanitizer
#   tests/native.sh model           schedule exploration, and planted bugs that it must find
#   tests/native.sh bench           nanoseconds of the hot operations
#
# CC picks the compiler (gcc or clang), TSM_NATIVE_DIR the place for built files,
# TSM_MODEL_BOUND the number of preemptions the models explore.
set -u
cd "$(dirname "$0")/.." || exit 2

CC=${CC:-cc}
OUT=${TSM_NATIVE_DIR:-build/native}
JOBS=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)
WARN="-Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wundef -Werror"
BASE="-std=gnu11 -g -pthread -Iext -Itests/c $WARN"
UNITS="ext/base/*.c ext/mem/*.c ext/queue/*.c ext/timer/*.c ext/sched/tsm_idle.c"
MODULES="atomic os bias pool arena hmap inbox runq inject wheel idle"
LOG=$OUT/log
mkdir -p "$OUT" && : >"$LOG"

command -v "$CC" >/dev/null || { echo "no C compiler '$CC': apt install gcc" >&2; exit 2; }

# gcc 12's thread sanitizer cannot start where address randomisation is very strong.
NORANDOM=""
if setarch "$(uname -m)" -R true 2>/dev/null; then
    NORANDOM="setarch $(uname -m) -R"
fi

# compile <folder> <flags> <sources...>: objects in parallel
compile() {
    folder=$1 flags=$2
    shift 2
    mkdir -p "$folder"
    for source in "$@"; do
        echo "$source $folder/$(echo "$source" | tr '/' '_').o"
    done | xargs -P "$JOBS" -n 2 sh -c "$CC $flags -c \$0 -o \$1" ||
        { echo "FAIL $folder.build" | tee -a "$LOG"; return 1; }
}

# report <program name> <command...>: run it; one that says nothing has failed
report() {
    program_name=$1
    shift
    timeout 300 "$@" >"$OUT/last" 2>"$OUT/last.err"
    rc=$?
    if [ $rc -ne 0 ] || ! grep -q '^ok' "$OUT/last"; then
        grep -q '^FAIL' "$OUT/last" || echo "FAIL $program_name.exit_status_$rc" >>"$OUT/last"
        head -60 "$OUT/last.err"
    fi
    tee -a "$LOG" <"$OUT/last"
}

# variant <name> <flags> <modules>
variant() {
    name=$1 flags="$BASE $2"
    tests=""
    for module in $3; do tests="$tests tests/c/test_$module.c"; done
    # shellcheck disable=SC2086  # word lists on purpose
    compile "$OUT/$name" "$flags" $UNITS $tests || return
    for module in $3; do
        program="$OUT/$name/$name.$module"
        # shellcheck disable=SC2086
        $CC $flags "$OUT/$name"/ext_*.o "$OUT/$name/tests_c_test_$module.c.o" -o "$program" ||
            { echo "FAIL $name.$module.link" | tee -a "$LOG"; continue; }
        if [ "$name" = tsan ]; then
            report "$name.$module" $NORANDOM "$program"
        else
            report "$name.$module" "$program"
        fi
    done
}

run_plain() {
    variant plain "-O3" "$MODULES"
    variant debug "-O1 -DTSM_DEBUG" "pool hmap wheel idle"
    variant portable "-O2 -DTSM_FUTEX_PORTABLE" "os"
}

run_asan() {
    export ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1
    variant asan "-O1 -DTSM_DEBUG -fsanitize=address,undefined -fno-sanitize-recover=all" \
        "$MODULES"
}

run_tsan() {
    export TSAN_OPTIONS="halt_on_error=1 second_deadlock_stack=1"
    variant tsan "-O1 -DTSM_DEBUG -fsanitize=thread" "$MODULES"
}

run_model() {
    sh tests/model/run.sh "$CC" "$WARN" "$OUT/model" >"$OUT/last" 2>"$OUT/last.err" ||
        head -80 "$OUT/last.err"
    grep -q '^ok' "$OUT/last" || echo "FAIL model.run" >>"$OUT/last"
    cat "$OUT/last" | tee -a "$LOG"
}

run_bench() {
    # shellcheck disable=SC2086
    $CC $BASE -O3 $UNITS tests/c/bench_native.c -o "$OUT/bench" && "$OUT/bench"
}

case "${1:-all}" in
bench) run_bench; exit $? ;;
all) set -- plain asan tsan model ;;
esac
for part in "$@"; do
    case $part in
    plain | asan | tsan | model) "run_$part" ;;
    *) echo "unknown part '$part': plain, asan, tsan, model or bench" >&2; exit 2 ;;
    esac
done

PASSED=$(grep -c '^ok' "$LOG")
FAILED=$(grep -c '^FAIL' "$LOG")
echo "$PASSED passed, $FAILED failed"
[ "$FAILED" -eq 0 ] && [ "$PASSED" -gt 0 ]

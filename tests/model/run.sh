#!/bin/sh
# Build and run the models, then each with a planted bug that must be found.
#   run.sh <compiler> <warnings> <folder for built files>     (from the repository's root)
set -u
CC=$1 WARN=$2 OUT=$3
FLAGS="-std=gnu11 -g -O2 -DTSM_MODEL -DTSM_DEBUG -Iext -Itests/model $WARN"
# The macros' results, and what a planted bug leaves without use.
FLAGS="$FLAGS -Wno-unused-value -Wno-unused-function -Wno-unused-result"
UNITS="ext/queue/tsm_inject.c ext/sched/tsm_idle.c tests/model/explorer.c"
mkdir -p "$OUT"
rc=0

# model_retake takes a few functions of a file that leans on the whole scheduler: the rest of
# it is dropped, and what only the rest needs stays unresolved.
RETAKE="ext/sched/tsm_park.c ext/sched/tsm_burn.c -no-pie -ffunction-sections -Wl,--gc-sections"
RETAKE="$RETAKE -Wl,--unresolved-symbols=ignore-all"

build_and_run() { # <program> <flags> <model>
    units=$UNITS
    [ "$3" = model_retake ] && units="$UNITS $RETAKE"
    # shellcheck disable=SC2086  # word lists on purpose
    $CC $FLAGS $2 $units "tests/model/$3.c" -o "$OUT/$1" && timeout 120 "$OUT/$1" || {
        echo "FAIL $1.run"
        rc=1
    }
}

for model in model_inbox model_runq model_idle model_retake model_bias; do
    build_and_run "$model" "" "$model"
    # Each plant is named in the head of the model that must find it.
    for plant in $(sed -n 's/^ \*   \(PLANT_[A-Z_]*\) .*/\1/p' "tests/model/$model.c"); do
        build_and_run "$model.$plant" "-DPLANTED -D$plant" "$model"
    done
done
exit $rc

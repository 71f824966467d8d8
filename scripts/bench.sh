#!/bin/sh
# Run the comparisons of benchmarks/, with the peers this machine can have.  A peer that cannot be had is
# named and left out; it never fails the run.  Arguments go to `python -m benchmarks`.
set -eu
cd "$(dirname "$0")/.."
venv=${TRANSOM_VENV:-.venv}

if ! command -v erl >/dev/null; then
    if [ "$(id -u)" = 0 ] && [ -z "${TRANSOM_NO_APT:-}" ] && command -v apt-get >/dev/null; then
        echo "bench: installing erlang-base"
        { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends erlang-base; } ||
            echo "bench: erlang-base could not be installed; going on without Erlang"
    else
        echo "bench: no erl on PATH; the comparison with Erlang needs: sudo apt-get install erlang-base"
    fi
fi
if [ -f benchmarks/requirements.txt ]; then
    "$venv/bin/python" -m pip --disable-pip-version-check install -q --prefer-binary -r benchmarks/requirements.txt \
        2> "$venv/bench.log" || echo "bench: some Python peers are missing (see $venv/bench.log)"
fi
exec "$venv/bin/python" -m benchmarks "$@"

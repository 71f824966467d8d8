#!/bin/sh
# Run the Python suite on a CPython with the GIL: TRANSOM_GIL_PYTHON, else a python3.13 or newer on PATH.
# TRANSOM_GIL_PYTHON=build builds one from source, as set-up does for the free-threaded one.
# Where there is none, say so and succeed: this is an extra check, not part of `make test`.
set -eu
cd "$(dirname "$0")/.."
venv=.venv-gil

usable() {
    "$1" -c 'import ensurepip, ssl, sys, sysconfig, venv
sys.exit(sys.version_info < (3, 13) or bool(sysconfig.get_config_var("Py_GIL_DISABLED")))' >/dev/null 2>&1
}

python=
if [ "${TRANSOM_GIL_PYTHON:-}" = build ]; then
    python=$(sh scripts/build-python.sh gil)
elif [ -n "${TRANSOM_GIL_PYTHON:-}" ]; then
    usable "$TRANSOM_GIL_PYTHON" || { echo "gil-test: TRANSOM_GIL_PYTHON is no CPython 3.13 or newer with a GIL" >&2; exit 1; }
    python=$TRANSOM_GIL_PYTHON
else
    for name in python3.13 python3.14 python3.15 python3; do
        if command -v $name >/dev/null && usable $name; then
            python=$name
            break
        fi
    done
fi
if [ -z "$python" ]; then
    echo "gil-test: SKIPPED, no CPython 3.13 with a GIL here (TRANSOM_GIL_PYTHON=build makes one)"
    exit 0
fi

echo "gil-test: using $("$python" -VV)"
"$python" -m venv --clear $venv
$venv/bin/python -m pip --disable-pip-version-check install -q --only-binary :all: -r scripts/requirements-dev.txt
rm -rf build/lib.* build/bdist.*
$venv/bin/python -m pip --disable-pip-version-check install -q --no-build-isolation --no-deps .
# The warning that the GIL is on would stand in the output of every program the tests start.
PYTHONWARNINGS="ignore:the GIL is on:RuntimeWarning" exec $venv/bin/python -m pytest "$@"

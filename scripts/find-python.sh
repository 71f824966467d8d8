#!/bin/sh
# Print the path of a free-threaded CPython, 3.13 or newer; build one if the machine has none.
# Order: TRANSOM_PYTHON, PATH, uv, the source build of build-python.sh.  Messages go to standard error.
set -eu
here=$(cd "$(dirname "$0")" && pwd)

# Usable: free-threaded, new enough, able to make a venv with pip, and with the headers an extension needs
# (a distribution may ship those separately).
usable() {
    "$1" - <<'PY' >/dev/null 2>&1
import ensurepip, os, ssl, sys, sysconfig, venv
header = os.path.join(sysconfig.get_path("include"), "Python.h")
ok = sys.version_info >= (3, 13) and sysconfig.get_config_var("Py_GIL_DISABLED") and os.path.exists(header)
sys.exit(0 if ok else 1)
PY
}

if [ -n "${TRANSOM_PYTHON:-}" ]; then
    if usable "$TRANSOM_PYTHON"; then
        command -v "$TRANSOM_PYTHON"
        exit 0
    fi
    echo "find-python: TRANSOM_PYTHON=$TRANSOM_PYTHON is no usable free-threaded CPython 3.13 or newer" \
        "(it needs Python.h, ssl, venv and ensurepip)." >&2
    exit 1
fi

# 3.13 first: it is the version that transom is tested on.
for name in python3.13t python3.13-nogil python3.14t python3.15t; do
    if path=$(command -v "$name") && usable "$path"; then
        echo "$path"
        exit 0
    fi
done

if command -v uv >/dev/null; then
    # A machine that cannot reach uv's downloads falls through to the source build.
    timeout 120 uv python install 3.13t >&2 || echo "find-python: uv has no 3.13t to offer; going on" >&2
    if path=$(uv python find 3.13t 2>/dev/null) && usable "$path"; then
        echo "$path"
        exit 0
    fi
fi

exec sh "$here/build-python.sh"

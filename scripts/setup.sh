#!/bin/sh
# Make .venv (or TRANSOM_VENV): a free-threaded CPython (found or built) with the tools that build, check and
# test transom.
# Safe to run any number of times: a finished environment costs a few milliseconds.
# The package itself is built and installed by `make build`.
set -eu
cd "$(dirname "$0")/.."

venv=${TRANSOM_VENV:-.venv}
requirements=scripts/requirements-dev.txt
optional=scripts/requirements-optional.txt
stamp=$venv/.transom-tools

# What the environment was made from: it is made anew when the interpreter it was asked for changes, and
# filled again when a list of tools changes.
wanted="python=${TRANSOM_PYTHON:-any} $(cat "$requirements" "$optional" scripts/requirements-test.txt | cksum)"
if [ -x $venv/bin/python ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && $venv/bin/python -c ''; then
    exit 0
fi

sh scripts/check-tools.sh compile
python=$(sh scripts/find-python.sh)
echo "setup: using $python ($("$python" -VV))"

# --clear only where the old one is broken or belongs to another interpreter: it keeps what was installed.
clear=
$venv/bin/python -c "import sys; sys.exit(sys.base_prefix != '$("$python" -c 'import sys; print(sys.base_prefix)')')" 2>/dev/null ||
    clear=--clear
"$python" -m venv $clear $venv

pip="$venv/bin/python -m pip --disable-pip-version-check"
# Wheels only: what has none for this interpreter is often Rust, and pip would try to compile it.
$pip install -q --only-binary :all: -r "$requirements"

# Wanted, never required: one at a time, so that the failure of one costs nothing but that one.
# The build logs of a failure go to a file; a compiler's output helps nobody here.
sed -e 's/#.*//' -e '/^[[:space:]]*$/d' "$optional" | while read -r package; do
    echo "setup: installing $package (optional)"
    # shellcheck disable=SC2086  # a line may carry options
    if ! timeout 900 $pip install -q $package > $venv/optional.log 2>&1; then
        echo "setup: $package could not be installed; going on without it (see $venv/optional.log)"
    fi
done
echo "$wanted" > "$stamp"

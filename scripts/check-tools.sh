#!/bin/sh
# Check that what a set-up needs from the system is there, and name the Debian package of what is not.
# Usage: check-tools.sh GROUP...   with the groups
#   compile   a C compiler for the extension
#   python    what building CPython takes beyond that
# As root on a Debian machine the missing packages are installed (TRANSOM_NO_APT=1 forbids that);
# everybody else gets one message with the command to run.
set -eu

missing=""
need() { missing="$missing $1"; }

has_header() {
    echo "#include <$1>" | cc -E -x c - >/dev/null 2>&1
}

compiler_works() {
    command -v cc >/dev/null && has_header stdio.h
}

check() {
    missing=""
    for group in "$@"; do
        case $group in
        compile)
            compiler_works || need gcc
            has_header stdio.h || need libc6-dev
            ;;
        python)
            compiler_works || need gcc
            has_header stdio.h || need libc6-dev
            command -v make >/dev/null || need make
            command -v xz >/dev/null || need xz-utils
            command -v flock >/dev/null || need util-linux
            command -v pkg-config >/dev/null || need pkgconf
            [ -e /etc/ssl/certs/ca-certificates.crt ] || need ca-certificates
            # configure finds these by header; without them ssl, zlib or ctypes would silently be absent.
            has_header openssl/ssl.h || need libssl-dev
            has_header zlib.h || need zlib1g-dev
            has_header ffi.h || need libffi-dev
            has_header bzlib.h || need libbz2-dev
            has_header lzma.h || need liblzma-dev
            has_header sqlite3.h || need libsqlite3-dev
            has_header readline/readline.h || need libreadline-dev
            has_header uuid/uuid.h || need uuid-dev
            ;;
        *)
            echo "check-tools: unknown group $group" >&2
            exit 2
            ;;
        esac
    done
}

check "$@"
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ] && [ -z "${TRANSOM_NO_APT:-}" ] && command -v apt-get >/dev/null; then
    echo "check-tools: installing$missing"
    # shellcheck disable=SC2086
    if { DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing ||
         { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing; }; }; then
        check "$@"
        [ -n "$missing" ] || exit 0
    fi
fi
echo "check-tools: build tools are missing.  On Debian or Ubuntu they come with:" >&2
echo "    sudo apt-get install$missing" >&2
exit 1

#!/bin/sh
# Build a release, free-threaded CPython 3.13 from Debian's source package into the user's cache, once,
# and print the path of its interpreter on standard output (everything else goes to standard error).
# With a version first, such as `3.14`: that one; `make next-test` uses it.
# With the argument `gil`: one with the GIL instead, for `make gil-test`.
# With the argument `pgo`: optimised with a profile and at link time, as distributors do (a quarter of an
# hour), to see what that gains: TRANSOM_PYTHON=$(sh scripts/build-python.sh pgo) make bench
#
# Why from Debian's source: every Debian machine already has a working, authenticated way to it (its own
# apt configuration), so neither a host name nor a checksum has to be kept here.  Only the upstream
# tarball is used, not Debian's patches.  The system's own apt lists and sources are never touched.
set -eu

cache=${XDG_CACHE_HOME:-$HOME/.cache}/transom
here=$(cd "$(dirname "$0")" && pwd)
series=3.13
case ${1:-} in
3.13) shift ;;
3.[0-9]*) series=$1 cache=$cache/$1; shift ;;
esac
package=python$series
suites="forky trixie" # apt takes the newest version that any of them has
[ "$series" = 3.13 ] || suites="sid $suites"
case ${1:-} in
'') kind=t options=--disable-gil ;;
gil) kind=  options=--enable-gil ;;
pgo) kind=t options="--disable-gil --enable-optimizations --with-lto" cache=$cache/pgo ;;
*) echo "usage: build-python.sh [3.13 | 3.14 | ...] [gil | pgo]" >&2; exit 2 ;;
esac

say() { echo "build-python: $*" >&2; }
die() { say "$*"; exit 1; }

# The newest finished build, if there is one.  .complete is written last, so half a build never counts.
finished() {
    for stamp in $(ls -d "$cache"/python-"$series".*[0-9]$kind/.complete 2>/dev/null | sort -rV); do
        echo "${stamp%/.complete}/bin/$package$kind"
        return 0
    done
    return 1
}

# Addresses of the Debian archives this machine is configured for, one a line, security archives last
# (they carry only what has been updated).
archives() {
    apt-get indextargets --format '$(REPO_URI) $(ORIGIN)' 'Created-By: Packages' |
        awk '$2 == "" || $2 == "Debian" { print $1 }' | sort -u |
        awk '/security/ { late = late $0 "\n"; next } { print } END { printf "%s", late }'
}

# Download the source into $1.  Own lists, cache and sources: the private configuration below.
download() {
    apt=$1/apt
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
    for archive in $(archives); do
        for suite in $suites; do
            # Not every archive has every suite; ask for one at a time so that one 404 spoils nothing.
            echo "deb-src $archive $suite main" > "$apt/one.list"
            if private_apt "$apt" "$apt/one.list" update >&2; then
                cat "$apt/one.list" >> "$apt/sources.list"
            fi
        done
        [ ! -s "$apt/sources.list" ] || break
    done
    [ -s "$apt/sources.list" ] ||
        die "no Debian archive in the apt configuration offers the source of $suites." \
            "Install a free-threaded CPython $series by other means and set TRANSOM_PYTHON to its interpreter."
    # Once more with all of them: an update drops the lists of sources it was not given.
    private_apt "$apt" "$apt/sources.list" update >&2
    (cd "$1" && private_apt "$apt" "$apt/sources.list" source --download-only "$package" >&2)
}

private_apt() {
    apt_dir=$1 list=$2
    shift 2
    # Sandbox::User: the private folder belongs to the caller, apt's own _apt user may not enter it.
    # Check-Valid-Until: a mirror that lags has signed, but expired lists; they still name a newer source
    # than falling back to the older suite would.
    apt-get -q -o Dir::State::lists="$apt_dir/lists" -o Dir::Cache="$apt_dir/cache" \
        -o Dir::Etc::sourcelist="$list" -o Dir::Etc::sourceparts=- \
        -o APT::Get::List-Cleanup=0 -o APT::Sandbox::User= -o Acquire::Check-Valid-Until=false \
        -o APT::Update::Error-Mode=any \
        -o Acquire::Languages=none "$@"
}

build() {
    src=$1 prefix=$2 log=$1/build.log
    say "building $(basename "$prefix") with $(getconf _NPROCESSORS_ONLN) jobs (two to five minutes; log: $log)"
    if ! (
        cd "$src"
        # OPT states what CPython would choose itself, whatever CFLAGS the caller's shell exports.
        # shellcheck disable=SC2086  # several options
        env -u CFLAGS -u CPPFLAGS -u LDFLAGS -u PYTHONHOME -u PYTHONPATH -u MAKEFLAGS -u MFLAGS \
            ./configure --prefix="$prefix" $options --with-ensurepip=install --disable-test-modules \
            OPT="-DNDEBUG -g -fwrapv -O3 -Wall"
        env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u PYTHONHOME -u PYTHONPATH \
            make -j"$(getconf _NPROCESSORS_ONLN)"
        env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u PYTHONHOME -u PYTHONPATH make install
    ) > "$log" 2>&1; then
        tail -n 25 "$log" >&2
        cp "$log" "$cache/build-python.log"
        die "the build failed; the whole log is $cache/build-python.log"
    fi
}

if finished; then exit 0; fi

command -v apt-get >/dev/null ||
    die "this is no Debian machine (no apt-get), so CPython cannot be built here." \
        "Install a free-threaded CPython $series and set TRANSOM_PYTHON to its interpreter."
sh "$here/check-tools.sh" python >&2

mkdir -p "$cache"
exec 9> "$cache/lock"     # two set-ups at once: the second waits and then finds the first one's build
flock 9
if finished; then exit 0; fi

work=$(mktemp -d "$cache/build.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
say "fetching the source of $package"
download "$work"
tarball=$(ls "$work/$package"_*.orig.tar.* | grep -v '\.asc$')
version=$(basename "$tarball" | sed -e "s/^${package}_//" -e 's/\.orig\.tar\..*$//')
mkdir "$work/src"
tar -xf "$tarball" -C "$work/src" --strip-components=1
rm -rf "$cache/python-$version$kind"     # the remains of an interrupted install, if any
build "$work/src" "$cache/python-$version$kind"
# configure leaves a module out, without an error, when its library cannot be used.
"$cache/python-$version$kind/bin/$package$kind" -c 'import bz2, ctypes, lzma, sqlite3, ssl, zlib' >&2 ||
    die "the interpreter lacks modules that set-up and tests need (see above)"
touch "$cache/python-$version$kind/.complete"
finished

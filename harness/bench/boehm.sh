#!/bin/sh
# Builds the Boehm collector from Debian's source package as a preloadable malloc, twice: with `free` honoured, and with `free` ignored (only the collector
# reclaims: the experiment of 2019). Prints the two libraries' paths.
#
#   harness/bench/boehm.sh            CC=cc
#
# Needs dpkg-dev, make and a C compiler; fetches the package `libgc` through apt with lists of its own, so the machine's sources stay as they are.
# SUITE (bookworm) and MIRROR say which one.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$root/harness/.work/boehm
SUITE=${SUITE:-bookworm}
MIRROR=${MIRROR:-http://deb.debian.org/debian}
for tool in apt-get dpkg-source make "${CC:-cc}"; do
    command -v "$tool" >/dev/null || { echo "needed: $tool (Debian: dpkg-dev make gcc)" >&2; exit 2; }
done
mkdir -p "$work/lists/partial"
if [ ! -d "$work/source" ]; then
    echo "deb-src $MIRROR $SUITE main" >"$work/sources.list"
    apt() {
        (cd "$work" && apt-get -qq -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=/dev/null \
            -o Dir::State::lists="$work/lists" -o APT::Sandbox::User=root "$@") >&2
    }
    apt update
    apt source libgc
    mv "$work"/libgc-*/ "$work/source"
fi
for free in honoured ignored; do
    library=$work/libgc-free-$free.so
    if [ ! -f "$library" ]; then
        flags=-O2
        [ $free = honoured ] || flags="$flags -DIGNORE_FREE"
        mkdir -p "$work/$free"
        # With --enable-static it hides no symbol: else malloc and free would be the library's own and nobody's else.
        (cd "$work/$free" && ../source/configure --quiet --enable-redirect-malloc --enable-threads=posix --enable-large-config \
            --enable-shared --enable-static --with-libatomic-ops=none CFLAGS="$flags" && make -s libgc.la) >"$work/$free.log" 2>&1 ||
            { echo "the build failed: $work/$free.log" >&2; exit 2; }
        cp -L "$work/$free/.libs/libgc.so" "$library.new"
        for name in malloc calloc realloc free pthread_create; do
            nm -D --defined-only "$library.new" | grep -q " T $name\$" || { echo "$library does not export $name" >&2; exit 2; }
        done
        mv "$library.new" "$library"
    fi
    echo "$library"
done

#!/bin/sh
# Builds mimalloc 2 and 3 as preloadable libraries, from the sources that the crate libmimalloc-sys carries. Prints them as native.sh's PEERS:
#
#   PEERS="$(harness/bench/mimalloc.sh)" harness/bench/native.sh            CC=cc  VERSION=0.1.49 (of the crate)
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
VERSION=${VERSION:-0.1.49}
work=$root/harness/.work/mimalloc-$VERSION
for tool in cargo "${CC:-cc}"; do
    command -v "$tool" >/dev/null || { echo "needed: $tool" >&2; exit 2; }
done
if [ ! -d "$work/sources" ]; then
    # A package of its own, so that cargo fetches the crate and nothing of ours depends on it.
    mkdir -p "$work/fetch/src"
    : >"$work/fetch/src/lib.rs"
    printf '[package]\nname = "fetch"\nversion = "0.0.0"\nedition = "2021"\n[workspace]\n[dependencies]\nlibmimalloc-sys = "=%s"\n' "$VERSION" >"$work/fetch/Cargo.toml"
    cargo vendor --quiet --manifest-path "$work/fetch/Cargo.toml" "$work/sources.new" >/dev/null
    mv "$work/sources.new" "$work/sources"
fi
for major in 2 3; do
    library=$work/libmimalloc$major.so
    source=$work/sources/libmimalloc-sys/c_src/mimalloc/v$major
    if [ ! -f "$library" ]; then
        "${CC:-cc}" -O3 -DNDEBUG -DMI_MALLOC_OVERRIDE -DMI_SHARED_LIB -DMI_SHARED_LIB_EXPORT -fPIC -shared -fvisibility=hidden -ftls-model=initial-exec \
            -fno-builtin-malloc -Wno-unknown-pragmas -pthread -I"$source/include" "$source/src/static.c" -o "$library" >&2
    fi
    printf 'mimalloc%s=%s ' "$major" "$library"
done
echo

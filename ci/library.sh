#!/usr/bin/env bash
# Is the library what a preload must be: the whole malloc family exported without version nodes, nothing needed but the C library, no
# static thread-local storage to speak of?
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --release --lib --quiet
library=${CARGO_TARGET_DIR:-target}/release/libgcshim.so
fail() { echo "library: $1" >&2; exit 1; }
exported=$(nm -D --defined-only "$library" | awk '{print $3}')
for name in malloc free calloc realloc reallocarray memalign aligned_alloc posix_memalign valloc pvalloc malloc_usable_size free_sized \
    free_aligned_sized cfree malloc_trim mallinfo2 gcshim_audit; do
    grep -qx "$name" <<<"$exported" || fail "$name is not exported (a version node would show as $name@@...)"
done
[ "$(readelf -d "$library" | grep -c NEEDED)" = 1 ] || fail "it needs more than the C library"
tls=$(readelf -lW "$library" | awk '$1 == "TLS" {print $6}')
tls=$((${tls:-0}))
[ "$tls" -le 256 ] || fail "$tls bytes of static thread-local storage; a library loaded late could not have them"
echo "library: ok ($(wc -w <<<"$exported") symbols exported, $tls bytes of thread-local storage)"

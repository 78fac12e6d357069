#!/usr/bin/env bash
# aarch64: the shim cross-compiled, and the harness's heap programs run with it under qemu-user. Root installs what is missing; with --if-here, where
# that cannot be had, it says so and is content.
set -euo pipefail
cd "$(dirname "$0")/.."
target=aarch64-unknown-linux-gnu
sysroot=$(rustc --print sysroot)
absent() {
    if [ "$mode" = --if-here ]; then echo "aarch64: not here, left out: needs $1"; exit 0; fi
    echo "aarch64: needs $1"
    exit 1
}
mode=${1:-}
[ -d "$sysroot/lib/rustlib/$target" ] || rustup target add "$target" >/dev/null 2>&1 || absent "rustup target add $target"
for pair in aarch64-linux-gnu-gcc:gcc-aarch64-linux-gnu qemu-aarch64-static:qemu-user-static; do
    command -v "${pair%%:*}" >/dev/null && continue
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${pair#*:}" libc6-dev-arm64-cross >/dev/null 2>&1 || true
    fi
    command -v "${pair%%:*}" >/dev/null || absent "${pair#*:}"
done
CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc cargo build --release --lib --quiet --target $target
library=$PWD/${CARGO_TARGET_DIR:-target}/$target/release/libgcshim.so
out=${CARGO_TARGET_DIR:-target}/$target/programs
mkdir -p "$out"
ran=0 wrong=0
check() { # expected status, expected output (a pattern), program, argument...
    local expected=$1 pattern=$2 said got=0
    shift 2
    aarch64-linux-gnu-gcc -std=gnu11 -O2 -w -fno-builtin -pthread "harness/programs/$1.c" -o "$out/$1"
    said=$(timeout 300 qemu-aarch64-static -L /usr/aarch64-linux-gnu -E LD_PRELOAD="$library" "$out/$1" "${@:2}" 2>&1) || got=$?
    ran=$((ran + 1))
    # qemu itself says that it was ended by a signal.
    if [ "$got" != "$expected" ] || ! grep -qE "$pattern" <<<"$said"; then
        wrong=$((wrong + 1))
        printf '%s: status %s, not %s\n%s\n' "$*" "$got" "$expected" "$(head -20 <<<"$said")"
    fi
}
check 0 '^$' heap_semantics
check 0 '^[0-9]+$' heap_threads 500
check 0 '^$' heap_fork 10
check 0 '^$' heap_foreign
check 0 '^[0-9]+ [0-9]+$' heap_peak
for misuse in double-free double-free-later double-free-remote double-free-by-another; do check 134 'gcshim: double free of 0x' heap_misuse $misuse; done
for misuse in interior interior-unaligned interior-remote; do check 134 'gcshim: free of an interior pointer' heap_misuse $misuse; done
check 0 '^$' heap_scribble
check 5 '^nulls 0$' faults_memory heap
# qemu-user stands between the program and the kernel: the audit's clone and its signals are not what they are on a machine, so audits are not run here.
echo "aarch64: $ran runs under qemu-user, $wrong wrong"
[ "$wrong" = 0 ]

#!/usr/bin/env bash
# libFuzzer on the heap for SECONDS_TO_RUN (default 300): by cargo-fuzz where it is installed, else built here with the compiler's own coverage pass.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${SECONDS_TO_RUN:-300}
mkdir -p fuzz/corpus/heap
arguments=(-max_total_time="$seconds" -max_len=8192 -len_control=0 -rss_limit_mb=4096)
if cargo fuzz --version >/dev/null 2>&1 && cargo +nightly --version >/dev/null 2>&1; then
    exec cargo +nightly fuzz run --sanitizer none heap -- "${arguments[@]}"
fi
RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
-Cllvm-args=-sanitizer-coverage-pc-table -Ccodegen-units=1" cargo build --release --quiet --manifest-path fuzz/Cargo.toml \
    --target-dir "${CARGO_TARGET_DIR:-target}/fuzz" --target "$(rustc -vV | sed -n 's/^host: //p')" --bin heap
exec "${CARGO_TARGET_DIR:-target}/fuzz/$(rustc -vV | sed -n 's/^host: //p')/release/heap" "${arguments[@]}" fuzz/corpus/heap

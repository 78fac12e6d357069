#!/usr/bin/env bash
# Every order of the operations by which slabs change hands, others free meanwhile, and locks are taken (loom/).
set -euo pipefail
cd "$(dirname "$0")/.."
LOOM_MAX_PREEMPTIONS=${LOOM_MAX_PREEMPTIONS:-3} RUSTFLAGS="--cfg loom" cargo test --release --quiet --manifest-path loom/Cargo.toml --target-dir "${CARGO_TARGET_DIR:-target}/loom"

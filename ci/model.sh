#!/usr/bin/env bash
# The heap against plain models, for as long as wanted. STEPS for each of the five threads of the unit tests' model (default 20 million; its threads
# pass blocks around), a hundredth of it for the model whose threads take turns (fuzz/). A failed round of the latter is shortened and kept in
# fuzz/regressions, which are played first.
set -euo pipefail
cd "$(dirname "$0")/.."
steps=${STEPS:-20000000}
RUSTFLAGS="--cfg fuzzing" cargo build --release --quiet --manifest-path fuzz/Cargo.toml --target-dir "${CARGO_TARGET_DIR:-target}/model" \
    --no-default-features --bin heap_random
driver=${CARGO_TARGET_DIR:-target}/model/release/heap_random
mkdir -p fuzz/regressions
find fuzz/regressions -name 'round-*' -print0 | xargs -0 -r "$driver" --play
REGRESSIONS=fuzz/regressions "$driver" $((steps / 100)) "${SEED:-1}"
GCSHIM_MODEL_STEPS=$steps cargo test --release --lib -- model_test

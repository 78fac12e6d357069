#!/usr/bin/env bash
# All gates and all tests; installs or names what they need. The long matrices have scripts of their own (README.md, "Proof").
set -euo pipefail
cd "$(dirname "$0")/.."
ci/prepare.sh --tests
ci/format.sh
ci/lint.sh
ci/library.sh
ci/loom.sh
ci/aarch64.sh --if-here
cargo build --release --bins
cargo test --release --no-fail-fast

#!/usr/bin/env bash
# Does clippy have nothing to say, and has every unsafe block its reason? (Skipped with a word where clippy is not installed.)
set -euo pipefail
cd "$(dirname "$0")/.."
if cargo clippy --version >/dev/null 2>&1; then
    cargo clippy --release --lib --bins -- -D warnings -D clippy::undocumented_unsafe_blocks
    # Of tests what the compiler itself has to say.
    cargo clippy --release --tests -- -D warnings -A clippy::all
else
    echo "lint: clippy is not installed, skipped"
fi

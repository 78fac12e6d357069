#!/usr/bin/env bash
# Is everything formatted? (Skipped with a word where rustfmt is not installed.)
set -euo pipefail
cd "$(dirname "$0")/.."
if cargo fmt --version >/dev/null 2>&1; then cargo fmt --check; else echo "format: rustfmt is not installed, skipped"; fi

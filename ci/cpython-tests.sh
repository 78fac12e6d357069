#!/usr/bin/env bash
# Gate: CPython's own tests have the same outcomes, and show nothing unexplained. Arguments are passed on (--help).
set -euo pipefail
cd "$(dirname "$0")/.."
[ -n "${GCSHIM_LIB:-}" ] || cargo build --release --lib --quiet
exec python3 harness/corpora/cpython_tests.py "$@"

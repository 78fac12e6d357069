#!/usr/bin/env bash
# Gate: imports of the whole standard library show nothing unexplained. Arguments are passed on (--help).
set -euo pipefail
cd "$(dirname "$0")/.."
[ -n "${GCSHIM_LIB:-}" ] || cargo build --release --lib --quiet
exec python3 harness/corpora/stdlib_imports.py "$@"

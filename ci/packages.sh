#!/usr/bin/env bash
# Gate: popular packages show their own known bugs and nothing else. Arguments are passed on (--help).
set -euo pipefail
cd "$(dirname "$0")/.."
[ -n "${GCSHIM_LIB:-}" ] || cargo build --release --lib --quiet
exec python3 harness/corpora/packages.py "$@"

#!/usr/bin/env bash
# Gate: released bugs are found in the versions that have them, and only there. Arguments are passed on (--help).
set -euo pipefail
cd "$(dirname "$0")/.."
[ -n "${GCSHIM_LIB:-}" ] || cargo build --release --lib --quiet
exec python3 harness/corpora/real_bugs.py "$@"

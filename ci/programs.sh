#!/usr/bin/env bash
# Gate: real programs end the same with the shim loaded; installs them as root. Arguments are passed on (--help): --mode, --scale, names.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -n "${GCSHIM_LIB:-}" ] || cargo build --release --lib --quiet
exec python3 harness/corpora/real_programs.py --install "$@"

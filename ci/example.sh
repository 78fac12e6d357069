#!/usr/bin/env bash
# The main job on an example: builds the shim and a C extension with a reference leak, runs a program that uses it, shows the report.
set -euo pipefail
cd "$(dirname "$0")/.."
ci/prepare.sh
cargo build --release --quiet
target=${CARGO_TARGET_DIR:-target}
out=$target/example
mkdir -p "$out"
include=$(python3 -c 'import sysconfig; print(sysconfig.get_paths()["include"])')
suffix=$(python3 -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')
gcc -g -shared -fPIC -I"$include" -o "$out/leaky$suffix" harness/example/leaky.c
status=0
PYTHONPATH=$out "$target/release/gcshim" run -- python3 harness/example/app.py || status=$?
echo "gcshim run: exit status $status (23: a failing verdict was found)"
[ "$status" = 23 ]

#!/bin/sh
# The native benchmark: each program under each allocator in turn, medians, ratios to glibc and to mimalloc. Peers that are not
# installed are left out and named (Debian: libmimalloc2.0 libjemalloc2 libtcmalloc-minimal4).
#
#   harness/bench/native.sh [program...]        RUNS=5  SHIM=path/to/libgcshim.so  PEERS="name=library ..."  TIME=wall|cpu
#
# TIME=cpu counts processor time instead: for machines that do other things meanwhile.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
SHIM=${SHIM:-$root/target/release/libgcshim.so}
[ -f "$SHIM" ] || { echo "no $SHIM: cargo build --release" >&2; exit 2; }
build=$root/harness/.work/native
mkdir -p "$build"
for source in "$here"/native/*.c; do
    program=$build/$(basename "$source" .c)
    [ "$program" -nt "$source" ] || "${CC:-cc}" -std=gnu11 -O2 -pthread -fno-builtin -Wall -Wextra "$source" -o "$program"
done
"${CC:-cc}" -std=gnu11 -O2 -Wall -Wextra "$here/measure.c" -o "$build/../measure"
exec python3 - "$build" "$SHIM" "$@" <<'PYTHON'
import glob, math, os, statistics, subprocess, sys

build, shim, *wanted = sys.argv[1:]
runs = int(os.environ.get("RUNS", "5"))
peers = {"glibc": "", "gcshim": shim}
if "PEERS" in os.environ:
    peers.update(p.split("=", 1) for p in os.environ["PEERS"].split())
else:
    for name in ("mimalloc", "jemalloc", "tcmalloc_minimal"):
        found = sorted(glob.glob(f"/usr/lib/*/lib{name}.so.?") + glob.glob(f"/usr/local/lib/lib{name}.so*"))
        if found:
            peers[name.split("_")[0]] = found[0]
        else:
            print(f"{name} is not installed: left out", file=sys.stderr)


def once(program, library):
    """Seconds, and the most memory it occupied, in KiB."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("LD_", "GCSHIM_"))}
    output = subprocess.run([f"{build}/../measure", library, program], env=environment, stdout=subprocess.PIPE, check=True).stdout
    status, wall, cpu, kib = output.split()
    if status != b"0":
        sys.exit(f"{program} under {library or 'glibc'}: status {status.decode()}")
    return float(cpu if os.environ.get("TIME") == "cpu" else wall), int(kib)


programs = wanted or sorted(f for f in os.listdir(build) if os.access(f"{build}/{f}", os.X_OK))
print(f"{'':12}" + "".join(f"{n:>20}" for n in peers) + "    (seconds, ratio to glibc, MiB)")
ratios = {n: [] for n in peers}
for program in programs:
    results = {n: [] for n in peers}
    for _ in range(runs):
        for name, library in peers.items():
            results[name].append(once(f"{build}/{program}", library))
    middle = {n: [statistics.median(c) for c in zip(*r)] for n, r in results.items()}
    line = f"{program:12}"
    for name, (seconds, kib) in middle.items():
        ratio = seconds / middle["glibc"][0]
        ratios[name].append((ratio, kib / middle["glibc"][1]))
        line += f"{seconds:9.3f}{ratio:6.2f}{kib / 1024:5.0f}"
    print(line, flush=True)
line = f"{'geometric':12}"
for name, pairs in ratios.items():
    time_ratio, memory_ratio = (math.exp(statistics.fmean(math.log(p[i]) for p in pairs)) for i in (0, 1))
    line += f"{'':9}{time_ratio:6.2f}{memory_ratio:5.2f}"
print(line)
PYTHON

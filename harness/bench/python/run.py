#!/usr/bin/env python3
"""Costs, as ratios in one run: the alloc-heavy script under each allocator in turn, and audits of large heaps.

    harness/bench/python/run.py [--python PYTHON] [--library LIB] [--runs 5] [--rounds 20] [--millions 0.1,1,6]

Peers are used where they are found: mimalloc, jemalloc, tcmalloc (Debian: libmimalloc2.0, libjemalloc2, libtcmalloc-minimal4).
Prints tables: medians over the runs, taken in turn, and the ratio to the first row.
"""
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

import measuring  # noqa: E402


def run(command, **environment):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("GCSHIM_", "PYTHON", "LD_PRELOAD"))}
    env.update({k: v for k, v in environment.items() if v})
    start = time.perf_counter()
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{command} failed with {process.returncode}")
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def table(title, rows, runs):
    """rows: (name, function -> (wall, cpu, MiB)); run in turn, so that a change of the machine's speed meets all alike."""
    results = {name: [] for name, _ in rows}
    for _ in range(runs + 1):
        for name, measure in rows:
            results[name].append(measure())
    print(f"\n{title}\n\n| run | wall s | cpu s | ratio (cpu) | peak MiB | ratio |\n|---|---|---|---|---|---|")
    first = None
    for name, _ in rows:
        wall, cpu, mib = (statistics.median(column) for column in zip(*results[name][1:]))
        first = first or (cpu, mib)
        print(f"| {name} | {wall:.3f} | {cpu:.3f} | {cpu / first[0]:.2f} | {mib:.0f} | {mib / first[1]:.2f} |", flush=True)


def script(options):
    command = [options.python, os.path.join(HERE, "alloc_heavy.py"), str(options.rounds)]
    lib = options.library
    rows = [("glibc malloc (PYTHONMALLOC=malloc)", lambda: run(command, PYTHONMALLOC="malloc"))]
    rows.append(("pymalloc (stock)", lambda: run(command)))
    for name, path in measuring.installed_peers():
        rows.append((f"{name} (PYTHONMALLOC=malloc)", lambda p=path: run(command, PYTHONMALLOC="malloc", LD_PRELOAD=p)))
    rows.append(("gcshim, no audit", lambda: run(command, LD_PRELOAD=lib, GCSHIM_AUDIT="never")))
    rows.append(("gcshim, audit at exit", lambda: run(command, LD_PRELOAD=lib)))
    table(f"The alloc-heavy script, {options.rounds} rounds", rows, options.runs)


def startup(options):
    command = [options.python, "-c", "pass"]
    rows = [
        ("stock", lambda: run(command)),
        ("gcshim, no audit", lambda: run(command, LD_PRELOAD=options.library, GCSHIM_AUDIT="never")),
        ("gcshim, audit at exit", lambda: run(command, LD_PRELOAD=options.library)),
    ]
    table("Start and exit of an empty interpreter", rows, options.runs * 2)


def histogram(options):
    """The cost of histograms at several rates: the alloc-heavy script, and two programs whose work is their own."""
    programs = [
        ("the alloc-heavy script", [options.python, os.path.join(HERE, "alloc_heavy.py"), str(options.rounds)]),
        ("json.tool-like loop", [options.python, "-c", JSON]),
        ("sqlite3", [options.python, "-c", SQLITE]),
    ]
    lib = options.library
    for title, command in programs:
        rows = [("gcshim, no histograms", lambda c=command: run(c, LD_PRELOAD=lib, GCSHIM_AUDIT="never"))]
        for rate in ("524288", "16384", "1024", "0"):
            settings = {"GCSHIM_HISTOGRAM": os.devnull, "GCSHIM_HISTOGRAM_RATE": rate, "GCSHIM_AUDIT": "never"}
            name = "every block" if rate == "0" else f"one byte in {int(rate):,}"
            rows.append((name, lambda c=command, s=settings: run(c, LD_PRELOAD=lib, **s)))
        table(f"Histograms: {title}", rows, options.runs)


JSON = """
import json
data = {"rows": [{"id": i, "name": "name %d" % i, "tags": ["a", "b", str(i)], "score": i / 7} for i in range(4000)]}
for _ in range(12):
    data = json.loads(json.dumps(data, indent=2, sort_keys=True))
"""

SQLITE = """
import sqlite3
db = sqlite3.connect(":memory:")
db.execute("create table t (id integer primary key, name text, score real)")
for part in range(10):
    db.executemany("insert into t (name, score) values (?, ?)", [("name %d" % i, i / 7) for i in range(8000)])
    db.execute("create index i%d on t (name, score)" % part)
    rows = db.execute("select name, sum(score), count(*) from t group by name order by 2 desc").fetchall()
"""


def audits(options):
    print("\nAudits of a large heap (medians of 3 in one process)\n")
    print("| blocks | words | audit ms | pause ms | peak MiB of the program |\n|---|---|---|---|---|")
    for millions in options.millions.split(","):
        with tempfile.TemporaryDirectory() as folder:
            report = os.path.join(folder, "report")
            command = [options.python, os.path.join(HERE, "big_heap.py"), millions]
            _, _, mib = run(command, LD_PRELOAD=options.library, GCSHIM_REPORT=report, GCSHIM_AUDIT="never")
            records = [json.loads(line) for line in open(report)]
            found = [r for r in records if r["kind"] == "audit"]
            middle = lambda key: statistics.median(r[key] for r in found)
            print(f"| {middle('blocks'):,.0f} | {middle('words'):,.0f} | {middle('total_ms'):.0f} "
                  f"| {middle('pause_us') / 1000:.2f} | {mib:.0f} |", flush=True)


def main():
    parser = measuring.parser(__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--millions", default="0.1,1,6")
    parser.add_argument("--only", choices=["script", "startup", "audits", "histogram"])
    options = measuring.options_of(parser)
    print(subprocess.check_output([options.python, "-VV"], text=True).strip())
    for name, part in (("script", script), ("startup", startup), ("audits", audits), ("histogram", histogram)):
        if options.only in (None, name):
            part(options)


main()

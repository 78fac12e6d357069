#!/usr/bin/env python3
"""How the cost of an audit grows with the heap: a table, and a plot as SVG. Times are those of the audit's leading thread on its processor.

    harness/bench/python/growth.py [--python PYTHON] [--library LIB] [--blocks 1e4,1e5,1e6,6e6,1e7,1e8] [--audits 3] [--svg docs/audit-growth.svg]

Each size is audited on one processor, then on two. 1e8 blocks want 8 GB.
"""
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

import measuring  # noqa: E402


def audit(options, blocks, processors):
    with tempfile.TemporaryDirectory() as folder:
        report = os.path.join(folder, "report")
        env = {k: v for k, v in os.environ.items() if not k.startswith(("GCSHIM_", "PYTHON", "LD_PRELOAD"))}
        env.update(LD_PRELOAD=options.library, GCSHIM_REPORT=report, GCSHIM_AUDIT="never", GCSHIM_PLAIN="0", GCSHIM_DEADLINE="600")
        allowed = sorted(os.sched_getaffinity(0))[:processors]
        command = [options.python, os.path.join(HERE, "big_heap.py"), str(blocks / 1e6), str(options.audits)]
        subprocess.run(command, env=env, check=True, preexec_fn=lambda: os.sched_setaffinity(0, allowed))
        records = [json.loads(line) for line in open(report)]
    audits = [r for r in records if r["kind"] == "audit"]
    middle = lambda value: statistics.median(value(r) for r in audits)
    return {
        "blocks": middle(lambda r: r["blocks"]),
        "pause": middle(lambda r: r["pause_us"] / 1000),
        "mark": middle(lambda r: r["phases_us"]["mark"] / 1000),
        "all": middle(lambda r: sum(r["phases_us"].values()) / 1000),
    }


def plot(rows, path):
    """Both axes logarithmic."""
    width, height, left, bottom, top, right = 640, 400, 70, 50, 30, 130
    lines = [
        ("all, one processor", "#1b6ca8", lambda one, two: one["all"]),
        ("all, two", "#7fb2d9", lambda one, two: two["all"]),
        ("mark, one processor", "#b0413e", lambda one, two: one["mark"]),
        ("mark, two", "#dd9a98", lambda one, two: two["mark"]),
        ("pause", "#4d4d4d", lambda one, two: one["pause"]),
    ]
    values = [max(get(*row), 0.01) for row in rows for _, _, get in lines]
    xs = [math.log10(row[0]["blocks"]) for row in rows]
    x_low, x_high = math.floor(min(xs)), math.ceil(max(xs) - 0.05)
    y_low, y_high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    x_of = lambda v: left + (math.log10(v) - x_low) / (x_high - x_low) * (width - left - right)
    y_of = lambda v: height - bottom - (math.log10(max(v, 0.01)) - y_low) / (y_high - y_low) * (height - bottom - top)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
           f'<rect width="{width}" height="{height}" fill="white"/>']
    for power in range(x_low, x_high + 1):
        x = x_of(10.0 ** power)
        out.append(f'<line x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{height - bottom}" stroke="#ddd"/>'
                   f'<text x="{x:.1f}" y="{height - bottom + 18}" text-anchor="middle">10<tspan dy="-5" font-size="9">{power}</tspan></text>')
    for power in range(y_low, y_high + 1):
        y, value = y_of(10.0 ** power), 10.0 ** power
        out.append(f'<line x1="{left}" y1="{y:.1f}" x2="{width - right}" y2="{y:.1f}" stroke="#ddd"/>'
                   f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g} ms</text>')
    ends = []
    for name, colour, get in lines:
        points = " ".join(f'{x_of(one["blocks"]):.1f},{y_of(get(one, two)):.1f}' for one, two in rows)
        out.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        ends.append([y_of(get(*rows[-1])), name, colour])
    # Labels that would overlap are moved apart.
    ends.sort()
    for before, after in zip(ends, ends[1:]):
        after[0] = max(after[0], before[0] + 14)
    x = x_of(rows[-1][0]["blocks"]) + 6
    out += [f'<text x="{x:.1f}" y="{y + 4:.1f}" fill="{colour}">{name}</text>' for y, name, colour in ends]
    out.append(f'<text x="{(left + width - right) / 2}" y="{height - 12}" text-anchor="middle">blocks</text></svg>')
    with open(path, "w") as file:
        file.write("\n".join(out) + "\n")


def main():
    parser = measuring.parser(__doc__)
    parser.add_argument("--blocks", default="1e4,1e5,1e6,6e6,1e7,1e8")
    parser.add_argument("--audits", type=int, default=3)
    parser.add_argument("--svg")
    options = measuring.options_of(parser)
    print("| blocks | mark, ms | with two processors | all, ms | with two | ns a block | pause, ms |\n|---|---|---|---|---|---|---|")
    rows = []
    for size in options.blocks.split(","):
        one, two = audit(options, float(size), 1), audit(options, float(size), 2)
        rows.append((one, two))
        print(f'| {one["blocks"]:,.0f} | {one["mark"]:.1f} | {two["mark"]:.1f} | {one["all"]:.0f} | {two["all"]:.0f} '
              f'| {one["all"] * 1e6 / one["blocks"]:.0f} | {one["pause"]:.1f} |', flush=True)
    if options.svg:
        plot(rows, options.svg)


main()

#!/usr/bin/env python3
"""The modes that reclaim, against glibc's malloc and against the Boehm collector, with `free` honoured and with `free` ignored.

    harness/bench/collectors.py [--python PYTHON] [--library LIB] [--runs 5] [--only script,pyperformance,build,suite,native,programs,pauses] [--columns NAME,...] [--programs NAME,...]

Every row is one program under each column in turn, `--runs` times; the cells are ratios of medians to glibc's, CPU seconds (all processes and threads,
snapshots too) and peak resident memory. `fails`: the program crashed or did not come to an end under that column.

pyperformance (from the package index) goes into harness/.work/envs, the Boehm collector is built by harness/bench/boehm.sh. `build` builds a C extension with setup.py,
everything preloaded, compiler and linker too. `programs` are the real programs of programs.py.
"""
import glob
import json
import os
import shutil
import subprocess
import sys
import tempfile

import measuring
from measuring import HERE, ROOT, WORK, Column, Table, in_turn
from programs import installed_programs

# Script, its arguments, loops: each about half a second.
PYPERFORMANCE = [
    ("chaos", [], 3), ("comprehensions", [], 15000), ("deepcopy", [], 1000), ("deltablue", [], 100), ("float", [], 4), ("generators", [], 2),
    ("go", [], 2), ("hexiom", [], 40), ("json_dumps", [], 40), ("logging", ["format"], 30000), ("nqueens", [], 3), ("pyflate", [], 1),
    ("raytrace", [], 1), ("regex_compile", [], 1), ("richards", [], 6), ("sqlite_synth", [], 100000),
]
SUITE = "test_argparse test_datetime test_email test_itertools test_json test_pickle test_re".split()
SETUP = """
from setuptools import Extension, setup
setup(name="measured", version="1", ext_modules=[Extension("leaky", ["leaky.c"]), Extension("uaf_borrowed", ["uaf_borrowed.c"])])
"""
SOURCES = ["harness/example/leaky.c", "harness/extensions/uaf_borrowed.c"]


def boehm():
    """The two libraries, or None with a word why."""
    built = subprocess.run([os.path.join(HERE, "boehm.sh")], stdout=subprocess.PIPE, text=True)
    if built.returncode:
        print("the Boehm collector could not be built: left out", file=sys.stderr)
        return []
    return built.stdout.split()


def shim_columns(library):
    return [Column(f"gcshim {mode}", library, GCSHIM_MODE=mode, GCSHIM_AUDIT="never") for mode in ("audit", "collect", "quarantine")]


def native_columns(options):
    return [Column("glibc"), *shim_columns(options.library),
            *(Column(name, path) for name, path in zip(("Boehm", "Boehm ignoring free"), options.boehm))]


def python_columns(options):
    """pymalloc would hide the peers from the objects, so it is out of their way; the shim sees to that itself."""
    plain = {"PYTHONMALLOC": "malloc"}
    return [Column("glibc", **plain), Column("pymalloc"), *shim_columns(options.library),
            *(Column(name, path, **plain) for name, path in zip(("Boehm", "Boehm ignoring free"), options.boehm))]


def chosen(options, columns):
    return [c for c in columns if options.columns is None or c.name in options.columns or c.name == "glibc"]


def rows(title, columns, options, programs):
    """programs: (name, command, folder)."""
    table = Table(f"{title}, {options.runs} runs", columns)
    for name, command, folder in programs:
        if options.programs and name not in options.programs:
            continue
        table.add(name, in_turn(command, columns, options.runs, folder))
    table.end()


def script(options):
    command = [options.python, os.path.join(HERE, "python", "alloc_heavy.py"), "6"]
    rows("Alloc-heavy script", chosen(options, python_columns(options)), options, [("alloc_heavy", command, None)])


def pyperformance(options):
    version = subprocess.check_output([options.python, "-c", "import platform; print(platform.python_version())"], text=True).strip()
    environment = os.path.join(WORK, "envs", f"py{version}-pyperformance")
    python = os.path.join(environment, "bin", "python")
    if not os.path.exists(os.path.join(environment, "complete")):
        subprocess.run([options.python, "-m", "venv", environment], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "pyperformance==1.14.0"], check=True)
        open(os.path.join(environment, "complete"), "w").close()
    found = glob.glob(os.path.join(environment, "lib/python3*/site-packages/pyperformance/data-files/benchmarks"))[0]
    # `--worker`: the measured code runs in this process and not in one that has another environment.
    commands = [
        (name, [python, os.path.join(found, f"bm_{name}", "run_benchmark.py"), "--worker", f"-l{loops}", "-w0", "-n1", *arguments], None)
        for name, arguments, loops in PYPERFORMANCE
    ]
    rows("pyperformance, scripts run directly", chosen(options, python_columns(options)), options, commands)


def build(options):
    with tempfile.TemporaryDirectory() as folder:
        for source in SOURCES:
            shutil.copy(os.path.join(ROOT, source), folder)
        with open(os.path.join(folder, "setup.py"), "w") as file:
            file.write(SETUP)
        command = [options.python, "setup.py", "-q", "build", "--force"]
        rows("Building a C extension with setup.py", chosen(options, python_columns(options)), options, [("setup.py", command, folder)])


def suite(options):
    """Modules of CPython's own tests that compute more than they wait: some seconds of each kind of thing."""
    runner = os.path.join(ROOT, "harness", "corpora", "unittest_outcomes.py")
    with tempfile.TemporaryDirectory() as folder:
        commands = [(module, [options.python, runner, "outcomes.json", "test." + module], folder) for module in SUITE]
        rows("CPython's own tests", chosen(options, python_columns(options)), options, commands)


def native_programs():
    """(name, command) of the programs under `native`, built if need be."""
    folder = os.path.join(WORK, "native")
    os.makedirs(folder, exist_ok=True)
    for source in sorted(glob.glob(os.path.join(HERE, "native", "*.c"))):
        name = os.path.splitext(os.path.basename(source))[0]
        target = os.path.join(folder, name)
        if not os.path.exists(target) or os.path.getmtime(target) < os.path.getmtime(source):
            flags = ["-std=gnu11", "-O2", "-pthread", "-fno-builtin", "-Wall", "-Wextra"]
            subprocess.run([os.environ.get("CC", "cc"), *flags, source, "-o", target], check=True)
        yield name, [target]


def native(options):
    rows("Native programs", chosen(options, native_columns(options)), options, [(*program, None) for program in native_programs()])


def programs(options):
    """Real programs, each with all processes that it starts; Debian's redis-server has jemalloc in the place of glibc's malloc where nothing is preloaded."""
    with tempfile.TemporaryDirectory() as folder:
        rows("Real programs", chosen(options, native_columns(options)), options, installed_programs(folder, options.programs))


def pauses(options):
    """How long programs stood still for collections, from their own records, one run each."""
    commands = [("alloc-heavy script", [options.python, os.path.join(HERE, "python", "alloc_heavy.py"), "20"]), *native_programs()]
    print("\nPauses\n\n| program | mode | sweeps | full collections | median, ms | mean, ms | worst, ms |\n|---|---|---|---|---|---|---|")
    for name, command in commands:
        if options.programs and name not in options.programs:
            continue
        for column in shim_columns(options.library)[1:]:
            with tempfile.TemporaryDirectory() as folder:
                report = os.path.join(folder, "report")
                column.variables["GCSHIM_REPORT"] = report
                if column.once(command) is None:
                    sys.exit(f"{name} failed with {column.name}")
                records = [json.loads(line) for line in open(report)] if os.path.exists(report) else []
            for r in records:
                if r["kind"] == "collections":
                    mean = r["pause_us"] / (r["sweeps"] + r["full"])
                    times = " | ".join(f"{us / 1000:.2f}" for us in (r["pause_us_median"], mean, r["pause_us_max"]))
                    print(f"| {name} | {column.name} | {r['sweeps']} | {r['full']} | {times} |", flush=True)


PARTS = {"script": script, "pyperformance": pyperformance, "build": build, "suite": suite, "native": native, "programs": programs, "pauses": pauses}


def main():
    parser = measuring.parser(__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--columns", type=lambda text: text.split(","))
    parser.add_argument("--programs", type=lambda text: text.split(","), help="only these rows")
    options = measuring.options_of(parser)
    options.boehm = boehm()
    print(subprocess.check_output([options.python, "-VV"], text=True).strip())
    for name in options.only.split(","):
        PARTS[name](options)


if __name__ == "__main__":
    main()

"""What the benchmarks share: arguments, a command measured from outside, columns in turn, medians, ratios to the first column, a table."""
import argparse
import glob
import math
import os
import signal
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
WORK = os.path.join(os.path.dirname(HERE), ".work")
ROOT = os.path.dirname(os.path.dirname(HERE))
# A command that takes longer is given up: with some peers some programs do not come to an end.
TIMEOUT_S = 600


def parser(description):
    """A parser with --python and --library; see `options_of`."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    target = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
    made.add_argument("--python", default=os.path.realpath(sys.executable))
    made.add_argument("--library", default=os.path.join(target, "release", "libgcshim.so"))
    return made


def options_of(parser):
    """The command line's options; the library's path is absolute, and there is one."""
    options = parser.parse_args()
    options.library = os.path.abspath(options.library)
    if not os.path.exists(options.library):
        sys.exit(f"{options.library} is not there: cargo build --release --lib")
    return options


def installed_peers():
    """(name, library) of the other allocators that the system has (Debian: libmimalloc2.0, libjemalloc2, libtcmalloc-minimal4); those it has not are named on stderr."""
    folders = ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib", "/usr/local/lib")
    for name, pattern in (("mimalloc", "libmimalloc.so*"), ("jemalloc", "libjemalloc.so*"), ("tcmalloc", "libtcmalloc_minimal.so*")):
        found = [path for folder in folders for path in sorted(glob.glob(os.path.join(folder, pattern)))]
        if found:
            yield name, found[0]
        else:
            print(f"{name} is not installed: left out", file=sys.stderr)


def measure_program():
    """Builds `measure.c`, which is small itself: a peak of memory counts from that of whoever starts the program."""
    os.makedirs(WORK, exist_ok=True)
    target = os.path.join(WORK, "measure")
    source = os.path.join(HERE, "measure.c")
    if not os.path.exists(target) or os.path.getmtime(target) < os.path.getmtime(source):
        compiler = os.environ.get("CC", "cc")
        subprocess.run([compiler, "-std=gnu11", "-O2", "-Wall", "-Wextra", source, "-o", f"{target}.{os.getpid()}"], check=True)
        os.replace(f"{target}.{os.getpid()}", target)
    return target


class Column:
    """One way to run a command: a library to preload (or none) and variables."""

    def __init__(self, name, library="", **variables):
        self.name, self.library, self.variables = name, library, variables

    def once(self, command, folder=None):
        """(wall s, cpu s, peak KiB) of one run and all processes it waited for; None if it failed."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("GCSHIM_", "PYTHON", "LD_", "GC_"))}
        environment.update(self.variables)
        process = subprocess.Popen(
            [measure_program(), self.library, *command], env=environment, cwd=folder, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            output, _ = process.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return None
        # The program's own output comes first.
        words = output.split(b"\n")[-2].split() if output.endswith(b"\n") else []
        if len(words) != 4 or words[0] != b"0":
            return None
        return float(words[1]), float(words[2]), int(words[3])


def in_turn(command, columns, runs, folder=None, before=None):
    """Per column the medians of (wall, cpu, KiB), or None if a run failed. In turn, so that a change of the machine's speed meets all alike."""
    results = {column.name: [] for column in columns}
    for _ in range(runs):
        for column in columns:
            if results[column.name] is None:
                continue
            if before:
                before()
            one = column.once(command, folder)
            if one is None:
                results[column.name] = None
            else:
                results[column.name].append(one)
    return {name: rows and [statistics.median(part) for part in zip(*rows)] for name, rows in results.items()}


class Table:
    """Ratios to the first column, printed line by line as they come, and their geometric means."""

    def __init__(self, title, columns):
        self.columns = columns
        self.ratios = {column.name: [] for column in columns}
        names = " | ".join(column.name for column in columns)
        print(f"\n{title}: CPU seconds / peak memory, ratios to {columns[0].name}\n\n| program | {names} |")
        print("|---" * (len(columns) + 1) + "|", flush=True)

    def add(self, name, middle):
        first = middle[self.columns[0].name]
        if first is None:
            sys.exit(f"{name} fails with {self.columns[0].name}")
        cells = [f"{first[1]:.2f} s, {first[2] / 1024:.0f} MiB"]
        self.ratios[self.columns[0].name].append((1.0, 1.0))
        for column in self.columns[1:]:
            own = middle[column.name]
            if own is None:
                cells.append("fails")
                continue
            pair = own[1] / first[1], own[2] / first[2]
            self.ratios[column.name].append(pair)
            cells.append(f"{pair[0]:.2f} / {pair[1]:.2f}")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)

    def end(self):
        """A column in which something failed has the mean of the rest, and says of how many."""
        cells = []
        most = len(self.ratios[self.columns[0].name])
        for column in self.columns:
            pairs = self.ratios[column.name]
            if not pairs:
                cells.append("")
                continue
            time, memory = (math.exp(statistics.fmean(math.log(pair[i]) for pair in pairs)) for i in (0, 1))
            cells.append(f"{time:.2f} / {memory:.2f}" + (f" (of {len(pairs)})" if len(pairs) < most else ""))
        print(f"| geometric mean | {' | '.join(cells)} |", flush=True)

#!/usr/bin/env python3
"""CPython's own tests with and without the shim: the same outcomes, and no finding that is not explained.

    python3 cpython_tests.py [--python VERSION ...] [--files test_list ...] [--quick | --core | --areas | --all] [--mode MODE] [--repeat N] [--plain] [-j 2]
                             [--shim libgcshim.so]

Every module of FILES runs twice on every interpreter: plain (kept per interpreter in the work folder, and used again) and under the shim (kept per
build of the library, so that an interrupted run goes on where it was). Compared are the outcomes of every test, and the records of every
process that the tests started. A differing outcome counts if it differs again when both sides are run once more: some tests depend on time.

    --plain    runs and keeps the plain side alone, and prints what it took
    --quick    a dozen fast modules on the oldest and the newest interpreter
    --core     the modules on containers, I/O, asyncio, threads, processes, foreign functions, pickling, weak references and the collector
    --mode     collect, quarantine or off in the place of audit: what `free` and the collector do must not be seen
    --repeat   so many runs under the shim, each compared with the plain one; a process that a signal ends, or that does not end, fails each time
    --areas    the modules on weak references, threads, asyncio and multiprocessing: where reclaiming too early or from a wrong thread shows
    --all      every module that the interpreter has, as `python -m test` lists them
    --again    forgets what is kept for the chosen modules
"""
import argparse
import concurrent.futures
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import environments
import explained as explanations
import interpreters
import shim

RUNNER = os.path.join(environments.HERE, "unittest_outcomes.py")

# A module has other names in other versions: a|b is the first of them that there is.
FILES = """
    test_list test_dict test_set test_tuple test_deque test_collections test_heapq test_bisect test_array test_bytes test_memoryview
    test_ordered_dict test_defaultdict test_userdict test_userlist test_dictviews test_structseq test_slice test_range test_enumerate
    test_iter test_itertools test_generators test_coroutines test_asyncgen test_contextlib test_context
    test_functools test_operator test_copy test_weakref test_weakset test_gc test_finalization test_descr test_super test_types
    test_exceptions test_baseexception test_traceback test_frame test_scope test_funcattrs test_builtin test_str|test_unicode test_format test_float
    test_long test_int test_complex test_decimal test_fractions test_random test_hash test_struct test_datetime test_time test_enum test_dataclasses
    test_io test_file test_fileio test_bufio test_memoryio test_mmap test_tempfile test_select test_selectors test_poll test_epoll test_pty
    test_socket test_ssl test_subprocess test_fork1 test_posix test_os test_signal test_threadsignals
    test_zlib test_gzip test_bz2 test_lzma test_zipfile test_tarfile test_binascii test_base64 test_hashlib test_hmac
    test_json test_pickle test_picklebuffer test_pickletools test_marshal test_copyreg test_shelve test_plistlib test_csv test_configparser
    test_re test_codecs test_codeccallbacks test_multibytecodec test_unicodedata test_string test_textwrap test_fstring
    test_pyexpat test_sax test_minidom test_xml_etree test_xml_etree_c
    test_sqlite3|test_sqlite test_ctypes test_capi test_buffer test_call test_dbm_dumb
    test_thread test_threading test_threading_local test_queue test_sched test_concurrent_futures test_multiprocessing_main_handling
    test_multiprocessing_fork.test_misc test_multiprocessing_spawn.test_misc test_multiprocessing_fork|test_multiprocessing_spawn
    test_asyncio.test_base_events test_asyncio.test_tasks test_asyncio.test_futures test_asyncio.test_queues test_asyncio.test_locks
    test_asyncio.test_streams test_asyncio.test_events test_asyncio.test_subprocess test_asyncio.test_timeouts test_asyncio.test_taskgroups
    test_importlib test_import test_runpy test_pkgutil test_zipimport test_inspect test_ast test_compile test_dis test_code test_symtable
    test_sys test_sysconfig test_cmd_line test_atexit test_faulthandler test_tracemalloc test_audit test_embed
    test_urllib test_httplib test_httpservers test_ftplib test_email test_mailbox test_logging test_typing test_unittest test_abc test_isinstance
    test_readline test_sys_settrace test_sys_setprofile test_bdb test_zoneinfo test_statistics test_math test_cmath test_uuid
    test_ipaddress test_difflib test_shutil test_pathlib test_glob test_fcntl test_termios test_resource test_interpreters test__interpreters
    test__interpchannels|test__xxinterpchannels test_class test_nntplib test_pdb test_perf_profiler test_xxtestfuzz
""".split()

# Fast, and one for each kind of thing that has gone wrong: containers, weak references, collector, threads, foreign functions, extension modules.
QUICK = """
    test_list test_dict test_weakref test_gc test_json test_re test_itertools test_generators test_ctypes test_sqlite3|test_sqlite
    test_threading_local test_asyncio.test_queues
""".split()

# What a change of the object model can touch.
CORE = """
    test_list test_dict test_set test_tuple test_deque test_collections test_heapq test_bisect test_array test_bytes test_memoryview
    test_ordered_dict test_defaultdict test_userdict test_userlist test_dictviews test_structseq test_slice test_range test_enumerate
    test_iter test_itertools test_generators test_coroutines test_asyncgen test_contextlib test_context test_functools test_operator
    test_copy test_weakref test_weakset test_gc test_finalization test_descr test_types test_exceptions test_traceback test_frame
    test_builtin test_struct test_datetime test_io test_file test_fileio test_bufio test_memoryio test_mmap test_tempfile test_select
    test_selectors test_ssl test_zlib test_gzip test_bz2 test_lzma test_zipfile test_json test_pickle test_picklebuffer test_pickletools
    test_marshal test_re test_pyexpat test_xml_etree test_xml_etree_c test_sqlite3|test_sqlite test_ctypes test_buffer test_call
    test_thread test_threading test_threading_local test_queue test_multiprocessing_main_handling
    test_multiprocessing_fork|test_multiprocessing_spawn test_asyncio.test_base_events test_asyncio.test_tasks test_asyncio.test_futures
    test_asyncio.test_queues test_asyncio.test_locks test_asyncio.test_streams test_asyncio.test_events test_asyncio.test_subprocess
    test_asyncio.test_timeouts test_asyncio.test_taskgroups
""".split()

# Where the modes have most to break.
AREAS = """
    test_weakref test_weakset test_finalization test_gc test_thread test_threading test_threading_local test_threadsignals test_queue
    test_asyncio.test_base_events test_asyncio.test_tasks test_asyncio.test_futures test_asyncio.test_queues test_asyncio.test_locks
    test_asyncio.test_streams test_asyncio.test_events test_asyncio.test_subprocess test_asyncio.test_timeouts test_asyncio.test_taskgroups
    test_asyncio.test_selector_events test_asyncio.test_unix_events test_asyncio.test_runners test_asyncio.test_transports
    test_asyncio.test_sslproto test_asyncio.test_threads test_asyncio.test_waitfor test_asyncio.test_buffered_proto
    test_multiprocessing_main_handling test_multiprocessing_fork test_concurrent_futures test_multiprocessing_spawn
""".split()


# Packages of modules that take long each: run one by one. (SPLITTESTDIRS of CPython 3.13's Lib/test/libregrtest/findtests.py, the larger ones.)
SPLIT = ("test_asyncio", "test_concurrent_futures", "test_multiprocessing_fork", "test_multiprocessing_forkserver", "test_multiprocessing_spawn")

# Tests that do not end without the shim either: module, versions (None: all), pattern. Sockets between virtual machines, in one of these; and on 3.11 what makes or
# destroys interpreters in a thread.
ENDLESS = [
    ("test.test_socket", None, "*VSOCK*"),
    ("test.test__xxsubinterpreters", "3.11", "*thread*"),
    ("test.test_interpreters", "3.11", "*thread*"),
    # gh-125451, mended in 3.13.1: on 3.13.0, without the shim, it did not end in 4 of 300 runs.
    ("test.test_concurrent_futures", "3.13", "*Forkserver*.test_shutdown_deadlock_pickle"),
    ("test.test_concurrent_futures.test_deadlock", "3.13", "*Forkserver*.test_shutdown_deadlock_pickle"),
]


class Settings:
    """What a run is made of: the options, the library (None for --plain), where results are kept."""

    def __init__(self, options):
        self.work = os.path.join(options.work, "cpython")
        self.lib = None if options.plain else shim.library(options.shim)
        self.build = self.lib and shim.digest(self.lib)
        self.again, self.jobs, self.timeout_s = options.again, options.jobs, options.timeout
        self.mode, self.repeat = options.mode, options.repeat
        self.results = os.path.join(self.work, "shim-%s" % self.build + ("" if self.mode == "audit" else "-" + self.mode))


def test_path(interpreter, settings):
    """PYTHONPATH for the test suite: empty where the interpreter has it.

    Debian ships it apart. Its package is unpacked into the work folder, not installed: that would replace the interpreter by a newer one.
    """
    probe = "import importlib.util as u, sys; sys.exit(not u.find_spec('test.test_list'))"
    if subprocess.run([interpreter.exe, "-I", "-c", probe], stderr=subprocess.DEVNULL).returncode == 0:
        return ""
    folder = os.path.join(settings.work, "libpython%s-testsuite" % interpreter.minor)
    lib = os.path.join(folder, "usr", "lib", "python" + interpreter.minor)
    if not os.path.exists(os.path.join(lib, "test", "test_list.py")):
        os.makedirs(folder, exist_ok=True)
        subprocess.run(["apt-get", "download", "-q", "libpython%s-testsuite" % interpreter.minor], cwd=folder, check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for deb in glob.glob(os.path.join(folder, "*.deb")):
            subprocess.run(["dpkg", "-x", deb, folder], check=True)
        # the package has the tests alone; the rest of `test` is the interpreter's
        own = os.path.join(interpreter.prefix, "lib", "python" + interpreter.minor, "test")
        for name in os.listdir(own):
            target = os.path.join(lib, "test", name)
            if not os.path.exists(target):
                (shutil.copytree if os.path.isdir(os.path.join(own, name)) else shutil.copy2)(os.path.join(own, name), target)
    return lib


def folder_of(interpreter, path):
    """The folder of the interpreter's package `test`."""
    return os.path.join(path or os.path.join(interpreter.prefix, "lib", "python" + interpreter.minor), "test")


def every_module(interpreter, path):
    """Names of all test modules of an interpreter, in order."""
    folder = folder_of(interpreter, path)
    names = []
    for name in sorted({os.path.splitext(n)[0] for n in os.listdir(folder) if n.startswith("test_")}):
        inside = os.path.join(folder, name)
        parts = sorted(n[:-3] for n in os.listdir(inside) if re.fullmatch(r"test_.*\.py", n)) if name in SPLIT and os.path.isdir(inside) else []
        names += ["%s.%s" % (name, part) for part in parts] or [name]
    return names


def module_of(interpreter, names, path):
    """The first of the module names a|b that the interpreter's test suite has, or None."""
    folder = folder_of(interpreter, path)
    for name in names.split("|"):
        at = os.path.join(folder, *name.split("."))
        if os.path.exists(at + ".py") or os.path.exists(os.path.join(at, "__init__.py")):
            return "test." + name
    return None


def run(interpreter, module, path, settings, shimmed, nth=0):
    """Runs one module, for the `nth` time, and returns its result: status, seconds, outcomes, details, processes (under the shim)."""
    folder = settings.results if shimmed else os.path.join(settings.work, "plain")
    kept = os.path.join(folder, key(interpreter), module + ("-%d" % nth if nth else "") + ".json")
    if os.path.exists(kept) and not settings.again:
        with open(kept) as f:
            return json.load(f)
    result = execute(interpreter, module, path, settings, shimmed)
    os.makedirs(os.path.dirname(kept), exist_ok=True)
    with open(kept + ".new", "w") as f:
        json.dump(result, f)
    os.replace(kept + ".new", kept)
    return result


def key(interpreter):
    return "%s%s" % (interpreter.version, re.sub(r"[^A-Za-z0-9.]+", "-", interpreter.exe))


def execute(interpreter, module, path, settings, shimmed):
    # A short path: the tests make sockets in it, whose names have 107 bytes.
    folder = tempfile.mkdtemp(prefix="t")
    out, log, reports = os.path.join(folder, "out.json"), os.path.join(folder, "log"), os.path.join(folder, "reports")
    more = {"PYTHONPATH": path} if path else {}
    if shimmed and settings.mode != "audit":
        more["GCSHIM_MODE"] = settings.mode
    env = shim.environment(settings.lib, reports, **more) if shimmed else environments.plain(**more)
    endless = ["-" + pattern for name, minor, pattern in ENDLESS if name == module and minor in (None, interpreter.minor)]
    os.mkdir(os.path.join(folder, "cwd"))
    began = time.monotonic()
    try:
        with open(log, "wb") as f:
            child = subprocess.Popen([interpreter.exe, RUNNER, out, module, *endless], cwd=os.path.join(folder, "cwd"), env=env, stdin=subprocess.DEVNULL,
                                     stdout=f, stderr=subprocess.STDOUT, start_new_session=True)
            try:
                status = child.wait(settings.timeout_s * (3 if shimmed else 1))
            except subprocess.TimeoutExpired:
                status = "timeout"
            finally:
                # what the tests left running belongs to the session made above, and to nothing else
                try:
                    os.killpg(child.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
                child.wait()
        result = {"status": status, "seconds": round(time.monotonic() - began, 2), "outcomes": {}, "details": {}, "processes": [], "pid": child.pid}
        if os.path.exists(out):
            with open(out) as f:
                result.update(json.load(f))
        with open(log, errors="replace") as f:
            text = f.read()
        result["log"], result["said"] = text[-3000:], [l for l in text.splitlines() if l.startswith("gcshim: ")]
        if shimmed:
            result["processes"] = [p.as_json() for p in shim.read(reports)]
        return result
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def differing(plain, shimmed):
    """What differs: {test id: (plain outcome, outcome under the shim)}; the process's status counts as a test."""
    left, right = dict(plain["outcomes"]), dict(shimmed["outcomes"])
    left["(status)"], right["(status)"] = str(plain["status"]), str(shimmed["status"])
    return {t: (left.get(t, "not run"), right.get(t, "not run")) for t in sorted(set(left) | set(right)) if left.get(t) != right.get(t)}


class Tally:
    """What came of one module on one interpreter, or of many: counts, and what to print."""

    FIELDS = ("modules", "left_out", "runs", "findings", "outcomes", "crashes", "other")

    def __init__(self, **counts):
        self.__dict__.update({f: counts.get(f, 0) for f in self.FIELDS})
        self.lines = []

    def add(self, more):
        for f in self.FIELDS:
            setattr(self, f, getattr(self, f) + getattr(more, f))

    @property
    def bad(self):
        return self.findings + self.outcomes + self.crashes + self.other

    def problem(self, kind, line):
        setattr(self, kind, getattr(self, kind) + 1)
        self.lines.append("  " + line)


def check(interpreter, module, path, settings, known):
    """One module on one interpreter, compared as often as settings say."""
    plain = run(interpreter, module, path, settings, False)
    if plain["status"] != 0:
        left = Tally(left_out=1)
        left.lines.append("%-8s %-38s left out: without the shim its status is %s after %.0f s here" % (
            interpreter.version, module, plain["status"], plain["seconds"]))
        return left
    tally = Tally(modules=1)
    for nth in range(settings.repeat):
        compare(interpreter, module, path, settings, known, plain, nth, tally)
    return tally


def without(findings, entries):
    """Those findings that have no entry."""
    return [f for f, entry in zip(findings, entries) if not entry]


def without_room(finding):
    """The finding as an audit makes it: in collect mode each block has room for one byte more than was asked for, and so may be of the next size class (src/heap/size_class.rs)."""
    block = re.fullmatch(r"block of (\d+) bytes", finding.get("type", ""))
    if not block:
        return finding
    size = int(block[1])
    step = max(16, 1 << max(0, (size - 1).bit_length() - 4))
    return {**finding, "type": "block of %d bytes" % (size - step)}


def compare(interpreter, module, path, settings, known, plain, nth, tally):
    """One run under the shim beside the plain one, into `tally`. Both run once more if they differ, unless a process crashed."""
    shimmed = run(interpreter, module, path, settings, True, nth)
    crashed = shimmed["status"] == "timeout" or shimmed["status"] < 0
    differ = {t: d for t, d in differing(plain, shimmed).items() if not known.outcome(module + ": " + t if t == "(status)" else t, interpreter)}
    if differ and not crashed:
        more = execute(interpreter, module, path, settings, False), execute(interpreter, module, path, settings, True)
        again = differing(*more)
        steady = {t for t in differ if plain["outcomes"].get(t) == more[0]["outcomes"].get(t)}
        differ = {t: d for t, d in differ.items() if t in again and t in steady}
    processes = [shim.Process.from_json(p) for p in shimmed["processes"]]
    where = "cpython/" + module[len("test."):]
    told = len(tally.lines)
    if crashed:
        tally.problem("crashes", "status %s\n%s" % (shimmed["status"], indent(shimmed["log"])))
    else:
        for t, (a, b) in differ.items():
            tally.problem("outcomes", "outcome %s: %s, under the shim %s\n%s" % (t, a, b, indent(shimmed["details"].get(t, ""))))
    left = explanations.unexplained(known, processes, where, interpreter)
    if settings.mode != "audit":
        also = "cpython+%s/%s" % (settings.mode, module[len("test."):])
        left = without(left, known.explain(left, also, interpreter))
    if settings.mode == "collect":
        left = without(left, known.explain([without_room(f) for f in left], where, interpreter))
    for f in left:
        tally.problem("findings", "finding " + shim.line(f))
    own = [p for p in processes if p.pid == str(shimmed["pid"])]
    if settings.mode != "off" and not any(p.audited for p in own):
        tally.problem("other", "the tests' own process was not audited\n" + indent(shimmed["log"]))
    for p in processes:
        for line in p.torn_lines:
            tally.problem("other", "pid %s: unreadable record %s" % (p.pid, line))
    for line in shimmed.get("said", []):
        tally.problem("other", "the shim says: " + line)
    tally.runs += 1
    tally.lines.insert(told, "%-8s %-38s %4d tests %5.1f s plain %6.1f s shim %3d processes, %3d audited, %2d findings%s%s" % (
        interpreter.version, module, len(shimmed["outcomes"]), plain["seconds"], shimmed["seconds"], len(processes),
        sum(p.audited for p in processes), sum(len(p.findings) for p in processes), "  run %d" % (nth + 1) if nth else "",
        "" if len(tally.lines) == told else "  BAD"))


def table(tallies, settings):
    """The rows of the README's table: [(interpreter, Tally)] of each version."""
    rows = ["| CPython | mode | modules | runs | left out | crashes | differing outcomes | unexplained findings |", "|---" * 8 + "|"]
    for version, t in tallies.items():
        rows.append("| %s | %s | %d | %d | %d | %d | %d | %d |" % (
            version, settings.mode, t.modules, t.runs, t.left_out, t.crashes, t.outcomes + t.other, t.findings))
    return rows


def indent(text):
    return "\n".join("      " + l for l in text.strip().splitlines()[-12:])


def plain_line(interpreter, module, path, settings):
    r = run(interpreter, module, path, settings, False)
    counts = {}
    for o in r["outcomes"].values():
        counts[o] = counts.get(o, 0) + 1
    return "%-8s %-40s %6.1f s status %-8s %s" % (interpreter.version, module, r["seconds"], r["status"],
                                               " ".join("%s %d" % kv for kv in sorted(counts.items())))


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--python", action="append", default=[], metavar="VERSION", help="an exact version, a minor or a path; may be repeated")
    ap.add_argument("--files", nargs="+", default=[], metavar="test_x")
    ap.add_argument("--quick", action="store_true")
    ap.add_argument("--core", action="store_true")
    ap.add_argument("--areas", action="store_true")
    ap.add_argument("--all", action="store_true")
    ap.add_argument("--mode", choices=["audit", "collect", "quarantine", "off"], default="audit")
    ap.add_argument("--repeat", type=int, default=1, metavar="N")
    ap.add_argument("--plain", action="store_true")
    ap.add_argument("--again", action="store_true")
    ap.add_argument("-j", "--jobs", type=int, default=2)
    ap.add_argument("--timeout", type=float, default=180, help="seconds for one module, plain; three times that under the shim")
    ap.add_argument("--shim", help="the library (default: $GCSHIM_LIB, else the release build)")
    ap.add_argument("--work", default=environments.WORK)
    options = ap.parse_args()
    # A shell's background job ignores the interrupt, and so would the tests that send it to themselves: they must not depend on how this was started.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    settings = Settings(options)
    chosen = interpreters.choose(options.python)
    if options.quick and not options.python:
        chosen = [chosen[0], chosen[-1]] if len(chosen) > 1 else chosen
    names = options.files or (QUICK if options.quick else CORE if options.core else AREAS if options.areas else FILES)
    known = explanations.Explained()
    todo = []
    for i in chosen:
        path = test_path(i, settings)
        found = [module_of(i, n, path) for n in (every_module(i, path) if options.all else names)]
        todo += [(i, m, path) for m in dict.fromkeys(filter(None, found))]
        if options.files and not all(found):
            sys.exit("%s has no %s" % (i.version, " ".join(n for n, m in zip(names, found) if not m)))
    tallies = {i.version: Tally() for i in chosen}
    bad = 0
    with concurrent.futures.ThreadPoolExecutor(settings.jobs) as pool:
        if options.plain:
            for line in pool.map(lambda t: plain_line(*t, settings), todo):
                print(line, flush=True)
            return
        for (interpreter, _, _), tally in zip(todo, pool.map(lambda t: check(*t, settings, known), todo)):
            print("\n".join(tally.lines), flush=True)
            bad += bool(tally.bad)
            tallies[interpreter.version].add(tally)
    for row in table(tallies, settings):
        print(row)
    tests = sum(t.modules + t.left_out for t in tallies.values())
    stale = [] if names is not FILES or options.mode != "audit" else known.stale("cpython", chosen)
    for e in stale:
        print("stale entry of explained.toml: %s" % e)
    print("%d passed, %d failed" % (tests - bad, bad + len(stale)))
    sys.exit(1 if bad or stale else 0)


if __name__ == "__main__":
    main()

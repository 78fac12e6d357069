#!/usr/bin/env python3
"""Imports the whole standard library under the shim: nothing that it reports may be unexplained.

    python3 stdlib_imports.py [--python VERSION ...] [--shim libgcshim.so] [--plain] [--list]

For every interpreter: once all modules in one process, then in BATCHES processes with every n-th module each (another set of modules is alive, and in
another order). --plain runs without the shim, to see that the imports themselves work; --list prints the modules.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

import environments
import explained as explanations
import interpreters
import shim

BATCHES = 4

# Not imported, each for what its import does.
LEFT_OUT = {
    "antigravity": "opens a web browser",
    "this": "prints a poem",
    "__phello__": "prints; a test of frozen modules",
    "__hello__": "prints on old versions",
    "idlelib": "programs with windows: importing them needs a display or starts one",
    "turtledemo": "programs with windows",
    "test": "the test suite has a corpus of its own (cpython_tests.py)",
    "tests": "likewise, inside packages (unittest.test, sqlite3.test, ctypes.test, distutils.tests, lib2to3.tests, tkinter.test)",
    "_ios_support": "loads an Objective-C runtime where the machine has one; GNU's (libobjc 12) loses two list cells at start, valgrind says so too",
    "site-packages": "not the standard library",
    "pip": "not the standard library",
    "setuptools": "not the standard library",
    "pkg_resources": "not the standard library",
    "_distutils_hack": "not the standard library",
    "__main__": "any package's __main__: running it is its purpose",
}

LISTER = r"""
import json, os, pkgutil, sys, sysconfig
left_out = set(json.loads(sys.argv[1]))
found = set(sys.builtin_module_names)
top = [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")]
top += [os.path.join(p, "lib-dynload") for p in top]
def walk(paths, prefix):
    for m in pkgutil.iter_modules(paths):
        name = prefix + m.name
        if left_out & {name, m.name}:
            continue
        found.add(name)
        if m.ispkg:
            walk([os.path.join(p, m.name) for p in paths], name + ".")
walk(sorted(set(top)), "")
print(json.dumps(sorted(n for n in found if n not in left_out)))
"""

# Modules of another system say so by ImportError; a module that fails otherwise is left too: what it leaves behind is part of the test.
IMPORTER = r"""
import importlib, json, sys, warnings
warnings.simplefilter("ignore")
names, out = json.loads(sys.stdin.read()), sys.argv[1]
failed = {}
for name in names:
    try:
        importlib.import_module(name)
    except BaseException as e:
        failed[name] = "%s: %s" % (type(e).__name__, e)
with open(out, "w") as f:
    json.dump({"imported": len(names) - len(failed), "failed": failed}, f)
"""


def modules(interpreter):
    run = subprocess.run([interpreter.exe, "-I", "-c", LISTER, json.dumps(sorted(LEFT_OUT))], stdout=subprocess.PIPE, check=True,
                         env=environments.plain())
    return json.loads(run.stdout.decode())


def run(interpreter, names, lib):
    """Imports `names` in one process: (what it told, its exit status, the end of its stderr, the processes that reported)."""
    with tempfile.TemporaryDirectory(prefix="imports") as folder:
        out, reports = os.path.join(folder, "out.json"), os.path.join(folder, "reports")
        env = shim.environment(lib, reports) if lib else environments.plain()
        child = subprocess.run([interpreter.exe, "-c", IMPORTER, out], input=json.dumps(names).encode(), stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, env=env, cwd=folder, timeout=600)
        told = {"imported": 0, "failed": {}}
        if os.path.exists(out):
            with open(out) as f:
                told = json.load(f)
        return told, child.returncode, child.stderr.decode(errors="replace")[-2000:], shim.read(reports) if lib else []


def check(interpreter, what, names, lib, known):
    told, status, stderr, processes = run(interpreter, names, lib)
    findings = [f for p in processes for f in p.findings]
    print("%-8s %-12s %4d of %4d imported, status %s, %d findings" % (
        interpreter.version, what, told["imported"], len(names), status, len(findings)), flush=True)
    problems = []
    if status or not told["imported"]:
        problems.append("exit status %s\n%s" % (status, stderr))
    if lib:
        if not any(p.audited for p in processes):
            problems.append("no audit was made\n" + stderr)
        problems += ["unreadable record: " + l for p in processes for l in p.torn_lines]
        findings.sort(key=lambda f: -f.get("references", 0))
        for f, why in zip(findings, known.explain(findings, "stdlib/" + what, interpreter)):
            print("   %s%s" % (shim.line(f), "  (explained: %s)" % why["reason"] if why else ""))
            if f.get("failing") and not why:
                problems.append("unexplained: " + shim.line(f))
        problems += ["required: " + line for line in known.missing(findings, "stdlib/" + what, interpreter)]
        for p in processes:
            for d in p.degraded:
                print("   degraded: %s %s" % (d.get("what"), d.get("count")))
    for p in problems:
        print("   BAD " + p)
    return bool(problems), told["failed"]


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--python", action="append", default=[], metavar="VERSION")
    ap.add_argument("--shim")
    ap.add_argument("--plain", action="store_true")
    ap.add_argument("--list", action="store_true")
    ap.add_argument("--failed", action="store_true", help="also say which modules could not be imported, and why")
    options = ap.parse_args()
    lib = None if options.plain or options.list else shim.library(options.shim)
    known, chosen = explanations.Explained(), interpreters.choose(options.python)
    bad = passed = 0
    for i in chosen:
        names = modules(i)
        if options.list:
            print("\n".join("%s %s" % (i.version, n) for n in names))
            continue
        sets = [("all", names)] + [("batch-%d" % n, names[n::BATCHES]) for n in range(BATCHES)]
        for what, some in sets:
            wrong, failed = check(i, what, some, lib, known)
            bad, passed = bad + wrong, passed + (not wrong)
            if options.failed and what == "all":
                print("\n".join("   not imported: %s: %s" % kv for kv in sorted(failed.items())))
    stale = known.stale("stdlib", chosen) if lib else []
    for e in stale:
        print("stale entry of explained.toml: %s" % e)
    print("%d passed, %d failed" % (passed, bad + len(stale)))
    sys.exit(1 if bad or stale else 0)


if __name__ == "__main__":
    main()

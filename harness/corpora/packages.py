#!/usr/bin/env python3
"""Popular packages under the shim: a correct workload of each shows nothing but the package's own known bugs, and these exactly.

    python3 packages.py [--package numpy ...] [--python VERSION ...] [--cache FOLDER] [--shim libgcshim.so] [-j 2] [--plain | --prepare]

packages/NAME.py is the workload; it leaks nothing of its own. If it prints `told VERDICT TYPE NUMBER`, having counted from the package's own tables,
there must be as many such references, no more and no fewer. Packages and what they need are pinned per Python minor below and installed from wheels alone.
A combination that has no wheels is left out and said so.
"""
import argparse
import concurrent.futures
import os
import subprocess
import sys
import tempfile

import environments
import explained as explanations
import interpreters
import shim

# Releases with wheels, per minor where they differ; the first is the one that the entries of explained.toml name.
PINS = {
    "numpy": {"3.8": [["numpy==1.24.4"]], "3.9": [["numpy==1.26.4"], ["numpy==2.0.2"]], "3.10": [["numpy==1.26.4"], ["numpy==2.0.2"]],
              "3.11": [["numpy==1.26.4"], ["numpy==2.1.3"]], "3.12": [["numpy==1.26.4"], ["numpy==2.1.3"]], "3.13": [["numpy==2.1.3"]]},
    "lxml": {"*": [["lxml==5.3.0"]]},
    "pydantic": {"*": [["pydantic==2.9.2", "annotated-types==0.7.0", "typing-extensions==4.12.2"]]},
    "cryptography": {"*": [["cryptography==43.0.3", "cffi==1.17.1", "pycparser==2.22"]]},
    "pillow": {"3.8": [["pillow==10.4.0"]], "*": [["pillow==11.0.0"]]},
    "sqlalchemy": {"*": [["sqlalchemy==2.0.36", "greenlet==3.1.1", "typing-extensions==4.12.2"]]},
    # multidict is held at a release before its leak of heap types (6.2 to 6.7, a case of real_bugs.py)
    "aiohttp": {"*": [["aiohttp==3.10.11", "multidict==6.1.0", "yarl==1.15.2", "frozenlist==1.5.0", "propcache==0.2.0", "aiosignal==1.3.1",
                       "aiohappyeyeballs==2.4.3", "attrs==24.2.0", "idna==3.10"]]},
    "greenlet": {m: [["greenlet==3.5.6"]] for m in ("3.10", "3.12")},
    "regex": {"3.10": [["regex==2026.9.29"]], "3.12": [["regex==2026.11.15"]]},
    "psutil": {m: [["psutil==7.2.2"]] for m in ("3.10", "3.12")},
    "markupsafe": {m: [["markupsafe==3.0.4"]] for m in ("3.10", "3.12")},
    "wrapt": {m: [["wrapt==2.5.2"]] for m in ("3.10", "3.12")},
    "simplejson": {m: [["simplejson==4.3.0"]] for m in ("3.10", "3.12")},
    "lz4": {m: [["lz4==4.4.5"]] for m in ("3.10", "3.12")},
    "multidict": {"3.10": [["multidict==7.1.0", "typing-extensions==4.12.2"]], "3.12": [["multidict==7.2.1"]]},
}
PINS["numpy_import"] = PINS["numpy"]


def requirements(package, interpreter):
    pins = PINS[package]
    return pins.get(interpreter.minor, pins.get("*", []))


def differing_from_told(said, findings):
    """What a workload counted itself and the findings show otherwise, as lines."""
    lines = []
    for line in said.splitlines():
        if line.startswith("told "):
            verdict, kind, told = line.split()[1:]
            shown = sum(f.get("references") or 0 for f in findings if (f.get("verdict"), f.get("type")) == (verdict, kind))
            if shown != int(told):
                lines.append("%s %s: %d references, and the workload counted %s" % (verdict, kind, shown, told))
    return lines


def check(package, interpreter, pinned, options, lib, known):
    """(lines, bad) of one workload in one environment."""
    where = "packages/%s==%s" % (package, pinned[0].split("==")[1])
    head = "%-8s %-24s " % (interpreter.version, where.split("/")[1])
    try:
        exe = environments.make(interpreter, pinned, options.cache, wheels_only=True)
    except environments.Unavailable as e:
        return [head + "left out: %s" % e], None
    if options.prepare:
        return [head + exe], False
    script = os.path.join(environments.HERE, "packages", package + ".py")
    with tempfile.TemporaryDirectory(prefix="pkg") as folder:
        env = shim.environment(lib, os.path.join(folder, "r")) if lib else environments.plain()
        child = subprocess.run([exe, script], cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               timeout=900)
        said = child.stdout.decode(errors="replace")
        processes = shim.read(os.path.join(folder, "r")) if lib else []
    findings = [f for p in processes for f in p.findings]
    lines, problems = [], []
    if child.returncode:
        problems.append("status %s:\n%s" % (child.returncode, said[-700:]))
    if lib and not any(p.audited for p in processes):
        problems.append("not audited:\n" + said[-1500:])
    findings.sort(key=lambda f: -(f.get("references") or 0))
    for f, why in zip(findings, known.explain(findings, where, interpreter)):
        lines.append("   %s%s" % (shim.line(f), "  (explained: %s)" % why["reason"] if why else ""))
        if f.get("failing") and not why:
            problems.append("unexplained: " + shim.line(f))
    if lib:
        problems += differing_from_told(said, findings)
        problems += ["required: " + line for line in known.missing(findings, where, interpreter)]
        problems += ["unreadable record: " + l for p in processes for l in p.torn_lines]
        lines += ["   degraded: %s %s" % (d.get("what"), d.get("count")) for p in processes for d in p.degraded]
    lines.insert(0, head + "%d findings%s" % (len(findings), "  BAD" if problems else ""))
    return lines + ["   BAD " + p for p in problems], bool(problems)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--package", action="append", default=[], choices=sorted(PINS))
    ap.add_argument("--python", action="append", default=[], metavar="VERSION")
    ap.add_argument("--cache", default=os.path.join(environments.WORK, "envs"))
    ap.add_argument("--shim")
    ap.add_argument("--plain", action="store_true")
    ap.add_argument("--prepare", action="store_true")
    ap.add_argument("-j", "--jobs", type=int, default=2)
    options = ap.parse_args()
    lib = None if options.plain or options.prepare else shim.library(options.shim)
    known, chosen = explanations.Explained(), interpreters.choose(options.python)
    # a package's wheels are of a minor: one interpreter each is enough, the newest
    chosen = [i for i in chosen if i == interpreters.newest(i.minor, chosen)]
    todo = [(p, i, pinned) for p in options.package or PINS for i in chosen for pinned in requirements(p, i)]
    bad = good = left = 0
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for lines, wrong in pool.map(lambda t: check(*t, options, lib, known), todo):
            print("\n".join(lines), flush=True)
            bad, good, left = bad + (wrong is True), good + (wrong is False), left + (wrong is None)
    stale = known.stale("packages", chosen) if lib and not options.package else []
    for e in stale:
        print("stale entry of explained.toml: %s" % e)
    print("%d passed, %d failed, %d skipped" % (good, bad + len(stale), left))
    sys.exit(1 if bad or stale or not good else 0)


if __name__ == "__main__":
    main()

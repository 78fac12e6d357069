#!/usr/bin/env python3
"""Released bugs: each is found in the version that has it, and not in the one that does not.

    python3 real_bugs.py [--cache FOLDER] [--shim libgcshim.so] [-j 2] [--plain | --prepare] [CASE ...]

real_bugs/ID/case.toml names a package (or a module of CPython itself), a version with the bug, one without, the kind of bug, the types that a good
report names and how many are leaked per iteration; `repro.py N` runs the leaky operation N times. The environments are made by pip.

    leaky version, N = 1000    a failing finding of the kind's verdict and of one of the types, 0.8 to 1.25 times as many as were leaked
    fixed version, N = 200 and 1000    no failing finding that grows with N (what an import leaks does not); not run where there is none yet
    clean cases, likewise      no failing finding that grows, none that explained.toml does not know
    kind "held": the version with it is held to the same. Its objects pile up in a living list: reachable, all counted, not lost

--plain runs everything without the shim (do the environments work?), --prepare only makes the environments.
"""
import argparse
import collections
import concurrent.futures
import glob
import os
import subprocess
import sys
import tempfile

import environments
import explained as explanations
import interpreters
import shim
import toml_files

CASES = os.path.join(environments.HERE, "real_bugs")
FEW, MANY = 200, 1000

# Which verdicts tell a kind of bug, and what of a finding is counted.
KINDS = {
    "unreachable-object": (["leaked-object"], "objects"),
    "gc-container": (["leaked-object"], "objects"),
    "excess-ref": (["leaked-reference"], "references"),
    "native-leak": (["leaked-block"], "objects"),
    "over-decref": (["over-released"], "references"),
    "untraversed-cycle": (["uncollectable-cycle", "missing-traverse"], "objects"),
}


class Skipped(Exception):
    pass


def load(names):
    cases = []
    for path in sorted(glob.glob(os.path.join(CASES, "*", "case.toml"))):
        case = toml_files.load(path)
        case["repro"] = os.path.join(os.path.dirname(path), "repro.py")
        if not names or case["id"] in names:
            cases.append(case)
    unknown = set(names) - {c["id"] for c in cases}
    if unknown:
        sys.exit("no such case: %s" % " ".join(sorted(unknown)))
    return cases


def python_for(case, side, cache, every):
    """(interpreter, executable) for the `side` (leaky, fixed or clean) of a case. Raises Skipped, environments.Unavailable."""
    of_cpython = case.get("package", "").startswith("stdlib")
    wanted = [case["fixed_python"]] if of_cpython and side == "fixed" else case["python"]
    hits = list(filter(None, (interpreters.newest(v, every) for v in wanted)))
    if of_cpython and side == "leaky":
        # a newer point release may have the fix
        hits = [i for i in hits if interpreters.numbers(i.version) <= interpreters.numbers(case.get("last_leaky_python", i.version))]
    if not hits:
        raise Skipped("no CPython %s here" % " or ".join(wanted))
    if of_cpython:
        return hits[0], hits[0].exe
    requirements = case.get("requires", [])
    if side == "fixed":
        requirements = ["%s==%s" % (case["package"], case["fixed_version"])] + case.get("fixed_requires", requirements)
    elif side == "leaky":
        requirements = ["%s==%s" % (case["package"], case["version"])] + requirements
    return hits[0], environments.make(hits[0], requirements, cache)


def run(exe, case, n, lib):
    """(exit status, end of stderr, the processes that reported) of `repro.py n`."""
    with tempfile.TemporaryDirectory(prefix="bug") as folder:
        env = shim.environment(lib, os.path.join(folder, "r")) if lib else environments.plain()
        child = subprocess.run([exe, case["repro"], str(n)], env=env, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, timeout=600)
        return child.returncode, child.stderr.decode(errors="replace")[-1500:], shim.read(os.path.join(folder, "r")) if lib else []


def audited(exe, case, n, lib):
    """The findings of `repro.py n`; RuntimeError if it fails or is not audited."""
    status, stderr, processes = run(exe, case, n, lib)
    if status:
        raise RuntimeError("repro.py %d: status %d: %s" % (n, status, stderr.strip()[-300:]))
    if lib and not any(p.audited for p in processes):
        raise RuntimeError("repro.py %d: not audited: %s" % (n, stderr.strip()[-300:]))
    return [f for p in processes for f in p.findings]


def counts(findings):
    """{(verdict, type): references (objects where a verdict has none)} of the failing findings."""
    total = collections.Counter()
    for f in findings:
        if f.get("failing"):
            total[f.get("verdict"), f.get("type")] += f.get("references") or f.get("objects") or 0
    return total


def growing(few, many):
    """The failing findings that have more at MANY iterations than at FEW, by over 2 % of the difference (what comes and goes with caches)."""
    noise = 0.02 * (MANY - FEW)
    a, b = counts(few), counts(many)
    return {k: b[k] - a[k] for k in b if b[k] - a[k] > noise}


def judge_leaky(case, findings):
    """(what was found, count, problem or None)"""
    verdicts, counted = KINDS[case["kind"]]
    # of a cycle that is never collected, it is enough that the object which closes it is named
    expected = MANY * (1 if case["kind"] == "untraversed-cycle" else case["leaks_per_iteration"])
    right = [f for f in findings if f.get("failing") and f.get("verdict") in verdicts]
    if case["kind"] != "native-leak":  # what a native block is, only its stack tells
        right = [f for f in right if f.get("type") in case["leaked_type"]]
    count = sum(f.get(counted) or 0 for f in right)
    found = ", ".join(sorted({"%s %s" % (f["verdict"], f["type"]) for f in right})[:3])
    if not right:
        top = sorted((f for f in findings if f.get("failing")), key=lambda f: -(f.get("references") or f.get("objects") or 0))[:4]
        return found, 0, "not found; there are: " + ("; ".join(shim.line(f).strip() for f in top) or "no failing findings")
    # what a native leak and a cycle take along may be of the same types; so may a case's also_held
    many_ok = case["kind"] in ("native-leak", "untraversed-cycle") or set(case.get("also_held", [])) & set(case["leaked_type"])
    if count < 0.8 * expected or (count > 1.25 * expected and not many_ok):
        return found, count, "count %d, expected %d" % (count, expected)
    return found, count, None


def check(case, options, lib, every, known):
    """(line for the table, problem, skipped) of one case."""
    notes, problem, found, count, explained_here = [], None, "", "", []
    kind = case["kind"]
    sides = ["clean"] if kind == "clean" else ["leaky", "fixed"] if case["fixed_version"] else ["leaky"]
    skipped = None
    for side in sides:
        try:
            interpreter, exe = python_for(case, side, options.cache, every)
            if options.prepare:
                notes.append("%s %s" % (side, exe))
                continue
            if side == "leaky" and kind != "held":
                findings = audited(exe, case, MANY, lib)
                if lib:
                    found, count, problem = judge_leaky(case, findings)
                continue
            few, many = audited(exe, case, FEW, lib), audited(exe, case, MANY, lib)
            grows = growing(few, many)
            # Another leak, which the version without this one has: a case by itself.
            expected = {("leaked-reference", t) for t in case.get("fixed_grows", [])} if side == "fixed" else set()
            if expected - set(grows):
                problem = "fixed version: does not grow: %s" % sorted(expected - set(grows))
            grows = {k: v for k, v in grows.items() if k not in expected}
            if grows:
                problem = "%s version: grows: %s" % (side, "; ".join("%s %s %+d" % (k + (v,)) for k, v in sorted(grows.items())[:4]))
            if side == "clean":
                where = "real-bugs/" + case["id"]
                left = [shim.line(f) for f, entry in zip(many, known.explain(many, where, interpreter)) if f.get("failing") and not entry]
                left += known.missing(many, where, interpreter)
                if left:
                    problem = "; ".join([problem or ""] + left)
            still = len([f for f in many if f.get("failing")])
            notes.append("%s: %d failing findings, none grows that may not" % (side, still) if still else "%s: nothing" % side)
        except Skipped as e:
            skipped = "%s: %s" % (side, e)
        except (RuntimeError, environments.Unavailable, subprocess.SubprocessError) as e:
            problem = "%s version: %s" % (side, e)
    ok = "BAD: " + problem if problem else "skipped: " + skipped if skipped else "ok"
    return "| %-30s | %-18s | %-50s | %-6s | %s (%s) |" % (case["id"], case["kind"], found, count, ok, "; ".join(notes)), problem, skipped


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("cases", nargs="*")
    ap.add_argument("--cache", default=os.path.join(environments.WORK, "envs"), help="where the environments are kept")
    ap.add_argument("--shim")
    ap.add_argument("--plain", action="store_true")
    ap.add_argument("--prepare", action="store_true")
    ap.add_argument("-j", "--jobs", type=int, default=2)
    options = ap.parse_args()
    lib = None if options.plain or options.prepare else shim.library(options.shim)
    cases, every, known = load(options.cases), interpreters.find(), explanations.Explained()
    print("| %-30s | %-18s | %-50s | %-6s | ok |" % ("case", "kind", "verdicts found", "count"), flush=True)
    bad = left = 0
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for line, problem, skipped in pool.map(lambda c: check(c, options, lib, every, known), cases):
            print(line, flush=True)
            bad, left = bad + bool(problem), left + bool(skipped and not problem)
    stale = [] if options.cases or not lib else known.stale("real-bugs", every)
    for e in stale:
        print("stale entry of explained.toml: %s" % e)
    print("%d passed, %d failed, %d skipped" % (len(cases) - bad - left, bad + len(stale), left))
    sys.exit(1 if bad or stale else 0)


if __name__ == "__main__":
    main()

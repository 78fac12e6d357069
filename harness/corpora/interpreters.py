#!/usr/bin/env python3
"""The CPythons of this machine that gcshim supports.

    python3 interpreters.py          one line each: version, build, path

Looked for in this order, each real executable once:
    $GCSHIM_PYTHONS                      a list of executables separated by ':'; nothing else is looked at when it is set
    $PYENV_ROOT/versions/*, ~/.pyenv/versions/*
    /usr/bin/python3*, /usr/local/bin/python3*
    python3 and python3.N on PATH
What is found is asked what it is: a python3 on PATH can be a shell script that runs another one, and is listed as the one it runs.
"""
import collections
import glob
import json
import os
import re
import shutil
import subprocess
import sys

# Free-threaded builds and other implementations keep their objects elsewhere: gcshim says so and does not audit them.
OLDEST, NEWEST = (3, 8), (3, 13)

ASK = """
import json, os, platform, sys, sysconfig
print(json.dumps({
    "exe": os.path.realpath(sys.executable), "version": platform.python_version(), "prefix": sys.prefix, "base": sys.base_prefix,
    "implementation": platform.python_implementation(), "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    "debug": hasattr(sys, "gettotalrefcount"), "shared": "libpython" in open("/proc/self/maps").read()}))
"""

# `shared`: the executable loads libpython (Debian's contains it, whatever its build variables say).
Interpreter = collections.namedtuple("Interpreter", "exe version minor shared prefix")


def ask(path):
    """What the executable `path` is, or None if it does not run as a Python 3."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON") and k != "LD_PRELOAD"}
    try:
        run = subprocess.run([path, "-I", "-c", ASK], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env, timeout=60)
        return json.loads(run.stdout.decode())
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None


def candidates():
    listed = os.environ.get("GCSHIM_PYTHONS")
    if listed:
        return [p for p in listed.split(":") if p]
    found = []
    for root in (os.environ.get("PYENV_ROOT"), os.path.expanduser("~/.pyenv")):
        if root:
            found += glob.glob(os.path.join(root, "versions", "*", "bin", "python3"))
    for folder in ("/usr/bin", "/usr/local/bin"):
        found += [p for p in glob.glob(os.path.join(folder, "python3*")) if re.search(r"/python3(\.\d+)?$", p)]
    found += filter(None, [shutil.which("python3")] + [shutil.which("python3.%d" % n) for n in range(OLDEST[1], NEWEST[1] + 1)])
    return found


def find():
    """Every supported interpreter once, the oldest version first."""
    seen = {}
    for path in candidates():
        real = os.path.realpath(path)
        if real in seen:
            continue
        seen[real] = None
        told = ask(path)
        if not told or told["implementation"] != "CPython" or told["free_threaded"] or told["debug"]:
            continue
        if told["prefix"] != told["base"]:
            continue  # a virtual environment: its base is found by itself
        if not OLDEST <= numbers(told["version"])[:2] <= NEWEST:
            continue
        minor = ".".join(told["version"].split(".")[:2])
        seen.setdefault(told["exe"], None)
        seen[told["exe"]] = Interpreter(told["exe"], told["version"], minor, told["shared"], told["prefix"])
    return sorted((i for i in seen.values() if i), key=lambda i: (numbers(i.version), i.exe))


def numbers(version):
    """`3.11.7` as (3, 11, 7); what follows the digits (rc1, +) is left out."""
    return tuple(int(n) for n in re.findall(r"\d+", version)[:3])


def choose(wanted):
    """The interpreters of `wanted` (versions, minors or paths; none means all), in find()'s order.

    Exits with a message if one of them is not on this machine.
    """
    every = find()
    if not every:
        sys.exit("no supported CPython (%d.%d to %d.%d) found; name some in GCSHIM_PYTHONS" % (OLDEST + NEWEST))
    chosen = []
    for w in wanted:
        hits = [i for i in every if w in (i.version, i.minor, i.exe) or os.path.realpath(w) == i.exe]
        if not hits:
            sys.exit("no interpreter %s here; there are: %s" % (w, " ".join(i.version for i in every)))
        chosen += hits
    return [i for i in every if i in chosen] if wanted else every


def newest(minor, every=None):
    """The newest interpreter of a minor such as 3.11 (an exact 3.11.7 is found too), or None."""
    hits = [i for i in (find() if every is None else every) if minor in (i.minor, i.version)]
    return hits[-1] if hits else None


if __name__ == "__main__":
    for i in find():
        print("%-8s %-6s %s" % (i.version, "shared" if i.shared else "static", i.exe))

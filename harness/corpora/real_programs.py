#!/usr/bin/env python3
"""Real programs run unchanged with the shim loaded: output and exit status are compared with those of a run without it.

    python3 real_programs.py [--mode audit,off ...] [--scale N] [--install] [--shim libgcshim.so] [NAME ...]

programs/NAME.sh is what runs (bash, in an empty folder, the shim in every process of it); its head names the Debian packages and the commands
that it needs, and the status that it ends with where all goes well. SCALE is 1 for a short run. Programs whose commands are missing are left out and said so; --install gets their packages first (root).
"""
import argparse
import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import environments
import shim

FOLDER = os.path.join(environments.HERE, "programs")
TIMEOUT_S = 1200


def head(path, key):
    with open(path, encoding="utf-8") as f:
        for line in f:
            if line.startswith("# %s: " % key):
                return line.split(":", 1)[1].split()
    sys.exit("%s says nothing of its %s" % (path, key))


def install(paths):
    packages = sorted({p for path in paths for p in head(path, "packages")})
    if os.getuid() != 0 or not shutil.which("apt-get"):
        return print("needed: %s (as root: apt-get install them)" % " ".join(packages))
    env = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    subprocess.run(["apt-get", "update", "-qq"], env=env, stdout=subprocess.DEVNULL)
    for package in packages:
        # One by one: what this release does not have must not keep the others out.
        if subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", package], env=env, stdout=subprocess.DEVNULL).returncode:
            print("could not be installed: %s" % package)


def run(path, lib, mode, scale):
    """(status, output) of one script."""
    with tempfile.TemporaryDirectory(prefix="gcshim-program") as folder:
        work = os.path.join(folder, "work")
        os.mkdir(work)
        os.chmod(folder, 0o755)
        env = environments.plain(ROOT=shim.ROOT, SCALE=str(scale), LC_ALL="C.UTF-8", HOME=work, OWNERS_HOME=os.environ.get("HOME", "/"))
        # A copy that everybody may read: some programs give up their privileges.
        command = ["bash", "-c", 'cd "$1"; . "$2"', "bash", work, path]
        if lib:
            copy = os.path.join(folder, "libgcshim.so")
            shutil.copy(lib, copy)
            os.chmod(copy, 0o755)
            # Programs with an interpreter inside (gdb) would be told of what it leaks, which is another matter.
            env.update(LD_PRELOAD=copy, GCSHIM_MODE=mode, GCSHIM_PLAIN="0")
        with open(os.path.join(folder, "output"), "w+b") as output:
            child = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
            try:
                status = child.wait(TIMEOUT_S)
            except subprocess.TimeoutExpired:
                status = "out of time"
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
            output.seek(0)
            # The folder's name and process ids in bash's messages differ from run to run.
            text = re.sub(r"(line \d+: +)\d+ ", r"\1PID ", output.read().decode(errors="backslashreplace").replace(folder, "FOLDER"))
        return status, text


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--mode", default="audit,off", help="modes of GCSHIM_MODE, separated by commas")
    parser.add_argument("--scale", type=int, default=1)
    parser.add_argument("--install", action="store_true")
    parser.add_argument("--shim")
    options = parser.parse_args()
    lib = shim.library(options.shim)
    names = options.names or sorted(os.path.basename(p)[:-3] for p in glob.glob(os.path.join(FOLDER, "*.sh")))
    paths = [os.path.join(FOLDER, name + ".sh") for name in names]
    if options.install:
        install(paths)
    ran, bad, failed = 0, [], []
    for name, path in zip(names, paths):
        missing = [c for c in head(path, "commands") if not shutil.which(c)]
        if missing:
            print("%-10s left out, not installed: %s" % (name, " ".join(missing)), flush=True)
            continue
        start = time.monotonic()
        plain = run(path, None, None, options.scale)
        line = "%-10s %-4s %5.1f s" % (name, plain[0], time.monotonic() - start)
        if str(plain[0]) != head(path, "status")[0]:
            print("%s  it does not do its work here, without the shim:\n%s" % (line, plain[1][-2000:]), flush=True)
            failed.append(name)
            continue
        for mode in options.mode.split(","):
            start = time.monotonic()
            with_shim = run(path, lib, mode, options.scale)
            same = with_shim == plain
            line += "  %s %s %.1f s" % (mode, "same" if same else "DIFFERENT", time.monotonic() - start)
            ran += 1
            if not same:
                bad.append((name, mode, plain, with_shim))
        print(line, flush=True)
    for name, mode, plain, with_shim in bad:
        print("\n%s, %s: without the shim, status %s:\n%s\nwith it, status %s:\n%s" % (
            name, mode, plain[0], plain[1][-4000:], with_shim[0], with_shim[1][-4000:]))
    print("real programs: %d runs, %d different%s" % (ran, len(bad), "".join(", not run: " + name for name in failed)))
    sys.exit(1 if bad or failed or not ran else 0)


if __name__ == "__main__":
    main()

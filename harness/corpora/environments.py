"""Virtual environments with pinned packages, made once and kept in the work folder."""
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
WORK = os.path.join(os.path.dirname(HERE), ".work")


class Unavailable(Exception):
    """The environment cannot be made here: no such release for this interpreter, or it does not build."""


def plain(**more):
    """The program's own environment without what would change a Python: PYTHON*, GCSHIM_*, LD_PRELOAD. PYTHONHASHSEED is 0."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "GCSHIM_")) and k != "LD_PRELOAD"}
    env.update(PYTHONHASHSEED="0", PYTHONDONTWRITEBYTECODE="1", **more)
    return env


def name(interpreter, requirements):
    tag = "_".join(re.sub(r"[^A-Za-z0-9.]+", "-", r) for r in requirements)
    if len(tag) > 100:
        tag = tag[:80] + hashlib.sha256(tag.encode()).hexdigest()[:12]
    return "py%s-%s" % (interpreter.version, tag)


def pip(interpreter):
    """A command that runs a pip (22.3 or newer: it knows --python), the interpreter's own first."""
    for exe in (interpreter.exe, sys.executable, shutil.which("python3")):
        run = subprocess.run([exe, "-m", "pip", "--version"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=plain())
        found = re.match(r"pip (\d+)\.(\d+)", run.stdout.decode())
        if found and tuple(map(int, found.groups())) >= (22, 3):
            return [exe, "-m", "pip"]
    raise Unavailable("no pip from 22.3 on")


def make(interpreter, requirements, cache, wheels_only=False):
    """The python of an environment of `interpreter` with `requirements` ("name==version", ...); made if it is not in `cache` yet.

    Without requirements it is the interpreter itself. Raises Unavailable; a failure is remembered in FOLDER.failed, so that a
    rerun does not build in vain (remove that file to try again).
    """
    if not requirements:
        return interpreter.exe
    folder = os.path.join(os.path.abspath(cache), name(interpreter, requirements))
    exe, done, failed = (os.path.join(folder, "bin", "python"), os.path.join(folder, ".complete"), folder + ".failed")
    os.makedirs(cache, exist_ok=True)
    with open(folder + ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two scripts may want the same one
        if os.path.exists(done):
            return exe
        if os.path.exists(failed):
            with open(failed) as f:
                raise Unavailable(f.read().strip())
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([interpreter.exe, "-m", "venv", "--without-pip", folder], check=True, env=plain())
        command = pip(interpreter) + ["--python", exe, "install", "-q", "--prefer-binary", "--no-compile"]
        command += (["--only-binary", ":all:"] if wheels_only else []) + list(requirements)
        run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=plain(), timeout=1800)
        if run.returncode:
            shutil.rmtree(folder, ignore_errors=True)
            lines = [l for l in run.stdout.decode(errors="replace").splitlines() if l.strip()]
            errors = [l for l in lines if "error" in l.lower()] or lines
            why = "pip install %s: %s" % (" ".join(requirements), " / ".join(errors[-3:])[:300])
            with open(failed, "w") as f:
                f.write(why)
            raise Unavailable(why)
        open(done, "w").close()
        return exe

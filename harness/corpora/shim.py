"""Runs a program under the shim and reads the records it wrote."""
import glob
import hashlib
import json
import os
import sys

import environments

ROOT = os.path.dirname(os.path.dirname(environments.HERE))


def library(named=None):
    """The absolute path of libgcshim.so: `named`, $GCSHIM_LIB, or the release build. Exits with a message if there is none."""
    target = os.environ.get("CARGO_TARGET_DIR") or os.path.join(ROOT, "target")
    path = named or os.environ.get("GCSHIM_LIB") or os.path.join(target, "release", "libgcshim.so")
    if not os.path.isfile(path):
        sys.exit("no %s: build it with cargo build --release, or name it with --shim" % path)
    return os.path.abspath(path)


def digest(path):
    """What tells two builds of the library apart: results are kept per build."""
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()[:16]


def environment(lib, folder, **more):
    """The environment in which Python programs are audited at exit; every process writes its records to FOLDER/PID.ndjson.

    Nothing is printed on stderr (GCSHIM_PLAIN=0): many tests compare what a child process prints.
    Fails silently if `lib` is not a library: the dynamic linker only warns. So `read` must find an audit.
    """
    os.makedirs(folder, exist_ok=True)
    env = environments.plain(LD_PRELOAD=lib, GCSHIM_REPORT=os.path.join(folder, "%p.ndjson"), GCSHIM_DEADLINE="300", GCSHIM_PLAIN="0")
    env.update(more)
    return env


class Process:
    """What one process told: `head` (its process record), `audits`, `findings`, `degraded`, `summaries`, `collections` (in the modes that collect); `torn_lines`
    could not be read."""

    def __init__(self, pid, head=None):
        self.pid, self.head = pid, head or {}
        self.audits, self.findings, self.degraded, self.summaries, self.collections, self.torn_lines = [], [], [], [], [], []

    @property
    def audited(self):
        return bool(self.audits and self.summaries)

    def as_json(self):
        return dict(self.__dict__)

    @classmethod
    def from_json(cls, fields):
        p = cls(fields["pid"])
        p.__dict__.update(fields)
        return p


def read_file(path):
    """The processes of one report file: more than one after an exec, which keeps the pid."""
    pid, found = os.path.basename(path).split(".")[0], []
    with open(path, encoding="utf-8", errors="backslashreplace") as f:
        for line in f:
            try:
                record = json.loads(line)
                kind = record["kind"]
            except (ValueError, KeyError, TypeError):
                if not found:
                    found.append(Process(pid))
                found[-1].torn_lines.append(line.strip()[:200])
                continue
            if kind == "process" or not found:
                found.append(Process(pid))
            p = found[-1]
            if kind == "process":
                p.head = record
            else:
                {"audit": p.audits, "finding": p.findings, "degraded": p.degraded, "summary": p.summaries, "collections": p.collections}.get(
                    kind, p.torn_lines).append(record)
    return found


def read(folder):
    """Every process that reported to `folder`, by pid."""
    return [p for path in sorted(glob.glob(os.path.join(folder, "*.ndjson"))) for p in read_file(path)]


def previews(finding):
    return [e.get("preview", "") or "" for e in finding.get("examples", [])]


def line(finding):
    """A finding on one line of a table."""
    held = ",".join("%s %s" % (h.get("type"), h.get("words")) for h in finding.get("holders", [])[:2])
    shown = (previews(finding) or [""])[0]
    return "%s%-18s %-40s objects %-6s references %-6s %s%s" % (
        " " if finding.get("failing") else "(", finding.get("verdict", "?"), finding.get("type", "?"), finding.get("objects"),
        finding.get("references"), shown[:60], " held by " + held if held else "")

"""What is known of findings and of differing test outcomes: explained.toml.

    [[finding]]
    verdict = "leaked-object"        a pattern, as all strings below: * any text, ? any character
    type = "tuple"
    preview = "*"                    every example's preview must match (default "*")
    python = ["3.9", "3.11"]         minors or exact versions (default: all)
    where = "packages/numpy==1.26*"  corpus/what was run; the corpora are stdlib, cpython, packages, real-bugs; cpython+collect is what a
                                     collection reports besides, of a process that would not be audited or of a moment before its end
    references = [4, 5]              fewest and most surplus references of a finding (default: any number)
    required = true                  a run of `where` that does not show it fails (default false)
    sometimes = true                 two threads race: a complete run need not show it (default false)
    counts = ["3.8,3.9 WHERE 15"]    in the place of python, where, references and required: minors, what was run, and the references of all such findings of the run
                                     together: never more, and a tenth fewer at most, which words left over from earlier may hide ("65-97" where
                                     they are many). A run of WHERE that does not show it fails
    reason = "..."                   why it is shown, in one sentence
    issue = "https://..."            the upstream report, or "none known"

    [[outcome]]
    test = "test.test_cmd_line.*"    a test id
    python = [...]
    reason = "..."

An entry that a complete run of its corpus never used is stale, and an error: what no longer happens must not stay excused.
"""
import fnmatch
import math
import os

import environments
import shim
import toml_files

PATH = os.path.join(environments.HERE, "explained.toml")
REQUIRED = {"finding": ("verdict", "type", "reason", "issue"), "outcome": ("test", "reason")}
OPTIONAL = {"finding": ("preview", "where", "python", "references", "required", "sometimes", "counts"), "outcome": ("python",)}


def matches(text, pattern):
    """fnmatch without its classes: a preview may begin with [ and a type never means one."""
    return fnmatch.fnmatchcase(text, pattern.replace("[", "[[]"))


class Explained:
    def __init__(self, path=PATH):
        told = toml_files.load(path)
        unknown = set(told) - set(REQUIRED)
        if unknown:
            raise ValueError("%s: unknown tables %s" % (path, sorted(unknown)))
        self.findings, self.outcomes = told.get("finding", []), told.get("outcome", [])
        for kind, entries in (("finding", self.findings), ("outcome", self.outcomes)):
            for e in entries:
                missing, extra = set(REQUIRED[kind]) - set(e), set(e) - set(REQUIRED[kind]) - set(OPTIONAL[kind])
                if missing or extra:
                    raise ValueError("%s: an entry lacks %s or has unknown %s: %s" % (path, sorted(missing), sorted(extra), e))
                if kind == "finding" and ("counts" in e) == ("where" in e):
                    raise ValueError("%s: an entry has either where or counts: %s" % (path, e))
        self.used = set()

    def explain(self, findings, where, interpreter):
        """For each of the findings of one run the entry that explains it, or None."""
        return [self.finding(f, findings, where, interpreter) for f in findings]

    def finding(self, finding, run, where, interpreter):
        """The entry that explains `finding`, one of the findings of a `run`, or None."""
        for e in self.findings:
            if self.fits(e, finding, where, interpreter) and self.counted(e, run, where, interpreter):
                self.used.add(id(e))
                return e
        return None

    def fits(self, e, finding, where, interpreter):
        """Whether an entry is about a finding, whatever its counts say."""
        if "counts" in e:
            if not count_of(e, where, interpreter):
                return False
        elif not (matches(where, e["where"]) and on(e, interpreter)):
            return False
        if not (matches(finding.get("verdict", ""), e["verdict"]) and matches(finding.get("type", ""), e["type"])):
            return False
        if not all(matches(p, e.get("preview", "*")) for p in shim.previews(finding)):
            return False
        low, high = e.get("references", (0, float("inf")))
        return low <= finding.get("references", 0) <= high

    def counted(self, e, run, where, interpreter):
        """Whether the findings of a run that an entry is about have as many references as it says; True if it says nothing."""
        if "counts" not in e:
            return True
        low, high = count_of(e, where, interpreter)
        return low <= self.total(e, run, where, interpreter) <= high

    def total(self, e, run, where, interpreter):
        return sum(f.get("references") or 0 for f in run if f.get("failing") and self.fits(e, f, where, interpreter))

    def outcome(self, test, interpreter):
        """The entry that explains why `test` differs under the shim, or None."""
        for e in self.outcomes:
            if matches(test, e["test"]) and on(e, interpreter):
                self.used.add(id(e))
                return e
        return None

    def missing(self, findings, where, interpreter):
        """What the entries require of a run of `where` and its findings do not show, as lines."""
        lines = []
        for e in self.findings:
            name = "%s %s %s" % (e["verdict"], e["type"], e.get("preview", ""))
            if "counts" in e:
                if count_of(e, where, interpreter) and not self.counted(e, findings, where, interpreter):
                    lines.append("%s: %d references, not %d-%d" % ((name, self.total(e, findings, where, interpreter))
                                                                   + count_of(e, where, interpreter)))
            elif e.get("required") and matches(where, e["where"]) and on(e, interpreter):
                if not any(self.fits(e, f, where, interpreter) for f in findings):
                    lines.append("%s: not shown" % name)
        return lines

    def stale(self, corpus, interpreters):
        """The entries of `corpus` that fit one of `interpreters` and were not used; for after a complete run."""
        entries = [e for e in self.findings if "where" in e and e["where"].split("/")[0] == corpus and not e.get("sometimes")]
        entries += self.outcomes if corpus == "cpython" else []
        return [e for e in entries if id(e) not in self.used and any(on(e, i) for i in interpreters)]


def on(entry, interpreter):
    return "python" not in entry or interpreter.minor in entry["python"] or interpreter.version in entry["python"]


def count_of(entry, where, interpreter):
    """(fewest, most) references that a line of the entry's counts gives for a run of `where`; None if there is no such line."""
    for line in entry["counts"]:
        minors, pattern, count = line.split()
        if interpreter.minor in minors.split(",") and matches(where, pattern):
            low, _, high = count.partition("-")
            return (int(low), int(high)) if high else (math.ceil(0.9 * int(low)), int(low))
    return None


def unexplained(explained, processes, where, interpreter):
    """The failing findings of `processes` that no entry explains; informational ones (failing false) need no explanation."""
    found = [f for p in processes for f in p.findings if f.get("failing")]
    return [f for f, entry in zip(found, explained.explain(found, where, interpreter)) if not entry]

"""What is known of findings and of differing test outcomes: explained.toml.

    [[finding]]
    verdict = "leaked-object"        a pattern, as all strings below: * any text, ? any character
    type = "tuple"
    preview = "*"                    every example's preview must match (default "*")
    python = ["3.9", "3.11"]         minors or exact versions (default: all)
    where = "packages/numpy==1.26*"  corpus/what was run; the corpora are stdlib, cpython, packages, real-bugs
    references = [4, 5]              fewest and most surplus references (default: any number)
    required = true                  a run of `where` that does not show it fails (default false)
    reason = "..."                   why it is shown, in one sentence
    issue = "https://..."            the upstream report, or "none known"

    [[outcome]]
    test = "test.test_cmd_line.*"    a test id
    python = [...]
    reason = "..."

An entry that a complete run of its corpus never used is stale, and an error: what no longer happens must not stay excused.
"""
import fnmatch
import os

import environments
import shim
import toml_files

PATH = os.path.join(environments.HERE, "explained.toml")
REQUIRED = {"finding": ("verdict", "type", "where", "reason", "issue"), "outcome": ("test", "reason")}
OPTIONAL = {"finding": ("preview", "python", "references", "required"), "outcome": ("python",)}


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
        self.used = set()

    def finding(self, finding, where, interpreter):
        """The entry that explains `finding`, or None."""
        for e in self.findings:
            if self.fits(e, finding, where, interpreter):
                self.used.add(id(e))
                return e
        return None

    def fits(self, e, finding, where, interpreter):
        if not (matches(where, e["where"]) and on(e, interpreter)):
            return False
        if not (matches(finding.get("verdict", ""), e["verdict"]) and matches(finding.get("type", ""), e["type"])):
            return False
        if not all(matches(p, e.get("preview", "*")) for p in shim.previews(finding)):
            return False
        low, high = e.get("references", (0, float("inf")))
        return low <= finding.get("references", 0) <= high

    def outcome(self, test, interpreter):
        """The entry that explains why `test` differs under the shim, or None."""
        for e in self.outcomes:
            if matches(test, e["test"]) and on(e, interpreter):
                self.used.add(id(e))
                return e
        return None

    def missing(self, findings, where, interpreter):
        """The required entries for a run of `where` that none of its findings fits."""
        return [e for e in self.findings if e.get("required") and matches(where, e["where"]) and on(e, interpreter)
                and not any(self.fits(e, f, where, interpreter) for f in findings)]

    def stale(self, corpus, interpreters):
        """The entries of `corpus` that fit one of `interpreters` and were not used; for after a complete run."""
        entries = [e for e in self.findings if e["where"].split("/")[0] == corpus]
        entries += self.outcomes if corpus == "cpython" else []
        return [e for e in entries if id(e) not in self.used and any(on(e, i) for i in interpreters)]


def on(entry, interpreter):
    return "python" not in entry or interpreter.minor in entry["python"] or interpreter.version in entry["python"]


def unexplained(explained, processes, where, interpreter):
    """The failing findings of `processes` that no entry explains; informational ones (failing false) need no explanation."""
    found = [f for p in processes for f in p.findings if f.get("failing")]
    return [f for f in found if not explained.finding(f, where, interpreter)]

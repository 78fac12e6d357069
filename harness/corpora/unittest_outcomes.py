"""Runs one module of a Python's own test suite and writes each test's outcome.

    python unittest_outcomes.py OUT.json test.test_list [test.test_ctypes.TestX ...] [-PATTERN ...]

A pattern names tests, by their ids, that are left out.

Runs in the interpreter under test, in the current folder, with the resources of a plain `python -m test` (no network, no large files, nothing
that takes long on purpose). regrtest itself is not used: it cannot run a single module of a package in 3.8 to 3.11, it keeps the tests' output and
results alive, and its result file has no subtests.

OUT.json: {"outcomes": {test id: outcome}, "details": {test id: text of what is not ok}}; written before the interpreter exits, so that a crash in the
interpreter's end still shows as the process's status. The status is 0 whatever the outcomes.
"""
import fnmatch
import importlib
import json
import os
import sys
import unittest


def name_of(test):
    """Its id, also where the test has set an attribute of that name (test__interpreters)."""
    return type(test).id(test)


class Outcomes(unittest.TestResult):
    def __init__(self):
        super().__init__()
        self.outcomes, self.details = {}, {}
        self.verbosity = 0

    def put(self, test, outcome, text=""):
        name = name_of(test)
        # a test may fail in a subtest and once more in its end: the worst counts
        if self.outcomes.get(name) not in ("failed", "error"):
            self.outcomes[name] = outcome
        if text:
            self.details[name] = text[-1500:]

    def addSuccess(self, test):
        self.put(test, "ok")

    def addFailure(self, test, err):
        self.put(test, "failed", self._exc_info_to_string(err, test))

    def addError(self, test, err):
        self.put(test, "error", self._exc_info_to_string(err, test))

    def addSkip(self, test, reason):
        self.put(test, "skipped", reason)

    def addExpectedFailure(self, test, err):
        self.put(test, "expected failure")

    def addUnexpectedSuccess(self, test):
        self.put(test, "unexpected success")

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self.put(test, "failed", subtest._subDescription() + "\n" + self._exc_info_to_string(err, test))


def without(suite, patterns):
    """A suite's tests, but for those that a pattern names."""
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from without(test, patterns)
        elif not any(fnmatch.fnmatchcase(name_of(test), p) for p in patterns):
            yield test


def run(name, support, result, patterns):
    """As regrtest does: by the module's test_main() where it has one (up to 3.12: it prepares what the tests need), else all its tests."""
    try:
        module = importlib.import_module(name)
    except ImportError:
        module = None  # a class or a test of a module; the loader finds it, or says what is wrong
    def run_suite(suite):
        return (unittest.TestSuite(without(suite, patterns)) if patterns else suite).run(result)

    if hasattr(module, "test_main") and hasattr(support, "_run_suite"):
        support._run_suite = run_suite
        support.run_doctest = lambda *rest, **options: (0, 0)
        module.test_main()
    else:
        run_suite(unittest.TestLoader().loadTestsFromName(name))


def main():
    out, names = os.path.abspath(sys.argv[1]), sys.argv[2:]
    # Not this folder: its files must not stand in for a module of the test suite. Not "" either: the tests run in an empty folder.
    sys.path[0] = os.getcwd()
    sys.argv[1:] = []
    from test import support
    support.use_resources = []
    result = Outcomes()
    patterns = [n[1:] for n in names if n.startswith("-")]
    for name in (n for n in names if not n.startswith("-")):
        try:
            run(name, support, result, patterns)
        except unittest.SkipTest as e:
            result.outcomes[name] = "skipped"
            result.details[name] = str(e)
    with open(out, "w") as f:
        json.dump({"outcomes": result.outcomes, "details": result.details}, f)
    sys.stdout.flush()


if __name__ == "__main__":
    main()

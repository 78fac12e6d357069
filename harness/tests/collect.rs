//! The modes in which `free` only remembers: what is kept, what is reclaimed, and that the program's results are its own.

#[path = "../support/mod.rs"]
mod support;

use std::path::Path;

use serde_json::Value;
use support::process::{Outcome, Program};
use support::{compile, interpreters, report};

/// The one record of what collections came to.
fn collections(outcome: &Outcome) -> Value {
    let records = report::of_kind(&outcome.records, "collections");
    assert_eq!(records.len(), 1, "one record of collections\n{}", outcome.describe());
    records[0].clone()
}

fn number(record: &Value, field: &str) -> u64 {
    record[field].as_u64().unwrap_or_else(|| panic!("{field} in {record}"))
}

/// The word after another one in a program's output, as a number.
fn after(outcome: &Outcome, word: &str) -> i64 {
    let mut words = outcome.stdout.split_whitespace();
    words.find(|w| *w == word).unwrap_or_else(|| panic!("no {word}\n{}", outcome.describe()));
    words.next().and_then(|w| w.parse().ok()).unwrap_or_else(|| panic!("no number after {word}\n{}", outcome.describe()))
}

#[test]
fn a_program_that_never_frees_stays_small() {
    // 65,535 nodes of 32 bytes a tree: 2 MB each, so 240 MB in all.
    let trees = compile::program("collect_trees", &[]);
    let run = |mode: &str| Program::new(&trees).arg("120").with_shim().env("GCSHIM_MODE", mode).run();
    let plain = run("audit");
    assert!(plain.succeeded() && plain.stdout.starts_with("right collected -1 "), "{}", plain.describe());
    let collected = run("collect");
    assert!(collected.succeeded() && collected.stdout.starts_with("right "), "{}", collected.describe());
    assert_eq!(collected.stderr, "", "a program that leaves its garbage to the collector does not want to hear of it");
    assert!(after(&plain, "peak") > 230, "{}", plain.describe());
    // Collections are due after 32 MB, and whoever allocates faster than they come to their end waits after 64 MB; twice, for what is retained.
    assert!(after(&collected, "peak") < 180, "{}", collected.describe());
    let record = collections(&collected);
    assert!(number(&record, "full") >= 2 && number(&record, "condemned_bytes") > 150 << 20, "{record}");
    // All but the kept tree, and a few that a stale word keeps.
    assert!(number(&record, "reused_bytes") > 200 << 20, "{record}");
}

#[test]
fn a_block_that_only_the_address_behind_it_keeps_is_kept() {
    let program = compile::program("collect_behind", &[]);
    let outcome = Program::new(&program).with_shim().env("GCSHIM_MODE", "collect").run();
    assert!(outcome.succeeded(), "{}", outcome.describe());
    assert_eq!(outcome.stdout, "wrong 0 collected yes\n", "{}", outcome.describe());
    let record = collections(&outcome);
    assert!(number(&record, "full") >= 1 && number(&record, "condemned_bytes") > 900_000, "{record}");
}

#[test]
fn what_the_program_finds_again_while_a_collection_thinks_it_lost_is_as_it_was() {
    let program = compile::program("collect_late", &["-lpthread"]);
    let outcome = Program::new(&program).with_shim().env("GCSHIM_MODE", "collect").run();
    assert!(outcome.succeeded(), "{}", outcome.describe());
    assert_eq!(outcome.stdout, "wrong 0 collected yes\n", "{}", outcome.describe());
    // It was condemned, but for what a stale word keeps, and one of the two blocks of 40 MiB at least: else this shows nothing.
    assert!(number(&collections(&outcome), "condemned_bytes") > 60 << 20, "{}", outcome.describe());
}

#[test]
fn a_freed_block_is_kept_while_a_word_points_to_it_and_reused_after() {
    let program = compile::program("quarantine_stale", &["-O0"]);
    for mode in ["quarantine", "collect"] {
        let outcome = Program::new(&program).with_shim().env("GCSHIM_MODE", mode).run();
        assert!(outcome.succeeded(), "{}", outcome.describe());
        assert_eq!(outcome.stdout, "intact\nkept\nreused after\n", "{mode}: {}", outcome.describe());
        assert!(number(&collections(&outcome), "sweeps") >= 4, "{}", outcome.describe());
    }
    let audit = Program::new(&program).with_shim().run();
    assert_eq!(audit.stdout, "overwritten\nreused while pointed to\nreused after\n", "{}", audit.describe());
}

#[test]
fn processes_that_sweep_at_the_same_time_do_not_share_what_a_sweep_finds() {
    let program = compile::program("quarantine_forks", &["-O0"]);
    for mode in ["quarantine", "collect"] {
        let outcome = Program::new(&program).arg("2").arg("6").with_shim().env("GCSHIM_MODE", mode).run();
        assert!(outcome.succeeded() && outcome.stdout == "right\n", "{mode}: {}", outcome.describe());
        assert!(number(&collections(&outcome), "sweeps") > 8, "{mode}: {}", outcome.describe());
    }
}

#[test]
fn quarantine_keeps_what_was_never_freed() {
    let trees = compile::program("collect_trees", &[]);
    let outcome = Program::new(&trees).arg("40").with_shim().env("GCSHIM_MODE", "quarantine").run();
    assert!(outcome.stdout.starts_with("right "), "{}", outcome.describe());
    let record = collections(&outcome);
    assert_eq!((number(&record, "full"), number(&record, "condemned_bytes")), (0, 0), "{record}");
    assert!(after(&outcome, "peak") > 70, "{}", outcome.describe());
}

/// Objects of many kinds, each with one reference that nobody holds; some alive besides. `gcshim_collect` drops what is lost and nothing else.
const LOST: &str = r#"
import ctypes, gc, sys, weakref
incref = ctypes.pythonapi.Py_IncRef
incref.argtypes = [ctypes.py_object]
collect = ctypes.CDLL(None).gcshim_collect
collect.restype = ctypes.c_long
class Node:
    def __init__(self, n):
        self.n, self.children = n, [str(n) * 3, (n, [n])]
    def __del__(self):
        deleted.append(self.n)
deleted, called, references, alive = [], [], [], []
def leak(count):
    for n in range(count):
        node = Node(n)
        references.append(weakref.ref(node, lambda r: called.append(1)))
        incref(node)
        kept = Node(-1 - n)
        incref(kept)
        alive.append(kept)
    cycle = [Node(10**6)]
    cycle.append(cycle)
gc.disable()
leak(300)
def scrub(depth=60):
    return depth and scrub(depth - 1)
scrub()
before = [sys.getrefcount(a) for a in alive]
reused = collect()
print(reused > 0, len(called), sorted(deleted) == list(range(300)))
print(sum(r() is None for r in references))
print(before == [sys.getrefcount(a) for a in alive], [a.children[0] for a in alive[:2]])
print(gc.collect() > 0, deleted[-1])
collect()
print(len(called), sorted(deleted) == list(range(300)) + [10**6])
"#;

#[test]
fn lost_objects_die_as_python_objects_do_and_nothing_else_does() {
    for python in interpreters::all() {
        let outcome =
            python.program().arg("-c").arg(LOST).with_shim().env("GCSHIM_MODE", "collect").env("GCSHIM_AUDIT", "never").run();
        assert!(outcome.succeeded(), "{}: {}", python.label(), outcome.describe());
        let want = "True 300 True\n300\nTrue ['-1-1-1', '-2-2-2']\nTrue 1000000\n300 True\n";
        assert_eq!(outcome.stdout, want, "{}: {}", python.label(), outcome.describe());
        let lost: Vec<_> = report::failing(&outcome.records);
        assert_eq!(
            lost.iter().map(|f| (f.type_name.as_str(), f.objects)).collect::<Vec<_>>(),
            [("__main__.Node", 300)],
            "{}",
            outcome.describe()
        );
        assert_eq!(number(&collections(&outcome), "dropped_objects"), 300, "{}", outcome.describe());
    }
}

/// A thread holds an object; the program forks, and collects in the child, where that thread is not.
const FORKED: &str = r#"
import ctypes, os, threading
class Held:
    def __del__(self, getpid=os.getpid, write=os.write):
        write(1, b"ended by the program\n" if getpid() == program else b"ended by its child\n")
program = os.getpid()
ready, done = threading.Event(), threading.Event()
def hold():
    held = Held()
    ready.set()
    done.wait()
thread = threading.Thread(target=hold)
thread.start()
ready.wait()
child = os.fork()
if child == 0:
    for _ in range(3):
        ctypes.CDLL(None).gcshim_collect()
    ctypes.pythonapi.Py_MakePendingCalls()
    os._exit(0)
os.waitpid(child, 0)
done.set()
thread.join()
"#;

#[test]
fn what_other_threads_held_is_not_ended_in_a_forked_child() {
    for python in interpreters::all() {
        let program = python.program().arg("-W").arg("ignore").arg("-c").arg(FORKED).with_shim();
        let outcome = program.env("GCSHIM_MODE", "collect").env("GCSHIM_AUDIT", "never").run();
        let good = outcome.stdout == "ended by the program\n" && outcome.stderr.is_empty();
        assert!(good, "{}: {}", python.label(), outcome.describe());
    }
}

/// What was resident when the service had served all, in MiB.
fn resident_in_the_end(outcome: &Outcome) -> u64 {
    let line = outcome.stdout.lines().rfind(|line| line.starts_with("requests ")).unwrap_or_default();
    line.split_whitespace().nth(3).and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{}", outcome.describe()))
}

/// The example that leaks for ever; `harness/bench/python/leaking_service.py` has it serve a million requests. Half of what it leaks here is more than collections let come
/// together on the busiest machine: they begin when 32 MiB are new, or half of what lives; whoever allocates faster than they come to their end waits at twice that; and as much may
/// be retained (`collect::pace`).
#[test]
fn a_service_with_a_leaking_extension_stays_small_and_its_weak_references_are_called_back() {
    const REQUESTS: u64 = 250_000;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("harness/example/service.py");
    let pythons = interpreters::with_headers();
    let python = pythons.last().expect("an interpreter with headers");
    let modules = compile::example_extension(python, "leaky");
    let serve = |mode: &str| {
        let program = python.program().arg(&script).arg(REQUESTS.to_string()).arg("2000").env("PYTHONPATH", &modules).with_shim();
        let outcome = program.env("GCSHIM_MODE", mode).env("GCSHIM_AUDIT", "never").run();
        assert!(outcome.succeeded(), "{}: {}", python.label(), outcome.describe());
        outcome
    };
    let audit = serve("audit");
    assert!(audit.stdout.ends_with("wrong 0 told 0 of 0\n"), "{}: {}", python.label(), audit.describe());
    let leaked_mib = resident_in_the_end(&audit);
    assert!(leaked_mib > 500, "{}: {}", python.label(), audit.describe());
    let outcome = serve("collect");
    assert!(resident_in_the_end(&outcome) < leaked_mib / 2, "{} of {leaked_mib}: {}", python.label(), outcome.describe());
    assert_eq!(after(&outcome, "wrong"), 0, "{}: {}", python.label(), outcome.describe());
    // The last one may still be named by a word that nobody has written over.
    let told = outcome.stdout.split("wrong 0 told ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
    assert!(told.is_some_and(|told: u64| told >= REQUESTS - 2), "{}: {}", python.label(), outcome.describe());
    assert!(number(&collections(&outcome), "dropped_objects") >= REQUESTS - 2, "{}", outcome.describe());
}

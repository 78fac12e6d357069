//! The proof by seeded bugs: `harness/extensions/seeded.c` commits each bug N times, on every CPython of this machine, and the
//! report must name exactly it: verdict, type and counts. Its twin, the same code without the mistake, must come out clean.
//!
//! Everything wrong with one bug is said at once, for all interpreters.

#[path = "../support/mod.rs"]
mod support;

use support::compile;
use support::interpreters::{self, Interpreter};
use support::process::Outcome;
use support::report::{self, Finding};

/// How often each bug is committed, in runs of their own. One is the hardest to find, and many show that nothing is left out.
const TIMES: [u64; 3] = [1, 7, 100];

/// What the report must say of a bug.
struct Expected {
    verdict: &'static str,
    type_name: &'static str,
    objects: std::ops::RangeInclusive<u64>,
    /// `None` where the verdict counts no references.
    references: Option<std::ops::RangeInclusive<u64>>,
    /// What must be named among the things that it holds, with their number.
    through: Vec<(&'static str, u64)>,
    /// What the detail must name.
    detail: &'static str,
}

fn expect(verdict: &'static str, type_name: &'static str, objects: u64, references: Option<u64>) -> Expected {
    let references = references.map(|r| r..=r);
    Expected { verdict, type_name, objects: objects..=objects, references, through: Vec::new(), detail: "" }
}

/// A bug of seeded.c, with what the script must do first: `arg` is what is passed to it.
struct Bug {
    name: &'static str,
    setup: &'static str,
}

/// `argv`: folder of seeded.so, "bug" or "twin", name, how often.
const BEGIN: &str = "
import gc, sys, types
sys.path.insert(0, sys.argv[1])
import seeded
commit, name, n = getattr(seeded, sys.argv[2]), sys.argv[3], int(sys.argv[4])
arg = None
";
const END: &str = "
commit(name, n, arg)
print('done')
";

fn run(interpreter: &Interpreter, bug: &Bug, which: &str, n: u64) -> Outcome {
    let folder = compile::extension(interpreter, "seeded");
    interpreter
        .program()
        .arg("-c")
        .arg([BEGIN, bug.setup, END].concat())
        .arg(folder)
        .arg(which)
        .arg(bug.name)
        .arg(n.to_string())
        .with_shim()
        .run()
}

/// What every run must be, whatever it found: ended well, audited once, at exit, and saying which interpreter that was.
fn problems_of_the_run(interpreter: &Interpreter, outcome: &Outcome, problems: &mut Vec<String>) {
    if !outcome.succeeded() {
        problems.push(format!("ended with {}", outcome.status));
    }
    if outcome.stdout != "done\n" {
        problems.push(format!("printed {:?}", outcome.stdout));
    }
    let processes = report::of_kind(&outcome.records, "process");
    match &processes[..] {
        [one] if one["schema"] == "gcshim/1" && one["python"] == interpreter.version_text() && one["mode"] == "audit" => {}
        _ => problems.push(format!("process records: {processes:?}")),
    }
    let audits = report::of_kind(&outcome.records, "audit");
    match &audits[..] {
        // A bare interpreter has some 30,000 objects; a census of fewer looked at the wrong thing.
        [one] if one["trigger"] == "exit" && one["torn"] == false && one["objects"].as_u64() > Some(5_000) => {}
        _ => problems.push(format!("audit records: {audits:?}")),
    }
    let (all, failing) = (report::findings(&outcome.records).len(), report::failing(&outcome.records).len());
    let summaries = report::of_kind(&outcome.records, "summary");
    match &summaries[..] {
        [one] if one["findings"] == all && one["failing"] == failing => {}
        _ => problems.push(format!("{all} findings, {failing} failing; summary records: {summaries:?}")),
    }
}

/// The failing findings must be exactly the expected ones.
fn problems_of_the_findings(found: &[Finding], expected: &[Expected], problems: &mut Vec<String>) {
    let mut rest: Vec<&Finding> = found.iter().collect();
    for e in expected {
        let what = format!("{} of {}", e.verdict, e.type_name);
        let Some(at) = rest.iter().position(|f| f.verdict == e.verdict && f.type_name == e.type_name) else {
            problems.push(format!("no {what}"));
            continue;
        };
        let f = rest.remove(at);
        if !e.objects.contains(&f.objects) {
            problems.push(format!("{what}: {} objects, not {:?}", f.objects, e.objects));
        }
        if let Some(references) = e.references.as_ref().filter(|r| !r.contains(&f.references)) {
            problems.push(format!("{what}: {} references, not {references:?}", f.references));
        }
        for &(type_name, objects) in &e.through {
            if !f.through.iter().any(|(t, o)| t == type_name && *o == objects) {
                problems.push(format!("{what}: through it {:?}, not {objects} of {type_name}", f.through));
            }
        }
        if !f.detail.contains(e.detail) {
            problems.push(format!("{what}: its detail {:?} does not name {}", f.detail, e.detail));
        }
    }
    problems.extend(rest.iter().map(|f| {
        format!("{} of {} ({} objects, {} references), which nobody committed", f.verdict, f.type_name, f.objects, f.references)
    }));
}

/// Runs the bug and its twin on `interpreters` and fails with everything that is wrong.
fn prove_on(interpreters: &[&Interpreter], bug: &Bug, times: &[u64], expected: impl Fn(&Interpreter, u64) -> Vec<Expected>) {
    let mut failures = Vec::new();
    for interpreter in interpreters {
        for (which, n) in times.iter().map(|n| ("bug", *n)).chain([("twin", 100)]) {
            let outcome = run(interpreter, bug, which, n);
            let expected = if which == "bug" { expected(interpreter, n) } else { Vec::new() };
            let mut problems = Vec::new();
            problems_of_the_run(interpreter, &outcome, &mut problems);
            problems_of_the_findings(&report::failing(&outcome.records), &expected, &mut problems);
            if !problems.is_empty() {
                let what = format!("{}, {which} {} {n} times", interpreter.label(), bug.name);
                failures.push(format!("{what}:\n    {}\n{}", problems.join("\n    "), outcome.describe()));
            }
        }
    }
    assert!(failures.is_empty(), "{} runs are wrong\n\n{}", failures.len(), failures.join("\n"));
}

fn prove(name: &'static str, setup: &'static str, expected: impl Fn(&Interpreter, u64) -> Vec<Expected>) {
    prove_on(&interpreters::with_headers(), &Bug { name, setup }, &TIMES, expected);
}

/// N objects of a type, each lost with one reference.
fn prove_leaked(name: &'static str, setup: &'static str, type_name: &'static str) {
    prove(name, setup, |_, n| vec![expect("leaked-object", type_name, n, Some(n))]);
}

#[test]
fn every_bug_is_real_and_its_twin_clean() {
    // By CPython's own counters, without the shim: what the other tests demand of the report must be so.
    let script = support::shim::package().join("harness/extensions/seeded_check.py");
    let wrong: Vec<String> = interpreters::with_headers()
        .into_iter()
        .map(|i| i.program().arg(&script).arg(compile::extension(i, "seeded")).run())
        .filter(|o| !o.succeeded() || !o.stdout.starts_with("all "))
        .map(|o| o.describe())
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn leaked_lists() {
    prove_leaked("leaked_list", "", "list");
}

#[test]
fn leaked_tuples() {
    prove_leaked("leaked_tuple", "", "tuple");
}

#[test]
fn leaked_dicts() {
    prove_leaked("leaked_dict", "", "dict");
}

#[test]
fn leaked_instances() {
    prove("leaked_instance", "class Thing: pass\narg = Thing", |_, n| {
        let mut e = expect("leaked-object", "__main__.Thing", n, Some(n));
        e.through.push(("int", n));
        vec![e]
    });
}

#[test]
fn leaked_instances_that_only_weak_references_know() {
    prove_leaked("leaked_weakly_known", "class Thing: pass\narg = (Thing, [])", "__main__.Thing");
}

#[test]
fn leaked_objects_whose_addresses_are_keys() {
    prove_leaked("leaked_numbered", "arg = ({}, set())", "bytes");
}

#[test]
fn leaked_bytes() {
    prove_leaked("leaked_bytes", "", "bytes");
}

#[test]
fn leaked_strings() {
    prove_leaked("leaked_str", "", "str");
}

#[test]
fn leaked_ints() {
    prove_leaked("leaked_int", "", "int");
}

#[test]
fn leaked_floats() {
    prove_leaked("leaked_float", "", "float");
}

#[test]
fn leaked_bound_methods() {
    prove_leaked("leaked_method", "class Host:\n    def method(self): pass\narg = Host().method", "method");
}

#[test]
fn leaked_generators() {
    prove_leaked("leaked_generator", "def arg(): yield 1", "generator");
}

#[test]
fn leaked_generators_that_have_started() {
    prove_leaked("leaked_running_generator", "def arg():\n    x = [1]\n    yield 1\n    yield x", "generator");
}

#[test]
fn what_a_leak_holds_is_reported_under_it() {
    prove("leaked_list_of_tuples", "", |_, n| {
        let mut e = expect("leaked-object", "list", n, Some(n));
        e.through.push(("tuple", 3 * n));
        vec![e]
    });
}

#[test]
fn each_lost_reference_of_a_leaked_object_counts() {
    prove("leaked_twice", "", |_, n| vec![expect("leaked-object", "bytes", n, Some(2 * n))]);
}

#[test]
fn surplus_references_to_a_module() {
    prove("surplus_reference", "arg = types.ModuleType('victim')", |_, n| vec![expect("leaked-reference", "module", 1, Some(n))]);
}

#[test]
fn surplus_references_to_a_type() {
    prove("surplus_reference", "class Victim: pass\narg = Victim", |_, n| {
        vec![expect("leaked-reference", "type __main__.Victim", 1, Some(n))]
    });
}

#[test]
fn surplus_references_to_none() {
    // Immortal since 3.12: no count, no bug. Before, many words point to None and own nothing (type slots, the tables of C code,
    // borrowed arguments), and each of them hides one surplus reference: `references` is what is proved at least. Of many, nine in
    // ten must be.
    let mortal: Vec<_> = interpreters::with_headers().into_iter().filter(|i| i.version.1 <= 11).collect();
    prove_on(&mortal, &Bug { name: "surplus_reference", setup: "" }, &[5_000], |_, n| {
        let mut e = expect("leaked-reference", "NoneType", 1, None);
        e.references = Some(n * 9 / 10..=n);
        vec![e]
    });
}

#[test]
fn instances_that_forget_their_type() {
    prove("forgotten_type", "", |_, n| vec![expect("leaked-reference", "type seeded.Opaque", 1, Some(n))]);
}

#[test]
fn items_dropped_too_often() {
    // Each is held ten times and was dropped five times too often.
    prove("over_released", "", |_, n| vec![expect("over-released", "bytes", n, Some(5 * n))]);
}

#[test]
fn types_in_raw_memory_dropped_too_often() {
    // Twice each time; one reference stands for the type itself.
    prove("over_released_type", "", |i, n| match i.version.1 {
        ..=12 => vec![expect("over-released", "type seeded.ByHand", 1, Some(2 * n - 1))],
        _ => Vec::new(),
    });
}

#[test]
fn cycles_through_a_type_without_traverse() {
    prove("opaque_cycle", "", |_, n| vec![expect("uncollectable-cycle", "seeded.Opaque", n, None)]);
}

#[test]
fn members_that_traverse_forgets() {
    prove("forgotten_member", "arg = []", |_, n| {
        let mut e = expect("missing-traverse", "seeded.Forgetful", n, None);
        // offsetof(Holder, second)
        e.detail = "104";
        vec![e]
    });
}

#[test]
fn cycles_through_a_member_that_traverse_forgets() {
    prove("forgotten_cycle", "", |_, n| {
        let mut forgotten = expect("missing-traverse", "seeded.Forgetful", n, None);
        forgotten.detail = "104";
        vec![expect("uncollectable-cycle", "seeded.Forgetful", n, None), forgotten]
    });
}

#[test]
fn lost_native_blocks() {
    let mut failures = Vec::new();
    for interpreter in interpreters::with_headers() {
        for (which, n, lost) in [("bug", 1, 1), ("bug", 7, 7), ("bug", 100, 100), ("twin", 100, 0)] {
            let outcome = run(interpreter, &Bug { name: "lost_malloc", setup: "" }, which, n);
            let mut problems = Vec::new();
            problems_of_the_run(interpreter, &outcome, &mut problems);
            let found = report::failing(&outcome.records);
            // Blocks have no type: the label has the size of their class, so all of them share one finding.
            match &found[..] {
                [] if lost == 0 => {}
                [f] if lost > 0 && f.verdict == "leaked-block" && f.objects == lost && of_size(f, 1237) => {}
                _ => problems.push(format!("found {found:?}, not {lost} lost blocks of 1237 bytes")),
            }
            if !problems.is_empty() {
                let what = format!("{}, {which} lost_malloc {n} times", interpreter.label());
                failures.push(format!("{what}:\n    {}\n{}", problems.join("\n    "), outcome.describe()));
            }
        }
    }
    assert!(failures.is_empty(), "{} runs are wrong\n\n{}", failures.len(), failures.join("\n"));
}

/// Whether the label of a lost block fits a request of `bytes`: a size class wastes a quarter at most.
fn of_size(finding: &Finding, bytes: u64) -> bool {
    report::size_in(&finding.type_name).is_some_and(|size| (bytes..=bytes + bytes / 4).contains(&size))
}

/// Garbage that waits for `gc` is no leak.
const TANGLE: &str = "
class Node: pass
def tangle(n):
    for _ in range(n):
        node = Node()
        node.self = node
gc.collect()
gc.disable()
tangle(n)
";

/// Buffers that nobody has written to yet, until they stand where there were others before that named the blocks.
#[test]
fn lost_blocks_that_memory_not_yet_written_named_before() {
    let text = "
import ctypes
malloc, realloc, free = (getattr(ctypes.CDLL(None), name) for name in ('malloc', 'realloc', 'free'))
malloc.restype = realloc.restype = ctypes.c_void_p
malloc.argtypes, realloc.argtypes, free.argtypes = [ctypes.c_size_t], [ctypes.c_void_p, ctypes.c_size_t], [ctypes.c_void_p]
blocks = [malloc(40) for _ in range(20)]
def fill(buffer, size):
    (ctypes.c_void_p * (size // 8)).from_address(buffer)[:] = [blocks[i % 20] for i in range(size // 8)]
    return buffer
for size in (160, 256, 1000):
    before = [fill(malloc(size), size) for _ in range(8)]
    for buffer in before:
        free(buffer)
    after = []
    while not set(after) >= set(before):
        after += [malloc(size), realloc(malloc(16), size)]
    globals()['kept%d' % size] = (ctypes.c_void_p * len(after))(*after)
del blocks
";
    for interpreter in interpreters::all() {
        let outcome = interpreter.program().arg("-c").arg(text).with_shim().run();
        assert!(outcome.succeeded(), "{}", outcome.describe());
        let failing = report::failing(&outcome.records);
        let found: Vec<(&str, u64)> = failing.iter().map(|f| (f.verdict.as_str(), f.objects)).collect();
        assert_eq!(found, [("leaked-block", 20)], "{}", outcome.describe());
    }
}

#[test]
fn garbage_that_waits_for_gc_is_told_apart_from_leaks() {
    let bug = Bug { name: "leaked_list", setup: TANGLE };
    let mut failures = Vec::new();
    for interpreter in interpreters::with_headers() {
        for (which, n) in [("bug", 1), ("bug", 7), ("bug", 100), ("twin", 100)] {
            let outcome = run(interpreter, &bug, which, n);
            let mut problems = Vec::new();
            problems_of_the_run(interpreter, &outcome, &mut problems);
            let expected = if which == "bug" { vec![expect("leaked-object", "list", n, Some(n))] } else { Vec::new() };
            problems_of_the_findings(&report::failing(&outcome.records), &expected, &mut problems);
            let garbage: Vec<Finding> =
                report::findings(&outcome.records).into_iter().filter(|f| f.verdict == "cyclic-garbage").collect();
            let nodes: u64 = garbage.iter().filter(|f| f.type_name == "__main__.Node").map(|f| f.objects).sum();
            if nodes != n || garbage.iter().any(|f| f.failing) {
                problems.push(format!("{nodes} nodes of garbage, not {n}: {garbage:?}"));
            }
            if !problems.is_empty() {
                let what = format!("{}, {which} leaked_list beside {n} nodes of garbage", interpreter.label());
                failures.push(format!("{what}:\n    {}\n{}", problems.join("\n    "), outcome.describe()));
            }
        }
    }
    assert!(failures.is_empty(), "{} runs are wrong\n\n{}", failures.len(), failures.join("\n"));
}

//! Children, and programs that are no Python.

use crate::support::interpreters::{self, Interpreter};
use crate::support::process::{Outcome, Program};
use crate::support::report;
use crate::{LEAK, newest, script};

#[test]
fn a_program_that_is_no_python_notices_nothing() {
    for (program, arguments) in [
        ("/bin/ls", &["/", "/nonexistent"][..]),
        ("/bin/sh", &["-c", "echo out; echo err >&2; exit 9"]),
        ("/bin/sh", &["-c", "ls / | sort | head -3; kill -TERM $$"]),
        ("/usr/bin/env", &["gcc", "--version"]),
        ("/usr/bin/env", &["perl", "-e", "print join(',', sort { $a <=> $b } map { $_ * 7 % 13 } 1..12), \"\\n\"; exit 5"]),
        ("/usr/bin/env", &["no-such-program"]),
    ] {
        let run = |p: Program| arguments.iter().fold(p, |p, a| p.arg(a)).run();
        let plain = run(Program::new(program));
        let shimmed = run(Program::new(program).with_shim());
        assert_eq!(
            (plain.status, &plain.stdout, &plain.stderr),
            (shimmed.status, &shimmed.stdout, &shimmed.stderr),
            "{}",
            shimmed.command
        );
        assert!(shimmed.records.is_empty(), "{}", shimmed.describe());
    }
}

/// The process ids of the audits.
fn audits(records: &[serde_json::Value]) -> Vec<i64> {
    report::of_kind(records, "process").iter().filter_map(|r| r["pid"].as_i64()).collect()
}

const FORKS: &str = "
import os, sys
pid = os.fork()
if pid == 0:
    sys.exit(7)
status = os.waitpid(pid, 0)[1]
print(os.getpid(), pid, os.WEXITSTATUS(status))
";

#[test]
fn a_forked_child_audits_itself_only_if_asked() {
    for follow in ["0", "1"] {
        let outcome = script(&[LEAK, FORKS].concat()).env("GCSHIM_FOLLOW_FORK", follow).run();
        let numbers: Vec<i64> = outcome.stdout.split_whitespace().map(|n| n.parse().expect("a number")).collect();
        let [parent, child, status] = numbers[..] else { panic!("{}", outcome.describe()) };
        let wanted = if follow == "1" { vec![child, parent] } else { vec![parent] };
        assert_eq!((audits(&outcome.records), status), (wanted, 7), "{}", outcome.describe());
        // What the parent had lost is lost in its copy, too.
        let lost: Vec<u64> = report::failing(&outcome.records).iter().map(|f| f.objects).collect();
        assert!(lost.iter().all(|n| *n == 10), "{}", outcome.describe());
    }
}

/// A child of a child and so on, of which the last alone ends as Python does.
fn forks(interpreter: &Interpreter, forks: u32, before: &str, after: &str) -> Outcome {
    forks_in_mode("audit", interpreter, forks, before, after)
}

fn forks_in_mode(mode: &str, interpreter: &Interpreter, forks: u32, before: &str, after: &str) -> Outcome {
    let text = format!(
        "
import os
{before}
for _ in range({forks}):
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
        os._exit(0)
{after}
"
    );
    let program = interpreter.program().with_shim().env("GCSHIM_FOLLOW_FORK", "1").env("GCSHIM_MODE", mode);
    let outcome = program.arg("-c").arg(text).run();
    assert!(outcome.succeeded() && audits(&outcome.records).len() == 1, "{}", outcome.describe());
    outcome
}

/// How many of the parents' locks the report explains.
fn locks_left(outcome: &Outcome) -> u64 {
    let known = |f: &&serde_json::Value| f["known"].as_str().is_some_and(|why| why.contains("bpo-6721"));
    report::of_kind(&outcome.records, "finding").into_iter().filter(known).filter_map(|f| f["objects"].as_u64()).sum()
}

#[test]
fn a_child_forked_among_threads_says_that_what_these_held_counts_as_lost() {
    let thread = "
import threading
done = threading.Event()
thread = threading.Thread(target=done.wait)
thread.start()";
    let note = "this process was forked while the program had other threads";
    for interpreter in interpreters::all() {
        let said = |before| {
            let outcome = forks(interpreter, 1, before, "");
            report::of_kind(&outcome.records, "degraded").iter().any(|d| d["what"].as_str().is_some_and(|w| w.starts_with(note)))
        };
        // The parent ends by os._exit, without waiting for its thread.
        assert_eq!((said(thread), said("")), (true, false), "{}", interpreter.label());
    }
}

#[test]
fn locks_that_a_forked_child_leaves_to_its_parent_are_explained() {
    for interpreter in interpreters::all() {
        let runs = [1, 2, 3].map(|n| forks(interpreter, n, "", ""));
        for run in &runs {
            assert!(report::failing(&run.records).is_empty() && run.stderr.is_empty(), "{}", run.describe());
        }
        // In collect each has room for a byte more, and so is of the next size.
        let collecting = forks_in_mode("collect", interpreter, 1, "", "");
        assert!(report::failing(&collecting.records).is_empty() && collecting.stderr.is_empty(), "{}", collecting.describe());
        assert_eq!(locks_left(&collecting), locks_left(&runs[0]), "{}", collecting.describe());
        // Each fork leaves as many: of the interpreter's one is made by the first.
        let [one, two, three] = runs.each_ref().map(locks_left);
        assert!(two > one && three - two == two - one, "{}: {one}, {two}, {three}", interpreter.label());
        // A lock object's, too: until 3.8 it has no method for that.
        let more = "import _thread\nlocks = [_thread.allocate_lock() for _ in range(9)]";
        let left = forks(interpreter, 1, more, "[lock._at_fork_reinit() for lock in locks if hasattr(lock, '_at_fork_reinit')]");
        assert!(report::failing(&left.records).is_empty(), "{}", left.describe());
        assert_eq!(locks_left(&left), one + if interpreter.version.1 >= 9 { 9 } else { 0 }, "{}", left.describe());
    }
}

#[test]
fn a_forked_childs_own_leaks_are_not_taken_for_its_parents_locks() {
    let before = "
import ctypes
make, end = ctypes.pythonapi.PyThread_allocate_lock, ctypes.pythonapi.PyThread_free_lock
malloc = ctypes.CDLL(None).malloc
make.restype = malloc.restype = ctypes.c_void_p
end.argtypes, end.restype, malloc.argtypes = [ctypes.c_void_p], None, [ctypes.c_size_t]
parents = [make() for _ in range(7)]";
    // Blocks of a lock's size, until they stand where locks of the parent's were before, and as nobody has written to them; and locks of the child's.
    let after = "
for lock in parents:
    end(lock)
blocks = set()
while not blocks >= set(parents):
    blocks.add(malloc(32))
for _ in range(5):
    make()
print(len(blocks) + 5)";
    for interpreter in interpreters::all() {
        let outcome = forks(interpreter, 1, before, after);
        let lost = report::failing(&outcome.records);
        let [lost] = &lost[..] else { panic!("{}", outcome.describe()) };
        let count: u64 = outcome.stdout.trim().parse().expect("the number of blocks");
        assert!(count >= 12 && (lost.verdict.as_str(), lost.objects) == ("leaked-block", count), "{}", outcome.describe());
    }
}

#[test]
fn the_exit_code_is_the_parents_alone() {
    let outcome = script(&[LEAK, FORKS].concat()).env("GCSHIM_EXITCODE", "41").run();
    assert!(outcome.status.code() == Some(41) && outcome.stdout.trim_end().ends_with(" 7"), "{}", outcome.describe());
}

#[test]
fn multiprocessing_works_and_its_forked_workers_stay_silent() {
    let text = "
import multiprocessing as mp, os, sys
def work(n):
    return n * n
if __name__ == '__main__':
    context = mp.get_context(sys.argv[1])
    with context.Pool(2) as pool:
        print(pool.map(work, range(10)))
    one = context.Process(target=work, args=(3,))
    one.start(); one.join()
    print(one.exitcode, os.getpid())
";
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("workers.py");
    std::fs::write(&file, text).expect("a script");
    for method in ["fork", "spawn"] {
        let outcome = newest().program().with_shim().arg("-B").arg(&file).arg(method).run();
        let good = outcome.stdout.starts_with("[0, 1, 4, 9, 16, 25, 36, 49, 64, 81]\n0 ") && outcome.stderr.is_empty();
        assert!(outcome.succeeded() && good, "{}", outcome.describe());
        let own: i64 = outcome.stdout.split_whitespace().last().and_then(|n| n.parse().ok()).expect("its process id");
        let audited = audits(&outcome.records);
        assert!(audited.contains(&own), "{}", outcome.describe());
        // A spawned worker is a Python of its own; a forked one leaves without its handlers anyway.
        assert!(method == "spawn" || audited == [own], "{}", outcome.describe());
    }
}

#[test]
fn an_executed_python_audits_itself() {
    let inner = format!("import subprocess, sys\nprint(subprocess.run([sys.executable, '-c', {LEAK:?}]).returncode)");
    let outcome = script(&inner).run();
    let lost: Vec<u64> = report::failing(&outcome.records).iter().map(|f| f.objects).collect();
    assert!(outcome.stdout == "0\n" && lost == [10] && audits(&outcome.records).len() == 2, "{}", outcome.describe());
    // In place of itself: no handler runs, so the first has no audit.
    let outcome = script(&format!("import os, sys\nos.execv(sys.executable, [sys.executable, '-c', {LEAK:?}])")).run();
    assert!(outcome.succeeded() && audits(&outcome.records).len() == 1, "{}", outcome.describe());
}

#[test]
fn the_records_of_processes_that_end_together_stand_apart() {
    let text = format!(
        "import subprocess, sys
text = {LEAK:?}
running = [subprocess.Popen([sys.executable, '-S', '-c', text]) for _ in range(6)]
print([one.wait() for one in running])"
    );
    let outcome = script(&text).env("GCSHIM_PLAIN", "0").run();
    assert_eq!(outcome.stdout, "[0, 0, 0, 0, 0, 0]\n", "{}", outcome.describe());
    // Reading them has shown that every line is whole. Each audit's stand together, from its process to its summary.
    let kinds: Vec<&str> = outcome.records.iter().filter_map(|r| r["kind"].as_str()).collect();
    let bounds: Vec<&str> = kinds.iter().copied().filter(|k| ["process", "summary"].contains(k)).collect();
    assert_eq!(bounds, ["process", "summary"].repeat(7), "{}", outcome.describe());
    let lost: Vec<u64> = report::failing(&outcome.records).iter().map(|f| f.objects).collect();
    assert_eq!(lost, [10; 6], "{}", outcome.describe());
}

#[test]
fn a_second_preload_is_no_obstacle() {
    let second = crate::support::compile::library("thread_audit", &["-pthread"]);
    let shim = crate::support::shim::library();
    for preload in [format!("{}:{}", shim.display(), second.display()), format!("{} {}", second.display(), shim.display())] {
        let outcome = script(LEAK).env("LD_PRELOAD", preload).run();
        assert!(outcome.succeeded() && crate::says_leak(&outcome), "{}", outcome.describe());
    }
}

/// A process that is spawned calls `_run_after_forkers` too, of which locks of its own know nothing.
#[test]
fn the_lock_that_a_spawned_process_makes_anew_is_explained_and_others_that_are_lost_are_not() {
    let script = |lost: u32| {
        format!(
            "
import ctypes, multiprocessing.managers, multiprocessing.util
multiprocessing.util._run_after_forkers()
make = ctypes.pythonapi.PyThread_allocate_lock
make.restype = ctypes.c_void_p
for _ in range({lost}):
    make()
"
        )
    };
    for interpreter in interpreters::all() {
        let failing = |lost: u32| {
            let outcome = interpreter.program().with_shim().arg("-c").arg(script(lost)).run();
            assert!(outcome.succeeded() && audits(&outcome.records).len() == 1, "{}", outcome.describe());
            report::failing(&outcome.records).iter().map(|f| (f.verdict.clone(), f.objects)).collect::<Vec<_>>()
        };
        let (none, ten) = (failing(0), failing(10));
        assert!(none.is_empty(), "{}: {none:?}", interpreter.label());
        // A stale word may keep one of them; and what is explained is one at most.
        assert!(matches!(&ten[..], [(what, 8..=10)] if what == "leaked-block"), "{}: {ten:?}", interpreter.label());
    }
}

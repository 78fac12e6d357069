//! Each system call refused in turn, and all from one on (`harness/programs/refuse_calls.c`).
//!
//! `GCSHIM_FAULTS=all` tries every number where otherwise some are left out for the time they take.

use std::path::{Path, PathBuf};

use super::{LEAK, admits};
use crate::support::process::{Outcome, Program};
use crate::support::{compile, interpreters, report};

/// Statuses of `refuse_calls` where the kernel has no filters that ask.
const CANNOT: [i32; 2] = [124, 125];

/// Which calls are counted and refused.
#[derive(Clone, Copy)]
struct Refusal {
    calls: &'static str,
    how: &'static str,
    from: &'static str,
}

struct Subject {
    supervisor: PathBuf,
    program: PathBuf,
    arguments: Vec<String>,
}

impl Subject {
    fn new(program: impl AsRef<Path>, arguments: &[&str]) -> Subject {
        Subject {
            supervisor: compile::program("refuse_calls", &[]),
            program: program.as_ref().to_owned(),
            arguments: arguments.iter().map(|&a| a.to_owned()).collect(),
        }
    }

    /// Runs it with refusal number `n` (0: none); answers how many calls there were, and how many were refused.
    fn run(&self, refusal: Refusal, n: u64) -> (Outcome, u64, u64) {
        let folder = tempfile::tempdir().expect("a folder");
        let counts = folder.path().join("counts");
        let program = Program::new(&self.supervisor).with_shim().env("REFUSE_COUNTS", &counts).env("GCSHIM_AUDIT", "never");
        let program = program.arg(refusal.calls).arg(refusal.how).arg(n.to_string()).arg(refusal.from).arg(&self.program);
        let outcome = self.arguments.iter().fold(program, Program::arg).run();
        let text = std::fs::read_to_string(&counts).unwrap_or_default();
        let mut numbers = text.split_whitespace().filter_map(|w| w.parse().ok());
        let (calls, refused) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        (outcome, calls, refused)
    }

    /// Refuses each call in turn, at most about `most` of them unless all are wanted, and expects `check` of every run.
    fn sweep(&self, refusal: Refusal, most: u64, check: impl Fn(u64, &Outcome) -> Result<(), String>) {
        let (outcome, calls, _) = self.run(refusal, 0);
        if outcome.status.code().is_some_and(|c| CANNOT.contains(&c)) {
            println!("not tested: this kernel has no seccomp filters that ask");
            return;
        }
        assert!(calls > 10, "{}", outcome.describe());
        check(0, &outcome).unwrap_or_else(|wrong| panic!("without a refusal: {wrong}: {}", outcome.describe()));
        let all = std::env::var_os("GCSHIM_FAULTS").is_some_and(|v| v == "all");
        let step = if all { 1 } else { calls.div_ceil(most) };
        let mut reached = 0;
        // A different set on machines where the numbers are different; on one machine always the same.
        for n in (1..=calls).step_by(step as usize) {
            let (outcome, _, refused) = self.run(refusal, n);
            reached += u64::from(refused > 0);
            if let Err(wrong) = check(n, &outcome) {
                panic!("{} {} {n} {}: {wrong}: {}", refusal.calls, refusal.how, refusal.from, outcome.describe());
            }
        }
        assert!(reached * 10 >= calls.div_ceil(step) * 8, "only {reached} of {calls} calls were reached");
        println!("{} {} {}: {reached} of {calls} calls refused", refusal.calls, refusal.how, refusal.from);
    }
}

/// Status 5 and `found` as printed, or else it is said why not; and nothing else is accused.
fn audited(outcome: &Outcome, found: &str, is_lost: impl Fn(&report::Finding) -> bool) -> Result<(), String> {
    if outcome.status.code() != Some(5) || outcome.timed_out {
        return Err("the program noticed".into());
    }
    if let Some(other) = report::failing(&outcome.records).iter().find(|f| !is_lost(f)) {
        return Err(format!("a false finding: {other:?}"));
    }
    if let Some(line) = outcome.stderr.lines().find(|l| !l.starts_with("gcshim: ")) {
        return Err(format!("a line that is not ours: {line}"));
    }
    // Where nothing can be written either, the caller is told: a negative answer.
    if outcome.stdout.trim() != found && !admits(outcome) && !outcome.stdout.contains(" -") {
        return Err("less was found, and nothing says so".into());
    }
    Ok(())
}

fn audited_c(_: u64, outcome: &Outcome) -> Result<(), String> {
    audited(outcome, "found 1", |f| f.verdict == "leaked-block" && f.objects == 3)
}

fn memory_program(what: &str) -> Subject {
    Subject::new(compile::program("faults_memory", &["-pthread", "-fno-builtin"]), &[what])
}

#[test]
fn memory_refused_once_is_missing_once() {
    let refusal = Refusal { calls: "memory", how: "one", from: "start" };
    memory_program("heap").sweep(refusal, 60, |_, outcome| {
        let fine = outcome.status.code() == Some(5) && outcome.stderr.is_empty() && outcome.stdout.starts_with("nulls ");
        if fine { Ok(()) } else { Err("the program noticed".into()) }
    });
}

#[test]
fn memory_refused_for_good_is_missing_until_it_is_there_again() {
    let refusal = Refusal { calls: "memory", how: "from", from: "mark" };
    memory_program("heap").sweep(refusal, 60, |n, outcome| {
        let fine = outcome.status.code() == Some(5) && outcome.stderr.is_empty() && outcome.stdout.starts_with("nulls ");
        if fine && (n > 1 || outcome.stdout != "nulls 0\n" || n == 0) { Ok(()) } else { Err("the program noticed".into()) }
    });
}

#[test]
fn memory_refused_during_an_audit_ends_the_audit_alone() {
    for how in ["one", "from"] {
        memory_program("audit").sweep(Refusal { calls: "memory", how, from: "mark" }, 30, audited_c);
    }
}

#[test]
fn any_call_refused_during_an_audit_ends_the_audit_alone() {
    for how in ["one", "from"] {
        memory_program("audit").sweep(Refusal { calls: "any", how, from: "mark" }, 70, audited_c);
    }
}

#[test]
fn any_call_refused_while_the_heap_works_leaves_it_whole() {
    let refusal = Refusal { calls: "any", how: "one", from: "mark" };
    memory_program("heap").sweep(refusal, 60, |_, outcome| {
        let fine = outcome.status.code() == Some(5) && outcome.stderr.is_empty() && outcome.stdout.starts_with("nulls ");
        if fine { Ok(()) } else { Err("the program noticed".into()) }
    });
}

#[test]
fn any_call_refused_during_an_audit_of_python_ends_the_audit_alone() {
    let text = "
import sys
libc, audit = ctypes.PyDLL(None), ctypes.PyDLL(None).gcshim_audit
libc.getpriority(0x6763, 1)
found = audit()
libc.getpriority(0x6763, 0)
print('found', found)
sys.exit(5)
";
    let interpreter = interpreters::all().last().expect("there is one");
    let subject = Subject::new(&interpreter.path, &["-c", &[LEAK, text].concat()]);
    for how in ["one", "from"] {
        subject.sweep(Refusal { calls: "any", how, from: "mark" }, 40, |_, outcome| {
            // A call of the audit's own, not of Python's: one of the ten may be named by what it left on the stack.
            audited(outcome, "found 1", |f| f.verdict == "leaked-object" && f.type_name == "list" && f.objects >= 7)
        });
    }
}

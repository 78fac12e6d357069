//! `gcshim_audit()`: from C, and from Python through ctypes.

use crate::support::process::{Outcome, Program};
use crate::support::{compile, interpreters, report};
use crate::{LEAK, lines, says_leak};

fn call_from_c(what: &str) -> Outcome {
    let program = compile::program("call_audit", &["-pthread", "-fno-builtin-malloc"]);
    Program::new(program).with_shim().arg(what).run()
}

#[test]
fn a_program_in_c_is_audited_when_it_asks() {
    let outcome = call_from_c("clean");
    assert!(outcome.succeeded() && outcome.stdout == "0\n" && outcome.stderr.is_empty(), "{}", outcome.describe());
    assert!(report::of_kind(&outcome.records, "process")[0]["python"].is_null(), "{}", outcome.describe());
    let outcome = call_from_c("lost");
    let found = report::failing(&outcome.records);
    let good = matches!(&found[..], [one] if one.verdict == "leaked-block" && one.objects == 8);
    assert!(outcome.succeeded() && outcome.stdout == "1\n" && good, "{}", outcome.describe());
}

#[test]
fn audits_may_follow_each_other_and_come_from_two_threads() {
    let outcome = call_from_c("often");
    assert!(outcome.succeeded() && outcome.stdout == "0\n".repeat(50) && outcome.stderr.is_empty(), "{}", outcome.describe());
    assert_eq!(report::of_kind(&outcome.records, "summary").len(), 50);
    let outcome = call_from_c("threads");
    assert!(outcome.succeeded() && outcome.stdout == "0\n".repeat(20) && outcome.stderr.is_empty(), "{}", outcome.describe());
    assert_eq!(report::of_kind(&outcome.records, "summary").len(), 20);
}

/// Runs a script on every interpreter without the exit audit; every audit must be whole, show exactly the lost lists and hold nothing against
/// anything else. Up to `hidden_max` of the ten may be named by what the call itself left on the stack. Answers what was printed.
fn on_all(text: &str, audits: usize, hidden_max: u64, check: impl Fn(&Outcome) -> bool) {
    let library = compile::library("thread_audit", &["-pthread"]);
    for interpreter in interpreters::all() {
        let script = [LEAK, text].concat();
        let outcome = interpreter.program().with_shim().env("GCSHIM_AUDIT", "never").arg("-c").arg(script).arg(&library).run();
        let about = format!("{}: {}", interpreter.label(), outcome.describe());
        assert!(outcome.succeeded() && check(&outcome), "{about}");
        let records = report::of_kind(&outcome.records, "audit");
        assert_eq!(records.len(), audits, "{about}");
        assert!(records.iter().all(|r| r["trigger"] == "call" && r["torn"] == false), "{about}");
        let found = report::failing(&outcome.records);
        assert_eq!(found.len(), audits, "{about}");
        let list = |f: &report::Finding| {
            f.verdict == "leaked-object" && f.type_name == "list" && (10 - hidden_max..=10).contains(&f.objects)
        };
        assert!(found.iter().all(list), "{about}");
    }
}

#[test]
fn python_asks_through_ctypes_with_and_without_the_gil() {
    on_all(
        "
class Case: pass
audits = [ctypes.CDLL(None).gcshim_audit(), ctypes.PyDLL(None).gcshim_audit()]
print(audits)
",
        2,
        3,
        |o| o.stdout == "[1, 1]\n",
    );
}

#[test]
fn python_asks_many_times_and_from_exit_handlers() {
    on_all(
        "
import atexit
audit = ctypes.PyDLL(None).gcshim_audit
print([audit() for _ in range(3)], flush=True)
atexit.register(lambda: print(audit(), flush=True))
",
        4,
        3,
        |o| o.stdout == "[1, 1, 1]\n1\n",
    );
}

#[test]
fn two_python_threads_ask_at_once() {
    // One may find the other at it: -2. Then it asks again.
    on_all(
        "
import threading
audit = ctypes.CDLL(None).gcshim_audit
answers = []
def ask():
    while True:
        answer = audit()
        if answer != -2:
            return answers.append(answer)
threads = [threading.Thread(target=ask) for _ in range(2)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(answers)
",
        2,
        5,
        |o| o.stdout == "[1, 1]\n",
    );
}

#[test]
fn a_thread_that_python_does_not_know_asks() {
    // While Python's own thread waits without the GIL: nobody holds it, and nobody can take it while the threads stand still.
    let text = "
import sys
print(ctypes.CDLL(sys.argv[1]).audit_on_a_new_thread())
";
    let library = compile::library("thread_audit", &["-pthread"]);
    for interpreter in interpreters::all() {
        let script = [LEAK, text].concat();
        let outcome = interpreter.program().with_shim().env("GCSHIM_AUDIT", "never").arg("-c").arg(script).arg(&library).run();
        let about = format!("{}: {}", interpreter.label(), outcome.describe());
        let answer: i32 = outcome.stdout.trim().parse().expect("a number");
        let audits = report::of_kind(&outcome.records, "audit");
        assert!(outcome.succeeded() && answer >= 0 && audits.len() == 1, "{about}");
        assert_eq!(audits[0]["torn"], false, "{about}");
        let said = lines(&outcome).iter().any(|l| l.contains("the GIL was held by another thread"));
        let noted = report::of_kind(&outcome.records, "degraded")
            .iter()
            .any(|d| d["what"].as_str().is_some_and(|w| w.contains("the GIL")));
        assert!(!noted && !said, "{about}");
    }
}

#[test]
fn a_thread_that_python_does_not_know_asks_while_another_holds_the_gil() {
    // PyDLL keeps the GIL: the calling thread waits with it in hand, and must not be waited for.
    let text = "
import sys
print(ctypes.PyDLL(sys.argv[1]).audit_on_a_new_thread())
";
    let library = compile::library("thread_audit", &["-pthread"]);
    for interpreter in interpreters::all() {
        let script = [LEAK, text].concat();
        let outcome = interpreter.program().with_shim().env("GCSHIM_AUDIT", "never").arg("-c").arg(script).arg(&library).run();
        let about = format!("{}: {}", interpreter.label(), outcome.describe());
        let audits = report::of_kind(&outcome.records, "audit");
        assert!(outcome.succeeded() && audits.len() == 1 && audits[0]["torn"] == true, "{about}");
        // Without the GIL the free lists' stale entries cannot be cleared, and those are where the lost lists came from: all may seem held.
        let found = report::failing(&outcome.records);
        let list = |f: &report::Finding| f.verdict == "leaked-object" && f.type_name == "list" && f.objects <= 10;
        assert!(found.iter().all(list) && outcome.stdout.trim() == found.len().to_string(), "{about}");
    }
}

#[test]
fn an_exit_audit_survives_that_all_exit_functions_are_forgotten() {
    for interpreter in interpreters::all() {
        let text = [LEAK, "import atexit\natexit._clear()\natexit.register(print, 'bye')\natexit._clear()"].concat();
        let outcome = interpreter.program().with_shim().arg("-c").arg(text).run();
        assert!(outcome.succeeded() && says_leak(&outcome), "{}", outcome.describe());
        assert_eq!(report::of_kind(&outcome.records, "audit").len(), 1, "{}", outcome.describe());
    }
}

//! How the shim comes to know that the interpreter has started.

use crate::support::{interpreters, report};

/// Each argument is an object more, so that the interpreter is asked for the call in which the audit is registered at another place of its start: also amid the import of a
/// module, where another one cannot always begin.
#[test]
fn the_exit_audit_is_registered_wherever_in_its_start_the_interpreter_is() {
    for interpreter in interpreters::all() {
        for arguments in 0..32 {
            let program = interpreter.program().arg("-c").arg("pass");
            let outcome = (0..arguments).fold(program, |p, _| p.arg("x")).with_shim().run();
            let audits = report::of_kind(&outcome.records, "audit").len();
            assert!(outcome.succeeded() && audits == 1, "{}, {arguments}: {}", interpreter.label(), outcome.describe());
        }
    }
}

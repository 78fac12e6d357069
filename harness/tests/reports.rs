//! What a person sees: the lines on standard error, the records, the exit status, each option, and what becomes of them when something
//! is missing. And that whoever did not ask for a report sees nothing at all.

#[path = "../support/mod.rs"]
mod support;

#[path = "reports/calls.rs"]
mod calls;
#[path = "reports/children.rs"]
mod children;
#[path = "reports/garbage.rs"]
mod garbage;
#[path = "reports/innocent.rs"]
mod innocent;
#[path = "reports/limits.rs"]
mod limits;
#[path = "reports/options.rs"]
mod options;
#[path = "reports/plain.rs"]
mod plain;

use support::interpreters::{self, Interpreter};
use support::process::{Outcome, Program};

/// Loses ten lists.
const LEAK: &str = "
import ctypes
for i in range(10):
    lost = [i]
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(lost))
del lost
";

/// What is tested here is the same for every interpreter: the newest stands for all.
fn newest() -> &'static Interpreter {
    interpreters::all().last().expect("there is one")
}

/// A script under the newest interpreter, with the shim.
fn script(text: &str) -> Program {
    newest().program().with_shim().arg("-c").arg(text)
}

/// The newest interpreter runs a script from a shell's command: `"$0" -c "$1"` stands for it in `command`.
fn in_shell(command: &str, text: &str) -> Program {
    Program::new("/bin/sh").with_shim().arg("-c").arg(command).arg(&newest().path).arg(text)
}

/// Its lines on standard error that are the shim's.
fn lines(outcome: &Outcome) -> Vec<&str> {
    outcome.stderr.lines().filter(|l| l.starts_with("gcshim: ")).collect()
}

/// The line that heads the finding of [`LEAK`].
fn says_leak(outcome: &Outcome) -> bool {
    outcome.stderr.contains("gcshim: leaked-object: 10 list objects lost: 10 references that nobody holds")
}

//! Faults: memory and system calls refused one by one, no `/proc`, sandboxes, full disks, threads that die, modules that go. The program ends
//! with its own output and status, nothing is accused that is in use, and what could not be done is said.

#[path = "../support/mod.rs"]
mod support;

#[path = "faults/refused.rs"]
mod refused;

#[path = "faults/confined.rs"]
mod confined;

#[path = "faults/threads.rs"]
mod threads;

use support::process::Outcome;

/// Loses ten lists.
const LEAK: &str = "
import ctypes
for i in range(10):
    lost = [i]
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(lost))
del lost
";

/// Whether the run tells its reader that something was not done, or not written.
fn admits(outcome: &Outcome) -> bool {
    let said = ["gcshim: not done: ", " was given up: ", " cannot be opened", " could not be written", "could not be registered"];
    said.iter().any(|text| outcome.stderr.contains(text)) || outcome.records.iter().any(|r| r["kind"] == "degraded")
}

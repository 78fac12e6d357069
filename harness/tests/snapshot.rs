//! The snapshot from outside: programs whose threads wait, end, fork, block signals and stand on stacks of their own, while audits run. The
//! program never notices, and nothing that it still holds is called lost.

#[path = "../support/mod.rs"]
mod support;

#[path = "snapshot/unseen.rs"]
mod unseen;

#[path = "snapshot/threads.rs"]
mod threads;

#[path = "snapshot/denied.rs"]
mod denied;

#[path = "snapshot/signals.rs"]
mod signals;

#[path = "snapshot/traverse.rs"]
mod traverse;

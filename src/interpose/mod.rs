//! What the program meets: the exported C functions, bootstrap, fork, thread end.

pub mod fork;
pub mod threads;

// In the unit tests the program is the test harness, which keeps its own malloc.
#[cfg(not(test))]
mod bootstrap;
#[cfg(not(test))]
mod malloc_family;

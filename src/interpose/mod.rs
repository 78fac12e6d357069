//! What the program meets: the exported C functions, bootstrap, fork, thread end.

pub mod fork;
pub mod threads;

// In the unit tests the program is the test harness, which keeps its own malloc.
#[cfg(not(test))]
mod bootstrap;
#[cfg(not(test))]
mod c_api;
#[cfg(not(test))]
mod collecting;
#[cfg(not(test))]
mod deepbind;
#[cfg(not(test))]
mod exec;
#[cfg(not(test))]
mod exit;
#[cfg(not(test))]
mod late_python;
#[cfg(not(test))]
mod malloc_family;
#[cfg(not(test))]
mod python_allocators;
#[cfg(not(test))]
mod undone_routing;

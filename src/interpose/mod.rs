//! What the program meets: the exported C functions, bootstrap, fork, thread end.

pub mod fork;
pub mod stacks;
pub mod threads;

// In the unit tests the program is the test harness, which keeps its own malloc.
#[cfg(not(any(test, fuzzing)))]
mod advice;
#[cfg(not(any(test, fuzzing)))]
mod bootstrap;
#[cfg(not(any(test, fuzzing)))]
mod c_api;
#[cfg(not(any(test, fuzzing)))]
mod collecting;
#[cfg(not(any(test, fuzzing)))]
mod deepbind;
#[cfg(not(any(test, fuzzing)))]
mod endings;
#[cfg(not(any(test, fuzzing)))]
mod exec;
#[cfg(not(any(test, fuzzing)))]
mod exit;
#[cfg(not(any(test, fuzzing)))]
mod late_python;
#[cfg(not(any(test, fuzzing)))]
mod malloc_family;
#[cfg(not(any(test, fuzzing)))]
mod next;
#[cfg(not(any(test, fuzzing)))]
mod python_allocators;
#[cfg(not(any(test, fuzzing)))]
mod semaphores;
#[cfg(not(any(test, fuzzing)))]
mod undone_routing;

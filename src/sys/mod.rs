//! The only place with system calls, locks and thread-local slots.

pub mod bits;
#[cfg(target_arch = "x86_64")]
pub mod call_number;
pub mod clock;
pub mod exec_gate;
pub mod files;
pub mod guard;
pub mod local;
pub mod lock;
pub mod memory;
pub mod own_stack;
pub mod prefetch;
pub mod process;
pub mod raw;
pub mod registers;
#[cfg(target_arch = "x86_64")]
pub mod restart;
pub mod sealed;
pub mod second;
pub mod shared;
pub mod stop;
pub mod stop_signal;
pub mod text;
pub mod thread_status;
pub mod tls;
pub mod unwind;

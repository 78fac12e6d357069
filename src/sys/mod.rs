//! The only place with system calls, locks and thread-local slots.

pub mod lock;
pub mod memory;
pub mod raw;
pub mod text;
pub mod tls;

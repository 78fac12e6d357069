//! The only place with system calls, locks and thread-local slots.

pub mod text;

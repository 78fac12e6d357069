//! Slabs that change hands while others free their blocks, and locks, in every order that the memory model allows.

#[path = "../../src/heap/handover.rs"]
pub mod handover;

#[cfg(all(test, loom))]
mod locks;
#[cfg(all(test, loom))]
mod slab;
#[cfg(all(test, loom))]
#[allow(dead_code)]
mod sys;
#[cfg(all(test, loom))]
mod tests;

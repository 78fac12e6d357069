//! `libgcshim.so`: a drop-in malloc that checks CPython's reference counts against memory.
//!
//! The layers, bottom to top; each uses only those above it in this list (`harness/tests/tidy.rs` reads the `use` lines):
//!
//! - [`options`]   what a user can set, one table for the shim and the command line
//! - [`sys`]       system calls, locks, thread-local slots, text without allocation
//! - [`meta`]      the shim's own memory, never beside the program's
//! - [`heap`]      size classes, slabs, large blocks, page map, thread caches, remote frees
//! - [`roots`]     where a pointer can hide outside the heap
//! - [`mark`]      frontier, scan, counting; knows nothing of CPython
//! - [`weakref_hooks`]  words that point and do not own
//! - [`python`]    the object model: what is an object, what it claims, what it owns
//! - [`finalizers`]     what is asked of an object before it goes: first of all its reference count
//! - [`audit`]     snapshot, child, census, verdicts, report records
//! - [`collect`]   the modes in which `free` only remembers, and what makes its blocks reusable
//! - [`interpose`] the exported C functions, bootstrap, fork, thread end
#![cfg_attr(not(any(test, fuzzing)), no_std)]
#![no_builtins]
#![allow(clippy::missing_safety_doc)]

pub mod options;
pub mod sys;
pub mod meta;
pub mod heap;
pub mod roots;
pub mod mark;
pub mod weakref_hooks;
pub mod python;
pub mod finalizers;
pub mod audit;
pub mod collect;
pub mod interpose;

#[cfg(not(any(test, fuzzing)))]
mod runtime;

//! What the integration tests share: `#[path = "../support/mod.rs"] mod support;`.
//!
//! - [`interpreters`] the CPythons of this machine
//! - [`shim`]         `libgcshim.so` of the profile under test
//! - [`process`]      a program run to its end, with or without the shim
//! - [`report`]       the records it wrote
//! - [`compile`]      C programs and extension modules, built once
#![allow(dead_code)] // each test file uses a part of it

pub mod compile;
pub mod interpreters;
pub mod process;
pub mod report;
pub mod shim;

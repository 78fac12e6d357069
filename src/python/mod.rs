//! The object model: which blocks hold objects, what each claims, what it owns, what it is called.
//!
//! [`runtime`] finds the interpreter's exported names (in the program). [`types`] knows every type seen in a snapshot; [`objects`] tells
//! which blocks hold objects and which of their words count; [`count`] reads a reference count; [`traverse`] asks containers what they
//! own; [`block_labels`] says what a block of the running program holds; [`naming`] makes names and previews with the interpreter's own functions, in the child, when everything has been counted.

pub mod block_labels;
pub mod count;
pub mod datastack;
pub mod frames;
pub mod free_lists;
pub mod imports;
pub mod interpreters;
pub mod layout;
pub mod naming;
pub mod objects;
pub mod runtime;
pub mod shapes;
mod species;
pub mod tables;
pub mod traverse;
pub mod types;
mod types_by_hand;

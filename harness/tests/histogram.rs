//! Liveness histograms: what the shim writes (`histogram/shim.rs`), and what the program makes of it (`histogram/program.rs`).

#[path = "../support/mod.rs"]
mod support;

#[path = "histogram/file.rs"]
mod file;
#[path = "histogram/shim.rs"]
mod shim_files;
#[path = "histogram/program.rs"]
mod program;

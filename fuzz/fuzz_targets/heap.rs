//! `cargo fuzz run heap`, or ci/fuzz.sh: libFuzzer chooses the bytes.
#![no_main]

#[path = "model.rs"]
mod model;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| model::play(bytes));

//! Collections: what makes retained blocks reusable again.
//!
//! In the modes `quarantine` and `collect`, `free` only remembers (`heap::retained`). Once enough is retained ([`pace`]), the freeing thread takes a
//! snapshot and goes on; the snapshot's child finds out which retained blocks no word leads to ([`sweep`]) and writes them down in shared memory
//! ([`exchange`]); whoever frees later notices that it is done and makes them reusable ([`cycle`]). What no word led to at the moment of the
//! snapshot nobody can get hold of afterwards, so the program need not stand still meanwhile.

pub mod cycle;
pub mod exchange;
pub mod pace;
pub mod sweep;

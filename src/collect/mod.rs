//! Collections: what makes retained blocks reusable again.
//!
//! In the modes `quarantine` and `collect`, `free` only remembers (`heap::retained`). Once enough is retained ([`pace`]), the freeing thread takes a
//! snapshot and goes on; the snapshot's child finds out which retained blocks no word leads to ([`sweep`]) and writes them down in shared memory
//! ([`exchange`]); whoever frees later notices that it is done and makes them reusable ([`cycle`]). What no word led to at the moment of the
//! snapshot nobody can get hold of afterwards, so the program need not stand still meanwhile.
//!
//! In the mode `collect`, what was never freed is looked for too, when the heap has grown: the child takes the census of an audit, reports what is lost, and writes
//! down what can be taken ([`condemned`]). Native blocks are then retained as if the program had freed them; of Python objects the references that nobody holds
//! are dropped ([`lost_objects`]). What the program attached to lost blocks comes first ([`attached`]).

pub mod attached;
pub mod condemned;
pub mod cycle;
pub mod exchange;
pub mod hits;
pub mod lost_objects;
mod near;
pub mod pace;
mod pauses;
pub mod records;
pub mod request;
pub mod sweep;

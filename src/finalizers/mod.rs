//! What is asked of a block before it goes.
//!
//! Two kinds. The built-in one is the [`refcount_validator`]: of every Python object that a census finds lost it asks whether the count is right, and what it answers is
//! a finding; it needs no registration, since the object model says which blocks are objects, and no call in the program, since a snapshot has the numbers. The others
//! are functions of the program's, one per block ([`table`]): a full collection that finds such a block lost does not take it, but has it wait ([`order`] says behind
//! which others) until the program asks for what waits to be run ([`run`]). Both are asked once, after the links to the block were emptied and before its memory is
//! given away, and for both a block that turns out to be reached after all stays.

pub mod order;
pub mod refcount_validator;
pub mod run;
pub mod table;

use crate::heap::{self, watch};
use crate::weakref_hooks::links;

/// Has finalizers and links go with their blocks. To be called before there is one.
pub fn watch_blocks() {
    fn ended(block: usize, bytes: usize) {
        table::block_ended(block);
        links::block_ended(block, bytes);
    }
    fn moved(from: usize, to: usize) {
        table::block_moved(from, to);
        links::block_moved(from, to);
    }
    watch::start(ended, moved);
}

/// Takes every lock of what is kept about blocks, and then those of the heap.
pub fn lock_all() {
    table::lock();
    links::lock();
    heap::lock_all();
}

/// The same without waiting; `false`, and nothing is held, if somebody holds one.
pub fn try_lock_all() -> bool {
    if table::try_lock() {
        if links::try_lock() {
            if heap::try_lock_all() {
                return true;
            }
            // SAFETY: taken above, as below.
            unsafe { links::unlock() };
        }
        // SAFETY: taken above.
        unsafe { table::unlock() };
    }
    false
}

/// Releases what [`lock_all`] took.
///
/// # Safety
/// As `heap::unlock_all`.
pub unsafe fn unlock_all() {
    // SAFETY: the caller's duty.
    unsafe {
        heap::unlock_all();
        links::unlock();
        table::unlock();
    }
}

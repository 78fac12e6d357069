//! Addresses amid machine code that the program wrote: compilers of it put them where an instruction has its operand, which need not be a multiple of a word's length
//! (the Java virtual machine keeps a block by nothing else while a call site changes).

use super::resident::Resident;
use crate::heap::view;

/// Calls `each` with what lies in a block, of the words in `start..end` that do not stand at a multiple of a word's length. Those that do are found as elsewhere.
pub fn for_each_operand(resident: &Resident, start: usize, end: usize, each: &mut dyn FnMut(usize)) {
    let (low, high) = view::bounds();
    resident.for_each_part(start, end, &mut |start, end| {
        for at in (start..end.saturating_sub(size_of::<usize>())).filter(|at| at % size_of::<usize>() != 0) {
            // SAFETY: the part can be read, and the word ends in it.
            let word = unsafe { core::ptr::read_unaligned(at as *const usize) };
            if (low..high).contains(&word) && view::block_around(word).is_some() {
                each(word);
            }
        }
    });
}

//! What a block of the running program holds, for the histograms: the name of the type of the object in it.
//!
//! Called when a block is freed, where the object still says of what type it was, and of live blocks. A block of the object domain need not hold an object, and
//! nothing may be taken for a pointer that is none: a type must lie in a live block of ours, at a place where types do, or in memory that the kernel says can be
//! read; and it must look like one, and agree with the place where the object would begin. The name is copied: at the end its type may be gone.

use core::ffi::c_char;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering::*};

use super::runtime::Runtime;
use super::types::{self, OB_TYPE, READY, TP_BASICSIZE, TP_FLAGS, TP_ITEMSIZE, TP_NAME, TYPE_SUBCLASS, read};
use crate::heap::stamps::labels::{self, NAME_BYTES};
use crate::heap::view;
use crate::mark::blocks::OBJECT_OFFSETS;
use crate::sys::{memory, raw};

/// Bytes that the interpreter's debug hooks put before each block.
static HEADER_BYTES: AtomicUsize = AtomicUsize::new(0);

/// Sets how many bytes the interpreter's debug hooks put before each block.
pub fn set_header_bytes(bytes: usize) {
    HEADER_BYTES.store(bytes, Relaxed);
}

/// Addresses outside our heap that were found to be readable: of static types, and of their names. Libraries with types are not unloaded.
static READABLE: [AtomicU64; READABLE_MAX] = [const { AtomicU64::new(0) }; READABLE_MAX];
const READABLE_MAX: usize = 1 << 13;
const WINDOW: usize = 16;

/// The label of what lies in the block at `block`, of `bytes`.
pub fn label_of(block: usize, bytes: usize) -> u16 {
    let Some(runtime) = Runtime::get() else { return labels::OTHER };
    let header = HEADER_BYTES.load(Relaxed);
    for offset in OBJECT_OFFSETS.into_iter().skip(1) {
        let object = block + header + offset;
        if object + 16 > block + bytes {
            break;
        }
        // SAFETY: inside a block that was handed out: its memory is mapped.
        let (count, type_address) = unsafe { (read(object), read(object + OB_TYPE)) };
        if count >> 32 == 0
            && let Some(flags) = flags_of_type(runtime, type_address, true)
            && types::prefix_bytes(runtime.minor, flags) as usize == offset
        {
            return name_label(type_address);
        }
    }
    labels::NO_OBJECT
}

/// The flags of the type at an address, if there is one.
fn flags_of_type(runtime: &Runtime, address: usize, deeper: bool) -> Option<u64> {
    if address & 7 != 0 || !can_hold_a_type(address) {
        return None;
    }
    // SAFETY: readable, as was made sure of.
    let meta = unsafe { read(address + OB_TYPE) };
    if meta != runtime.symbols.type_type?.get() {
        let flags = flags_of_type(runtime, meta, false).filter(|_| deeper)?;
        if !makes_types(flags) {
            return None;
        }
    }
    // SAFETY: as above.
    unsafe { flags_if_ready(address) }
}

/// Whether instances of a type with these flags are types.
fn makes_types(flags: u64) -> bool {
    flags & TYPE_SUBCLASS != 0
}

/// The flags of a type object, if what lies there looks like a ready one.
///
/// # Safety
/// [`TYPE_BYTES_MIN`] bytes from the address on are readable.
unsafe fn flags_if_ready(address: usize) -> Option<u64> {
    // SAFETY: the caller's.
    let (flags, basic, item, name) = unsafe {
        (read(address + TP_FLAGS) as u64, read(address + TP_BASICSIZE), read(address + TP_ITEMSIZE), read(address + TP_NAME))
    };
    (flags & READY != 0 && (16..1 << 24).contains(&basic) && item < 1 << 24 && name >= 4096).then_some(flags)
}

/// Whether all of a type at this address could be read.
fn can_hold_a_type(address: usize) -> bool {
    if address < memory::PAGE || address >> 47 != 0 {
        return false;
    }
    if let Some((start, end)) = view::block_around(address) {
        let offset = address - start;
        let at_a_beginning = offset == 0 || OBJECT_OFFSETS.iter().skip(1).any(|o| offset == o + HEADER_BYTES.load(Relaxed));
        // Larger blocks' memory goes back to the system when they are freed, and no type is that large.
        return at_a_beginning && offset + types::TYPE_BYTES_MIN <= end - start && end - start <= memory::GRANULE;
    }
    is_readable(address) && is_readable(address + types::TYPE_BYTES_MIN - 8)
}

/// Whether a word outside our heap can be read.
fn is_readable(address: usize) -> bool {
    let start = (address as u64 >> 3).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    for i in 0..WINDOW {
        let Some(slot) = READABLE.get((start as usize + i) % READABLE_MAX) else { continue };
        let found = slot.load(Relaxed);
        if found == address as u64 {
            return true;
        }
        if found == 0 {
            let readable = raw::readable(address) == Some(true);
            if readable {
                // Whoever is faster, or has taken the place for another address: it is only asked again.
                _ = slot.compare_exchange(0, address as u64, Relaxed, Relaxed);
            }
            return readable;
        }
    }
    raw::readable(address) == Some(true)
}

fn name_label(type_address: usize) -> u16 {
    // SAFETY: a type, whose memory is readable.
    let name = unsafe { read(type_address + TP_NAME) };
    let room = match view::block_around(name) {
        Some((_, end)) => (end - name).min(NAME_BYTES),
        None if name & !7 != 0 && is_readable(name & !7) => NAME_BYTES,
        None => return labels::OTHER,
    };
    // SAFETY: a type's name is a C string; one in our heap ends with its block at the latest.
    let text = unsafe { core::slice::from_raw_parts(name as *const u8, libc::strnlen(name as *const c_char, room)) };
    if text.is_empty() { labels::OTHER } else { labels::number_of(text) }
}

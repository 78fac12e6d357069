//! What blocks are called in histograms by type: names, each with a number, kept from the moment they are first seen (a type may be gone at the end). Without a
//! lock; a name stays for ever.

use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering::*};

use crate::meta;

/// Memory that came through the C names.
pub const RAW: u16 = 0;
/// Memory of the object domain that holds no object.
pub const NO_OBJECT: u16 = 1;
/// An object of a type for whose name there was no room, or which could not be looked at.
pub const OTHER: u16 = 2;
const FIRST: u16 = 3;

/// Longest name kept, in bytes.
pub const NAME_BYTES: usize = 104;
const NAMES: usize = 1 << 14;
/// Places looked at for a name.
const WINDOW: usize = 64;

struct Label {
    /// Hash of the name, not 0; 0 in a place that is not used.
    hash: AtomicU64,
    /// Length of the name, plus one; 0 while it is not written yet.
    length: AtomicU64,
    name: [AtomicU64; NAME_BYTES / 8],
}

static LABELS: AtomicPtr<Label> = AtomicPtr::new(null_mut());

fn labels() -> Option<&'static [Label]> {
    let mut start = LABELS.load(Acquire);
    if start.is_null() {
        let fresh: *mut Label = meta::reserve(NAMES * size_of::<Label>()).cast();
        if fresh.is_null() {
            return None;
        }
        start = match LABELS.compare_exchange(null_mut(), fresh, AcqRel, Acquire) {
            Ok(_) => fresh,
            Err(theirs) => {
                // SAFETY: reserved above and known to nobody.
                unsafe { meta::release(fresh.cast()) };
                theirs
            }
        };
    }
    // SAFETY: so many, zeroed when mapped; the mapping stays.
    Some(unsafe { core::slice::from_raw_parts(start, NAMES) })
}

/// The number of a name (its first [`NAME_BYTES`] bytes). Two names with the same hash of 64 bits would be taken for one.
pub fn number_of(name: &[u8]) -> u16 {
    let name = name.get(..NAME_BYTES).unwrap_or(name);
    let Some(labels) = labels() else { return OTHER };
    // FNV-1a.
    let hash = name.iter().fold(0xcbf2_9ce4_8422_2325u64, |h, &b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3)).max(1);
    for i in 0..WINDOW {
        let at = ((hash >> 17) as usize + i) & (NAMES - 1);
        let Some(label) = labels.get(at) else { continue };
        let mut found = label.hash.load(Relaxed);
        if found == 0 {
            found = match label.hash.compare_exchange(0, hash, Relaxed, Relaxed) {
                Ok(_) => {
                    for (word, bytes) in label.name.iter().zip(name.chunks(8)) {
                        let mut padded = [0; 8];
                        padded.iter_mut().zip(bytes).for_each(|(to, &from)| *to = from);
                        word.store(u64::from_ne_bytes(padded), Relaxed);
                    }
                    label.length.store(name.len() as u64 + 1, Release);
                    hash
                }
                Err(theirs) => theirs,
            };
        }
        if found == hash {
            return at as u16 + FIRST;
        }
    }
    OTHER
}

/// The name of a number that [`number_of`] gave, in `buffer`; `None` for the fixed ones, and while the name is being written.
pub fn name_of(number: u16, buffer: &mut [u8; NAME_BYTES]) -> Option<&[u8]> {
    let label = labels()?.get(usize::from(number.checked_sub(FIRST)?))?;
    let length = label.length.load(Acquire).checked_sub(1)? as usize;
    for (to, word) in buffer.chunks_mut(8).zip(&label.name) {
        to.copy_from_slice(&word.load(Relaxed).to_ne_bytes());
    }
    buffer.get(..length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_number_and_text() {
        let mut buffer = [0; NAME_BYTES];
        let names: Vec<String> = (0..3000).map(|n| format!("module_{n}.Type{}", n * 7)).collect();
        let numbers: Vec<u16> = names.iter().map(|n| number_of(n.as_bytes())).collect();
        for (name, &number) in names.iter().zip(&numbers) {
            assert_eq!(number_of(name.as_bytes()), number);
            assert_eq!(name_of(number, &mut buffer), Some(name.as_bytes()));
        }
        let distinct: std::collections::HashSet<_> = numbers.iter().collect();
        assert_eq!(distinct.len(), names.len());
        let long = "x".repeat(500);
        assert_eq!(name_of(number_of(long.as_bytes()), &mut buffer), Some(&long.as_bytes()[..NAME_BYTES]));
        assert!(name_of(RAW, &mut buffer).is_none() && name_of(OTHER, &mut buffer).is_none());
    }
}

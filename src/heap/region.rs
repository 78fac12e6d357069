//! Regions: address ranges reserved from the system, handed out in granules, lowest first so that the upper ends fall empty.

use crate::sys::memory::GRANULE;

const BITS: usize = u64::BITS as usize;

/// One region and the state of its granules.
#[derive(Clone, Copy)]
pub struct Region {
    /// First address.
    pub base: usize,
    /// Length in granules.
    pub granules: usize,
    /// Granules not handed out.
    pub free: usize,
    /// Whether it is for spans of which programs touch little at first.
    pub sparse: bool,
    /// No granule below this one is free.
    hint: usize,
    /// A bit per granule: handed out. `words()` words in the shim's memory.
    used: *mut u64,
    /// A bit per granule: not handed out, but its memory may hold old contents.
    dirty: *mut u64,
}

// SAFETY: the bitmaps are reached only through the region, which the pool's lock guards.
unsafe impl Send for Region {}

/// Granules taken from a region.
pub struct Taken {
    /// First address.
    pub base: usize,
    /// How many of them were dirty. None: all their memory reads as zero.
    pub dirty: usize,
}

impl Region {
    /// No region.
    pub const NONE: Region = Region {
        base: 0,
        granules: 0,
        free: 0,
        sparse: false,
        hint: 0,
        used: core::ptr::null_mut(),
        dirty: core::ptr::null_mut(),
    };

    /// Bytes of bitmap memory that a region of `granules` needs.
    pub const fn bitmap_bytes(granules: usize) -> usize {
        granules.div_ceil(BITS) * 2 * size_of::<u64>()
    }

    /// A region over fresh zeroed memory.
    ///
    /// # Safety
    /// The range is mapped and ours, and `bitmaps` are [`Region::bitmap_bytes`] zero bytes that live as long as it.
    pub unsafe fn new(base: usize, granules: usize, sparse: bool, bitmaps: usize) -> Region {
        let used = bitmaps as *mut u64;
        // SAFETY: the bitmap memory holds two maps one after the other.
        let dirty = unsafe { used.add(granules.div_ceil(BITS)) };
        Region { base, granules, free: granules, sparse, hint: 0, used, dirty }
    }

    /// Bytes of the region.
    pub fn bytes(&self) -> usize {
        self.granules * GRANULE
    }

    fn maps(&mut self) -> (&mut [u64], &mut [u64]) {
        let words = self.granules.div_ceil(BITS);
        // SAFETY: made so by new; the two maps do not overlap, and self is borrowed for writing.
        unsafe { (core::slice::from_raw_parts_mut(self.used, words), core::slice::from_raw_parts_mut(self.dirty, words)) }
    }

    /// Takes `count` granules in a row, the first at a multiple of `align` bytes (a power of two). The lowest fit.
    pub fn take(&mut self, count: usize, align: usize) -> Option<Taken> {
        if self.free < count {
            return None;
        }
        let (base, granules, hint) = (self.base, self.granules, self.hint);
        let (used, dirty) = self.maps();
        let mut at = next_clear(used, hint, granules);
        let first_free = at;
        loop {
            // Alignment may push the start beyond the clear run: then the next run is looked at.
            let aligned = ((base + at * GRANULE + align - 1) & !(align - 1)).wrapping_sub(base) / GRANULE;
            if aligned + count > granules {
                self.hint = first_free;
                return None;
            }
            let end = next_set(used, aligned, aligned + count);
            if end == aligned + count {
                at = aligned;
                break;
            }
            at = next_clear(used, end, granules);
        }
        let mut was_dirty = 0;
        for i in at..at + count {
            set_bit(used, i, true);
            if bit(dirty, i) {
                was_dirty += 1;
                set_bit(dirty, i, false);
            }
        }
        self.free -= count;
        self.hint = if first_free == at { at + count } else { first_free };
        Some(Taken { base: base + at * GRANULE, dirty: was_dirty })
    }

    /// Takes the `count` granules from `index` on, if they are all free. Returns how many were dirty.
    pub fn take_at(&mut self, index: usize, count: usize) -> Option<usize> {
        let granules = self.granules;
        let (used, dirty) = self.maps();
        if index + count > granules || next_set(used, index, index + count) != index + count {
            return None;
        }
        let mut was_dirty = 0;
        for i in index..index + count {
            set_bit(used, i, true);
            was_dirty += usize::from(bit(dirty, i));
            set_bit(dirty, i, false);
        }
        self.free -= count;
        Some(was_dirty)
    }

    /// Gives back `count` granules from `index` on; their memory counts as dirty.
    pub fn give(&mut self, index: usize, count: usize) {
        let (used, dirty) = self.maps();
        for i in index..index + count {
            set_bit(used, i, false);
            set_bit(dirty, i, true);
        }
        self.free += count;
        self.hint = self.hint.min(index);
    }

    /// Calls `clean` with address and bytes of each run of dirty granules but the `keep` lowest, which it counts down; where it returns true, they
    /// are no longer dirty. Returns how many granules became clean.
    pub fn clean_dirty(&mut self, keep: &mut usize, clean: &mut dyn FnMut(usize, usize) -> bool) -> usize {
        let (base, granules) = (self.base, self.granules);
        let (_, dirty) = self.maps();
        let (mut at, mut cleaned) = (0, 0);
        loop {
            let mut start = next_set(dirty, at, granules);
            if start == granules {
                return cleaned;
            }
            let end = next_clear(dirty, start, granules);
            let kept = (*keep).min(end - start);
            *keep -= kept;
            start += kept;
            if start < end && clean(base + start * GRANULE, (end - start) * GRANULE) {
                cleaned += end - start;
                (start..end).for_each(|i| set_bit(dirty, i, false));
            }
            at = end;
        }
    }
}

fn bit(map: &[u64], index: usize) -> bool {
    map.get(index / BITS).is_some_and(|word| word >> (index % BITS) & 1 != 0)
}

fn set_bit(map: &mut [u64], index: usize, on: bool) {
    if let Some(word) = map.get_mut(index / BITS) {
        let mask = 1 << (index % BITS);
        *word = if on { *word | mask } else { *word & !mask };
    }
}

/// The first index in `from..end` whose bit is set, or `end`.
fn next_set(map: &[u64], from: usize, end: usize) -> usize {
    next_where(map, from, end, |word| word)
}

/// The first index in `from..end` whose bit is clear, or `end`.
fn next_clear(map: &[u64], from: usize, end: usize) -> usize {
    next_where(map, from, end, |word| !word)
}

fn next_where(map: &[u64], from: usize, end: usize, wanted: impl Fn(u64) -> u64) -> usize {
    let mut at = from;
    while at < end {
        let Some(&word) = map.get(at / BITS) else { return end };
        let rest = wanted(word) >> (at % BITS);
        if rest != 0 {
            return (at + rest.trailing_zeros() as usize).min(end);
        }
        at = (at / BITS + 1) * BITS;
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(granules: usize, base: usize) -> Region {
        let bitmaps = vec![0u64; Region::bitmap_bytes(granules) / 8].leak();
        // SAFETY: the bitmaps are leaked; no test touches the range itself.
        unsafe { Region::new(base, granules, false, bitmaps.as_mut_ptr() as usize) }
    }

    #[test]
    fn runs_are_found_lowest_first_and_aligned() {
        let mut r = region(200, 8 * GRANULE + GRANULE);
        let one = r.take(1, GRANULE).unwrap();
        assert_eq!((one.base, one.dirty), (9 * GRANULE, 0));
        let eight = r.take(8, 8 * GRANULE).unwrap();
        assert_eq!(eight.base, 16 * GRANULE);
        // The hole before the aligned run is used next, as far as it goes.
        assert_eq!(r.take(6, GRANULE).unwrap().base, 10 * GRANULE);
        assert_eq!(r.take(1, GRANULE).map(|t| t.base), Some(24 * GRANULE));
        r.give(0, 1);
        let again = r.take(1, GRANULE).unwrap();
        assert_eq!((again.base, again.dirty), (9 * GRANULE, 1));
    }

    #[test]
    fn a_region_against_a_plain_model() {
        const N: usize = 150;
        let mut r = region(N, GRANULE * 64);
        let mut model = [0u32; N];
        let mut live: Vec<(usize, usize)> = Vec::new();
        let mut seed = 1u64;
        for step in 1..20_000u32 {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let roll = (seed >> 33) as usize;
            if roll % 2 == 0 || live.is_empty() {
                let count = 1 + roll / 2 % 9;
                let fits = (0..=N - count).find(|&i| model[i..i + count].iter().all(|&m| m == 0));
                let got = r.take(count, GRANULE).map(|t| t.base / GRANULE - 64);
                assert_eq!(got, fits, "step {step}");
                if let Some(i) = got {
                    model[i..i + count].fill(step);
                    live.push((i, count));
                }
            } else {
                let (i, count) = live.swap_remove(roll / 2 % live.len());
                model[i..i + count].fill(0);
                r.give(i, count);
            }
            assert_eq!(r.free, model.iter().filter(|&&m| m == 0).count());
        }
    }
}

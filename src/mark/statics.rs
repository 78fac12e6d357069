//! Objects that lie in modules' data, outside the heap: words that equal their addresses, and owners, counted by address.

use crate::meta::Array;
use crate::sys::memory::GRANULE;

/// Counters for every aligned address in the program's writable segments. The memory behind addresses that nobody names is never touched.
pub struct Statics {
    ranges: Array<Range>,
    range_count: usize,
    words: Array<u32>,
    owned: Array<u32>,
    low: usize,
    high: usize,
    /// The number plus 1 of a granule in which a segment has a part, and the place of the first such segment; at the number's hash or behind it.
    index: Array<(usize, u32)>,
}

#[derive(Clone, Copy)]
struct Range {
    start: usize,
    end: usize,
    first: usize,
    /// Where the module begins.
    base: usize,
}

// SAFETY: zeros are valid in every field, and read only where something was stored.
unsafe impl crate::meta::Zeroed for Range {}

impl Statics {
    /// Counters for these segments (start, end, where the module begins), which come sorted and disjoint.
    pub fn new(segments: &mut dyn Iterator<Item = (usize, usize, usize)>, segments_max: usize) -> Option<Statics> {
        let mut ranges = Array::<Range>::new(segments_max.max(1))?;
        let mut range_count = 0;
        let mut total = 0;
        for (start, end, base) in segments {
            let Some(slot) = ranges.get_mut(range_count) else { break };
            *slot = Range { start, end, first: total, base };
            total += (end - start) / 8;
            range_count += 1;
        }
        let low = ranges.first().map_or(0, |r| r.start);
        let high = ranges.iter().take(range_count).map(|r| r.end).max().unwrap_or(0);
        let index = index(ranges.get(..range_count)?)?;
        Some(Statics {
            ranges,
            range_count,
            words: Array::new(total.max(1))?,
            owned: Array::new(total.max(1))?,
            low,
            high,
            index,
        })
    }

    /// Counters of the same addresses for another thread to count words in.
    pub fn twin(&self) -> Option<Statics> {
        let mut ranges = Array::<Range>::new(self.ranges.len())?;
        ranges.copy_from_slice(&self.ranges);
        let mut index = Array::new(self.index.len())?;
        index.copy_from_slice(&self.index);
        let (words, owned) = (Array::new(self.words.len())?, Array::new(1)?);
        Some(Statics { ranges, range_count: self.range_count, words, owned, low: self.low, high: self.high, index })
    }

    /// Adds the words that another thread counted.
    pub fn absorb(&mut self, twin: &Statics) {
        for (words, &more) in self.words.iter_mut().zip(twin.words.iter()) {
            if more > 0 {
                *words += more;
            }
        }
    }

    /// The counter of an address, if it lies in a segment and is aligned.
    #[inline]
    pub fn slot(&self, address: usize) -> Option<usize> {
        if address.wrapping_sub(self.low) >= self.high - self.low || address & 7 != 0 {
            return None;
        }
        self.slot_in_bounds(address)
    }

    fn slot_in_bounds(&self, address: usize) -> Option<usize> {
        let range = self.range(address)?;
        Some(range.first + (address - range.start) / 8)
    }

    /// The segment of an address. Most words in the bounds are addresses of code, or between the modules: they are told by their granule.
    fn range(&self, address: usize) -> Option<&Range> {
        let (granule, mask) = (address / GRANULE, self.index.len() - 1);
        let mut at = hash(granule);
        let first = loop {
            match *self.index.get(at & mask)? {
                (0, _) => return None,
                (number, first) if number == granule + 1 => break first,
                _ => at += 1,
            }
        };
        let ranges = self.ranges.get(first as usize..self.range_count)?;
        ranges.iter().find(|r| address < r.end).filter(|r| r.start <= address)
    }

    /// Whether `constant` lies in the module that has the writable `address`, before the end of that segment: where the linker puts what the
    /// module's own data names.
    pub fn same_module(&self, address: usize, constant: usize) -> bool {
        self.range(address).is_some_and(|r| (r.base..r.end).contains(&constant))
    }

    /// Counts a word.
    #[inline]
    pub fn count_word(&mut self, word: usize) {
        if let Some(slot) = self.slot(word)
            && let Some(n) = self.words.get_mut(slot)
        {
            *n += 1;
        }
    }

    /// Notes an owner of the object at an address.
    pub fn add_owner(&mut self, address: usize) {
        self.add_owners(address, 1);
    }

    /// Notes several owners at once.
    pub fn add_owners(&mut self, address: usize, owners: u32) {
        if let Some(slot) = self.slot(address)
            && let Some(n) = self.owned.get_mut(slot)
        {
            *n += owners;
        }
    }

    /// Words found that equal the address.
    pub fn words(&self, address: usize) -> u32 {
        self.slot(address).and_then(|s| self.words.get(s)).copied().unwrap_or(0)
    }

    /// Owners noted of the object at the address.
    pub fn owned(&self, address: usize) -> u32 {
        self.slot(address).and_then(|s| self.owned.get(s)).copied().unwrap_or(0)
    }

    /// Whether an address lies in a writable segment.
    pub fn contains(&self, address: usize) -> bool {
        self.slot(address & !7).is_some()
    }

    /// Calls `object` with each address that something owns.
    pub fn for_each_owned(&self, object: &mut dyn FnMut(usize)) {
        for range in self.ranges.iter().take(self.range_count) {
            let counters = self.owned.get(range.first..range.first + (range.end - range.start) / 8).unwrap_or(&[]);
            for (i, &n) in counters.iter().enumerate() {
                if n > 0 {
                    object(range.start + i * 8);
                }
            }
        }
    }
}

fn hash(granule: usize) -> usize {
    granule.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32
}

/// The index of sorted and disjoint ranges, at most half full.
fn index(ranges: &[Range]) -> Option<Array<(usize, u32)>> {
    let granules = |r: &Range| r.start / GRANULE..r.end.div_ceil(GRANULE);
    let count: usize = ranges.iter().map(|r| granules(r).len()).sum();
    let mut index = Array::<(usize, u32)>::new((2 * count + 2).next_power_of_two())?;
    let mask = index.len() - 1;
    for (place, range) in ranges.iter().enumerate() {
        for granule in granules(range) {
            let mut at = hash(granule);
            while index[at & mask].0 != 0 && index[at & mask].0 != granule + 1 {
                at += 1;
            }
            if index[at & mask].0 == 0 {
                index[at & mask] = (granule + 1, place as u32);
            }
        }
    }
    Some(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_apart_by_segment_and_alignment() {
        let mut s = Statics::new(&mut [(0x1000, 0x1100, 0x800), (0x2000, 0x2010, 0x1800)].into_iter(), 2).unwrap();
        for word in [0x1000, 0x1000, 0x10f8, 0x2008, 0x1100, 0x1004, 0x2010, 0] {
            s.count_word(word);
        }
        assert_eq!([s.words(0x1000), s.words(0x10f8), s.words(0x2008), s.words(0x1004), s.words(0x1100)], [2, 1, 1, 0, 0]);
        s.add_owner(0x2000);
        let mut owned = Vec::new();
        s.for_each_owned(&mut |a| owned.push(a));
        assert_eq!(owned, [0x2000]);
        assert!(s.contains(0x1007) && !s.contains(0x1100));
        assert!(s.same_module(0x1008, 0x900) && s.same_module(0x1008, 0x1010));
        assert!(!s.same_module(0x1008, 0x1800) && !s.same_module(0x2000, 0x1700) && !s.same_module(0x1100, 0x900));
    }

    #[test]
    fn every_address_agrees_with_a_search_of_all_segments() {
        let segments = [
            (0x1_0ff8, 0x1_1000),
            (0x1_f000, 0x2_0000),
            (0x2_0000, 0x2_0008),
            (0x3_8000, 0x9_0010),
            (0x9_0018, 0x9_0020),
            (0x7fff_0000, 0x7fff_f000),
        ];
        let s = Statics::new(&mut segments.into_iter().map(|(start, end)| (start, end, start)), segments.len()).unwrap();
        let mut expected = 0;
        for address in (0x1_0000..0xb_0000).chain(0x7ffe_0000..0x8000_8000).step_by(8) {
            let inside = segments.iter().any(|s| (s.0..s.1).contains(&address));
            assert_eq!(s.slot(address), inside.then_some(expected), "{address:#x}");
            expected += usize::from(inside);
        }
    }
}

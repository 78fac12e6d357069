//! The stamps of blocks that have one: a table that all threads use without a lock.
//!
//! Buckets of eight, in levels that double. A stamp goes into one of two buckets of the largest level; if both are full into a smaller level; if all are, there
//! will be a larger one. Only whoever frees a block looks for its stamp, so nothing ever moves. To claim a place is one compare-and-swap of its key;
//! a thread that stops anywhere in between keeps one place, and nobody from anything.

use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering::*};

use crate::meta;
use crate::sys::memory;

/// When a block was born, or set aside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// Monotonic time, ns.
    pub ns: u64,
    /// Bytes that the process had allocated.
    pub bytes: u64,
}

/// What a stamp is found by: a block's address, or the id of a span of one block, whose address may change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Name(u64);

impl Name {
    /// Of a block in a slab.
    pub fn of_address(at: usize) -> Name {
        Name(at as u64 & NAME)
    }

    /// Of the block of a span that has one.
    pub fn of_span(id: u32) -> Name {
        Name(u64::from(id) << 4 | SPAN)
    }

    /// The span's id, if it is named by that.
    pub fn span(self) -> Option<u32> {
        (self.0 & SPAN != 0).then_some((self.0 >> 4) as u32)
    }

    /// The address, if it is not.
    pub fn address(self) -> usize {
        self.0 as usize
    }
}

/// In a key: the block was freed, or found to be garbage, and its memory is not free yet. Addresses of blocks are multiples of 16.
const FLOATS: u64 = 1;
/// In a key: a span's id.
const SPAN: u64 = 2;
/// The bits of a key that name the block: addresses have 47.
const NAME: u64 = ((1 << 48) - 1) & !FLOATS;
/// From here on stands the label of a floating block.
const LABEL_SHIFT: u32 = 48;

const SLOTS: usize = 8;

/// The keys share a cache line.
#[repr(C, align(64))]
struct Bucket {
    keys: [AtomicU64; SLOTS],
    ns: [AtomicU64; SLOTS],
    bytes: [AtomicU64; SLOTS],
}

const LEVELS: usize = 22;
const FIRST_BUCKETS: usize = 64;

/// A table of stamps.
pub struct Births {
    levels: [AtomicPtr<Bucket>; LEVELS],
    count: AtomicU32,
}

/// The place of one stamp.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    key: &'a AtomicU64,
    ns: &'a AtomicU64,
    bytes: &'a AtomicU64,
}

impl Place<'_> {
    /// The stamp.
    pub fn stamp(&self) -> Stamp {
        Stamp { ns: self.ns.load(Relaxed), bytes: self.bytes.load(Relaxed) }
    }

    /// The label it floats under, if it does.
    pub fn floats(&self) -> Option<u16> {
        let key = self.key.load(Relaxed);
        (key & FLOATS != 0).then_some((key >> LABEL_SHIFT) as u16)
    }

    /// From now on the block floats, since `stamp`.
    pub fn set_afloat(&self, label: u16, stamp: Stamp) {
        let name = self.key.load(Relaxed) & NAME;
        self.ns.store(stamp.ns, Relaxed);
        self.bytes.store(stamp.bytes, Relaxed);
        self.key.store(name | FLOATS | u64::from(label) << LABEL_SHIFT, Release);
    }

    /// Gives the place to others.
    pub fn clear(&self) {
        self.key.store(0, Release);
    }
}

#[expect(clippy::new_without_default, reason = "made once, as a static")]
impl Births {
    /// An empty table.
    pub const fn new() -> Births {
        Births { levels: [const { AtomicPtr::new(null_mut()) }; LEVELS], count: AtomicU32::new(0) }
    }

    /// Keeps a stamp for a block that has none. `false`: there was no memory for it.
    pub fn insert(&self, name: Name, stamp: Stamp) -> bool {
        loop {
            let levels = self.count.load(Acquire) as usize;
            for level in (0..levels).rev() {
                for bucket in self.buckets(level, name) {
                    for (at, key) in bucket.keys.iter().enumerate() {
                        if key.load(Relaxed) == 0 && key.compare_exchange(0, name.0, AcqRel, Relaxed).is_ok() {
                            if let (Some(ns), Some(bytes)) = (bucket.ns.get(at), bucket.bytes.get(at)) {
                                ns.store(stamp.ns, Relaxed);
                                bytes.store(stamp.bytes, Release);
                            }
                            return true;
                        }
                    }
                }
            }
            if !self.grow(levels) {
                return false;
            }
        }
    }

    /// The place of a block's stamp. Only whoever frees the block, and so is alone with it, may change it.
    pub fn find(&self, name: Name) -> Option<Place<'_>> {
        let levels = self.count.load(Acquire) as usize;
        (0..levels).rev().flat_map(|level| self.buckets(level, name)).find_map(|bucket| {
            let at = bucket.keys.iter().position(|key| key.load(Acquire) & NAME == name.0)?;
            Some(Place { key: bucket.keys.get(at)?, ns: bucket.ns.get(at)?, bytes: bucket.bytes.get(at)? })
        })
    }

    /// Calls `f` for each block that has a stamp and does not float. Threads may go on meanwhile: those they make and free now may be left out.
    pub fn for_each(&self, f: &mut dyn FnMut(Name, Stamp)) {
        for level in 0..self.count.load(Acquire) as usize {
            for bucket in self.level(level) {
                for ((key, ns), bytes) in bucket.keys.iter().zip(&bucket.ns).zip(&bucket.bytes) {
                    let before = key.load(Acquire);
                    let stamp = Stamp { ns: ns.load(Acquire), bytes: bytes.load(Acquire) };
                    if before != 0 && before & FLOATS == 0 && stamp.ns != 0 && key.load(Relaxed) == before {
                        f(Name(before), stamp);
                    }
                }
            }
        }
    }

    /// Forgets all of them.
    ///
    /// # Safety
    /// No other thread exists.
    pub unsafe fn clear(&self) {
        for level in 0..self.count.load(Relaxed) as usize {
            let buckets = self.level(level);
            // SAFETY: the level's own mapping, whose contents nobody needs; it reads as zeros from here on.
            if !unsafe { memory::discard(buckets.as_ptr() as usize, size_of_val(buckets)) } {
                buckets.iter().flat_map(|b| &b.keys).for_each(|k| k.store(0, Relaxed));
            }
        }
    }

    fn level(&self, level: usize) -> &[Bucket] {
        let Some(start) = self.levels.get(level).map(|l| l.load(Acquire)).filter(|l| !l.is_null()) else { return &[] };
        // SAFETY: a level that was made has so many buckets, zeroed when mapped, and stays.
        unsafe { core::slice::from_raw_parts(start, FIRST_BUCKETS << level) }
    }

    fn buckets(&self, level: usize, name: Name) -> [&Bucket; 2] {
        let buckets = self.level(level);
        let hash = (name.0 >> 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mask = buckets.len() as u64 - 1;
        // SAFETY: both are masked to the length, a power of two; only levels below the count are asked for.
        [hash >> 40, hash >> 16].map(|h| unsafe { buckets.get_unchecked((h & mask) as usize) })
    }

    /// Makes level `level`, unless somebody else does.
    #[cold]
    fn grow(&self, level: usize) -> bool {
        let Some(slot) = self.levels.get(level) else { return false };
        let fresh = meta::reserve((FIRST_BUCKETS << level) * size_of::<Bucket>());
        if fresh.is_null() {
            return false;
        }
        if slot.compare_exchange(null_mut(), fresh.cast(), AcqRel, Relaxed).is_err() {
            // SAFETY: reserved above and known to nobody.
            unsafe { meta::release(fresh) };
        }
        self.count.fetch_max(level as u32 + 1, AcqRel);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(n: usize) -> Stamp {
        Stamp { ns: n as u64 + 1, bytes: 3 * n as u64 }
    }

    #[test]
    fn what_is_put_in_comes_out_once() {
        let births = Births::new();
        let name = |n: usize| if n % 3 == 0 { Name::of_span(n as u32) } else { Name::of_address(0x7f00_0000_0000 + 16 * n) };
        for n in 0..100_000 {
            assert!(births.insert(name(n), stamp(n)));
        }
        let mut seen = 0;
        births.for_each(&mut |_, _| seen += 1);
        assert_eq!(seen, 100_000);
        for n in (0..100_000).rev() {
            let place = births.find(name(n)).unwrap();
            assert_eq!((place.stamp(), place.floats()), (stamp(n), None));
            place.clear();
            assert!(births.find(name(n)).is_none());
        }
        births.for_each(&mut |_, _| panic!("nothing is left"));
    }

    #[test]
    fn a_floating_block_keeps_its_name_and_gets_a_label() {
        let births = Births::new();
        let name = Name::of_address(0x7fff_ffff_fff0);
        assert!(births.insert(name, stamp(1)));
        births.find(name).unwrap().set_afloat(65_535, stamp(2));
        let place = births.find(name).unwrap();
        assert_eq!((place.floats(), place.stamp()), (Some(65_535), stamp(2)));
        births.for_each(&mut |_, _| panic!("what floats does not live"));
        assert_eq!((name.span(), name.address(), Name::of_span(7).span()), (None, 0x7fff_ffff_fff0, Some(7)));
    }

    /// Room is used again: a program that runs for long needs as much as it ever had at one time.
    #[test]
    fn the_table_does_not_grow_by_turnover() {
        let births = Births::new();
        for n in 0..1_000_000usize {
            assert!(births.insert(Name::of_address(16 * n + 16), stamp(n)));
            if n >= 300 {
                births.find(Name::of_address(16 * (n - 300) + 16)).unwrap().clear();
            }
        }
        assert!(births.count.load(Relaxed) <= 3);
    }

    #[test]
    fn a_thread_that_stops_amid_an_insertion_is_in_nobodys_way() {
        let births = Births::new();
        assert!(births.insert(Name::of_address(16), stamp(1)));
        // What such a thread leaves: a key without a stamp.
        let stopped = Name::of_address(48);
        assert!(births.insert(stopped, Stamp { ns: 0, bytes: 0 }));
        for n in 10..1000 {
            assert!(births.insert(Name::of_address(16 * n), stamp(n)));
        }
        let mut seen = 0;
        births.for_each(&mut |name, _| seen += usize::from(name != stopped));
        assert_eq!(seen, 991);
    }

    #[test]
    fn threads_share_it() {
        static SHARED: Births = Births::new();
        std::thread::scope(|scope| {
            for thread in 1..=4usize {
                scope.spawn(move || {
                    for round in 0..20 {
                        let name = |n: usize| Name::of_address(thread << 32 | n << 4);
                        (0..2000).for_each(|n| assert!(SHARED.insert(name(n), stamp(n + round))));
                        (0..2000).for_each(|n| {
                            let place = SHARED.find(name(n)).unwrap();
                            assert_eq!(place.stamp(), stamp(n + round));
                            place.clear();
                        });
                    }
                });
            }
        });
        SHARED.for_each(&mut |_, _| panic!("nothing is left"));
    }
}

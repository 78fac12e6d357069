//! Sequences of words, each kept once and known by a number: the stacks that blocks were allocated on, of which there are few.
//!
//! One reservation: the heads of the hash table's chains, then the entries, one behind the other. An entry is written in full before its chain's head names it,
//! and never changes, so a look takes no lock, and a thread that stops amid an insertion keeps nobody from anything. Nothing is ever taken out: the room
//! is bounded, and what finds none is the caller's to tell.

use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::*};

use crate::meta;

/// Chains.
const CHAINS: usize = 1 << 17;

/// Words that the chains' heads take.
const FIRST_ENTRY: usize = CHAINS / 2;

/// Bytes that are asked for, the first that the system grants. Pages take memory only once they are written.
const SIZES: [usize; 4] = [512 << 20, 128 << 20, 32 << 20, 8 << 20];

/// Words of a sequence, at most.
pub const WORDS_MAX: usize = 64;

/// A table of sequences.
pub struct Depot {
    /// Address of the reservation; 0 before [`Depot::open`].
    start: AtomicUsize,
    /// Words of it.
    words: AtomicUsize,
    /// The first free word.
    next: AtomicUsize,
}

#[expect(clippy::new_without_default, reason = "made once, as a static")]
impl Depot {
    /// An empty one, without room.
    pub const fn new() -> Depot {
        Depot { start: AtomicUsize::new(0), words: AtomicUsize::new(0), next: AtomicUsize::new(FIRST_ENTRY) }
    }

    /// Gets the room. `false` when the system refuses even little.
    pub fn open(&self) -> bool {
        for bytes in SIZES {
            let at = meta::reserve(bytes);
            if !at.is_null() {
                self.words.store(bytes / 8, Relaxed);
                self.start.store(at as usize, Release);
                return true;
            }
        }
        false
    }

    /// The number of a sequence of at most [`WORDS_MAX`] words, never 0; 0 if there is no room for it.
    pub fn number(&self, sequence: &[u64]) -> u32 {
        let start = self.start.load(Acquire);
        if start == 0 || sequence.is_empty() || sequence.len() > WORDS_MAX {
            return 0;
        }
        let hash = hash(sequence);
        let head = self.head(start, hash);
        let mut first = head.load(Acquire);
        let mut seen = 0;
        let mut mine = 0;
        loop {
            let found = self.look(first, seen, hash, sequence);
            if found != 0 {
                // One of ours that nobody will find is lost: two threads made the same at one time.
                return found;
            }
            if mine == 0 {
                mine = self.write(hash, sequence);
                if mine == 0 {
                    return 0;
                }
            }
            // SAFETY: an entry of ours; nobody else knows of it.
            unsafe { self.word(mine).store(u64::from(first) << 32 | self.word(mine).load(Relaxed) & 0xffff_ffff, Relaxed) };
            seen = first;
            match head.compare_exchange(first, mine, AcqRel, Acquire) {
                Ok(_) => return mine,
                Err(now) => first = now,
            }
        }
    }

    /// The sequence that has a number; empty for 0.
    pub fn sequence(&self, number: u32) -> &[u64] {
        if number == 0 || self.start.load(Acquire) == 0 {
            return &[];
        }
        // SAFETY: numbers are given for entries alone, which never change.
        unsafe {
            let length = self.word(number).load(Relaxed) as usize & 0xff;
            core::slice::from_raw_parts(self.at(number).add(1), length)
        }
    }

    /// Bytes of the room that are taken.
    pub fn bytes(&self) -> usize {
        self.next.load(Relaxed) * 8
    }

    /// Looks for a sequence in a chain, from entry `first` up to and without `end`. 0 if it is not there.
    fn look(&self, first: u32, end: u32, hash: u64, sequence: &[u64]) -> u32 {
        let mut at = first;
        while at != end && at != 0 {
            // SAFETY: chains have entries alone.
            let head = unsafe { self.word(at) }.load(Relaxed);
            if head & 0xffff_ffff == tag(hash, sequence) && self.sequence(at) == sequence {
                return at;
            }
            at = (head >> 32) as u32;
        }
        0
    }

    /// Writes an entry. 0: no room.
    fn write(&self, hash: u64, sequence: &[u64]) -> u32 {
        let words = self.words.load(Relaxed);
        let take = sequence.len() + 1;
        let fits = |next: usize| (next + take <= words).then_some(next + take);
        let Ok(at) = self.next.fetch_update(Relaxed, Relaxed, fits) else { return 0 };
        // SAFETY: so many words at this place are ours alone.
        unsafe {
            self.word(at as u32).store(tag(hash, sequence), Relaxed);
            core::ptr::copy_nonoverlapping(sequence.as_ptr(), self.at(at as u32).add(1), sequence.len());
        }
        at as u32
    }

    fn head(&self, start: usize, hash: u64) -> &AtomicU32 {
        // SAFETY: masked to the number of chains, whose heads stand first; zero, the first state, is an empty chain.
        unsafe { &*(start as *const AtomicU32).add(hash as usize & (CHAINS - 1)) }
    }

    fn at(&self, number: u32) -> *mut u64 {
        (self.start.load(Relaxed) + number as usize * 8) as *mut u64
    }

    /// An entry's first word: the number of the next of the chain, 24 bits of the hash, the length.
    ///
    /// # Safety
    /// `number` is an entry's.
    unsafe fn word(&self, number: u32) -> &AtomicU64 {
        // SAFETY: the caller's duty.
        unsafe { &*self.at(number).cast() }
    }
}

const _: () = assert!(SIZES[0] / 8 <= u32::MAX as usize && WORDS_MAX < 1 << 8 && FIRST_ENTRY > 0);

fn tag(hash: u64, sequence: &[u64]) -> u64 {
    (hash >> 40) << 8 | sequence.len() as u64
}

/// Multiplies each word in (as FxHash does), and mixes at the end: neighbours differ in few bits.
fn hash(sequence: &[u64]) -> u64 {
    let mixed = sequence
        .iter()
        .fold(sequence.len() as u64, |hash, word| (hash.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95));
    (mixed ^ mixed >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 7 ^ mixed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(n: u64) -> Vec<u64> {
        (0..1 + n % 30).map(|i| 0x7f00_0000_0000 + (n << 4) * (i + 1)).collect()
    }

    #[test]
    fn what_is_put_in_twice_has_one_number_and_comes_out_as_it_was() {
        let depot = Depot::new();
        assert_eq!(depot.number(&[1]), 0, "before there is room");
        assert!(depot.open());
        let numbers: Vec<u32> = (0..50_000).map(|n| depot.number(&sequence(n))).collect();
        let full = depot.bytes();
        for (n, &number) in numbers.iter().enumerate() {
            assert_eq!(depot.sequence(number), sequence(n as u64));
            assert_eq!(depot.number(&sequence(n as u64)), number);
        }
        assert_eq!(depot.bytes(), full);
        assert_eq!(numbers.iter().collect::<std::collections::HashSet<_>>().len(), numbers.len());
        assert!(!numbers.contains(&0) && depot.sequence(0).is_empty());
        assert_eq!((depot.number(&[]), depot.number(&[7; WORDS_MAX + 1])), (0, 0));
    }

    #[test]
    fn a_full_one_says_so_and_still_finds_what_it_has() {
        let depot = Depot::new();
        assert!(depot.open());
        let first = depot.number(&[1, 2, 3]);
        depot.words.store(depot.next.load(Relaxed) + 5, Relaxed);
        assert_ne!(depot.number(&[4, 5, 6, 7]), 0);
        assert_eq!(depot.number(&[8]), 0);
        assert_eq!(depot.number(&[1, 2, 3]), first);
    }

    #[test]
    fn threads_agree_on_the_numbers() {
        static SHARED: Depot = Depot::new();
        assert!(SHARED.open());
        let numbers: Vec<Vec<u32>> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..4).map(|_| scope.spawn(|| (0..20_000).map(|n| SHARED.number(&sequence(n))).collect::<Vec<u32>>())).collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert!(numbers.iter().all(|those| *those == numbers[0]));
    }
}

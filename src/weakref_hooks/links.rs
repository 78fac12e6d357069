//! Weak words that the program registered (`gcshim_weak_register`).
//!
//! A link is weak for what it held when it was registered, its *referent*. It is emptied when the referent ends: by `free`, or because a collection takes it.
//! Once the program has stored something else there, it is a word like any other and keeps what it points to, until it is registered again.
//!
//! A collection decides by a snapshot, and the program goes on meanwhile. So whoever wants a referent asks [`get`], under the lock, which notes that it was asked for: if a
//! referent that the snapshot shows as lost has been handed out since, it and what it leads to are not lost, and nothing that hangs on links is taken this time.

use core::sync::atomic::{AtomicUsize, Ordering::*};

use crate::heap::{retained, view, watch};
use crate::meta::{Map, Zeroed};
use crate::roots::maps;
use crate::sys::lock::{Ranked, rank};

/// What is kept of a link; the key is its own address.
#[derive(Clone, Copy, Default)]
struct Link {
    /// What it held when it was registered.
    word: usize,
    /// Start of the block into which that leads.
    block: usize,
    /// Neighbours among the links to the same block; 0 for none.
    next: usize,
    previous: usize,
    /// The full collection since whose beginning it was last asked for.
    asked_in: u32,
}

// SAFETY: zeros are numbers.
unsafe impl Zeroed for Link {}

struct Links {
    links: Map<Link>,
    /// By a referent's start, its first link.
    first: Map<usize>,
    /// Full collections begun.
    collection: u32,
    /// Links emptied because their referents ended.
    cleared: u64,
}

static LINKS: Ranked<{ rank::LINKS }, Links> =
    Ranked::new(Links { links: Map::new(), first: Map::new(), collection: 0, cleared: 0 });

/// Why a link is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// It is no aligned word of private memory, or what it holds leads into no block that is in use.
    Nothing,
    /// There is no memory to remember it.
    NoMemory,
}

/// Makes the word at `link` weak for what it holds.
///
/// # Safety
/// `link` is a readable and writable word of private memory for as long as it is registered, if it is aligned.
pub unsafe fn register(link: usize) -> Result<(), Refused> {
    if link == 0 || !link.is_multiple_of(8) || !is_private(link) {
        return Err(Refused::Nothing);
    }
    let mut links = LINKS.lock();
    links.remove(link);
    // SAFETY: the caller's duty.
    let word = unsafe { at(link) }.load(Acquire);
    let block = view::block_around(word).map_or(0, |b| b.0);
    if block == 0 || !retained::is_in_use(block) {
        return Err(Refused::Nothing);
    }
    links.add(link, word, block).ok_or(Refused::NoMemory)
}

/// Makes the word at `link` a word like any other. Whether it was a link.
pub fn unregister(link: usize) -> bool {
    LINKS.lock().remove(link).is_some()
}

/// What the word at `link` holds, for the caller to keep: from here on the referent is not lost.
///
/// # Safety
/// `link` is a readable word.
pub unsafe fn get(link: usize) -> usize {
    let mut links = LINKS.lock();
    let collection = links.collection;
    // SAFETY: the caller's duty.
    let word = unsafe { at(link) }.load(Acquire);
    if let Some(known) = links.links.get_mut(link)
        && known.word == word
    {
        known.asked_in = collection;
    }
    word
}

/// Whether a block was asked for since the last full collection began.
pub fn was_asked_for(block: usize) -> bool {
    let links = LINKS.lock();
    let mut next = links.first.get(block);
    while let Some(link) = next.and_then(|&link| links.links.get(link)) {
        if link.asked_in == links.collection {
            return true;
        }
        next = Some(&link.next);
    }
    false
}

/// A block ends: the links to it are emptied, and those that lie in it are dropped.
pub fn block_ended(block: usize, bytes: usize) {
    let mut links = LINKS.lock();
    if links.links.is_empty() {
        return;
    }
    links.drop_those_in(block, bytes);
    while let Some(&link) = links.first.get(block) {
        links.empty(link);
    }
}

/// realloc has moved a block: the links to it follow.
pub fn block_moved(from: usize, to: usize) {
    let mut links = LINKS.lock();
    while let Some(&link) = links.first.get(from) {
        let Some(old) = links.remove(link) else { return };
        let word = old.word - from + to;
        // SAFETY: a link is writable while it is registered.
        if unsafe { at(link) }.compare_exchange(old.word, word, AcqRel, Relaxed).is_ok() {
            // There is room: one was removed.
            _ = links.add(link, word, to);
        }
    }
}

/// How many there are.
pub fn count() -> usize {
    LINKS.lock().links.len()
}

/// How many have been emptied because their referents ended.
pub fn cleared() -> u64 {
    LINKS.lock().cleared
}

/// A full collection begins: what is asked for from here on is not lost.
pub fn begin_collection() {
    LINKS.lock().collection += 1;
}

/// In a snapshot's child: empties every link in this copy, so that marking does not see them.
///
/// # Safety
/// In a private copy of the program.
pub unsafe fn hide() {
    LINKS.lock().links.for_each(&mut |link, known| {
        // SAFETY: the caller's duty; the memory is private, so it is this copy's.
        _ = unsafe { at(link) }.compare_exchange(known.word, 0, Relaxed, Relaxed);
    });
}

/// Calls `each` with every link and the start of its referent.
pub fn for_each(each: &mut dyn FnMut(usize, usize)) {
    LINKS.lock().links.for_each(&mut |link, known| each(link, known.block));
}

/// A full collection ends: empties the links that `lost` calls back with, all of them or, if one has been asked for since it began, none. Whether it did.
pub fn empty_unless_asked_for(lost: &dyn Fn(&mut dyn FnMut(usize))) -> bool {
    let mut links = LINKS.lock();
    let collection = links.collection;
    let mut asked_for = false;
    lost(&mut |link| asked_for |= links.links.get(link).is_some_and(|l| l.asked_in == collection));
    if !asked_for {
        lost(&mut |link| links.empty(link));
    }
    !asked_for
}

/// For a snapshot, or a fork: what is listed is whole. See `heap::lock_all`.
pub fn lock() {
    LINKS.lock_and_keep();
}

/// The same without waiting; `false` if somebody holds the lock.
pub fn try_lock() -> bool {
    LINKS.try_lock_and_keep()
}

/// The end of [`lock`].
///
/// # Safety
/// As `heap::unlock_all`.
pub unsafe fn unlock() {
    // SAFETY: the caller's duty.
    unsafe { LINKS.release_kept() };
}

/// Whether a word is the process's own: a snapshot's child empties the links in its copy, and what is shared is no copy.
fn is_private(link: usize) -> bool {
    let mut private = false;
    view::block_around(link).is_some()
        || !maps::for_each(&mut |m| private |= m.private && m.write && m.start <= link && link < m.end)
        || private
}

/// # Safety
/// `link` is an aligned word that can be read and written.
unsafe fn at<'a>(link: usize) -> &'a AtomicUsize {
    // SAFETY: the caller's duty.
    unsafe { AtomicUsize::from_ptr(link as *mut usize) }
}

impl Links {
    fn add(&mut self, link: usize, word: usize, block: usize) -> Option<()> {
        let next = self.first.get(block).copied().unwrap_or(0);
        self.links.insert(link, Link { word, block, next, previous: 0, asked_in: self.collection }).ok()?;
        if self.first.insert(block, link).is_err() {
            self.links.remove(link);
            return None;
        }
        if let Some(second) = self.links.get_mut(next) {
            second.previous = link;
        }
        watch::add(link);
        watch::add(block);
        Some(())
    }

    fn remove(&mut self, link: usize) -> Option<Link> {
        let old = self.links.remove(link)?;
        if let Some(next) = self.links.get_mut(old.next) {
            next.previous = old.previous;
        }
        if let Some(previous) = self.links.get_mut(old.previous) {
            previous.next = old.next;
        } else if old.next == 0 {
            self.first.remove(old.block);
        } else if let Some(first) = self.first.get_mut(old.block) {
            *first = old.next;
        }
        watch::remove(link);
        watch::remove(old.block);
        Some(old)
    }

    /// The referent ends.
    fn empty(&mut self, link: usize) {
        let Some(old) = self.remove(link) else { return };
        // SAFETY: a link is writable while it is registered.
        if unsafe { at(link) }.compare_exchange(old.word, 0, AcqRel, Relaxed).is_ok() {
            self.cleared += 1;
        }
    }

    /// Forgets the links that lie in a block, whichever way is shorter: by its words, or by the table.
    fn drop_those_in(&mut self, block: usize, bytes: usize) {
        if bytes / 8 <= self.links.places() {
            for link in (block..block + bytes).step_by(8) {
                self.remove(link);
            }
            return;
        }
        loop {
            let mut found = 0;
            self.links.for_each(&mut |link, _| {
                if (block..block + bytes).contains(&link) {
                    found = link;
                }
            });
            if self.remove(found).is_none() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heap::{self, Domain};

    /// The table is the process's: one test at a time.
    static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());

    fn end(block: *mut u8) {
        block_ended(block as usize, heap::usable_size(block));
        heap::free(block);
    }

    #[test]
    fn all_links_to_a_block_are_emptied_when_it_ends_and_no_other() {
        let _alone = ALONE.lock();
        let (block, other) = (heap::allocate(100, Domain::Raw), heap::allocate(100, Domain::Raw));
        let mut words: Vec<usize> = (0..50).map(|i| block as usize + i).collect();
        let mut kept = other as usize;
        let address = |w: &mut usize| &raw mut *w as usize;
        // SAFETY: words of this test's own.
        unsafe {
            words.iter_mut().for_each(|w| assert_eq!(register(address(w)), Ok(())));
            assert_eq!(register(address(&mut kept)), Ok(()));
            assert!(unregister(address(&mut words[7])) && !unregister(address(&mut words[7])));
            // One that points elsewhere by now is the program's.
            words[9] = 42;
            assert_eq!(get(address(&mut words[3])), block as usize + 3);
        }
        end(block);
        assert_eq!((words[7], words[9]), (block as usize + 7, 42));
        assert!(words.iter().enumerate().all(|(i, &w)| w == 0 || i == 7 || i == 9));
        assert_eq!(kept, other as usize);
        end(other);
        assert_eq!((kept, count()), (0, 0));
        LINKS.lock().first.for_each(&mut |_, _| panic!("a link is left"));
    }

    #[test]
    fn a_link_in_a_block_that_ends_is_dropped() {
        let _alone = ALONE.lock();
        for bytes in [64, 1 << 20] {
            let (block, referent) = (heap::allocate(bytes, Domain::Raw), heap::allocate(100, Domain::Raw));
            // SAFETY: words of the block.
            unsafe {
                for at in [0, 24, bytes - 8] {
                    *(block.add(at).cast::<usize>()) = referent as usize;
                    assert_eq!(register(block as usize + at), Ok(()));
                }
                end(block);
                assert_eq!(count(), 0);
                end(referent);
            }
        }
    }

    #[test]
    fn what_leads_nowhere_is_no_link() {
        let _alone = ALONE.lock();
        let mut word = [7usize, 0];
        // SAFETY: words of this test's own.
        unsafe {
            assert_eq!(register(&raw mut word[0] as usize), Err(Refused::Nothing));
            assert_eq!(register(&raw mut word[1] as usize), Err(Refused::Nothing));
            assert_eq!(register(&raw mut word[0] as usize + 1), Err(Refused::Nothing));
            assert_eq!(register(0), Err(Refused::Nothing));
        }
    }

    #[test]
    fn links_follow_a_block_that_moves() {
        let _alone = ALONE.lock();
        let (from, to) = (heap::allocate(100, Domain::Raw) as usize, heap::allocate(200, Domain::Raw) as usize);
        let mut word = from + 40;
        // SAFETY: a word of this test's own.
        unsafe { assert_eq!(register(&raw mut word as usize), Ok(())) };
        block_moved(from, to);
        assert_eq!(word, to + 40);
        end(from as *mut u8);
        assert_eq!(word, to + 40);
        end(to as *mut u8);
        assert_eq!((word, count()), (0, 0));
    }

    #[test]
    fn what_was_asked_for_since_the_collection_began_keeps_all() {
        let _alone = ALONE.lock();
        let blocks = [heap::allocate(32, Domain::Raw), heap::allocate(32, Domain::Raw)];
        let mut words = blocks.map(|b| b as usize);
        let links = [&raw mut words[0] as usize, &raw mut words[1] as usize];
        let lost = move |each: &mut dyn FnMut(usize)| links.iter().for_each(|&link| each(link));
        // SAFETY: words of this test's own.
        unsafe {
            links.iter().for_each(|&link| assert_eq!(register(link), Ok(())));
            begin_collection();
            assert_eq!(get(links[1]), blocks[1] as usize);
            assert!(!empty_unless_asked_for(&lost));
            assert_eq!((get(links[0]), get(links[1])), (blocks[0] as usize, blocks[1] as usize));
            begin_collection();
            assert!(empty_unless_asked_for(&lost));
            assert_eq!((get(links[0]), get(links[1]), count()), (0, 0, 0));
        }
        blocks.into_iter().for_each(heap::free);
    }
}

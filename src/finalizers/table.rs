//! The program's finalizers: which block has one, which wait to be run, which blocks have had theirs.

use crate::heap::{retained, watch};
use crate::meta::{Array, Map, Zeroed};
use crate::sys::lock::{Ranked, rank};

/// C's `void (*)(void *block, void *argument)`.
pub type Function = unsafe extern "C" fn(*mut core::ffi::c_void, *mut core::ffi::c_void);

/// What is kept of a finalizer; the key is its block. The argument is a plain word: it keeps what it points to.
#[derive(Clone, Copy, Default)]
struct Finalizer {
    function: usize,
    argument: usize,
    /// Its block was found lost: it is to be run.
    waits: u64,
}

// SAFETY: zeros are numbers.
unsafe impl Zeroed for Finalizer {}

/// A finalizer that is to be run now.
#[derive(Clone, Copy)]
pub struct Turn {
    /// Start of the block.
    pub block: usize,
    /// The program's function.
    pub function: Function,
    /// The program's argument.
    pub argument: usize,
}

struct Table {
    set: Map<Finalizer>,
    /// Blocks whose finalizers are to be run, in their order, from `next` on. They stand there plainly: they are kept, and all they lead to. A finalizer that was removed
    /// meanwhile leaves its block here.
    waiting: Option<Array<usize>>,
    next: usize,
    end: usize,
    /// Blocks whose finalizer has run: since the last full collection began, and before. That one sees whether anything reaches them.
    finalized: Map<u8>,
    finalized_before: Map<u8>,
    run: u64,
    resurrected: u64,
}

static TABLE: Ranked<{ rank::FINALIZERS }, Table> = Ranked::new(Table {
    set: Map::new(),
    waiting: None,
    next: 0,
    end: 0,
    finalized: Map::new(),
    finalized_before: Map::new(),
    run: 0,
    resurrected: 0,
});

/// What came of a request to set one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Set {
    /// The block had none.
    New,
    /// The block had one, which is gone.
    Instead,
    /// This is not the start of a block that is in use.
    NoBlock,
    /// There is no memory to remember it.
    NoMemory,
}

/// Sets a block's finalizer; `None` removes it.
pub fn set(block: usize, function: Option<Function>, argument: usize) -> Set {
    if !retained::is_in_use(block) {
        return Set::NoBlock;
    }
    let mut table = TABLE.lock();
    let had = match function {
        None => Ok(table.drop_finalizer(block)),
        Some(function) => table
            .set
            .insert(block, Finalizer { function: function as usize, argument, waits: 0 })
            .inspect(|had| {
                if had.is_none() {
                    watch::add(block)
                }
            })
            .map(|had| had.is_some()),
    };
    match had {
        Ok(true) => Set::Instead,
        Ok(false) => Set::New,
        Err(_) => Set::NoMemory,
    }
}

/// A block ends: so does what was to be done before its end.
pub fn block_ended(block: usize) {
    let mut table = TABLE.lock();
    table.drop_finalizer(block);
    for had in [table.finalized.remove(block), table.finalized_before.remove(block)] {
        if had.is_some() {
            watch::remove(block);
        }
    }
}

/// realloc has moved a block: its finalizer follows.
pub fn block_moved(from: usize, to: usize) {
    let mut table = TABLE.lock();
    if let Some(finalizer) = table.set.remove(from) {
        watch::remove(from);
        // There is room: one was removed. Whoever moves the block has it: it is not lost.
        if table.set.insert(to, Finalizer { waits: 0, ..finalizer }).is_ok() {
            watch::add(to);
        }
    }
}

/// How many are set.
pub fn count() -> usize {
    TABLE.lock().set.len()
}

/// How many have run, and how many of their blocks were reached afterwards.
pub fn totals() -> (u64, u64) {
    let table = TABLE.lock();
    (table.run, table.resurrected)
}

/// Calls `range` with start and end of memory whose words keep what they point to: arguments, and what waits.
pub fn for_each_root(range: &mut dyn FnMut(usize, usize)) {
    let table = TABLE.lock();
    let (start, end) = table.set.memory();
    range(start, end);
    if let Some(waiting) = table.waiting.as_ref().and_then(|w| w.get(table.next..table.end)) {
        range(waiting.as_ptr() as usize, waiting.as_ptr_range().end as usize);
    }
}

/// Calls `each` with every block that has a finalizer.
pub fn for_each(each: &mut dyn FnMut(usize)) {
    TABLE.lock().set.for_each(&mut |block, _| each(block));
}

/// Calls `each` with every block whose finalizer had run when the last full collection began.
pub fn for_each_finalized(each: &mut dyn FnMut(usize)) {
    TABLE.lock().finalized_before.for_each(&mut |block, _| each(block));
}

/// A full collection begins.
pub fn begin_collection() {
    let table = &mut *TABLE.lock();
    let Table { finalized, finalized_before, .. } = table;
    finalized.for_each(&mut |block, _| {
        // Without memory nobody will know whether that one was resurrected.
        if finalized_before.insert(block, 0) != Ok(None) {
            watch::remove(block);
        }
    });
    finalized.clear();
}

/// A full collection ends: of the blocks whose finalizers had run when it began, so many are reached.
pub fn end_collection(resurrected: u64) {
    let table = &mut *TABLE.lock();
    table.resurrected += resurrected;
    table.finalized_before.for_each(&mut |block, _| watch::remove(block));
    table.finalized_before.clear();
}

/// Has the finalizers of lost blocks wait to be run, in this order, behind those that do.
pub fn have_wait(lost: &dyn Fn(&mut dyn FnMut(usize))) {
    let mut table = TABLE.lock();
    lost(&mut |block| table.have_wait(block));
}

/// Takes the finalizer that is to be run next.
pub fn take_next() -> Option<Turn> {
    let mut table = TABLE.lock();
    while table.next < table.end {
        let at = table.next;
        table.next += 1;
        let block = core::mem::take(table.waiting.as_mut()?.get_mut(at)?);
        if table.set.get(block).is_none_or(|f| f.waits == 0) {
            continue;
        }
        let Finalizer { function, argument, .. } = table.set.remove(block)?;
        table.run += 1;
        // What watched the finalizer watches that it has run. Without memory nobody will know whether the block was resurrected.
        if table.finalized.insert(block, 0) != Ok(None) {
            watch::remove(block);
        }
        // SAFETY: only set stores there, and only functions of this type.
        let function = unsafe { core::mem::transmute::<usize, Function>(function) };
        return Some(Turn { block, function, argument });
    }
    None
}

/// For a snapshot, or a fork: what is listed is whole. See `heap::lock_all`.
pub fn lock() {
    TABLE.lock_and_keep();
}

/// The same without waiting; `false` if somebody holds the lock.
pub fn try_lock() -> bool {
    TABLE.try_lock_and_keep()
}

/// The end of [`lock`].
///
/// # Safety
/// As `heap::unlock_all`.
pub unsafe fn unlock() {
    // SAFETY: the caller's duty.
    unsafe { TABLE.release_kept() };
}

impl Table {
    /// Drops a block's finalizer, also if it waits. Whether there was one.
    fn drop_finalizer(&mut self, block: usize) -> bool {
        let had = self.set.remove(block).is_some();
        if had {
            watch::remove(block);
        }
        had
    }

    /// A finalizer's block is lost: it is run when its turn comes. Without memory the next collection finds it again.
    fn have_wait(&mut self, block: usize) {
        if self.set.get(block).is_some_and(|f| f.waits == 0) && self.have_room() {
            let end = self.end;
            if let Some(slot) = self.waiting.as_mut().and_then(|w| w.get_mut(end)) {
                *slot = block;
                self.end += 1;
            }
            if let Some(finalizer) = self.set.get_mut(block) {
                finalizer.waits = 1;
            }
        }
    }

    fn have_room(&mut self) -> bool {
        if self.next == self.end {
            (self.next, self.end) = (0, 0);
        }
        let room = self.waiting.as_ref().map_or(0, |w| w.len());
        if self.end < room {
            return true;
        }
        let Some(mut larger) = Array::<usize>::new((2 * room).max(256)) else { return false };
        let old = self.waiting.as_ref().and_then(|w| w.get(self.next..self.end)).unwrap_or(&[]);
        larger.iter_mut().zip(old).for_each(|(to, from)| *to = *from);
        (self.next, self.end) = (0, self.end - self.next);
        self.waiting = Some(larger);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heap::{self, Domain};

    unsafe extern "C" fn nothing(_block: *mut core::ffi::c_void, _argument: *mut core::ffi::c_void) {}

    #[test]
    fn a_block_has_one_finalizer_until_it_waits_and_none_after() {
        let block = heap::allocate(100, Domain::Raw) as usize;
        let run = Some(nothing as Function);
        assert_eq!(set(block + 16, run, 0), Set::NoBlock);
        assert_eq!((set(block, None, 0), set(block, run, 1), set(block, run, 2)), (Set::New, Set::New, Set::Instead));
        have_wait(&|each| each(block));
        let mut words = Vec::new();
        // SAFETY: the table's own memory.
        for_each_root(&mut |s, e| words.extend(unsafe { core::slice::from_raw_parts(s as *const usize, (e - s) / 8) }));
        assert!(words.contains(&block) && words.contains(&2));
        let taken = take_next().unwrap();
        assert_eq!((taken.block, taken.argument, take_next().is_none(), count()), (block, 2, true, 0));
        for_each_finalized(&mut |_| panic!("it ran after the last collection began"));
        begin_collection();
        let mut finalized = Vec::new();
        for_each_finalized(&mut |b| finalized.push(b));
        assert_eq!(finalized, [block]);
        end_collection(1);
        for_each_finalized(&mut |_| panic!("it has been looked at"));
        assert_eq!(totals(), (1, 1));

        // What waits is dropped by removing it, and made new by setting another.
        for last in 0..300 {
            assert_eq!(set(block, run, 3), Set::New);
            have_wait(&|each| each(block));
            assert_eq!(set(block, if last % 2 == 0 { None } else { run }, 4), Set::Instead);
            assert!(take_next().is_none());
            set(block, None, 0);
        }
        assert!(take_next().is_none());
        assert_eq!(set(block, run, 4), Set::New);
        block_ended(block);
        assert_eq!(count(), 0);
        heap::free(block as *mut u8);
    }
}

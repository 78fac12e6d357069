//! The census: every object of the snapshot with its three numbers.

use core::sync::atomic::{AtomicUsize, Ordering};

use super::findings::{Finding, Findings, Key};
use super::phases::Phases;
use super::settings::Settings;
use crate::finalizers::refcount_validator::Numbers;
use crate::finalizers::table;
use crate::heap::view;
use crate::mark::together::mark;
use crate::mark::walk::Ids;
use crate::mark::{BlockId, Blocks, Opaque, Statics};
use crate::meta::Array;
use crate::python::count::Count;
use crate::python::objects::Model;
use crate::python::runtime::Runtime;
use crate::python::traverse::{self, Visited};
use crate::python::types::Species;
use crate::python::{free_lists, layout};
use crate::roots::added::Copies;
use crate::roots::control_block::ControlBlock;
use crate::roots::modules::Modules;
use crate::roots::sealing;
use crate::roots::set::{RootSet, Sources};
use crate::roots::threads::Thread;
use crate::sys::guard::{self, Outcome};
use crate::sys::{sealed, second};
use crate::weakref_hooks::links;

/// What the program handed to its snapshot.
pub struct Scene<'a> {
    /// The modules.
    pub modules: &'a Modules,
    /// glibc's layout.
    pub control: ControlBlock,
    /// What is shared and was named by the program.
    pub added: &'a Copies,
    /// The auditing thread and those that stand still.
    pub threads: &'a dyn Fn(&mut dyn FnMut(Thread)),
    /// The interpreter, if there is one.
    pub runtime: Option<&'static Runtime>,
    /// The interpreter's object allocator was ours from the start.
    pub routed: bool,
    /// Bytes that the interpreter's debug hooks put before each object.
    pub header_bytes: usize,
    /// The GIL is held by the auditing thread, or by nobody.
    pub consistent: bool,
    /// The GIL is held by the auditing thread: the interpreter's functions may be called.
    pub gil: bool,
    /// What of the shim's own memory is older than the audit.
    pub mark: crate::meta::Mark,
    /// How many heads of leaks are to be kept.
    pub heads_max: usize,
    /// Told to the program: the type whose `tp_traverse` is being called.
    pub traversing: &'static AtomicUsize,
}

/// A lost object, as it was in the snapshot.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct Head {
    /// Its address.
    pub object: usize,
    /// Its block's.
    pub block: usize,
    /// The words in its header: the count as it stands there, and the type.
    pub header: [usize; 2],
    /// References that nobody holds.
    pub surplus: u64,
}

// SAFETY: zeros are numbers.
unsafe impl crate::meta::Zeroed for Head {}

/// Heads of leaks, as far as there is room.
pub struct Heads {
    list: Array<Head>,
    count: usize,
}

impl Heads {
    fn new(most: usize) -> Option<Heads> {
        Some(Heads { list: Array::new(most)?, count: 0 })
    }

    /// Adds one.
    pub fn add(&mut self, head: Head) {
        if let Some(slot) = self.list.get_mut(self.count) {
            *slot = head;
            self.count += 1;
        }
    }

    /// All of them.
    pub fn all(&self) -> &[Head] {
        self.list.get(..self.count).unwrap_or(&[])
    }
}

/// Something that could not be done.
#[derive(Clone, Copy, Default)]
pub struct Degraded {
    /// In plain words; `%T` stands for the type's name.
    pub what: &'static str,
    /// A type's address, 0 for none.
    pub type_address: usize,
    /// How often.
    pub count: u64,
}

/// The census, and what comes of it.
pub struct Census {
    /// The user's wishes.
    pub settings: &'static Settings,
    /// The blocks with words and owners.
    pub blocks: Blocks,
    /// The same for objects in modules' data.
    pub statics: Statics,
    /// The object model, in a Python program.
    pub model: Option<Model>,
    /// The roots.
    pub roots: RootSet,
    /// The findings.
    pub findings: Findings,
    /// What could not be done.
    pub degraded: [Degraded; 32],
    degraded_count: usize,
    /// Heads of leaks that no word leads to at all, for a collection.
    pub heads: Heads,
    /// Words read.
    pub words_read: u64,
    /// What the phases cost.
    pub phases: Phases,
    /// Room for one `tp_traverse` call.
    pub visited: Array<u8>,
    /// The GIL is held: names and previews may be asked of the interpreter.
    pub gil: bool,
    pub(super) traversing: &'static AtomicUsize,
    /// Objects that claim more references than words name them.
    pub(super) with_surplus: Ids,
}

/// The stack of the second thread: marking does not recurse.
const SECOND_STACK_BYTES: usize = 256 << 10;

impl Census {
    /// Takes the numbers of a snapshot, in its child. `None` without memory.
    ///
    /// # Safety
    /// In the snapshot child, after `guard::install`.
    pub unsafe fn take(scene: &Scene<'_>, settings: &'static Settings) -> Option<Census> {
        let mut phases = Phases::begin();
        let modules = scene.modules;
        let base = |module: u32| modules.all().get(module as usize).map_or(0, |m| m.base);
        let mut second_stack = if second::processors() > 1 { Array::<u8>::new(SECOND_STACK_BYTES) } else { None };
        let second_stack = second_stack.as_mut().map_or(0, |s| s.as_mut_ptr_range().end as usize);
        let mut statics =
            Statics::new(&mut modules.segments().iter().map(|s| (s.start, s.end, base(s.module))), modules.segments().len())?;
        if scene.gil
            && let Some(runtime) = scene.runtime
        {
            // SAFETY: in the child, with the GIL.
            unsafe { forget_what_nobody_owns(runtime, &mut statics) };
        }
        // SAFETY: in the child, whose memory is a copy.
        unsafe { links::hide() };
        phases.end("forget");
        // SAFETY: in the child nobody else changes the heap.
        let mut blocks = unsafe { Blocks::take(scene.header_bytes)? };
        phases.end("blocks");
        let model = match scene.runtime {
            Some(runtime) => Some(Model::take(runtime, &mut blocks, &statics, !scene.routed)?),
            None => None,
        };
        phases.end("objects");
        let mut stale = [(0, 0); 64];
        let stale_count = model.as_ref().map_or(0, |m| m.stale_ranges(&blocks, &mut stale));
        let sources = Sources {
            modules: scene.modules,
            control: scene.control,
            shim_address: Census::take as *const () as usize,
            kinds: settings.kinds,
            stale: stale.get(..stale_count).unwrap_or(&[]),
            added: scene.added,
            told: &|range| table::for_each_root(range),
            in_place: false,
        };
        let own = |each: &mut dyn FnMut(usize, usize)| view::for_each_own_range(each);
        let roots = RootSet::build(&sources, &own, scene.threads)?;
        phases.end("roots");
        let each_root = |each: &mut dyn FnMut(usize, usize)| roots.for_each_part(&mut |root| each(root.start, root.end));
        // SAFETY: in the snapshot child; the roots are readable mappings of this process, from its own list.
        let words_read = unsafe {
            match &model {
                Some(model) => mark(&mut blocks, &mut statics, model, &each_root, second_stack)?,
                None => mark(&mut blocks, &mut statics, &Opaque, &each_root, second_stack)?,
            }
        };
        phases.end("mark");
        let total = blocks.total();
        let mut census = Census {
            settings,
            blocks,
            statics,
            model,
            roots,
            findings: Findings::new()?,
            degraded: [Degraded::default(); 32],
            degraded_count: 0,
            heads: Heads::new(scene.heads_max)?,
            words_read,
            phases,
            visited: Array::new(size_of::<Visited>())?,
            gil: scene.gil,
            traversing: scene.traversing,
            with_surplus: Ids::new(total)?,
        };
        if census.roots.maps_unreadable {
            census.degrade("/proc/self/maps could not be read: not all roots are known, so counts were not compared and nothing was looked for that is lost", 0, 1);
        }
        if census.roots.left_out > 0 {
            census.degrade(
                "memory ranges for which there was no room were not scanned, so nothing was looked for that is lost",
                0,
                u64::from(census.roots.left_out),
            );
        }
        if let Some(n) = census.model.as_ref().map(|m| m.types.left_out).filter(|&n| n > 0) {
            census.degrade("types for which there was no room", 0, u64::from(n));
        }
        // SAFETY: as the caller vouches.
        unsafe {
            if census.model.is_some() {
                sealing::seal(scene.modules, &scene.control, scene.mark);
            }
            census.phases.end("seal");
            census.count_owners();
        }
        census.phases.end("owners");
        Some(census)
    }

    /// Whether a finding makes the audit fail: its verdict does, and it is no known defect of CPython's.
    pub fn fails(&self, finding: &Finding) -> bool {
        finding.key.known == 0 && self.settings.fails(finding.verdict())
    }

    /// Notes what could not be done; the same thing twice is counted.
    pub fn degrade(&mut self, what: &'static str, type_address: usize, count: u64) {
        if let Some(d) =
            self.degraded.iter_mut().take(self.degraded_count).find(|d| d.what == what && d.type_address == type_address)
        {
            d.count += count;
        } else if let Some(slot) = self.degraded.get_mut(self.degraded_count) {
            *slot = Degraded { what, type_address, count };
            self.degraded_count += 1;
        } else if let Some(last) = self.degraded.last_mut() {
            *last = Degraded { what: "further things could not be done", type_address: 0, count: last.count + count };
        }
    }

    /// What could not be done.
    pub fn degraded(&self) -> &[Degraded] {
        self.degraded.get(..self.degraded_count).unwrap_or(&[])
    }

    /// Calls an object's `tp_traverse`, if it has one that may be called. `each` gets every reference. `false` if it was not called or crashed.
    ///
    /// # Safety
    /// In the snapshot child, after `guard::install`.
    pub unsafe fn traverse(&mut self, object: usize, each: &mut dyn FnMut(&mut Census, usize)) -> bool {
        let Some(model) = &self.model else { return false };
        let Some(id) = model.is_traversable(object) else { return false };
        let (type_address, function) = (model.types.info(id).address, model.types.info(id).traverse);
        // SAFETY: the array has Visited's size, is page-aligned, and zeros are a Visited.
        let visited = unsafe { &mut *self.visited.as_mut_ptr().cast::<Visited>() };
        visited.clear();
        self.traversing.store(type_address, Ordering::Relaxed);
        // SAFETY: the caller's; the object is traversable, and what the function abandons in a crash is the child's private copy.
        let outcome = unsafe {
            guard::call(|| {
                traverse::ask(function, object, &mut |target| {
                    visited.add(target);
                    each(self, target);
                });
            })
        };
        self.traversing.store(0, Ordering::Relaxed);
        if outcome != Outcome::Returned {
            self.note_crash(id);
        } else if sealed::last_call_wrote() {
            self.note_write(type_address);
        }
        outcome == Outcome::Returned
    }

    /// The references that the last [`Census::traverse`] reported.
    pub fn visited(&self) -> &Visited {
        // SAFETY: as in traverse.
        unsafe { &*self.visited.as_ptr().cast::<Visited>() }
    }

    /// An object's three numbers; `None` if it has no count (dead, immortal) or its block has no object.
    pub fn numbers(&self, id: BlockId, object: usize) -> Option<Numbers> {
        let model = self.model.as_ref()?;
        let Count::References(refcount) = model.count(object) else { return None };
        let numbers = Numbers {
            refcount,
            owned: u64::from(self.blocks.owned(id)),
            words: u64::from(self.blocks.words(id)),
            tagged: u64::from(self.blocks.tagged(id)),
        };
        Some(if model.is_interned(object) { numbers.without_interned_table() } else { numbers })
    }

    /// What tells this object's finding from others of its type: objects that have a name of their own stand alone.
    pub fn key(&self, object: usize, surplus: u64) -> (Key, bool) {
        let Some(model) = &self.model else { return (Key::default(), false) };
        // SAFETY: an object.
        let type_address = unsafe { crate::python::types::read(object + crate::python::types::OB_TYPE) };
        let s = &model.runtime.symbols;
        let singleton =
            [s.none, s.ellipsis, s.not_implemented, s.true_, s.false_].into_iter().flatten().any(|v| v.get() == object);
        let named = singleton
            || model.info(object).is_some_and(|t| {
                matches!(
                    t.species,
                    Species::Type | Species::Module | Species::Function | Species::Builtin | Species::Method | Species::Code
                )
            });
        let what = if named { object } else { 64 - surplus.leading_zeros() as usize };
        (Key { type_address, what, ..Key::default() }, named)
    }
}

/// Empties, in this copy, what names objects without owning them: stale entries of free lists, and the values of the type attribute cache.
///
/// # Safety
/// In the snapshot child, after `guard::install`, with the GIL.
unsafe fn forget_what_nobody_owns(runtime: &Runtime, statics: &mut Statics) {
    if let Some(clear) = runtime.symbols.clear_type_cache {
        // SAFETY: the caller's.
        let outcome = unsafe { crate::sys::guard::call(|| _ = clear()) };
        if outcome == Outcome::Returned
            && let Some(none) = runtime.symbols.none
        {
            statics.add_owners(none.get(), layout::type_cache_nones(runtime.minor));
        }
    }
    // SAFETY: the caller's.
    unsafe { free_lists::fill(runtime) };
}

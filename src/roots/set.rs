//! The roots of a snapshot: mappings cut by claims.

use super::added::{self, Copies};
use super::claims::{Claims, Class, Cut};
use super::control_block::{self, ControlBlock};
use super::modules::Modules;
use super::resident::Resident;
use super::threads::Thread;
use super::{Kind, Kinds, Root, code, lent, maps};
use crate::heap::view;
use crate::meta::Vector;

const CLAIMS_MAX: usize = 1 << 17;
const ROOTS_MAX: usize = 1 << 18;
const ANCHORS_MAX: usize = 1 << 15;
/// More than a system allows a process, as a rule (`vm.max_map_count`).
const MAPPINGS_MAX: usize = 1 << 17;

/// The roots of a snapshot.
pub struct RootSet {
    roots: Vector<Root>,
    /// Addresses in blocks that only the kernel or a stack pointer holds, as words to scan.
    anchors: Vector<usize>,
    kinds: Kinds,
    resident: Resident,
    /// Mappings whose words count unless somebody says otherwise: of both readings of the list that are needed, the one that is made.
    mappings: Vector<(usize, usize)>,
    /// `/proc/self/maps` could not be read: only what somebody claims is a root.
    pub maps_unreadable: bool,
    /// Ranges for which there was no room.
    pub left_out: u32,
}

/// What the roots are built from.
pub struct Sources<'a> {
    /// The modules, gathered before the snapshot.
    pub modules: &'a Modules,
    /// glibc's control block layout.
    pub control: ControlBlock,
    /// An address in the shim's own static data, so that its segments are left out.
    pub shim_address: usize,
    /// Which kinds to look at.
    pub kinds: Kinds,
    /// Ranges that hold stale words and are to be left out (for instance the unused part of CPython's data stack).
    pub stale: &'a [(usize, usize)],
    /// Ranges of the shim's own memory whose words count, for what the program told it to keep.
    pub told: &'a dyn Fn(&mut dyn FnMut(usize, usize)),
    /// What is shared and was named by the program.
    pub added: &'a Copies,
    /// This is the program itself, not a copy: nothing may be written, and nothing read that could fault.
    pub in_place: bool,
}

/// Calls back with each thread.
pub type Threads<'a> = &'a dyn Fn(&mut dyn FnMut(Thread));

impl RootSet {
    /// Builds the set. `own_ranges` calls back with each range of the shim's own memory; `threads` with each thread. The dead part of a stack that
    /// lies in a block is overwritten with zeros, unless the sources say that this is no copy.
    pub fn build(
        sources: &Sources<'_>,
        own_ranges: &dyn Fn(&mut dyn FnMut(usize, usize)),
        threads: Threads<'_>,
    ) -> Option<RootSet> {
        // All of the shim's memory that is still needed is mapped before its ranges are asked for, and so claimed.
        let mut claims = Claims::new(CLAIMS_MAX)?;
        let mut set = RootSet {
            roots: Vector::new(ROOTS_MAX)?,
            anchors: Vector::new(ANCHORS_MAX)?,
            kinds: sources.kinds,
            mappings: Vector::new(MAPPINGS_MAX)?,
            resident: if sources.in_place { Resident::strict() } else { Resident::of_this_process() },
            maps_unreadable: false,
            left_out: 0,
        };
        own_ranges(&mut |start, end| claims.add(start, end, Class::Shim));
        (sources.told)(&mut |start, end| set.add(start, end, Kind::Added));
        let (start, end) = sources.added.range();
        set.add(start, end, Kind::Added);
        set.left_out += sources.added.left_out + lent::left_out();
        added::for_each_in_heap(&mut |start| set.anchor(start, Kind::Added));
        for segment in sources.modules.segments() {
            let module = sources.modules.all().get(segment.module as usize);
            let shim = module.is_some_and(|m| m.base <= sources.shim_address && sources.shim_address < m.end);
            claims.add(segment.start, segment.end, if shim { Class::Shim } else { Class::Root(Kind::Globals) });
        }
        for &(start, end) in sources.stale {
            claims.add(start, end, Class::Dead);
        }
        threads(&mut |thread| set.claim_thread(&mut claims, &thread, sources));
        set.claim_main_and_dead_stacks(&mut claims, sources, threads);
        set.left_out += claims.left_out + sources.modules.left_out;
        set.add_mappings(&claims.cut());
        Some(set)
    }

    fn claim_thread(&mut self, claims: &mut Claims, thread: &Thread, sources: &Sources<'_>) {
        self.add(thread.held.0, thread.held.1, Kind::Registers);
        for (start, end) in thread.registers {
            claims.add(start, end, Class::Thread(Kind::Registers));
        }
        // Where a block is a stack, nothing but the stack pointer and the kernel may know it.
        self.anchor(thread.stack_low, Kind::Stacks);
        if let Some((low, _)) = thread.alternate {
            self.anchor(low, Kind::Stacks);
        }
        let own = match thread.thread_pointer {
            0 => None,
            // SAFETY: a thread that stands still is alive, and so is its control block.
            tp => unsafe { sources.control.stack(tp) }.map(|s| (s.low, s.high)),
        };
        if let Some((low, high)) = own {
            self.anchor(low, Kind::Stacks);
            claims.add(low, high, Class::Root(Kind::Stacks));
        }
        // The part below the stack pointer is dead only of a stack whose bounds are known: around the stack pointer of a coroutine there may be others' stacks.
        let on = if thread.on_alternate() {
            thread.alternate
        } else {
            own.filter(|s| s.0 <= thread.stack_low && thread.stack_low < s.1)
        };
        if let Some((low, high)) = on {
            claims.add(thread.stack_low, high, Class::Root(Kind::Stacks));
            claims.add(low, thread.stack_low, Class::Dead);
            if !sources.in_place {
                self.wipe_dead_part(low, thread);
            }
        }
        if thread.thread_pointer != 0 {
            claim_control_block(claims, thread.thread_pointer, sources);
        }
    }

    /// A block is scanned as a whole, whatever claims say; so the dead part of a stack that lies in one is overwritten in this copy.
    fn wipe_dead_part(&self, low: usize, thread: &Thread) {
        // The auditing thread's own stack is the one that we stand on. The signal frame stays: it has the registers.
        let end = thread.stack_low.min(thread.frame) & !7;
        let start = low.next_multiple_of(8);
        if let Some((block, past)) = view::block_around(low)
            && start < end
            && block <= start
            && end <= past
        {
            // SAFETY: inside a live block that is a stack, below its stack pointer; and this is a private copy.
            unsafe { core::slice::from_raw_parts_mut(start as *mut usize, (end - start) / 8).fill(0) };
        }
    }

    fn claim_main_and_dead_stacks(&mut self, claims: &mut Claims, sources: &Sources<'_>, threads: Threads<'_>) {
        let mut below = (0, 0);
        let mut all = true;
        let readable = maps::for_each(&mut |m| {
            // What is not writable any more, but has no file behind it, was written once.
            if m.read && m.private && !m.device && (m.write || m.anonymous) {
                all &= self.mappings.push((m.start, m.end));
            }
            if m.read && m.execute && m.anonymous {
                self.anchor_code(m.start, m.end);
            }
            if !m.read && !m.write {
                below = (m.start, m.end);
            } else if m.main_stack {
                // The lowest, should a coroutine stand on a stack inside this one.
                let mut low = usize::MAX;
                threads(&mut |t| {
                    if m.start <= t.stack_low && t.stack_low < m.end && !t.on_alternate() {
                        low = low.min(t.stack_low);
                    }
                });
                claims.add(m.start, m.end, Class::Root(Kind::Stacks));
                if low != usize::MAX {
                    claims.add(m.start, low, Class::Dead);
                }
            } else if m.write && m.read && m.private && m.anonymous {
                let guarded = below.1 == m.start && !claims.is_shims(m.start);
                let mut claim = |low: usize, high: usize| {
                    // SAFETY: a readable part of a mapping of this process, from its own list.
                    if let Some(tp) = unsafe { sources.control.dead_thread(low, high) } {
                        // The control block stays: it has what a join will return, and the vector that a later thread will use.
                        claims.add(low, tp, Class::Dead);
                    }
                };
                if guarded {
                    claim(m.start, m.end);
                }
                if sources.control.guards_are_marked {
                    self.resident.for_each_guarded_part(m.start, m.end, &mut claim);
                }
            }
        });
        self.maps_unreadable = !readable || !all;
    }

    fn add_mappings(&mut self, cut: &Cut) {
        if !self.maps_unreadable {
            for at in 0..self.mappings.len() {
                let (start, end) = self.mappings.get(at).copied().unwrap_or_default();
                cut.pieces(start, end, &mut |start, end, class| match class {
                    None => self.add(start, end, Kind::Mappings),
                    Some(Class::Root(kind) | Class::Thread(kind)) => self.add(start, end, kind),
                    Some(Class::Dead | Class::Shim) => {}
                });
            }
            return;
        }
        cut.all(&mut |start, end, class| {
            if let Class::Root(kind) | Class::Thread(kind) = class {
                self.add(start, end, kind);
            }
        });
    }

    /// Whether everything that can hold a pointer is known.
    pub fn complete(&self) -> bool {
        !self.maps_unreadable && self.left_out == 0
    }

    fn add(&mut self, start: usize, end: usize, kind: Kind) {
        let (start, end) = (start.next_multiple_of(8), end & !7);
        if start < end && self.kinds.has(kind) && !self.roots.push(Root { start, end, kind }) {
            self.left_out += 1;
        }
    }

    /// Makes a root of one address, if it lies in a block: the block is a stack, or was named.
    fn anchor(&mut self, address: usize, kind: Kind) {
        if view::block_around(address).is_none() {
            return;
        }
        if !self.anchors.push(address) {
            self.left_out += 1;
        } else if let Some(word) = self.anchors.last().map(|word| &raw const *word as usize) {
            self.add(word, word + 8, kind);
        }
    }

    fn anchor_code(&mut self, start: usize, end: usize) {
        let resident = core::mem::replace(&mut self.resident, Resident::unknown());
        code::for_each_operand(&resident, start, end, &mut |address| self.anchor(address, Kind::Mappings));
        self.resident = resident;
    }

    /// Calls `part` for each touched part of each root.
    pub fn for_each_part(&self, part: &mut dyn FnMut(Root)) {
        for root in self.roots.iter() {
            self.resident.for_each_part(root.start, root.end, &mut |start, end| part(Root { start, end, kind: root.kind }));
        }
    }

    /// The kind of the root that has this address.
    pub fn kind_at(&self, address: usize) -> Option<Kind> {
        self.roots.iter().find(|r| r.start <= address && address < r.end).map(|r| r.kind)
    }
}

/// The parts of a control block; a later kind wins over an earlier one where they overlap.
fn claim_control_block(claims: &mut Claims, tp: usize, sources: &Sources<'_>) {
    let control = &sources.control;
    let tls = if control.static_tls_bytes > 0 { control.static_tls_bytes } else { sources.modules.static_tls_bytes };
    let (start, end) = control.static_tls(tp, tls);
    claims.add(start, end, Class::Thread(Kind::Tls));
    claims.add(control.start(tp), control.start(tp) + control.bytes, Class::Thread(Kind::Tls));
    let (start, end) = control.specific_data(tp);
    claims.add(start, end, Class::Thread(Kind::Tsd));
    claims.add(control.vector_word(tp), control.vector_word(tp) + 8, Class::Thread(Kind::DynTls));
    // SAFETY: the thread stands still, so its control block is there.
    if let Some((start, end)) = unsafe { control_block::dynamic_vector(control, tp) } {
        claims.add(start, end, Class::Thread(Kind::DynTls));
    }
}

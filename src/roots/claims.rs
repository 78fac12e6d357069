//! Cutting the mappings by who claims which part, into the set of roots.

use super::modules::Modules;
use super::resident::Resident;
use super::threads::{ControlBlock, Thread};
use super::{Kind, Kinds, Root, maps};
use crate::meta::Array;

/// A stretch of address space with an owner. Later classes win over earlier ones where they overlap.
#[derive(Clone, Copy, Debug)]
struct Claim {
    start: usize,
    end: usize,
    class: Class,
}

// SAFETY: zeros are valid in every field, and read only where something was stored.
unsafe impl crate::meta::Zeroed for Claim {}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Root(Kind),
    /// Stale: the part of a stack below the stack pointer.
    DeadStack,
    /// The thread's parts at the upper end of its stack's mapping.
    Thread(Kind),
    /// The shim's own: heap regions, meta memory, static data.
    Shim,
}

const CLAIMS_MAX: usize = 1 << 17;
const ROOTS_MAX: usize = 1 << 18;

/// The roots of a snapshot.
pub struct RootSet {
    roots: Array<Root>,
    count: usize,
    kinds: Kinds,
    resident: Resident,
    /// What could not be done: (`/proc/self/maps` unreadable, ranges for which there was no room).
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
}

impl RootSet {
    /// Builds the set. `own_ranges` calls back with each range of the shim's own memory; `threads` with each thread.
    pub fn build(
        sources: &Sources<'_>,
        own_ranges: &dyn Fn(&mut dyn FnMut(usize, usize)),
        threads: &dyn Fn(&mut dyn FnMut(Thread)),
    ) -> Option<RootSet> {
        let mut claims = Claims { list: Array::new(CLAIMS_MAX)?, count: 0, left_out: 0 };
        let mut set = RootSet {
            roots: Array::new(ROOTS_MAX)?,
            count: 0,
            kinds: sources.kinds,
            resident: Resident::open(),
            maps_unreadable: false,
            left_out: 0,
        };
        own_ranges(&mut |start, end| claims.add(start, end, Class::Shim));
        for segment in sources.modules.segments() {
            let module = sources.modules.all().get(segment.module as usize);
            let shim = module.is_some_and(|m| m.base <= sources.shim_address && sources.shim_address < m.end);
            claims.add(segment.start, segment.end, if shim { Class::Shim } else { Class::Root(Kind::Globals) });
        }
        for &(start, end) in sources.stale {
            claims.add(start, end, Class::DeadStack);
        }
        threads(&mut |thread| {
            for (start, end) in thread.registers {
                set.add(start, end, Kind::Registers);
            }
            if let Some((low, high)) = thread.alternate {
                set.add(thread.stack_low.max(low), high, Kind::Stacks);
            } else if let Some((_, end)) = crate::heap::view::block_around(thread.stack_low) {
                // A stack in a block of ours (a coroutine library): its mapping is left out below.
                set.add(thread.stack_low, end, Kind::Stacks);
            }
            let tp = thread.thread_pointer;
            if tp != 0 {
                claims.add(tp - sources.modules.static_tls_bytes, tp, Class::Thread(Kind::Tls));
                claims.add_control_block(tp, &sources.control);
                if let Some((start, end)) = thread.dynamic_vector() {
                    claims.add(start, end, Class::Thread(Kind::DynTls));
                }
            }
        });
        set.add_stacks_and_mappings(&mut claims, threads);
        set.left_out += claims.left_out + sources.modules.left_out;
        Some(set)
    }

    fn add_stacks_and_mappings(&mut self, claims: &mut Claims, threads: &dyn Fn(&mut dyn FnMut(Thread))) {
        let mut guard_end = 0;
        let readable = maps::for_each(&mut |m| {
            if !m.read && !m.write {
                guard_end = m.end;
            } else if m.write && m.read {
                threads(&mut |thread| {
                    if thread.alternate.is_none() && m.start <= thread.stack_low && thread.stack_low < m.end {
                        claims.add(thread.stack_low, m.end, Class::Root(Kind::Stacks));
                        // Only where a guard (or the kernel, for the main thread) bounds the stack below is the rest surely dead.
                        if m.main_stack || guard_end == m.start {
                            claims.add(m.start, thread.stack_low, Class::DeadStack);
                        }
                    }
                });
            }
        });
        claims.sort();
        self.maps_unreadable = !readable;
        if readable {
            maps::for_each(&mut |m| {
                if m.read && m.write && m.private && !m.device {
                    claims.cut(m.start, m.end, &mut |start, end, class| match class {
                        None => self.add(start, end, Kind::Mappings),
                        Some(Class::Root(kind) | Class::Thread(kind)) => self.add(start, end, kind),
                        Some(Class::DeadStack | Class::Shim) => {}
                    });
                }
            });
        } else {
            let (low, high) = claims.span();
            claims.cut(low, high, &mut |start, end, class| {
                if let Some(Class::Root(kind) | Class::Thread(kind)) = class {
                    self.add(start, end, kind);
                }
            });
        }
    }

    fn add(&mut self, start: usize, end: usize, kind: Kind) {
        let (start, end) = (start.next_multiple_of(8), end & !7);
        if start >= end || !self.kinds.has(kind) {
            return;
        }
        match self.roots.get_mut(self.count) {
            Some(slot) => {
                *slot = Root { start, end, kind };
                self.count += 1;
            }
            None => self.left_out += 1,
        }
    }

    /// Calls `part` for each touched part of each root.
    pub fn for_each_part(&self, part: &mut dyn FnMut(Root)) {
        for root in self.roots.iter().take(self.count) {
            self.resident.for_each_part(root.start, root.end, &mut |start, end| part(Root { start, end, kind: root.kind }));
        }
    }

    /// The kind of the root that has this address.
    pub fn kind_at(&self, address: usize) -> Option<Kind> {
        self.roots.iter().take(self.count).find(|r| r.start <= address && address < r.end).map(|r| r.kind)
    }
}

struct Claims {
    list: Array<Claim>,
    count: usize,
    left_out: u32,
}

impl Claims {
    fn add(&mut self, start: usize, end: usize, class: Class) {
        if start >= end {
            return;
        }
        match self.list.get_mut(self.count) {
            Some(slot) => {
                *slot = Claim { start, end, class };
                self.count += 1;
            }
            None => self.left_out += 1,
        }
    }

    fn add_control_block(&mut self, tp: usize, control: &ControlBlock) {
        let (at, bytes) = control.specific;
        if bytes > 0 {
            self.add(tp, tp + 8, Class::Thread(Kind::Tls));
            self.add(tp + 8, tp + 16, Class::Thread(Kind::DynTls));
            self.add(tp + 16, tp + at, Class::Thread(Kind::Tls));
            self.add(tp + at, tp + at + bytes, Class::Thread(Kind::Tsd));
            self.add(tp + at + bytes, tp + control.bytes, Class::Thread(Kind::Tls));
        } else {
            self.add(tp, tp + control.bytes, Class::Thread(Kind::Tls));
        }
    }

    fn sort(&mut self) {
        let n = self.count;
        self.list[..n].sort_unstable_by_key(|c| c.start);
    }

    fn claims(&self) -> &[Claim] {
        &self.list[..self.count]
    }

    fn span(&self) -> (usize, usize) {
        let low = self.claims().first().map_or(0, |c| c.start);
        (low, self.claims().iter().map(|c| c.end).max().unwrap_or(low))
    }

    /// Cuts `start..end` into pieces of one class each, the highest class winning; `None` where nobody claims.
    fn cut(&self, start: usize, end: usize, piece: &mut dyn FnMut(usize, usize, Option<Class>)) {
        let past = self.claims().partition_point(|c| c.start < end);
        let near = self.claims().get(..past).unwrap_or(&[]);
        let mut at = start;
        let mut open: (usize, Option<Class>) = (start, None);
        while at < end {
            let mut class = None;
            let mut next = end;
            for claim in near {
                if claim.end <= at {
                    continue;
                }
                if claim.start <= at {
                    next = next.min(claim.end);
                    class = class.max(Some(claim.class));
                } else {
                    next = next.min(claim.start);
                }
            }
            if class != open.1 {
                if open.0 < at {
                    piece(open.0, at, open.1);
                }
                open = (at, class);
            }
            at = next;
        }
        if open.0 < end {
            piece(open.0, end, open.1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_higher_class_wins_where_claims_overlap() {
        let mut claims = Claims { list: Array::new(16).unwrap(), count: 0, left_out: 0 };
        claims.add(100, 200, Class::Root(Kind::Globals));
        claims.add(150, 160, Class::Shim);
        claims.add(180, 220, Class::DeadStack);
        claims.add(210, 230, Class::Thread(Kind::Tls));
        claims.sort();
        let mut pieces = Vec::new();
        claims.cut(90, 240, &mut |s, e, c| pieces.push((s, e, c)));
        let globals = Some(Class::Root(Kind::Globals));
        let expected = [
            (90, 100, None),
            (100, 150, globals),
            (150, 160, Some(Class::Shim)),
            (160, 180, globals),
            (180, 210, Some(Class::DeadStack)),
            (210, 230, Some(Class::Thread(Kind::Tls))),
            (230, 240, None),
        ];
        assert_eq!(pieces, expected);
    }
}

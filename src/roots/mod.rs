//! Where a pointer can hide outside the heap.
//!
//! Gathered in two steps: [`modules::Modules`] in the program, before the snapshot (the dynamic linker's lock may be taken there); the rest,
//! [`RootSet`], in the child from its own `/proc/self/maps`, which is the program's at the moment of the clone.
//!
//! Each private mapping that the program can have written is cut by *claims*: the shim's own memory and the dead part of stacks are left out, the
//! live part of stacks, thread control blocks and modules have kinds of their own, and what nobody claims is a plain mapping (arenas of other
//! allocators, coroutine stacks, JIT data). What is dead is said by who knows: glibc's own bounds of a stack, the kernel's of an alternate one.
//!
//! Deliberately absent: memory shared with other processes, unless the program names it ([`added`]). What another process may write is no place to own private memory from, and a
//! snapshot does not freeze it.

pub mod added;
pub mod claims;
pub mod code;
pub mod control_block;
pub mod lent;
pub mod loader;
pub mod maps;
pub mod modules;
pub mod resident;
pub mod sealing;
pub mod set;
pub mod threads;

use crate::options::ROOT_KINDS;

/// A root kind. Each can be switched off (`GCSHIM_ROOTS=-kind`), and a test per kind shows that it matters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// Thread stacks from the stack pointer less the red zone.
    Stacks,
    /// Saved registers of stopped threads, vector registers among them.
    Registers,
    /// Static thread-local storage and the thread's control block.
    Tls,
    /// `pthread_setspecific` data inside the control block.
    Tsd,
    /// The dynamic thread vector, which leads to thread-local storage of libraries loaded later.
    DynTls,
    /// Writable segments of the program and its libraries.
    Globals,
    /// Every other private mapping that the program can have written.
    Mappings,
    /// What the program named itself: `gcshim_roots_add`, and the arguments of its finalizers.
    Added,
}

/// All kinds, in the order of the option table's names.
const KINDS: [Kind; ROOT_KINDS.len()] =
    [Kind::Stacks, Kind::Registers, Kind::Tls, Kind::Tsd, Kind::DynTls, Kind::Globals, Kind::Mappings, Kind::Added];

impl Kind {
    /// The public name.
    pub fn name(self) -> &'static str {
        ROOT_KINDS.get(self as usize).copied().unwrap_or("?")
    }

    /// The kind of a name.
    pub fn from_name(name: &[u8]) -> Option<Kind> {
        KINDS.into_iter().find(|k| k.name().as_bytes() == name)
    }

    /// The kind of a number, as `as usize` gives it.
    pub fn from_number(number: usize) -> Option<Kind> {
        KINDS.get(number).copied()
    }
}

/// Which kinds are looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kinds(u8);

impl Kinds {
    /// Every kind.
    pub const ALL: Kinds = Kinds(0xff);
    /// No kind.
    pub const NONE: Kinds = Kinds(0);

    /// Whether `kind` is looked at.
    pub fn has(self, kind: Kind) -> bool {
        self.0 >> kind as u8 & 1 == 1
    }

    /// The same with `kind` switched on or off.
    pub fn with(self, kind: Kind, on: bool) -> Kinds {
        Kinds(if on { self.0 | 1 << kind as u8 } else { self.0 & !(1 << kind as u8) })
    }
}

/// A stretch of memory to scan: `start..end`, both word-aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Root {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
    /// What kind of root it is.
    pub kind: Kind,
}

// SAFETY: zeros are valid in every field, and read only where something was stored.
unsafe impl crate::meta::Zeroed for Root {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_the_name_of_its_place() {
        for (at, kind) in KINDS.into_iter().enumerate() {
            assert_eq!(kind as usize, at);
            assert_eq!(Kind::from_name(kind.name().as_bytes()), Some(kind));
            assert_eq!(Kind::from_number(at), Some(kind));
        }
        assert_eq!(Kind::DynTls.name(), "dyntls");
    }
}

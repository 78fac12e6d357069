//! What containers own, asked of their own `tp_traverse`, in the snapshot child.

use core::ffi::{c_int, c_void};

use super::layout;
use super::objects::Model;
use super::types::{self, OB_SIZE, Species, TypeId, read};

/// References reported by one call that are kept; the rest is counted but not kept.
pub const KEPT_MAX: usize = 4096;

type Visit = unsafe extern "C" fn(*mut c_void, *mut c_void) -> c_int;
type Traverse = unsafe extern "C" fn(*mut c_void, Visit, *mut c_void) -> c_int;

/// The references that one object's `tp_traverse` reported.
pub struct Visited {
    kept: [usize; KEPT_MAX],
    count: usize,
}

impl Visited {
    /// The addresses reported, at most [`KEPT_MAX`].
    pub fn kept(&self) -> &[usize] {
        self.kept.get(..self.count.min(KEPT_MAX)).unwrap_or(&self.kept)
    }

    /// Whether every address reported was kept.
    pub fn complete(&self) -> bool {
        self.count <= KEPT_MAX
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.count = 0;
    }

    /// Adds an address.
    pub fn add(&mut self, target: usize) {
        if let Some(slot) = self.kept.get_mut(self.count) {
            *slot = target;
        }
        self.count += 1;
    }
}

/// Calls the `tp_traverse` at the address `function`; `each` gets every reference that it reports.
///
/// # Safety
/// In a guarded call in the snapshot child; `function` is that of the type of `object`, which is traversable.
pub unsafe fn ask<F: FnMut(usize)>(function: usize, object: usize, each: &mut F) {
    unsafe extern "C" fn visit<F: FnMut(usize)>(object: *mut c_void, each: *mut c_void) -> c_int {
        // SAFETY: what was passed to tp_traverse below, which lives through the call.
        unsafe { (*each.cast::<F>())(object as usize) };
        0
    }
    // SAFETY: the caller's; the signature is the one in CPython's object.h.
    unsafe {
        let function: Traverse = core::mem::transmute(function);
        function(object as *mut c_void, visit::<F>, core::ptr::from_mut(each).cast());
    }
}

impl Model {
    /// Whether an object's references are asked for: it can be in the collector's list, and is whole. Objects of the GC that are not
    /// tracked may be half made; tuples and dicts are not tracked as long as they hold nothing that could make a cycle.
    #[inline]
    pub fn is_traversable(&self, object: usize) -> Option<TypeId> {
        let id = self.type_id(object)?;
        let info = self.types.info(id);
        let asked = info.traverse != 0 && !info.crashed && types::is_collectors(info, object);
        // SAFETY: an object of the collector's, before which its head stands.
        (asked && (matches!(info.species, Species::Tuple | Species::Dict) || unsafe { types::is_tracked(object) })).then_some(id)
    }

    /// The references of an exact list or tuple, which need not be asked: `each` gets what its `tp_traverse` would report (`list_traverse`,
    /// `tupletraverse`; 3.8 to 3.13). `false` if it is neither.
    ///
    /// # Safety
    /// In a guarded call; `object` is a traversable object of the species.
    #[inline]
    pub unsafe fn items(species: Species, object: usize, each: &mut impl FnMut(usize)) -> bool {
        // SAFETY: the caller's; both have a size.
        let (items, count) = unsafe {
            match species {
                Species::List => (read(object + layout::LIST_ITEMS), read(object + OB_SIZE)),
                Species::Tuple => (object + layout::TUPLE_ITEMS, read(object + OB_SIZE)),
                _ => return false,
            }
        };
        for i in 0..count {
            // SAFETY: i is below the size.
            let item = unsafe { read(items + 8 * i) };
            if item != 0 {
                each(item);
            }
        }
        true
    }
}

//! What containers own, asked of their own `tp_traverse`, in the snapshot child.

use core::ffi::{c_int, c_void};

use super::objects::Model;
use super::types::{Species, TypeId};
use crate::sys::guard::{self, Outcome};

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
}

struct Call<'a> {
    visited: &'a mut Visited,
    each: &'a mut dyn FnMut(usize),
}

unsafe extern "C" fn visit(object: *mut c_void, call: *mut c_void) -> c_int {
    // SAFETY: `call` is the pointer passed to tp_traverse below, which lives through the call.
    let call = unsafe { &mut *call.cast::<Call<'_>>() };
    if let Some(slot) = call.visited.kept.get_mut(call.visited.count) {
        *slot = object as usize;
    }
    call.visited.count += 1;
    (call.each)(object as usize);
    0
}

impl Model {
    /// Whether an object's references are asked for: it can be in the collector's list, and is whole. Objects of the GC that are not
    /// tracked may be half made; tuples and dicts are not tracked as long as they hold nothing that could make a cycle.
    pub fn is_traversable(&self, object: usize) -> Option<TypeId> {
        let id = self.type_id(object)?;
        let info = self.types.info(id);
        let whole =
            self.is_collectors(object) && (self.is_tracked(object) || matches!(info.species, Species::Tuple | Species::Dict));
        (whole && info.traverse != 0 && !info.crashed).then_some(id)
    }

    /// Calls an object's `tp_traverse`; `each` gets every reference it reports, and `visited` keeps them. A crash is survived: the type is
    /// not called again, and the answer is the signal.
    ///
    /// # Safety
    /// In the snapshot child, after `guard::install`; `object` must be traversable as type `id`.
    pub unsafe fn traverse(
        &mut self,
        id: TypeId,
        object: usize,
        visited: &mut Visited,
        each: &mut dyn FnMut(usize),
    ) -> Result<(), i32> {
        visited.count = 0;
        let traverse = self.types.info(id).traverse;
        let mut call = Call { visited, each };
        let argument = (&raw mut call).cast::<c_void>();
        // SAFETY: tp_traverse of the object's own type, with the signature CPython's object.h gives it; what it abandons in a crash is
        // the child's private copy.
        let outcome = unsafe {
            guard::call(|| {
                let traverse: Traverse = core::mem::transmute(traverse);
                traverse(object as *mut c_void, visit, argument);
            })
        };
        match outcome {
            Outcome::Returned => Ok(()),
            Outcome::Crashed(signal) => {
                self.types.set_crashed(id);
                Err(signal)
            }
        }
    }
}

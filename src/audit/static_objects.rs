//! Objects in modules' data: types, and whatever else there some container owns, which is the proof that an object lies there.

use super::census::Census;
use crate::meta::Array;
use crate::python::types::{OB_TYPE, Species, read};

/// Room for so many; a whole CPython with its extension modules has about 4,000.
const OBJECTS_MAX: usize = 1 << 16;

/// The addresses found, each once.
pub struct StaticObjects {
    addresses: Array<usize>,
    count: usize,
    /// How many more there were than there is room for.
    pub left_out: u64,
}

impl StaticObjects {
    /// The addresses.
    pub fn all(&self) -> &[usize] {
        self.addresses.get(..self.count).unwrap_or(&[])
    }

    fn add(&mut self, address: usize) {
        match self.addresses.get_mut(self.count) {
            Some(slot) => {
                *slot = address;
                self.count += 1;
            }
            None => self.left_out += 1,
        }
    }
}

impl Census {
    /// Finds them, when all owners have been counted. `None` without memory, or without an interpreter.
    pub fn static_objects(&mut self) -> Option<StaticObjects> {
        let mut found = StaticObjects { addresses: Array::new(OBJECTS_MAX)?, count: 0, left_out: 0 };
        let Census { model: Some(model), blocks, statics, .. } = self else { return None };
        // A type without instances is met here first: in a tuple of bases, or in a module's dict.
        statics.for_each_owned(&mut |address| {
            // SAFETY: what is owned in a writable segment is an object: its type stands behind the count.
            let type_address = unsafe { read(address + OB_TYPE) };
            let Some(id) = model.types.at(blocks, statics, type_address) else { return };
            if model.types.info(id).species != Species::Type || model.types.at(blocks, statics, address).is_none() {
                found.add(address);
            }
        });
        model.types.for_each(&mut |_, info| {
            if statics.contains(info.address) {
                found.add(info.address);
            }
        });
        Some(found)
    }
}

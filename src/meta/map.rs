//! A hash table from addresses to values, in the shim's own memory. The addresses stand there inverted: a table that is scanned holds nothing by them.

use super::{Array, Zeroed};

/// One place: the inverted key (0: empty), and the value.
type Place<V> = (usize, V);

/// Places of the first table.
const LEAST: usize = 256;

/// From keys, which are never all ones, to values. Half full at most; never gets smaller.
pub struct Map<V: Zeroed> {
    places: Option<Array<Place<V>>>,
    count: usize,
}

/// There was no memory for a larger table; the map is as before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

impl<V: Zeroed> Map<V> {
    /// Without entries and without memory.
    pub const fn new() -> Map<V> {
        Map { places: None, count: 0 }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many places there are, which is what [`Map::for_each`] costs.
    pub fn places(&self) -> usize {
        self.places.as_ref().map_or(0, |p| p.len())
    }

    /// Start and end of the memory in which the values stand.
    pub fn memory(&self) -> (usize, usize) {
        self.places.as_ref().map_or((0, 0), |p| (p.as_ptr() as usize, p.as_ptr_range().end as usize))
    }

    /// The value of a key.
    pub fn get(&self, key: usize) -> Option<&V> {
        let places = self.places.as_ref()?;
        Some(&places.get(find(places, key).ok()?)?.1)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, key: usize) -> Option<&mut V> {
        let places = self.places.as_mut()?;
        let at = find(places, key).ok()?;
        Some(&mut places.get_mut(at)?.1)
    }

    /// Sets the value of a key, and answers the one it had.
    pub fn insert(&mut self, key: usize, value: V) -> Result<Option<V>, Full> {
        if let Some(had) = self.get_mut(key) {
            return Ok(Some(core::mem::replace(had, value)));
        }
        if 2 * (self.count + 1) > self.places() {
            self.grow()?;
        }
        let places = self.places.as_mut().ok_or(Full)?;
        put(places, key, value);
        self.count += 1;
        Ok(None)
    }

    /// Removes a key, and answers the value it had.
    pub fn remove(&mut self, key: usize) -> Option<V> {
        let places = self.places.as_mut()?;
        let mut hole = find(places, key).ok()?;
        let value = places.get(hole)?.1;
        let mask = places.len() - 1;
        // What stands behind it moves up, unless it would then stand before the place where its search begins.
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let Some(&next) = places.get(at) else { break };
            if next.0 == 0 {
                break;
            }
            let home = home(!next.0, mask);
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(hole) & mask {
                if let Some(slot) = places.get_mut(hole) {
                    *slot = next;
                }
                hole = at;
            }
        }
        if let Some(slot) = places.get_mut(hole) {
            slot.0 = 0;
            // Nothing of what was removed is found by a scan of the values.
            // SAFETY: zeros are a value, as the type says.
            slot.1 = unsafe { core::mem::zeroed() };
        }
        self.count -= 1;
        Some(value)
    }

    /// Removes every entry.
    pub fn clear(&mut self) {
        self.count = 0;
        if let Some(places) = &mut self.places {
            // SAFETY: zeros are a place, as the array's first state is.
            places.fill(unsafe { core::mem::zeroed() });
        }
    }

    /// Calls `each` with every key and value, in no order.
    pub fn for_each(&self, each: &mut dyn FnMut(usize, &V)) {
        for (key, value) in self.places.iter().flat_map(|p| p.iter()).filter(|p| p.0 != 0) {
            each(!key, value);
        }
    }

    fn grow(&mut self) -> Result<(), Full> {
        let mut larger = Array::new((2 * self.places()).max(LEAST)).ok_or(Full)?;
        self.for_each(&mut |key, value| put(&mut larger, key, *value));
        self.places = Some(larger);
        Ok(())
    }
}

impl<V: Zeroed> Default for Map<V> {
    fn default() -> Self {
        Map::new()
    }
}

/// Where the search for a key begins. Addresses are multiples of 8, and neighbours are as likely as anything.
fn home(key: usize, mask: usize) -> usize {
    ((key >> 3) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(20) as usize & mask
}

/// The place of a key, or the empty one where it would stand.
fn find<V>(places: &[Place<V>], key: usize) -> Result<usize, usize> {
    let mask = places.len() - 1;
    let mut at = home(key, mask);
    loop {
        match places.get(at) {
            Some(place) if place.0 == !key => return Ok(at),
            Some(place) if place.0 != 0 => at = (at + 1) & mask,
            _ => return Err(at),
        }
    }
}

fn put<V>(places: &mut [Place<V>], key: usize, value: V) {
    if let Err(at) = find(places, key)
        && let Some(slot) = places.get_mut(at)
    {
        *slot = (!key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn it_does_what_the_standard_map_does() {
        let (mut map, mut model) = (Map::<u64>::new(), HashMap::new());
        let mut seed = 3u64;
        for step in 0..60_000u64 {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let key = (seed >> 33) as usize % 3000 * 16 + 0x7f00_0000_0000;
            match seed >> 60 {
                0..8 => assert_eq!(map.insert(key, step), Ok(model.insert(key, step))),
                8..15 => assert_eq!(map.remove(key), model.remove(&key)),
                _ => {
                    if let Some(value) = map.get_mut(key) {
                        *value += 1;
                        *model.get_mut(&key).unwrap() += 1;
                    }
                }
            }
            assert_eq!((map.get(key), map.len()), (model.get(&key), model.len()));
        }
        let mut all = HashMap::new();
        map.for_each(&mut |key, value| assert_eq!(all.insert(key, *value), None));
        assert_eq!(all, model);
        assert!(map.places() >= 2 * map.len());
        map.clear();
        map.for_each(&mut |_, _| panic!("cleared"));
        assert!(map.is_empty() && all.keys().all(|&key| map.get(key).is_none()));
    }

    #[test]
    fn no_key_stands_in_its_memory_and_no_value_that_was_removed() {
        let mut map = Map::<usize>::new();
        assert_eq!((map.remove(8), map.get(8), map.memory()), (None, None, (0, 0)));
        (1..100usize).for_each(|i| assert_eq!(map.insert(i << 20, i << 24 | 5), Ok(None)));
        (1..100usize).filter(|i| i % 3 == 0).for_each(|i| assert_eq!(map.remove(i << 20), Some(i << 24 | 5)));
        let (start, end) = map.memory();
        // SAFETY: the map's own memory.
        let words = unsafe { core::slice::from_raw_parts(start as *const usize, (end - start) / 8) };
        for i in 1..100usize {
            assert!(!words.contains(&(i << 20)));
            assert_eq!(words.contains(&(i << 24 | 5)), i % 3 != 0);
        }
    }
}

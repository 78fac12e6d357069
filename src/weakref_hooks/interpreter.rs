//! The interpreter's words that point and do not own.

/// `PyGC_Head` (CPython pycore_gc.h, 3.8-3.15): two words, next and prev, right before the object.
pub const GC_HEAD_BYTES: usize = 16;

/// Whether a word that leads into an object's block is a link of the collector's list: it names the GC head, not the object. Nothing else
/// holds such an address: not the heads of generations (which lie in the runtime state, elsewhere in every version), not stale copies of them.
pub fn is_gc_link(word: usize, object: usize) -> bool {
    word == object - GC_HEAD_BYTES
}

/// `PyWeakReference` (CPython cpython/weakrefobject.h, 3.8-3.13): object header 16, `wr_object` 16, `wr_callback` 24, `hash` 32, `wr_prev`
/// 40, `wr_next` 48. Only the callback is owned.
pub const REFERENCE_WEAK_WORDS: [(usize, usize); 2] = [(16, 24), (40, 56)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_names_the_head_and_a_reference_the_object() {
        assert!(is_gc_link(0x1000, 0x1010));
        assert!(!is_gc_link(0x1010, 0x1010));
        assert!(!is_gc_link(0x1018, 0x1010));
    }
}

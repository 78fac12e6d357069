//! Words that point and do not own: marking skips them, otherwise everything would be reachable.
//!
//! Every tracked container hangs in the cycle collector's doubly linked list, and weak references hang in a list that starts in their
//! referent. A naive scan follows both, which is why leak finders that do not know CPython find 0 of 100 leaked lists.

/// `PyGC_Head` (CPython pycore_gc.h, 3.8-3.15): two words, next and prev, right before the object.
pub const GC_HEAD_BYTES: usize = 16;

/// Whether the word at address `at`, which equals the address of the GC head `head`, is a link of the collector's list: then that head
/// points back at it. Heads of generations lie in the runtime state, at an offset that changes with every version; the closure of the
/// doubly linked list tells them without knowing where they lie.
///
/// # Safety
/// `head` must be the address of a readable `PyGC_Head`.
pub unsafe fn is_gc_link(at: usize, head: usize) -> bool {
    // SAFETY: the caller's. The low two bits of both words are flags (pycore_gc.h).
    let (next, prev) = unsafe { (*(head as *const usize) & !3, *((head + 8) as *const usize) & !3) };
    // `at` is the `next` field of the node at `at`, or the `prev` field of the node at `at - 8`.
    prev == at || next == at - 8
}

/// `PyWeakReference` (CPython cpython/weakrefobject.h, 3.8-3.13): object header 16, `wr_object` 16, `wr_callback` 24, `hash` 32, `wr_prev`
/// 40, `wr_next` 48. Only the callback is owned.
pub const REFERENCE_WEAK_WORDS: [(usize, usize); 2] = [(16, 24), (40, 56)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_head_is_told_from_a_plain_pointer() {
        // head <-> node, flags set in the node's prev word.
        let mut node = [0usize; 2];
        let mut head = [0usize; 2];
        let (h, n) = (&raw const head as usize, &raw const node as usize);
        head = [n, n];
        node = [h, h | 1];
        core::hint::black_box((&head, &node));
        let plain = n;
        // SAFETY: node is readable.
        unsafe {
            assert!(is_gc_link(h, n), "next field of the head");
            assert!(is_gc_link(h + 8, n), "prev field of the head");
            assert!(!is_gc_link(&raw const plain as usize, n), "some other word");
        }
    }
}

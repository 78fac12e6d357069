//! Offsets into the interpreter's private structures, per version. `harness/tests/layouts.rs` compares them with the headers of every
//! installed CPython.

/// `PyThreadState.datastack_top` (pycore: cpython/pystate.h), in bytes, followed by `datastack_limit`. Until 3.10 frames are objects and
/// there is no data stack.
pub const fn datastack_top(minor: u8) -> Option<usize> {
    match minor {
        11 => Some(304),
        12 | 13 => Some(240),
        _ => None,
    }
}

/// `PyASCIIObject.state` (cpython/unicodeobject.h): after the header, length and hash, in bytes. 32 bits: `interned` 2, `kind` 3, `compact` 1,
/// `ascii` 1, in 3.8 to 3.13.
pub const STRING_STATE: usize = 32;

/// `PyModuleObject.md_def` (pycore_moduleobject.h; until 3.9 moduleobject.c), behind the header and `md_dict`.
pub const MODULE_DEF: usize = 24;
/// `PyModuleDef.m_name` (moduleobject.h), behind `PyModuleDef_Base`.
pub const MODULE_DEF_NAME: usize = 40;

/// The least a str object has: header, length, hash, state.
pub const STRING_BYTES_MIN: usize = 40;

/// `sizeof(PyDateTime_Time)` (datetime.h).
pub const TIME_BYTES: usize = 40;
/// `sizeof(_PyDateTime_BaseTime)`: what an instance without a time zone has.
pub const NAIVE_TIME_BYTES: usize = 32;

/// Which bytes of a str object can hold pointers, from its state: a cached UTF-8 or wchar_t copy, or data apart from the object. What is
/// between and behind them is numbers, padding and characters.
pub const fn string_pointers(minor: u8, state: u32) -> (usize, usize) {
    let (compact, ascii) = (state >> 5 & 1 == 1, state >> 6 & 1 == 1);
    // sizeof PyASCIIObject, PyCompactUnicodeObject, PyUnicodeObject. Until 3.11 the first ends with wstr; utf8 follows in the second; data in
    // the third.
    let (first, second, third) = if minor <= 11 { (48, 72, 80) } else { (40, 56, 64) };
    let to = match (compact, ascii) {
        (true, true) => first,
        (true, false) => second,
        _ => third,
    };
    (40, to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_ascii_string_of_3_12_has_no_pointers() {
        let compact_ascii = 1 << 5 | 1 << 6 | 1 << 2;
        assert_eq!(string_pointers(12, compact_ascii), (40, 40));
        assert_eq!(string_pointers(11, compact_ascii), (40, 48));
        assert_eq!(string_pointers(13, 1 << 5), (40, 56));
        assert_eq!(string_pointers(8, 0), (40, 80));
    }
}

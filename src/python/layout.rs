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

/// `PyInterpreterState.ceval.gil` (pycore_interp.h, pycore_ceval_state.h), in bytes. From 3.12 on each interpreter names the lock it runs under.
pub const fn interpreter_gil(minor: u8) -> Option<usize> {
    match minor {
        12 => Some(384),
        13 => Some(16),
        _ => None,
    }
}

/// `_gil_runtime_state.locked` (pycore_gil.h, 3.12 and 3.13): an int, 1 if somebody holds the lock, below 0 if it has not been made.
pub const GIL_LOCKED: usize = 16;

/// `_PyRuntimeState.interpreters.next_id` (pycore_runtime.h, 3.8: pycore_pystate.h), in bytes: how many interpreters there have ever been. Known
/// of the versions in which one that ends leaves references behind.
pub const fn interpreters_made(minor: u8) -> Option<usize> {
    match minor {
        8..=10 => Some(48),
        11 => Some(56),
        _ => None,
    }
}

/// `PyASCIIObject.length` (cpython/unicodeobject.h), in characters.
pub const STRING_LENGTH: usize = 16;

/// `PyASCIIObject.state` (cpython/unicodeobject.h): after the header, length and hash, in bytes. 32 bits: `interned` 2, `kind` 3, `compact` 1,
/// `ascii` 1, in 3.8 to 3.13.
pub const STRING_STATE: usize = 32;

/// References to None that the type attribute cache owns once it is cleared: 3.11's `type_cache_clear` (typeobject.c) puts None in place of each
/// of the `1 << MCACHE_SIZE_EXP` names, others put NULL there. In 3.12 None has no count.
pub const fn type_cache_nones(minor: u8) -> u32 {
    if minor == 11 { 1 << 12 } else { 0 }
}

/// `PyTypeObject.tp_mro` (object.h, 3.8 to 3.13).
pub const TP_MRO: usize = 344;

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

/// `PyListObject` (cpython/listobject.h): `ob_item` after the header, then `allocated`.
pub const LIST_ITEMS: usize = 24;

/// `PyTupleObject.ob_item` (cpython/tupleobject.h).
pub const TUPLE_ITEMS: usize = 24;

/// `PyDictObject.ma_keys` (cpython/dictobject.h), behind the header, `ma_used` and `ma_version_tag`, in 3.8 to 3.13.
pub const DICT_KEYS: usize = 32;

/// `PyDictObject.ma_values`, behind `ma_keys`: the values of a dict that shares its keys with others.
pub const DICT_VALUES: usize = 40;

/// Where an instance with a managed dict keeps the pointer to its values, in words before it: 3.11 `_PyObject_ValuesPointer` (-4), 3.12
/// `_PyObject_DictOrValuesPointer` (-3; bit 0 set means values, stored as pointer less 1). From 3.13 on they stand behind it.
pub const fn values_pointer(minor: u8) -> Option<usize> {
    match minor {
        11 => Some(32),
        12 => Some(24),
        _ => None,
    }
}

/// How many of the values of a `PyDictValues` of 3.11 and 3.12 can be set (pycore_dict.h, `_PyDictValues_AddToInsertionOrder`). `before` are the
/// bytes before the values, the nearest first: the size of the prefix; how many values are set; and which, in order of insertion. `None` if
/// they do not look like that.
pub fn values_set(before: &[u8]) -> Option<usize> {
    let (&prefix_bytes, rest) = before.split_first()?;
    let (&count, order) = rest.split_first()?;
    let order = order.get(..count.into())?;
    let last = order.iter().map(|&index| usize::from(index) + 1).max().unwrap_or(0);
    (usize::from(count) + 2 <= usize::from(prefix_bytes) && last + 2 <= usize::from(prefix_bytes)).then_some(last)
}

/// `struct _dictvalues` of 3.13 (pycore_dict.h): bytes `capacity`, `size`, `embedded`, `valid`, padding; then the values.
pub const VALUES_HEADER_BYTES: usize = 8;

/// The bytes before `dk_indices` of `PyDictKeysObject` (Objects/dict-common.h, from 3.11 pycore_dict.h). Until 3.10 five words: `dk_refcnt`,
/// `dk_size`, `dk_lookup`, `dk_usable`, `dk_nentries`. Then four: `dk_refcnt`; `dk_log2_size` 1, `dk_log2_index_bytes` 1, `dk_kind` 1,
/// `dk_version` 4; `dk_usable`; `dk_nentries`.
pub const fn dict_keys_header(minor: u8) -> usize {
    if minor <= 10 { 40 } else { 32 }
}

/// `PySetObject` (cpython/setobject.h; until 3.8 setobject.h): header, `fill` 16, `used` 24, `mask` 32, `table` 40, `hash` 48, `finger` 56,
/// `smalltable` of eight `setentry`s (key, hash) 64, `weakreflist`.
pub const SET_MASK: usize = 32;
/// See [`SET_MASK`].
pub const SET_TABLE: usize = 40;
/// See [`SET_MASK`].
pub const SET_SMALL_TABLE: (usize, usize) = (64, 192);

/// Where a frame object of 3.8 to 3.10 keeps what (frameobject.h, from 3.9 cpython/frameobject.h).
pub struct FrameLayout {
    /// `f_valuestack`: where the stack of the evaluation begins, behind the locals.
    pub value_stack: usize,
    /// `f_gen`: the generator whose frame it is, borrowed.
    pub generator: usize,
    /// The first free place of the stack, if the frame is not running.
    pub top: FrameTop,
}

/// See [`FrameLayout`].
pub enum FrameTop {
    /// `f_stacktop`: its address; 0 while the frame runs, and when it is done.
    Address(usize),
    /// `f_stackdepth`, 32 bits: its number; negative while the frame runs.
    Depth(usize),
}

/// Of frame objects; from 3.11 on frames live on the data stack, and the objects have a view of them.
pub const fn frame(minor: u8) -> Option<FrameLayout> {
    match minor {
        8 | 9 => Some(FrameLayout { value_stack: 64, generator: 96, top: FrameTop::Address(72) }),
        10 => Some(FrameLayout { value_stack: 64, generator: 88, top: FrameTop::Depth(80) }),
        _ => None,
    }
}

/// Where the frames of a thread are found, and in them what says at which line of which function they stand.
pub struct Walking {
    /// In `PyThreadState`: 3.8 to 3.10 `frame`, 3.11 and 3.12 `cframe`, 3.13 `current_frame`.
    pub current: usize,
    /// `_PyCFrame.current_frame` (cpython/pystate.h), where the former leads to one.
    pub through: Option<usize>,
    /// `PyFrameObject.f_back`; from 3.11 on `_PyInterpreterFrame.previous` (pycore_frame.h).
    pub back: usize,
    /// `f_code`; in 3.13 `f_executable`, which may be something else.
    pub code: usize,
    /// The instruction.
    pub position: Position,
    /// `_PyInterpreterFrame.owner`, where a frame may have no code.
    pub owner: Option<usize>,
    /// Bytes of a frame that are read.
    pub frame_bytes: usize,
    /// `PyCodeObject.co_filename` (cpython/code.h, 3.8: code.h).
    pub file: usize,
    /// `co_name`; from 3.11 on `co_qualname`.
    pub name: usize,
    /// `co_lnotab`; from 3.10 on `co_linetable`.
    pub table: usize,
    /// `co_firstlineno`, 32 bits.
    pub first_line: usize,
    /// Bytes of a code object that are read.
    pub code_bytes: usize,
}

/// `FRAME_OWNED_BY_CSTACK` (pycore_frame.h, 3.12 and 3.13): the entry into the evaluation, which has no code of the program's.
pub const FRAME_OWNED_BY_CSTACK: usize = 3;

/// See [`Walking`].
pub enum Position {
    /// `f_lasti`, 32 bits: bytes.
    Bytes(usize),
    /// `f_lasti` of 3.10: instructions, of two bytes.
    Instructions(usize),
    /// 3.11 and 3.12 `prev_instr`, 3.13 `instr_ptr`: an address; and where in the code object the instructions begin (`co_code_adaptive`).
    Pointer(usize, usize),
}

/// See [`Walking`].
pub const fn walking(minor: u8) -> Option<Walking> {
    let old = Walking {
        current: 24,
        through: None,
        back: 24,
        code: 32,
        position: Position::Bytes(104),
        owner: None,
        frame_bytes: 112,
        file: 104,
        name: 112,
        table: 120,
        first_line: 40,
        code_bytes: 128,
    };
    let new = Walking {
        current: 56,
        through: Some(0),
        back: 8,
        code: 0,
        position: Position::Pointer(56, 192),
        owner: Some(70),
        frame_bytes: 72,
        file: 112,
        name: 128,
        table: 136,
        first_line: 68,
        code_bytes: 144,
    };
    match minor {
        8 | 9 => Some(old),
        10 => Some(Walking { position: Position::Instructions(96), ..old }),
        11 => Some(Walking {
            through: Some(8),
            back: 48,
            code: 32,
            position: Position::Pointer(56, 184),
            owner: None,
            first_line: 72,
            ..new
        }),
        12 => Some(new),
        13 => Some(Walking { current: 72, through: None, position: Position::Pointer(56, 200), ..new }),
        _ => None,
    }
}

/// `pysqlite_Cache` until 3.9 (CPython Modules/_sqlite/cache.h): header, `size` 16, `mapping` 24, then this, what makes new entries: the
/// connection; `first` 40, `last` 48.
pub const SQLITE_CACHE_FACTORY: usize = 32;
/// `decref_factory`, an `int`: 0 if the cache does not own the factory, which a connection says of its own (connection.c, `pysqlite_connection_init`).
pub const SQLITE_CACHE_OWNS_FACTORY: usize = 56;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_that_are_set_are_listed_before_them() {
        // Three values were set: 0, 2, 1; of at most six.
        assert_eq!(values_set(&[8, 3, 0, 2, 1, 9, 9, 9]), Some(3));
        assert_eq!(values_set(&[8, 0, 7, 7, 7, 7, 7, 7]), Some(0));
        assert_eq!(values_set(&[8, 1, 200, 0, 0, 0, 0, 0]), None);
        assert_eq!(values_set(&[8, 7, 0, 1, 2, 3, 4, 5]), None);
        assert_eq!(values_set(&[8]), None);
    }

    #[test]
    fn a_plain_ascii_string_of_3_12_has_no_pointers() {
        let compact_ascii = 1 << 5 | 1 << 6 | 1 << 2;
        assert_eq!(string_pointers(12, compact_ascii), (40, 40));
        assert_eq!(string_pointers(11, compact_ascii), (40, 48));
        assert_eq!(string_pointers(13, 1 << 5), (40, 56));
        assert_eq!(string_pointers(8, 0), (40, 80));
    }
}

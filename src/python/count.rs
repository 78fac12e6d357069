//! Reading a reference count, whose encoding changes with the version.

/// What an object claims.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Count {
    /// Destroyed and kept on a free list: the count is 0, or a link stands in its place.
    Dead,
    /// Has no count.
    Immortal,
    /// This many references.
    References(u64),
}

/// No program has this many references to one object; a larger number is a pointer (a free list's link).
const REFERENCES_MAX: u64 = 1 << 40;

/// 3.11's statically allocated objects start here (pycore_runtime_init.h, `_PyObject_IMMORTAL_REFCNT`) and are counted up and down from it.
const STATIC_3_11: u64 = 999_999_999;

/// Decodes `ob_refcnt`.
///
/// Sources: CPython Include/object.h. Until 3.11 `Py_ssize_t ob_refcnt`. 3.12 and 3.13: immortal if the low 32 bits are negative as an
/// `int32_t` (`_Py_IsImmortal`); a live count leaves the upper half 0.
pub fn decode(minor: u8, raw: u64) -> Count {
    if minor <= 11 {
        return match raw {
            0 => Count::Dead,
            // Half the start value down or up: nobody drops or takes that many references.
            n if minor == 11 && (STATIC_3_11 / 2..STATIC_3_11 * 3).contains(&n) => match n.checked_sub(STATIC_3_11) {
                Some(n) => Count::References(n),
                None => Count::Immortal,
            },
            n if n >= REFERENCES_MAX => Count::Dead,
            n => Count::References(n),
        };
    }
    if raw >> 32 != 0 || raw == 0 {
        Count::Dead
    } else if (raw as u32 as i32) < 0 {
        Count::Immortal
    } else {
        Count::References(raw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_has_its_encoding() {
        assert_eq!(decode(8, 3), Count::References(3));
        assert_eq!(decode(8, 0), Count::Dead);
        assert_eq!(decode(10, 0x7f12_3456_7890), Count::Dead);
        assert_eq!(decode(11, 999_999_999 + 5), Count::References(5));
        assert_eq!(decode(10, 999_999_999), Count::References(999_999_999));
        assert_eq!(decode(12, 0xffff_ffff), Count::Immortal);
        assert_eq!(decode(13, 0x8000_0000), Count::Immortal);
        assert_eq!(decode(13, 0x7f12_3456_7890), Count::Dead);
        assert_eq!(decode(13, 7), Count::References(7));
    }
}

//! Names and previews, made with the interpreter's own functions, in the child, when everything has been counted.
//!
//! Without the GIL (a torn snapshot) none of its functions is called: then a type is named by `tp_name` and there are no previews.

use core::ffi::{CStr, c_char};

use super::objects::Model;
use super::runtime::{Object, Variable};
use super::types::{OB_SIZE, OB_TYPE, Species, TP_NAME, read};
use crate::sys::guard;

/// Text of a bounded length.
#[derive(Clone, Copy)]
pub struct Text<const N: usize> {
    bytes: [u8; N],
    used: usize,
}

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Text { bytes: [0; N], used: 0 }
    }
}

impl<const N: usize> Text<N> {
    /// Adds bytes as far as there is room, without cutting a UTF-8 sequence in two.
    pub fn push(&mut self, text: &[u8]) {
        let mut n = text.len().min(N - self.used);
        while n > 0 && n < text.len() && text[n] & 0xc0 == 0x80 {
            n -= 1;
        }
        if let (Some(to), Some(from)) = (self.bytes.get_mut(self.used..self.used + n), text.get(..n)) {
            to.copy_from_slice(from);
            self.used += n;
        }
    }

    /// What it holds.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.used).unwrap_or(b"")
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }
}

/// A type's name.
pub type Name = Text<160>;
/// A preview.
pub type Preview = Text<120>;

/// `PyTypeObject.tp_getattro` (cpython/object.h).
const TP_GETATTRO: usize = 144;

/// Previews of strings and bytes show this many characters.
const PREVIEW_CHARACTERS: isize = 60;

/// Items shown of a list or tuple.
const ITEMS_SHOWN: usize = 2;

impl Model {
    /// The name of a type as Python would print it: `list`, `collections.deque`, `__main__.Thing`.
    pub fn type_name(&mut self, address: usize, with_interpreter: bool) -> Name {
        let mut name = Name::default();
        if with_interpreter && self.types.is_heap(address) {
            let module = self.type_attribute(address, c"__module__");
            let qualified = self.type_attribute(address, c"__qualname__");
            if !qualified.is_empty() {
                if !module.is_empty() && module.as_bytes() != b"builtins" {
                    name.push(module.as_bytes());
                    name.push(b".");
                }
                name.push(qualified.as_bytes());
                return name;
            }
        }
        // A static type's tp_name has its module in front; builtins have none.
        // SAFETY: a type object; tp_name is a C string for as long as the type lives. Bounded, and guarded against a bad pointer.
        unsafe {
            guard::call(|| name.push(bounded(read(address + TP_NAME), 160)));
        }
        name
    }

    /// An attribute of a type, read by `type`'s own getter, so that a metaclass's Python code does not run.
    fn type_attribute(&self, address: usize, attribute: &CStr) -> Name {
        let s = &self.runtime.symbols;
        let mut text = Name::default();
        let (Some(type_type), Some(string_new)) = (s.type_type, s.string_new) else { return text };
        // SAFETY: in the child, with the GIL as the snapshot had it; guarded. `tp_getattro` of `type` has this signature.
        unsafe {
            guard::call(|| {
                let get: unsafe extern "C" fn(Object, Object) -> Object =
                    core::mem::transmute(read(type_type.get() + TP_GETATTRO));
                let key = string_new(attribute.as_ptr());
                let value = get(address as Object, key);
                self.push_string(value, &mut text);
            });
        }
        text
    }

    unsafe fn push_string<const N: usize>(&self, string: Object, text: &mut Text<N>) {
        let s = &self.runtime.symbols;
        let mut length = 0isize;
        // SAFETY: the caller's: in the child with the GIL; string is an object or null.
        unsafe {
            if !string.is_null()
                && s.str_type.is_some_and(|t| read(string as usize + OB_TYPE) == t.get())
                && let Some(utf8) = s.utf8
            {
                let p = utf8(string, &mut length);
                if !p.is_null() && length > 0 {
                    text.push(core::slice::from_raw_parts(p.cast(), (length as usize).min(N)));
                }
            }
            if let Some(clear) = s.error_clear {
                clear();
            }
        }
    }

    /// A short preview of an object: the text of a str, bytes, int or float, a type's name, a function's qualified name. No code of the
    /// program's runs for it.
    pub fn preview(&mut self, object: usize, with_interpreter: bool) -> Preview {
        let mut text = Preview::default();
        let Some(info) = self.info(object).copied() else { return text };
        let s = self.runtime.symbols;
        let is = |v: Option<Variable>, a: usize| v.is_some_and(|v| v.get() == a);
        if is(s.none, object) {
            text.push(b"None");
        } else if info.species == Species::Type {
            let name = self.type_name(object, with_interpreter);
            text.push(b"<class '");
            text.push(name.as_bytes());
            text.push(b"'>");
        } else if matches!(info.species, Species::List | Species::Tuple) {
            self.push_items(object, info.species, with_interpreter, &mut text);
        } else if with_interpreter {
            // SAFETY: in the child, with the GIL as the snapshot had it; guarded.
            unsafe {
                guard::call(|| match info.species {
                    Species::Str | Species::Leaf => self.push_repr(object, &mut text),
                    Species::Function | Species::Builtin | Species::Method => {
                        self.push_attribute(object, c"__qualname__", &mut text);
                    }
                    Species::Module => self.push_attribute(object, c"__name__", &mut text),
                    _ => {}
                });
            }
        }
        text
    }

    /// The number of a list's or tuple's items, and the first of them.
    fn push_items<const N: usize>(&mut self, object: usize, species: Species, with_interpreter: bool, text: &mut Text<N>) {
        // SAFETY: a variable-size object; a list's items stand in a block of their own, a tuple's behind its size.
        let (n, items) = unsafe {
            let items = object + OB_SIZE + 8;
            (read(object + OB_SIZE), if species == Species::List { read(items) } else { items })
        };
        let _ = core::fmt::Write::write_fmt(text, format_args!("{n} item{}", if n == 1 { "" } else { "s" }));
        for i in 0..n.min(ITEMS_SHOWN) {
            text.push(if i == 0 { b": " } else { b", " });
            // SAFETY: i < n.
            let item = unsafe { read(items + 8 * i) };
            let Some(info) = self.info(item).copied() else { return };
            if with_interpreter && matches!(info.species, Species::Str | Species::Leaf) {
                let mut one = Text::<40>::default();
                // SAFETY: in the child, with the GIL as the snapshot had it; guarded.
                unsafe { guard::call(|| self.push_repr(item, &mut one)) };
                text.push(one.as_bytes());
            } else {
                let name = self.type_name(info.address, with_interpreter);
                text.push(name.as_bytes());
            }
        }
        if n > ITEMS_SHOWN {
            text.push(", …".as_bytes());
        }
    }

    unsafe fn push_attribute<const N: usize>(&self, object: usize, name: &CStr, text: &mut Text<N>) {
        if let Some(get) = self.runtime.symbols.get_attribute {
            // SAFETY: the caller's.
            unsafe { self.push_string(get(object as Object, name.as_ptr()), text) };
        }
    }

    unsafe fn push_repr<const N: usize>(&self, object: usize, text: &mut Text<N>) {
        let s = &self.runtime.symbols;
        let is = |v: Option<Variable>, a: usize| v.is_some_and(|v| v.get() == a);
        // SAFETY: the caller's. A long value is cut before it is turned into text.
        unsafe {
            let type_address = read(object + OB_TYPE);
            let mut shown = object as Object;
            let mut cut = false;
            if is(s.str_type, type_address) {
                // PyASCIIObject.length stands right behind the header.
                if read(object + OB_SIZE) as isize > PREVIEW_CHARACTERS
                    && let Some(substring) = s.substring
                {
                    shown = substring(shown, 0, PREVIEW_CHARACTERS);
                    cut = true;
                }
            } else if is(s.bytes_type, type_address) {
                return push_bytes(object, text);
            } else if is(s.int_type, type_address) && read(object + OB_SIZE) as isize > 1 << 12 {
                return text.push(b"(a large int)");
            }
            if let Some(repr) = s.repr
                && !shown.is_null()
            {
                self.push_string(repr(shown), text);
                if cut {
                    text.push("…".as_bytes());
                }
            }
        }
    }
}

impl<const N: usize> core::fmt::Write for Text<N> {
    fn write_str(&mut self, s: &str) -> core::fmt::Result {
        self.push(s.as_bytes());
        Ok(())
    }
}

/// `PyBytesObject`: `ob_sval` stands behind `ob_shash`, at byte 32 (cpython/bytesobject.h).
unsafe fn push_bytes<const N: usize>(object: usize, text: &mut Text<N>) {
    // SAFETY: the caller's: a bytes object.
    let (data, length) = unsafe { (object + 32, read(object + OB_SIZE)) };
    text.push(b"b'");
    for at in 0..length.min(PREVIEW_CHARACTERS as usize) {
        // SAFETY: at < length.
        let byte = unsafe { *((data + at) as *const u8) };
        match byte {
            b'\'' | b'\\' => text.push(&[b'\\', byte]),
            0x20..0x7f => text.push(&[byte]),
            _ => {
                let digit = |n: u8| if n < 10 { b'0' + n } else { b'a' + n - 10 };
                text.push(&[b'\\', b'x', digit(byte >> 4), digit(byte & 15)]);
            }
        }
    }
    text.push(b"'");
    if length > PREVIEW_CHARACTERS as usize {
        text.push("…".as_bytes());
    }
}

/// A C string's bytes, at most `limit`.
unsafe fn bounded(address: usize, limit: usize) -> &'static [u8] {
    // SAFETY: the caller's: a C string.
    unsafe {
        let length = libc::strnlen(address as *const c_char, limit);
        core::slice::from_raw_parts(address as *const u8, length)
    }
}

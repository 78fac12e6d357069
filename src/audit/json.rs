//! JSON on a fixed buffer: just what the records need.

use core::fmt::Write;

use crate::sys::text::Writer;

/// Writes a JSON string. What is not UTF-8 becomes U+FFFD.
pub fn string(w: &mut Writer, text: &[u8]) {
    w.bytes(b"\"");
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => w.bytes(b"\\\""),
                '\\' => w.bytes(b"\\\\"),
                '\n' => w.bytes(b"\\n"),
                '\r' => w.bytes(b"\\r"),
                '\t' => w.bytes(b"\\t"),
                c if (c as u32) < 0x20 => _ = write!(w, "\\u{:04x}", c as u32),
                c => _ = w.write_char(c),
            }
        }
        if !chunk.invalid().is_empty() {
            w.bytes("\u{fffd}".as_bytes());
        }
    }
    w.bytes(b"\"");
}

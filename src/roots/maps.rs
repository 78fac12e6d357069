//! `/proc/self/maps`, one line at a time.

use crate::sys::files::{self, File};

/// One mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
    /// Readable.
    pub read: bool,
    /// Writable.
    pub write: bool,
    /// Executable.
    pub execute: bool,
    /// Private (copy-on-write), not shared.
    pub private: bool,
    /// The main thread's stack.
    pub main_stack: bool,
    /// No file behind it: whatever it holds, the program wrote.
    pub anonymous: bool,
    /// A device other than `/dev/zero`: reading it may have effects.
    pub device: bool,
}

/// Calls `mapping` for each line in the order of addresses; `false` if the file cannot be read to its end.
pub fn for_each(mapping: &mut dyn FnMut(Mapping)) -> bool {
    let Some(file) = File::open(c"/proc/self/maps") else { return false };
    let mut any = false;
    let whole = file.for_each_line(&mut |line| {
        if let Some(parsed) = parse(line) {
            any = true;
            mapping(parsed);
        }
    });
    any && whole
}

/// `7f00-7f01 rw-p 00000000 08:01 1234   /path` (proc(5)); the first line of a mapping in `smaps` is the same. `None` for any other line.
pub fn parse(line: &[u8]) -> Option<Mapping> {
    let (start, rest) = files::take_hex(line);
    let (end, rest) = files::take_hex(rest.strip_prefix(b"-")?);
    let [b' ', r, w, x, p, ..] = *rest else { return None };
    let name = line.iter().position(|&b| b == b'/' || b == b'[').and_then(|at| line.get(at..)).unwrap_or(b"");
    Some(Mapping {
        start,
        end,
        read: r == b'r',
        write: w == b'w',
        execute: x == b'x',
        private: p == b'p',
        main_stack: name == b"[stack]",
        // The kernel's own ([vvar], [vdso]) have a name in brackets too; [anon:...] is the program's own name for its memory.
        anonymous: name.is_empty() || name == b"[heap]" || name == b"[stack]" || name.starts_with(b"[anon"),
        device: name.starts_with(b"/dev/") && !name.starts_with(b"/dev/zero") && !name.starts_with(b"/dev/shm/"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_taken_apart() {
        let m = parse(b"7ffd0000-7ffd1000 rw-p 00000000 00:00 0                          [stack]").unwrap();
        assert_eq!((m.start, m.end), (0x7ffd0000, 0x7ffd1000));
        assert!(m.read && m.write && m.private && m.main_stack && m.anonymous && !m.device);
        assert!(parse(b"1000-2000 r--p 00000000 00:00 0").unwrap().anonymous);
        assert!(parse(b"1000-2000 rw-p 00000000 00:00 0 [anon: pool]").unwrap().anonymous);
        assert!(!parse(b"1000-2000 r--p 00000000 00:00 0 [vvar]").unwrap().anonymous);
        let m = parse(b"1000-2000 r--s 00000000 00:05 12 /dev/dri/card0").unwrap();
        assert!(m.device && !m.write && !m.private && !m.anonymous);
        assert!(parse(b"nonsense").is_none());
    }

    #[test]
    fn this_process_has_a_stack() {
        let here = 0u8;
        let address = &raw const here as usize;
        let mut found = false;
        assert!(for_each(&mut |m| found |= m.start <= address && address < m.end && m.write));
        assert!(found);
    }
}

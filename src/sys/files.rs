//! Files and `/proc`, read without allocation.

use core::ffi::CStr;

/// An open file descriptor, closed when it goes.
pub struct File {
    fd: i32,
}

impl File {
    /// Opens for reading.
    pub fn open(path: &CStr) -> Option<File> {
        Self::with_flags(path, libc::O_RDONLY)
    }

    /// Opens for appending, making the file (mode 0644) if it is not there.
    pub fn append(path: &CStr) -> Option<File> {
        Self::with_flags(path, libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND)
    }

    fn with_flags(path: &CStr, flags: i32) -> Option<File> {
        // SAFETY: path is a C string; the mode is passed for O_CREAT.
        let open = || unsafe { libc::open(path.as_ptr(), flags | libc::O_CLOEXEC | libc::O_NOCTTY, 0o644) };
        let mut fd = open();
        // A named pipe is opened when its other end is, which may take longer than until the next signal.
        // SAFETY: __errno_location is valid for the calling thread.
        while fd < 0 && unsafe { *libc::__errno_location() } == libc::EINTR {
            fd = open();
        }
        File::above_the_standard_ones(fd)
    }

    /// In a program that has closed its standard output or error, a file of ours must not take its place: not for a moment, since the
    /// program's other threads may write there, and neither must our lines go into the report.
    fn above_the_standard_ones(fd: i32) -> Option<File> {
        if !(0..=2).contains(&fd) {
            return (fd >= 0).then_some(File { fd });
        }
        // SAFETY: the descriptor is ours; the copy is the lowest free from 3 up.
        unsafe {
            let copy = libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3);
            libc::close(fd);
            (copy >= 0).then_some(File { fd: copy })
        }
    }

    /// The descriptor.
    pub fn fd(&self) -> i32 {
        self.fd
    }

    /// Reads up to the buffer's length; 0 at the end, `None` on an error. Retries after `EINTR`.
    pub fn read(&self, buffer: &mut [u8]) -> Option<usize> {
        loop {
            // SAFETY: the pointer and length are the buffer's.
            let n = unsafe { libc::read(self.fd, buffer.as_mut_ptr().cast(), buffer.len()) };
            if n >= 0 {
                return Some(n as usize);
            }
            // SAFETY: __errno_location is valid for the calling thread.
            if unsafe { *libc::__errno_location() } != libc::EINTR {
                return None;
            }
        }
    }

    /// Reads words at a byte offset (for `/proc/self/pagemap`); answers how many whole words were read.
    pub fn read_words_at(&self, words: &mut [u64], offset: u64) -> usize {
        // SAFETY: the pointer and length in bytes are the slice's; any bit pattern is a u64.
        let n = unsafe { libc::pread(self.fd, words.as_mut_ptr().cast(), words.len() * 8, offset as i64) };
        if n > 0 { n as usize / 8 } else { 0 }
    }

    /// Calls `line` for each line, without its newline. A line longer than 8 KiB is cut: what is over is dropped. `false` if an error ended it: then
    /// there may be more lines.
    pub fn for_each_line(&self, line: &mut dyn FnMut(&[u8])) -> bool {
        self.for_each_line_up_to::<8192>(line)
    }

    /// The same with lines of at most `N` bytes, for callers whose stack may be small.
    pub fn for_each_line_up_to<const N: usize>(&self, line: &mut dyn FnMut(&[u8])) -> bool {
        let mut buffer = [0u8; N];
        let mut held = 0;
        let mut dropping = false;
        let whole = loop {
            let n = match buffer.get_mut(held..).and_then(|room| self.read(room)) {
                Some(0) => break true,
                Some(n) => n,
                None => break false,
            };
            held += n;
            let mut at = 0;
            while let Some(rest) = buffer.get(at..held)
                && let Some(length) = rest.iter().position(|&b| b == b'\n')
            {
                if !dropping {
                    line(rest.get(..length).unwrap_or(rest));
                }
                dropping = false;
                at += length + 1;
            }
            if at == 0 && held == buffer.len() {
                if !dropping {
                    line(&buffer);
                }
                dropping = true;
                held = 0;
            } else {
                buffer.copy_within(at..held, 0);
                held -= at;
            }
        };
        if held > 0
            && !dropping
            && let Some(rest) = buffer.get(..held)
        {
            line(rest);
        }
        whole
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // SAFETY: the descriptor is ours and closed once.
        unsafe { libc::close(self.fd) };
    }
}

/// Takes a hexadecimal number off the front; answers it and the rest.
pub fn take_hex(text: &[u8]) -> (usize, &[u8]) {
    let digits = text.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    let (head, rest) = text.split_at(digits);
    let value = head.iter().fold(0usize, |n, &b| {
        let d = match b {
            b'0'..=b'9' => b - b'0',
            b'a'..=b'f' => b - b'a' + 10,
            _ => b - b'A' + 10,
        };
        n.wrapping_shl(4) | usize::from(d)
    });
    (value, rest)
}

/// Reads a decimal number; `None` if there is none, if anything else follows, or if it does not fit.
pub fn parse_decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |n, &b| {
        if !b.is_ascii_digit() {
            return None;
        }
        n.checked_mul(10)?.checked_add(u64::from(b - b'0'))
    })
}

/// Opens `/proc/self/task/TID/NAME`; `None` if there is no such thread.
pub fn open_of_thread(tid: i32, name: &[u8]) -> Option<File> {
    let mut digits = [b'0'; 10];
    let mut left = tid as u32;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (left % 10) as u8;
        left /= 10;
    }
    let first = digits.iter().position(|&d| d != b'0')?;
    let mut path = [0u8; 64];
    let parts = b"/proc/self/task/".iter().chain(digits.iter().skip(first)).chain(b"/").chain(name);
    // One byte stays zero: the end.
    let room = path.len() - 1;
    path.iter_mut().take(room).zip(parts).for_each(|(to, &from)| *to = from);
    File::open(CStr::from_bytes_until_nul(&path).ok()?)
}

/// Calls `entry` for each name in a directory but `.` and `..`; `false` if it cannot be read.
pub fn for_each_entry(path: &CStr, entry: &mut dyn FnMut(&[u8])) -> bool {
    // SAFETY: path is a C string.
    let fd = unsafe { libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC) };
    let Some(file) = File::above_the_standard_ones(fd) else { return false };
    // The kernel writes linux_dirent64 records, which want 8-byte alignment.
    let mut buffer = [0u64; 512];
    loop {
        // SAFETY: getdents64 fills at most the given number of bytes of the buffer.
        let n = unsafe { libc::syscall(libc::SYS_getdents64, file.fd, buffer.as_mut_ptr(), core::mem::size_of_val(&buffer)) };
        if n <= 0 {
            return n == 0;
        }
        let mut at = 0usize;
        while at + 19 <= n as usize {
            // SAFETY: at + 19 <= n, so the fixed part of the record (ino 8, off 8, reclen 2, type 1) lies in the buffer.
            let record = unsafe { buffer.as_ptr().cast::<u8>().add(at) };
            // SAFETY: reclen stands at byte 16 of the record.
            let length = usize::from(unsafe { record.add(16).cast::<u16>().read_unaligned() });
            if length < 20 || at + length > n as usize {
                break;
            }
            // SAFETY: the name starts at byte 19, is zero-terminated, and lies within the record.
            let name = unsafe { core::slice::from_raw_parts(record.add(19), length - 19) };
            let end = name.iter().position(|&b| b == 0).unwrap_or(name.len());
            let name = name.get(..end).unwrap_or(name);
            if name != b"." && name != b".." {
                entry(name);
            }
            at += length;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_taken_apart() {
        assert_eq!(take_hex(b"7f00-8000 rw"), (0x7f00, &b"-8000 rw"[..]));
        assert_eq!(parse_decimal(b"123"), Some(123));
        assert_eq!(parse_decimal(b"12x"), None);
        assert_eq!(parse_decimal(b""), None);
        assert_eq!(parse_decimal(b"99999999999999999999999"), None);
    }

    #[test]
    fn lines_longer_than_the_buffer_are_cut_and_the_next_is_whole() {
        let path = std::env::temp_dir().join(format!("gcshim-lines-{}", std::process::id()));
        std::fs::write(&path, format!("a\n{}\nlast", "x".repeat(20000))).unwrap();
        let c = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
        let mut seen = Vec::new();
        File::open(&c).unwrap().for_each_line(&mut |l| seen.push(l.to_vec()));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(seen.first().unwrap(), b"a");
        assert_eq!(seen.last().unwrap(), b"last");
        assert_eq!(seen.len(), 3);
    }

    #[test]
    fn a_threads_files_are_found_by_its_number() {
        let tid = crate::sys::process::thread_id();
        let mut first = Vec::new();
        open_of_thread(tid, b"stat").unwrap().for_each_line(&mut |l| first.extend_from_slice(l));
        assert!(first.starts_with(format!("{tid} (").as_bytes()));
        assert!(open_of_thread(0, b"stat").is_none() && open_of_thread(i32::MAX, b"stat").is_none());
    }

    #[test]
    fn a_directory_lists_this_thread() {
        let mut n = 0;
        assert!(for_each_entry(c"/proc/self/task", &mut |_| n += 1));
        assert!(n >= 1);
        assert!(!for_each_entry(c"/nonexistent", &mut |_| ()));
    }
}

//! Text without allocation: a fixed buffer, flushed to a file descriptor by `write`.

use core::fmt::{self, Write};

/// Standard error's descriptor.
pub const STDERR: i32 = 2;

/// A buffered writer on a file descriptor. Short writes and `EINTR` are handled; another error drops the rest and is remembered.
pub struct Writer {
    fd: i32,
    used: usize,
    failed: bool,
    buffer: [u8; Self::CAPACITY],
}

impl Writer {
    /// Bytes held before a flush.
    pub const CAPACITY: usize = 4096;

    /// A writer on `fd`, which stays open when the writer goes.
    pub const fn new(fd: i32) -> Writer {
        Writer { fd, used: 0, failed: false, buffer: [0; Self::CAPACITY] }
    }

    /// Writes bytes, flushing when the buffer is full.
    pub fn bytes(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = Self::CAPACITY - self.used;
            if room == 0 {
                self.flush();
                continue;
            }
            let n = room.min(bytes.len());
            let (now, rest) = bytes.split_at(n);
            if let Some(to) = self.buffer.get_mut(self.used..self.used + n) {
                to.copy_from_slice(now);
            }
            self.used += n;
            bytes = rest;
        }
    }

    /// Sends what is held to the descriptor.
    pub fn flush(&mut self) {
        let mut at = 0;
        while at < self.used && !self.failed {
            // SAFETY: at < used <= CAPACITY, so the range lies in the buffer.
            let n = unsafe { libc::write(self.fd, self.buffer.as_ptr().add(at).cast(), self.used - at) };
            if n > 0 {
                at += n as usize;
            // SAFETY: __errno_location is valid for the calling thread.
            } else if n < 0 && unsafe { *libc::__errno_location() } == libc::EINTR {
                continue;
            } else {
                self.failed = true;
            }
        }
        self.used = 0;
    }

    /// Whether a write failed; the text from there on is lost.
    pub fn failed(&self) -> bool {
        self.failed
    }
}

impl Write for Writer {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.bytes(s.as_bytes());
        Ok(())
    }
}

/// Writes one line to standard error in one system call where it fits; keeps `errno`.
pub fn stderr_line(line: fmt::Arguments<'_>) {
    // SAFETY: __errno_location is valid for the calling thread.
    let errno = unsafe { *libc::__errno_location() };
    let mut w = Writer::new(STDERR);
    let _ = w.write_fmt(line);
    w.bytes(b"\n");
    w.flush();
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

/// Writes one line to standard error and aborts: for misuse of the heap that cannot be survived.
pub fn die(line: fmt::Arguments<'_>) -> ! {
    stderr_line(line);
    // SAFETY: abort takes no arguments and does not return.
    unsafe { libc::abort() }
}

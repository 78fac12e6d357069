//! What the kernel says of a thread that has not answered the stop signal: whether it still may.

use super::files;
use super::stop_signal;

/// How long a thread gets that runs with the signal blocked: the C library does that for a moment where threads begin, end and fork.
const BLOCKED_NS: u64 = 50_000_000;
/// How long one gets that waits uninterruptibly: most do so for a moment, for a page or for the lock of the address space.
const UNINTERRUPTIBLE_NS: u64 = 200_000_000;

/// What `/proc/self/task/TID/status` says of a thread.
#[derive(Clone, Copy, Debug)]
pub struct Status {
    /// `R` running, `S` sleeping, `D` sleeping uninterruptibly, `T` and `t` held, `Z` and `X` ended.
    state: u8,
    blocked: u64,
}

impl Status {
    /// Whether it has ended.
    pub fn is_gone(self) -> bool {
        matches!(self.state, b'Z' | b'X')
    }

    /// Whether it is worth waiting for, after nobody has answered for so long.
    pub fn may_answer(self, quiet_ns: u64) -> bool {
        let blocked = self.blocked >> (stop_signal::STOP_SIGNAL - 1) & 1 == 1;
        match self.state {
            b'R' => !blocked || quiet_ns < BLOCKED_NS,
            b'S' => !blocked,
            b'D' => quiet_ns < UNINTERRUPTIBLE_NS,
            _ => false,
        }
    }
}

/// What is known of a thread; `None` if there is no such thread any more.
pub fn status_of(tid: i32) -> Option<Status> {
    let file = files::open_of_thread(tid, b"status")?;
    let mut status = Status { state: 0, blocked: 0 };
    file.for_each_line_up_to::<512>(&mut |line| {
        if let Some([state, ..]) = line.strip_prefix(b"State:\t") {
            status.state = *state;
        } else if let Some(mask) = line.strip_prefix(b"SigBlk:\t") {
            status.blocked = files::take_hex(mask).0 as u64;
        }
    });
    (status.state != 0).then_some(status)
}

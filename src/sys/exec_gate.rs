//! A thread does not become another program while threads are being stopped.
//!
//! A signal that waits for a thread stays with it through `execve`, which puts the default action in the handler's place; that of the stop signal
//! ends the process. So the exec functions (`interpose::exec`) pass this gate, and whoever stops threads closes it.

use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering::*};

use super::{clock, process};

/// The gate of this process.
pub static GATE: Gate = Gate { passing: AtomicU32::new(0), closed: AtomicBool::new(false), process: AtomicI32::new(0) };

/// How long a thread may take to become another program, or fail to, before the stop is given up.
const DEADLINE_NS: u64 = 2_000_000_000;

/// A gate, open at first.
pub struct Gate {
    /// Threads that are in an exec function.
    passing: AtomicU32,
    closed: AtomicBool,
    /// The process that it belongs to: a child made by vfork shares this memory, and nobody stops its thread.
    process: AtomicI32,
}

impl Gate {
    /// In a process of its own: the gate is open, and nobody is in it.
    pub fn begin(&self) {
        self.passing.store(0, Relaxed);
        self.closed.store(false, Relaxed);
        self.process.store(process::id(), Release);
    }

    /// Calls an exec function. While threads are being stopped it waits, and is stopped as well.
    pub fn pass(&self, exec: impl FnOnce() -> i32) -> i32 {
        if self.process.load(Acquire) != process::id() {
            return exec();
        }
        loop {
            self.passing.fetch_add(1, SeqCst);
            if !self.closed.load(SeqCst) {
                break;
            }
            self.passing.fetch_sub(1, SeqCst);
            clock::sleep_ns(50_000);
        }
        let answer = exec();
        self.passing.fetch_sub(1, SeqCst);
        answer
    }

    /// Closes the gate. `false` if somebody has been in it for so long that it stays open.
    pub fn close(&self) -> bool {
        self.closed.store(true, SeqCst);
        let deadline = clock::monotonic_ns() + DEADLINE_NS;
        while self.passing.load(SeqCst) != 0 {
            if clock::monotonic_ns() > deadline {
                self.open();
                return false;
            }
            clock::sleep_ns(50_000);
        }
        true
    }

    /// Opens it again.
    pub fn open(&self) {
        self.closed.store(false, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_in_the_gate_is_waited_for_and_whoever_comes_later_waits() {
        let gate = Gate { passing: AtomicU32::new(0), closed: AtomicBool::new(false), process: AtomicI32::new(0) };
        gate.begin();
        let inside = std::sync::Barrier::new(2);
        let closed = AtomicBool::new(false);
        let passed = AtomicBool::new(false);
        std::thread::scope(|s| {
            s.spawn(|| {
                let answer = gate.pass(|| {
                    inside.wait();
                    std::thread::sleep(std::time::Duration::from_millis(20));
                    assert!(!closed.load(SeqCst));
                    -1
                });
                assert_eq!(answer, -1);
            });
            inside.wait();
            assert!(gate.close());
            closed.store(true, SeqCst);
            let late = s.spawn(|| {
                gate.pass(|| {
                    passed.store(true, SeqCst);
                    -1
                })
            });
            std::thread::sleep(std::time::Duration::from_millis(20));
            assert!(!passed.load(SeqCst));
            gate.open();
            assert_eq!(late.join().unwrap(), -1);
        });
        assert!(passed.load(SeqCst));
    }
}

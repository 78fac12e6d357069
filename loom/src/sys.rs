//! The locks, on loom's atomics, with what they wait by.

pub mod raw {
    //! Waiting, which lets loom run another thread.

    /// `sched_yield`.
    pub fn yield_now() {
        loom::thread::yield_now();
    }

    /// A moment.
    pub fn spin_loop() {
        loom::thread::yield_now();
    }

    /// A sleep.
    pub fn sleep_ns(_nanoseconds: i64) {
        loom::thread::yield_now();
    }
}

pub mod tls {
    //! What a thread notes of the locks it holds.

    use std::cell::Cell;

    loom::thread_local! {
        static RANKS: Cell<u8> = Cell::new(0);
    }

    /// The ranks that are held, a bit each.
    pub fn rank_word() -> u8 {
        RANKS.with(Cell::get)
    }

    /// As [`rank_word`].
    pub fn set_rank_word(held: u8) {
        RANKS.with(|ranks| ranks.set(held));
    }
}

#[path = "../../src/sys/lock.rs"]
pub mod lock;

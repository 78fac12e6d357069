//! The locks' cases.

use loom::sync::Arc;
use loom::thread;

use crate::sys::lock::Ranked;

type Lock = Ranked<1, u32>;

fn both(lock: Lock, first: fn(&Lock), second: fn(&Lock)) -> u32 {
    // Its parts are made at the first use, and seen by threads that begin later.
    drop(lock.lock());
    let lock = Arc::new(lock);
    let theirs = lock.clone();
    let other = thread::spawn(move || first(&theirs));
    second(&lock);
    other.join().unwrap();
    *lock.lock()
}

#[test]
fn what_a_lock_guards_is_one_threads() {
    loom::model(|| {
        let add = |lock: &Lock| {
            for _ in 0..2 {
                *lock.lock() += 1;
            }
        };
        assert_eq!(both(Ranked::new(0), add, add), 4);
    });
}

/// As around a fork: the lock is kept beyond the scope, and what was done before and behind is whole for whoever comes next.
#[test]
fn a_lock_that_is_kept_excludes_others_until_it_is_released() {
    loom::model(|| {
        let keep = |lock: &Lock| {
            *lock.lock() += 1;
            lock.lock_and_keep();
            thread::yield_now();
            // SAFETY: kept by the line above.
            unsafe { lock.release_kept() };
            *lock.lock() += 1;
        };
        assert_eq!(both(Ranked::new(0), keep, |lock| *lock.lock() += 10), 12);
    });
}

/// As in a signal handler: who may not wait takes it or leaves it, and takes nothing half.
#[test]
fn who_only_tries_gets_the_whole_lock_or_nothing() {
    loom::model(|| {
        let pairs = both(
            Ranked::new(0),
            |lock| {
                if let Some(mut held) = lock.try_lock() {
                    *held += 0x100;
                }
                if lock.try_lock_and_keep() {
                    // SAFETY: kept by the line above.
                    unsafe { lock.release_kept() };
                }
            },
            |lock| {
                let mut held = lock.lock();
                let before = *held;
                *held += 1;
                assert_eq!(*held, before + 1);
            },
        );
        assert!(pairs == 1 || pairs == 0x101);
    });
}

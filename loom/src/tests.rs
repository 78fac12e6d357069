//! The cases. Threads are numbered from 1, by multiples of 8: the low bits are the state's.

use loom::sync::Arc;
use loom::thread;

use crate::slab::Slab;

const OWNER: usize = 8;
const ONE: usize = 16;
const OTHER: usize = 24;

/// Runs the threads' parts at the same time, the last on this thread; then asks `check`.
fn all(parts: &'static [fn(&Slab) -> bool], check: fn(&Slab, usize)) {
    loom::model(move || {
        let slab = Arc::new(Slab::full(OWNER));
        let (last, first) = parts.split_last().unwrap();
        let threads: Vec<_> = first
            .iter()
            .map(|part| {
                let slab = slab.clone();
                thread::spawn(move || part(&slab))
            })
            .collect();
        let mut refused = usize::from(last(&slab));
        refused += threads.into_iter().map(|t| usize::from(t.join().unwrap())).sum::<usize>();
        check(&slab, refused);
    });
}

fn nothing_twice(slab: &Slab, refused: usize, freed: u64) {
    assert_eq!((slab.check(freed), refused), (0, 0));
}

#[test]
fn two_threads_free_while_the_owner_collects() {
    all(
        &[
            |slab| slab.free(ONE, 1),
            |slab| slab.free(OTHER, 2),
            |slab| {
                slab.collect();
                slab.collect();
                false
            },
        ],
        |slab, refused| nothing_twice(slab, refused, 3),
    );
}

#[test]
fn two_threads_free_while_the_owner_lets_a_full_slab_go() {
    all(
        &[
            |slab| slab.free(ONE, 1),
            |slab| slab.free(OTHER, 2),
            |slab| {
                slab.refill_or_detach(OWNER);
                false
            },
        ],
        |slab, refused| nothing_twice(slab, refused, 3),
    );
}

#[test]
fn a_thread_frees_while_the_owner_ends_and_another_adopts() {
    all(
        &[
            |slab| slab.free(ONE, 1),
            |slab| {
                slab.adopt_listed(OTHER);
                false
            },
            |slab| {
                slab.end_of_owner();
                false
            },
        ],
        |slab, refused| nothing_twice(slab, refused, 1),
    );
}

#[test]
fn two_threads_free_while_the_owner_ends() {
    all(
        &[
            |slab| slab.free(ONE, 1),
            |slab| slab.free(OTHER, 2),
            |slab| {
                slab.end_of_owner();
                false
            },
        ],
        |slab, refused| nothing_twice(slab, refused, 3),
    );
}

/// Refused at once, or found when the block is gathered: one of both, whatever the owner does meanwhile.
#[test]
fn a_block_that_two_threads_free_is_seen() {
    all(
        &[
            |slab| slab.free(ONE, 1),
            |slab| slab.free(OTHER, 1),
            |slab| {
                slab.collect();
                false
            },
        ],
        |slab, refused| assert!(slab.check(1) == 1 || refused == 1),
    );
}

#[test]
fn two_threads_that_have_enough_free_while_the_owner_lets_a_full_slab_go() {
    all(
        &[
            |slab| slab.free_with_enough(ONE, 1),
            |slab| slab.free_with_enough(OTHER, 2),
            |slab| {
                slab.refill_or_detach(OWNER);
                false
            },
        ],
        |slab, refused| nothing_twice(slab, refused, 3),
    );
}

#[test]
fn two_threads_that_have_enough_free_while_the_owner_ends() {
    all(
        &[
            |slab| slab.free_with_enough(ONE, 1),
            |slab| slab.free_with_enough(OTHER, 2),
            |slab| {
                slab.end_of_owner();
                false
            },
        ],
        |slab, refused| nothing_twice(slab, refused, 3),
    );
}

/// Who adopts the slab may have let go of it, full, when a block is left in it.
#[test]
fn a_thread_that_has_enough_frees_while_another_takes_the_slab_from_the_list_and_lets_it_go() {
    all(
        &[
            |slab| slab.free_with_enough(ONE, 1),
            |slab| {
                slab.adopt_listed(OTHER);
                false
            },
            |slab| {
                slab.end_of_owner();
                false
            },
        ],
        |slab, refused| nothing_twice(slab, refused, 1),
    );
}

#[test]
fn two_threads_free_a_slab_on_the_list_and_one_has_enough() {
    all(
        &[
            |slab| slab.free_with_enough(ONE, 1),
            |slab| slab.free(OTHER, 2),
            |slab| {
                slab.end_of_owner();
                false
            },
        ],
        |slab, refused| nothing_twice(slab, refused, 3),
    );
}

//! The cases. Threads are numbered from 1, by multiples of 8: the low bits are the state's.

use loom::sync::Arc;
use loom::thread;

use crate::slab::Slab;

const OWNER: usize = 8;
const ONE: usize = 16;
const OTHER: usize = 24;

/// Runs the threads' parts at the same time, the last on this thread; then asks `check`.
fn all(parts: &'static [fn(&Slab) -> bool], check: impl Fn(&Slab, usize) + Send + Sync + 'static) {
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

/// As [`all`]; then each of the blocks `freed` is free or will be found, and none was freed twice.
fn lose_nothing(parts: &'static [fn(&Slab) -> bool], freed: u64) {
    all(parts, move |slab, refused| assert_eq!((slab.check(freed), refused), (0, 0)));
}

fn owner_ends(slab: &Slab) -> bool {
    slab.end_of_owner();
    false
}

fn owner_lets_go(slab: &Slab) -> bool {
    slab.refill_or_detach(OWNER);
    false
}

fn other_adopts(slab: &Slab) -> bool {
    slab.adopt_listed(OTHER);
    false
}

#[test]
fn two_threads_free_while_the_owner_collects() {
    lose_nothing(
        &[
            |slab| slab.free(ONE, 1),
            |slab| slab.free(OTHER, 2),
            |slab| {
                slab.collect();
                slab.collect();
                false
            },
        ],
        3,
    );
}

#[test]
fn two_threads_free_while_the_owner_lets_a_full_slab_go() {
    lose_nothing(&[|slab| slab.free(ONE, 1), |slab| slab.free(OTHER, 2), owner_lets_go], 3);
}

#[test]
fn a_thread_frees_while_the_owner_ends_and_another_adopts() {
    lose_nothing(&[|slab| slab.free(ONE, 1), other_adopts, owner_ends], 1);
}

#[test]
fn two_threads_free_while_the_owner_ends() {
    lose_nothing(&[|slab| slab.free(ONE, 1), |slab| slab.free(OTHER, 2), owner_ends], 3);
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
    lose_nothing(&[|slab| slab.free_with_enough(ONE, 1), |slab| slab.free_with_enough(OTHER, 2), owner_lets_go], 3);
}

#[test]
fn two_threads_that_have_enough_free_while_the_owner_ends() {
    lose_nothing(&[|slab| slab.free_with_enough(ONE, 1), |slab| slab.free_with_enough(OTHER, 2), owner_ends], 3);
}

/// Who adopts the slab may have let go of it, full, when a block is left in it.
#[test]
fn a_thread_that_has_enough_frees_while_another_takes_the_slab_from_the_list_and_lets_it_go() {
    lose_nothing(&[|slab| slab.free_with_enough(ONE, 1), other_adopts, owner_ends], 1);
}

#[test]
fn two_threads_free_a_slab_on_the_list_and_one_has_enough() {
    lose_nothing(&[|slab| slab.free_with_enough(ONE, 1), |slab| slab.free(OTHER, 2), owner_ends], 3);
}

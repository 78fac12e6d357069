//! The example of `include/gcshim.h`: a Lisp in C without a single `free` (`harness/example/lisp.c`).

#[path = "../support/mod.rs"]
mod support;

use std::io::Write;

use support::compile;
use support::process::Program;

/// What `--stress` makes in all without a collector, in KiB, at least.
const STRESS_KIB: u64 = 1 << 20;

/// Runs it. Returns what it printed, but for the last line, which is the peak of its memory in KiB.
fn run(program: Program) -> (String, u64) {
    let outcome = program.run();
    assert!(outcome.succeeded() && outcome.stderr.is_empty(), "{}", outcome.describe());
    let (text, peak) = outcome.stdout.rsplit_once("peak ").unwrap_or_else(|| panic!("{}", outcome.describe()));
    (text.to_owned(), peak.trim().parse().expect("a number"))
}

fn lisp(argument: &str) -> Program {
    Program::new(compile::example("lisp")).arg(argument)
}

const STRESS_SAYS: &str = "fib 10946\nqueens 40\nchurn 801 500500\nkept 200000 20000100000\nafter 200000 20000100000\n";

/// It does not need the shim: then it is a program that never gives memory back.
#[test]
fn without_the_shim_the_lisp_grows() {
    let (text, peak_kib) = run(lisp("--stress"));
    assert_eq!(text, STRESS_SAYS);
    assert!(peak_kib > STRESS_KIB, "{peak_kib} KiB");
}

#[test]
fn collected_the_lisp_stays_small_and_right() {
    let (text, peak_kib) = run(lisp("--stress").with_shim().env("GCSHIM_MODE", "collect"));
    assert_eq!(text, STRESS_SAYS);
    assert!(peak_kib < STRESS_KIB / 3, "{peak_kib} KiB");
}

/// Three times the work, and not more memory: it does not merely grow more slowly.
#[test]
fn collected_the_lisp_does_not_grow_with_the_work() {
    let peak = |rounds: u32| {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        let program = format!(
            "(define (iota from to) (if (< from to) (cons from (iota (+ from 1) to)) '()))
             (define (sum l total) (if (null? l) total (sum (cdr l) (+ total (car l)))))
             (define (times n f) (if (< 0 n) (begin (f) (times (- n 1) f)) '()))
             (times {rounds} (lambda () (sum (iota 0 400) 0)))
             (print 'sum (sum (iota 0 400) 0))
             (print 'peak (peak))"
        );
        file.write_all(program.as_bytes()).expect("written");
        let (text, kib) = run(lisp(file.path().to_str().expect("text")).with_shim().env("GCSHIM_MODE", "collect"));
        assert_eq!(text, "sum 79800\n");
        kib
    };
    let (short, long) = (peak(1000), peak(3000));
    assert!(long < short * 3 / 2, "{short} KiB, then {long} KiB");
}

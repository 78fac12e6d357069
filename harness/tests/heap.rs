//! The heap from outside: C programs with the shim preloaded.

#[path = "../support/mod.rs"]
mod support;

use std::os::unix::process::ExitStatusExt;

use support::compile;
use support::interpreters;
use support::process::{Outcome, Program};

fn run(program: &str, arguments: &[&str]) -> Outcome {
    let path = compile::program(program, &["-pthread", "-fno-builtin", "-Wno-use-after-free", "-Wno-free-nonheap-object"]);
    arguments.iter().fold(Program::new(path).with_shim(), |p, a| p.arg(a)).run()
}

/// Runs it, and expects status 0 and not a byte on standard error. Returns the numbers it printed.
fn succeeds(program: &str, arguments: &[&str]) -> Vec<u64> {
    let outcome = run(program, arguments);
    assert!(outcome.succeeded() && outcome.stderr.is_empty(), "{}", outcome.describe());
    outcome.stdout.split_whitespace().map(|n| n.parse().expect("a number")).collect()
}

/// Expects the abort and exactly one line, made by `line` from the address that the program printed.
fn dies(misuse: &str, line: impl Fn(usize) -> String) {
    let outcome = run("heap_misuse", &[misuse]);
    let address = usize::from_str_radix(outcome.stdout.trim().trim_start_matches("0x"), 16).expect("an address");
    assert_eq!(outcome.stderr, line(address) + "\n", "{}", outcome.describe());
    assert_eq!(outcome.status.signal(), Some(6), "{}", outcome.describe());
}

#[test]
fn a_double_free_is_named() {
    for misuse in ["double-free", "double-free-later", "double-free-remote", "double-free-by-another"] {
        dies(misuse, |a| format!("gcshim: double free of {a:#x} (48 bytes)"));
    }
}

#[test]
fn a_double_free_of_a_large_block_is_named() {
    dies("double-free-large", |a| format!("gcshim: free of {a:#x}, which is not allocated (its memory was given back already)"));
}

#[test]
fn a_free_of_an_interior_pointer_is_named() {
    let line =
        |at: usize, block: usize, bytes| format!("gcshim: free of an interior pointer {at:#x} (block {block:#x}, {bytes} bytes)");
    dies("interior", |a| line(a + 16, a, 48));
    dies("interior-unaligned", |a| line(a + 1, a, 48));
    dies("interior-remote", |a| line(a + 16, a, 48));
    dies("interior-large", |a| line(a + 4096, a, 200_704));
}

#[test]
fn a_free_of_a_block_never_handed_out_is_named() {
    dies("never-allocated", |a| format!("gcshim: free of {a:#x}, which was never allocated"));
}

#[test]
fn a_realloc_of_a_free_block_is_named() {
    dies("realloc-after-free", |a| format!("gcshim: realloc of the free block {a:#x} (48 bytes)"));
}

#[test]
fn what_is_written_into_free_blocks_steers_nothing() {
    succeeds("heap_scribble", &[]);
}

#[test]
fn the_family_does_what_c_posix_and_glibc_say() {
    succeeds("heap_semantics", &[]);
}

#[test]
fn a_foreign_pointer_is_left_alone() {
    succeeds("heap_foreign", &[]);
}

#[test]
fn memory_does_not_grow_with_the_number_of_threads_that_ever_ran() {
    let few = succeeds("heap_threads", &["1000"]);
    let many = succeeds("heap_threads", &["100000"]);
    assert!(many[0] < few[0] + 8000, "{few:?} KiB after 1,000 threads, {many:?} KiB after 100,000");
}

#[test]
fn what_one_thread_freed_serves_any_other_thread_and_size() {
    let mib = succeeds("heap_others", &[]);
    assert!(mib[0] >= 38 && mib[1] <= mib[0] + 8 && mib[2] <= mib[0] + 8, "{mib:?} MiB");
}

#[test]
fn fork_among_threads_that_allocate_leaves_a_child_that_works() {
    succeeds("heap_fork", &["100"]);
}

#[test]
fn out_of_memory_is_null_and_passes() {
    for size in ["16", "100", "3000", "60000", "100000", "5000000", "30000000"] {
        let most = succeeds("heap_limit", &[size]);
        // Of 200 MiB of address space; what is reserved at one time but not used is the rest.
        assert!(most.iter().all(|&m| m >= 100), "{size} bytes: {most:?} MiB");
        assert!(most[2] * 100 >= most[0] * 95, "{size} bytes: {most:?} MiB");
    }
}

#[test]
fn signals_may_interrupt_the_heap_anywhere() {
    succeeds("heap_signals", &[]);
}

#[test]
fn a_signal_handler_may_allocate_what_it_interrupts_the_allocation_of() {
    succeeds("heap_handlers", &[]);
}

#[test]
fn memory_goes_back_to_the_system_after_a_peak() {
    let mib = succeeds("heap_peak", &[]);
    assert!(mib[0] >= 450 && mib[1] <= 60, "{mib:?} MiB at the peak and after it");
}

/// Huge pages would make the rest of their last granule resident too. (They are asked for in the dense regions alone, with so little in the others.)
#[test]
fn blocks_of_somewhat_more_than_a_granule_take_no_more_memory_than_their_pages() {
    let huge = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").unwrap_or_default();
    if huge.contains("[always]") {
        return eprintln!("not tested: huge pages are everywhere (transparent_hugepage/enabled)");
    }
    let kib = succeeds("heap_tails", &[]);
    assert!(kib[0] <= kib[1] * 5 / 4, "{kib:?} KiB resident and asked for");
}

/// Blocks are wiped when they are handed out, but not what nobody has had: a program may ask for more than it uses. (Less than the heap asks for huge pages at.)
#[test]
fn in_a_python_program_blocks_take_no_memory_before_they_are_written_to() {
    const SCRIPT: &str = "
import ctypes
def resident():
    return int(open('/proc/self/statm').read().split()[1]) * 4
malloc, free = ctypes.pythonapi.PyMem_RawMalloc, ctypes.pythonapi.PyMem_RawFree
malloc.restype, free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
before = resident()
blocks = [malloc(20_000) for _ in range(500)]
fresh = resident() - before
for block in blocks:
    ctypes.memset(block, 1, 20_000)
written = resident() - before
for block in blocks:
    free(block)
blocks = [malloc(20_000) for _ in range(500)]
print(fresh < 4_000, written > 9_000, sum(map(any, (ctypes.string_at(block, 20_000) for block in blocks))))
";
    let mut wrong = Vec::new();
    for interpreter in interpreters::all() {
        let outcome = interpreter.program().arg("-c").arg(SCRIPT).with_shim().run();
        if !outcome.succeeded() || outcome.stdout.trim() != "True True 0" {
            wrong.push(format!("{}\n{}", interpreter.label(), outcome.describe()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

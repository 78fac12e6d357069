//! Finalizers, weak words and added roots (`include/gcshim.h`): `harness/programs/finalizers.c`, `weak_words.c` and `shared_roots.c`, a case a run, in each mode.

#[path = "../support/mod.rs"]
mod support;

use std::path::PathBuf;
use std::process::Command;

use support::process::{Outcome, Program};
use support::{compile, interpreters, report, shim};

fn program(name: &str) -> PathBuf {
    compile::program(name, &["-pthread", "-fno-builtin", "-Wno-use-after-free"])
}

fn run(name: &str, case: &str, mode: &str) -> Outcome {
    let outcome = Program::new(program(name)).arg(case).with_shim().env("GCSHIM_MODE", mode).env("GCSHIM_AUDIT", "never").run();
    assert!(outcome.succeeded(), "{}", outcome.describe());
    outcome
}

fn says(name: &str, case: &str, mode: &str, text: &str) -> Outcome {
    let outcome = run(name, case, mode);
    assert_eq!(outcome.stdout, text, "{mode}: {}", outcome.describe());
    outcome
}

/// A number of the one record of what collections came to.
fn collections(outcome: &Outcome, field: &str) -> u64 {
    let records = report::of_kind(&outcome.records, "collections");
    assert_eq!(records.len(), 1, "{}", outcome.describe());
    records[0][field].as_u64().unwrap_or_else(|| panic!("{field}: {}", outcome.describe()))
}

// ---- finalizers ----

fn finalizers(case: &str, text: &str) -> Outcome {
    says("finalizers", case, "collect", text)
}

#[test]
fn a_block_comes_before_what_it_leads_to() {
    finalizers("order", "missing none wrong 0\n");
}

#[test]
fn those_of_a_cycle_are_called_after_what_leads_there_and_before_what_it_leads_to() {
    finalizers("cycle", "called 5 first 0 last 4\n");
}

#[test]
fn each_is_called_once_and_its_block_reclaimed() {
    let outcome = finalizers("once", "most called twice 0 resurrected none\n");
    assert!(collections(&outcome, "reused_bytes") > 4990 * 32, "{}", outcome.describe());
    assert!(collections(&outcome, "finalizers_run") > 4990, "{}", outcome.describe());
}

#[test]
fn a_block_that_its_finalizer_stores_stays_and_is_counted() {
    let text = "called 2 whole 1 resurrected 2\ncalled 2 whole 1 resurrected 2\nset again 0\ncalled 3 resurrected 2\n";
    let outcome = finalizers("resurrection", text);
    assert_eq!((collections(&outcome, "finalizers_run"), collections(&outcome, "resurrected")), (3, 2));
}

#[test]
fn a_finalizer_may_allocate_free_set_others_and_collect() {
    finalizers("busy", "in a finalizer: run 0\nwhole 1\ncalled 2\ncalled 2 last 100\n");
}

#[test]
fn free_drops_the_finalizer() {
    finalizers("free", "called 0\n");
}

#[test]
fn realloc_moves_the_finalizer() {
    let text = format!("called 3: {} 0\n", 100 + 2 * (40 << 20));
    // In 2 runs of a hundred (80 MiB of 4 GiB) a multiple of 4 GiB lies in the block that grew. Then it is kept by words on the stack that are half a pointer, with an int of 0
    // stored over its lower half. Where the block lies is drawn anew for each run.
    let moved = (0..4).any(|_| run("finalizers", "realloc", "collect").stdout == text);
    assert!(moved, "{}", run("finalizers", "realloc", "collect").describe());
}

#[test]
fn a_finalizer_can_be_replaced_and_removed_and_only_blocks_have_one() {
    finalizers("removal", "0 0 1 1 -2 -2 -2\ncalled 0\n");
}

#[test]
fn threads_set_and_run_them() {
    finalizers("threads", "most called twice 0 at once 0\n");
}

#[test]
fn the_argument_is_kept_as_long_as_the_finalizer() {
    finalizers("argument", "called 0 argument 1 called 1\n");
}

#[test]
fn a_block_that_waits_for_its_finalizer_keeps_what_it_leads_to() {
    finalizers("waiting", "most called broken 0\n");
}

#[test]
fn where_nothing_is_collected_there_are_no_finalizers() {
    for mode in ["audit", "quarantine", "off"] {
        says("finalizers", "elsewhere", mode, "-1 run 0 called 0\n");
    }
    let outcome = Program::new(program("finalizers")).arg("elsewhere").run();
    assert_eq!(outcome.stdout, "-1 run 0 called 0\n", "without the shim: {}", outcome.describe());
}

// ---- weak words ----

/// In the mode that collects, and in one that does not.
fn weak(case: &str, collected: &str, kept: &str) {
    says("weak_words", case, "collect", collected);
    for mode in ["quarantine", "audit"] {
        says("weak_words", case, mode, kept);
    }
}

#[test]
fn weak_words_keep_nothing_and_are_emptied() {
    let kept = "half are held: kept all gone none wrong 0\nnone is held: kept all gone none wrong 0\n";
    weak("lost", "half are held: kept half gone half wrong 0\nnone is held: kept none gone all wrong 0\n", kept);
    let outcome = run("weak_words", "lost", "collect");
    assert!(collections(&outcome, "links_emptied") > 3900, "{}", outcome.describe());
}

#[test]
fn free_empties_weak_words_at_once() {
    let text = "freed: kept none gone all wrong 0\nafter a collection: kept none gone all wrong 0\nleft 0\n";
    weak("free", text, text);
}

#[test]
fn what_was_asked_for_is_kept_while_it_is_held() {
    weak("asked", "0 held 1 let go 1\n", "0 held 1 let go 0\n");
}

#[test]
fn a_word_that_was_changed_or_unregistered_is_weak_no_more() {
    weak("changed", "0 changed 1 0 1 unregistered 1 0 again 1\n", "0 changed 1 0 1 unregistered 1 0 again 0\n");
}

#[test]
fn an_audit_does_not_see_weak_words() {
    weak("audit", "0 weak 1 strong 0\n", "0 weak 1 strong 0\n");
}

#[test]
fn free_unregisters_the_weak_words_of_a_block() {
    weak("inside", "kept 500\n", "kept 500\n");
}

#[test]
fn weak_words_follow_a_block_that_realloc_moves() {
    weak("realloc", "0 moved 1 follows 1 gone 1\n", "0 moved 1 follows 1 gone 1\n");
}

#[test]
fn words_in_shared_memory_and_words_that_lead_nowhere_are_refused() {
    weak("refused", "-2 0 0 -2 -2\n0 1 1\n", "-2 0 0 -2 -2\n0 1 1\n");
}

#[test]
fn weak_words_are_emptied_before_finalizers_are_called() {
    weak("finalizer", "0 0 0 empty 1\n", "0 0 -1 empty -1\n");
}

#[test]
fn threads_that_ask_all_the_time_get_whole_blocks_or_nothing() {
    weak("threads", "found 1 emptied 1 broken 0\n", "found 1 emptied 0 broken 0\n");
}

/// A collection that began when nobody held the block ends when somebody does.
#[test]
fn what_is_asked_for_while_a_collection_is_under_way_is_not_taken() {
    says("weak_words", "overtaken", "collect", "emptied 1 taken 0\n");
}

#[test]
fn without_the_shim_a_weak_word_is_a_pointer() {
    let outcome = Program::new(program("weak_words")).arg("asked").run();
    assert_eq!(outcome.stdout, "-1 held 1 let go 0\n", "{}", outcome.describe());
}

// ---- pointers in shared memory ----

#[test]
fn what_shared_memory_holds_is_kept_while_it_is_named() {
    says("shared_roots", "kept", "collect", "0 named all 1 0 not named none \n");
    for mode in ["collect", "quarantine"] {
        says("shared_roots", "freed", mode, "0 named all 1 0 not named none \n");
    }
}

#[test]
fn pointers_that_move_between_shared_and_private_memory_keep_what_they_point_to() {
    says("shared_roots", "moving", "collect", "0 broken 0 left 1\n");
}

// ---- the header, ctypes ----

#[test]
fn the_header_is_c_and_cpp() {
    let folder = tempfile::tempdir().expect("a folder");
    let uses = "#include \"gcshim.h\"\n\
        static void f(void *b, void *a) { (void)b; (void)a; }\n\
        int main(void) { void *w = 0; GCSHIM_FINALIZER_SET(w, f, &w); GCSHIM_WEAK_REGISTER(&w); GCSHIM_WEAK_UNREGISTER(&w);\n\
        return GCSHIM_WEAK_GET(&w) != 0 || GCSHIM_AUDIT() > 0 || GCSHIM_COLLECT() > 0 || GCSHIM_ROOTS_ADD(&w, 8) > 0 || GCSHIM_ROOTS_REMOVE(&w, 8) > 1 || GCSHIM_FINALIZERS_RUN() || GCSHIM_RESURRECTED(); }\n";
    for (compiler, name, standard) in [
        ("cc", "uses.c", "-std=c99"),
        ("cc", "uses.c", "-std=c17"),
        ("c++", "uses.cc", "-std=c++11"),
        ("c++", "uses.cc", "-std=c++20"),
    ] {
        let source = folder.path().join(name);
        std::fs::write(&source, uses).expect("written");
        let result = folder.path().join("uses");
        let output = Command::new(compiler)
            .args([standard, "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I"])
            .arg(shim::package().join("include"))
            .arg(&source)
            .arg("-o")
            .arg(&result)
            .output()
            .expect("a compiler");
        assert!(output.status.success(), "{compiler} {standard}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(Program::new(&result).run().succeeded() && Program::new(&result).with_shim().run().succeeded());
    }
}

/// `harness/example/names.c`, with fewer descriptors than it opens: a table of weak words that does not keep what nobody uses, and finalizers that close.
#[test]
fn the_example_closes_and_forgets_what_nobody_has() {
    let names = compile::example("names");
    let limited = || Program::new("/bin/sh").arg("-c").arg("ulimit -n 120 && exec \"$0\" 200000").arg(&names);
    let numbers = |outcome: &Outcome| -> Vec<u64> {
        assert!(outcome.succeeded(), "{}", outcome.describe());
        outcome.stdout.split_whitespace().filter_map(|w| w.parse().ok()).collect()
    };
    let outcome = limited().run();
    let [made, places, wrong, open, closed, refused] = numbers(&outcome)[..] else { panic!("{}", outcome.describe()) };
    assert_eq!((made, places, wrong, closed, open + refused), (200_000, 200_000, 0, 0, 200), "{}", outcome.describe());
    assert!(refused > 0, "{}", outcome.describe());
    let outcome = limited().with_shim().env("GCSHIM_MODE", "collect").run();
    let [made, places, wrong, open, closed, refused] = numbers(&outcome)[..] else { panic!("{}", outcome.describe()) };
    assert_eq!((made, wrong, open, refused), (200_000, 0, 200, 0), "{}", outcome.describe());
    // A stale word keeps one or the other.
    assert!(closed > 190 && places < 150_000, "{}", outcome.describe());
}

const CTYPES: &str = r#"
import ctypes, gc
c = ctypes.CDLL(None)
c.malloc.restype = ctypes.c_void_p
c.malloc.argtypes = [ctypes.c_size_t]
FINALIZER = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)
c.gcshim_finalizer_set.argtypes = [ctypes.c_void_p, FINALIZER, ctypes.c_void_p]
c.gcshim_weak_register.argtypes = [ctypes.c_void_p]
c.gcshim_collect.restype = ctypes.c_long
called = []
@FINALIZER
def finalize(block, argument):
    called.append((links[argument or 0], argument or 0))
# A number keeps its digits apart: it is no word that points.
links = (ctypes.c_void_p * 100)()
def fill():
    for i in range(100):
        block = c.malloc(1000)
        links[i] = block
        assert c.gcshim_weak_register(ctypes.addressof(links) + 8 * i) == 0
        assert c.gcshim_finalizer_set(block, finalize, i) == 0
fill()
c.gcshim_collect()
print(len(called) > 90, all(link is None for link, _ in called), len(set(called)) == len(called))
"#;

#[test]
fn python_uses_them_through_ctypes() {
    for python in interpreters::all() {
        let run = python.program().arg("-c").arg(CTYPES).with_shim().env("GCSHIM_MODE", "collect").env("GCSHIM_AUDIT", "never");
        let outcome = run.run();
        assert_eq!(outcome.stdout, "True True True\n", "{}: {}", python.label(), outcome.describe());
    }
}

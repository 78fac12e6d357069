//! Use after free. Eighteen ways in which real programs were broken (`harness/programs/uaf_*`) go wrong with a heap that reuses memory at once, the C library's
//! or the shim's own, and do not with `GCSHIM_MODE=quarantine`, nor with `collect`, which looks at what is freed in the same way.
//!
//! Each program frees 320 MiB between its mistake and the consequence. That a program stays whole would be no merit of a heap that never reuses anything, so the
//! peak of its memory is bounded, and a heap that never does is tried as well: it breaks the bound.

#[path = "../support/mod.rs"]
mod support;

use std::path::Path;

use serde_json::json;
use support::compile;
use support::interpreters::{self, Interpreter};
use support::process::{Outcome, Program};
use support::report;

/// What these modes may take beyond what audit mode takes, in KiB: they look when at most 16 MiB are retained, or half of what lives, and a thread that frees
/// faster than its blocks are looked at waits when it is as much again (`collect::pace`).
fn retained_kib_max(live_mib: u64) -> u64 {
    2 * (live_mib / 2).max(16) << 10
}

/// What the heap takes beside the blocks, those that are retained among them: spans that are begun and not full, records. A part of all, as
/// `1 / PART_BESIDE`.
const PART_BESIDE: u64 = 4;

/// Live data in MiB. With little of it a heap is looked at while the program stands still, with this much in a copy of the process.
const LIVE_MIB: [u64; 2] = [0, 160];

fn program(name: &str) -> Program {
    Program::new(compile::program(name, &["-pthread", "-fno-builtin", "-Wno-use-after-free"]))
}

/// The word a program printed, and the peak of its memory in KiB. What crashed printed nothing, and nothing else may end like that.
fn said(outcome: &Outcome) -> (&str, u64) {
    let mut words = outcome.stdout.split_whitespace();
    let (word, kib) = (words.next(), words.next().and_then(|n| n.parse().ok()));
    let (Some(word), Some(kib)) = (word, kib) else { panic!("said nothing: {}", outcome.describe()) };
    let status = if word == "intact" { 0 } else { 1 };
    assert_eq!(outcome.status.code(), Some(status), "{}", outcome.describe());
    (word, kib)
}

fn goes_wrong(program: Program) -> u64 {
    let outcome = program.run();
    let (word, kib) = said(&outcome);
    assert_eq!(word, "reused", "{}", outcome.describe());
    kib
}

fn stays_whole(program: Program) -> u64 {
    let outcome = program.run();
    let (word, kib) = said(&outcome);
    assert_eq!(word, "intact", "{}", outcome.describe());
    assert_eq!(outcome.stderr, "", "{}", outcome.describe());
    kib
}

fn bound(audit_kib: u64, live_mib: u64) -> u64 {
    let blocks_kib = audit_kib + retained_kib_max(live_mib);
    blocks_kib + blocks_kib / PART_BESIDE
}

/// Whether a mistake is made harmless, and by a decision about the block.
fn is_neutralised(make: &dyn Fn() -> Program) {
    goes_wrong(make());
    for live in LIVE_MIB {
        let living = || make().env("UAF_LIVE_MIB", live.to_string());
        let with_shim = |mode| living().with_shim().env("GCSHIM_MODE", mode);
        let most = bound(goes_wrong(with_shim("audit")), live);
        for mode in ["quarantine", "collect"] {
            let kib = stays_whole(with_shim(mode));
            assert!(kib <= most, "{mode}: {kib} KiB with {live} MiB alive, at most {most}");
        }
        let keeps_all = compile::library("uaf_keeps_all", &[]);
        let kib = stays_whole(living().env("PYTHONMALLOC", "malloc").env("LD_PRELOAD", &keeps_all));
        assert!(kib > most, "{kib} KiB by a heap that never reuses anything: the bound of {most} says nothing");
    }
}

macro_rules! neutralised {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[test]
        fn $name() {
            is_neutralised(&|| program(stringify!($name)));
        }
    )*};
}

neutralised! {
    uaf_cache
    uaf_callback
    uaf_chain
    uaf_filled
    uaf_function
    uaf_handler
    uaf_hash_map
    uaf_interior
    uaf_iterator
    uaf_list_node
    uaf_observer
    uaf_returned
    uaf_rotation
    uaf_string_view
    uaf_thread_cache
    uaf_vector
}

fn python(interpreter: &Interpreter, mistake: &str) -> Program {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("harness/programs/uaf_python.py");
    let modules = compile::extension(interpreter, "uaf_borrowed");
    Program::new(&interpreter.path).arg(script).arg(mistake).env("PYTHONPATH", modules)
}

/// The oldest and the newest: the mistakes are the extension's, not the version's.
fn two_interpreters() -> Vec<&'static Interpreter> {
    let mut all = interpreters::with_headers();
    all.drain(1..all.len().saturating_sub(1).max(1));
    all
}

#[test]
fn uaf_python_releases_what_it_borrowed() {
    for interpreter in two_interpreters() {
        is_neutralised(&|| python(interpreter, "dict"));
    }
}

#[test]
fn uaf_python_keeps_a_borrowed_item_while_the_list_changes() {
    for interpreter in two_interpreters() {
        is_neutralised(&|| python(interpreter, "list"));
    }
}

/// Every pattern has its test.
#[test]
fn no_pattern_is_left_out() {
    let tests = include_str!("quarantine.rs");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("harness/programs");
    let mut patterns = 0;
    for entry in std::fs::read_dir(folder).expect("the programs").flatten() {
        let path = entry.path();
        let stem = path.file_stem().and_then(|s| s.to_str()).expect("a name").to_owned();
        if stem.starts_with("uaf_") {
            patterns += 1;
            assert!(tests.contains(&stem), "{stem} is not tested");
        }
    }
    assert!(patterns >= 19, "{patterns}");
}

/// On request: what was freed, and where the pointers stand.
#[test]
fn an_audit_lists_what_is_freed_and_pointed_to() {
    let held = || Program::new(compile::program("freed_held", &["-fno-builtin", "-Wno-use-after-free"])).with_shim();
    for mode in ["quarantine", "collect"] {
        let outcome = held().env("GCSHIM_MODE", mode).env("GCSHIM_FAIL_ON", "freed-while-referenced").run();
        let found = report::of_kind(&outcome.records, "finding");
        let [one] = &found[..] else { panic!("{}", outcome.describe()) };
        assert_eq!(one["verdict"], "freed-while-referenced", "{}", outcome.describe());
        // Four blocks by five words.
        assert_eq!((&one["objects"], &one["references"]), (&json!(4), &json!(5)), "{}", outcome.describe());
        let holders = json!([{"type": "globals", "words": 3}, {"type": "native block of 48 bytes", "words": 2}]);
        assert_eq!(one["holders"], holders, "{}", outcome.describe());
        assert_eq!(outcome.stdout, "failing 1\n");
        assert!(outcome.stderr.contains("4 blocks of 1280 bytes freed, and 5 pointers into them\n"), "{}", outcome.describe());
        let unasked = held().env("GCSHIM_MODE", mode).run();
        assert_eq!((&*unasked.stdout, &*unasked.stderr), ("failing 0\n", ""), "{}", unasked.describe());
    }
    let outcome = held().run();
    assert!(report::findings(&outcome.records).is_empty(), "{}", outcome.describe());
}

/// What cannot be seen cannot be kept: the blocks are looked at, and given away when nothing leads to them.
#[test]
fn a_block_that_no_word_shows_is_reused() {
    for live in LIVE_MIB {
        goes_wrong(program("uaf_hidden").env("UAF_LIVE_MIB", live.to_string()).with_shim().env("GCSHIM_MODE", "quarantine"));
    }
}

/// The word that keeps a block is the stale pointer itself: without the place where it stands, the same programs go wrong.
#[test]
fn what_keeps_a_block_is_the_stale_pointer() {
    let places = [("uaf_iterator", "-stacks"), ("uaf_filled", "-stacks,-registers"), ("uaf_handler", "-globals")];
    for (name, without) in places {
        for live in LIVE_MIB {
            let with_shim = program(name).env("UAF_LIVE_MIB", live.to_string()).with_shim();
            goes_wrong(with_shim.env("GCSHIM_MODE", "quarantine").env("GCSHIM_ROOTS", without));
        }
    }
}

/// What has a mapping of its own gives its memory back when it is freed, and nobody has to look for words that lead there before the next; the place stays empty while one does.
#[test]
fn a_freed_block_with_a_mapping_of_its_own_keeps_its_place_and_not_its_memory() {
    for mode in ["quarantine", "collect"] {
        let mapped = Program::new(compile::program("quarantine_mapped", &["-fno-builtin", "-Wno-use-after-free"]));
        let outcome = mapped.with_shim().env("GCSHIM_MODE", mode).run();
        let words: Vec<_> = outcome.stdout.split_whitespace().collect();
        assert_eq!(words[..2], ["intact", "0"], "{}", outcome.describe());
        // One of 40 blocks of 64 MiB, and less than the next.
        let kib: u64 = words[2].parse().unwrap();
        assert!((64 << 10..128 << 10).contains(&kib), "{}", outcome.describe());
        // 2.5 GiB that count for a 64th of it, and 2 MiB at least between two sweeps.
        let records = report::of_kind(&outcome.records, "collections");
        let sweeps: u64 = records.iter().map(|r| r["sweeps"].as_u64().unwrap()).sum();
        assert!(sweeps <= 20, "{}", outcome.describe());
        for record in records {
            let [median, longest, all] =
                ["pause_us_median", "pause_us_max", "pause_us"].map(|field| record[field].as_u64().unwrap());
            assert!(0 < median && median <= longest && longest <= all, "{}", outcome.describe());
        }
    }
}

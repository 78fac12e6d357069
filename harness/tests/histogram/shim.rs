//! What the shim counts, exactly, where it can be known exactly.

use crate::file::{Dump, of, run, total};
use crate::support::process::Program;
use crate::support::{compile, interpreters};

fn known(argument: &str) -> Program {
    let program = Program::new(compile::program("histogram_known", &["-fno-builtin", "-Wno-deprecated-declarations"]));
    if argument.is_empty() { program } else { program.arg(argument) }
}

/// What `known_lifetimes` in `histogram_known.c` does.
fn assert_known(dump: &Dump, moment: &str) {
    assert_eq!((&dump.head["moment"], &dump.head["lost"]), (&moment.into(), &0.into()));
    let lived = |size| dump.get("lifetime", "bytes", "raw", size);
    assert_eq!(lived(48), of([80; 1000]));
    assert_eq!(lived(80), of([0; 1000]));
    assert_eq!(lived(112), of((0..1000).map(|i| (999 - i) * 112 + i * 1024)));
    assert_eq!(lived(640), of([1280]));
    assert_eq!(lived(1280), of([0]));
    assert_eq!(lived(4096), of([0]));
    // The size class of 200 KiB reaches to 208.
    assert_eq!(lived(208 << 10), of([4096]));
    assert_eq!(dump.get("age", "bytes", "raw", 1024), of((0..1000).map(|i| (999 - i) * 1024 + (200 << 10) + 4096 + 640 + 1280)));
    assert_eq!(dump.get("lifetime", "bytes", "raw", 1024), of([]));
    for size in [48, 80, 112, 1024] {
        let what = if size == 1024 { "age" } else { "lifetime" };
        let times = dump.get(what, "ns", "raw", size);
        let span = dump.head["to_ns"].as_u64().unwrap() - dump.head["start_ns"].as_u64().unwrap();
        assert!(total(&times) == 1000 && times.iter().all(|t| t.0 <= span), "{times:?} of {span}");
    }
}

#[test]
fn known_lifetimes_in_bytes_are_exact() {
    let (outcome, files) = run(known(""), 0);
    let [dump] = &files.values().next().expect("a file")[..] else { panic!("{}", outcome.describe()) };
    assert_known(dump, "exit");
}

#[test]
fn an_end_without_exit_handlers_loses_nothing() {
    let (_, files) = run(known("_exit"), 1);
    assert_known(&files.values().next().expect("a file")[0], "exit");
    let (_, files) = run(known("exec"), 1);
    let dumps = files.values().next().expect("a file");
    assert_known(&dumps[0], "exec");
    assert_eq!((dumps.len(), &dumps[1].head["argv"][0]), (2, &"true".into()));
}

#[test]
fn a_forked_child_counts_its_own_and_one_by_vfork_nothing() {
    let (_, files) = run(known("fork"), 0);
    assert_eq!(files.len(), 2);
    files.values().for_each(|dumps| assert_known(&dumps[0], "exit"));
    let (_, files) = run(known("vfork"), 0);
    assert_eq!(files.len(), 1);
    files.values().for_each(|dumps| assert_known(&dumps[0], "exit"));
}

#[test]
fn threads_and_their_ends_lose_nothing() {
    let program = || Program::new(compile::program("histogram_threads", &["-pthread", "-fno-builtin"]));
    let (outcome, files) = run(program(), 0);
    let all: u64 = outcome.stdout.trim().parse().expect("a number");
    let dump = &files.values().next().expect("a file")[0];
    let counted = |what, size| total(&dump.get(what, "ns", "raw", size));
    assert_eq!((counted("lifetime", 160), counted("age", 160)), (all, 0));
    assert_eq!((counted("lifetime", 96), counted("age", 96)), (all - all / 50, all / 50));
    assert_eq!(dump.head["lost"], 0);

    // Of one byte in a thousand: what is counted, divided by how likely it was, is what there was. The bound is ten standard deviations.
    let (_, files) = run(program(), 1000);
    let dump = &files.values().next().expect("a file")[0];
    for (size, whole) in [(160, all), (96, all - all / 50)] {
        let likely = 1.0 - (-(size as f64) / 1000.0).exp();
        let counted = total(&dump.get("lifetime", "ns", "raw", size)) as f64;
        let deviation = (whole as f64 * likely * (1.0 - likely)).sqrt();
        assert!((counted - whole as f64 * likely).abs() < 10.0 * deviation, "{size}: {counted} of {whole} at {likely}");
    }
}

#[test]
fn a_thread_that_stands_still_is_in_nobodys_way() {
    let program = Program::new(compile::program("histogram_stopped", &["-pthread", "-fno-builtin"]));
    let (outcome, files) = run(program, 0);
    assert!(outcome.stdout.trim().parse::<u64>().expect("a number") >= 300, "{}", outcome.describe());
    // Written although a thread stands still, perhaps amid a free.
    let dump = &files.values().next().expect("a file")[0];
    assert!(total(&dump.get("lifetime", "bytes", "raw", 48)) >= 300);
}

#[test]
fn what_is_set_aside_floats_until_it_can_be_reused() {
    let program = Program::new(compile::program("histogram_float", &["-fno-builtin"])).env("GCSHIM_MODE", "quarantine");
    let (outcome, files) = run(program, 0);
    let all: u64 = outcome.stdout.trim().parse().expect("a number");
    let dump = &files.values().next().expect("a file")[0];
    assert_eq!(dump.get("lifetime", "bytes", "raw", 16384), of(vec![0; all as usize]));
    let floated = dump.get("float", "bytes", "raw", 16384);
    // Most were reused: they cannot all have been kept at one time. None floated for less than what was set aside until somebody looked.
    assert!((all / 2..=all).contains(&total(&floated)), "{} of {all}", total(&floated));
    assert_eq!(total(&floated), total(&dump.get("float", "ns", "raw", 16384)));
    assert_eq!(total(&dump.get("age", "ns", "raw", 16384)), 0);
}

const TYPES: &str = "
import gc
gc.disable()
class Plain:
    pass
class Slotted:
    __slots__ = ('a', 'b')
class Words(list):
    pass
class Late(Exception):
    pass
kept = [Plain() for _ in range(100)], [Slotted() for _ in range(70)], [bytes(200_000 + i % 3) for i in range(40)]
for _ in range(1000):
    Plain()
for _ in range(500):
    Slotted()
for _ in range(300):
    Words()
for i in range(200):
    bytes(200_000 + i % 3)
def gone():
    return type('Gone', (), {})
for _ in range(5):
    kind = gone()
    for _ in range(20):
        kind()
    del kind
    gc.collect()
";

#[test]
fn python_types_are_told_apart_when_they_die_and_while_they_live() {
    for interpreter in interpreters::all() {
        let (outcome, files) = run(interpreter.program().arg("-I").arg("-c").arg(TYPES), 0);
        let dumps = files.values().next().expect("a file");
        let before = &dumps[0];
        assert_eq!(before.head["moment"], "interpreter-exit", "{}", outcome.describe());
        assert_eq!(before.head["python"], interpreter.version_text());
        let label = interpreter.label();
        let counted = |what, holds| before.count(what, holds);
        assert_eq!((counted("lifetime", "Plain"), counted("age", "Plain")), (1000, 100), "{label}");
        assert_eq!((counted("lifetime", "Slotted"), counted("age", "Slotted")), (500, 70), "{label}");
        assert_eq!((counted("lifetime", "Words"), counted("age", "Words")), (300, 0), "{label}");
        assert_eq!((counted("lifetime", "Gone"), counted("age", "Gone")), (100, 0), "{label}");
        // A bytes object has 33 bytes more than what it holds: 212,992 is the class.
        let bytes = |what| total(&before.get(what, "ns", "bytes", 212_992));
        assert_eq!((bytes("lifetime"), bytes("age")), (200, 40), "{label}");
        // The rest of the interpreter's blocks: nearly all objects, and the tables of dicts.
        for holds in ["str", "dict", "tuple", "function", "type"] {
            assert!(counted("age", holds) > 30, "{label}: {holds}");
        }
        assert_eq!(counted("age", "unknown") + counted("lifetime", "unknown"), 0, "{label}");
        // What the end of the interpreter frees comes after.
        let after = &dumps[1];
        assert_eq!((after.head["moment"].as_str(), after.head["ages"].as_bool()), (Some("exit"), Some(false)), "{label}");
        assert!(after.count("lifetime", "Plain") <= 100 && after.histograms.keys().all(|k| k.0 != "age"), "{label}");
    }
}

#[test]
fn debug_hooks_hide_no_type_of_what_lives() {
    let interpreter = interpreters::all().last().expect("one");
    let (_, files) = run(interpreter.program().arg("-X").arg("dev").arg("-c").arg(TYPES), 0);
    let dump = &files.values().next().expect("a file")[0];
    assert_eq!((dump.count("age", "Plain"), dump.count("age", "Slotted")), (100, 70));
}

#[test]
fn an_audit_in_between_writes_what_there_is_and_nothing_twice() {
    const TWICE: &str = "
import ctypes
audit = ctypes.CDLL(None).gcshim_audit
class Plain:
    pass
for _ in range(100):
    Plain()
audit()
kept = [Plain() for _ in range(10)]
for _ in range(50):
    Plain()
";
    let interpreter = interpreters::all().last().expect("one");
    let (_, files) = run(interpreter.program().arg("-I").arg("-c").arg(TWICE).env("GCSHIM_PLAIN", "0"), 0);
    let dumps = files.values().next().expect("a file");
    let moments: Vec<&str> = dumps.iter().filter_map(|d| d.head["moment"].as_str()).collect();
    assert_eq!(moments, ["audit", "interpreter-exit", "exit"]);
    assert_eq!((dumps[0].count("lifetime", "Plain"), dumps[1].count("lifetime", "Plain")), (100, 50));
    assert_eq!((dumps[0].count("age", "Plain"), dumps[1].count("age", "Plain")), (0, 10));
}

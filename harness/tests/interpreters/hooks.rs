//! Hooks on the interpreter's allocators: tracemalloc's, an extension's, and those of one that refuses memory.

use crate::support::{interpreters, report};
use crate::{CLEAN, LEAK, NO_LEAK, on_all};

#[test]
fn tracemalloc_keeps_its_hooks() {
    let script =
        "import tracemalloc; made = [bytes(100) for _ in range(1000)]; print(tracemalloc.get_traced_memory()[0] > 100000)";
    for interpreter in interpreters::all() {
        let outcome = interpreter.program().arg("-X").arg("tracemalloc").arg("-c").arg([LEAK, script].concat()).with_shim().run();
        assert!(outcome.succeeded() && outcome.stdout == "True\n", "{}: {}", interpreter.label(), outcome.describe());
        // Its tables name each block it traces, so that some of what is lost is taken to be held. Never more than is lost.
        let failing = report::failing(&outcome.records);
        let lists = |f: &report::Finding| f.verdict == "leaked-object" && f.type_name == "list" && (1..=10).contains(&f.objects);
        assert!(failing.len() == 1 && lists(&failing[0]), "{}: {}", interpreter.label(), outcome.describe());
    }
}

#[test]
fn allocators_hooked_by_an_extension_are_not_taken_for_a_second_interpreter() {
    let hooked = "
try:
    import _testcapi
    _testcapi.set_nomemory(1 << 30, 0)  # hooks all three domains, and refuses nothing
except ImportError:
    pass
";
    on_all(&NO_LEAK, |i| i.program().arg("-c").arg([CLEAN, hooked].concat()));
}

/// The copy raises and fails in what it makes to fill the free lists, as the program did: its own exception is not left over.
#[test]
fn an_audit_where_the_interpreter_gets_no_memory_finds_nothing() {
    let script = "
try:
    import _testcapi
except ImportError:
    raise SystemExit
class C: pass
_testcapi.set_nomemory(0, 1 << 30)
C()
";
    for interpreter in interpreters::all() {
        let outcome = interpreter.program().arg("-I").arg("-S").arg("-c").arg(script).with_shim().run();
        assert!(!outcome.timed_out && report::failing(&outcome.records).is_empty(), "{}", outcome.describe());
    }
}

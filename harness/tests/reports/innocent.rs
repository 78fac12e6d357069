//! What looks wrong in memory and is not: CPython's own structures that the object model has to know. No interpreter may be accused.

use crate::support::{interpreters, report};

/// Runs a script on every interpreter; none may have a finding that fails.
fn nobody_is_accused(text: &str) {
    let mut problems = Vec::new();
    for interpreter in interpreters::all() {
        let outcome = interpreter.program().with_shim().arg("-c").arg(text).run();
        if !outcome.succeeded() || report::of_kind(&outcome.records, "audit").len() != 1 {
            problems.push(format!("{}: {}", interpreter.version_text(), outcome.describe()));
        }
        let found = report::failing(&outcome.records);
        problems.extend(found.iter().map(|f| format!("{}: {} of {}", interpreter.version_text(), f.verdict, f.type_name)));
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn the_links_of_a_cache_in_garbage_go_with_the_cache() {
    // Links name each other, and are not of the collector; until 3.9 their type is never made ready.
    nobody_is_accused(
        "
import functools, gc
gc.disable()
class Thing:
    def method(self, x): return [x]
thing = Thing()
thing.cached = functools.lru_cache(8)(thing.method)
for i in range(5): thing.cached(i)
del thing
",
    );
}

#[test]
fn a_word_into_an_objects_middle_does_not_keep_it() {
    // A context's two dicts of signals point at the flags inside it.
    nobody_is_accused(
        "
import decimal, gc
gc.disable()
class Thing: pass
thing = Thing()
thing.itself, thing.context = thing, decimal.Context()
del thing
",
    );
}

#[test]
fn native_memory_goes_with_the_garbage_that_keeps_it() {
    // The classes are held by the database alone, whose structures name each other; it is the connection's, which is garbage.
    nobody_is_accused(
        "
import gc, sqlite3
gc.disable()
def lose():
    connection = sqlite3.connect(':memory:')
    for i in range(4):
        class Sum:
            def __init__(self): self.total = 0
            def step(self, x): self.total += x
            def finalize(self): return self.total
        connection.create_aggregate('sum%d' % i, 1, Sum)
        connection.execute('select sum%d(1)' % i).fetchall()
    class Keeper: pass
    keeper = Keeper()
    keeper.itself, keeper.connection = keeper, connection
lose()
",
    );
}

#[test]
fn a_coroutine_need_not_visit_where_it_was_made() {
    // A tuple of tuples of strings and numbers.
    nobody_is_accused(
        "
import sys, warnings
warnings.simplefilter('ignore')
sys.set_coroutine_origin_tracking_depth(3)
async def function(): pass
def make(): return function()
made = [make() for i in range(3)]
",
    );
}

#[test]
fn raw_memory_from_the_object_allocator_is_no_dead_object() {
    // expat's memory comes from there, and its structures are not wholly written to: words of what lived there before stay.
    nobody_is_accused(
        "
import plistlib
document = '''<?xml version=\"1.0\" encoding=\"utf-16\"?>
<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">
<plist version=\"1.0\"><dict><key>a</key><string>b</string></dict></plist>'''.encode('utf-16')
import unittest, ssl, asyncio, json
for i in range(3): plistlib.loads(document)
",
    );
}

#[test]
fn an_interpreter_that_ended_leaves_what_cpython_lets_it_leave() {
    // From 3.12 on the module is another, and so is what is left.
    let text = "
import sys
if sys.version_info < (3, 12):
    import _xxsubinterpreters as interpreters
    for i in range(3):
        one = interpreters.create()
        interpreters.run_string(one, 'import json, collections, itertools')
        interpreters.destroy(one)
";
    for interpreter in interpreters::all() {
        let outcome = interpreter.program().with_shim().arg("-c").arg(text).run();
        let found = report::failing(&outcome.records);
        // 3.8 loses the names of the file system's encoding and of its error handler.
        let (lost, others): (Vec<_>, Vec<_>) = found.iter().partition(|f| f.verdict == "leaked-block" && f.objects == 3);
        let expected = if interpreter.version.1 == 8 { 2 } else { 0 };
        assert!(outcome.succeeded() && others.is_empty() && lost.len() == expected, "{}", outcome.describe());
    }
}

#[test]
fn raw_memory_with_a_class_at_its_end_is_no_dead_instance() {
    // What an instance of a class has before it is as long as this block; a pointer stands where its count would, and a stale word where its type would.
    nobody_is_accused(
        "
import ctypes
api = ctypes.pythonapi
for function in api.PyObject_Malloc, api.PyMem_RawMalloc:
    function.restype, function.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
class Thing: pass
kept = (ctypes.c_void_p * 20)()
for i in range(20):
    kept[i] = api.PyObject_Malloc(48)
    words = (ctypes.c_void_p * 6).from_address(kept[i])
    words[0:6] = [None, None, None, None, api.PyMem_RawMalloc(100), id(Thing)]
",
    );
}

#[test]
fn a_statement_cache_names_its_connection_and_does_not_own_it() {
    // Until 3.9. A cursor in garbage owns the connection alone; the statement cache, which is the connection's, names it too.
    nobody_is_accused(
        "
import gc, sqlite3
gc.disable()
def lose():
    connection = sqlite3.connect(':memory:')
    cursor = connection.cursor()
    cursor.execute('select 1')
    connection.close()
    garbage = [cursor]
    garbage.append(garbage)
for i in range(5): lose()
",
    );
}

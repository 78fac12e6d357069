//! What the shim knows of CPython's structures, compared with the headers of every installed CPython.
//!
//! `harness/extensions/layouts.c` has the numbers from the headers. The shim's come from its own source: modules without dependencies are
//! compiled in, constants of others are read from the text, every one of them, so that none is added without a check.

#[path = "../../src/python/count.rs"]
#[allow(dead_code)]
mod count;
#[path = "../../src/python/layout.rs"]
#[allow(dead_code)]
mod layout;
#[path = "../support/mod.rs"]
mod support;
#[path = "../../src/weakref_hooks/interpreter.rs"]
#[allow(dead_code)]
mod weakref_hooks;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::ops::RangeInclusive;

use support::interpreters::{self, Interpreter};
use support::{compile, shim};

/// Sources whose numeric constants are all CPython's, but for those named.
const SOURCES: [(&str, &[&str]); 6] = [
    ("src/python/types.rs", &["TYPES_MAX", "SLOTS_MIN"]),
    // A structure of a module, which no header shows.
    ("src/python/layout.rs", &["SQLITE_CACHE_FACTORY", "SQLITE_CACHE_OWNS_FACTORY"]),
    ("src/python/naming.rs", &["PREVIEW_CHARACTERS", "ITEMS_SHOWN"]),
    ("src/python/count.rs", &["REFERENCES_MAX"]),
    ("src/weakref_hooks/interpreter.rs", &[]),
    ("src/interpose/exit.rs", &[]),
];

/// The smallest of all versions, not one version's.
const LEAST: [&str; 1] = ["TYPE_BYTES_MIN"];

/// Constants that not every supported version has, and the first and last minor version that does.
const OF_SOME: [(&str, u8, u8); 7] = [
    ("FRAME_OWNED_BY_CSTACK", 12, 13),
    ("MANAGED_DICT", 11, 13),
    ("STATIC_3_11", 11, 11),
    ("MANAGED_WEAKREF", 12, 13),
    ("INLINE_VALUES", 13, 13),
    ("GIL_LOCKED", 12, 13),
    ("VALUES_HEADER_BYTES", 13, 13),
];

/// The minor versions that have a constant.
fn versions_with(name: &str) -> RangeInclusive<u8> {
    OF_SOME
        .iter()
        .find(|(some, ..)| *some == name)
        .map_or(*interpreters::SUPPORTED.start() as u8..=*interpreters::SUPPORTED.end() as u8, |&(_, first, last)| first..=last)
}

/// The numbers of an interpreter's headers.
struct Headers {
    interpreter: &'static Interpreter,
    numbers: BTreeMap<String, u64>,
    immortal: BTreeMap<String, Option<bool>>,
}

/// Words that a count may be: small, on either side of the bounds, and what debuggers and free lists write.
const COUNTS: [u64; 10] = [1, 2, 1 << 16, (1 << 30) - 1, 1 << 30, (1 << 31) - 1, 1 << 31, (1 << 31) + 1, 3 << 30, (1 << 32) - 1];

impl Headers {
    fn of(interpreter: &'static Interpreter) -> Headers {
        let program = format!(
            "import sys; sys.path.insert(0, sys.argv[1]); import json, layouts\n\
             print(json.dumps([layouts.table(), {{n: layouts.immortal(n) for n in {COUNTS:?}}}]))"
        );
        let outcome =
            interpreter.program().arg("-I").arg("-c").arg(program).arg(compile::extension(interpreter, "layouts")).run();
        assert!(outcome.succeeded(), "{}: {}", interpreter.label(), outcome.stderr);
        let (numbers, immortal) = serde_json::from_str(&outcome.stdout).expect("two tables");
        Headers { interpreter, numbers, immortal }
    }

    fn minor(&self) -> u8 {
        self.interpreter.version.1 as u8
    }

    fn get(&self, name: &str) -> usize {
        *self.numbers.get(name).unwrap_or_else(|| panic!("layouts.c has no {name} for {}", self.interpreter.label())) as usize
    }

    /// Compares one number.
    fn check(&self, name: &str, ours: usize) {
        assert_eq!(ours, self.get(name), "{name} of {}", self.interpreter.label());
    }
}

fn all() -> impl Iterator<Item = Headers> {
    interpreters::with_headers().into_iter().map(Headers::of)
}

/// The constants `const NAME: TYPE = NUMBER;` of a source, where the number is one or `1 << N`.
fn constants(source: &str) -> BTreeMap<String, u64> {
    let text = std::fs::read_to_string(shim::package().join(source)).expect(source);
    let mut found = BTreeMap::new();
    for line in text.lines() {
        let line = line.trim().trim_start_matches("pub ");
        let Some((name, rest)) = line.strip_prefix("const ").and_then(|l| l.split_once(':')) else { continue };
        let Some((kind, value)) = rest.trim_end_matches(';').split_once('=') else { continue };
        if !["usize", "u64", "u32", "u8", "isize", "c_int"].contains(&kind.trim()) {
            continue;
        }
        let number = |text: &str| text.trim().replace('_', "").parse::<u64>();
        let value = match value.split_once("<<") {
            Some((one, shift)) => number(one).and_then(|n| Ok(n << number(shift)?)),
            None => number(value),
        };
        found.insert(name.to_owned(), value.unwrap_or_else(|e| panic!("{source}: {line}: {e}")));
    }
    assert!(!found.is_empty(), "no constants in {source}");
    found
}

/// Every constant is compared with the headers of every interpreter that has it, and has to be in their tables; in all others it must not be, or the
/// versions above are wrong. Where no such interpreter is on this machine, that is said.
#[test]
fn every_constant_is_the_headers() {
    let headers: Vec<Headers> = all().collect();
    let mut seen = BTreeSet::new();
    for (source, not_cpythons) in SOURCES {
        let ours = constants(source);
        for name in not_cpythons {
            assert!(ours.contains_key(*name), "{source} has no {name} any more");
        }
        for (name, value) in ours.iter().filter(|(name, _)| !not_cpythons.contains(&name.as_str())) {
            let least = LEAST.contains(&name.as_str());
            let (with, without): (Vec<_>, Vec<_>) = headers.iter().partition(|h| versions_with(name).contains(&h.minor()));
            for header in &with {
                let theirs = header.get(if least { "type" } else { name }) as u64;
                let right = if least { *value <= theirs } else { *value == theirs };
                assert!(right, "{source}: {name} is {value}, in {} {theirs}", header.interpreter.label());
            }
            for header in without {
                assert!(!header.numbers.contains_key(name), "{name} is in {} as well", header.interpreter.label());
            }
            if with.is_empty() {
                // Not eprintln: the test runner would show it only for a test that fails.
                let _ = writeln!(std::io::stderr(), "not compared, no interpreter on this machine has it: {source}: {name}");
            }
            seen.insert(name.clone());
        }
    }
    // A name that no source has any more would excuse nothing.
    for (name, ..) in OF_SOME {
        assert!(seen.contains(name), "no source has {name} any more");
    }
}

#[test]
fn the_allocator_domains_are_the_headers() {
    let ours = constants("src/interpose/python_allocators.rs");
    for header in all() {
        for name in ["DOMAIN_RAW", "DOMAIN_MEM", "DOMAIN_OBJ"] {
            header.check(name, ours[name] as usize);
        }
        // `Allocator` in python_allocators.rs and `MethodDef` in exit.rs have their fields in this order.
        for (at, field) in ["context", "malloc", "calloc", "realloc", "free"].into_iter().enumerate() {
            header.check(&format!("allocator_{field}"), 8 * at);
        }
        for (at, field) in ["name", "function", "flags", "doc"].into_iter().enumerate() {
            header.check(&format!("method_{field}"), 8 * at);
        }
        header.check("allocator", 40);
        header.check("method", 32);
    }
}

#[test]
fn weak_words_are_the_headers() {
    let names = BTreeSet::from(["weakref_object", "weakref_prev", "weakref_next"]);
    for header in all() {
        let weak: BTreeSet<usize> = names.iter().map(|name| header.get(name)).collect();
        let ours: BTreeSet<usize> =
            weakref_hooks::REFERENCE_WEAK_WORDS.iter().flat_map(|&(from, to)| (from..to).step_by(8)).collect();
        assert_eq!(ours, weak, "{}", header.interpreter.label());
        header.check("gc_prev", 8);
    }
}

#[test]
fn strings_are_the_headers() {
    for header in all() {
        let (kind, compact, ascii) = (header.get("state_kind"), header.get("state_compact"), header.get("state_ascii"));
        header.check("state_interned", 1);
        // `is_interned` looks at the lowest two bits.
        assert!(kind >= 4, "{}", header.interpreter.label());
        for (state, size) in [(compact | ascii, "ascii"), (compact, "compact"), (0, "unicode")] {
            let (from, to) = layout::string_pointers(header.minor(), state as u32);
            header.check("STRING_BYTES_MIN", from);
            header.check(size, to);
        }
    }
}

#[test]
fn what_stands_before_an_object_is_the_headers() {
    for header in all() {
        let minor = header.minor();
        // The pre-header: two words before the GC head.
        for name in ["before_managed_dict", "before_managed_weakref"] {
            if header.numbers.contains_key(name) {
                header.check(name, 32);
            }
        }
        // From 3.12 on the list of weak references is the first of them.
        if minor >= 12 {
            header.check("managed_weakref", 32);
        }
        match layout::values_pointer(minor) {
            Some(bytes) => header.check("values_pointer", bytes),
            None => assert!(!header.numbers.contains_key("values_pointer")),
        }
        if minor >= 13 {
            header.check("values_capacity", 0);
            header.check("values_valid", 3);
        }
        header.check("header", 16);
    }
}

#[test]
fn containers_are_the_headers() {
    for header in all() {
        let minor = header.minor();
        let keys = layout::dict_keys_header(minor);
        // Eight indices of a byte and the hash stand between.
        header.check("dict_keys_to_first_key", keys + 8 + 8);
        if minor >= 11 {
            header.check("dict_indices", keys);
            header.check("dict_entries_in_use", 24);
        }
        header.check("set_small_table", layout::SET_SMALL_TABLE.0);
        header.check("set_small_table_end", layout::SET_SMALL_TABLE.1);
        header.check("set_entry", 16);
        header.check("set_entry_hash", 8);
        header.check("tuple_items", 24);
        // push_bytes in naming.rs.
        header.check("bytes_text", 32);
        // DELIBERATE in untraversed.rs.
        header.check("tp_subclasses", 360);
    }
}

#[test]
fn frames_and_data_stacks_are_the_headers() {
    for header in all() {
        let minor = header.minor();
        assert_eq!(layout::frame(minor).is_some(), minor <= 10);
        if let Some(frame) = layout::frame(minor) {
            header.check("frame_value_stack", frame.value_stack);
            header.check("frame_generator", frame.generator);
            match frame.top {
                layout::FrameTop::Address(at) => header.check("frame_top_address", at),
                layout::FrameTop::Depth(at) => header.check("frame_top_depth", at),
            }
        }
        assert_eq!(layout::interpreters_made(minor).is_some(), minor <= 11);
        if let Some(made) = layout::interpreters_made(minor) {
            header.check("interpreters_made", made);
        }
        assert_eq!(layout::interpreter_gil(minor).is_some(), minor >= 12);
        if let Some(gil) = layout::interpreter_gil(minor) {
            header.check("interpreter_gil", gil);
        }
        assert_eq!(layout::datastack_top(minor).is_some(), minor >= 11);
        if let Some(top) = layout::datastack_top(minor) {
            header.check("datastack_top", top);
            header.check("datastack_limit", top + 8);
        }
        if layout::type_cache_nones(minor) > 0 {
            header.check("type_cache", layout::type_cache_nones(minor) as usize);
        }
    }
}

#[test]
fn frames_are_walked_by_the_headers() {
    for header in all() {
        let walking = layout::walking(header.minor()).expect("every version's are known");
        header.check("walking_current", walking.current);
        assert_eq!(walking.through.is_some(), header.numbers.contains_key("walking_through"));
        if let Some(through) = walking.through {
            header.check("walking_through", through);
        }
        header.check("walking_back", walking.back);
        header.check("walking_code", walking.code);
        assert_eq!(walking.owner.is_some(), header.numbers.contains_key("walking_owner"));
        if let Some(owner) = walking.owner {
            header.check("walking_owner", owner);
        }
        match walking.position {
            layout::Position::Bytes(at) | layout::Position::Instructions(at) => {
                assert_eq!(matches!(walking.position, layout::Position::Instructions(_)), header.minor() == 10);
                header.check("walking_position", at);
            }
            layout::Position::Pointer(at, start) => {
                header.check("walking_position", at);
                header.check("walking_instructions", start);
            }
        }
        header.check("walking_file", walking.file);
        header.check("walking_name", walking.name);
        header.check("walking_table", walking.table);
        header.check("walking_first_line", walking.first_line);
        // What is looked at lies inside, and reaches over all that is read.
        let number = |name: &str| header.numbers[name] as usize;
        assert!(walking.frame_bytes <= number("walking_frame") && walking.code_bytes <= number("walking_code_object"));
        let [file, name, table, first] = [walking.file, walking.name, walking.table, walking.first_line];
        assert!([file + 8, name + 8, table + 8, first + 4].iter().all(|&end| end <= walking.code_bytes));
    }
}

#[test]
fn what_is_immortal_is_what_the_headers_say() {
    for header in all() {
        assert_eq!(header.immortal.len(), COUNTS.len());
        for (word, theirs) in &header.immortal {
            let word: u64 = word.parse().expect("a number");
            let ours = count::decode(header.minor(), word);
            match theirs {
                Some(immortal) => {
                    assert_eq!(ours == count::Count::Immortal, *immortal, "{word:#x} in {}", header.interpreter.label())
                }
                // Until 3.11 every count is one.
                None if header.minor() <= 10 => assert_eq!(ours, count::Count::References(word)),
                None => {}
            }
        }
    }
}

//! CPython's own defects, by name: found like any other, shown in the report, never failing. Nobody who runs a program can fix them.
//!
//! Each entry says where the defect is, so that it goes when the versions that have it go. Nothing is left out for being inconvenient: what is not
//! understood has no entry.

use super::semaphores::{self, Of};
use super::snapshot;
use crate::finalizers::refcount_validator::Verdict;
use crate::python::objects::Model;

/// What of the type's instances it is about.
enum What {
    /// The reference at this offset of the object, in bytes.
    Offset(usize),
    /// The module of this name, the string of this text, or the type of this `tp_name`.
    Named(&'static str),
    /// The string of this text, once for each interpreter that there has been.
    TextOfEach(&'static str),
    /// The int of this value.
    Int(u64),
    /// One object of the type, which has no name to tell it by.
    One,
    /// What a sub-interpreter left when it ended.
    LeftByInterpreter,
    /// A block that is a semaphore from before the process was forked.
    OfParent,
    /// A block that is a semaphore, one for each instance of the class of this name.
    OneOfEach(&'static str),
}

/// One known defect.
pub struct Known {
    verdict: Verdict,
    /// First and last minor version that has it.
    minors: (u8, u8),
    /// `tp_name` of the type, or of a base of it; of a native block empty.
    type_name: &'static str,
    what: What,
    /// Surplus references it explains at most, of one object.
    references_max: u64,
    /// In plain words, for the report.
    pub why: &'static str,
}

const THREAD_LOCAL: &str =
    "CPython: local_traverse leaves out wr_callback, which leads only to a weak reference and cannot be part of a cycle";
const STRING_IO: &str = "CPython until 3.11: stringio_traverse leaves out the accumulator's list, which holds strings alone and cannot be part of a cycle";
const STG_DICT: &str =
    "CPython until 3.12: ctypes' StgDict inherits dict's traverse and does not visit its own members (replaced in gh-114314)";
const INTERNAL_FRAME: &str =
    "CPython until 3.10: is_internal_frame (_warnings.c) takes a second reference to each of the two strings it makes and keeps";
const SEM_VALUE_MAX: &str =
    "CPython until 3.9: importing _multiprocessing leaves its reference to SemLock.SEM_VALUE_MAX (PyInit__multiprocessing)";
const STARTUP_3_8: &str = "CPython 3.8: start-up keeps the reference to this object that its creation returned";

const OPTIMIZED_UNICODE: &str = "CPython until 3.9: importing _sqlite3 takes a reference to str for OptimizedUnicode that PyDict_SetItemString does not take over";
const LOCK_TYPE: &str =
    "CPython until 3.9: importing _thread takes a reference to LockType that PyDict_SetItemString does not take over";
const THREAD_ERROR: &str = "CPython until 3.9: importing _thread takes a reference to RuntimeError (_thread.error) that PyDict_SetItemString does not take over";
const POLL_TYPE: &str = "CPython 3.9: importing select takes two references to poll's type and keeps one pointer";

const ISO_CALENDAR_DATE: &str =
    "CPython 3.9: importing _datetime takes a reference to the static type IsoCalendarDate and keeps no pointer";
const TEST_TYPES: &str =
    "CPython until 3.12: the test module _testcapi keeps the reference that PyType_FromSpec returned, and no pointer";

const CHANNEL_TYPES: &str = "CPython until 3.11: importing _xxsubinterpreters takes a reference to this type that PyDict_SetItemString does not take over";
const INTERPRETER_ENDED: &str =
    "CPython 3.9 to 3.11: an interpreter that ends takes a reference to what outlives it, on purpose (gh-92036)";

const LOCK_OF_PARENT: &str = "CPython: in a forked child locks are made anew; the old ones, which a thread that is gone may hold, are left on purpose (bpo-6721, bpo-40089)";

const LOCK_REPLACED: &str = "CPython: a process that multiprocessing spawns makes locks of its own anew as if they were those of a parent, and leaves the old ones (bpo-40089)";

const KNOWN: &[Known] = &[
    Known {
        verdict: Verdict::MissingTraverse,
        minors: (8, 13),
        type_name: "_thread._local",
        what: What::Offset(56),
        references_max: 1,
        why: THREAD_LOCAL,
    },
    Known {
        verdict: Verdict::MissingTraverse,
        minors: (8, 11),
        type_name: "_io.StringIO",
        what: What::Offset(64),
        references_max: 1,
        why: STRING_IO,
    },
    Known {
        verdict: Verdict::MissingTraverse,
        minors: (8, 12),
        type_name: "StgDict",
        what: What::Offset(136),
        references_max: 1,
        why: STG_DICT,
    },
    Known {
        verdict: Verdict::LeakedReference,
        minors: (11, 11),
        type_name: "decimal.Context",
        what: What::One,
        references_max: 1,
        why: "CPython 3.11: importing decimal leaves one reference too many on decimal.ExtendedContext",
    },
    internal_frame("importlib"),
    internal_frame("_bootstrap"),
    Known {
        verdict: Verdict::LeakedReference,
        minors: (8, 9),
        type_name: "int",
        what: What::Int(i32::MAX as u64),
        references_max: 1,
        why: SEM_VALUE_MAX,
    },
    one_too_many("str", (8, 9), OPTIMIZED_UNICODE),
    one_too_many("_thread.lock", (8, 9), LOCK_TYPE),
    one_too_many("RuntimeError", (8, 9), THREAD_ERROR),
    one_too_many("select.poll", (9, 9), POLL_TYPE),
    one_too_many("datetime.IsoCalendarDate", (9, 9), ISO_CALENDAR_DATE),
    one_too_many("_xxsubinterpreters.ChannelID", (8, 11), CHANNEL_TYPES),
    one_too_many("InterpreterID", (8, 11), CHANNEL_TYPES),
    Known {
        verdict: Verdict::LeakedReference,
        minors: (9, 11),
        type_name: "object",
        what: What::LeftByInterpreter,
        references_max: 1,
        why: INTERPRETER_ENDED,
    },
    one_too_many("_testcapi.HeapCType", (8, 12), TEST_TYPES),
    one_too_many("_testcapi.LimitedVectorCallClass", (12, 12), TEST_TYPES),
    start_up("module", "sys", Verdict::LeakedReference),
    start_up("module", "builtins", Verdict::LeakedReference),
    start_up("module", "_warnings", Verdict::LeakedReference),
    start_up("module", "_warnings", Verdict::LeakedObject),
    Known {
        verdict: Verdict::LeakedReference,
        minors: (8, 8),
        type_name: "str",
        what: What::TextOfEach("__main__"),
        references_max: 1,
        why: STARTUP_3_8,
    },
    warning("importlib"),
    warning("_bootstrap"),
    Known {
        verdict: Verdict::LeakedBlock,
        minors: (8, 13),
        type_name: "",
        what: What::OfParent,
        references_max: 1,
        why: LOCK_OF_PARENT,
    },
    // Lib/multiprocessing/util.py: such a lock has itself made anew by `_run_after_forkers`, which `BaseProcess._bootstrap` also calls where nothing was forked, or where the module came after the fork
    // (the one of `managers.BaseProxy`).
    Known {
        verdict: Verdict::LeakedBlock,
        minors: (9, 13),
        type_name: "",
        what: What::OneOfEach("ForkAwareThreadLock"),
        references_max: 1,
        why: LOCK_REPLACED,
    },
];

/// The two strings that `is_internal_frame` in _warnings.c makes at the first warning with a stack level above 1.
const fn warning(name: &'static str) -> Known {
    Known {
        verdict: Verdict::LeakedReference,
        minors: (8, 10),
        type_name: "str",
        what: What::Named(name),
        references_max: 1,
        why: "CPython until 3.10: is_internal_frame takes a reference too many to the strings that it keeps",
    }
}

const fn start_up(type_name: &'static str, name: &'static str, verdict: Verdict) -> Known {
    Known { verdict, minors: (8, 8), type_name, what: What::Named(name), references_max: 1, why: STARTUP_3_8 }
}

const fn internal_frame(text: &'static str) -> Known {
    Known {
        verdict: Verdict::LeakedReference,
        minors: (8, 10),
        type_name: "str",
        what: What::Named(text),
        references_max: 1,
        why: INTERNAL_FRAME,
    }
}

const fn one_too_many(name: &'static str, minors: (u8, u8), why: &'static str) -> Known {
    Known { verdict: Verdict::LeakedReference, minors, type_name: "type", what: What::Named(name), references_max: 1, why }
}

/// The entry with this number (see [`find`]).
pub fn get(number: u8) -> Option<&'static Known> {
    KNOWN.get(usize::from(number).checked_sub(1)?)
}

/// How often the defect may have happened.
fn times(model: &Model, known: &Known) -> u64 {
    match known.what {
        What::TextOfEach(_) => model.interpreters_made().unwrap_or(1),
        _ => 1,
    }
}

/// The number of the entry that explains a finding about an object, 0 for none. `offset` is the place of an unvisited reference.
pub fn find(model: &Model, verdict: Verdict, object: usize, references: u64, offset: usize) -> u8 {
    let matches = |known: &Known| {
        known.verdict == verdict
            && (known.minors.0..=known.minors.1).contains(&model.runtime.minor)
            && references <= known.references_max * times(model, known)
            // First what it is: the questions below read further into it.
            && model.is_instance_of(object, known.type_name.as_bytes())
            && match known.what {
                What::Offset(at) => at == offset,
                What::One => true,
                What::Named(name) | What::TextOfEach(name) => model.has_plain_name(object, name.as_bytes()),
                What::Int(value) => model.small_value(object) == Some(value),
                // SAFETY: findings are made in the snapshot child, guarded.
                What::LeftByInterpreter => unsafe { model.was_left_by_interpreter(object) },
                What::OfParent | What::OneOfEach(_) => false,
            }
    };
    KNOWN.iter().position(matches).map_or(0, |at| at as u8 + 1)
}

/// The same for a native block that nothing leads to. `one_more` says whether there is an instance of the class of a name for which it has not said so yet.
pub fn find_block(model: &Model, base: usize, bytes: usize, one_more: &mut dyn FnMut(&[u8]) -> bool) -> u8 {
    let Some(of) = semaphores::alone_in(base, bytes, snapshot::header_bytes()) else { return 0 };
    let matches = |known: &Known| {
        known.verdict == Verdict::LeakedBlock
            && (known.minors.0..=known.minors.1).contains(&model.runtime.minor)
            && match known.what {
                What::OfParent => of == Of::Parent,
                What::OneOfEach(name) => of == Of::This && one_more(name.as_bytes()),
                _ => false,
            }
    };
    KNOWN.iter().position(matches).map_or(0, |at| at as u8 + 1)
}

//! The census as a file (`GCSHIM_CENSUS`): one JSON line for every object, for comparison with other tools.
//!
//! The first line says whose memory was counted (`snapshot`: the process id of this child), which ranges outside the heap were scanned, and by
//! which rules words of blocks were left out. Then a line for every object, for every destroyed object on a free list, for every native block and
//! for every object in a module's data.
//!
//! `FILE` may be a named pipe. Then the child, and with it the memory it counted, stands still until somebody has read the lines: this is how
//! `harness/oracle/census.py` counts the same memory again.

use core::fmt::Write;

use super::census::Census;
use super::json;
use super::records::open_report;
use super::settings::Settings;
use crate::mark::BlockId;
use crate::mark::blocks::{DEAD, LIVE, MARKED};
use crate::python::count::Count;
use crate::python::types::{OB_TYPE, read};
use crate::sys::text::{Writer, stderr_line};

/// Which words of live blocks do not count, in short; the object model has the rules ([`crate::mark::Shapes::strong_parts`]).
const NOT_COUNTED: [&str; 19] = [
    "refcount: ob_refcnt of every object",
    "gc-head: PyGC_Head before every object of the collector",
    "static-type: ob_type of instances of static types",
    "weak-list: the list of weak references to an object",
    "weakref: all of a weak reference but its callback",
    "leaf: what stands behind the header of bytes, int, float and bool",
    "str: all of a str but the pointers to copies of its text",
    "room: what stands behind the items of a tuple, and behind list, dict and code objects",
    "fixed-size: what stands behind an object whose type has neither items nor inline values",
    "dead: destroyed objects on free lists, but the ob_type of instances of heap types",
    "list-items: what stands behind the last item in a list's array",
    "dict-entries: all of a dict's table but the keys and values of entries in use",
    "set-entries: all of a set and its table but the pointer to the table and the keys in it",
    "frame: f_gen of a frame until 3.10, and what stands above the top of its stack",
    "type-doc: the block of a heap type's tp_doc",
    "values: what stands behind the last value that can be set of a dict that shares its keys, and of an instance until 3.12",
    "inline-values: of an instance's values from 3.13 their header, what stands behind them, and all of them once they have moved",
    "linker: the dynamic linker's records of the libraries loaded at run time, but for what leads to native blocks",
    "statement-cache: until 3.9 the connection that an sqlite3.Cache of its own names",
];

/// Writes the census, if it is asked for. Nothing of the interpreter's is called, so the memory stays as it was counted.
pub fn write(census: &mut Census, settings: &Settings, pid: i32) {
    if settings.census[0] == 0 {
        return;
    }
    let Some(file) = open_report(&settings.census, pid) else {
        return stderr_line(format_args!("gcshim: the census file (GCSHIM_CENSUS) cannot be opened for writing"));
    };
    // Several processes may share the file: a whole census stands together.
    // SAFETY: a descriptor of ours.
    unsafe { libc::flock(file.fd(), libc::LOCK_EX) };
    let mut w = Writer::new(file.fd());
    head(&mut w, census, pid);
    for id in (0..census.blocks.total()).map(BlockId) {
        if census.blocks.state(id) & LIVE != 0 {
            block(&mut w, census, id);
        }
    }
    if let Some(statics) = census.static_objects() {
        for &address in statics.all() {
            in_module(&mut w, census, address);
        }
    }
    w.flush();
    if w.failed() {
        stderr_line(format_args!("gcshim: the census file (GCSHIM_CENSUS) could not be written in full"));
    }
}

fn head(w: &mut Writer, census: &Census, pid: i32) {
    // SAFETY: takes no arguments.
    let snapshot = unsafe { libc::getpid() };
    let _ = write!(w, "{{\"schema\":\"gcshim-census/1\",\"kind\":\"census\",\"pid\":{pid},\"snapshot\":{snapshot},\"python\":");
    match &census.model {
        Some(model) => json::string(w, model.runtime.version_text().as_bytes()),
        None => w.bytes(b"null"),
    }
    w.bytes(b",\"not_counted\":[");
    for (i, rule) in NOT_COUNTED.iter().enumerate() {
        w.bytes(if i > 0 { b"," } else { b"" });
        json::string(w, rule.as_bytes());
    }
    w.bytes(b"],\"ranges\":[");
    let mut first = true;
    census.roots.for_each_part(&mut |root| {
        let kind = root.kind.name();
        let comma = if first { "" } else { "," };
        first = false;
        let _ = write!(w, "{comma}{{\"start\":\"{:#x}\",\"end\":\"{:#x}\",\"kind\":\"{kind}\"}}", root.start, root.end);
    });
    w.bytes(b"]}\n");
}

fn block(w: &mut Writer, census: &mut Census, id: BlockId) {
    let state = census.blocks.state(id);
    let (base, bytes) = census.blocks.extent(id);
    match census.blocks.object(id, base) {
        None => w.bytes(b"{\"kind\":\"block\""),
        Some(object) if state & DEAD != 0 => named(w, census, "dead", object),
        Some(object) => {
            named(w, census, "object", object);
            let (words, tagged, owned) = (census.blocks.words(id), census.blocks.tagged(id), census.blocks.owned(id));
            let _ = write!(w, ",\"owned\":{owned},\"words\":{words},\"tagged\":{tagged}");
        }
    }
    let reachable = state & MARKED != 0;
    let _ = writeln!(w, ",\"reachable\":{reachable},\"block\":\"{base:#x}\",\"bytes\":{bytes}}}");
}

fn in_module(w: &mut Writer, census: &mut Census, object: usize) {
    named(w, census, "static", object);
    let (words, owned) = (census.statics.words(object), census.statics.owned(object));
    let _ = writeln!(w, ",\"owned\":{owned},\"words\":{words},\"tagged\":0,\"reachable\":true}}");
}

/// Kind, address, `tp_name` of the type, and the count: null for an immortal object.
fn named(w: &mut Writer, census: &mut Census, kind: &str, object: usize) {
    let _ = write!(w, "{{\"kind\":\"{kind}\",\"address\":\"{object:#x}\",\"type\":");
    let Some(model) = &mut census.model else { return w.bytes(b"null") };
    // SAFETY: an object.
    let name = model.type_name(unsafe { read(object + OB_TYPE) }, false);
    json::string(w, name.as_bytes());
    let _ = match model.count(object) {
        Count::References(n) => write!(w, ",\"refcount\":{n}"),
        Count::Immortal => write!(w, ",\"refcount\":null"),
        Count::Dead => Ok(()),
    };
}

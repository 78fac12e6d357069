//! The report's records: one JSON object a line (`"schema":"gcshim/1"`).

use core::ffi::CStr;
use core::fmt::Write;

use super::census::Census;
use super::findings::Finding;
use super::json;
use super::known;
use super::labels::Labels;
use super::sites;
use crate::finalizers::refcount_validator::Verdict;
use crate::roots::modules::Modules;
use crate::sys::files::File;
use crate::sys::text::Writer;

/// What is said of the audit as a whole.
#[derive(Clone, Copy)]
pub struct Head<'a> {
    /// The program's modules.
    pub modules: &'a Modules,
    /// What asked for it.
    pub trigger: &'static str,
    /// The program's process id.
    pub pid: i32,
    /// How long the program stood still, microseconds.
    pub pause_us: u64,
    /// From the stop to the record, milliseconds.
    pub total_ms: u64,
    /// Somebody else held the GIL: counts and words may not belong together.
    pub torn: bool,
}

/// Writes all records of an audit.
pub fn write(w: &mut Writer, census: &mut Census, labels: &Labels, head: &Head<'_>) {
    process(w, census, head);
    let objects = census.model.as_ref().map_or(0, |m| m.objects);
    let _ = write!(
        w,
        "{{\"kind\":\"audit\",\"trigger\":\"{}\",\"pause_us\":{},\"total_ms\":{},\"blocks\":{},\"objects\":{},\"words\":{},\"torn\":{},\"phases_us\":",
        head.trigger,
        head.pause_us,
        head.total_ms,
        census.blocks.live(),
        objects,
        census.words_read,
        head.torn
    );
    census.phases.write(w);
    w.bytes(b"}\n");
    let (mut findings, mut failing) = (0, 0);
    for at in 0..census.findings.all().len() {
        let one = census.findings.all()[at];
        if labels.suppressed(at) {
            let _ = write!(w, "{{\"kind\":\"suppressed\",\"verdict\":\"{}\",\"type\":", one.verdict().name());
            json::string(w, labels.get(at).as_bytes());
            let _ = writeln!(w, ",\"objects\":{},\"references\":{}}}", one.objects, one.references);
            continue;
        }
        findings += 1;
        failing += u32::from(census.fails(&one));
        finding(w, census, labels, head.modules, at, &one);
    }
    for d in census.degraded_copy().iter().filter(|d| d.count > 0) {
        w.bytes(b"{\"kind\":\"degraded\",\"what\":");
        let text = census.degraded_text(d);
        json::string(w, text.as_bytes());
        let _ = writeln!(w, ",\"count\":{}}}", d.count);
    }
    let _ = writeln!(w, "{{\"kind\":\"summary\",\"findings\":{findings},\"failing\":{failing}}}");
    w.flush();
}

fn process(w: &mut Writer, census: &Census, head: &Head<'_>) {
    let _ = write!(w, "{{\"schema\":\"gcshim/1\",\"kind\":\"process\",\"pid\":{},\"argv\":[", head.pid);
    command_line(w);
    w.bytes(b"],\"python\":");
    match &census.model {
        Some(model) => json::string(w, model.runtime.version_text().as_bytes()),
        None => w.bytes(b"null"),
    }
    let _ = writeln!(w, ",\"mode\":\"{}\"}}", census.settings.mode.name());
}

/// Writes the words of the program's command line (the child's is the same). A long one is cut: it is there to be recognized.
pub fn command_line(w: &mut Writer) {
    let mut buffer = [0u8; 2048];
    if let Some(file) = File::open(c"/proc/self/cmdline") {
        let n = file.read(&mut buffer).unwrap_or(0);
        let text = buffer.get(..n).unwrap_or(b"");
        let text = text.strip_suffix(b"\0").unwrap_or(text);
        for (i, word) in text.split(|&b| b == 0).enumerate() {
            if i > 0 {
                w.bytes(b",");
            }
            json::string(w, word);
        }
    }
}

fn finding(w: &mut Writer, census: &mut Census, labels: &Labels, modules: &Modules, at: usize, one: &Finding) {
    let _ = write!(w, "{{\"kind\":\"finding\",\"verdict\":\"{}\",\"type\":", one.verdict().name());
    json::string(w, labels.get(at).as_bytes());
    let _ = write!(
        w,
        ",\"objects\":{},\"references\":{},\"bytes\":{},\"failing\":{}",
        one.objects,
        one.references,
        one.bytes,
        census.fails(one)
    );
    if let Some(known) = known::get(one.key.known) {
        w.bytes(b",\"known\":");
        json::string(w, known.why.as_bytes());
    }
    if one.verdict() == Verdict::MissingTraverse {
        let _ = write!(w, ",\"detail\":\"the reference {} bytes into the object is owned and not visited\"", one.key.what);
    }
    sites::write(w, modules, one);
    w.bytes(b",\"holders\":[");
    for (i, &(holder, words)) in one.holders.iter().filter(|(_, n)| *n > 0).enumerate() {
        w.bytes(if i > 0 { b",{\"type\":" } else { b"{\"type\":" });
        let name = census.holder_label(holder);
        json::string(w, name.as_bytes());
        let _ = write!(w, ",\"words\":{words}}}");
    }
    w.bytes(b"],\"through\":[");
    for (i, &(type_address, objects)) in one.through.iter().filter(|(_, n)| *n > 0).enumerate() {
        w.bytes(if i > 0 { b",{\"type\":" } else { b"{\"type\":" });
        let name = census.type_label(type_address);
        json::string(w, name.as_bytes());
        let _ = write!(w, ",\"objects\":{objects}}}");
    }
    w.bytes(b"],\"examples\":[");
    for (i, example) in one.examples().iter().enumerate() {
        let n = example.numbers;
        let _ = write!(
            w,
            "{}{{\"address\":\"{:#x}\",\"refcount\":{},\"owned\":{},\"words\":{},\"tagged\":{}",
            if i > 0 { "," } else { "" },
            example.address,
            n.refcount,
            n.owned,
            n.words,
            n.tagged
        );
        let preview = census.preview(one, example.address);
        if !preview.is_empty() {
            w.bytes(b",\"preview\":");
            json::string(w, preview.as_bytes());
        }
        w.bytes(b"}");
    }
    w.bytes(b"]}\n");
}

/// Opens the report file of a process: its pattern with `%p` replaced by the process id.
pub fn open_report(pattern: &[u8], pid: i32) -> Option<File> {
    let mut path = [0u8; super::settings::PATH_MAX + 32];
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        for &b in bytes {
            // The last byte stays 0.
            if at + 1 < path.len() {
                path[at] = b;
                at += 1;
            }
        }
    };
    let end = pattern.iter().position(|&b| b == 0).unwrap_or(pattern.len());
    let mut rest = pattern.get(..end).unwrap_or(pattern);
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'%'
            && let Some((&b'p', tail)) = tail.split_first()
        {
            let mut digits = crate::python::naming::Text::<16>::default();
            let _ = write!(digits, "{pid}");
            put(digits.as_bytes());
            rest = tail;
        } else {
            put(&[first]);
            rest = tail;
        }
    }
    File::append(CStr::from_bytes_until_nul(&path).ok()?)
}

//! File and line for native frames, from the debug information of the modules that a report names.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gimli::{EndianArcSlice, RunTimeEndian};
use object::{Object, ObjectSection, ObjectSegment, ObjectSymbol};

use super::reading::Report;
use super::record::NativeFrame;

type Slice = EndianArcSlice<RunTimeEndian>;

/// Where distributions put debug information that they strip.
const DEBUG_FOLDER: &str = "/usr/lib/debug";

/// Adds function, file and line to every native frame whose module has them. Inlined functions become frames of their own. What
/// cannot be read stays as the shim wrote it.
pub fn resolve(report: &mut Report) {
    let mut modules: HashMap<String, Option<Module>> = HashMap::new();
    for finding in report.processes.iter_mut().flat_map(|p| &mut p.audits).flat_map(|a| &mut a.findings) {
        for site in [Some(&mut finding.site), finding.freed.as_deref_mut()].into_iter().flatten() {
            for frame in std::mem::take(&mut site.native) {
                let module = frame
                    .module
                    .as_ref()
                    .and_then(|name| modules.entry(name.clone()).or_insert_with(|| Module::load(Path::new(name))).as_ref());
                match module {
                    Some(module) => site.native.extend(module.frames(frame)),
                    None => site.native.push(frame),
                }
            }
        }
    }
}

/// One module's debug information and symbols.
struct Module {
    context: Option<addr2line::Context<Slice>>,
    /// Address, size and name of each function, by address.
    functions: Vec<(u64, u64, String)>,
    /// First and last address, exclusive, of each loaded segment.
    segments: Vec<(u64, u64)>,
}

impl Module {
    /// Reads an ELF file and, where it was stripped, the file that has its debug information.
    fn load(path: &Path) -> Option<Module> {
        // Read, not mapped: a file that is rewritten meanwhile must not become a SIGBUS.
        let bytes = std::fs::read(path).ok()?;
        let file = object::File::parse(&*bytes).ok()?;
        let segments = file.segments().map(|s| (s.address(), s.address() + s.size())).collect();
        let separate_bytes = if has_debug_info(&file) { None } else { separate(path, &file) };
        let separate = separate_bytes.as_deref().and_then(|b| object::File::parse(b).ok());
        let debug = separate.as_ref().unwrap_or(&file);
        let mut functions: Vec<_> = file
            .symbols()
            .chain(file.dynamic_symbols())
            .chain(debug.symbols())
            .filter(|s| s.kind() == object::SymbolKind::Text && s.is_definition())
            .filter_map(|s| Some((s.address(), s.size(), s.name().ok()?.to_string())))
            .collect();
        functions.sort();
        functions.dedup();
        Some(Module { context: context(debug), functions, segments })
    }

    /// The frame with what is known about it, innermost inlined function first.
    fn frames(&self, frame: NativeFrame) -> Vec<NativeFrame> {
        let Some(offset) = frame.offset else { return vec![frame] };
        // A return address may already be the next statement's, or the next function's: the call lies before it.
        let at = self.file_address(offset.0).saturating_sub(1);
        let mut frames = Vec::new();
        if let Some(context) = &self.context
            && let Ok(mut found) = context.find_frames(at).skip_all_loads()
        {
            while let Ok(Some(inner)) = found.next() {
                let mut frame = frame.clone();
                if let Some(function) = &inner.function {
                    frame.function = function.demangle().ok().map(|name| name.into_owned());
                }
                if let Some(location) = &inner.location {
                    frame.file = location.file.map(str::to_string);
                    frame.line = location.line.map(u64::from);
                }
                frames.push(frame);
            }
        }
        if frames.is_empty() {
            frames.push(frame);
        }
        if let Some(outer) = frames.last_mut()
            && outer.function.is_none()
        {
            outer.function = self.function(at).map(|name| addr2line::demangle_auto(name.into(), None).into_owned());
        }
        frames
    }

    /// The function that `at` lies in. Hand-written assembly has symbols without a size; they reach to the next one.
    fn function(&self, at: u64) -> Option<&str> {
        let next = self.functions.partition_point(|(start, _, _)| *start <= at);
        let (start, size, name) = self.functions.get(next.checked_sub(1)?)?;
        (*size == 0 || at - start < *size).then_some(name)
    }

    /// The address as the file counts. A program that is not relocatable has addresses from its link base; an offset from the
    /// start of its mapping is moved there.
    fn file_address(&self, offset: u64) -> u64 {
        let inside = |at: u64| self.segments.iter().any(|(start, end)| (*start..*end).contains(&at));
        let lowest = self.segments.iter().map(|(start, _)| *start).min().unwrap_or(0);
        if !inside(offset) && inside(offset.wrapping_add(lowest)) { offset + lowest } else { offset }
    }
}

fn has_debug_info(file: &object::File<'_>) -> bool {
    file.section_by_name(".debug_info").is_some() || file.section_by_name(".debug_line").is_some()
}

/// The bytes of the file with a stripped file's debug information: by build id, else by its debug link.
fn separate(path: &Path, file: &object::File<'_>) -> Option<Vec<u8>> {
    if let Ok(Some([first, rest @ ..])) = file.build_id() {
        let rest: String = rest.iter().map(|b| format!("{b:02x}")).collect();
        let candidate = PathBuf::from(format!("{DEBUG_FOLDER}/.build-id/{first:02x}/{rest}.debug"));
        if let Ok(bytes) = std::fs::read(candidate) {
            return Some(bytes);
        }
    }
    let (name, _) = file.gnu_debuglink().ok()??;
    let name = std::str::from_utf8(name).ok()?;
    let path = std::fs::canonicalize(path).ok()?;
    let folder = path.parent()?;
    let beside = [
        folder.join(name),
        folder.join(".debug").join(name),
        Path::new(DEBUG_FOLDER).join(folder.strip_prefix("/").ok()?).join(name),
    ];
    // The link may name the stripped file itself.
    beside.into_iter().filter(|p| std::fs::canonicalize(p).is_ok_and(|p| p != path)).find_map(|p| std::fs::read(p).ok())
}

/// The address-to-line index of a file, `None` if it has no debug information that can be read.
fn context(file: &object::File<'_>) -> Option<addr2line::Context<Slice>> {
    let mut dwarf = dwarf(file)?;
    // Distributions move what several files share into one more file.
    if let Ok(Some((name, _))) = file.gnu_debugaltlink()
        && let Ok(name) = std::str::from_utf8(name)
        && let Some(bytes) = shared(name)
        && let Ok(shared) = object::File::parse(&*bytes)
        && let Some(shared) = self::dwarf(&shared)
    {
        dwarf.set_sup(shared);
    }
    addr2line::Context::from_dwarf(dwarf).ok()
}

fn dwarf(file: &object::File<'_>) -> Option<gimli::Dwarf<Slice>> {
    let endian = if file.is_little_endian() { RunTimeEndian::Little } else { RunTimeEndian::Big };
    gimli::Dwarf::load(|id| -> Result<Slice, object::Error> {
        let data = match file.section_by_name(id.name()) {
            Some(section) => section.uncompressed_data()?,
            None => Default::default(),
        };
        Ok(EndianArcSlice::new(Arc::from(&*data), endian))
    })
    .ok()
}

/// The bytes of the file that a `.gnu_debugaltlink` names, relative to the debug folder's build ids or absolute.
fn shared(name: &str) -> Option<Vec<u8>> {
    let tail = name.trim_start_matches("../");
    [PathBuf::from(name), Path::new(DEBUG_FOLDER).join(tail), Path::new("/usr/lib").join(tail)]
        .into_iter()
        .find_map(|p| std::fs::read(p).ok())
}

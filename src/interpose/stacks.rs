//! `GCSHIM_STACKS`: the stacks of allocations and frees.

use crate::audit::settings::{Settings, Stacks};
use crate::heap::stacks;
use crate::python::frames;
use crate::python::runtime::Runtime;
use crate::sys::text::stderr_line;
use crate::sys::unwind;

/// Starts keeping them, if they are asked for. Called by the constructor, when the options are read.
pub fn install() {
    let settings = Settings::get();
    if !settings.on() || settings.stacks == Stacks::Off {
        return;
    }
    let mut native = matches!(settings.stacks, Stacks::Native | Stacks::Both);
    if native && let Err(missing) = unwind::prepare() {
        stderr_line(format_args!("gcshim: no native stacks: {} (GCSHIM_STACKS)", missing.text()));
        native = false;
    }
    let python = matches!(settings.stacks, Stacks::Python | Stacks::Both).then_some(frames::walk as stacks::PythonWalk);
    if !native && python.is_none() {
        return;
    }
    if let Some(evaluate) = Runtime::get().and_then(|runtime| runtime.symbols.evaluate) {
        unwind::end_at(evaluate.get());
    }
    if !stacks::start(native, python) {
        stderr_line(format_args!("gcshim: no memory for stacks; there will be none (GCSHIM_STACKS)"));
    }
}

/// In a child made by fork: without audits of its own there is nothing to keep them for.
pub fn after_fork_in_child() {
    if stacks::known() && !Settings::get().follow_fork {
        stacks::stop();
    }
}

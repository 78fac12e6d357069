//! `GCSHIM_STACKS`: the stacks of allocations and frees.

use crate::audit::settings::{Settings, Stacks};
use crate::heap::stacks;
use crate::sys::text::stderr_line;
use crate::sys::unwind;

/// Starts keeping them, if they are asked for. Called by the constructor, when the options are read.
pub fn install() {
    let settings = Settings::get();
    if !settings.on() || settings.stacks == Stacks::Off {
        return;
    }
    if let Err(missing) = unwind::prepare() {
        return stderr_line(format_args!("gcshim: no native stacks: {} (GCSHIM_STACKS)", missing.text()));
    }
    if !stacks::start() {
        stderr_line(format_args!("gcshim: no memory for stacks; there will be none (GCSHIM_STACKS)"));
    }
}

/// In a child made by fork: without audits of its own there is nothing to keep them for.
pub fn after_fork_in_child() {
    if stacks::known() && !Settings::get().follow_fork {
        stacks::stop();
    }
}

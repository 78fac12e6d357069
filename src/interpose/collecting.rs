//! The modes in which `free` only remembers.

use crate::audit::settings::{Mode, Settings};
use crate::collect::{cycle, pace};

/// Starts retaining, if a mode asks for it. Called by the constructor, when the options are read.
pub fn install() {
    match Settings::get().mode {
        Mode::Collect => cycle::start(pace::COLLECT),
        Mode::Quarantine => cycle::start(pace::QUARANTINE),
        Mode::Audit | Mode::Off => {}
    }
}

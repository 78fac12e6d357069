//! What collections came to, as a record of the report, at the end of the process.

use core::fmt::Write;

use super::cycle;
use super::pauses::PAUSES;
use crate::audit::settings::Settings;
use crate::finalizers::table;
use crate::sys::text::Writer;
use crate::weakref_hooks::links;

/// What collections have come to in this process.
#[derive(Clone, Copy, Default)]
pub struct Totals {
    /// Sweeps that were finished.
    pub sweeps: u64,
    /// Full collections that were finished.
    pub full: u64,
    /// Bytes made reusable.
    pub reused_bytes: u64,
    /// Native blocks that were never freed and taken.
    pub condemned_bytes: u64,
    /// Lost objects whose references were dropped.
    pub dropped_objects: u64,
    /// Bytes that the last sweep kept, since words lead to them.
    pub kept_bytes: u64,
}

impl Totals {
    /// Nothing yet.
    pub const NONE: Totals =
        Totals { sweeps: 0, full: 0, reused_bytes: 0, condemned_bytes: 0, dropped_objects: 0, kept_bytes: 0 };
}

/// Writes the record, if there was a collection and a report is asked for. `pid` is the process's.
pub fn write(settings: &Settings, pid: i32) {
    let t = cycle::totals();
    if t.sweeps + t.full == 0 {
        return;
    }
    let Some(file) = settings.report_file(pid) else { return };
    let (run, resurrected) = table::totals();
    let mut w = Writer::new(file.fd());
    let _ = writeln!(
        w,
        "{{\"kind\":\"collections\",\"pid\":{pid},\"sweeps\":{},\"full\":{},\"reused_bytes\":{},\"condemned_bytes\":{},\"dropped_objects\":{},\"kept_bytes\":{},\
         \"finalizers_run\":{run},\"resurrected\":{resurrected},\"links_emptied\":{},\"pause_us\":{},\"pause_us_median\":{},\"pause_us_max\":{}}}",
        t.sweeps,
        t.full,
        t.reused_bytes,
        t.condemned_bytes,
        t.dropped_objects,
        t.kept_bytes,
        links::cleared(),
        PAUSES.total_us(),
        PAUSES.median_us(),
        PAUSES.longest_us(),
    );
    w.flush();
}

//! What the program's own functions must not change in the snapshot: all its private memory.

use super::control_block::ControlBlock;
use super::maps;
use super::modules::Modules;
use crate::heap::view;
use crate::meta;
use crate::sys::{sealed, stop};

/// Seals the program's memory and the heap's own records, so that what guarded calls write is undone. Not the audit's tables, which are younger than
/// `mark`, nor the shim's variables. Until [`sealed::open`].
///
/// # Safety
/// In the snapshot child, after `guard::install`, once.
pub unsafe fn seal(modules: &Modules, control: &ControlBlock, mark: meta::Mark) {
    // SAFETY: asks the kernel's auxiliary vector.
    let linker = modules.find(unsafe { libc::getauxval(libc::AT_BASE) } as usize).map_or((0, 0), |m| (m.base, m.end));
    let (low, high) = view::shim_static_range();
    let stays_open = |start: usize, end: usize| {
        let mut open = start < high && low < end;
        meta::for_each_range_since(mark, |s, e| open |= start < e && s < end);
        open
    };
    let table = meta::reserve(sealed::TABLE_BYTES);
    if table.is_null() {
        return;
    }
    // SAFETY: the caller's; fresh memory that is younger than the mark.
    unsafe { sealed::prepare(table as usize, linker) };
    // The kernel writes into the calling thread's control block whenever it is moved to another processor (rseq), and takes a refusal for a crash.
    let tp = stop::thread_pointer();
    let (low_open, high_open) =
        (control.static_tls(tp, 4096).0.min(control.start(tp)), control.static_tls(tp, 4096).1.max(control.start(tp) + 4096));
    let (low_open, high_open) = (low_open & !(sealed::UNIT - 1), high_open.next_multiple_of(sealed::UNIT));
    maps::for_each(&mut |m| {
        // The kernel joins neighbours: what a table of ours has joined stays open. Its guards see to it that there is none.
        if m.read && m.write && m.private && !m.device && !stays_open(m.start, m.end) {
            // SAFETY: the caller's.
            unsafe {
                sealed::seal(m.start, m.end.min(low_open.max(m.start)), m.execute);
                sealed::seal(m.start.max(high_open.min(m.end)), m.end, m.execute);
            }
        }
    });
}

//! What the phases of an audit cost: time on the processor of the thread that leads it, so that a busy machine does not blur it.

use core::fmt::Write;

use crate::sys::clock;
use crate::sys::text::Writer;

/// Room for so many.
const MOST: usize = 16;

/// The phases so far, in order.
#[derive(Clone, Copy)]
pub struct Phases {
    done: [(&'static str, u64); MOST],
    count: usize,
    began_ns: u64,
}

impl Phases {
    /// Begins the first phase.
    pub fn begin() -> Phases {
        Phases { done: [("", 0); MOST], count: 0, began_ns: clock::thread_cpu_ns() }
    }

    /// Ends a phase, which gets its name now, and begins the next.
    pub fn end(&mut self, name: &'static str) {
        let now_ns = clock::thread_cpu_ns();
        if let Some(slot) = self.done.get_mut(self.count) {
            *slot = (name, now_ns.saturating_sub(self.began_ns));
            self.count += 1;
        }
        self.began_ns = now_ns;
    }

    /// Writes them as a JSON object, in microseconds.
    pub fn write(&self, w: &mut Writer) {
        for (i, (name, ns)) in self.done.iter().take(self.count).enumerate() {
            let _ = write!(w, "{}\"{name}\":{}", if i > 0 { ',' } else { '{' }, ns / 1000);
        }
        w.bytes(if self.count > 0 { b"}" } else { b"{}" });
    }
}

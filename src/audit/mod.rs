//! The audit: a snapshot, a child that does the work, a report.
//!
//! One audit walked through: [`entry::audit_here`] pushes the registers; [`snapshot::run`] has [`frozen::take`] gather the modules, take the heap's locks, stop the
//! threads, clone the process and let everyone go; in the child, [`child::main`] takes the [`census`], compares reachable objects
//! ([`references`]), classifies what is [`lost`], looks for [`untraversed`] references and for [`holders`], and writes the
//! [`records`] and the [`plain`] lines. In the program, [`histogram`] writes how long things live.

pub mod census;
pub mod census_file;
pub mod child;
pub mod cycles;
pub mod entry;
pub mod findings;
pub mod freed;
pub mod frozen;
pub mod histogram;
pub mod holders;
pub mod json;
pub mod known;
pub mod labels;
pub mod lost;
pub mod members;
mod owners;
pub mod phases;
mod plain;
pub mod records;
pub mod references;
pub mod semaphores;
pub mod settings;
pub mod sites;
pub mod snapshot;
pub mod static_objects;
pub mod suppressions;
pub mod suspects;
pub mod untraversed;

/// What asked for an audit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum Trigger {
    /// The interpreter is about to exit.
    Exit = 0,
    /// The signal of `GCSHIM_SIGNAL`.
    Signal = 1,
    /// `gcshim_audit()`.
    Call = 2,
    /// A collection of what was never freed.
    Collection = 3,
}

impl Trigger {
    /// The name in the report.
    pub fn name(self) -> &'static str {
        match self {
            Trigger::Exit => "exit",
            Trigger::Signal => "signal",
            Trigger::Call => "call",
            Trigger::Collection => "collection",
        }
    }

    fn from_number(n: usize) -> Trigger {
        match n {
            0 => Trigger::Exit,
            1 => Trigger::Signal,
            3 => Trigger::Collection,
            _ => Trigger::Call,
        }
    }
}

/// Why there was no audit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
pub enum Failure {
    /// `GCSHIM_MODE=off`.
    Off = -1,
    /// Another audit is taking its snapshot.
    Busy = -2,
    /// The system refused memory, the stop signal's handler or the clone.
    Refused = -3,
    /// The child did not come to an end in time, or crashed.
    GivenUp = -4,
}

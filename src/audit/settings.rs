//! The user's options as the audit uses them, read once from the environment.

use core::ffi::{CStr, c_char};
use core::sync::atomic::{AtomicBool, Ordering};

use crate::finalizers::refcount_validator::Verdict;
use crate::options::{OPTIONS, TOOL_VARIABLES};
use crate::roots::{Kind, Kinds};
use crate::sys::files::parse_decimal;
use crate::sys::text;

/// Everything the audit needs to know of the user's wishes.
#[derive(Clone, Copy)]
pub struct Settings {
    /// What `free` does, and whether anybody looks.
    pub mode: Mode,
    /// Audit at interpreter exit.
    pub at_exit: bool,
    /// Audit on this signal, 0 for none.
    pub signal: i32,
    /// The report file's pattern, empty for none.
    pub report: [u8; PATH_MAX],
    /// The suppressions file, empty for none.
    pub suppressions: [u8; PATH_MAX],
    /// The census file's pattern, empty for none.
    pub census: [u8; PATH_MAX],
    /// The histograms' file's pattern, empty for none.
    pub histogram: [u8; PATH_MAX],
    /// Look at the block of one allocated byte in so many.
    pub histogram_rate: u32,
    /// Which stacks are kept.
    pub stacks: Stacks,
    /// Exit status when a failing verdict was found, 0 to leave the program's own.
    pub exit_code: i32,
    /// A bit per verdict.
    pub fail_on: u16,
    /// Which roots.
    pub kinds: Kinds,
    /// Seconds an audit may take.
    pub deadline_s: u32,
    /// Forked children audit themselves too.
    pub follow_fork: bool,
    /// Print findings as plain lines on stderr.
    pub plain: bool,
}

/// `GCSHIM_MODE`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Free at once, report what nobody holds.
    Audit,
    /// Free remembers; what nothing reaches is reclaimed, freed or not.
    Collect,
    /// Free remembers; what was freed is reused once no word leads to it.
    Quarantine,
    /// Free at once, never look.
    Off,
}

/// `GCSHIM_STACKS`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stacks {
    /// None.
    Off,
    /// Return addresses.
    Native,
    /// Python frames.
    Python,
    /// Both.
    Both,
}

/// All kinds of stacks with their names.
const STACKS: [(Stacks, &str); 4] =
    [(Stacks::Off, "off"), (Stacks::Python, "python"), (Stacks::Native, "native"), (Stacks::Both, "both")];

/// All modes with their names.
const MODES: [(Mode, &str); 4] =
    [(Mode::Audit, "audit"), (Mode::Collect, "collect"), (Mode::Quarantine, "quarantine"), (Mode::Off, "off")];

impl Mode {
    /// The public name.
    pub fn name(self) -> &'static str {
        MODES.iter().find(|(m, _)| *m == self).map_or("?", |(_, n)| n)
    }
}

/// Longest path kept, with its zero.
pub const PATH_MAX: usize = 1024;

const fn bit(verdict: Verdict) -> u16 {
    1 << verdict as u16
}

static mut SETTINGS: Settings = Settings {
    mode: Mode::Audit,
    at_exit: true,
    signal: 0,
    report: [0; PATH_MAX],
    suppressions: [0; PATH_MAX],
    census: [0; PATH_MAX],
    histogram: [0; PATH_MAX],
    histogram_rate: 16384,
    stacks: Stacks::Off,
    exit_code: 0,
    fail_on: bit(Verdict::LeakedObject)
        | bit(Verdict::LeakedReference)
        | bit(Verdict::OverReleased)
        | bit(Verdict::UncollectableCycle)
        | bit(Verdict::MissingTraverse)
        | bit(Verdict::LeakedBlock),
    kinds: Kinds::ALL,
    deadline_s: 60,
    follow_fork: false,
    plain: true,
};
static READ: AtomicBool = AtomicBool::new(false);

impl Settings {
    /// The settings. Defaults until [`Settings::read_environment`] has run.
    pub fn get() -> &'static Settings {
        // SAFETY: written by read_environment alone, before the program's threads exist; read-only after.
        unsafe { &*(&raw const SETTINGS) }
    }

    /// Whether the interpreter's allocator is to be ours, and audits may be asked for.
    pub fn on(&self) -> bool {
        self.mode != Mode::Off
    }

    /// Whether a verdict counts as failing.
    pub fn fails(&self, verdict: Verdict) -> bool {
        self.fail_on & bit(verdict) != 0
    }

    /// Reads the environment. Called by the constructor, once; what is wrong is kept for [`report_mistakes`], because a process that is no
    /// Python program gets not a byte on its stderr.
    pub fn read_environment() {
        if READ.swap(true, Ordering::AcqRel) {
            return;
        }
        // SAFETY: the constructor runs before the program's own threads.
        let settings = unsafe { &mut *(&raw mut SETTINGS) };
        for_each_variable(&mut |name, value| {
            let _ = settings.apply(name, value);
        });
    }

    fn apply(&mut self, name: &[u8], value: &[u8]) -> Result<(), Mistake> {
        match name {
            b"GCSHIM_MODE" => {
                self.mode = MODES.iter().find(|(_, n)| n.as_bytes() == value).ok_or(Mistake::Value)?.0;
            }
            b"GCSHIM_AUDIT" => {
                let (mut at_exit, mut signal) = (false, false);
                for word in value.split(|&b| b == b',') {
                    match word {
                        b"exit" => at_exit = true,
                        b"signal" => signal = true,
                        b"never" => {}
                        _ => return Err(Mistake::Value),
                    }
                }
                self.at_exit = at_exit;
                if !signal {
                    self.signal = 0;
                } else if self.signal <= 0 {
                    self.signal = if self.signal < 0 { -self.signal } else { libc::SIGUSR2 };
                }
            }
            // Whichever comes first in the environment: a negative number waits for GCSHIM_AUDIT to name `signal`.
            b"GCSHIM_SIGNAL" => match number(value, 1, 64) {
                Some(n) if n as i32 != libc::SIGKILL && n as i32 != libc::SIGSTOP => {
                    self.signal = if self.signal > 0 { n as i32 } else { -(n as i32) };
                }
                _ => return Err(Mistake::Value),
            },
            b"GCSHIM_REPORT" => set_path(&mut self.report, value)?,
            b"GCSHIM_SUPPRESSIONS" => set_path(&mut self.suppressions, value)?,
            b"GCSHIM_CENSUS" => set_path(&mut self.census, value)?,
            b"GCSHIM_HISTOGRAM" => set_path(&mut self.histogram, value)?,
            b"GCSHIM_HISTOGRAM_RATE" => self.histogram_rate = number(value, 0, 1 << 30).ok_or(Mistake::Value)? as u32,
            b"GCSHIM_STACKS" => {
                self.stacks = STACKS.iter().find(|(_, n)| n.as_bytes() == value).ok_or(Mistake::Value)?.0;
            }
            b"GCSHIM_EXITCODE" => self.exit_code = number(value, 1, 255).ok_or(Mistake::Value)? as i32,
            b"GCSHIM_FAIL_ON" => {
                let mut bits = 0;
                for word in value.split(|&b| b == b',').filter(|w| !w.is_empty() && *w != b"none") {
                    bits |= bit(Verdict::from_name(word).ok_or(Mistake::Value)?);
                }
                self.fail_on = bits;
            }
            b"GCSHIM_ROOTS" => self.kinds = parse_kinds(value)?,
            b"GCSHIM_DEADLINE" => self.deadline_s = number(value, 1, 3600).ok_or(Mistake::Value)? as u32,
            b"GCSHIM_FOLLOW_FORK" => self.follow_fork = parse_switch(value)?,
            b"GCSHIM_PLAIN" => self.plain = parse_switch(value)?,
            _ => return if TOOL_VARIABLES.iter().any(|t| t.as_bytes() == name) { Ok(()) } else { Err(Mistake::Name) },
        }
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mistake {
    Name,
    Value,
}

fn number(value: &[u8], low: u64, high: u64) -> Option<u64> {
    parse_decimal(value).filter(|n| (low..=high).contains(n))
}

fn parse_switch(value: &[u8]) -> Result<bool, Mistake> {
    match value {
        b"0" => Ok(false),
        b"1" => Ok(true),
        _ => Err(Mistake::Value),
    }
}

fn set_path(to: &mut [u8; PATH_MAX], value: &[u8]) -> Result<(), Mistake> {
    if value.len() >= PATH_MAX {
        return Err(Mistake::Value);
    }
    to.fill(0);
    for (to, &from) in to.iter_mut().zip(value) {
        *to = from;
    }
    Ok(())
}

/// `all`, `none`, `kind` and `-kind`, from left to right; a list that starts with `-kind` starts from all.
fn parse_kinds(value: &[u8]) -> Result<Kinds, Mistake> {
    let mut kinds = if value.starts_with(b"-") { Kinds::ALL } else { Kinds::NONE };
    for word in value.split(|&b| b == b',').filter(|w| !w.is_empty()) {
        let (word, on) = word.strip_prefix(b"-").map_or((word, true), |w| (w, false));
        kinds = match word {
            b"all" => {
                if on {
                    Kinds::ALL
                } else {
                    Kinds::NONE
                }
            }
            b"none" => Kinds::NONE,
            _ => kinds.with(Kind::from_name(word).ok_or(Mistake::Value)?, on),
        };
    }
    Ok(kinds)
}

fn for_each_variable(each: &mut dyn FnMut(&[u8], &[u8])) {
    unsafe extern "C" {
        static environ: *const *const c_char;
    }
    // SAFETY: the C library's environment, read before the program's threads could change it.
    unsafe {
        let mut at = environ;
        while !at.is_null() && !(*at).is_null() {
            let entry = CStr::from_ptr(*at).to_bytes();
            if entry.starts_with(b"GCSHIM_")
                && let Some(equals) = entry.iter().position(|&b| b == b'=')
                && let (Some(name), Some(value)) = (entry.get(..equals), entry.get(equals + 1..))
                && !value.is_empty()
            {
                each(name, value);
            }
            at = at.add(1);
        }
    }
}

/// Says what is wrong with the options, one line each. Called once, when a Python program starts.
pub fn report_mistakes() {
    let mut scratch = *Settings::get();
    for_each_variable(&mut |name, value| {
        let Err(mistake) = scratch.apply(name, value) else { return };
        let name = core::str::from_utf8(name).unwrap_or("GCSHIM_?");
        let value = core::str::from_utf8(value).unwrap_or("?");
        match mistake {
            Mistake::Name => text::stderr_line(format_args!("gcshim: unknown option {name}; `gcshim options` lists them all")),
            Mistake::Value => {
                let allowed = OPTIONS.iter().find(|o| o.name == name).map_or("?", |o| o.values);
                text::stderr_line(format_args!("gcshim: {name}={value} is not understood and is ignored; allowed: {allowed}"));
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roots::Kind;

    fn fresh() -> Settings {
        *Settings::get()
    }

    #[test]
    fn every_option_of_the_table_is_understood() {
        for option in OPTIONS {
            let value = match option.name {
                "GCSHIM_AUDIT" => "exit",
                "GCSHIM_MODE" | "GCSHIM_STACKS" => "off",
                "GCSHIM_FAIL_ON" => "leaked-object",
                "GCSHIM_ROOTS" => "-stacks",
                "GCSHIM_PLAIN" | "GCSHIM_FOLLOW_FORK" => "1",
                _ => "12",
            };
            assert_eq!(fresh().apply(option.name.as_bytes(), value.as_bytes()), Ok(()), "{}", option.name);
        }
    }

    #[test]
    fn mistakes_are_told_apart_and_change_nothing() {
        let mut s = fresh();
        assert_eq!(s.apply(b"GCSHIM_NONSENSE", b"1"), Err(Mistake::Name));
        for (name, value) in
            [("GCSHIM_MODE", "fast"), ("GCSHIM_AUDIT", "exit,sometimes"), ("GCSHIM_EXITCODE", "0"), ("GCSHIM_EXITCODE", "x")]
        {
            assert_eq!(s.apply(name.as_bytes(), value.as_bytes()), Err(Mistake::Value));
        }
        assert!(s.on() && s.at_exit && s.exit_code == 0);
    }

    #[test]
    fn kinds_are_switched_from_left_to_right() {
        let k = parse_kinds(b"-stacks,-tls").unwrap();
        assert!(!k.has(Kind::Stacks) && !k.has(Kind::Tls) && k.has(Kind::Globals));
        let k = parse_kinds(b"globals").unwrap();
        assert!(k.has(Kind::Globals) && !k.has(Kind::Stacks));
        assert_eq!(parse_kinds(b"sofas"), Err(Mistake::Value));
    }

    #[test]
    fn the_signal_may_be_named_before_or_after_the_audit() {
        let mut s = fresh();
        s.apply(b"GCSHIM_SIGNAL", b"10").unwrap();
        s.apply(b"GCSHIM_AUDIT", b"signal").unwrap();
        assert_eq!(s.signal, 10);
        let mut s = fresh();
        s.apply(b"GCSHIM_AUDIT", b"exit,signal").unwrap();
        assert_eq!(s.signal, 12);
        s.apply(b"GCSHIM_SIGNAL", b"10").unwrap();
        assert_eq!(s.signal, 10);
    }
}

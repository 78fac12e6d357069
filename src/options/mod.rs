//! What a user can set. One table: the shim's parser, `gcshim options` and the README's table all come from it.

/// One environment variable.
pub struct Opt {
    /// The environment variable's name.
    pub name: &'static str,
    /// What it may be set to, as shown to people.
    pub values: &'static str,
    /// What holds when it is not set.
    pub default: &'static str,
    /// One sentence.
    pub help: &'static str,
}

/// Every option, in the order in which they are shown.
pub const OPTIONS: &[Opt] = &[
    Opt {
        name: "GCSHIM_MODE",
        values: "audit|collect|quarantine|off",
        default: "audit",
        help: "audit: free at once, report what nobody holds; collect: free only remembers, a collector reclaims what nothing reaches; \
               quarantine: what was freed is reused only when no word points into it; off: a plain malloc that never looks.",
    },
    Opt {
        name: "GCSHIM_AUDIT",
        values: "exit,signal,never",
        default: "exit",
        help: "When to audit: at interpreter exit, on SIGUSR2 (see GCSHIM_SIGNAL), or only when asked through the C function.",
    },
    Opt {
        name: "GCSHIM_SIGNAL",
        values: "1..64",
        default: "12",
        help: "The signal that asks for an audit when GCSHIM_AUDIT has signal; 12 is SIGUSR2.",
    },
    Opt {
        name: "GCSHIM_REPORT",
        values: "FILE",
        default: "(none)",
        help: "Append the report's records to FILE, one JSON object a line; %p is the process id.",
    },
    Opt { name: "GCSHIM_PLAIN", values: "0|1", default: "1", help: "1: print the findings as plain lines on stderr." },
    Opt {
        name: "GCSHIM_EXITCODE",
        values: "1..255",
        default: "(the program's own)",
        help: "Exit status when a failing verdict was found.",
    },
    Opt {
        name: "GCSHIM_FAIL_ON",
        values: "verdict,...",
        default: "leaked-object,leaked-reference,over-released,uncollectable-cycle,missing-traverse,leaked-block",
        help: "Which verdicts count as failing.",
    },
    Opt {
        name: "GCSHIM_SUPPRESSIONS",
        values: "FILE",
        default: "(none)",
        help: "Findings to leave out, one a line: VERDICT:TYPE-PATTERN, with * for any text.",
    },
    Opt {
        name: "GCSHIM_CENSUS",
        values: "FILE",
        default: "(none)",
        help: "Append one JSON line for every object (address, type, refcount, owned, words, tagged, reachable) to FILE, for comparison \
               with other tools; %p is the process id.",
    },
    Opt {
        name: "GCSHIM_ROOTS",
        values: "[-]kind,...",
        default: "all",
        help: "Root kinds: stacks, registers, tls, tsd, dyntls, globals, mappings, added; -kind leaves one out.",
    },
    Opt {
        name: "GCSHIM_STACKS",
        values: "off|python|native|both",
        default: "off",
        help: "Keep the stack of each allocation, and of each free in the modes that retain: findings say where their objects were made, \
               and freed, and those of one type from two places are two.",
    },
    Opt {
        name: "GCSHIM_HISTOGRAM",
        values: "FILE",
        default: "(none)",
        help: "Append to FILE how long blocks live, and how old those are that live (see gcshim histogram); %p is the process id.",
    },
    Opt {
        name: "GCSHIM_HISTOGRAM_RATE",
        values: "0..1073741824",
        default: "16384",
        help: "For the histograms, look at the block of one allocated byte in so many; 0 is every block.",
    },
    Opt { name: "GCSHIM_DEADLINE", values: "1..3600", default: "60", help: "Seconds an audit may take before it is given up." },
    Opt { name: "GCSHIM_FOLLOW_FORK", values: "0|1", default: "0", help: "1: children made by fork audit themselves too." },
];

/// The verdicts' names, as `GCSHIM_FAIL_ON` and `GCSHIM_SUPPRESSIONS` take them.
pub const VERDICTS: &[&str] = &[
    "leaked-object",
    "leaked-through",
    "leaked-reference",
    "over-released",
    "uncollectable-cycle",
    "cyclic-garbage",
    "missing-traverse",
    "leaked-block",
    "freed-while-referenced",
];

/// The root kinds' names, as `GCSHIM_ROOTS` takes them.
pub const ROOT_KINDS: &[&str] = &["stacks", "registers", "tls", "tsd", "dyntls", "globals", "mappings", "added"];

/// Variables of the command line and of the tests, which the shim knows and leaves alone.
pub const TOOL_VARIABLES: &[&str] = &["GCSHIM_PYTHONS", "GCSHIM_LIBRARY"];

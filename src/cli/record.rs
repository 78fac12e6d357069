//! The records of a report, as the shim writes them: one JSON object a line. Every field but `kind` may be missing; unknown kinds
//! and fields are ignored, so that an older program reads a newer shim's report.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One line of a report.
#[derive(Deserialize, Debug)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Record {
    Process(Process),
    Audit(Audit),
    Module(Module),
    Finding(Finding),
    Suppressed(Suppressed),
    Degraded(Degraded),
    Summary(Summary),
    #[serde(other)]
    Unknown,
}

/// Who was audited. Opens a process's records.
#[derive(Deserialize, Serialize, Debug, Default, Clone, PartialEq)]
#[serde(default)]
pub struct Process {
    #[serde(skip_serializing)]
    pub schema: Option<String>,
    pub pid: Option<u64>,
    pub argv: Vec<String>,
    /// The interpreter's version, `3.11.7`.
    pub python: Option<String>,
    pub mode: Option<String>,
}

/// One audit: a snapshot of one moment. Opens the records that belong to it.
#[derive(Deserialize, Serialize, Debug, Default)]
#[serde(default)]
pub struct Audit {
    pub trigger: Option<String>,
    /// How long the program stood still.
    pub pause_us: Option<u64>,
    pub total_ms: Option<u64>,
    pub blocks: Option<u64>,
    pub objects: Option<u64>,
    pub words: Option<u64>,
    /// The snapshot was taken without the interpreter's lock: an operation may have been under way.
    pub torn: bool,
}

/// A loaded module that a finding names.
#[derive(Deserialize, Serialize, Debug, Default)]
#[serde(default)]
pub struct Module {
    pub name: Option<String>,
    pub base: Option<Address>,
    pub end: Option<Address>,
}

/// Objects that share a verdict, a type and a site.
#[derive(Deserialize, Serialize, Debug, Default)]
#[serde(default)]
pub struct Finding {
    pub verdict: String,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objects: Option<u64>,
    /// References too many, or too few when `over-released`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub references: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    pub failing: bool,
    /// A defect of CPython's own, and why: shown by the machine formats, never failing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known: Option<String>,
    pub site: Site,
    /// Where they were freed, for `freed-while-referenced`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freed: Option<Box<Site>>,
    /// The types that the found words lie in.
    pub holders: Vec<Holder>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What is lost because this is.
    pub through: Vec<Through>,
    pub examples: Vec<Example>,
}

/// Where the objects were made, innermost frame first.
#[derive(Deserialize, Serialize, Debug, Default)]
#[serde(default)]
pub struct Site {
    pub python: Vec<PythonFrame>,
    pub native: Vec<NativeFrame>,
}

#[derive(Deserialize, Serialize, Debug, Default)]
#[serde(default)]
pub struct PythonFrame {
    pub file: Option<String>,
    pub line: Option<u64>,
    pub function: Option<String>,
}

/// A return address. `file`, `line` and `function` are not the shim's: debug information has them.
#[derive(Deserialize, Serialize, Debug, Default, Clone)]
#[serde(default)]
pub struct NativeFrame {
    pub module: Option<String>,
    /// The address less the module's load bias: what the file's own addresses are counted from.
    pub offset: Option<Address>,
    pub symbol: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
}

#[derive(Deserialize, Serialize, Debug, Default)]
#[serde(default)]
pub struct Holder {
    #[serde(rename = "type")]
    pub type_name: Option<String>,
    pub words: Option<u64>,
}

#[derive(Deserialize, Serialize, Debug, Default)]
#[serde(default)]
pub struct Through {
    #[serde(rename = "type")]
    pub type_name: Option<String>,
    pub objects: Option<u64>,
}

/// One object, with the numbers it was judged by.
#[derive(Deserialize, Serialize, Debug, Default)]
#[serde(default)]
pub struct Example {
    pub address: Option<Address>,
    pub refcount: Option<i64>,
    pub owned: Option<u64>,
    pub words: Option<u64>,
    /// Words that equal the address but for a tag in the low bits.
    pub tagged: Option<u64>,
    pub preview: Option<String>,
}

/// A finding that a suppression left out.
#[derive(Deserialize, Serialize, Debug, Default)]
#[serde(default)]
pub struct Suppressed {
    pub verdict: String,
    #[serde(rename = "type")]
    pub type_name: Option<String>,
    pub objects: Option<u64>,
    pub references: Option<i64>,
}

/// Something that was not scanned or not understood.
#[derive(Deserialize, Serialize, Debug, Default)]
#[serde(default)]
pub struct Degraded {
    pub what: String,
    pub count: Option<u64>,
}

/// Closes an audit.
#[derive(Deserialize, Serialize, Debug, Default)]
#[serde(default)]
pub struct Summary {
    pub findings: Option<u64>,
    pub failing: Option<u64>,
}

/// An address or an offset: `"0x7f00"` in a report; a plain number is read too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address(pub u64);

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Address, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(u64),
            Text(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Number(n) => Ok(Address(n)),
            Written::Text(text) => {
                let digits = text.strip_prefix("0x").unwrap_or(&text);
                u64::from_str_radix(digits, 16).map(Address).map_err(serde::de::Error::custom)
            }
        }
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

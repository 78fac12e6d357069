//! The records of a run (`"schema":"gcshim/1"`, one JSON object a line).

use std::path::Path;

use serde_json::Value;

/// The records in a file; none if it is not there. A line that is no JSON object fails the test that reads it.
pub fn read(path: &Path) -> Vec<Value> {
    let Ok(text) = std::fs::read_to_string(path) else {
        return Vec::new();
    };
    text.lines()
        .map(|line| match serde_json::from_str::<Value>(line) {
            Ok(value) if value.is_object() => value,
            _ => panic!("{}: no record: {line}", path.display()),
        })
        .collect()
}

/// The records of one kind.
pub fn of_kind<'a>(records: &'a [Value], kind: &str) -> Vec<&'a Value> {
    records.iter().filter(|r| r["kind"] == kind).collect()
}

/// A finding, as far as tests compare it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// `leaked-object` and so on.
    pub verdict: String,
    /// The type's name with its module, or what the verdict puts in its place.
    pub type_name: String,
    /// How many objects share it.
    pub objects: u64,
    /// Surplus or missing references in total.
    pub references: u64,
    /// Bytes of the objects, and of what they alone keep.
    pub bytes: u64,
    /// Whether it makes the run fail.
    pub failing: bool,
    /// What is held by it: type and number of objects.
    pub through: Vec<(String, u64)>,
    /// A sentence for people.
    pub detail: String,
}

/// Every finding, in the report's order.
pub fn findings(records: &[Value]) -> Vec<Finding> {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let pair = |v: &Value| (text(&v["type"]), v["objects"].as_u64().unwrap_or(0));
    of_kind(records, "finding")
        .into_iter()
        .map(|f| Finding {
            verdict: text(&f["verdict"]),
            type_name: text(&f["type"]),
            objects: f["objects"].as_u64().unwrap_or(0),
            references: f["references"].as_u64().unwrap_or(0),
            bytes: f["bytes"].as_u64().unwrap_or(0),
            failing: f["failing"].as_bool().unwrap_or(false),
            through: f["through"].as_array().map_or_else(Vec::new, |a| a.iter().map(pair).collect()),
            detail: text(&f["detail"]),
        })
        .collect()
}

/// The findings that make a run fail.
pub fn failing(records: &[Value]) -> Vec<Finding> {
    findings(records).into_iter().filter(|f| f.failing).collect()
}

/// The size that the label of a lost native block names, in bytes: that of its size class.
pub fn size_in(label: &str) -> Option<u64> {
    let digits: String = label.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
    if label.starts_with("block of ") { digits.parse().ok() } else { None }
}

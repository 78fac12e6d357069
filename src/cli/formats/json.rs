//! The report as one JSON document: processes, their audits, their findings, largest first.

use crate::cli::reading::Report;

/// Pretty JSON.
pub fn render(report: &Report) -> String {
    let mut value = serde_json::to_value(report).expect("the report has only string keys");
    value["failing"] = report.failing().into();
    format!("{value:#}\n")
}

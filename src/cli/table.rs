//! `gcshim options`: the option table for people, and as the README's block.

use std::fmt::Write;

use super::flags;
use crate::options::OPTIONS;

/// The table as text, or as a Markdown table.
pub fn render(markdown: bool) -> String {
    if markdown { as_markdown() } else { as_text() }
}

fn as_text() -> String {
    let mut out = String::new();
    for opt in OPTIONS {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{}={}  or  gcshim run --{}", opt.name, opt.values, flags::name(opt));
        let _ = writeln!(out, "    {}", opt.help);
        let _ = writeln!(out, "    default: {}", opt.default);
    }
    out
}

fn as_markdown() -> String {
    let mut out = String::from("| variable | flag of `gcshim run` | values | default | what it does |\n|---|---|---|---|---|\n");
    for opt in OPTIONS {
        let _ = writeln!(
            out,
            "| `{}` | `--{}` | `{}` | {} | {} |",
            opt.name,
            flags::name(opt),
            cell(opt.values),
            default(opt.default),
            cell(opt.help)
        );
    }
    out
}

/// A bar would end the cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// A default in parentheses is prose, any other is a value. A long list may break after its commas.
fn default(text: &str) -> String {
    if text.starts_with('(') {
        return cell(text);
    }
    text.split(',').map(|word| format!("`{}`", cell(word))).collect::<Vec<_>>().join(", ")
}

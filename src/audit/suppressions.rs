//! Findings the user knows of and cannot fix: `VERDICT:TYPE-PATTERN`, one a line, `*` for any text (in either part), `#` for comments.

use core::ffi::CStr;

use super::census::Census;
use super::labels::Labels;
use crate::finalizers::refcount_validator::Verdict;
use crate::sys::files::File;
use crate::sys::text;

/// Reads the file and calls `suppress` for each finding that a line names. What is wrong with the file is one line on stderr each.
pub fn apply(census: &Census, labels: &mut Labels, path: &[u8]) {
    let Ok(path) = CStr::from_bytes_until_nul(path) else { return };
    if path.is_empty() {
        return;
    }
    let shown = path.to_str().unwrap_or("?");
    let Some(file) = File::open(path) else {
        return text::stderr_line(format_args!("gcshim: the suppressions file {shown} cannot be read; nothing is suppressed"));
    };
    let mut number = 0;
    let whole = file.for_each_line(&mut |line| {
        number += 1;
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            return;
        }
        let colon = line.iter().position(|&b| b == b':');
        let (Some(verdict), Some(pattern)) =
            (colon.and_then(|at| line.get(..at)), colon.and_then(|at| line.get(at + 1..)).map(<[u8]>::trim_ascii))
        else {
            return text::stderr_line(format_args!("gcshim: {shown}:{number}: not understood; a line is VERDICT:TYPE-PATTERN"));
        };
        if !verdict.contains(&b'*') && Verdict::from_name(verdict).is_none() {
            return text::stderr_line(format_args!(
                "gcshim: {shown}:{number}: there is no verdict {}",
                core::str::from_utf8(verdict).unwrap_or("?")
            ));
        }
        for (at, finding) in census.findings.all().iter().enumerate() {
            if glob(verdict, finding.verdict().name().as_bytes()) && glob(pattern, labels.get(at).as_bytes()) {
                labels.suppress(at);
            }
        }
    });
    if !whole {
        text::stderr_line(format_args!("gcshim: the suppressions file {shown} could not be read to its end"));
    }
}

/// Whether a text matches a pattern in which `*` stands for any text.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if text.get(t) == Some(c) => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    p = at + 1;
                    t = from + 1;
                    star = Some((at, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(|&c| c == b'*')
}

#[cfg(test)]
mod tests {
    use super::glob;

    #[test]
    fn a_star_is_any_text() {
        for (pattern, text, matches) in [
            ("numpy.*", "numpy.ndarray", true),
            ("numpy.*", "xnumpy.ndarray", false),
            ("*", "", true),
            ("a*b*c", "a123b456c", true),
            ("a*b*c", "a123b456", false),
            ("list", "list", true),
            ("list", "lists", false),
            ("**t", "list", true),
        ] {
            assert_eq!(glob(pattern.as_bytes(), text.as_bytes()), matches, "{pattern} {text}");
        }
    }
}

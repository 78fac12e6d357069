//! Whether a value is one that an option takes, read off the option table's `values` text.

use crate::options::{Opt, ROOT_KINDS, VERDICTS};

/// What an option's `values` text allows.
#[derive(Debug, PartialEq, Eq)]
pub enum Allowed<'a> {
    /// `FILE`: a path, not empty.
    File,
    /// `1..64`: a decimal number, both ends included.
    Range(u32, u32),
    /// `a|b`: one of these words.
    OneOf(Vec<&'a str>),
    /// `a,b,c`: one or more of these words, separated by commas.
    List(Vec<&'a str>),
    /// `[-]kind,...`: the same, each word with or without a leading minus.
    SignedList(Vec<&'a str>),
}

impl<'a> Allowed<'a> {
    /// Reads an option's `values` text.
    pub fn of(values: &'a str) -> Allowed<'a> {
        if values == "FILE" {
            Allowed::File
        } else if values == "verdict,..." {
            Allowed::List(VERDICTS.iter().copied().chain(["none"]).collect())
        } else if values == "[-]kind,..." {
            Allowed::SignedList(ROOT_KINDS.iter().copied().chain(["all", "none"]).collect())
        } else if let Some((low, high)) = range(values) {
            Allowed::Range(low, high)
        } else if values.contains('|') {
            Allowed::OneOf(values.split('|').collect())
        } else {
            Allowed::List(values.split(',').collect())
        }
    }

    /// `Err` says what is wrong with `value`, to stand after the option's name and the value.
    fn check(&self, value: &str) -> Result<(), String> {
        match self {
            Allowed::File if value.is_empty() => Err("is no file name".into()),
            Allowed::File => Ok(()),
            Allowed::Range(low, high) => match value.parse::<u32>() {
                Ok(n) if (*low..=*high).contains(&n) => Ok(()),
                _ => Err(format!("is not a number from {low} to {high}")),
            },
            Allowed::OneOf(words) => one_of(value, words),
            Allowed::List(words) => value.split(',').try_for_each(|item| one_of(item, words)),
            Allowed::SignedList(words) => {
                value.split(',').try_for_each(|item| one_of(item.strip_prefix('-').unwrap_or(item), words))
            }
        }
    }
}

/// Signals that no process can catch.
const UNCATCHABLE: [&str; 2] = ["9", "19"];

/// One clear line if `opt` does not take `value`. `name` is what the user typed: the flag or the variable.
pub fn check(opt: &Opt, name: &str, value: &str) -> Result<(), String> {
    let checked = match opt.name {
        "GCSHIM_SIGNAL" if UNCATCHABLE.contains(&value) => Err("is a signal that cannot be caught".into()),
        _ => Allowed::of(opt.values).check(value),
    };
    checked.map_err(|why| format!("{name}={value}: {why}"))
}

fn range(values: &str) -> Option<(u32, u32)> {
    let (low, high) = values.split_once("..")?;
    Some((low.parse().ok()?, high.parse().ok()?))
}

fn one_of(item: &str, words: &[&str]) -> Result<(), String> {
    match words {
        _ if words.contains(&item) => Ok(()),
        [only] => Err(format!("'{item}' is not {only}")),
        _ => Err(format!("'{item}' is none of {}", words.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::OPTIONS;

    fn verdict(values: &str, value: &str) -> Result<(), String> {
        Allowed::of(values).check(value)
    }

    /// A default that its own option refuses would show that the `values` text was not understood.
    #[test]
    fn every_default_of_the_table_is_allowed() {
        for opt in OPTIONS.iter().filter(|o| !o.default.starts_with('(')) {
            assert_eq!(check(opt, opt.name, opt.default), Ok(()));
        }
    }

    #[test]
    fn each_form_takes_what_it_says_and_nothing_else() {
        assert_eq!(verdict("audit|off", "off"), Ok(()));
        assert_eq!(verdict("audit|off", "audit|off"), Err("'audit|off' is none of audit, off".into()));
        assert_eq!(verdict("1..64", "64"), Ok(()));
        for bad in ["0", "65", "", "+x", "1.5"] {
            assert_eq!(verdict("1..64", bad), Err("is not a number from 1 to 64".into()));
        }
        assert_eq!(verdict("exit,signal,never", "exit,signal"), Ok(()));
        assert!(verdict("exit,signal,never", "exit,").is_err());
        assert_eq!(verdict("FILE", "x"), Ok(()));
        assert!(verdict("FILE", "").is_err());
        assert_eq!(verdict("[-]kind,...", "-stacks,tls"), Ok(()));
        assert!(verdict("[-]kind,...", "--stacks").is_err());
        assert_eq!(verdict("verdict,...", "leaked-object,over-released"), Ok(()));
        assert_eq!(verdict("verdict,...", "none"), Ok(()));
        assert!(verdict("verdict,...", "leaked-objects").is_err());
        let signal = OPTIONS.iter().find(|o| o.name == "GCSHIM_SIGNAL").expect("it is in the table");
        assert!(check(signal, "s", "9").is_err());
    }

    #[test]
    fn the_help_of_the_root_kinds_names_them_all() {
        let roots = OPTIONS.iter().find(|o| o.values == "[-]kind,...").expect("GCSHIM_ROOTS is in the table");
        for kind in ROOT_KINDS {
            assert!(roots.help.contains(kind), "{kind}");
        }
    }
}

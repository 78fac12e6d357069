//! What each verdict means, in one sentence a person can act on.

use super::numbers::{count, grouped, printable, size};
use super::record::Finding;

/// One verdict as people see it.
pub struct Verdict {
    /// The stable name.
    pub name: &'static str,
    /// What the finding shows.
    pub meaning: &'static str,
    /// What to do about it.
    pub advice: &'static str,
    /// The program will use freed memory: shown before any leak.
    pub crashes: bool,
}

/// In the order of the option table's `VERDICTS`.
pub const VERDICTS: &[Verdict] = &[
    Verdict {
        name: "leaked-object",
        meaning: "An object that nothing points to still has references, so it is never freed.",
        advice: "Look for a Py_DECREF that is missing where the last owner lets go of it.",
        crashes: false,
    },
    Verdict {
        name: "leaked-through",
        meaning: "An object that only a leaked object still holds.",
        advice: "Fix the leaked object that holds it.",
        crashes: false,
    },
    Verdict {
        name: "leaked-reference",
        meaning: "An object in use has more references than memory has pointers to it, so it can never be freed.",
        advice: "Look for a Py_INCREF too many, or a missing Py_DECREF on a path that borrows it.",
        crashes: false,
    },
    Verdict {
        name: "over-released",
        meaning: "An object has fewer references than owners, so it is freed while it is still in use.",
        advice: "Look for a Py_DECREF too many, or a Py_INCREF that is missing where a borrowed reference is stored.",
        crashes: true,
    },
    Verdict {
        name: "uncollectable-cycle",
        meaning: "A cycle that nothing points to, which the cycle collector cannot see.",
        advice: "Give the type Py_TPFLAGS_HAVE_GC and a tp_traverse that visits every member.",
        crashes: false,
    },
    Verdict {
        name: "cyclic-garbage",
        meaning: "A cycle that nothing points to and that gc.collect() would free.",
        advice: "Nothing has to be done.",
        crashes: false,
    },
    Verdict {
        name: "missing-traverse",
        meaning: "A type whose instances hold objects that its tp_traverse never visits.",
        advice: "Visit the member in tp_traverse, with Py_VISIT.",
        crashes: false,
    },
    Verdict {
        name: "leaked-block",
        meaning: "A native block that nothing points to and that was never freed.",
        advice: "Look for the missing free.",
        crashes: false,
    },
    Verdict {
        name: "freed-while-referenced",
        meaning: "A block was freed while memory still pointed into it.",
        advice: "Find what still points to it and clear that, or free later.",
        crashes: true,
    },
];

/// Stands for a verdict of a newer shim.
const UNKNOWN: Verdict = Verdict { name: "", meaning: "A verdict that this version does not know.", advice: "", crashes: false };

/// The verdict of this name.
pub fn of(name: &str) -> &'static Verdict {
    VERDICTS.iter().find(|v| v.name == name).unwrap_or(&UNKNOWN)
}

/// One finding in one sentence, without the verdict's name in front.
pub fn sentence(f: &Finding) -> String {
    let who = who(f);
    let many = f.objects != Some(1);
    let (has, is, it, its) = if many { ("have", "are", "they", "their") } else { ("has", "is", "it", "its") };
    let surplus = f.references.map(|n| count(n.unsigned_abs(), "reference"));
    let too_many = surplus.as_ref().map(|s| format!(" ({s} too many)")).unwrap_or_default();
    match f.verdict.as_str() {
        "leaked-object" => format!("{who}, that nothing points to any more{too_many}"),
        "leaked-through" => format!("{who}, that only leaked objects still hold"),
        "leaked-reference" => {
            let surplus = surplus.unwrap_or_else(|| "references".into());
            format!("{who}, {has} {surplus} too many: in use, but can never be freed")
        }
        "over-released" => {
            let surplus = surplus.unwrap_or_else(|| "references".into());
            format!("{who}, {has} {surplus} too few: {it} will be freed while still in use")
        }
        "uncollectable-cycle" => format!("{who}, in cycles that the cycle collector cannot see"),
        "cyclic-garbage" => format!("{who}, in cycles that gc.collect() would free"),
        "missing-traverse" => format!("{who}, {is} not fully visited by {its} type's tp_traverse"),
        "leaked-block" => format!("{who}, that nothing points to and nobody freed"),
        "freed-while-referenced" => format!("{who}, {is} freed and still pointed to"),
        _ => format!("{who}{too_many}"),
    }
}

/// How many of what, and how large: `100 bytes objects, 84.3 kB`.
fn who(f: &Finding) -> String {
    let plural = if f.objects == Some(1) { "" } else { "s" };
    let noun = match &f.type_name {
        // The shim puts the size in the type's place: `block of 48 bytes`.
        Some(name) if f.verdict == "leaked-block" => printable(name).replacen("block", &format!("block{plural}"), 1),
        None if f.verdict == "leaked-block" => format!("native block{plural}"),
        Some(name) => format!("{} object{plural}", printable(name)),
        None => format!("object{plural}"),
    };
    let mut who = match f.objects {
        // One type that is the object itself: `type app.Node`.
        Some(1) if f.type_name.as_ref().is_some_and(|name| name.starts_with("type ")) => noun.trim_end_matches(" object").into(),
        Some(n) => format!("{} {noun}", grouped(n)),
        None => noun,
    };
    if let Some(bytes) = f.bytes.filter(|b| *b > 0) {
        who += ", ";
        who += &size(bytes);
    }
    who
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verdict_of_the_option_table_has_its_words() {
        let names: Vec<&str> = VERDICTS.iter().map(|v| v.name).collect();
        assert_eq!(names, crate::options::VERDICTS);
    }

    #[test]
    fn sentences_agree_in_number() {
        let mut f = Finding { verdict: "over-released".into(), type_name: Some("list".into()), ..Finding::default() };
        f.objects = Some(1);
        f.references = Some(-2);
        f.bytes = Some(56);
        assert_eq!(sentence(&f), "1 list object, 56 bytes, has 2 references too few: it will be freed while still in use");
        f.objects = Some(3);
        f.references = Some(1);
        assert_eq!(sentence(&f), "3 list objects, 56 bytes, have 1 reference too few: they will be freed while still in use");
    }

    #[test]
    fn a_type_is_called_by_its_own_name() {
        let mut f = Finding { verdict: "leaked-reference".into(), type_name: Some("type app.Node".into()), ..Finding::default() };
        f.objects = Some(1);
        f.references = Some(1);
        assert_eq!(sentence(&f), "type app.Node, has 1 reference too many: in use, but can never be freed");
    }

    #[test]
    fn a_lost_block_is_named_by_its_size() {
        let mut f = Finding { verdict: "leaked-block".into(), type_name: Some("block of 48 bytes".into()), ..Finding::default() };
        f.objects = Some(2);
        f.bytes = Some(96);
        assert_eq!(sentence(&f), "2 blocks of 48 bytes, 96 bytes, that nothing points to and nobody freed");
    }

    #[test]
    fn a_finding_that_says_nothing_is_still_a_sentence() {
        assert_eq!(sentence(&Finding::default()), "objects");
        let f = Finding { verdict: "leaked-object".into(), ..Finding::default() };
        assert_eq!(sentence(&f), "objects, that nothing points to any more");
    }
}

//! What was freed and is pointed to all the same (`freed-while-referenced`), in the modes that retain what is freed.
//!
//! Many a program keeps a pointer that it will not use again. So this is listed when the program asks for an audit, and fails only where it is told to.

use super::census::Census;
use super::findings::{Holder, Key, example};
use crate::finalizers::refcount_validator::{Numbers, Verdict};
use crate::heap::{stacks, view};
use crate::mark::BlockId;
use crate::meta::Map;
use crate::python::types::{OB_TYPE, read};

impl Census {
    /// Reads all scanned memory once more, for words into blocks that were freed: each such block is counted once, each word as a reference, with where it stands. Words in
    /// freed blocks do not count.
    pub fn find_freed(&mut self) {
        // The finding of each block, by its start.
        let mut found = Map::<u32>::new();
        let Census { roots, findings, .. } = self;
        roots.for_each_part(&mut |root| {
            for at in (root.start..root.end).step_by(8) {
                // SAFETY: a readable root.
                let word = unsafe { read(at) };
                note(findings, &mut found, word, Holder { class: 3, value: root.kind as usize });
            }
        });
        self.each_strong_word(&mut |census, id, base, bytes, word| {
            if freed_block(word).is_none() {
                return;
            }
            let holder = match census.blocks.object(id, base) {
                // SAFETY: an object.
                Some(object) => Holder { class: 1, value: unsafe { read(object + OB_TYPE) } },
                None => Holder { class: 2, value: bytes },
            };
            note(&mut census.findings, &mut found, word, holder);
        });
    }
}

/// Start and length of the freed block into which a word leads.
fn freed_block(word: usize) -> Option<(usize, usize)> {
    let (id, index) = view::resolve_retaining(word)?;
    let span = view::span(id).filter(|_| view::retained_bits(id, index as usize / 64) >> (index % 64) & 1 != 0)?;
    Some((span.base + index as usize * span.block_bytes, span.block_bytes))
}

fn note(findings: &mut super::findings::Findings, found: &mut Map<u32>, word: usize, holder: Holder) {
    let Some((block, bytes)) = freed_block(word) else { return };
    let at = match found.get(block) {
        Some(&at) => Some(at as usize),
        None => {
            let (made, freed) = stacks::of(block);
            let key = Key { what: bytes, made, freed, ..Key::default() };
            let one = example(block, BlockId(0), Numbers::default());
            let at = findings.add(Verdict::FreedWhileReferenced, key, false, 0, bytes as u64, one);
            if let Some(at) = at {
                // Without memory to remember it, it is counted again.
                _ = found.insert(block, at as u32);
            }
            at
        }
    };
    if let Some(finding) = at.and_then(|at| findings.all_mut().get_mut(at)) {
        finding.references += 1;
        finding.add_holder(holder);
    }
}

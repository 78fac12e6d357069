//! Findings: what is wrong, grouped by cause.

use crate::finalizers::refcount_validator::{Numbers, Verdict};
use crate::mark::BlockId;
use crate::meta::Array;

/// Examples kept of each finding.
pub const EXAMPLES: usize = 4;
/// Types listed as held through a finding, or as holders.
pub const KINDS_LISTED: usize = 6;

/// One object (or block) of a finding.
#[derive(Clone, Copy, Default)]
pub struct Example {
    /// Address of the object, or of the block if there is none.
    pub address: usize,
    /// Its block's number plus 1; 0 for an object in a module's data.
    pub block: u32,
    /// Its numbers.
    pub numbers: Numbers,
}

/// What tells two causes apart, beside verdict and type.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Key {
    /// The type's address; 0 for a native block.
    pub type_address: usize,
    /// The object's own address where objects have names (types, functions, modules, singletons); the block's size; a surplus's magnitude;
    /// an offset in the type.
    pub what: usize,
    /// The number of the entry in `known` that explains it, 0 for none.
    pub known: u8,
    /// The stack on which it was made (see `heap::stacks`), 0 for any.
    pub made: u32,
    /// The stack on which it was freed, 0 for any.
    pub freed: u32,
}

/// A finding.
#[derive(Clone, Copy)]
pub struct Finding {
    /// The verdict as a number; see [`Finding::verdict`].
    verdict: u8,
    /// The finding is about the one object at `key.what`.
    pub single: bool,
    /// What it is about.
    pub key: Key,
    /// Objects that share it.
    pub objects: u64,
    /// Surplus or missing references.
    pub references: u64,
    /// Bytes of the objects, and of what they alone keep.
    pub bytes: u64,
    /// The first few.
    pub examples: [Example; EXAMPLES],
    /// How many of `examples` are filled.
    pub example_count: u32,
    /// Types of what it keeps from being freed, with their numbers; type 0 stands for native blocks.
    pub through: [(usize, u32); KINDS_LISTED],
    /// Where the words that name the examples lie.
    pub holders: [(Holder, u32); KINDS_LISTED],
}

/// Where a word lies.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Holder {
    /// 0 nothing, 1 an object of the type at `value`, 2 a native block of `value` bytes, 3 a root of kind `value`.
    pub class: u8,
    /// See `class`.
    pub value: usize,
}

// SAFETY: zeros are numbers and empty slots in every field; verdict 0 is a verdict.
unsafe impl crate::meta::Zeroed for Finding {}

impl Finding {
    /// The verdict.
    pub fn verdict(&self) -> Verdict {
        crate::finalizers::refcount_validator::VERDICTS[self.verdict as usize]
    }

    /// The examples.
    pub fn examples(&self) -> &[Example] {
        self.examples.get(..self.example_count as usize).unwrap_or(&[])
    }

    fn add_example(&mut self, example: Example) {
        if let Some(slot) = self.examples.get_mut(self.example_count as usize) {
            *slot = example;
            self.example_count += 1;
        }
    }

    /// Counts something of this type kept by the finding.
    pub fn add_through(&mut self, type_address: usize) {
        let key = type_address.max(1);
        if let Some(slot) = self.through.iter_mut().find(|(t, n)| *t == key || *n == 0) {
            *slot = (key, slot.1 + 1);
        }
    }

    /// Counts a word that names an example.
    pub fn add_holder(&mut self, holder: Holder) {
        if let Some(slot) = self.holders.iter_mut().find(|(h, n)| *h == holder || *n == 0) {
            *slot = (holder, slot.1 + 1);
        }
    }
}

/// All findings of an audit.
pub struct Findings {
    list: Array<Finding>,
    count: usize,
    /// Objects for which there was no room.
    pub left_out: u64,
}

/// More causes than this are not told apart; what is over is counted.
const FINDINGS_MAX: usize = 8192;

impl Findings {
    /// None yet.
    pub fn new() -> Option<Findings> {
        Some(Findings { list: Array::new(FINDINGS_MAX)?, count: 0, left_out: 0 })
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        for slot in self.list.iter_mut().take(self.count) {
            // SAFETY: zeros are a Finding, as the array's first state is.
            *slot = unsafe { core::mem::zeroed() };
        }
        self.count = 0;
    }

    /// Adds an object to the finding of its verdict and key; answers the finding's index.
    pub fn add(
        &mut self,
        verdict: Verdict,
        key: Key,
        single: bool,
        references: u64,
        bytes: u64,
        example: Example,
    ) -> Option<usize> {
        let at = match self.all().iter().rposition(|f| f.verdict() == verdict && f.key == key) {
            Some(at) => at,
            None => {
                let Some(slot) = self.list.get_mut(self.count) else {
                    self.left_out += 1;
                    return None;
                };
                slot.verdict = verdict as u8;
                slot.key = key;
                slot.single = single;
                self.count += 1;
                self.count - 1
            }
        };
        let finding = &mut self.list[at];
        finding.objects += 1;
        finding.references += references;
        finding.bytes += bytes;
        finding.add_example(example);
        Some(at)
    }

    /// All findings.
    pub fn all(&self) -> &[Finding] {
        &self.list[..self.count]
    }

    /// All findings, to be completed.
    pub fn all_mut(&mut self) -> &mut [Finding] {
        let n = self.count;
        &mut self.list[..n]
    }

    /// Puts the largest first: failing before informational, then by references, then by bytes.
    pub fn sort(&mut self, fails: &dyn Fn(Verdict) -> bool) {
        self.all_mut().sort_unstable_by_key(|f| {
            (
                !fails(f.verdict()) || f.key.known != 0,
                core::cmp::Reverse(f.references.max(f.objects)),
                core::cmp::Reverse(f.bytes),
                f.key.what,
            )
        });
    }
}

/// An example in a block.
pub fn example(address: usize, id: BlockId, numbers: Numbers) -> Example {
    Example { address, block: id.0 + 1, numbers }
}

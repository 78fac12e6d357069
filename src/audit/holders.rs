//! Who holds it: where the words lie that name a finding's examples.

use super::census::Census;
use super::findings::Holder;
use crate::finalizers::refcount_validator::Verdict;
use crate::mark::blocks::{DEAD, LIVE, WANTED};
use crate::mark::walk::Stop;
use crate::mark::{BlockId, Walk};
use crate::python::types::{OB_TYPE, read};

/// Examples whose holders are looked for, at most.
const WANTED_MAX: usize = 256;

struct Search {
    /// Example addresses, their findings.
    wanted: [(usize, usize); WANTED_MAX],
    count: usize,
    /// Native blocks that hold an example: id, finding. Their owner is looked for in a second pass.
    native: [(u32, usize); WANTED_MAX],
    native_count: usize,
}

impl Census {
    /// Reads all scanned memory once more, for the examples alone. Only done when there are findings about reachable objects.
    pub fn find_holders(&mut self) {
        let mut search = Search { wanted: [(0, 0); WANTED_MAX], count: 0, native: [(0, 0); WANTED_MAX], native_count: 0 };
        for (at, finding) in self.findings.all().iter().enumerate() {
            if !matches!(finding.verdict(), Verdict::LeakedReference | Verdict::OverReleased) {
                continue;
            }
            for example in finding.examples() {
                if let Some(slot) = search.wanted.get_mut(search.count) {
                    *slot = (example.address, at);
                    search.count += 1;
                }
            }
        }
        if search.count == 0 {
            return;
        }
        search.wanted[..search.count].sort_unstable();
        self.search_roots(&mut search);
        self.search_blocks(&mut search);
        if search.native_count > 0 {
            search.native[..search.native_count].sort_unstable();
            self.search_owners(&search);
        }
    }

    fn search_roots(&mut self, search: &mut Search) {
        let Census { roots, findings, .. } = self;
        roots.for_each_part(&mut |root| {
            for at in (root.start..root.end).step_by(8) {
                // SAFETY: a readable root.
                let word = unsafe { read(at) };
                search.each(word, &mut |finding| {
                    if let Some(f) = findings.all_mut().get_mut(finding) {
                        f.add_holder(Holder { class: 3, value: root.kind as usize });
                    }
                });
            }
        });
    }

    fn search_blocks(&mut self, search: &mut Search) {
        self.each_strong_word(&mut |census, id, base, bytes, word| {
            let mut native = None;
            let object = census.blocks.object(id, base);
            let findings = &mut census.findings;
            search.each(word, &mut |finding| match object {
                Some(object) => {
                    // SAFETY: an object.
                    let type_address = unsafe { read(object + OB_TYPE) };
                    if let Some(f) = findings.all_mut().get_mut(finding) {
                        f.add_holder(Holder { class: 1, value: type_address });
                    }
                }
                None => native = Some(finding),
            });
            if let Some(finding) = native {
                match search.native.get_mut(search.native_count) {
                    Some(slot) => {
                        *slot = (id.0, finding);
                        search.native_count += 1;
                        census.blocks.set(id, WANTED);
                    }
                    None => {
                        if let Some(f) = census.findings.all_mut().get_mut(finding) {
                            f.add_holder(Holder { class: 2, value: bytes });
                        }
                    }
                }
            }
        });
    }

    /// A native block (a list's items, a dict's table) is named after the object that points to it.
    fn search_owners(&mut self, search: &Search) {
        let native = &search.native[..search.native_count];
        self.each_strong_word(&mut |census, id, base, _, word| {
            let Some(hit) = census.blocks.resolve(word) else { return };
            if census.blocks.state(hit.id) & WANTED == 0 || hit.id == id {
                return;
            }
            let Some(object) = census.blocks.object(id, base) else { return };
            census.blocks.clear(hit.id, WANTED);
            let from = native.partition_point(|(n, _)| *n < hit.id.0);
            for &(_, finding) in native.iter().skip(from).take_while(|(n, _)| *n == hit.id.0) {
                // SAFETY: an object.
                let type_address = unsafe { read(object + OB_TYPE) };
                if let Some(f) = census.findings.all_mut().get_mut(finding) {
                    f.add_holder(Holder { class: 1, value: type_address });
                }
            }
        });
        for &(id, finding) in native {
            let id = BlockId(id);
            if self.blocks.state(id) & WANTED != 0 {
                let bytes = self.blocks.extent(id).1;
                if let Some(f) = self.findings.all_mut().get_mut(finding) {
                    f.add_holder(Holder { class: 2, value: bytes });
                }
            }
        }
    }

    /// Calls `each(census, block, base, bytes, word)` with every word of a living block that owns what it leads to.
    pub(super) fn each_strong_word(&mut self, each: &mut impl FnMut(&mut Census, BlockId, usize, usize, usize)) {
        let mut walk = Walk::over(LIVE | DEAD, LIVE);
        while let Some(Stop { id, base, bytes, .. }) = walk.next(&self.blocks) {
            self.parts(id, base, bytes).for_each_stretch(&mut |start, end| {
                for at in (start..end).step_by(8) {
                    // SAFETY: inside a live block.
                    let word = unsafe { read(at) };
                    if word >= 4096 {
                        each(self, id, base, bytes, word);
                    }
                }
            });
        }
    }
}

impl Search {
    fn each(&self, word: usize, found: &mut dyn FnMut(usize)) {
        let wanted = self.wanted.get(..self.count).unwrap_or(&[]);
        let (Some(first), Some(last)) = (wanted.first(), wanted.last()) else { return };
        if word < first.0 || word > last.0 {
            return;
        }
        let from = wanted.partition_point(|(a, _)| *a < word);
        for &(_, finding) in wanted.iter().skip(from).take_while(|(a, _)| *a == word) {
            found(finding);
        }
    }
}

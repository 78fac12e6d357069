//! Reachable objects whose count is wrong: `leaked-reference` and `over-released`.

use super::census::Census;
use super::findings::{Example, Key, example};
use super::known;
use crate::finalizers::refcount_validator::{Numbers, Verdict};
use crate::mark::Walk;
use crate::mark::blocks::{DEAD, LIVE, MARKED, WANTED};
use crate::mark::walk::Stop;
use crate::python::count::Count;

impl Census {
    /// Compares every object's numbers, and notes whose claims exceed the words for them.
    pub fn compare_references(&mut self) {
        let mut members = false;
        let mut walk = Walk::over(LIVE | DEAD, LIVE);
        while let Some(Stop { id, base, bytes, .. }) = walk.next(&self.blocks) {
            let Some(object) = self.blocks.object(id, base) else { continue };
            let Some(model) = &self.model else { break };
            if model.is_plainly_right(object, self.blocks.words(id), self.blocks.owned(id)) {
                continue;
            }
            let Some(numbers) = self.numbers(id, object) else { continue };
            let mut surplus = numbers.surplus();
            if surplus > 0 {
                self.with_surplus.push(id);
                if self.may_be_a_member_of_a_list(id, object) {
                    self.blocks.set(id, WANTED);
                    members = true;
                    continue;
                }
            }
            // What is unreachable and has too many is lost.rs's.
            if self.blocks.state(id) & MARKED == 0 || numbers.is_lost() {
                surplus = 0;
            }
            self.judge(object, numbers, surplus, bytes as u64, example(object, id, numbers));
        }
        if members {
            self.compare_members();
        }
        self.compare_statics();
    }

    /// Compares again those that native memory may hold by the address of one of their members.
    fn compare_members(&mut self) {
        self.count_member_words();
        let mut walk = Walk::over(WANTED, WANTED);
        while let Some(Stop { id, base, bytes, .. }) = walk.next(&self.blocks) {
            self.blocks.clear(id, WANTED);
            let Some(object) = self.blocks.object(id, base) else { continue };
            let Some(numbers) = self.numbers(id, object) else { continue };
            let surplus = if numbers.is_lost() { 0 } else { numbers.surplus() };
            self.judge(object, numbers, surplus, bytes as u64, example(object, id, numbers));
        }
    }

    fn judge(&mut self, object: usize, numbers: Numbers, surplus: u64, bytes: u64, example: Example) {
        if surplus > 0 {
            let (key, single) = self.known_key(Verdict::LeakedReference, object, surplus);
            self.findings.add(Verdict::LeakedReference, key, single, surplus, bytes, example);
        }
        if numbers.missing() > 0 {
            let (key, single) = self.known_key(Verdict::OverReleased, object, numbers.missing());
            self.findings.add(Verdict::OverReleased, key, single, numbers.missing(), bytes, example);
        }
    }

    fn known_key(&self, verdict: Verdict, object: usize, references: u64) -> (Key, bool) {
        let (mut key, mut single) = self.key(object, references);
        if let Some(model) = &self.model {
            key.known = known::find(model, verdict, object, references, 0);
            if key.known != 0 {
                key.what = object;
                single = true;
            }
        }
        (key, single)
    }

    /// Objects in modules' data.
    fn compare_statics(&mut self) {
        let Some(statics) = self.static_objects() else { return };
        if statics.left_out > 0 {
            self.degrade("objects in modules' data for which there was no room were not compared", 0, statics.left_out);
        }
        for &object in statics.all() {
            let Some(model) = &self.model else { return };
            let Count::References(refcount) = model.count(object) else { continue };
            // An object in a module's data starts with a reference that stands for itself.
            let numbers = Numbers {
                refcount,
                owned: u64::from(self.statics.owned(object)),
                words: u64::from(self.statics.words(object)),
                tagged: 0,
            };
            let numbers = if model.is_interned(object) { numbers.without_interned_table() } else { numbers };
            let surplus = refcount.saturating_sub(numbers.words + numbers.owned_without_word() + 1);
            self.judge(object, numbers, surplus, 0, Example { address: object, block: 0, numbers });
        }
    }
}

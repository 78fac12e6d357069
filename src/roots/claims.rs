//! Who claims which stretch of address space, and which part of a mapping is therefore what.

use super::Kind;
use crate::meta::Vector;

/// What a claim makes of its stretch. Where claims overlap, the later class wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// A root.
    Root(Kind),
    /// Stale: the part of a stack below the stack pointer.
    Dead,
    /// A root that lies in a stack: the thread's control block at its upper end, saved registers below the stack pointer.
    Thread(Kind),
    /// The shim's own: heap regions, meta memory, static data.
    Shim,
}

/// Number of classes, kinds told apart.
const RANKS: usize = 18;

impl Class {
    fn rank(self) -> usize {
        match self {
            Class::Root(kind) => kind as usize,
            Class::Dead => 8,
            Class::Thread(kind) => 9 + kind as usize,
            Class::Shim => 17,
        }
    }
}

/// A stretch of address space with an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Claim {
    start: usize,
    end: usize,
    class: Class,
}

// SAFETY: zeros are valid in every field (the first class with the first kind), and read only where something was stored.
unsafe impl crate::meta::Zeroed for Claim {}

/// Claims while they are gathered. Turn them into [`Cut`] to use them.
pub struct Claims {
    list: Vector<Claim>,
    by_end: Vector<u32>,
    flat: Vector<Claim>,
    /// Claims for which there was no room.
    pub left_out: u32,
}

/// Disjoint claims in the order of addresses.
pub struct Cut {
    flat: Vector<Claim>,
}

impl Claims {
    /// Room for this many.
    pub fn new(most: usize) -> Option<Claims> {
        Some(Claims { list: Vector::new(most)?, by_end: Vector::new(most)?, flat: Vector::new(2 * most)?, left_out: 0 })
    }

    /// Claims `start..end`.
    pub fn add(&mut self, start: usize, end: usize, class: Class) {
        if start < end && !self.list.push(Claim { start, end, class }) {
            self.left_out += 1;
        }
    }

    /// Whether an address is claimed as the shim's own so far.
    pub fn is_shims(&self, at: usize) -> bool {
        self.list.iter().any(|c| c.class == Class::Shim && c.start <= at && at < c.end)
    }

    /// Resolves the overlaps: one sweep over all starts and ends, with a count of open claims per class.
    pub fn cut(mut self) -> Cut {
        let Claims { list, by_end, flat, .. } = &mut self;
        list.sort_unstable_by_key(|c| c.start);
        (0..list.len() as u32).for_each(|i| _ = by_end.push(i));
        by_end.sort_unstable_by_key(|&i| list[i as usize].end);

        let mut open = [(0u32, Class::Dead); RANKS];
        let (mut next_start, mut next_end) = (0, 0);
        let mut at = 0;
        while let Some(ending) = by_end.get(next_end).and_then(|&i| list.get(i as usize)) {
            let starting = list.get(next_start).filter(|c| c.start < ending.end);
            let boundary = starting.map_or(ending.end, |c| c.start);
            let top = open.iter().rev().find(|(n, _)| *n > 0).map(|&(_, class)| class);
            if let Some(class) = top
                && at < boundary
            {
                match flat.last_mut().filter(|last| last.class == class && last.end == at) {
                    Some(last) => last.end = boundary,
                    None => _ = flat.push(Claim { start: at, end: boundary, class }),
                }
            }
            at = boundary;
            let (claim, change) = match starting {
                Some(claim) => (claim, true),
                None => (ending, false),
            };
            let slot = &mut open[claim.class.rank()];
            if change {
                *slot = (slot.0 + 1, claim.class);
                next_start += 1;
            } else {
                slot.0 -= 1;
                next_end += 1;
            }
        }
        Cut { flat: self.flat }
    }
}

impl Cut {
    /// Calls `piece` for each part of `start..end` in order, with the class of its claim; `None` where nobody claims.
    pub fn pieces(&self, start: usize, end: usize, piece: &mut dyn FnMut(usize, usize, Option<Class>)) {
        if start >= end {
            return;
        }
        let first = self.flat.partition_point(|c| c.end <= start);
        let mut at = start;
        for claim in self.flat.iter().skip(first).take_while(|c| c.start < end) {
            if at < claim.start {
                piece(at, claim.start, None);
            }
            let (from, to) = (claim.start.max(start), claim.end.min(end));
            piece(from, to, Some(claim.class));
            at = to;
        }
        if at < end {
            piece(at, end, None);
        }
    }

    /// Calls `piece` for every claim.
    pub fn all(&self, piece: &mut dyn FnMut(usize, usize, Class)) {
        self.flat.iter().for_each(|c| piece(c.start, c.end, c.class));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_higher_class_wins_where_claims_overlap() {
        let mut claims = Claims::new(16).unwrap();
        claims.add(100, 200, Class::Root(Kind::Globals));
        claims.add(150, 160, Class::Shim);
        claims.add(180, 220, Class::Dead);
        claims.add(210, 230, Class::Thread(Kind::Tls));
        let mut pieces = Vec::new();
        claims.cut().pieces(90, 240, &mut |s, e, c| pieces.push((s, e, c)));
        let globals = Some(Class::Root(Kind::Globals));
        let expected = [
            (90, 100, None),
            (100, 150, globals),
            (150, 160, Some(Class::Shim)),
            (160, 180, globals),
            (180, 210, Some(Class::Dead)),
            (210, 230, Some(Class::Thread(Kind::Tls))),
            (230, 240, None),
        ];
        assert_eq!(pieces, expected);
    }

    /// The oracle: ask every byte for the highest claim on it.
    #[test]
    fn the_sweep_agrees_with_asking_every_byte() {
        const BYTES: usize = 400;
        let classes = [
            Class::Root(Kind::Stacks),
            Class::Root(Kind::Globals),
            Class::Dead,
            Class::Thread(Kind::Registers),
            Class::Thread(Kind::DynTls),
            Class::Shim,
        ];
        let mut seed = 1u64;
        let mut random = |below: usize| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (seed >> 33) as usize % below
        };
        for round in 0..200 {
            let mut claims = Claims::new(64).unwrap();
            let mut bytes = [None; BYTES];
            for _ in 0..round % 40 {
                let (a, b, class) = (random(BYTES), random(BYTES), classes[random(classes.len())]);
                let (start, end) = (a.min(b), a.max(b));
                claims.add(start, end, class);
                bytes[start..end].iter_mut().for_each(|c| *c = (*c).max(Some(class)));
            }
            let cut = claims.cut();
            let (a, b) = (random(BYTES), random(BYTES));
            let mut seen = [None; BYTES];
            let mut last = a.min(b);
            cut.pieces(a.min(b), a.max(b), &mut |s, e, c| {
                assert!(s == last && s < e);
                last = e;
                seen[s..e].fill(c);
            });
            assert_eq!(last, a.max(b));
            let range = a.min(b)..a.max(b);
            assert_eq!(seen[range.clone()], bytes[range], "round {round}");
            let mut all = [None; BYTES];
            cut.all(&mut |s, e, c| all[s..e].fill(Some(c)));
            assert_eq!(all, bytes);
        }
    }

    #[test]
    fn claims_without_room_are_counted() {
        let mut claims = Claims::new(2).unwrap();
        (0..5).for_each(|i| claims.add(i * 10, i * 10 + 5, Class::Shim));
        claims.add(7, 7, Class::Shim);
        assert_eq!(claims.left_out, 3);
    }
}

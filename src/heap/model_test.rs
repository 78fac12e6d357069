//! The heap against a plain model: random calls, contents checked. `GCSHIM_MODEL_STEPS` sets how many steps each thread makes.

use std::sync::mpsc;

use super::*;

struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % below
    }

    fn size(&mut self) -> usize {
        match self.next(1000) {
            0 => self.next(20 << 20),
            1..=9 => self.next(400_000),
            10..=99 => self.next(20_000),
            _ => self.next(600),
        }
    }
}

struct Block {
    at: usize,
    size: usize,
    fill: u8,
    domain: Domain,
}

impl Block {
    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the model says that the block is ours and of this size.
        unsafe { core::slice::from_raw_parts_mut(self.at as *mut u8, self.size) }
    }

    /// Large blocks are checked at their ends only: what matters is that no other block overlaps them.
    fn probes(&mut self) -> (&mut [u8], usize) {
        let step = if self.size > 4096 { 509 } else { 1 };
        (self.bytes(), step)
    }

    fn write(&mut self) {
        let fill = self.fill;
        let (bytes, step) = self.probes();
        bytes.iter_mut().step_by(step).for_each(|b| *b = fill);
        if let Some(last) = bytes.last_mut() {
            *last = fill;
        }
    }

    fn check(&mut self) {
        let (fill, at) = (self.fill, self.at);
        let (bytes, step) = self.probes();
        assert!(bytes.iter().step_by(step).all(|&b| b == fill), "contents of {at:#x}");
        assert!(bytes.last().is_none_or(|&b| b == fill), "last byte of {at:#x}");
    }
}

fn made(random: &mut Random, at: *mut u8, size: usize, domain: Domain) -> Block {
    assert!(!at.is_null() && at as usize % 16 == 0 && usable_size(at) >= size);
    let (id, _) = view::resolve(at as usize).expect("a block resolves");
    assert_eq!(view::span(id).unwrap().objects, domain == Domain::Object);
    let mut block = Block { at: at as usize, size, fill: random.next(255) as u8 + 1, domain };
    block.write();
    block
}

fn steps() -> usize {
    std::env::var("GCSHIM_MODEL_STEPS").ok().and_then(|s| s.parse().ok()).unwrap_or(60_000)
}

fn run(seed: u64, steps: usize, mut exchange: impl FnMut(Block) -> Option<Block>) {
    let mut random = Random(seed);
    let mut live: Vec<Block> = Vec::new();
    for _ in 0..steps {
        let domain = if random.next(2) == 0 { Domain::Raw } else { Domain::Object };
        let grow = random.next(2000) < 2000 - live.len().min(1990);
        match random.next(20) {
            0..=6 if grow => {
                let size = random.size();
                let at = allocate(size, domain);
                live.push(made(&mut random, at, size, domain));
            }
            7..=8 if grow => {
                let size = random.size();
                let at = allocate_zeroed(size, domain);
                // SAFETY: just allocated with this size.
                assert!(unsafe { core::slice::from_raw_parts(at, size) }.iter().all(|&b| b == 0));
                live.push(made(&mut random, at, size, domain));
            }
            9 if grow => {
                let (size, align) = (random.size(), 1 << random.next(22));
                let at = allocate_aligned(size, align, domain);
                assert_eq!(at as usize % align, 0);
                live.push(made(&mut random, at, size, domain));
            }
            10..=12 if !live.is_empty() => {
                let i = random.next(live.len());
                live[i].check();
                let size = random.size().max(1);
                let old = live[i].size;
                let at = reallocate(live[i].at as *mut u8, size, live[i].domain);
                assert!(!at.is_null());
                live[i].at = at as usize;
                live[i].size = old.min(size);
                if old <= 4096 {
                    live[i].check();
                }
                live[i] = made(&mut random, at, size, live[i].domain);
            }
            13 if !live.is_empty() => {
                let block = live.swap_remove(random.next(live.len()));
                if let Some(mut other) = exchange(block) {
                    other.check();
                    live.push(other);
                }
            }
            _ if !live.is_empty() => {
                let mut block = live.swap_remove(random.next(live.len()));
                block.check();
                free(block.at as *mut u8);
            }
            _ => {}
        }
    }
    for mut block in live {
        block.check();
        free(block.at as *mut u8);
    }
    cache::release_mine();
}

/// The tests share the one heap of the process, and some of them measure it: they run one after the other.
fn in_turn() -> std::sync::MutexGuard<'static, ()> {
    static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
    TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[test]
fn one_thread_agrees_with_the_model() {
    let _turn = in_turn();
    std::thread::spawn(|| run(0x9e37_79b9, steps(), Some)).join().unwrap();
}

#[test]
fn threads_that_pass_blocks_around_agree_with_the_model() {
    let _turn = in_turn();
    const THREADS: usize = 4;
    let (mut senders, receivers): (Vec<_>, Vec<_>) = (0..THREADS).map(|_| mpsc::channel::<Block>()).unzip();
    senders.rotate_left(1);
    let threads: Vec<_> = senders
        .into_iter()
        .zip(receivers)
        .enumerate()
        .map(|(i, (to, from))| {
            std::thread::spawn(move || {
                run(i as u64 + 77, steps(), |block| match to.send(block) {
                    Ok(()) => from.try_recv().ok(),
                    Err(mpsc::SendError(block)) => Some(block),
                });
                drop(to);
                for mut block in from {
                    block.check();
                    free(block.at as *mut u8);
                }
                cache::release_mine();
            })
        })
        .collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
}

#[test]
fn blocks_outlive_their_thread_and_nothing_piles_up() {
    let _turn = in_turn();
    let mut kept = Vec::new();
    let before = pool::totals().span_bytes;
    for round in 0..3000usize {
        let blocks = std::thread::spawn(move || {
            let blocks: Vec<usize> = (0..50).map(|i| allocate(16 + i * 8, Domain::Raw) as usize).collect();
            blocks[..49].iter().for_each(|&b| free(b as *mut u8));
            cache::release_mine();
            blocks[49]
        })
        .join()
        .unwrap();
        kept.push(blocks);
        if round % 2 == 0 {
            free(kept.swap_remove(round % kept.len()) as *mut u8);
        }
    }
    // 1,500 blocks of 416 bytes live: 10 slabs. Other tests run meanwhile, so the bound is generous; a slab leaked per thread would be 190 MB.
    assert!(pool::totals().span_bytes < before + (100 << 20));
    kept.into_iter().for_each(|b| free(b as *mut u8));
    cache::release_mine();
}

#[test]
fn requests_that_cannot_be_met_are_null() {
    let _turn = in_turn();
    for size in [usize::MAX, isize::MAX as usize, isize::MAX as usize + 1, 1 << 60, 1 << 47] {
        assert!(allocate(size, Domain::Raw).is_null());
        assert!(allocate_zeroed(size, Domain::Raw).is_null());
        assert!(allocate_aligned(size, 64, Domain::Raw).is_null());
        let block = allocate(100, Domain::Raw);
        assert!(reallocate(block, size, Domain::Raw).is_null());
        free(block);
    }
    assert!(allocate_aligned(1, 1 << 62, Domain::Raw).is_null());
}

#[test]
fn every_free_block_is_seen_and_no_live_one() {
    let _turn = in_turn();
    std::thread::spawn(|| {
        let blocks: Vec<usize> = (0..3000).map(|_| allocate(208, Domain::Object) as usize).collect();
        let (free_ones, live): (Vec<_>, Vec<_>) = blocks.iter().enumerate().partition(|(i, _)| i % 3 == 0);
        free_ones.iter().for_each(|&(_, &b)| free(b as *mut u8));
        let mut seen = std::collections::HashSet::new();
        // SAFETY: other tests' slabs may change meanwhile, which bounds and checks survive; the slabs looked at here are this thread's.
        unsafe {
            view::for_each_free_block(&mut |id, index| {
                if let Some(span) = view::span(id) {
                    seen.insert(span.base + index as usize * span.block_bytes);
                }
            })
        };
        assert!(free_ones.iter().all(|(_, b)| seen.contains(b)));
        assert!(live.iter().all(|(_, b)| !seen.contains(b)));
        live.iter().for_each(|&(_, &b)| free(b as *mut u8));
        cache::release_mine();
    })
    .join()
    .unwrap();
}

//! Bytes as calls of the heap by several threads, against a plain model. The threads take turns, so that the same bytes always do the same: frees by
//! others, threads that end with blocks in use, slabs that are adopted.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use gcshim::heap::{self, Domain, cache, idle, view};

/// Bytes of a step: what, by whom and on which block, and a size.
pub const STEP_BYTES: usize = 4;

const THREADS: usize = 4;
/// More than this is not kept at a time.
const LIVE_BYTES_MAX: usize = 192 << 20;

type Job = Box<dyn FnOnce() + Send>;

struct Worker {
    jobs: Sender<Job>,
    done: Receiver<()>,
    thread: JoinHandle<()>,
}

impl Worker {
    fn new() -> Worker {
        let (jobs, incoming) = channel::<Job>();
        let (tell, done) = channel();
        let thread = std::thread::spawn(move || {
            for job in incoming {
                job();
                tell.send(()).expect("the model waits");
            }
            // What the shim does at the end of a thread.
            cache::release_mine();
        });
        Worker { jobs, done, thread }
    }

    fn run(&self, job: impl FnOnce() + Send + 'static) {
        self.jobs.send(Box::new(job)).expect("the thread waits");
        self.done.recv().expect("the thread answers");
    }

    fn end(self) {
        drop(self.jobs);
        self.thread.join().expect("the thread ends");
    }
}

#[derive(Clone, Copy)]
struct Block {
    at: usize,
    size: usize,
    fill: u8,
}

impl Block {
    /// Every byte of small blocks; of large ones both ends and some between, for what matters is that no other block lies there.
    fn offsets(self) -> impl Iterator<Item = usize> {
        let step = if self.size > 8192 { 1021 } else { 1 };
        (0..self.size).step_by(step).chain(self.size.checked_sub(1))
    }

    fn write(self) {
        // SAFETY: the model says that the block is ours and of this size.
        self.offsets().for_each(|i| unsafe { *((self.at + i) as *mut u8) = self.fill });
    }

    fn check(self, bytes: usize) {
        for i in self.offsets().filter(|&i| i < bytes) {
            // SAFETY: as above.
            let byte = unsafe { *((self.at + i) as *const u8) };
            assert!(byte == self.fill, "byte {i} of {} at {:#x} is {byte}, not {}", self.size, self.at, self.fill);
        }
    }
}

/// The live blocks by address, which must not overlap.
#[derive(Default)]
struct Model {
    blocks: BTreeMap<usize, Block>,
    order: Vec<usize>,
    bytes: usize,
    fills: u8,
}

impl Model {
    fn add(&mut self, at: usize, size: usize, align: usize, domain: Domain) {
        assert!(at != 0 && at % align == 0, "{at:#x} for an alignment of {align}");
        assert!(heap::usable_size(at as *mut u8) >= size);
        let (id, _) = view::resolve(at).expect("a block resolves");
        assert_eq!(view::span(id).expect("its span").objects, domain == Domain::Object);
        if let Some((_, before)) = self.blocks.range(..=at).next_back() {
            assert!(before.at + before.size.max(1) <= at, "overlaps the block before");
        }
        if let Some((&after, _)) = self.blocks.range(at..).next() {
            assert!(at + size.max(1) <= after, "overlaps the block after");
        }
        self.fills = self.fills.wrapping_add(1).max(1);
        let block = Block { at, size, fill: self.fills };
        block.write();
        self.blocks.insert(at, block);
        self.order.push(at);
        self.bytes += size;
    }

    fn take(&mut self, choice: usize) -> Option<Block> {
        if self.order.is_empty() {
            return None;
        }
        let at = self.order.swap_remove(choice % self.order.len());
        let block = self.blocks.remove(&at).expect("a block of the model");
        self.bytes -= block.size;
        block.check(block.size);
        Some(block)
    }
}

/// Small sizes mostly, each class met, and now and then a large or a huge one.
fn size_of(a: u8, b: u8) -> usize {
    let (a, b) = (usize::from(a), usize::from(b));
    match a {
        0..=159 => a * 2 + b % 2,
        160..=219 => (a - 159) * 256 + b,
        220..=247 => (a - 219) * 16384 + b * 64,
        248..=253 => (a - 247) * (1 << 20) + b * 4096,
        _ => (17 << 20) + b * (1 << 16),
    }
}

fn call<T: Send + 'static>(worker: &Worker, f: impl FnOnce() -> T + Send + 'static) -> T {
    let (send, receive) = channel();
    worker.run(move || send.send(f()).expect("the model waits"));
    receive.recv().expect("an answer")
}

fn allocate(worker: &Worker, model: &mut Model, size: usize, how: u8, domain: Domain) {
    if model.bytes + size > LIVE_BYTES_MAX {
        return;
    }
    let align = if how % 3 == 2 { 1usize << (how / 3 % 21) } else { 16 };
    let at = call(worker, move || match how % 3 {
        0 => heap::allocate(size, domain) as usize,
        1 => {
            let at = heap::allocate_zeroed(size, domain);
            // SAFETY: just allocated with this size.
            assert!(at.is_null() || unsafe { core::slice::from_raw_parts(at, size) }.iter().all(|&b| b == 0), "not zeroed");
            at as usize
        }
        _ => heap::allocate_aligned(size, align, domain) as usize,
    });
    model.add(at, size, align, domain);
}

/// Plays the bytes. Panics, or the heap aborts, on the first disagreement.
pub fn play(bytes: &[u8]) {
    let mut workers: Vec<Option<Worker>> = (0..THREADS).map(|_| None).collect();
    let mut model = Model::default();
    for step in bytes.chunks_exact(STEP_BYTES) {
        let [what, who, a, b] = *step else { unreachable!() };
        let thread = usize::from(who) % THREADS;
        let choice = usize::from(who / 4) << 8 | usize::from(b);
        let domain = if who & 128 == 0 { Domain::Raw } else { Domain::Object };
        let worker = workers[thread].get_or_insert_with(Worker::new);
        match what % 16 {
            0..=4 => allocate(worker, &mut model, size_of(a, b), what / 16, domain),
            5 => (0..=b % 64).for_each(|_| allocate(worker, &mut model, size_of(a % 200, 0), 0, domain)),
            6..=10 => {
                if let Some(block) = model.take(choice) {
                    worker.run(move || heap::free(block.at as *mut u8));
                }
            }
            11 => {
                for i in 0..usize::from(b) {
                    if let Some(block) = model.take(choice + i) {
                        worker.run(move || heap::free(block.at as *mut u8));
                    }
                }
            }
            12 | 13 => {
                if let Some(block) = model.take(choice) {
                    let size = size_of(a, b).max(1).min(LIVE_BYTES_MAX - model.bytes);
                    let (id, _) = view::resolve(block.at).expect("a block resolves");
                    let domain = if view::span(id).expect("its span").objects { Domain::Object } else { Domain::Raw };
                    let at = call(worker, move || heap::reallocate(block.at as *mut u8, size, domain) as usize);
                    Block { at, ..block }.check(size);
                    model.add(at, size, 16, domain);
                }
            }
            14 => {
                if let Some(worker) = workers[thread].take() {
                    worker.end();
                }
            }
            _ => {
                idle::trim();
            }
        }
    }
    let last = Worker::new();
    while let Some(block) = model.take(0) {
        last.run(move || heap::free(block.at as *mut u8));
    }
    workers.into_iter().flatten().chain([last]).for_each(Worker::end);
}

//! The model with random bytes, for as many steps as wanted, without a fuzzer.
//!
//!     heap_random STEPS [SEED]    plays rounds of random bytes in child processes; a round that fails is made as short as it gets, and kept
//!     heap_random --play FILE...  plays what was kept

#[path = "model.rs"]
mod model;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio, exit};

use model::STEP_BYTES;

const STEPS_OF_ROUND: u64 = 20_000;
const ROUNDS_OF_CHILD: u64 = 25;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

/// Most rounds are of small blocks, where the heap does most; some of all sizes.
fn round(seed: u64) -> Vec<u8> {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let largest = [120, 170, 220, 250, 255][(random.next() >> 40) as usize % 5];
    let one = |r: u64| {
        let [what, who, a, b, ..] = (r >> 8).to_le_bytes();
        // A thread ends rarely, else no slab fills.
        let what = if what % 16 == 14 && b > 16 { 3 } else { what };
        [what, who, (u64::from(a) * largest / 255) as u8, b]
    };
    (0..STEPS_OF_ROUND).flat_map(|_| one(random.next())).collect()
}

/// Whether a child that plays these bytes ends well.
fn plays(bytes: &[u8], folder: &Path) -> bool {
    let file = folder.join(format!("candidate-{}", std::process::id()));
    std::fs::write(&file, bytes).expect("a file");
    let me = std::env::current_exe().expect("this program");
    let status = Command::new(me).arg("--play").arg(&file).stderr(Stdio::null()).status().expect("a child");
    let _ = std::fs::remove_file(file);
    status.success()
}

/// Leaves out halves, quarters, ... single steps, as long as it still fails.
fn shrink(mut bytes: Vec<u8>, folder: &Path) -> Vec<u8> {
    let mut piece = bytes.len() / STEP_BYTES / 2;
    while piece > 0 {
        let mut at = 0;
        while at < bytes.len() / STEP_BYTES {
            let end = (at + piece).min(bytes.len() / STEP_BYTES);
            let shorter = [&bytes[..at * STEP_BYTES], &bytes[end * STEP_BYTES..]].concat();
            if plays(&shorter, folder) { at = end } else { bytes = shorter }
        }
        piece /= 2;
    }
    bytes
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize| arguments.get(i).and_then(|a| a.parse::<u64>().ok());
    match arguments.first().map(String::as_str) {
        Some("--play") => {
            for file in &arguments[1..] {
                model::play(&std::fs::read(file).expect("the file"));
            }
        }
        Some("--rounds") => {
            let (first, count) = (number(1).expect("a number"), number(2).expect("a number"));
            for seed in first..first + count {
                println!("{seed}");
                model::play(&round(seed));
            }
        }
        _ => drive(number(0).unwrap_or(10_000_000), number(1).unwrap_or(1)),
    }
}

fn drive(steps: u64, first: u64) {
    let me = std::env::current_exe().expect("this program");
    let rounds = steps.div_ceil(STEPS_OF_ROUND);
    let mut at = 0;
    while at < rounds {
        let count = ROUNDS_OF_CHILD.min(rounds - at);
        let child =
            Command::new(&me).arg("--rounds").arg((first + at).to_string()).arg(count.to_string()).output().expect("a child");
        if !child.status.success() {
            let said = String::from_utf8_lossy(&child.stdout);
            let seed = said.lines().last().and_then(|l| l.parse().ok()).expect("the round's seed");
            let folder = PathBuf::from(std::env::var_os("REGRESSIONS").unwrap_or_else(|| ".".into()));
            eprintln!("round {seed} fails ({}):\n{}", child.status, String::from_utf8_lossy(&child.stderr));
            let bytes = shrink(round(seed), &folder);
            let kept = folder.join(format!("round-{seed}"));
            std::fs::write(&kept, &bytes).expect("a file");
            eprintln!("{} steps, kept in {}", bytes.len() / STEP_BYTES, kept.display());
            exit(1);
        }
        at += count;
    }
    println!("heap_random: {} steps in {rounds} rounds from seed {first}, all as the model says", rounds * STEPS_OF_ROUND);
}

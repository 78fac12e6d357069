# packages: rustc
# commands: rustc
# status: 10
# The compiler, many threads of code generation, and its product.
# rustup finds the compiler by its owner's home.
export HOME=$OWNERS_HOME
cat >main.rs <<'END'
use std::collections::{BTreeMap, HashMap};
fn main() {
    let t: Vec<_> = (0..8u64).map(|t| std::thread::spawn(move || (0..50_000u64).map(|i| (i * t, vec![i as u8; (i % 50) as usize])).collect::<HashMap<_, _>>().len())).collect();
    let sizes: Vec<_> = t.into_iter().map(|t| t.join().unwrap()).collect();
    let m: BTreeMap<String, usize> = (0..50_000).map(|i| (format!("{}", i * 7919 % 100_003), i)).collect();
    println!("{sizes:?} {}", m.values().sum::<usize>());
    std::process::exit(10);
}
END
rustc -O main.rs -o main && ./main

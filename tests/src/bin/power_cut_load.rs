//! One life of the program that `tests/tests/power_cut.rs` records: root, number, seed, opens, records.

use std::path::PathBuf;

use spillway_tests::powercut::work::{Life, live};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [root, numbers @ ..] = &arguments[..] else { panic!("root, number, seed, opens, records") };
    let numbers: Vec<u64> = numbers.iter().map(|text| text.parse().unwrap()).collect();
    let [number, seed, opens, records] = numbers[..] else { panic!("four numbers") };
    live(&PathBuf::from(root), Life { number, seed, opens, records });
}

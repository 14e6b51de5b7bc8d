//! Every input that fuzzing was left with, once more: nothing that must hold is broken by any of them.
#![allow(clippy::unwrap_used, reason = "a failure is the test's")]

#[path = "../fuzz/src/lib.rs"]
mod fuzz;

use std::fs;
use std::path::Path;

fn replay(target: &str, run: impl Fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut inputs: Vec<_> =
        fs::read_dir(&corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    inputs.sort();
    assert!(inputs.len() > 10, "{} has {} inputs", corpus.display(), inputs.len());
    for input in inputs {
        // A failure shows the last one.
        println!("{}", input.display());
        run(&fs::read(&input).unwrap());
    }
}

#[test]
fn queries() {
    replay("queries", fuzz::queries::run);
}

#[test]
fn master() {
    replay("master", fuzz::master::run);
}

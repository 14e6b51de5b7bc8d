//! Every input that fuzzing was left with, once more, and a few hundred that are nearly the same as each: nothing that must
//! hold is broken by any of them.
#![allow(clippy::unwrap_used, reason = "a failure is the test's")]

#[path = "../fuzz/src/lib.rs"]
mod fuzz;

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

/// How many inputs like each of the corpus are tried.
const NEIGHBOURS: usize = 300;

fn replay(target: &str, run: impl Fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut inputs: Vec<_> =
        fs::read_dir(&corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    inputs.sort();
    assert!(inputs.len() > 10, "{} has {} inputs", corpus.display(), inputs.len());
    for path in inputs {
        let input = fs::read(&path).unwrap();
        let tell = |input: &[u8]| {
            let _told = Told { path: &path, input };
            run(input);
        };
        tell(&input);
        let mut runner = TestRunner::deterministic();
        let changes = proptest::collection::vec((any::<Index>(), any::<u8>(), 0..4_u8), 1..5);
        for _ in 0..NEIGHBOURS {
            tell(&changed(&input, &changes.new_tree(&mut runner).unwrap().current()));
        }
    }
}

/// Shows the input that was too much.
struct Told<'a> {
    path: &'a Path,
    input: &'a [u8],
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("like {}: {}", self.path.display(), self.input.escape_ascii());
        }
    }
}

/// The input with octets replaced, put in, taken out, or cut off.
fn changed(input: &[u8], changes: &[(Index, u8, u8)]) -> Vec<u8> {
    let mut input = input.to_vec();
    for (place, octet, how) in changes {
        let Some(last) = input.len().checked_sub(1) else { break };
        let at = place.index(last + 1);
        match how {
            0 => input[at] = *octet,
            1 => input.insert(at, *octet),
            2 => drop(input.remove(at)),
            _ => input.truncate(at.max(last / 2)),
        }
    }
    input
}

#[test]
fn queries() {
    replay("queries", fuzz::queries::run);
}

#[test]
fn master() {
    replay("master", fuzz::master::run);
}

//! A bounded run of what is fuzzed: files, graphs and grids made of random bytes are taken or refused, and nothing else.
//!
//! `PROPTEST_CASES` is the number of inputs of each; the figures are printed with `--nocapture`.

#![cfg(all(feature = "optim", feature = "graph", feature = "poisson", feature = "weights"))]

#[path = "common/fuzz.rs"]
mod fuzz;

use std::cell::Cell;
use std::time::Instant;

use fuzz::{Counting, Outcome};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Calls `of` with as many inputs as the environment says, or `cases`.
fn fuzz(name: &str, cases: u32, longest: usize, of: fn(&[u8]) -> Outcome) {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(cases);
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Default::default() });
    let (start, accepted, most) = (Instant::now(), Cell::new(0u32), Cell::new(0.0f64));
    let result = runner.run(&prop::collection::vec(any::<u8>(), 0..longest), |bytes| {
        let found = of(&bytes);
        accepted.set(accepted.get() + u32::from(found.accepted));
        // what is shorter is less than what there is anyway
        if found.bytes >= 512 {
            most.set(most.get().max(found.peak as f64 / found.bytes as f64));
        }
        Ok(())
    });
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{name}: {cases} inputs in {seconds:.1} s, {} refused; of 512 bytes and more at most {:.1} times as many were allocated",
        cases - accepted.get(),
        most.get()
    );
    if let Err(error) = result {
        panic!("{name}: {error}");
    }
    // neither all nor none, so that something is tested
    assert!((1..cases).contains(&accepted.get()), "{name}: {} of {cases} are accepted", accepted.get());
}

#[test]
fn weights() {
    fuzz("weights", 4000, 64, fuzz::weights);
}

#[test]
fn coefficients() {
    fuzz("coefficients", 4000, 64, fuzz::coefficients);
}

#[test]
fn parameters() {
    fuzz("parameters", 4000, 64, fuzz::parameters);
}

#[test]
fn optimizer() {
    fuzz("optimizer", 4000, 64, fuzz::optimizer);
}

#[test]
fn graph() {
    fuzz("graph", 4000, 256, fuzz::graph);
}

#[test]
fn grid() {
    fuzz("grid", 200, 64, fuzz::grid);
}

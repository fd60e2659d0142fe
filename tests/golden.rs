//! Cases computed elsewhere in f64: every file of `tests/golden/`, and of the directory in
//! `GRADUS_GOLDEN_DIR` if that is set. A file that cannot be interpreted fails.

#![cfg(all(feature = "curvature", feature = "optim", feature = "poisson", feature = "weights"))]

mod common;
#[path = "common/curvature.rs"]
mod curvature;
#[path = "common/golden.rs"]
mod golden;
#[path = "common/problems.rs"]
mod problems;

use std::path::PathBuf;
use std::{env, fs};

use common::{gpu, gpu_for};
use golden::Case;
use gradus::Gpu;
use gradus::gpu::{Checks, Target};

fn cases(kind: &str) -> Vec<Case> {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let more = env::var_os("GRADUS_GOLDEN_DIR").map(PathBuf::from);
    let mut cases = Vec::new();
    for directory in [own].into_iter().chain(more) {
        let entries = fs::read_dir(&directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display()));
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        let read = |path: PathBuf| Case::new(path.display().to_string(), fs::read(&path).unwrap());
        cases.extend(paths.into_iter().map(read).filter(|case| case.kind() == kind));
    }
    assert!(!cases.is_empty(), "no cases of kind {kind}");
    cases
}

fn gpus() -> [Gpu; 2] {
    [gpu(Checks::Unchecked), gpu(Checks::Checked)]
}

#[test]
fn optimizer() {
    let [unchecked, checked] = gpus();
    let gpus = [unchecked, checked, gpu_for(Target::discrete())];
    cases("optimizer").iter().for_each(|case| golden::optimizer(case, &gpus));
}

#[test]
fn curvature() {
    for file in cases("curvature") {
        let (case, model) = golden::curvature(&file);
        // most of the time goes into making kernels
        std::thread::scope(|scope| {
            for gpu in gpus() {
                let (case, model, what) = (&case, &model, format!("{}: {:?}", file.name, gpu.checks()));
                scope.spawn(move || golden::curvature_on_device(&gpu, case, model, &what));
            }
        });
    }
}

#[test]
fn poisson() {
    cases("poisson").iter().for_each(|case| golden::poisson(case, &gpus()));
}

//! Every kernel on the adapter at hand against its CPU twin in `gradus::reference`, over sizes and
//! element types: for finding out whether a GPU and its driver compute what the crate means.
//!
//! ```text
//! cargo run --release --example selftest -- [--filter TEXT] [--checked] [--json]
//! ```
//!
//! The adapter is chosen by `WGPU_BACKEND` and `WGPU_ADAPTER_NAME`, else it is the one of highest
//! performance. `--filter` runs only the kernels whose name contains a text, `--checked` compiles the
//! shaders with wgpu's bounds checks, which tells a wild access from wrong arithmetic, and `--json`
//! prints an object a line instead of the table:
//!
//! ```text
//! {"bound":1.0,"dtype":"F16/F32","error":0.0213,"kernel":"optim/adamw","passed":true,"size":[6,27]}
//! ```
//!
//! An error that is not a number is `null`, and `message` says what went wrong if the kernel could not
//! be run. Of two element types the first is the parameter's and the second the gradient's; in casts
//! they are source and destination. Each size is run where whole cells of 16 bytes can be loaded, and
//! again at offsets where they cannot (some types and options of optimizers: only the former); the
//! greater error counts. Should a byte around a tensor have changed, its elements count as NaN.
//!
//! A case is named after the kernel that it is about, or after the method whose kernels run together, such as
//! `krylov/cg` for `cg_start`, `cg_update`, `cg_scalars`, `cg_direction` and `cg_signs`. Without `--filter`, a kernel that no case
//! has run is an entry that failed.
//!
//! The exit status is 0 if all entries passed, 1 if one failed, and 2 if nothing could be run.
//!
//! `RUST_LOG=gradus=trace` tells each pipeline and how long it took to compile.
//!
//! # Errors and bounds
//!
//! | kernels | the error | the bound |
//! |---|---|---|
//! | `copy`, `fill`, `cast`, `random_*`, `max_magnitude` | elements that are not the twin's, bit for bit; f32 denormals may be zero, NaN is NaN | 0 |
//! | `scale`, `axpy` | in units in the last place of the type, at the largest of product, `y` and result | 1: half a unit each for the product and the sum |
//! | `dot` | relative to Σ\|x_i y_i\| | γ = D u/(1 - D u), u = 2^-24, of the D roundings that a term passes through (Higham 2002, section 3.1) |
//! | `norm`, `global_norm` | relative | γ/2, and 4 u for the root |
//! | optimizer steps | in tolerances of 2^-22 \|p\| + 4e-6 of the largest change of any element in that step: a few roundings of the parameter, and what division, roots and exponentials of GPUs lose. Parameters of 16 bits: by how many tolerances the twin would have to move for the result to be its rounding, of the same random bits if stochastic | 1 |
//! | `bias_correction` | relative error of the step that it leads to, after t-1 steps of zero gradients | 2e-6 |
//! | `graph/pointwise NaN` | elements that are not NaN where the twin's are, or not infinite | 0 |
//! | `graph/*` | of the norm of the result, and of its gradient by each operand, relative | 1e-5 |
//! | `gemv`, `gemv_transposed`, `csr` | relative to \|alpha\| Σ\|a_ij x_j\| + \|beta y_i\|, of the worst row | γ, of the longest sum |
//! | `krylov/diagonal` | in units in the last place | 1; of a quotient 3, for division errs by 2.5 |
//! | `krylov/*` | of what the device and the twin have after the same iterations: coefficients by the largest, vectors by their norms. `orthogonality`: the largest of QQᵀ - I | 1e-5, of `orthogonality` 2e-6 |
//! | `curvature/probe` | elements that are not the twin's | 0 |
//! | `curvature/*` | of the estimate and its standard error from the same random vectors, by the norm of the matrix | 1e-5 |
//! | `poisson/*` | of the norm of the result, relative | 1e-6; of a multigrid cycle 5e-6, of a network 1e-5, with activations of 16 bits 1e-2 |
//! | `global_norm skip` | values that a skipped step should not have changed, or should have | 0 |
//!
//! An optimizer takes five steps. The twin takes each from the parameters that the device has, so that
//! an error counts once, in the step that makes it; the states are the twin's own. Where there is a
//! master copy, which only the device sees, the twin's parameters are its own too, and step t has t
//! tolerances. The gradients of AdamP and SGDP are made orthogonal to the rows of the parameter in
//! some steps, to the whole in some, and to neither in others, so that each branch is taken.

mod curvature;
mod graph;
mod krylov;
mod optim;
mod poisson;
mod values;
mod vector;

use std::io::Write;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use clap::Parser;
use gradus::gpu::{Checks, KERNELS};
use gradus::{Gpu, Result};
use serde_json::json;

/// Of random numbers, with both of its words used.
const SEED: u64 = 0x0123_4567_89ab_cdef;

#[derive(Parser)]
#[command(about = "Checks every kernel on this machine's GPU against plain f64 loops")]
struct Arguments {
    /// Run only the kernels whose name contains this.
    #[arg(long, default_value = "")]
    filter: String,
    /// Compile the shaders with bounds checks.
    #[arg(long)]
    checked: bool,
    /// A line of JSON for each entry instead of a table.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    env_logger::init();
    let arguments = Arguments::parse();
    let checks = if arguments.checked { Checks::Checked } else { Checks::Unchecked };
    let gpu = match pollster::block_on(Gpu::headless_with_options(checks)) {
        Ok(gpu) => gpu,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    let mut report = Report::new(gpu, arguments);
    vector::run(&mut report);
    optim::run(&mut report);
    graph::run(&mut report);
    krylov::run(&mut report);
    curvature::run(&mut report);
    poisson::run(&mut report);
    report.coverage();
    report.finish()
}

// --------------------------------------------------------------------------------------- report

/// A kernel at one size.
struct Entry {
    size: Vec<usize>,
    dtype: String,
    error: f64,
    bound: f64,
    /// Why it could not be run.
    message: Option<String>,
}

impl Entry {
    fn new(size: &[usize], dtype: impl ToString, error: f64, bound: f64) -> Self {
        Self { size: size.to_vec(), dtype: dtype.to_string(), error, bound, message: None }
    }

    fn not_run(message: String) -> Self {
        Self { message: Some(message), ..Self::new(&[], "", f64::NAN, 0.0) }
    }

    /// False for NaN.
    fn passed(&self) -> bool {
        self.error <= self.bound && self.message.is_none()
    }
}

struct Report {
    gpu: Gpu,
    arguments: Arguments,
    start: Instant,
    entries: usize,
    failures: Vec<String>,
    /// What wgpu reports by no other way; its own handler would end the program.
    uncaptured: Arc<Mutex<Vec<String>>>,
}

impl Report {
    fn new(gpu: Gpu, arguments: Arguments) -> Self {
        let uncaptured = Arc::new(Mutex::new(Vec::new()));
        let handler = uncaptured.clone();
        gpu.device().on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            handler.lock().unwrap_or_else(PoisonError::into_inner).push(error.to_string());
        }));
        let report = Self { gpu, arguments, start: Instant::now(), entries: 0, failures: Vec::new(), uncaptured };
        if !report.arguments.json {
            print(&format!("{:36} {:>12} {:>10} {:>10} {:>10}", "kernel", "size", "dtype", "error", "bound"));
        }
        report
    }

    /// Runs `case` if the kernel is asked for. What goes wrong is an entry that failed.
    fn case(&mut self, kernel: &str, case: impl FnOnce(&Gpu) -> Result<Vec<Entry>>) {
        if !kernel.contains(&self.arguments.filter) {
            return;
        }
        let mut entries = case(&self.gpu).unwrap_or_else(|error| vec![Entry::not_run(error.to_string())]);
        let messages = std::mem::take(&mut *self.uncaptured.lock().unwrap_or_else(PoisonError::into_inner));
        entries.extend(messages.into_iter().map(Entry::not_run));
        for entry in entries {
            self.add(kernel, &entry);
        }
    }

    fn add(&mut self, kernel: &str, entry: &Entry) {
        let Entry { size, dtype, error, bound, message } = entry;
        let verdict = if entry.passed() { "" } else { "  FAILED" };
        let size_text = format!("{size:?}").replace(' ', "");
        let mut line = format!("{kernel:36} {size_text:>12} {dtype:>10} {error:10.2e} {bound:10.2e}{verdict}");
        if let Some(message) = message {
            line.push_str(&format!(": {message}"));
        }
        if self.arguments.json {
            let passed = entry.passed();
            let mut object = json!({"kernel": kernel, "size": size, "dtype": dtype, "error": error, "bound": bound, "passed": passed});
            if let Some(message) = message {
                object["message"] = json!(message);
            }
            print(&object.to_string());
        } else {
            print(&line);
        }
        self.entries += 1;
        if !entry.passed() {
            self.failures.push(line);
        }
    }

    /// Every kernel that there is must have been run, unless only some were asked for: one that no case leads to
    /// has failed.
    fn coverage(&mut self) {
        if !self.arguments.filter.is_empty() {
            return;
        }
        let run = self.gpu.kernels();
        for kernel in KERNELS.iter().filter(|kernel| !run.contains(kernel)) {
            self.add(kernel, &Entry::not_run("no case runs this kernel".into()));
        }
    }

    fn finish(self) -> ExitCode {
        let info = self.gpu.device().adapter_info();
        let driver = [info.driver.as_str(), info.driver_info.as_str()].join(" ");
        let (entries, failed) = (self.entries, self.failures.len());
        let seconds = self.start.elapsed().as_secs_f64();
        let summary = format!("{} ({:?}, {}): {entries} entries, {failed} failed, {seconds:.1} s", info.name, info.backend, driver.trim());
        // objects alone on the standard output
        let show = if self.arguments.json { |line: &str| eprintln!("{line}") } else { print };
        if failed > 0 {
            show("\nfailed:");
            self.failures.iter().for_each(|line| show(line));
        }
        show(&format!("{}{summary}", if self.arguments.json { "" } else { "\n" }));
        match (entries, failed) {
            (0, _) => {
                eprintln!("error: no kernel's name contains `{}`", self.arguments.filter);
                ExitCode::from(2)
            }
            (_, 0) => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        }
    }
}

/// A line on the standard output. That nobody reads it is no reason to stop.
fn print(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

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
//! | `graph/product`, with each tile | as `graph/*`, in the form for GPUs on any adapter | 1e-5 |
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

#[path = "suite.rs"]
mod suite;

use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use gradus::Gpu;
use gradus::gpu::Checks;
use suite::{Output, Report};

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
    let start = Instant::now();
    let output = if arguments.json { Output::Json } else { Output::Table };
    let mut report = Report::new(gpu, &arguments.filter, output, print);
    report.run();
    // objects alone on the standard output
    let show = if arguments.json { |line: &str| eprintln!("{line}") } else { print };
    if !report.failures().is_empty() {
        show("\nfailed:");
        report.failures().iter().for_each(|line| show(line));
    }
    let blank = if arguments.json { "" } else { "\n" };
    show(&format!("{blank}{}, {:.1} s", report.summary(), start.elapsed().as_secs_f64()));
    match (report.entries(), report.failures().len()) {
        (0, _) => {
            eprintln!("error: no kernel's name contains `{}`", arguments.filter);
            ExitCode::from(2)
        }
        (_, 0) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// A line on the standard output. That nobody reads it is no reason to stop.
fn print(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

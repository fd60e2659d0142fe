//! How near each kernel comes to what the device can do: fused steps to the speed of memory, products to
//! the peak of multiply-adds, products with Hessians to the price of a gradient. All are ratios of times
//! measured in the same run, in turn, medians.
//!
//! ```text
//! cargo run --release --example roofline -- [--elements N] [--repeats K] [--filter NAME] [--json] [--bandwidth GB/s] [--flops TFLOP/s]
//! ```
//!
//! By timestamps where the device has them, else by the host's clock. What takes less than 2 ms is repeated in one pass until it
//! takes as long.
//!
//! - `copy_ratio`: a step's bytes per second over those of the fastest of three copies that move as many bytes: the crate's
//!   kernel, `copy_buffer_to_buffer`, and a plain kernel in which neighbours load neighbours. The rows `adamw/1000` and
//!   `adamp/1000` are 1,000 matrices of 1,000 to 20,000 elements in one arena, `/1000-buffers` those in buffers of their own;
//!   `flat_ratio` is their time over that of one flat tensor of as many elements, and one matrix of as many.
//! - `peak_ratio`: floating-point operations per second over those of fused multiply-adds in registers. A product
//!   `at` has its first operand transposed, `bt` the second.
//! - `of_sheet`: the share of what the adapter's data sheet says, if `--bandwidth` or `--flops` tells it.
//! - `gradient_ratio`: the time of a product over that of a gradient, forward and backward; `first_ratio` with what
//!   is prepared once; `memory_ratio` the same for memory. `plan`, `record` and `again` are what the host takes to plan, to record
//!   with all pipelines still to be made, and to record again.
//! - Rows of a Poisson solver, on 128³ and 1024² cells, have a `copy_ratio` as well, over all that they move: vectors,
//!   flags and partial sums.

#[path = "suite.rs"]
mod suite;

use std::error::Error;
use std::io::Write;

use clap::Parser;
use gradus::Gpu;

#[derive(Parser)]
#[command(about = "Measures kernels against what the device can do")]
struct Arguments {
    #[command(flatten)]
    options: suite::Options,
}

fn main() -> Result<(), Box<dyn Error>> {
    pollster::block_on(run(&Arguments::parse().options))
}

async fn run(options: &suite::Options) -> Result<(), Box<dyn Error>> {
    let gpu = Gpu::headless().await?;
    let info = gpu.adapter_info();
    if !options.json {
        print(&format!("{} ({:?}, {})", info.name, info.backend, info.driver_info));
    }
    suite::run(&gpu, options, &mut print).await?;
    Ok(())
}

/// A line on the standard output. That nobody reads it is no reason to stop.
fn print(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

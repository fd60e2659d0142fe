//! How near each kernel comes to what the device can do: fused steps to the speed of memory, products to
//! the peak of multiply-adds, products with Hessians to the price of a gradient. All are ratios of times
//! measured in the same run, in turn, medians.
//!
//! ```text
//! cargo run --release --example roofline -- [--elements N] [--repeats K] [--filter NAME] [--json]
//! ```
//!
//! By timestamps where the device has them, else by the host's clock.
//!
//! - `copy_ratio`: a step's bytes per second over a copy's. The rows `adamw/1000` and `adamp/1000` are 1,000
//!   matrices of 1,000 to 20,000 elements in one arena; `flat_ratio` is their time over that of one flat
//!   tensor of as many elements, and one matrix of as many.
//! - `peak_ratio`: floating-point operations per second over those of fused multiply-adds in registers.
//! - `gradient_ratio`: the time of a product over that of a gradient, forward and backward; `first_ratio` with what
//!   is prepared once; `memory_ratio` the same for memory.
//! - Rows of a Poisson solver, on 128³ and 1024² cells, have a `copy_ratio` as well, over all that they move: vectors,
//!   flags and partial sums.

mod derivatives;
mod poisson;
mod products;
mod steps;

use std::error::Error;
use std::time::Duration;

use clap::Parser;
use gradus::gpu::measure;
use gradus::{DType, Gpu, Recording, Tensor, vector};

#[derive(Parser)]
#[command(about = "Measures kernels against what the device can do")]
struct Arguments {
    /// Elements of the parameter of each step; rounded to a whole number of rows of 4,096.
    #[arg(long, default_value_t = 16 << 20)]
    elements: usize,
    /// Measurements of each kernel, in turn with what it is compared with.
    #[arg(long, default_value_t = 9)]
    repeats: usize,
    /// Measure only the kernels whose name contains this.
    #[arg(long, default_value = "")]
    filter: String,
    /// A line of JSON for each kernel instead of a table.
    #[arg(long)]
    json: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    pollster::block_on(run(&Arguments::parse()))
}

async fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let gpu = Gpu::headless().await?;
    let info = gpu.adapter_info();
    if !arguments.json {
        println!("{} ({:?}, {})", info.name, info.backend, info.driver_info);
    }
    steps::run(&gpu, arguments).await?;
    products::run(&gpu, arguments).await?;
    derivatives::run(&gpu, arguments).await?;
    poisson::run(&gpu, arguments).await?;
    Ok(())
}

/// Tensors of small numbers in one arena.
pub fn noise(gpu: &Gpu, shapes: &[&[usize]], seed: u64) -> Result<Vec<Tensor>, gradus::Error> {
    let tensors = Tensor::arena(gpu, shapes, DType::F32)?;
    let mut recording = Recording::new();
    for tensor in &tensors {
        vector::random_rademacher(gpu, &mut recording, seed, 0, tensor)?;
        vector::scale(gpu, &mut recording, 0.1, tensor)?;
    }
    gpu.submit([&recording]);
    Ok(tensors)
}

/// The median times of the recordings, measured one after the other, again and again. The first round
/// does not count.
pub async fn in_turn<const N: usize>(gpu: &Gpu, recordings: [&Recording; N], repeats: usize) -> Result<[Duration; N], gradus::Error> {
    let mut times = [const { Vec::new() }; N];
    for round in 0..=repeats.max(1) {
        for (times, recording) in times.iter_mut().zip(recordings) {
            let time = measure(gpu, recording).await?;
            if round > 0 {
                times.push(time);
            }
        }
    }
    Ok(times.map(|mut times| {
        times.sort_unstable();
        times[times.len() / 2]
    }))
}

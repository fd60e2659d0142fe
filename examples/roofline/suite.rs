//! All rows of the tables, for whoever has a device and can print: the program here, and `examples/report`.

mod derivatives;
mod poisson;
mod products;
mod steps;
mod timing;

use gradus::gpu::Processor;
use gradus::{DType, Gpu, Recording, Result, Tensor, vector};

#[derive(Clone, clap::Args)]
pub struct Options {
    /// Elements of the parameter of each step, rounded to a whole number of rows of 4,096. Without it as many as make the step of
    /// the fewest bytes move 1 GiB, or what fits; on a software driver 16 Mi.
    #[arg(long)]
    pub elements: Option<usize>,
    /// Measurements of each kernel, in turn with what it is compared with.
    #[arg(long, default_value_t = 9)]
    pub repeats: usize,
    /// Measure only the kernels whose name contains this.
    #[arg(long, default_value = "")]
    pub filter: String,
    /// A line of JSON for each kernel instead of a table.
    #[arg(long)]
    pub json: bool,
    /// What the data sheet says of the memory, in GB/s: shares of it are printed as well.
    #[arg(long, value_name = "GB/s")]
    pub bandwidth: Option<f64>,
    /// What the data sheet says of arithmetic in f32, in TFLOP/s.
    #[arg(long, value_name = "TFLOP/s")]
    pub flops: Option<f64>,
    /// Only what takes little time.
    #[arg(skip)]
    pub quick: bool,
}

/// Measures what the options ask for. Lines go to `print`.
pub async fn run(gpu: &Gpu, options: &Options, print: &mut dyn FnMut(&str)) -> Result<()> {
    let mut bench = Bench { gpu, options, print };
    steps::run(&mut bench).await?;
    products::run(&mut bench).await?;
    derivatives::run(&mut bench).await?;
    poisson::run(&mut bench).await
}

struct Bench<'a> {
    gpu: &'a Gpu,
    options: &'a Options,
    print: &'a mut dyn FnMut(&str),
}

impl Bench<'_> {
    fn chosen(&self, name: &str) -> bool {
        name.contains(&self.options.filter)
    }

    fn is_software(&self) -> bool {
        self.gpu.target().processor == Processor::Software
    }

    /// A line of a table, after the table's heading if it is the first.
    fn row(&mut self, heading: &mut Option<String>, row: &str) {
        if let Some(heading) = heading.take() {
            (self.print)("");
            (self.print)(&heading);
        }
        (self.print)(row);
    }
}

/// A share of what the data sheet says, as a column.
fn share(speed: f64, sheet: Option<f64>) -> String {
    sheet.map_or(String::new(), |sheet| format!(" {:9.3}", speed / sheet))
}

/// The heading of that column.
fn share_heading(sheet: Option<f64>) -> String {
    sheet.map_or(String::new(), |_| format!(" {:>9}", "of_sheet"))
}

/// Tensors of small numbers in one arena.
fn noise(gpu: &Gpu, shapes: &[&[usize]], seed: u64) -> Result<Vec<Tensor>> {
    let tensors = Tensor::arena(gpu, shapes, DType::F32)?;
    let mut recording = Recording::new();
    for tensor in &tensors {
        vector::random_rademacher(gpu, &mut recording, seed, 0, tensor)?;
        vector::scale(gpu, &mut recording, 0.1, tensor)?;
    }
    gpu.submit([&recording]);
    Ok(tensors)
}

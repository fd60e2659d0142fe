//! Which tiles of products are the fastest on a device, by measurement.

use std::collections::HashMap;
use std::time::Duration;

use super::build::{Graph, Id, Var};
use super::plan::{Plan, Stage};
use super::product::{FAMILY, Product, TILES};
use super::program::Program;
use crate::gpu::{Gpu, GpuOptions, Recording, Target, Tensor, Tuning, measure};
use crate::{DType, Result, vector};

/// Measurements of each of two candidates, in turn.
const PAIRS: usize = 7;

/// A candidate that took so much of the time of the one before is kept.
const GAIN: f64 = 0.95;

/// What a measurement should take at least: more of the same dispatch where it does not.
const LONG: Duration = Duration::from_millis(1);

/// Products of these rows, columns, depths and batches are what [`Gpu::tune`] measures.
const COMMON: [[usize; 4]; 9] = [
    [2048, 2048, 2048, 1],
    [1024, 1024, 1024, 1],
    [4096, 512, 512, 1],
    [512, 512, 4096, 1],
    [256, 256, 256, 1],
    [256, 64, 128, 1],
    [64, 64, 65_536, 1],
    [64, 64, 64, 64],
    [65_536, 8, 64, 1],
];

impl Plan {
    /// Measures the candidates of each kernel of the plan that has some, products and convolutions, on buffers of its own: as much
    /// memory as the program takes, with its leaves and outputs. What takes the most arithmetic comes first; it ends when all are
    /// measured, or when `budget` is spent (in a browser: by the device's time alone). A candidate replaces the one that would run
    /// if it takes 5 % less, and the difference is twice what measurements differ by.
    ///
    /// What runs if nobody measures, of the first row that holds; a part is what of the terms is added by one workgroup, and depends on
    /// the shape alone:
    ///
    /// | result | rows, columns and terms that a workgroup takes | invocations |
    /// |---|---|---|
    /// | 8 rows or columns, or fewer | 128 x 8 x 8 | 64 |
    /// | 512 such tiles and parts, on an integrated GPU 128 | 128 x 64 x 8 | 256 |
    /// | 256, 64 | 64 x 64 x 16 | 256 |
    /// | any | 32 x 32 x 16 | 64 |
    ///
    /// The choices hold for shapes of the same class, in any plan. They come on top of those of the target of `gpu`. On a software
    /// driver there are no candidates.
    ///
    /// ```
    /// # pollster::block_on(async {
    /// use gradus::gpu::{GpuOptions, Target};
    /// use gradus::graph::{Graph, Plan, Stage};
    /// let gpu = gradus::Gpu::headless().await?;
    /// let mut graph = Graph::new();
    /// let (a, b) = (graph.input("a", &[64, 32])?, graph.input("b", &[32, 64])?);
    /// let product = graph.matmul(a, b)?;
    /// let plan = Plan::new(&gpu, &graph, &[Stage::new(&[product])])?;
    /// let text = plan.tune(&gpu, std::time::Duration::from_secs(2)).await?.to_string();
    /// // in the next run
    /// let target = Target::of(gpu.device()).with_tuning(text.parse()?);
    /// let gpu = gradus::Gpu::with_options(gpu.device(), gpu.queue(), GpuOptions { target: Some(target), ..Default::default() })?;
    /// # Ok::<(), gradus::Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`], [`crate::Error::LimitTooSmall`], [`crate::Error::DeviceLost`]; in a browser
    /// [`crate::Error::MissingFeatures`] without timestamps.
    pub async fn tune(&self, gpu: &Gpu, budget: Duration) -> Result<Tuning> {
        let mut tuning = Tuning::of(gpu.adapter_info());
        tuning.merge(gpu.target().tuning.clone())?;
        let mut budget = Budget::new(budget);
        let work = self.products(gpu.target());
        if work.is_empty() {
            return Ok(tuning);
        }
        let program = self.private(gpu)?;
        for (class, (kernel, product)) in work {
            let record = |tile: usize| -> Result<Recording> {
                let mut own = tuning.clone();
                own.choose(&FAMILY, &class, tile);
                let target = Some(gpu.target().clone().with_tuning(own));
                let gpu = Gpu::with_options(gpu.device(), gpu.queue(), GpuOptions { target, ..gpu.options().clone() })?;
                let mut recording = Recording::new();
                program.on(&gpu).record_kernel(&mut recording, kernel)?;
                Ok(recording)
            };
            let mut best = product.shape.tile(gpu.target());
            let challengers: Vec<usize> = (0..TILES.len()).filter(|&tile| tile != best && product.shape.may_take(tile)).collect();
            // pipelines are compiled for it: once a candidate, and not when no time is left
            let mut of_best = None;
            for challenger in challengers {
                if budget.is_spent() {
                    break;
                }
                let before = of_best.take().map_or_else(|| record(best), Ok)?;
                let after = record(challenger)?;
                let wins = in_turn(gpu, &mut budget, [&before, &after]).await?;
                best = if wins { challenger } else { best };
                of_best = Some(if wins { after } else { before });
            }
            tuning.choose(&FAMILY, &class, best);
        }
        Ok(tuning)
    }

    /// The kernels that have candidates, the one with the most arithmetic of each class.
    fn products(&self, target: &Target) -> Vec<(String, (usize, Product))> {
        let mut largest: HashMap<String, (usize, Product)> = HashMap::new();
        for (k, kernel) in self.kernels.iter().enumerate() {
            let Some(product) = self.product(kernel, target, self.stores_pairs(kernel)) else { continue };
            let known = largest.get(&product.shape.class());
            if known.is_none_or(|(_, known)| known.shape.multiplications() < product.shape.multiplications()) {
                largest.insert(product.shape.class(), (k, product));
            }
        }
        let mut all: Vec<_> = largest.into_iter().collect();
        all.sort_by(|(a, x), (b, y)| y.1.shape.multiplications().cmp(&x.1.shape.multiplications()).then(a.cmp(b)));
        all
    }

    /// A program with leaves of random numbers, and outputs, of its own.
    fn private(&self, gpu: &Gpu) -> Result<Program> {
        let mut recording = Recording::new();
        let mut tensors: Vec<(Id, Tensor)> = Vec::new();
        for (i, &id) in self.leaves.iter().enumerate() {
            // numbers of rows and classes are 0
            let dtype = if self.graph.is_integer(id) { DType::U32 } else { DType::F32 };
            let tensor = Tensor::zeros(gpu, self.graph.dims(id), dtype)?;
            if dtype == DType::F32 && !tensor.is_empty() {
                vector::random_uniform(gpu, &mut recording, 0, i as u32, &tensor)?;
            }
            tensors.push((id, tensor));
        }
        gpu.execute([&recording])?;
        for output in self.outputs.iter().filter(|output| output.late) {
            tensors.push((output.id, Tensor::zeros(gpu, self.graph.dims(output.id), DType::F32)?));
        }
        let vars: Vec<(Var, &Tensor)> = tensors.iter().map(|(id, tensor)| (self.graph.var(*id), tensor)).collect();
        self.compile(gpu, &vars)
    }
}

impl Gpu {
    /// [`Plan::tune`] for products of common shapes, of at most 2,048 rows, columns and terms in all: for programs that want a choice
    /// before they know their own.
    ///
    /// # Errors
    /// As [`Plan::tune`].
    pub async fn tune(&self, budget: Duration) -> Result<Tuning> {
        let mut graph = Graph::new();
        let mut outputs = Vec::new();
        for (i, [rows, columns, depth, batches]) in COMMON.into_iter().enumerate() {
            let a = graph.input(&format!("a{i}"), &[batches, rows, depth])?;
            let b = graph.input(&format!("b{i}"), &[batches, depth, columns])?;
            outputs.push(graph.matmul(a, b)?);
        }
        Plan::new(self, &graph, &[Stage::new(&outputs)])?.tune(self, budget).await
    }
}

/// Whether the second of two recordings is faster by enough.
async fn in_turn(gpu: &Gpu, budget: &mut Budget, recordings: [&Recording; 2]) -> Result<bool> {
    let mut first = Duration::MAX;
    for recording in [recordings[0], recordings[1], recordings[0]] {
        let took = measure(gpu, recording).await?;
        budget.add(took);
        first = took;
    }
    let times = (LONG.as_secs_f64() / first.as_secs_f64().max(1e-7)).ceil().clamp(1.0, 64.0) as usize;
    let recordings = recordings.map(|once| {
        let mut repeated = once.clone();
        (1..times).for_each(|_| repeated.extend(once.clone()));
        repeated
    });
    let mut seconds = [Vec::new(), Vec::new()];
    for pair in 0..PAIRS {
        for which in if pair % 2 == 0 { [0, 1] } else { [1, 0] } {
            let took = measure(gpu, &recordings[which]).await?;
            budget.add(took);
            seconds[which].push(took.as_secs_f64());
        }
        // a candidate that is far behind, or a budget that is spent, needs no more
        if budget.is_spent() || (pair == 2 && median(&seconds[1]) > 1.5 * median(&seconds[0])) {
            return Ok(false);
        }
    }
    let [before, after] = [median(&seconds[0]), median(&seconds[1])];
    let spread = deviation(&seconds[0]).max(deviation(&seconds[1]));
    Ok(after < GAIN * before && before - after > 2.0 * spread)
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// The median of what values differ from their median by.
fn deviation(values: &[f64]) -> f64 {
    let middle = median(values);
    median(&values.iter().map(|value| (value - middle).abs()).collect::<Vec<_>>())
}

/// What measurements may take: by the clock, and in a browser, whose clock is not the standard library's, by the device's time.
struct Budget {
    #[cfg(not(target_arch = "wasm32"))]
    start: std::time::Instant,
    measured: Duration,
    whole: Duration,
}

impl Budget {
    fn new(whole: Duration) -> Self {
        Self {
            #[cfg(not(target_arch = "wasm32"))]
            start: std::time::Instant::now(),
            measured: Duration::ZERO,
            whole,
        }
    }

    fn add(&mut self, took: Duration) {
        self.measured += took;
    }

    fn is_spent(&self) -> bool {
        #[cfg(not(target_arch = "wasm32"))]
        if self.start.elapsed() >= self.whole {
            return true;
        }
        self.measured >= self.whole
    }
}

//! All cases and what is reported of them, for whoever has a device and can print: the program here, and the page of
//! `tests/browser`.

mod curvature;
mod graph;
mod krylov;
mod optim;
mod poisson;
mod values;
mod vector;

use std::sync::{Arc, Mutex, PoisonError};

use gradus::gpu::{GpuOptions, KERNELS, Processor, Target};
use gradus::{Gpu, Result};
use serde_json::json;

/// Of random numbers, with both of its words used.
const SEED: u64 = 0x0123_4567_89ab_cdef;

/// What is printed of an entry.
#[derive(Clone, Copy, PartialEq)]
pub enum Output {
    /// A row of a table.
    Table,
    /// A JSON object.
    #[allow(dead_code, reason = "the page prints tables")]
    Json,
}

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

pub struct Report {
    gpu: Gpu,
    filter: String,
    output: Output,
    /// The same device with the kernels of a GPU.
    shaped: Gpu,
    print: fn(&str),
    entries: usize,
    failures: Vec<String>,
    /// Kernels that have run in another shape than the adapter's.
    others: Vec<&'static str>,
    /// What wgpu reports by no other way; its own handler would end the program.
    uncaptured: Arc<Mutex<Vec<String>>>,
}

impl Report {
    /// Only cases whose name contains `filter` will run.
    pub fn new(gpu: Gpu, filter: &str, output: Output, print: fn(&str)) -> Self {
        let uncaptured = Arc::new(Mutex::new(Vec::new()));
        let handler = uncaptured.clone();
        gpu.device().on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            handler.lock().unwrap_or_else(PoisonError::into_inner).push(error.to_string());
        }));
        if output == Output::Table {
            print(&format!("{:36} {:>12} {:>10} {:>10} {:>10}", "kernel", "size", "dtype", "error", "bound"));
        }
        let options = GpuOptions { checks: gpu.checks(), target: Some(Target::discrete()), ..Default::default() };
        let shaped = Gpu::with_options(gpu.device(), gpu.queue(), options).unwrap_or_else(|_| gpu.clone());
        Self { gpu, shaped, filter: filter.to_owned(), output, print, entries: 0, failures: Vec::new(), others: Vec::new(), uncaptured }
    }

    /// Runs all cases.
    pub fn run(&mut self) {
        vector::run(self);
        optim::run(self);
        graph::run(self);
        krylov::run(self);
        curvature::run(self);
        poisson::run(self);
        self.coverage();
    }

    /// How many entries there are.
    pub fn entries(&self) -> usize {
        self.entries
    }

    /// The lines of those that failed.
    pub fn failures(&self) -> &[String] {
        &self.failures
    }

    /// The adapter and the counts.
    pub fn summary(&self) -> String {
        let info = self.gpu.adapter_info();
        let driver = [info.driver.as_str(), info.driver_info.as_str()].join(" ");
        let (entries, failed) = (self.entries, self.failures.len());
        format!("{} ({:?}, {}): {entries} entries, {failed} failed", info.name, info.backend, driver.trim())
    }

    /// Runs `case` if the kernel is asked for. What goes wrong is an entry that failed.
    fn case(&mut self, kernel: &str, case: impl FnOnce(&Gpu) -> Result<Vec<Entry>>) {
        if !kernel.contains(&self.filter) {
            return;
        }
        let entries = case(&self.gpu).unwrap_or_else(|error| vec![Entry::not_run(error.to_string())]);
        for entry in entries {
            self.add(kernel, &entry);
        }
        self.uncaptured(kernel);
    }

    /// [`Report::case`] with the kernels that a GPU would run, whatever the adapter is.
    fn case_of_gpu(&mut self, kernel: &str, case: impl FnOnce(&Gpu) -> Result<Vec<Entry>>) {
        let shaped = self.shaped.clone();
        self.case(kernel, |_| case(&shaped));
    }

    /// Entries that failed, of errors that came by the device's handler: in a browser some time after the call that made them.
    pub fn uncaptured(&mut self, kernel: &str) {
        let messages = std::mem::take(&mut *self.uncaptured.lock().unwrap_or_else(PoisonError::into_inner));
        for message in messages {
            self.add(kernel, &Entry::not_run(message));
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
        if self.output == Output::Json {
            let passed = entry.passed();
            let mut object = json!({"kernel": kernel, "size": size, "dtype": dtype, "error": error, "bound": bound, "passed": passed});
            if let Some(message) = message {
                object["message"] = json!(message);
            }
            (self.print)(&object.to_string());
        } else {
            (self.print)(&line);
        }
        self.entries += 1;
        if !entry.passed() {
            self.failures.push(line);
        }
    }

    /// Every kernel that there is must have been run, unless only some were asked for: one that no case leads to
    /// has failed.
    fn coverage(&mut self) {
        if !self.filter.is_empty() {
            return;
        }
        let run = [self.gpu.kernels(), self.shaped.kernels(), self.others.clone()].concat();
        let software = self.gpu.target().processor == Processor::Software;
        let wanted = KERNELS.iter().filter(|kernel| software || !graph::SOFTWARE.contains(kernel));
        for kernel in wanted.filter(|kernel| !run.contains(kernel)) {
            self.add(kernel, &Entry::not_run("no case runs this kernel".into()));
        }
    }
}

//! What runs in the page: golden cases and selftest, on the browser's WebGPU.
//!
//! They are the sources of the programs elsewhere, which wait by `pollster::block_on`. Here that suspends the WebAssembly until
//! the browser's event loop wakes it (JavaScript Promise Integration).

#![cfg(target_arch = "wasm32")]

// what the sources below mean by `pollster`
extern crate self as pollster;

#[path = "../../common/mod.rs"]
mod common;
#[path = "../../common/curvature.rs"]
mod curvature;
#[path = "../../common/golden.rs"]
mod golden;
#[path = "../../../examples/selftest/suite.rs"]
mod suite;

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use gradus::Gpu;
use suite::{Output, Report};

#[link(wasm_import_module = "./browser.js")]
unsafe extern "C" {
    #[link_name = "print"]
    fn js_print(text: *const u8, bytes: usize);
    #[link_name = "filter"]
    fn js_filter(text: *mut u8, capacity: usize) -> usize;
    #[link_name = "suspend"]
    fn js_suspend();
    #[link_name = "wake"]
    fn js_wake();
}

/// What `pollster::block_on` is here.
pub fn block_on<F: Future>(future: F) -> F::Output {
    struct Resume;
    impl Wake for Resume {
        fn wake(self: Arc<Self>) {
            // SAFETY: it takes and returns nothing
            unsafe { js_wake() }
        }
    }
    let waker = Waker::from(Arc::new(Resume));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            // SAFETY: it takes and returns nothing; all frames up to `run` are WebAssembly's, which can be suspended
            Poll::Pending => unsafe { js_suspend() },
        }
    }
}

fn print(line: &str) {
    // SAFETY: the text outlives the call
    unsafe { js_print(line.as_ptr(), line.len()) }
}

fn filter() -> String {
    let mut text = vec![0; 256];
    // SAFETY: no more than its length is written
    let bytes = unsafe { js_filter(text.as_mut_ptr(), text.len()) };
    String::from_utf8_lossy(&text[..bytes]).into_owned()
}

/// A case of `tests/golden/`.
macro_rules! case {
    ($name:literal) => {
        golden::Case::new($name.to_owned(), include_bytes!(concat!("../../golden/", $name, ".safetensors")).to_vec())
    };
}

/// Runs everything, prints it, and returns 0 if nothing failed.
#[unsafe(no_mangle)]
pub extern "C" fn run() -> u32 {
    std::panic::set_hook(Box::new(|panic| print(&panic.to_string())));
    let gpu = match block_on(Gpu::headless()) {
        Ok(gpu) => gpu,
        Err(error) => {
            print(&error.to_string());
            return 1;
        }
    };
    let filter = filter();
    let mut report = Report::new(gpu.clone(), &filter, Output::Table, print);
    let cases = [case!("optimizer-adamw-0"), case!("curvature-mlp-tanh-mse"), case!("poisson-box-2d")];
    let is_wanted = |case: &golden::Case| format!("golden/{}", case.name).contains(&filter);
    for case in cases.iter().filter(|case| is_wanted(case)) {
        match case.kind() {
            "optimizer" => golden::optimizer(case, std::slice::from_ref(&gpu)),
            "curvature" => {
                let (values, model) = golden::curvature(case);
                golden::curvature_on_device(&gpu, &values, &model, &case.name);
            }
            _ => golden::poisson(case, std::slice::from_ref(&gpu)),
        }
        report.uncaptured(&case.name);
        print(&format!("golden/{} as computed elsewhere", case.name));
    }
    report.run();
    // an error that the browser had still to tell comes before the result of what was submitted after it
    let last = gradus::Tensor::zeros(&gpu, &[1], gradus::DType::F32);
    if let Err(error) = last.and_then(|last| block_on(last.read::<f32>(&gpu))) {
        print(&error.to_string());
        return 1;
    }
    report.uncaptured("late");
    if !report.failures().is_empty() {
        print("\nfailed:");
        report.failures().iter().for_each(|line| print(line));
    }
    print(&format!("\n{}", report.summary()));
    u32::from(!report.failures().is_empty() || (report.entries() == 0 && cases.iter().all(|case| !is_wanted(case))))
}

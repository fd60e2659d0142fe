//! Runs a template with its stand-in for the generated part.

use std::sync::OnceLock;

use super::template::Template;
use crate::gpu::{Bind, Checks, Gpu, GpuOptions, Recording, Tensor};
use crate::reference::random;

/// What lies around operands and results: a NaN as f32, and no row or place as u32.
pub const GARBAGE: u32 = 0xffd5_a5a5;

/// The device, with checked or unchecked shaders and WebGPU's default limits.
pub fn gpu(checks: Checks) -> &'static Gpu {
    static GPUS: OnceLock<[Gpu; 2]> = OnceLock::new();
    let make = || {
        let (device, queue) = pollster::block_on(async {
            let adapter = crate::gpu::headless_adapter().await.expect("an adapter; see with-vulkan");
            adapter.request_device(&wgpu::DeviceDescriptor::default()).await.expect("a device")
        });
        let with = |checks| Gpu::with_options(&device, &queue, GpuOptions { checks, ..Default::default() });
        [Checks::Unchecked, Checks::Checked].map(|checks| with(checks).expect("default limits suffice"))
    };
    &GPUS.get_or_init(make)[usize::from(checks == Checks::Checked)]
}

/// An operand: its words begin at `offset` of a binding.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    pub name: &'static str,
    pub words: &'a [u32],
    pub offset: usize,
}

pub fn words(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

/// Numbers between -1 and 1.
pub fn noise(length: usize) -> Vec<f32> {
    random::uniform(7, length as u32, length).iter().map(|x| 2.0 * x - 1.0).collect()
}

/// The words that a template stores, `elements` for each part. What is around them has not changed.
pub fn run(gpu: &Gpu, template: &Template, inputs: &[Input], elements: usize) -> Vec<u32> {
    let kernel = gpu.kernel(template.source, &template.defines, &template.overrides).expect("a kernel");
    let result = if kernel.bindings().iter().any(|binding| binding.name == "out") { "out" } else { "stand_in" };
    let stored = elements * template.parts as usize;
    let tensor = |words: &[u32]| Tensor::from_slice(gpu, &[words.len()], words).expect("a tensor");
    let around = |input: &Input| {
        let end = (input.offset + input.words.len() + 5).next_multiple_of(4);
        let mut all = vec![GARBAGE; end];
        all[input.offset..input.offset + input.words.len()].copy_from_slice(input.words);
        tensor(&all)
    };
    let operands: Vec<Tensor> = inputs.iter().map(around).collect();
    let output = tensor(&vec![GARBAGE; stored + 9]);
    let [constants] = gpu.uniforms([&template.uniform]).expect("a block");
    let mut bindings = vec![Bind::uniform("constants", &constants), Bind::whole(result, output.buffer())];
    bindings.extend(inputs.iter().zip(&operands).map(|(input, operand)| Bind::whole(input.name, operand.buffer())));
    let mut recording = Recording::new();
    recording.dispatch(gpu, &kernel, template.work, &bindings).expect("a dispatch");
    gpu.submit([&recording]);
    let mut all = pollster::block_on(output.read::<u32>(gpu)).expect("a result");
    assert!(all.split_off(stored).iter().all(|&word| word == GARBAGE), "{template:?} stores past its end");
    all
}

/// The sums of the parts.
pub fn summed(found: &[u32], elements: usize) -> Vec<f64> {
    let mut sums = vec![0.0; elements];
    for part in found.chunks(elements) {
        for (sum, &bits) in sums.iter_mut().zip(part) {
            *sum += f64::from(f32::from_bits(bits));
        }
    }
    sums
}

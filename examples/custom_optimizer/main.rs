//! A program's own optimizer: AdamW written anew in twenty lines, beside the crate's.
//!
//! ```text
//! cargo run --release --example custom_optimizer
//! ```
//!
//! Both minimise the same function from the same start, and reach the same bits. What the program writes is the formula; parameter
//! groups, clipping, loss scaling, 16-bit types, state dictionaries and one dispatch for all tensors come with it.

use gradus::optim::{AdamW, Algorithm, Optimizer, Options, Param, Update};
use gradus::{DType, Gpu, Result, Tensor};

/// AdamW (Loshchilov & Hutter 2019).
struct MyAdamW {
    lr: f64,
    betas: [f64; 2],
    eps: f64,
    weight_decay: f64,
}

impl Algorithm for MyAdamW {
    fn update(&self) -> Result<Update> {
        let [beta1, beta2] = self.betas;
        let update = "
            fn update(k: Step, p: ptr<function, vec4<f32>>, g: vec4<f32>, m: ptr<function, vec4<f32>>, v: ptr<function, vec4<f32>>) {
                *m = k.beta1 * *m + k.one_minus_beta1 * g;
                *v = k.beta2 * *v + k.one_minus_beta2 * g * g;
                *p -= k.step_size * *m / (sqrt(*v) * k.root_scale + vec4(k.eps));
            }";
        // once a step and tensor
        let prepare = "
            fn prepare(g: Group, k: ptr<function, Step>) {
                (*k).step_size = (*k).lr / correction(g.exact_beta1, (*k).step);
                (*k).root_scale = 1.0 / sqrt(correction(g.exact_beta2, (*k).step));
            }";
        let moments = Update::new("my_adamw", update, self.lr).prepare(prepare).state("m").state("v");
        let constants = moments.constant("beta1", beta1).constant("one_minus_beta1", 1.0 - beta1).exact("exact_beta1", beta1);
        let constants = constants.constant("beta2", beta2).constant("one_minus_beta2", 1.0 - beta2).exact("exact_beta2", beta2);
        let prepared = constants.constant("eps", self.eps).prepared("step_size").prepared("root_scale");
        Ok(prepared.decoupled_decay(self.weight_decay))
    }
}

const SHAPES: [&[usize]; 3] = [&[64, 27], &[64], &[10, 1000]];
const STEPS: usize = 20;

/// The parameters after so many steps on ½‖p‖², whose gradient is p.
async fn minimise(gpu: &Gpu, algorithm: &dyn Algorithm) -> Result<Vec<Vec<f32>>> {
    let params = Tensor::arena(gpu, &SHAPES, DType::F32)?;
    let grads = Tensor::arena(gpu, &SHAPES, DType::F32)?;
    for param in &params {
        let start: Vec<f32> = (0..param.len()).map(|i| (i as f32 * 0.7).sin()).collect();
        param.write(gpu, &start)?;
    }
    let names = ["convolution.weight", "convolution.bias", "linear.weight"];
    let list: Vec<Param> = names.iter().zip(params.iter().zip(&grads)).map(|(name, (param, grad))| Param::new(name, param, grad)).collect();
    let optimizer = Optimizer::with_options(gpu, algorithm, &list, Options { max_norm: Some(10.0), ..Default::default() })?;
    let mut recording = gradus::Recording::new();
    for (param, grad) in params.iter().zip(&grads) {
        gradus::vector::copy(gpu, &mut recording, param, grad)?;
    }
    for _ in 0..STEPS {
        let mut encoder = gpu.device().create_command_encoder(&Default::default());
        recording.encode(&mut encoder);
        optimizer.step(&mut encoder);
        gpu.queue().submit([encoder.finish()]);
    }
    println!("{optimizer:?}");
    let mut found = Vec::new();
    for param in &params {
        found.push(param.read(gpu).await?);
    }
    Ok(found)
}

async fn compare() -> Result<()> {
    let gpu = Gpu::headless().await?;
    let (lr, betas, eps, weight_decay) = (0.01, [0.9, 0.999], 1e-8, 0.1);
    let own = minimise(&gpu, &MyAdamW { lr, betas, eps, weight_decay }).await?;
    let built_in = minimise(&gpu, &AdamW { lr, betas, eps, weight_decay, ..Default::default() }).await?;
    let bits = |all: &[Vec<f32>]| all.iter().flatten().map(|x| x.to_bits()).collect::<Vec<_>>();
    let different = bits(&own).iter().zip(bits(&built_in)).filter(|(a, b)| **a != *b).count();
    println!("{different} of {} elements differ after {STEPS} steps", bits(&own).len());
    assert_eq!(different, 0, "the two do not reach the same bits");
    Ok(())
}

fn main() {
    if let Err(error) = pollster::block_on(compare()) {
        eprintln!("custom_optimizer: {error}");
        std::process::exit(1);
    }
}

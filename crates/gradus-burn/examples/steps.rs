//! How long a step takes over a module of many tensors: Burn's own AdamW and AdamP in Burn's tensor operations, against gradus'.
//!
//! `cargo run --release -p gradus-burn --example steps [--features fusion] -- [TENSORS] [ELEMENTS]`: by default 1,000 tensors of
//! 1,024 elements. Prints the least of five times, each of a step up to its end on the device, and whether both agree.

use std::time::Instant;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Distribution, Tensor};
use burn_core as burn;
use burn_optim::{AdamWConfig, GradientsParams};
use gradus::optim::{AdamP, AdamW};
use gradus_burn::GradusOptimizer;

#[path = "common/adamp.rs"]
mod adamp;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

const WARM_UP: usize = 2;
const REPEATS: usize = 5;

#[derive(Module, Debug)]
struct Matrices {
    all: Vec<Param<Tensor<2>>>,
}

impl Matrices {
    fn new(tensors: usize, elements: usize, device: &Device) -> Self {
        device.seed(1);
        let rows = (1..=elements).take_while(|rows| rows * rows <= elements).filter(|rows| elements.is_multiple_of(*rows)).last();
        let shape = [rows.unwrap_or(1), elements / rows.unwrap_or(1)];
        Self { all: (0..tensors).map(|_| Param::from_tensor(Tensor::random(shape, Distribution::Normal(0.0, 1.0), device))).collect() }
    }

    fn gradients(&self) -> GradientsParams {
        let mut gradients = GradientsParams::new();
        for param in &self.all {
            let p = param.val().inner();
            gradients.register(param.id, p.clone().square().sub_scalar(0.5) * p);
        }
        gradients
    }
}

fn main() -> Result {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<usize>());
    let tensors = arguments.next().transpose()?.unwrap_or(1000);
    let elements = arguments.next().transpose()?.unwrap_or(1024);
    let (device, setup) = Device::wgpu_options().init_with_setup()?;
    gradus_burn::register(&device, &setup)?;
    let device = device.autodiff();
    let fusion = if cfg!(feature = "fusion") { "with" } else { "without" };
    println!("{}: {tensors} tensors of {elements} elements, {fusion} fusion", setup.adapter.get_info().name);

    let adamw = AdamW { eps: 1e-8, ..Default::default() };
    let model = || Matrices::new(tensors, elements, &device);
    let mut burns = AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(1e-2).init();
    let theirs = measure(&device, model(), |model, gradients| Ok(burns.step(1e-3, model, gradients)))?;
    let first = model();
    let mut optimizer = GradusOptimizer::adamw(adamw).init(&first)?;
    let ours = measure(&device, first, |model, gradients| Ok(optimizer.step(1e-3, model, gradients)?))?;
    report("AdamW", &theirs, &ours, optimizer.dispatches());

    let options = AdamP { weight_decay: 1e-2, ..Default::default() };
    let mut written = adamp::TensorAdamP::new(options);
    let theirs = measure(&device, model(), |model, gradients| Ok(written.step(1e-3, model, gradients)))?;
    let first = model();
    let mut optimizer = GradusOptimizer::adamp(options).init(&first)?;
    let ours = measure(&device, first, |model, gradients| Ok(optimizer.step(1e-3, model, gradients)?))?;
    report("AdamP", &theirs, &ours, optimizer.dispatches());
    Ok(())
}

/// The least time of a step in milliseconds, and the values after all of them.
fn measure(
    device: &Device,
    mut model: Matrices,
    mut step: impl FnMut(Matrices, GradientsParams) -> Result<Matrices>,
) -> Result<(f64, Vec<f32>)> {
    let mut least = f64::INFINITY;
    for repeat in 0..WARM_UP + REPEATS {
        let gradients = model.gradients();
        device.sync()?;
        let begun = Instant::now();
        model = step(model, gradients)?;
        device.sync()?;
        if repeat >= WARM_UP {
            least = least.min(begun.elapsed().as_secs_f64() * 1e3);
        }
    }
    struct Values(Vec<f32>);
    impl ModuleVisitor for Values {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.extend(param.val().inner().into_data().iter::<f32>());
        }
    }
    let mut values = Values(Vec::new());
    model.visit(&mut values);
    Ok((least, values.0))
}

fn report(name: &str, (theirs, expected): &(f64, Vec<f32>), (ours, found): &(f64, Vec<f32>), dispatches: usize) {
    let differences = expected.iter().zip(found).map(|(a, b)| (a - b).abs() / a.abs().max(1.0));
    let difference = differences.fold(0f32, f32::max);
    println!(
        "{name}: Burn {theirs:.2} ms, gradus {ours:.2} ms in {dispatches} dispatches: {:.1} times as fast; largest difference {difference:.1e}",
        theirs / ours
    );
}

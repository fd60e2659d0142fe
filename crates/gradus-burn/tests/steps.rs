//! Steps of modules: Burn's own optimizers, the reference in f64, and what else sees a parameter's memory.

use std::sync::OnceLock;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor, TensorData};
use burn_core as burn;
use burn_optim::{AdamWConfig, GradientsParams};
use gradus::optim::{AdamP, AdamW, Options};
use gradus::reference::optim::{self as reference, Step};
use gradus::reference::random::normal;
use gradus_burn::{Error, GradusOptimizer};

/// Parameters of one to four axes.
#[derive(Module, Debug)]
struct Many {
    one: Vec<Param<Tensor<1>>>,
    two: Vec<Param<Tensor<2>>>,
    three: Vec<Param<Tensor<3>>>,
    four: Vec<Param<Tensor<4>>>,
}

/// One device for all tests, with autodiff.
fn device() -> Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    let make = || {
        let (device, setup) = Device::wgpu_options().init_with_setup().expect("an adapter");
        eprintln!("adapter: {:?}", setup.adapter.get_info());
        gradus_burn::register(&device, &setup).expect("a device that gradus can use");
        device
    };
    DEVICE.get_or_init(make).clone().autodiff()
}

fn tensor<const D: usize>(seed: u64, shape: [usize; D], device: &Device) -> Tensor<D> {
    let values: Vec<f32> = normal(seed, 0, shape.iter().product()).iter().map(|&x| x as f32).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

impl Many {
    /// `each` parameters of each number of axes, of sizes that are and are not whole cells.
    fn new(each: usize, device: &Device) -> Self {
        let seed = |axes: usize, i: usize| (100 * axes + i) as u64;
        Self {
            one: (0..each).map(|i| Param::from_tensor(tensor(seed(1, i), [1 + i], device))).collect(),
            two: (0..each).map(|i| Param::from_tensor(tensor(seed(2, i), [2 + i % 3, 3 + i], device))).collect(),
            three: (0..each).map(|i| Param::from_tensor(tensor(seed(3, i), [2, 1 + i, 3], device))).collect(),
            four: (0..each).map(|i| Param::from_tensor(tensor(seed(4, i), [2, 1 + i % 4, 3, 3], device))).collect(),
        }
    }

    /// Σ of (p - c)² c'/2 over all elements, so that every element has a gradient of its own that changes as it moves.
    fn loss(&self) -> Tensor<1> {
        fn of<const D: usize>(params: &[Param<Tensor<D>>]) -> impl Iterator<Item = Tensor<1>> {
            params.iter().enumerate().map(|(i, param)| {
                let p = param.val();
                let target = tensor(1000 + i as u64, p.dims(), &p.device());
                ((p - target.clone()).square() * (target.square() + 0.1)).sum()
            })
        }
        let all = of(&self.one).chain(of(&self.two)).chain(of(&self.three)).chain(of(&self.four));
        all.reduce(|sum, term| sum + term).expect("parameters")
    }

    fn gradients(&self) -> GradientsParams {
        GradientsParams::from_grads(self.loss().backward(), self)
    }
}

/// The values and shapes of all parameters, in order.
fn values<M: Module>(module: &M) -> Vec<(Vec<usize>, Vec<f32>)> {
    struct Values(Vec<(Vec<usize>, Vec<f32>)>);
    impl ModuleVisitor for Values {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let tensor = param.val().inner();
            self.0.push((tensor.dims().to_vec(), tensor.into_data().try_to_vec().expect("f32")));
        }
    }
    let mut values = Values(Vec::new());
    module.visit(&mut values);
    values.0
}

fn close(found: &[(Vec<usize>, Vec<f32>)], expected: &[(Vec<usize>, Vec<f32>)], tolerance: f32) -> f32 {
    assert_eq!(found.len(), expected.len());
    let mut worst = 0f32;
    for ((shape, found), (expected_shape, expected)) in found.iter().zip(expected) {
        assert_eq!(shape, expected_shape);
        for (found, expected) in found.iter().zip(expected) {
            worst = worst.max((found - expected).abs() / expected.abs().max(1.0));
        }
    }
    assert!(worst <= tolerance, "{worst:e}");
    worst
}

/// Twenty steps over a hundred parameters, against Burn's own AdamW.
#[test]
fn adamw_is_burns() {
    let device = device();
    let (mut ours, mut theirs) = (Many::new(25, &device), Many::new(25, &device));
    let start = values(&ours);
    assert_eq!((start.len(), &start), (100, &values(&theirs)));
    let adamw = AdamW { eps: 1e-8, weight_decay: 0.05, ..Default::default() };
    let mut optimizer = GradusOptimizer::adamw(adamw).init(&ours).unwrap();
    let mut burns = AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(0.05).init();

    for step in 0..20 {
        let lr = 1e-2 / (1.0 + f64::from(step));
        let gradients = ours.gradients();
        ours = optimizer.step(lr, ours, gradients).unwrap();
        let gradients = theirs.gradients();
        theirs = burns.step(lr, theirs, gradients);
    }
    let worst = close(&values(&ours), &values(&theirs), 1e-6);
    eprintln!("largest difference {worst:e}, {} dispatches", optimizer.dispatches());
    assert!(optimizer.dispatches() <= 8);
    let moved = values(&ours).iter().zip(&start).all(|(now, start)| now.1.iter().zip(&start.1).all(|(now, start)| now != start));
    assert!(moved);
}

/// AdamP, with gradients of the caller's, against the reference.
#[test]
fn adamp_is_the_references() {
    let device = device();
    let mut model = Many::new(2, &device);
    let twin = reference::AdamP { weight_decay: 0.1, delta: 2.0, ..Default::default() };
    let mut optimizer = GradusOptimizer::adamp(AdamP { weight_decay: 0.1, delta: 2.0, ..Default::default() }).init(&model).unwrap();
    let mut expected: Vec<(Vec<usize>, Vec<f64>)> =
        values(&model).into_iter().map(|(shape, p)| (shape, p.into_iter().map(f64::from).collect())).collect();
    let mut states: Vec<_> = expected.iter().map(|(_, p)| twin.initial_state(p.len())).collect();
    for t in 1..=5 {
        let before = model.gradients();
        let gradients = model.gradients();
        struct Gradients(GradientsParams, Vec<Vec<f64>>);
        impl ModuleVisitor for Gradients {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                let values: Vec<f32> = self.0.get::<D>(param.id).expect("a gradient").into_data().try_to_vec().expect("f32");
                self.1.push(values.into_iter().map(f64::from).collect());
            }
        }
        let mut read = Gradients(before, Vec::new());
        model.visit(&mut read);
        model = optimizer.step(1e-2, model, gradients).unwrap();
        for (i, (shape, p)) in expected.iter_mut().enumerate() {
            reference::AdamP { lr: 1e-2, ..twin }.step(t, shape, p, &read.1[i], &mut states[i]);
        }
    }
    let expected: Vec<_> = expected.into_iter().map(|(shape, p)| (shape, p.into_iter().map(|x| x as f32).collect())).collect();
    close(&values(&model), &expected, 2e-6);
}

/// A clone of the module keeps its values, and so does a tensor made of a parameter; both still can be computed with.
#[test]
fn clones_keep_their_values() {
    let device = device();
    let mut model = Many::new(3, &device);
    let mut optimizer = GradusOptimizer::adamw(AdamW::default()).init(&model).unwrap();
    for _ in 0..3 {
        let clone = model.clone();
        let (before, view) = (values(&model), model.two[1].val().inner().flatten::<1>(0, 1));
        let gradients = model.gradients();
        model = optimizer.step(0.1, model, gradients).unwrap();
        assert_eq!(values(&clone), before);
        assert_eq!(view.into_data().try_to_vec::<f32>().unwrap(), before[4].1);
        let after = values(&model);
        assert!(after.iter().zip(&before).all(|(after, before)| after.1 != before.1));
        assert_eq!(clone.gradients().len(), 12);
    }
}

/// What has no gradient keeps its bits; what lies transposed in memory is stepped in its own order.
#[test]
fn without_gradients_and_transposed() {
    let device = device();
    let mut model = Many::new(2, &device);
    model.two[0] = Param::from_tensor(tensor(7, [5, 3], &device).transpose().detach());
    let start = values(&model);
    let mut optimizer = GradusOptimizer::adamw(AdamW { weight_decay: 0.0, ..Default::default() }).init(&model).unwrap();
    let mut gradients = GradientsParams::new();
    let ramp: Vec<f32> = (1..=15).map(|i| if i % 2 == 0 { i as f32 } else { -(i as f32) }).collect();
    gradients.register(model.two[0].id, Tensor::<2>::from_data(TensorData::new(ramp, [3, 5]), &device.clone().inner()));
    model = optimizer.step(0.5, model, gradients).unwrap();
    let after = values(&model);
    for (i, (after, before)) in after.iter().zip(&start).enumerate() {
        if i != 2 {
            assert_eq!(after, before);
            continue;
        }
        assert_eq!(after.0, [3, 5]);
        for (j, (after, before)) in after.1.iter().zip(&before.1).enumerate() {
            let sign = if j % 2 == 0 { 0.5 } else { -0.5 };
            assert!((after - before - sign).abs() < 1e-6, "{j}: {after} {before}");
        }
    }
}

/// Parameters of a device with gradient checkpointing keep that strategy: another would not mix with their inputs.
#[test]
fn checkpointing_goes_on() {
    let device = device().gradient_checkpointing();
    let mut model = Many::new(1, &device);
    let strategy = model.one[0].val().gradient_checkpointing_strategy();
    let mut optimizer = GradusOptimizer::adamw(AdamW::default()).init(&model).unwrap();
    for _ in 0..2 {
        let gradients = model.gradients();
        assert_eq!(gradients.len(), 4);
        model = optimizer.step(0.1, model, gradients).unwrap();
        assert_eq!(model.one[0].val().gradient_checkpointing_strategy(), strategy);
    }
}

/// The same bits with states saved and restored in between.
#[test]
fn states_are_saved() {
    let device = device();
    let make = |model: &Many| {
        let options = Options { max_norm: Some(1.0), ..Default::default() };
        GradusOptimizer::adamw(AdamW::default()).options(options).init(model).unwrap()
    };
    let (mut first, mut second) = (Many::new(2, &device), Many::new(2, &device));
    let (mut one, mut two) = (make(&first), make(&second));
    for step in 0..4 {
        let gradients = first.gradients();
        first = one.step(1e-2, first, gradients).unwrap();
        let gradients = second.gradients();
        second = two.step(1e-2, second, gradients).unwrap();
        if step == 1 {
            let states = pollster::block_on(two.state_dict()).unwrap();
            two = make(&second);
            two.load_state_dict(&states).unwrap();
        }
    }
    assert_eq!(values(&first), values(&second));
    assert!(pollster::block_on(one.status()).unwrap().grad_norm > 1.0);
}

#[test]
fn errors() {
    let device = device();
    let model = Many::new(1, &device);
    let mut optimizer = GradusOptimizer::adamw(AdamW::default()).init(&model).unwrap();
    let other = Many::new(1, &device);
    let gradients = other.gradients();
    let error = optimizer.step(0.1, other, gradients).unwrap_err();
    assert!(matches!(&error, Error::UnknownParameter { parameter } if parameter == "one.0"), "{error}");
    let mut lacking = Many::new(2, &device);
    let mut for_all = GradusOptimizer::adamw(AdamW::default()).init(&lacking).unwrap();
    let gradients = lacking.gradients();
    lacking.four.pop();
    assert!(matches!(for_all.step(0.1, lacking, gradients).unwrap_err(), Error::MissingParameter));
    let gradients = model.gradients();
    assert!(matches!(optimizer.step(f64::NAN, model, gradients).unwrap_err(), Error::Gradus(gradus::Error::Option { .. })));
    let bad = GradusOptimizer::adamw(AdamW { betas: [1.5, 0.9], ..Default::default() }).init(&Many::new(1, &device));
    assert!(matches!(bad.map(|_| ()).unwrap_err(), Error::Gradus(gradus::Error::Option { .. })));
}

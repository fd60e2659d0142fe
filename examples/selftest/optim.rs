//! The steps of the optimizers, and the kernels before and after them.

use gradus::optim::{self, Algorithm, LossScale, Optimizer, Options, Param, Rounding};
use gradus::reference::optim::{self as twin, Step};
use gradus::reference::{random, rounding, vector as blas};
use gradus::{DType, Gpu, Result, Tensor};

use super::values::{GAPS, Memory, decode, encode, gamma, noise, root_of, wide, worse};
use super::{Entry, Report, SEED};

pub fn run(report: &mut Report) {
    steps(report);
    projection(report);
    bias_correction(report);
    global_norm(report);
    skipped_steps(report);
}

/// An algorithm as the crate and as the reference spell it.
struct Pair {
    name: &'static str,
    kernel: Box<dyn Algorithm>,
    twin: Box<dyn Step>,
}

macro_rules! pair {
    ($name:literal, $type:ident { $($field:ident: $value:expr),* }) => {
        Pair {
            name: $name,
            kernel: Box::new(optim::$type { $($field: $value,)* ..Default::default() }),
            twin: Box::new(twin::$type { $($field: $value,)* ..Default::default() }),
        }
    };
}

fn algorithms() -> Vec<Pair> {
    vec![
        pair!("optim/sgd", Sgd { lr: 0.1 }),
        pair!("optim/sgd momentum", Sgd { lr: 0.05, momentum: 0.9, dampening: 0.3, weight_decay: 0.02, maximize: true }),
        pair!("optim/sgd nesterov", Sgd { lr: 0.05, momentum: 0.9, weight_decay: 0.02, nesterov: true }),
        pair!("optim/adagrad", Adagrad { lr: 0.02, lr_decay: 0.1, weight_decay: 0.03, initial_accumulator_value: 0.2 }),
        pair!("optim/adadelta", Adadelta { lr: 0.7, weight_decay: 0.02 }),
        pair!("optim/rmsprop", RmsProp { lr: 0.01, weight_decay: 0.02 }),
        pair!(
            "optim/rmsprop centered momentum",
            RmsProp { lr: 0.003, alpha: 0.9, eps: 1e-4, weight_decay: 0.01, momentum: 0.8, centered: true }
        ),
        pair!("optim/adam", Adam { lr: 0.01, weight_decay: 0.1 }),
        pair!("optim/adam amsgrad", Adam { lr: 0.01, betas: [0.8, 0.99], amsgrad: true, maximize: true }),
        pair!("optim/adamw", AdamW { lr: 0.01, weight_decay: 0.3 }),
        pair!("optim/diffgrad", DiffGrad { lr: 0.01, weight_decay: 0.1 }),
        pair!("optim/adamp", AdamP { lr: 0.01, weight_decay: 0.2 }),
        pair!("optim/adamp nesterov", AdamP { lr: 0.01, weight_decay: 0.2, nesterov: true }),
        pair!("optim/sgdp", SgdP { lr: 0.05, momentum: 0.9, dampening: 0.2, weight_decay: 0.02 }),
        pair!("optim/sgdp nesterov", SgdP { lr: 0.05, momentum: 0.9, weight_decay: 0.02, nesterov: true }),
    ]
}

/// Those whose kernels differ from the others' by their formula alone.
fn more_algorithms() -> Vec<Pair> {
    vec![
        pair!("optim/lion", Lion { lr: 0.01, weight_decay: 0.1 }),
        pair!("optim/radam", RAdam { lr: 0.01, betas: [0.9, 0.9], weight_decay: 0.1, decoupled_weight_decay: true }),
        pair!("optim/nadam", NAdam { lr: 0.01, weight_decay: 0.1 }),
        pair!("optim/adamax", Adamax { lr: 0.01, weight_decay: 0.1 }),
        pair!("optim/rprop", Rprop { lr: 0.01 }),
        pair!("optim/asgd", Asgd { lr: 0.02, lambd: 0.01, t0: 1.0, weight_decay: 0.02 }),
        pair!("optim/adan", Adan { lr: 0.01, weight_decay: 0.1 }),
        pair!("optim/schedule_free_adamw", ScheduleFreeAdamW { lr: 0.01, weight_decay: 0.1, warmup_steps: 3, r: 1.0 }),
        pair!("optim/schedule_free_sgd", ScheduleFreeSgd { lr: 0.1, weight_decay: 0.01, maximize: true }),
        pair!("optim/lamb", Lamb { lr: 0.01, weight_decay: 0.1 }),
        pair!("optim/exponentiated_gradient", ExponentiatedGradient { lr: 0.02 }),
    ]
}

/// Less than a cell, ragged ends, rows of whole cells and not; each takes 8 invocations.
const SHAPES: [&[usize]; 5] = [&[1], &[5], &[300], &[6, 27], &[64, 64]];

/// Rows of 64 invocations, and of 256 in two segments each, as well.
const MORE_SHAPES: [&[usize]; 7] = [&[1], &[5], &[300], &[6, 27], &[64, 64], &[3, 1030], &[2, 16389]];

/// Where parameters and gradients begin, and the alignment of those that follow, in bytes.
struct Place {
    param: u64,
    grad: u64,
    alignment: u64,
}

/// At whole cells, and out of phase.
const PLACES: &[Place] = &[Place { param: 0, grad: 0, alignment: 16 }, Place { param: 4, grad: 8, alignment: 4 }];
const WHOLE_CELLS: &[Place] = PLACES.split_at(1).0;

/// Types of parameter and gradient, the shapes and the places. A software driver takes a second to
/// compile what a row needs for AdamP; hence not all with all.
type Row = ([DType; 2], &'static [&'static [usize]], &'static [Place]);
const TABLE: [Row; 5] = [
    ([DType::F32, DType::F32], &MORE_SHAPES, PLACES),
    ([DType::F16, DType::F32], &SHAPES, WHOLE_CELLS),
    ([DType::F16, DType::F16], &SHAPES, PLACES),
    ([DType::Bf16, DType::Bf16], &SHAPES, WHOLE_CELLS),
    ([DType::Bf16, DType::F32], &SHAPES, WHOLE_CELLS),
];

/// Steps of each optimizer.
const STEPS: u64 = 5;

fn steps(report: &mut Report) {
    let rounding = Rounding::Stochastic { seed: SEED };
    let master = Options { master_weights: true, ..Default::default() };
    for pair in more_algorithms() {
        for row in [TABLE[0], TABLE[2]] {
            report.case(pair.name, |gpu| run_steps(gpu, &pair, row, &Options::default()));
        }
    }
    for (index, pair) in algorithms().iter().enumerate() {
        for row in TABLE {
            report.case(pair.name, |gpu| run_steps(gpu, pair, row, &Options::default()));
        }
        let mut options = vec![(" master", master.clone()), (" stochastic", Options { rounding, ..Default::default() })];
        // that both together work does not depend on the step
        if pair.name == "optim/adamw" || pair.name == "optim/adamp" {
            options.push((" master stochastic", Options { rounding, ..master.clone() }));
        }
        for (i, (suffix, options)) in options.iter().enumerate() {
            // a row of 16-bit parameters each, by turns
            let (types, shapes, _) = TABLE[1 + (index + i) % 4];
            report.case(&format!("{}{suffix}", pair.name), |gpu| run_steps(gpu, pair, (types, shapes, WHOLE_CELLS), options));
        }
    }
}

/// What a gradient is orthogonal to, in the view of AdamP and SGDP.
#[derive(Clone, Copy)]
enum Orthogonal {
    /// Each row of the parameter.
    Rows,
    /// The parameter as a whole.
    Whole,
    Neither,
}

impl Orthogonal {
    const ALL: [Self; 3] = [Self::Rows, Self::Whole, Self::Neither];

    /// Takes from `g` what is along `p`.
    fn apply(self, shape: &[usize], p: &[f64], g: &mut [f32]) {
        let row = match self {
            Self::Rows => g.len() / shape[0],
            Self::Whole => g.len(),
            Self::Neither => return,
        };
        for (p, g) in p.chunks_exact(row).zip(g.chunks_exact_mut(row)) {
            let along = blas::dot(p, &wide(g)) / blas::dot(p, p);
            g.iter_mut().zip(p).for_each(|(g, p)| *g = (f64::from(*g) - along * p) as f32);
        }
    }
}

/// Parameters, gradients and an optimizer over them: all shapes in the first place, then in the next.
struct Model {
    shapes: Vec<&'static [usize]>,
    params: Vec<Memory>,
    grads: Vec<Memory>,
    optimizer: Optimizer,
}

impl Model {
    fn new(gpu: &Gpu, algorithm: &dyn Algorithm, (types, shapes, places): Row, options: &Options) -> Result<Self> {
        let memory = |dtype, start, place: &Place, gap| Memory::new(gpu, shapes, dtype, start, place.alignment, gap);
        let params: Vec<Memory> = places.iter().map(|place| memory(types[0], place.param, place, GAPS[1])).collect::<Result<_>>()?;
        let grads: Vec<Memory> = places.iter().map(|place| memory(types[1], place.grad, place, GAPS[0])).collect::<Result<_>>()?;
        for (memory, seed) in params.iter().zip(100..) {
            let values: Vec<_> = shapes.iter().zip(1..).map(|(shape, i)| noise(seed * i, shape.iter().product())).collect();
            memory.write(gpu, &values)?;
        }
        let tensors = params.iter().flat_map(|memory| &memory.tensors).zip(grads.iter().flat_map(|memory| &memory.tensors));
        let names: Vec<String> = (0..places.len() * shapes.len()).map(|i| format!("parameter.{i}")).collect();
        let list: Vec<Param> = names.iter().zip(tensors).map(|(name, (param, grad))| Param::new(name, param, grad)).collect();
        let optimizer = Optimizer::with_options(gpu, algorithm, &list, options.clone())?;
        Ok(Self { shapes: shapes.repeat(places.len()), params, grads, optimizer })
    }

    fn read(&self, gpu: &Gpu) -> Result<Vec<Vec<f32>>> {
        let all = self.params.iter().map(|memory| memory.read(gpu)).collect::<Result<Vec<_>>>()?;
        Ok(all.concat())
    }

    /// Takes a step with these gradients, and returns them as their type has them.
    fn step(&self, gpu: &Gpu, gradients: &[Vec<f32>]) -> Result<Vec<Vec<f64>>> {
        for (memory, gradients) in self.grads.iter().zip(gradients.chunks(gradients.len() / self.grads.len())) {
            memory.write(gpu, gradients)?;
        }
        let mut encoder = gpu.device().create_command_encoder(&Default::default());
        self.optimizer.step(&mut encoder);
        gpu.queue().submit([encoder.finish()]);
        let dtype = self.grads[0].tensors[0].dtype();
        Ok(gradients.iter().map(|g| wide(&decode(dtype, &encode(dtype, g)))).collect())
    }

    /// An entry a shape, of the errors of its tensor in each place.
    fn entries(&self, errors: &[f64], bound: f64) -> Vec<Entry> {
        let count = errors.len() / self.params.len();
        let dtype = format!("{}/{}", self.params[0].tensors[0].dtype(), self.grads[0].tensors[0].dtype());
        let entry = |i: usize| Entry::new(self.shapes[i], &dtype, errors.iter().skip(i).step_by(count).copied().fold(0.0, worse), bound);
        (0..count).map(entry).collect()
    }
}

fn run_steps(gpu: &Gpu, pair: &Pair, row: Row, options: &Options) -> Result<Vec<Entry>> {
    let projects = pair.name.contains("adamp") || pair.name.contains("sgdp");
    let model = Model::new(gpu, &*pair.kernel, row, options)?;
    let mut p: Vec<Vec<f64>> = model.read(gpu)?.iter().map(|p| wide(p)).collect();
    let mut states: Vec<_> = p.iter().map(|p| pair.twin.initial_state(p.len())).collect();
    let mut errors = vec![0.0; p.len()];
    for t in 1..=STEPS {
        let orthogonal = if projects { Orthogonal::ALL[t as usize % 3] } else { Orthogonal::Neither };
        let gradients: Vec<Vec<f32>> = (0..p.len())
            .map(|i| {
                let mut g = noise(1000 * t + i as u64, p[i].len());
                orthogonal.apply(model.shapes[i], &p[i], &mut g);
                g
            })
            .collect();
        let gradients = model.step(gpu, &gradients)?;
        let mut expected = p.clone();
        for (i, expected) in expected.iter_mut().enumerate() {
            pair.twin.step(t, model.shapes[i], expected, &gradients[i], &mut states[i]);
        }
        let found = model.read(gpu)?;
        let steps = if options.master_weights { t as f64 } else { 1.0 };
        judge_step(row.0[0], options.rounding, t, steps, &p, &expected, &found, &mut errors);
        p = if options.master_weights { expected } else { found.iter().map(|p| wide(p)).collect() };
    }
    Ok(model.entries(&errors, 1.0))
}

/// Raises the error of each tensor to that of step `t`, which took the twin from `before` to
/// `expected`.
#[expect(clippy::too_many_arguments, reason = "a step is all of these")]
fn judge_step(
    dtype: DType,
    mode: Rounding,
    t: u64,
    steps: f64,
    before: &[Vec<f64>],
    expected: &[Vec<f64>],
    found: &[Vec<f32>],
    errors: &mut [f64],
) {
    let changes = before.iter().flatten().zip(expected.iter().flatten()).map(|(a, b)| (a - b).abs());
    let largest = changes.fold(0.0, f64::max);
    for (tensor, error) in errors.iter_mut().enumerate() {
        for (element, (&found, &expected)) in found[tensor].iter().zip(&expected[tensor]).enumerate() {
            let tolerance = steps * (2f64.powi(-22) * expected.abs() + 4e-6 * largest);
            let found_error = match (dtype, mode) {
                (DType::F32, _) => (f64::from(found) - expected).abs() / tolerance,
                (_, Rounding::Nearest) => moved(found, expected, tolerance, |x| decode(dtype, &encode(dtype, &[x]))[0]),
                (_, Rounding::Stochastic { seed }) => {
                    // as `random_cell` of shaders/shared/access.wgsl
                    let counter = [(element / 4) as u32, tensor as u32, t as u32, 0];
                    let word = random::philox4x32(counter, [seed as u32, (seed >> 32) as u32])[element % 4];
                    moved(found, expected, tolerance, |x| match dtype {
                        DType::F16 => rounding::f16_to_f32(rounding::f32_to_f16_stochastic(x, word)),
                        _ => rounding::bf16_to_f32(rounding::f32_to_bf16_stochastic(x, word)),
                    })
                }
            };
            *error = worse(*error, found_error);
        }
    }
}

/// By how many tolerances `expected` would have to move for `found` to be its rounding, `round` being
/// monotonic.
fn moved(found: f32, expected: f64, tolerance: f64, round: impl Fn(f32) -> f32) -> f64 {
    let nearest = round(expected as f32);
    if nearest == found {
        return 0.0;
    }
    let direction = if found > nearest { 1.0 } else { -1.0 };
    let reaches = |distance: f64| {
        let rounded = round((expected + direction * distance * tolerance) as f32);
        if direction > 0.0 { rounded >= found } else { rounded <= found }
    };
    let (mut low, mut high) = (0.0, 1.0);
    // never for NaN
    while !reaches(high) {
        (low, high) = (high, 2.0 * high);
        if high > 1e12 {
            return f64::INFINITY;
        }
    }
    for _ in 0..20 {
        let middle = 0.5 * (low + high);
        if reaches(middle) { high = middle } else { low = middle }
    }
    high
}

/// One step of each branch on its own: the direction is the gradient, the decay differs by branch.
fn projection(report: &mut Report) {
    let pair = pair!("optim/projection", SgdP { lr: 0.5, weight_decay: 0.4 });
    for (name, orthogonal) in ["optim/projection rows", "optim/projection whole", "optim/projection none"].into_iter().zip(Orthogonal::ALL)
    {
        report.case(name, |gpu| {
            let model = Model::new(gpu, &*pair.kernel, (TABLE[0].0, &MORE_SHAPES[3..], PLACES), &Options::default())?;
            let p: Vec<Vec<f64>> = model.read(gpu)?.iter().map(|p| wide(p)).collect();
            let mut expected = p.clone();
            let mut gradients: Vec<Vec<f32>> = p.iter().zip(1..).map(|(p, seed)| noise(seed, p.len())).collect();
            for (i, g) in gradients.iter_mut().enumerate() {
                orthogonal.apply(model.shapes[i], &p[i], g);
                if let Orthogonal::Neither = orthogonal {
                    // along the parameter as well, well beyond the threshold
                    g.iter_mut().zip(&p[i]).for_each(|(g, p)| *g += *p as f32);
                }
            }
            let gradients = model.step(gpu, &gradients)?;
            for (i, expected) in expected.iter_mut().enumerate() {
                pair.twin.step(1, model.shapes[i], expected, &gradients[i], &mut pair.twin.initial_state(p[i].len()));
            }
            let mut errors = vec![0.0; p.len()];
            judge_step(DType::F32, Rounding::Nearest, 1, 1.0, &p, &expected, &model.read(gpu)?, &mut errors);
            Ok(model.entries(&errors, 1.0))
        });
    }
}

/// The step that gradient 1 leads to at step t, after gradients of zero, which leave all but the step
/// count as it was.
fn bias_correction(report: &mut Report) {
    const TIMES: [u32; 6] = [1, 2, 3, 30, 300, 3000];
    let algorithms = [
        pair!("optim/bias_correction adam", Adam { lr: 1.0 }),
        pair!("optim/bias_correction slow adam", Adam { lr: 1.0, betas: [0.99, 0.9999] }),
        pair!("optim/bias_correction diffgrad", DiffGrad { lr: 1.0 }),
        pair!("optim/bias_correction adagrad", Adagrad { lr: 1.0, lr_decay: 0.1, initial_accumulator_value: 0.5 }),
    ];
    for pair in algorithms {
        let names = TIMES.map(|t| format!("{} t={t}", pair.name));
        if !names.iter().any(|name| name.contains(&report.filter)) {
            continue;
        }
        let found = steps_at(&report.gpu, &pair, TIMES);
        for (i, name) in names.iter().enumerate() {
            report.case(name, |_| {
                let found = found.as_ref().map_err(Clone::clone);
                let mut expected = [0.0];
                pair.twin.step(TIMES[i].into(), &[1], &mut expected, &[1.0], &mut pair.twin.initial_state(1));
                Ok(vec![match found {
                    Ok(found) => Entry::new(&[1], "F32/F32", (f64::from(found[i]) / expected[0] - 1.0).abs(), 2e-6),
                    Err(message) => Entry::not_run(message),
                }])
            });
        }
    }
}

/// The parameters after step t, for each of `times`, from zero. Each takes its own number of steps: it
/// is frozen when but one is left, and all thaw for that.
fn steps_at<const N: usize>(gpu: &Gpu, pair: &Pair, times: [u32; N]) -> Result<[f32; N], String> {
    let run = || -> Result<[f32; N]> {
        let param = Tensor::zeros(gpu, &[N], DType::F32)?;
        let grad = Tensor::zeros(gpu, &[1], DType::F32)?;
        let names: Vec<String> = times.iter().map(u32::to_string).collect();
        let tensors = (0..N).map(|i| Tensor::from_buffer(param.buffer(), 4 * i as u64, &[1], DType::F32)).collect::<Result<Vec<_>>>()?;
        let list: Vec<Param> = names.iter().zip(&tensors).map(|(name, param)| Param::new(name, param, &grad)).collect();
        let mut optimizer = Optimizer::new(gpu, &*pair.kernel, &list)?;
        let mut taken = 0;
        for (name, t) in names.iter().zip(times) {
            let mut encoder = gpu.device().create_command_encoder(&Default::default());
            (taken + 1..t).for_each(|_| optimizer.step(&mut encoder));
            gpu.queue().submit([encoder.finish()]);
            taken = t - 1;
            optimizer.set_frozen(name, true)?;
        }
        for name in &names {
            optimizer.set_frozen(name, false)?;
        }
        grad.write(gpu, &[1f32])?;
        let mut encoder = gpu.device().create_command_encoder(&Default::default());
        optimizer.step(&mut encoder);
        gpu.queue().submit([encoder.finish()]);
        let found = pollster::block_on(param.read::<f32>(gpu))?;
        Ok(std::array::from_fn(|i| found[i]))
    };
    run().map_err(|error| error.to_string())
}

/// Unscaling, norm and clip factor, by what is reported and by the step.
fn global_norm(report: &mut Report) {
    // the learning rate, the largest gradient, the scale of it (f16 ends at 65504), and the greatest norm.
    // Small gradients are where the 1e-6 in the clip factor counts.
    let table = [
        ("optim/global_norm", 0.5, 1.0, LossScale::Fixed(1.0), None),
        ("optim/global_norm clip", 0.5, 1.0, LossScale::Fixed(1.0), Some(3.0)),
        ("optim/global_norm clip small", 3e5, 2f32.powi(-16), LossScale::Fixed(1.0), Some(1e-4)),
        ("optim/global_norm loss scale clip", 0.5, 0.99, LossScale::dynamic(), Some(3.0)),
    ];
    for (name, lr, largest, loss_scale, max_norm) in table {
        let pair = pair!("optim/global_norm", Sgd { lr: lr });
        for grad in DType::FLOATS {
            report.case(name, |gpu| {
                let options = Options { max_norm, loss_scale, skip_non_finite: true, ..Default::default() };
                let model = Model::new(gpu, &*pair.kernel, ([DType::F32, grad], &SHAPES, PLACES), &options)?;
                let p: Vec<Vec<f64>> = model.read(gpu)?.iter().map(|p| wide(p)).collect();
                let scale = match loss_scale {
                    LossScale::Fixed(scale) => scale,
                    LossScale::Dynamic { initial, .. } => initial,
                };
                let gradients: Vec<Vec<f32>> =
                    p.iter().zip(1..).map(|(p, seed)| noise(seed, p.len()).iter().map(|x| largest * x * scale as f32).collect()).collect();
                let mut gradients = model.step(gpu, &gradients)?;
                gradients.iter_mut().for_each(|g| blas::scale(1.0 / scale, g));
                let norm = twin::global_norm(&gradients.iter().map(Vec::as_slice).collect::<Vec<_>>());
                let factor = max_norm.map_or(1.0, |max| twin::clip_factor(norm, max));
                let mut expected = p.clone();
                for ((shape, expected), g) in model.shapes.iter().zip(&mut expected).zip(&mut gradients) {
                    blas::scale(factor, g);
                    pair.twin.step(1, shape, expected, g, &mut pair.twin.initial_state(g.len()));
                }
                let mut errors = vec![0.0; p.len()];
                judge_step(DType::F32, Rounding::Nearest, 1, 1.0, &p, &expected, &model.read(gpu)?, &mut errors);
                let mut entries = model.entries(&errors, 1.0);
                // 2 of the product, 16 of an invocation's share, and two trees
                let status = pollster::block_on(model.optimizer.status())?;
                let error = (f64::from(status.grad_norm) / norm - 1.0).abs();
                let elements = p.iter().map(Vec::len).sum();
                entries.push(Entry::new(&[elements], grad, error, root_of(gamma(2 + 16 + 40 + 2 + 40))));
                Ok(entries)
            });
        }
    }
}

/// A step with a gradient that is not finite changes nothing but the loss scale and the count of
/// skipped steps, wherever that gradient is; the next one is a step again.
fn skipped_steps(report: &mut Report) {
    for (name, value) in [("optim/global_norm skip infinity", f32::NEG_INFINITY), ("optim/global_norm skip NaN", f32::NAN)] {
        for grad in DType::FLOATS {
            report.case(name, |gpu| {
                let options = Options { loss_scale: LossScale::dynamic(), ..Default::default() };
                let model = Model::new(gpu, &optim::AdamW::default(), ([DType::F32, grad], &SHAPES, PLACES), &options)?;
                let zeros: Vec<Vec<f32>> = model.shapes.iter().map(|shape| vec![0.0; shape.iter().product()]).collect();
                let before = model.read(gpu)?;
                let mut errors = vec![0.0; zeros.len()];
                for (tensor, error) in errors.iter_mut().enumerate() {
                    let mut gradients = zeros.clone();
                    let last = gradients[tensor].len() - 1;
                    gradients[tensor][last] = value;
                    model.step(gpu, &gradients)?;
                    let status = pollster::block_on(model.optimizer.status())?;
                    let skipped = tensor as u32 + 1;
                    let changed =
                        before.iter().flatten().zip(model.read(gpu)?.iter().flatten()).filter(|(a, b)| a.to_bits() != b.to_bits()).count();
                    let counted = pollster::block_on(model.optimizer.steps())?.iter().filter(|&&steps| steps != 0).count();
                    let wrong = [!status.skipped, status.skipped_steps != skipped, status.loss_scale != 65536.0 / (1u64 << skipped) as f32];
                    *error = (changed + counted + wrong.into_iter().filter(|&wrong| wrong).count()) as f64;
                }
                let mut entries = model.entries(&errors, 0.0);
                model.step(gpu, &zeros)?;
                let status = pollster::block_on(model.optimizer.status())?;
                let idle = pollster::block_on(model.optimizer.steps())?.iter().filter(|&&steps| steps != 1).count();
                entries.push(Entry::new(&[errors.len()], grad, (idle + usize::from(status.skipped)) as f64, 0.0));
                Ok(entries)
            });
        }
    }
}

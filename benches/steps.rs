//! The time of fused optimizer steps and vector operations on the device, in groups that each hold a
//! copy as the baseline: `cargo bench`. Throughput counts the bytes that the recording says it moves.

use std::time::Duration;

use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime};
use gradus::gpu::measure;
use gradus::optim::{Adam, AdamP, AdamW, Algorithm, DiffGrad, Optimizer, Options, Param, Sgd, SgdP};
use gradus::{DType, Gpu, Recording, Tensor, vector};

/// 1 Mi and 16 Mi elements: within the cache of a large GPU, and beyond it.
const SHAPES: [[usize; 2]; 2] = [[1024, 1024], [4096, 4096]];

fn gpu() -> Gpu {
    let gpu = pollster::block_on(Gpu::headless()).expect("a GPU adapter");
    println!("{gpu:?}");
    gpu
}

/// Noise, so that no value is special.
fn tensor(gpu: &Gpu, shape: &[usize], dtype: DType, seed: u64) -> Tensor {
    let tensor = Tensor::zeros(gpu, shape, dtype).expect("memory");
    let mut recording = Recording::new();
    vector::random_uniform(gpu, &mut recording, seed, 0, &tensor).expect("a kernel");
    gpu.submit([&recording]);
    tensor
}

/// The time on the device, by timestamps where it has them.
fn add(group: &mut BenchmarkGroup<WallTime>, gpu: &Gpu, name: &str, elements: usize, bytes: u64, recording: &Recording) {
    group.throughput(Throughput::Bytes(bytes));
    group.bench_function(BenchmarkId::new(name, elements), |bencher| {
        bencher.iter_custom(|iterations| {
            let time = |_| pollster::block_on(measure(gpu, recording)).expect("the device");
            (0..iterations).map(time).sum::<Duration>()
        });
    });
}

fn copy(group: &mut BenchmarkGroup<WallTime>, gpu: &Gpu, shape: &[usize]) {
    let (x, y) = (tensor(gpu, shape, DType::F32, 1), Tensor::zeros(gpu, shape, DType::F32).expect("memory"));
    let mut recording = Recording::new();
    vector::copy(gpu, &mut recording, &x, &y).expect("a kernel");
    add(group, gpu, "copy", x.len(), 2 * x.bytes(), &recording);
}

fn group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
    group
}

fn optimizers(criterion: &mut Criterion) {
    let gpu = gpu();
    let clipped = Options { max_norm: Some(1.0), ..Default::default() };
    let master = Options { master_weights: true, ..Default::default() };
    let table: [(&str, &dyn Algorithm, DType, &Options); 10] = [
        ("sgd", &Sgd::default(), DType::F32, &Options::default()),
        ("adam", &Adam::default(), DType::F32, &Options::default()),
        ("adamw", &AdamW::default(), DType::F32, &Options::default()),
        ("amsgrad", &Adam { amsgrad: true, ..Default::default() }, DType::F32, &Options::default()),
        ("diffgrad", &DiffGrad::default(), DType::F32, &Options::default()),
        ("adamp", &AdamP::default(), DType::F32, &Options::default()),
        ("sgdp", &SgdP { momentum: 0.9, ..Default::default() }, DType::F32, &Options::default()),
        ("adamw-clipped", &AdamW::default(), DType::F32, &clipped),
        ("adamw-bf16", &AdamW::default(), DType::Bf16, &Options::default()),
        ("adamw-bf16-master", &AdamW::default(), DType::Bf16, &master),
    ];
    for shape in SHAPES {
        let mut group = group(criterion, "optim");
        copy(&mut group, &gpu, &shape);
        for (name, algorithm, dtype, options) in &table {
            let (param, grad) = (tensor(&gpu, &shape, *dtype, 1), tensor(&gpu, &shape, *dtype, 2));
            let list = [Param::new("parameter", &param, &grad)];
            let optimizer = Optimizer::with_options(&gpu, *algorithm, &list, (*options).clone()).expect("an optimizer");
            let mut encoder = gpu.device().create_command_encoder(&Default::default());
            optimizer.prepare(&mut encoder);
            gpu.queue().submit([encoder.finish()]);
            add(&mut group, &gpu, name, param.len(), optimizer.recording().bytes(), optimizer.recording());
        }
        group.finish();
    }
}

fn vectors(criterion: &mut Criterion) {
    let gpu = gpu();
    for shape in SHAPES {
        let mut group = group(criterion, "vector");
        copy(&mut group, &gpu, &shape);
        let (x, y) = (tensor(&gpu, &shape, DType::F32, 1), tensor(&gpu, &shape, DType::F32, 2));
        let out = Tensor::zeros(&gpu, &[1], DType::F32).expect("memory");
        type Record = fn(&Gpu, &mut Recording, &Tensor, &Tensor, &Tensor) -> gradus::Result<()>;
        // how many times the size of a tensor is moved
        let table: [(&str, u64, Record); 6] = [
            ("fill", 1, |gpu, recording, _, y, _| vector::fill(gpu, recording, 1.0, y)),
            ("scale", 2, |gpu, recording, _, y, _| vector::scale(gpu, recording, 1.0, y)),
            ("axpy", 3, |gpu, recording, x, y, _| vector::axpy(gpu, recording, 0.0, x, y)),
            ("dot", 2, |gpu, recording, x, y, out| vector::dot(gpu, recording, x, y, out)),
            ("norm", 1, |gpu, recording, x, _, out| vector::norm(gpu, recording, x, out)),
            ("random_uniform", 1, |gpu, recording, _, y, _| vector::random_uniform(gpu, recording, 1, 0, y)),
        ];
        for (name, times, record) in table {
            let mut recording = Recording::new();
            record(&gpu, &mut recording, &x, &y, &out).expect("a kernel");
            add(&mut group, &gpu, name, x.len(), times * x.bytes(), &recording);
        }
        group.finish();
    }
}

criterion_group!(benches, optimizers, vectors);
criterion_main!(benches);

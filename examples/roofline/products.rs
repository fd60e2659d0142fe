//! Matrix products, convolutions and networks of them against a kernel of fused multiply-adds.

use gradus::graph::{ConvolutionOptions, Graph, Padding, Plan, Stage, Var};
use gradus::krylov::Preconditioner;
use gradus::poisson::Grid;
use gradus::poisson::dcdm::{Architecture, DeepPreconditioner, DeepPreconditionerOptions, Weights};
use gradus::{DType, Gpu, Recording, Tensor};

use super::{Arguments, in_turn, noise};

const PEAK_INVOCATIONS: u32 = 1 << 14;
const PEAK_OPERATIONS: f64 = PEAK_INVOCATIONS as f64 * 65_536.0;

pub async fn run(gpu: &Gpu, arguments: &Arguments) -> Result<(), gradus::Error> {
    let peak = peak(gpu)?;
    let mut printed = false;
    for (name, operations, recording) in cases(gpu, &arguments.filter)?.into_iter().chain(networks(gpu, &arguments.filter)?) {
        let [time, peak_time] = in_turn(gpu, [&recording, &peak], arguments.repeats).await?;
        let speed = operations / time.as_secs_f64();
        let peak_speed = PEAK_OPERATIONS / peak_time.as_secs_f64();
        let ratio = speed / peak_speed;
        if arguments.json {
            let line = serde_json::json!({"kernel": name, "seconds": time.as_secs_f64(), "gflops": speed / 1e9, "peak_gflops": peak_speed / 1e9, "peak_ratio": ratio});
            println!("{line}");
        } else {
            if !std::mem::replace(&mut printed, true) {
                println!("\n{:32} {:>12} {:>10} {:>10} {:>10}", "kernel", "seconds", "GFLOP/s", "peak", "peak_ratio");
            }
            println!("{name:32} {:12.6} {:10.2} {:10.2} {ratio:10.3}", time.as_secs_f64(), speed / 1e9, peak_speed / 1e9);
        }
    }
    Ok(())
}

/// The floating-point operations of each case, and what does them.
fn cases(gpu: &Gpu, filter: &str) -> Result<Vec<(String, f64, Recording)>, gradus::Error> {
    let mut cases = Vec::new();
    for [m, k, n] in [[1024, 1024, 1024], [256, 64, 128], [256, 128, 64], [64, 256, 128]] {
        let name = format!("matmul/{m}x{k}x{n}");
        if name.contains(filter) {
            let mut graph = Graph::new();
            let (a, b) = (graph.input("a", &[m, k])?, graph.input("b", &[k, n])?);
            let c = graph.matmul(a, b)?;
            cases.push((name, 2.0 * (m * k * n) as f64, product(gpu, &graph, &[a, b], c)?));
        }
    }
    // batch, channels in and out, sizes
    let shapes: [(&str, usize, usize, usize, &[usize]); 3] =
        [("32x32x32", 1, 16, 16, &[32, 32, 32]), ("256x8x8", 256, 16, 32, &[8, 8]), ("128x128", 1, 16, 16, &[128, 128])];
    for (size, batch, channels, out, spatial) in shapes {
        let taps: usize = 3usize.pow(spatial.len() as u32);
        let voxels: usize = spatial.iter().product();
        let operations = 2.0 * (batch * channels * out * taps * voxels) as f64;
        for form in ["output", "input", "weight"] {
            let name = format!("convolution-{form}/{channels}-{out}/{size}");
            if !name.contains(filter) {
                continue;
            }
            let mut graph = Graph::new();
            let x = graph.input("x", &[&[batch, channels], spatial].concat())?;
            let w = graph.input("w", &[&[out, channels][..], &vec![3; spatial.len()]].concat())?;
            let dy = graph.input("dy", &[&[batch, out], spatial].concat())?;
            let y = graph.convolution(x, w, &ConvolutionOptions { padding: Padding::Same, ..Default::default() })?;
            let adjoints = graph.vjp(&[y], &[dy], &[x, w])?;
            let (leaves, result) = match form {
                "output" => ([x, w], y),
                "input" => ([dy, w], adjoints[0]),
                _ => ([dy, x], adjoints[1]),
            };
            cases.push((name, operations, product(gpu, &graph, &leaves, result)?));
        }
    }
    Ok(cases)
}

/// A network's application to a residual, with all that is not a convolution; of those alone the operations are counted.
fn networks(gpu: &Gpu, filter: &str) -> Result<Vec<(String, f64, Recording)>, gradus::Error> {
    let shapes: [(&str, Architecture, &[usize], DType); 5] = [
        ("64-net", Architecture::net_64(3), &[64, 64, 64], DType::F32),
        ("64-net", Architecture::net_64(3), &[64, 64, 64], DType::F16),
        ("128-net", Architecture::net_128(3), &[32, 32, 32], DType::F32),
        ("64-net", Architecture::net_64(2), &[256, 256], DType::F32),
        ("64-net", Architecture::net_64(2), &[256, 256], DType::F16),
    ];
    let mut cases = Vec::new();
    for (net, architecture, sizes, activations) in shapes {
        let name = format!("dcdm-{net}/{}/{activations}", sizes.iter().map(usize::to_string).collect::<Vec<_>>().join("x"));
        if !name.contains(filter) {
            continue;
        }
        let options = DeepPreconditionerOptions { activations, ..Default::default() };
        let weights = Weights::initial(gpu, &architecture, 0)?;
        let preconditioner = DeepPreconditioner::with_options(gpu, &Grid::new(sizes)?, &weights, &options)?;
        let [r, z] = [5, 6].map(|seed| noise(gpu, &[sizes], seed));
        let mut recording = Recording::new();
        preconditioner.record(&mut recording, &r?[0], &z?[0])?;
        let (channels, taps) = (architecture.channels, 3usize.pow(architecture.dim as u32));
        let fine = architecture.before + 2 * architecture.after;
        let coarse = 2.0 * architecture.coarse as f64 / f64::from(1 << architecture.dim);
        let inner = (channels * channels * taps) as f64 * (fine as f64 + coarse);
        let operations = 2.0 * (inner + (channels * taps + channels) as f64) * sizes.iter().product::<usize>() as f64;
        cases.push((name, operations, recording));
    }
    Ok(cases)
}

fn product(gpu: &Gpu, graph: &Graph, leaves: &[Var], result: Var) -> Result<Recording, gradus::Error> {
    let plan = Plan::new(gpu, graph, &[Stage::new(&[result])])?;
    let mut tensors = Vec::new();
    for (i, &leaf) in leaves.iter().enumerate() {
        tensors.push((leaf, noise(gpu, &[graph.shape(leaf)?], i as u64)?.remove(0)));
    }
    let bindings: Vec<(Var, &Tensor)> = tensors.iter().map(|(leaf, tensor)| (*leaf, tensor)).collect();
    plan.compile(gpu, &bindings)?.recording(0)
}

fn peak(gpu: &Gpu) -> Result<Recording, gradus::Error> {
    let device = gpu.device();
    let module = device.create_shader_module(wgpu::include_wgsl!("peak.wgsl"));
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some("peak"),
        layout: None,
        module: &module,
        entry_point: Some("main"),
        compilation_options: Default::default(),
        cache: None,
    });
    let result = Tensor::zeros(gpu, &[PEAK_INVOCATIONS as usize, 4], DType::F32)?;
    let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some("peak"),
        layout: &pipeline.get_bind_group_layout(0),
        entries: &[wgpu::BindGroupEntry { binding: 0, resource: result.buffer().as_entire_binding() }],
    });
    let mut recording = Recording::new();
    recording.custom("peak", &pipeline, &group, [PEAK_INVOCATIONS / 64, 1, 1]);
    Ok(recording)
}

//! Matrix products, convolutions and networks of them against a kernel of fused multiply-adds.

use gradus::graph::{ConvolutionOptions, Graph, Padding, Plan, Stage, Var};
use gradus::krylov::Preconditioner;
use gradus::poisson::Grid;
use gradus::poisson::dcdm::{Architecture, DeepPreconditioner, DeepPreconditionerOptions, Weights};
use gradus::{DType, Gpu, Recording, Tensor};

use super::timing::{Peak, in_turn, repeated, repetitions};
use super::{Bench, noise, share, share_heading};

/// The most multiply-adds of a quick product.
const QUICK: usize = 1 << 24;

pub(super) async fn run(bench: &mut Bench<'_>) -> Result<(), gradus::Error> {
    let (gpu, options) = (bench.gpu, bench.options);
    let peak = Peak::new(gpu).await?;
    let sheet = options.flops.map(|flops| flops * 1e12);
    let mut heading =
        Some(format!("{:34} {:>12} {:>10} {:>10} {:>10}{}", "kernel", "seconds", "GFLOP/s", "peak", "peak_ratio", share_heading(sheet)));
    let mut cases = matrices(bench)?;
    cases.extend(convolutions(bench)?);
    if !options.quick {
        cases.extend(networks(bench)?);
    }
    for (name, operations, recording) in cases {
        let times = repetitions(gpu, &recording).await?;
        let [time, peak_time] = in_turn(gpu, [&repeated(&recording, times), &peak.run], options.repeats).await?;
        let seconds = time / times as f64;
        let (speed, peak_speed) = (operations / seconds, peak.speed(peak_time));
        let ratio = speed / peak_speed;
        let [gflops, peak_gflops] = [speed, peak_speed].map(|speed| speed / 1e9);
        if options.json {
            let line = serde_json::json!({
                "kernel": name,
                "seconds": seconds,
                "gflops": gflops,
                "peak_gflops": peak_gflops,
                "peak_ratio": ratio,
                "sheet_ratio": sheet.map(|sheet| speed / sheet),
            });
            (bench.print)(&line.to_string());
        } else {
            let row = format!("{name:34} {seconds:12.6} {gflops:10.2} {peak_gflops:10.2} {ratio:10.3}{}", share(speed, sheet));
            bench.row(&mut heading, &row);
        }
    }
    Ok(())
}

/// The name of each case, its floating-point operations, and what does them.
type Cases = Vec<(String, f64, Recording)>;

/// Square, small, tall, batched and transposed products.
fn matrices(bench: &Bench<'_>) -> Result<Cases, gradus::Error> {
    // a batch, m, k, n, and which operand is transposed
    let small = [
        (1, 256, 64, 128, ""),
        (1, 256, 128, 64, ""),
        (1, 64, 256, 128, ""),
        (1, 512, 512, 512, ""),
        (1, 512, 512, 512, "at"),
        (1, 512, 512, 512, "bt"),
        (1, 16_384, 64, 64, ""),
        (1, 64, 16_384, 64, "at"),
        (1, 256, 256, 256, ""),
        (1, 256, 256, 256, "at"),
        (1, 256, 256, 256, "bt"),
        (1, 2048, 64, 64, ""),
        (1, 64, 2048, 64, "at"),
        (64, 64, 64, 64, ""),
        (1, 8, 1024, 1024, ""),
    ];
    let software = [(1, 1024, 1024, 1024, "")];
    let large = [
        (1, 1024, 1024, 1024, ""),
        (1, 2048, 2048, 2048, ""),
        (1, 2048, 2048, 2048, "at"),
        (1, 2048, 2048, 2048, "bt"),
        (1, 65_536, 64, 64, ""),
        (1, 64, 65_536, 64, "at"),
        (512, 64, 64, 64, ""),
        (64, 256, 256, 256, ""),
        (1, 8, 4096, 4096, ""),
    ];
    let further: &[_] = match (bench.options.quick, bench.is_software()) {
        (true, _) => &[],
        (_, true) => &software,
        _ => &large,
    };
    let mut cases = Vec::new();
    for &(batch, m, k, n, transposed) in small.iter().chain(further) {
        let of_batch = if batch > 1 { format!("{batch}x") } else { String::new() };
        let name = format!("matmul{}{transposed}/{of_batch}{m}x{k}x{n}", if transposed.is_empty() { "" } else { "-" });
        if !bench.chosen(&name) || (bench.options.quick && batch * m * k * n > QUICK) {
            continue;
        }
        let mut graph = Graph::new();
        let mut operand = |name: &str, [rows, columns]: [usize; 2], transposed: bool| -> Result<[Var; 2], gradus::Error> {
            let stored = if transposed { [batch, columns, rows] } else { [batch, rows, columns] };
            let leaf = graph.input(name, &stored)?;
            Ok([leaf, if transposed { graph.transpose(leaf, &[0, 2, 1])? } else { leaf }])
        };
        let [a, left] = operand("a", [m, k], transposed == "at")?;
        let [b, right] = operand("b", [k, n], transposed == "bt")?;
        let c = graph.matmul(left, right)?;
        cases.push((name, 2.0 * (batch * m * k * n) as f64, product(bench.gpu, &graph, &[a, b], c)?));
    }
    Ok(cases)
}

fn convolutions(bench: &Bench<'_>) -> Result<Cases, gradus::Error> {
    // batch, channels in and out, sizes
    let shapes: [(&str, usize, usize, usize, &[usize]); 4] = [
        ("32x32x32", 1, 16, 16, &[32, 32, 32]),
        ("256x8x8", 256, 16, 32, &[8, 8]),
        ("128x128", 1, 16, 16, &[128, 128]),
        ("32x32x32", 1, 64, 64, &[32, 32, 32]),
    ];
    let mut cases = Vec::new();
    let shapes = shapes.into_iter().filter(|&(size, ..)| !bench.options.quick || size == "256x8x8");
    for (size, batch, channels, out, spatial) in shapes {
        let taps: usize = 3usize.pow(spatial.len() as u32);
        let voxels: usize = spatial.iter().product();
        let operations = 2.0 * (batch * channels * out * taps * voxels) as f64;
        for form in ["output", "input", "weight"] {
            let name = format!("convolution-{form}/{channels}-{out}/{size}");
            if !bench.chosen(&name) {
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
            cases.push((name, operations, product(bench.gpu, &graph, &leaves, result)?));
        }
    }
    Ok(cases)
}

/// A network's application to a residual, with all that is not a convolution; of those alone the operations are counted.
fn networks(bench: &Bench<'_>) -> Result<Cases, gradus::Error> {
    let gpu = bench.gpu;
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
        if !bench.chosen(&name) {
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

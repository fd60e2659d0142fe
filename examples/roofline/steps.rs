//! Every fused optimizer step against copies.

use gradus::optim::{Adadelta, Adagrad, Adam, AdamP, AdamW, Algorithm, DiffGrad, Optimizer, Param, RmsProp, Sgd, SgdP};
use gradus::{Error, Gpu, Recording, Tensor, reference};

use super::timing::{Copies, Streamed, beside_copies, in_turn, repeated, repetitions};
use super::{Bench, noise, share, share_heading};

/// The bytes that the step of the fewest bytes moves of an element.
const FEWEST: usize = 12;
const QUICK: [&str; 5] = ["sgd", "adamw", "adamp", "adamw/1000", "adamw/1000-buffers"];

pub(super) async fn run(bench: &mut Bench<'_>) -> Result<(), gradus::Error> {
    let (gpu, options) = (bench.gpu, bench.options);
    let default = if bench.is_software() { 16 << 20 } else { (1usize << 30).div_ceil(FEWEST) };
    let mut rows = options.elements.unwrap_or(default).div_ceil(4096).max(1);
    let sheet = options.bandwidth.map(|bandwidth| bandwidth * 1e9);
    let heading = |rows: usize| {
        let columns = format!(
            "{:20} {:>14} {:>12} {:>10} {:>10} {:>10}{} {:>10}",
            "kernel",
            "bytes/element",
            "seconds",
            "GB/s",
            "copy GB/s",
            "copy_ratio",
            share_heading(sheet),
            "flat_ratio"
        );
        Some(format!("{} elements\n\n{columns}", rows * 4096))
    };
    let mut first = None;
    for (name, algorithm) in algorithms() {
        if bench.chosen(name) && (!options.quick || QUICK.contains(&name)) {
            let row = loop {
                match one(gpu, &*algorithm, &[rows, 4096], options.repeats).await {
                    // what fits
                    Err(Error::OutOfMemory { .. } | Error::LimitTooSmall { .. }) if rows > 1 && options.elements.is_none() => rows /= 2,
                    row => break row?,
                }
            };
            if first != Some(rows) {
                first = Some(rows);
                let mut heading = heading(rows);
                print(bench, &mut heading, name, &row, &[]);
            } else {
                print(bench, &mut None, name, &row, &[]);
            }
        }
    }
    let mut heading = if first.is_none() { heading(rows) } else { None };
    for (name, algorithm) in [("adamw", &AdamW::default() as &dyn Algorithm), ("adamp", &AdamP::default())] {
        for (kind, in_arena) in [("1000", true), ("1000-buffers", false)] {
            let name = format!("{name}/{kind}");
            if bench.chosen(&name) && (!options.quick || QUICK.contains(&name.as_str())) {
                let (row, flat) = many(gpu, algorithm, in_arena, options.repeats).await?;
                print(bench, &mut heading, &name, &row, &flat);
            }
        }
    }
    Ok(())
}

fn algorithms() -> Vec<(&'static str, Box<dyn Algorithm>)> {
    vec![
        ("sgd", Box::new(Sgd::default())),
        ("sgd-momentum", Box::new(Sgd { momentum: 0.9, ..Default::default() })),
        ("adagrad", Box::new(Adagrad::default())),
        ("adadelta", Box::new(Adadelta::default())),
        ("rmsprop", Box::new(RmsProp::default())),
        ("rmsprop-all", Box::new(RmsProp { momentum: 0.9, centered: true, ..Default::default() })),
        ("adam", Box::new(Adam::default())),
        ("adamw", Box::new(AdamW::default())),
        ("amsgrad", Box::new(Adam { amsgrad: true, ..Default::default() })),
        ("diffgrad", Box::new(DiffGrad::default())),
        ("adamp", Box::new(AdamP::default())),
        ("adamp-nesterov", Box::new(AdamP { nesterov: true, ..Default::default() })),
        ("sgdp", Box::new(SgdP { momentum: 0.9, ..Default::default() })),
        ("sgdp-nesterov", Box::new(SgdP { momentum: 0.9, nesterov: true, ..Default::default() })),
    ]
}

/// A row of the table.
struct Row {
    elements: usize,
    /// Of tensors, tables left out.
    bytes: u64,
    streamed: Streamed,
}

/// One tensor of `shape` against copies.
async fn one(gpu: &Gpu, algorithm: &dyn Algorithm, shape: &[usize], repeats: usize) -> Result<Row, gradus::Error> {
    let [param, grad] = [noise(gpu, &[shape], 1)?, noise(gpu, &[shape], 2)?].map(|mut tensors| tensors.remove(0));
    let optimizer = Optimizer::new(gpu, algorithm, &[Param::new("parameter", &param, &grad)])?;
    prepare(gpu, &optimizer);
    let bytes = tensor_bytes(optimizer.recording());
    let streamed = beside_copies(gpu, optimizer.recording(), bytes, false, repeats).await?;
    Ok(Row { elements: param.len(), bytes, streamed })
}

/// 1,000 matrices, in one arena or in buffers of their own, against copies; and their time over that of one flat tensor, and of
/// one matrix, of as many elements.
async fn many(gpu: &Gpu, algorithm: &dyn Algorithm, in_arena: bool, repeats: usize) -> Result<(Row, [f64; 2]), gradus::Error> {
    // sizes uniform from 1,000 to 20,000, of 4 to 128 rows (uniform in the logarithm)
    let random = reference::random::uniform(3, 0, 2000);
    let shapes: Vec<[usize; 2]> = random
        .chunks(2)
        .map(|u| {
            let elements = 1000.0 + 19_000.0 * u[0];
            let rows = (4.0 * 32f32.powf(u[1])).round();
            [rows as usize, (elements / rows).clamp(1.0, 20_000.0) as usize]
        })
        .collect();
    let shapes: Vec<&[usize]> = shapes.iter().map(|shape| shape.as_slice()).collect();
    let elements: usize = shapes.iter().map(|shape| shape.iter().product::<usize>()).sum();
    let tensors = |seed: u64| -> Result<Vec<Tensor>, gradus::Error> {
        match in_arena {
            true => noise(gpu, &shapes, seed),
            false => shapes.iter().map(|shape| Ok(noise(gpu, &[shape], seed)?.remove(0))).collect(),
        }
    };
    let (params, grads) = (tensors(1)?, tensors(2)?);
    let names: Vec<String> = (0..params.len()).map(|i| format!("parameter.{i}")).collect();
    let list: Vec<Param> = names.iter().zip(params.iter().zip(&grads)).map(|(name, (p, g))| Param::new(name, p, g)).collect();
    let optimizer = Optimizer::new(gpu, algorithm, &list)?;
    prepare(gpu, &optimizer);
    let mut others = Vec::new();
    for shape in [vec![elements], vec![elements / 4096, 4096]] {
        let (p, g) = (noise(gpu, &[&shape], 1)?, noise(gpu, &[&shape], 2)?);
        let other = Optimizer::new(gpu, algorithm, &[Param::new("parameter", &p[0], &g[0])])?;
        prepare(gpu, &other);
        others.push(other);
    }
    let bytes = tensor_bytes(optimizer.recording());
    let times = repetitions(gpu, others[0].recording()).await?;
    let copies = Copies::new(gpu, bytes)?;
    let [a, b, c] = copies.runs(gpu, times)?;
    let [step, flat, matrix] = [&optimizer, &others[0], &others[1]].map(|optimizer| repeated(optimizer.recording(), times));
    let [step, flat, matrix, of_copies @ ..] = in_turn(gpu, [&step, &flat, &matrix, &a, &b, &c], repeats).await?;
    let seconds = step / times as f64;
    let streamed = Streamed { seconds, speed: bytes as f64 / seconds, copy: copies.speed(&of_copies, times) };
    Ok((Row { elements, bytes, streamed }, [step / flat, step / matrix]))
}

fn prepare(gpu: &Gpu, optimizer: &Optimizer) {
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    optimizer.prepare(&mut encoder);
    gpu.queue().submit([encoder.finish()]);
}

/// The bytes that a recording moves of tensors, tables left out.
fn tensor_bytes(recording: &Recording) -> u64 {
    let tensors = ["x", "y", "param", "grad", "state_0", "state_1", "state_2", "master"];
    let bindings = recording.dispatches().flat_map(|dispatch| dispatch.bindings);
    bindings.filter(|binding| tensors.contains(&binding.name)).map(|binding| binding.moved()).sum()
}

fn print(bench: &mut Bench<'_>, heading: &mut Option<String>, name: &str, row: &Row, flat: &[f64]) {
    let Row { elements, bytes, streamed: Streamed { seconds, speed, copy } } = row;
    let (bytes_per_element, ratio) = (*bytes as f64 / *elements as f64, speed / copy);
    let sheet = bench.options.bandwidth.map(|bandwidth| bandwidth * 1e9);
    if bench.options.json {
        let mut line = serde_json::json!({
            "kernel": name,
            "elements": elements,
            "bytes_per_element": bytes_per_element.round() as u64,
            "seconds": seconds,
            "copy_ratio": ratio,
            "sheet_ratio": sheet.map(|sheet| speed / sheet),
        });
        if let &[flat, matrix] = flat {
            line["flat_ratio"] = flat.into();
            line["matrix_ratio"] = matrix.into();
        }
        (bench.print)(&line.to_string());
        return;
    }
    let flat: Vec<String> = flat.iter().map(|ratio| format!("{ratio:.2}")).collect();
    let [speed_gb, copy_gb] = [speed, copy].map(|speed| speed / 1e9);
    let (share, flat) = (share(*speed, sheet), flat.join(" / "));
    let row = format!("{name:20} {bytes_per_element:14.1} {seconds:12.6} {speed_gb:10.2} {copy_gb:10.2} {ratio:10.3}{share} {flat:>10}");
    bench.row(heading, &row);
}

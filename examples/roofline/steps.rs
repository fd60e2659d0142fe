//! Every fused optimizer step against a copy kernel.

use std::time::Duration;

use gradus::optim::{Adadelta, Adagrad, Adam, AdamP, AdamW, Algorithm, DiffGrad, Optimizer, Param, RmsProp, Sgd, SgdP};
use gradus::{DType, Gpu, Recording, Tensor, reference, vector};

use super::{Arguments, in_turn, noise};

pub async fn run(gpu: &Gpu, arguments: &Arguments) -> Result<(), gradus::Error> {
    let rows = arguments.elements.div_ceil(4096).max(1);
    let shape = [rows, 4096];
    let mut printed = arguments.json;
    let mut heading = || {
        if !std::mem::replace(&mut printed, true) {
            println!("{} elements\n", rows * 4096);
            println!("{:16} {:>14} {:>12} {:>10} {:>10} {:>10}", "kernel", "bytes/element", "seconds", "GB/s", "copy_ratio", "flat_ratio");
        }
    };
    for (name, algorithm) in algorithms() {
        if name.contains(&arguments.filter) {
            heading();
            let row = one(gpu, &*algorithm, &shape, arguments.repeats).await?;
            print(name, arguments.json, &row, &[]);
        }
    }
    for (name, algorithm) in [("adamw/1000", &AdamW::default() as &dyn Algorithm), ("adamp/1000", &AdamP::default())] {
        if name.contains(&arguments.filter) {
            heading();
            let (row, flat) = many(gpu, algorithm, arguments.repeats).await?;
            print(name, arguments.json, &row, &flat);
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
    bytes_per_element: f64,
    seconds: f64,
    copy_ratio: f64,
}

/// One tensor of `shape` against a copy of as many elements.
async fn one(gpu: &Gpu, algorithm: &dyn Algorithm, shape: &[usize], repeats: usize) -> Result<Row, gradus::Error> {
    let [param, grad] = [noise(gpu, &[shape], 1)?, noise(gpu, &[shape], 2)?].map(|mut tensors| tensors.remove(0));
    let optimizer = Optimizer::new(gpu, algorithm, &[Param::new("parameter", &param, &grad)])?;
    prepare(gpu, &optimizer);
    let copy = copy_of(gpu, param.len())?;
    let [step_time, copy_time] = in_turn(gpu, [optimizer.recording(), &copy], repeats).await?;
    Ok(row(optimizer.recording(), &copy, param.len(), step_time, copy_time))
}

/// 1,000 matrices in one arena against a copy; and their time over that of one flat tensor, and of
/// one matrix, of as many elements.
async fn many(gpu: &Gpu, algorithm: &dyn Algorithm, repeats: usize) -> Result<(Row, [f64; 2]), gradus::Error> {
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
    let total: usize = shapes.iter().map(|shape| shape.iter().product::<usize>()).sum();
    let (params, grads) = (noise(gpu, &shapes, 1)?, noise(gpu, &shapes, 2)?);
    let names: Vec<String> = (0..params.len()).map(|i| format!("parameter.{i}")).collect();
    let list: Vec<Param> = names.iter().zip(params.iter().zip(&grads)).map(|(name, (p, g))| Param::new(name, p, g)).collect();
    let optimizer = Optimizer::new(gpu, algorithm, &list)?;
    prepare(gpu, &optimizer);
    let mut others = Vec::new();
    for shape in [vec![total], vec![total / 4096, 4096]] {
        let (p, g) = (noise(gpu, &[&shape], 1)?, noise(gpu, &[&shape], 2)?);
        let other = Optimizer::new(gpu, algorithm, &[Param::new("parameter", &p[0], &g[0])])?;
        prepare(gpu, &other);
        others.push(other);
    }
    let copy = copy_of(gpu, total)?;
    let recordings = [optimizer.recording(), &copy, others[0].recording(), others[1].recording()];
    let [step_time, copy_time, flat, matrix] = in_turn(gpu, recordings, repeats).await?;
    let ratio = |other: Duration| step_time.as_secs_f64() / other.as_secs_f64();
    Ok((row(optimizer.recording(), &copy, total, step_time, copy_time), [ratio(flat), ratio(matrix)]))
}

/// A copy of as many elements, of numbers that are not 0.
pub fn copy_of(gpu: &Gpu, elements: usize) -> Result<Recording, gradus::Error> {
    let (x, y) = (noise(gpu, &[&[elements]], 4)?, Tensor::zeros(gpu, &[elements], DType::F32)?);
    let mut recording = Recording::new();
    vector::copy(gpu, &mut recording, &x[0], &y)?;
    Ok(recording)
}

fn prepare(gpu: &Gpu, optimizer: &Optimizer) {
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    optimizer.prepare(&mut encoder);
    gpu.queue().submit([encoder.finish()]);
}

fn row(step: &Recording, copy: &Recording, elements: usize, step_time: Duration, copy_time: Duration) -> Row {
    let speed = |recording: &Recording, time: Duration| tensor_bytes(recording) as f64 / time.as_secs_f64();
    Row {
        elements,
        bytes_per_element: tensor_bytes(step) as f64 / elements as f64,
        seconds: step_time.as_secs_f64(),
        copy_ratio: speed(step, step_time) / speed(copy, copy_time),
    }
}

/// The bytes that a recording moves of tensors, tables left out.
fn tensor_bytes(recording: &Recording) -> u64 {
    let tensors = ["x", "y", "param", "grad", "state_0", "state_1", "state_2", "master"];
    let bindings = recording.dispatches().flat_map(|dispatch| dispatch.bindings);
    bindings.filter(|binding| tensors.contains(&binding.name)).map(|binding| binding.moved()).sum()
}

fn print(name: &str, json: bool, row: &Row, flat: &[f64]) {
    let Row { elements, bytes_per_element, seconds, copy_ratio } = row;
    if json {
        let mut line = serde_json::json!({
            "kernel": name,
            "elements": elements,
            "bytes_per_element": bytes_per_element.round() as u64,
            "seconds": seconds,
            "copy_ratio": copy_ratio,
        });
        if let &[flat, matrix] = flat {
            line["flat_ratio"] = flat.into();
            line["matrix_ratio"] = matrix.into();
        }
        println!("{line}");
    } else {
        let speed = bytes_per_element * *elements as f64 / seconds / 1e9;
        let flat: Vec<String> = flat.iter().map(|ratio| format!("{ratio:.2}")).collect();
        println!("{name:16} {bytes_per_element:14.1} {seconds:12.6} {speed:10.2} {copy_ratio:10.3} {:>10}", flat.join(" / "));
    }
}

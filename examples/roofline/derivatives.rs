//! Hessian and Gauss-Newton products against a gradient: time and memory.

use std::time::Instant;

use gradus::graph::{ConvolutionOptions, Graph, Init, Padding, Parameters, Plan, Stage, Var, Window, layers, losses};
use gradus::{Gpu, Recording, Tensor, vector};

use super::Bench;
use super::timing::{in_turn, repeated, repetitions};

const BATCH: usize = 256;

struct Model {
    graph: Graph,
    input: Var,
    labels: Var,
    output: Var,
    loss: Var,
    parameters: Vec<Var>,
}

/// The networks of `train_digits` at its shapes.
fn model(kind: &str) -> Result<Model, gradus::Error> {
    let mut graph = Graph::new();
    let g = &mut graph;
    let same = ConvolutionOptions { padding: Padding::Same, ..Default::default() };
    let (input, output) = match kind {
        "mlp" => {
            let input = g.input("input", &[BATCH, 64])?;
            let mut x = input;
            for (i, width) in [128, 64].into_iter().enumerate() {
                let z = layers::dense(g, &format!("fc{i}"), x, width)?;
                x = g.relu(z)?;
            }
            (input, layers::dense(g, "fc2", x, 10)?)
        }
        "cnn" => {
            let input = g.input("input", &[BATCH, 1, 8, 8])?;
            let z = layers::convolution(g, "conv1", input, 16, &[3, 3], &same)?;
            let x = g.relu(z)?;
            let z = layers::convolution(g, "conv2", x, 32, &[3, 3], &same)?;
            let x = g.relu(z)?;
            let x = g.avg_pool(x, &Window::tiles(2, 2))?;
            let x = g.flatten(x, 1)?;
            (input, layers::dense(g, "fc", x, 10)?)
        }
        _ => {
            let input = g.input("input", &[BATCH, 8, 8])?;
            let x = layers::dense(g, "embed", input, 32)?;
            let position = g.parameter("position", &[8, 32], Init::Normal(0.02))?;
            let x = g.add(x, position)?;
            let x = layers::transformer_block(g, "block", x, 4, 64, false)?;
            let x = g.mean(x, &[1])?;
            (input, layers::dense(g, "fc", x, 10)?)
        }
    };
    let labels = g.indices("labels", &[BATCH])?;
    let loss = losses::cross_entropy(g, output, labels)?;
    let parameters = g.parameters().map(|(_, var)| var).collect();
    Ok(Model { graph, input, labels, output, loss, parameters })
}

pub(super) async fn run(bench: &mut Bench<'_>) -> Result<(), gradus::Error> {
    let [a, b, c, d] = ["gradient s", "gradient_ratio", "first_ratio", "memory_ratio"];
    let [e, f, g] = ["plan ms", "record ms", "again ms"];
    let mut heading = Some(format!("{:24} {a:>12} {b:>15} {c:>12} {d:>13} {e:>9} {f:>10} {g:>9}", "product"));
    for product in ["hessian", "gauss_newton"] {
        for kind in ["mlp", "cnn", "attention"] {
            let name = format!("{product}/{kind}");
            if !bench.chosen(&name) {
                continue;
            }
            let row = one(bench.gpu, product, kind, bench.options.repeats).await?;
            let [gradient, first, memory] = [row.gradient_ratio, row.first_ratio, row.memory_ratio];
            let [plan, record, again] = row.host.map(|seconds| 1e3 * seconds);
            if bench.options.json {
                let line = serde_json::json!({
                    "kernel": name, "gradient_seconds": row.gradient_seconds, "gradient_ratio": gradient,
                    "first_ratio": first, "memory_ratio": memory, "plan_ms": plan, "record_ms": record, "again_ms": again,
                });
                (bench.print)(&line.to_string());
            } else {
                let ratios = format!("{gradient:15.2} {first:12.2} {memory:13.2}");
                let row = format!("{name:24} {:12.6} {ratios} {plan:9.2} {record:10.2} {again:9.2}", row.gradient_seconds);
                bench.row(&mut heading, &row);
            }
        }
    }
    Ok(())
}

struct Row {
    gradient_seconds: f64,
    /// A product over a gradient, forward and backward.
    gradient_ratio: f64,
    /// The same with what is prepared once.
    first_ratio: f64,
    memory_ratio: f64,
    /// The seconds that the host takes to plan, to record for the first time, and to record again.
    host: [f64; 3],
}

async fn one(gpu: &Gpu, product: &str, kind: &str, repeats: usize) -> Result<Row, gradus::Error> {
    let Model { mut graph, input, labels, output, loss, parameters } = model(kind)?;
    let values = Parameters::new(gpu, &graph, 1)?;
    let directions = values.like(gpu)?;
    let pixels = Tensor::zeros(gpu, graph.shape(input)?, gradus::DType::F32)?;
    let mut fill = Recording::new();
    vector::random_uniform(gpu, &mut fill, 1, 0, &pixels)?;
    vector::random_rademacher(gpu, &mut fill, 2, 0, directions.flat())?;
    gpu.submit([&fill]);
    let classes: Vec<u32> = (0..BATCH as u32).map(|i| i % 10).collect();
    let classes = Tensor::from_slice(gpu, &[BATCH], &classes)?;

    let gradient = graph.gradient(loss, &parameters)?;
    let mut bindings: Vec<(Var, &Tensor)> = vec![(input, &pixels), (labels, &classes)];
    bindings.extend(parameters.iter().copied().zip(values.tensors()));
    let plan = Plan::new(gpu, &graph, &[Stage::new(&[&[loss], &gradient[..]].concat())])?;
    let gradient_memory = plan.peak_memory();
    let gradient_program = plan.compile(gpu, &bindings)?;

    let mut tangents = Vec::new();
    for (i, &parameter) in parameters.iter().enumerate() {
        let shape = graph.shape(parameter)?.to_vec();
        tangents.push(graph.input(&format!("tangent.{i}"), &shape)?);
    }
    let products = match product {
        "hessian" => graph.jvp(&gradient, &parameters, &tangents)?,
        _ => {
            let along = graph.jvp(&[output], &parameters, &tangents)?;
            let slope = graph.gradient(loss, &[output])?;
            let curved = graph.jvp(&slope, &[output], &along)?;
            graph.vjp(&[output], &curved, &parameters)?
        }
    };
    let begun = Instant::now();
    let plan = Plan::new(gpu, &graph, &[Stage::new(&[loss]), Stage::new(&products).after(&tangents)])?;
    let planned = begun.elapsed();
    let memory = plan.peak_memory();
    let results = values.like(gpu)?;
    bindings.extend(tangents.iter().copied().zip(directions.tensors()));
    bindings.extend(products.iter().copied().zip(results.tensors()));
    let program = plan.compile(gpu, &bindings)?;
    let record = || -> Result<_, gradus::Error> {
        let begun = Instant::now();
        Ok(([program.recording(0)?, program.recording(1)?], begun.elapsed()))
    };
    let (_, recorded) = record()?;
    let ([prepare, apply], again) = record()?;
    let whole = gradient_program.recording(0)?;
    let mut first = prepare.clone();
    first.extend(apply.clone());
    gpu.submit([&prepare]);
    let times = repetitions(gpu, &whole).await?;
    let [whole, apply, first] = [&whole, &apply, &first].map(|recording| repeated(recording, times));
    let [gradient_time, apply_time, first_time] = in_turn(gpu, [&whole, &apply, &first], repeats).await?;
    let ratio = |time: f64| time / gradient_time;
    Ok(Row {
        gradient_seconds: gradient_time / times as f64,
        gradient_ratio: ratio(apply_time),
        first_ratio: ratio(first_time),
        memory_ratio: memory as f64 / gradient_memory as f64,
        host: [planned, recorded, again].map(|time| time.as_secs_f64()),
    })
}

//! Temporary.
#[path = "../common/scenes.rs"]
mod scenes;
use gradus::krylov::{Cg, CgOptions};
use gradus::optim::{Adam, Optimizer, Options, Param};
use gradus::poisson::Laplacian;
use gradus::poisson::learned_multigrid::{Batches, Cycle, LearnedMultigrid, Scene as Kind, Scenes, Training};
use gradus::{DType, Gpu, Tensor};
use std::time::Instant;

fn main() {
    let args: std::collections::HashMap<String, String> =
        std::env::args().skip(1).map(|a| a.split_once('=').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap()).collect();
    let get = |k: &str, d: &str| args.get(k).cloned().unwrap_or(d.to_owned());
    let num = |k: &str, d: &str| get(k, d).parse::<f64>().unwrap();
    let list = |k: &str, d: &str| get(k, d).split(',').filter(|s| !s.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    pollster::block_on(async {
        let (dim, radius, steps) = (num("dim", "2") as usize, num("radius", "2") as usize, num("steps", "300") as u32);
        let gpu = Gpu::headless().await.unwrap();
        let cycle = Cycle { dim, radius, tables: get("tables", "on") == "on" };
        let parameters = cycle.parameters(&gpu).unwrap();
        if let Some(path) = args.get("load") {
            let bytes = std::fs::read(path).unwrap();
            parameters.load(&gpu, &bytes).unwrap();
        }
        let gradients = parameters.like(&gpu).unwrap();
        let lr = num("lr", "1e-2");
        let options = Options { max_norm: Some(1.0), ..Default::default() };
        let mut optimizer = Optimizer::with_options(
            &gpu,
            &Adam { lr, ..Default::default() },
            &[Param::new("all", parameters.flat(), gradients.flat())],
            options,
        )
        .unwrap();
        let sizes: Vec<usize> = list("sizes", if dim == 2 { "32,64" } else { "16,24" }).iter().map(|s| s.parse().unwrap()).collect();
        let kinds: Vec<Kind> = list("kinds", "open,box,balls,rubble,surface")
            .iter()
            .map(|k| match k.as_str() {
                "open" => Kind::Open,
                "box" => Kind::Box,
                "balls" => Kind::Balls,
                "rubble" => Kind::Rubble,
                _ => Kind::Surface,
            })
            .collect();
        let batch = num("batch", "15");
        let t = Instant::now();
        let first = (*sizes.last().unwrap() as f64).powi(dim as i32);
        let batches: Vec<Batches> = if steps == 0 {
            vec![]
        } else {
            sizes
                .iter()
                .map(|&size| {
                    let scenes = Scenes::new(&vec![size; dim], &kinds).unwrap();
                    let n = (batch * first / (size as f64).powi(dim as i32)).round() as usize;
                    Batches::new(&gpu, &cycle, &parameters, &gradients, scenes, n.min(num("most", "60") as usize)).unwrap()
                })
                .collect()
        };
        let (mut mean, mut count) = (0.0, 0);
        let seed = num("seed", "0") as u64;
        for step in 0..steps {
            let b = &batches[step as usize % batches.len()];
            b.draw(seed, step).unwrap();
            let s = f64::from(step) / f64::from(steps);
            let half = |a: f64, b: f64, t: f64| b + (a - b) * 0.5 * (1.0 + (std::f64::consts::PI * t).cos());
            let rate = if s < 0.3 { half(0.04, 1.0, s / 0.3) } else { half(1.0, 1e-5, (s - 0.3) / 0.7) };
            optimizer.set_lr(0, lr * rate).unwrap();
            let mut encoder = gpu.device().create_command_encoder(&Default::default());
            b.recording().encode(&mut encoder);
            optimizer.step(&mut encoder);
            gpu.queue().submit([encoder.finish()]);
            let loss = b.loss().read::<f32>(&gpu).await.unwrap()[0];
            mean += f64::from(loss);
            count += 1;
            if (step + 1) % 100 == 0 {
                println!("step {}: {:.5}, {:.0} s", step + 1, mean / f64::from(count), t.elapsed().as_secs_f64());
                (mean, count) = (0.0, 0);
            }
        }
        for (name, t) in parameters.names().iter().zip(parameters.tensors()) {
            println!("{name} {:.4?}", t.read::<f32>(&gpu).await.unwrap());
        }
        if let Some(path) = args.get("save") {
            std::fs::write(path, parameters.save(&gpu).await.unwrap()).unwrap();
        }
        let wanted = list("val", "open,box,sphere,surface,rubble");
        for size in list("vsizes", if dim == 2 { "64,128,256" } else { "32,48" }) {
            let n: Vec<usize> = size.split('x').map(|s| s.parse().unwrap()).collect();
            let n = if n.len() == 1 { vec![n[0]; dim] } else { n };
            let t = Instant::now();
            let mut line = format!("{size:>8}:");
            for scene in scenes::Scene::ALL.into_iter().filter(|s| wanted.iter().any(|w| w == s.name())) {
                let grid = scene.grid(&n, 0).unwrap();
                let laplacian = Laplacian::new(&gpu, &grid).unwrap();
                let b = Tensor::from_slice(&gpu, &n, &scenes::Rhs::Noise.values(&grid, 0)).unwrap();
                let x = Tensor::zeros(&gpu, &n, DType::F32).unwrap();
                let m =
                    LearnedMultigrid::new(&gpu, &grid, &cycle.coefficients(&gpu, &parameters, Training::default()).await.unwrap()).unwrap();
                let options = CgOptions { relative_tolerance: 1e-6, max_iterations: 60, check_every: 4, ..Default::default() };
                let report = Cg::new(&laplacian, Some(&m), &b, &x, &options).unwrap().solve().await.unwrap();
                let at = |tol: f64| report.history.iter().position(|h| *h <= tol * report.history[0]).map_or("-".into(), |i| i.to_string());
                line += &format!("  {} {:>2}/{:>2}", scene.name(), at(1e-4), at(1e-6));
            }
            println!("{line}   ({:.0} s)", t.elapsed().as_secs_f64());
        }
    });
}

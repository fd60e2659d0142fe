//! Trains.
use gradus::Gpu;
use gradus::optim::{Adam, Optimizer, Param};
use gradus::poisson::learned_multigrid::{Batches, Cycle, Scene, Scenes};
use std::time::Instant;

fn main() {
    pollster::block_on(async {
        let arg = |i: usize| std::env::args().nth(i).unwrap();
        let (dim, radius, size, batch, steps): (usize, usize, usize, usize, u32) =
            (arg(1).parse().unwrap(), arg(2).parse().unwrap(), arg(3).parse().unwrap(), arg(4).parse().unwrap(), arg(5).parse().unwrap());
        let gpu = Gpu::headless().await.unwrap();
        let cycle = Cycle { dim, radius, tables: arg(6) == "on" };
        let parameters = cycle.parameters(&gpu).unwrap();
        let gradients = parameters.like(&gpu).unwrap();
        let optimizer = Optimizer::new(&gpu, &Adam { lr: 3e-3, ..Default::default() }, &[Param::new("all", parameters.flat(), gradients.flat())]).unwrap();
        let t = Instant::now();
        let scenes = Scenes::new(&vec![size; dim], &Scene::ALL).unwrap();
        let batches = Batches::new(&gpu, &cycle, &parameters, &gradients, scenes, batch).unwrap();
        println!("set up {:.1} s", t.elapsed().as_secs_f64());
        for step in 0..steps {
            let t = Instant::now();
            batches.draw(0, step).unwrap();
            let drawn = t.elapsed().as_secs_f64();
            let mut encoder = gpu.device().create_command_encoder(&Default::default());
            batches.recording().encode(&mut encoder);
            optimizer.step(&mut encoder);
            gpu.queue().submit([encoder.finish()]);
            let loss = batches.loss().read::<f32>(&gpu).await.unwrap()[0];
            println!("step {step}: {loss:.4}, {drawn:.3} of {:.3} s", t.elapsed().as_secs_f64());
        }
        println!("{:?}", parameters.flat().read::<f32>(&gpu).await.unwrap());
    });
}

//! What the networks of the deep conjugate direction method are trained with: data and loss against f64.

#![cfg(all(feature = "graph", feature = "poisson"))]

mod common;
#[path = "common/systems.rs"]
mod systems;

use std::collections::HashMap;

use common::{gpu, gpu_for, noise, read};
use gradus::gpu::{Checks, Target};
use gradus::graph::{Graph, Plan, Stage, Var};
use gradus::poisson::dcdm::{Architecture, Batches, Laplacians, Mixtures, direction_loss};
use gradus::poisson::{Cell, Grid, Laplacian};
use gradus::reference::graph::evaluate;
use gradus::reference::poisson::Cells;
use gradus::reference::vector::dot;
use gradus::{Error, Gpu, Tensor};
use nalgebra::{DMatrix, DVector};
use systems::{distance, norm, wide};

fn gpus() -> [Gpu; 3] {
    [gpu(Checks::Unchecked), gpu(Checks::Checked), gpu_for(Target::discrete())]
}

fn flags(grid: &Grid) -> Vec<u8> {
    grid.cells().iter().map(|&cell| cell as u8).collect()
}

fn apply(grid: &Grid, x: &[f64]) -> Vec<f64> {
    Cells { sizes: grid.sizes(), flags: &flags(grid), open: grid.open(), ..Default::default() }.apply(x)
}

fn matrix(grid: &Grid) -> DMatrix<f64> {
    let column = |i: usize| {
        let mut unit = vec![0.0; grid.len()];
        unit[i] = 1.0;
        DVector::from_vec(apply(grid, &unit))
    };
    DMatrix::from_columns(&(0..grid.len()).map(column).collect::<Vec<_>>())
}

/// Two grids of 5 by 7 cells: one open, one between walls, with a pocket of one cell.
fn pair() -> [Grid; 2] {
    let open = Grid::new(&[5, 7]).unwrap().with_open(&[[true, false], [true, true]]).unwrap();
    let mut solids = vec![0; 35];
    [1, 7, 20, 21].into_iter().for_each(|i| solids[i] = 1);
    [open, Grid::new(&[5, 7]).unwrap().with_flags(&solids).unwrap()]
}

/// The energy of samples in each eigenvector of the Laplacian, which a dense solver finds: 81 times as much in the lower 55 %.
#[test]
fn mixtures_of_eigenvectors() {
    let (wall, open) = ([false, false], [true, true]);
    let boxes: [(&[usize], &[[bool; 2]]); 5] = [
        (&[9, 11], &[wall, wall]),
        (&[9, 11], &[open, open]),
        (&[8, 12], &[[true, false], [false, true]]),
        (&[1, 90], &[wall, [true, false]]),
        (&[4, 5, 5], &[wall, open, [false, true]]),
    ];
    for (sizes, faces) in boxes {
        let grid = Grid::new(sizes).unwrap().with_open(faces).unwrap();
        let mixtures = Mixtures::new(&grid, 0.0).unwrap();
        let eigen = matrix(&grid).symmetric_eigen();
        let mut order: Vec<usize> = (0..grid.len()).collect();
        order.sort_by(|&i, &j| eigen.eigenvalues[i].total_cmp(&eigen.eigenvalues[j]));
        let count = 4000;
        let mut energies = vec![0.0; grid.len()];
        for number in 0..count {
            let sample = mixtures.sample(3, number).unwrap();
            assert_eq!(sample.grid, grid);
            let b = DVector::from_vec(wide(&sample.b));
            assert!((b.norm() - 1.0).abs() < 1e-6);
            let coefficients = eigen.eigenvectors.tr_mul(&b);
            order.iter().zip(&mut energies).for_each(|(&i, energy)| *energy += coefficients[i].powi(2));
        }
        let value = |place: usize| eigen.eigenvalues[order[place]];
        let bound = value((0.55 * (grid.len() - 1) as f64) as usize) + 1e-9;
        let constant = usize::from(value(0).abs() < 1e-9);
        assert_eq!(constant == 1, faces.iter().all(|&face| face == wall));
        assert!(energies[..constant].iter().all(|&energy| energy < 1e-6), "{sizes:?}: {energies:?}");
        // only ratios are known, as samples are normalised, for which that of some 50 modes suffers by 4 %
        let lower: Vec<f64> = (constant..grid.len()).filter(|&i| value(i) <= bound).map(|i| energies[i]).collect();
        let upper: Vec<f64> = (constant..grid.len()).filter(|&i| value(i) > bound).map(|i| energies[i]).collect();
        let mean = |of: &[f64]| of.iter().sum::<f64>() / of.len() as f64;
        let ratio = mean(&lower) / mean(&upper);
        assert!((ratio / 81.0 - 1.0).abs() < 0.1, "{sizes:?} {faces:?}: {ratio}");
        for energies in [lower, upper] {
            let mean = mean(&energies);
            assert!(energies.iter().all(|energy| (energy / mean - 1.0).abs() < 0.2), "{sizes:?} {faces:?}: {energies:?} about {mean}");
        }
    }
}

/// On grids of so few cells that Lanczos finds all eigenvectors, the energy of samples with obstacles: 81 times as much by
/// eigenvalue in the lower 55 %.
#[test]
fn mixtures_of_ritz_vectors() {
    for open in [false, true] {
        let walls = Grid::new(&[5, 6]).unwrap().with_open(&[[open; 2]; 2]).unwrap();
        let mixtures = Mixtures::new(&walls, 1.0).unwrap();
        // energies and their counts
        let (mut lower, mut upper) = ((0.0, 0), (0.0, 0));
        for number in 0..1500 {
            let sample = mixtures.sample(11, number).unwrap();
            if sample.grid == walls {
                continue;
            }
            let eigen = matrix(&sample.grid).symmetric_eigen();
            let coefficients = eigen.eigenvectors.tr_mul(&DVector::from_vec(wide(&sample.b)));
            // one for each eigenvalue, whatever its multiplicity, and none for the null space
            let mut pairs: Vec<(f64, f64)> = eigen.eigenvalues.iter().copied().zip(coefficients.iter().map(|c| c * c)).collect();
            pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
            assert!(pairs.iter().all(|&(value, energy)| value > 1e-9 || energy < 1e-9), "{pairs:?}");
            pairs.retain(|pair| pair.0 > 1e-9);
            pairs.dedup_by(|b, a| {
                let equal = (b.0 - a.0).abs() < 1e-9;
                a.1 += if equal { b.1 } else { 0.0 };
                equal
            });
            let m = pairs.len();
            for (i, (_, energy)) in pairs.into_iter().enumerate() {
                let of = if i as f64 / m as f64 <= 0.55 { &mut lower } else { &mut upper };
                *of = (of.0 + energy, of.1 + 1);
            }
        }
        let mean = |(energy, count): (f64, usize)| energy / count as f64;
        let ratio = mean(lower) / mean(upper);
        println!("{ratio}");
        // which normalising of some 20 eigenvectors takes 10 % from
        assert!((60.0..90.0).contains(&ratio), "{ratio}");
    }
}

#[test]
fn samples_with_obstacles() {
    for (sizes, open) in [(&[12usize, 15][..], true), (&[12, 15], false), (&[6, 7, 8], false)] {
        let walls = Grid::new(sizes).unwrap().with_open(&vec![[open; 2]; sizes.len()]).unwrap();
        let mixtures = Mixtures::new(&walls, 0.6).unwrap();
        let samples: Vec<_> = (0..200).map(|number| mixtures.sample(5, number).unwrap()).collect();
        let solid = |grid: &Grid| grid.cells().iter().filter(|&&cell| cell == Cell::Solid).count();
        let shares: Vec<f64> = samples.iter().map(|sample| solid(&sample.grid) as f64 / walls.len() as f64).collect();
        let with = shares.iter().filter(|&&share| share > 0.0).count();
        // 120 expected, five deviations
        assert!((85..=155).contains(&with), "{with} of 200 have obstacles");
        assert!(shares.iter().all(|&share| share < 0.4), "{shares:?}");
        let mut balls = 0;
        for sample in &samples {
            let (flags, b) = (flags(&sample.grid), wide(&sample.b));
            assert_eq!((sample.grid.sizes(), sample.grid.open()), (walls.sizes(), walls.open()));
            assert!((norm(&b) - 1.0).abs() < 1e-6);
            let cells = Cells { sizes, flags: &flags, open: walls.open(), ..Default::default() };
            assert!(distance(&cells.project(&b), &b) < 1e-6);
            // how far they extend along the last axis
            let width = sizes[sizes.len() - 1];
            let places: Vec<usize> = (0..flags.len()).filter(|&i| flags[i] == 1).map(|i| i % width).collect();
            let extent = places.iter().max().zip(places.iter().min()).map_or(0, |(most, least)| most - least + 1);
            balls += usize::from(extent > 0 && extent as f64 <= 0.6 * sizes[0] as f64 + 1.0);
        }
        assert!((with / 3..2 * with / 3).contains(&balls), "{balls} of {with} are balls");
        assert_eq!(mixtures.sample(5, 7).unwrap(), samples[7]);
        assert_ne!(mixtures.sample(6, 7).unwrap().b, samples[7].b);
        assert_ne!(samples[0].b, samples[1].b);
    }
    let walls = Grid::new(&[4, 4]).unwrap();
    for share in [-0.1, 1.1, f64::NAN] {
        assert!(matches!(Mixtures::new(&walls, share), Err(Error::Option { option, .. }) if option == "obstacles"));
    }
    assert!(matches!(Mixtures::new(&Grid::new(&[1, 1]).unwrap(), 0.0), Err(Error::Option { option, .. }) if option == "grid"));
    // one cell under air is a system, and what is solid altogether has nothing but zeros
    let cell = Grid::new(&[1, 1]).unwrap().with_open(&[[true, false], [false, false]]).unwrap();
    assert_eq!(Mixtures::new(&cell, 0.0).unwrap().sample(0, 0).unwrap().b[0].abs(), 1.0);
}

/// The loss as its definition says.
fn loss(grids: &[Grid], q: &[f64], b: &[f64]) -> f64 {
    let n = grids[0].len();
    let each = grids.iter().zip(q.chunks(n).zip(b.chunks(n))).map(|(grid, (q, b))| {
        let image = apply(grid, q);
        let alpha = dot(q, b) / dot(q, &image);
        let left: f64 = b.iter().zip(&image).map(|(b, image)| (b - alpha * image).powi(2)).sum();
        left / dot(b, b)
    });
    each.sum::<f64>() / grids.len() as f64
}

struct Problem {
    grids: [Grid; 2],
    graph: Graph,
    q: Var,
    b: Var,
    loss: Var,
    gradient: Var,
}

impl Problem {
    fn new(gpu: &Gpu) -> (Self, Laplacians) {
        let grids = pair();
        let laplacians = Laplacians::new(gpu, &grids).unwrap();
        let mut graph = Graph::new();
        let (q, b) = (graph.input("q", &[2, 1, 5, 7]).unwrap(), graph.input("b", &[2, 1, 5, 7]).unwrap());
        let loss = direction_loss(&mut graph, &laplacians.linear_map().unwrap(), q, b).unwrap();
        let gradient = graph.gradient(loss, &[q]).unwrap()[0];
        (Self { grids, graph, q, b, loss, gradient }, laplacians)
    }

    fn evaluate(&self, q: &[f64], b: &[f64]) -> (f64, Vec<f64>) {
        let values = HashMap::from([(self.q, q.to_vec()), (self.b, b.to_vec())]);
        let mut found = evaluate(&self.graph, &values, &[self.loss, self.gradient]).unwrap();
        (found[0][0], found.remove(1))
    }

    /// Right-hand sides in the range of the matrices.
    fn b(&self) -> Vec<f64> {
        let random = wide(&noise(2, 70));
        let project =
            |(grid, b): (&Grid, &[f64])| Cells { sizes: &[5, 7], flags: &flags(grid), open: grid.open(), ..Default::default() }.project(b);
        self.grids.iter().zip(random.chunks(35)).flat_map(project).collect()
    }
}

#[test]
fn the_loss_as_defined_and_its_gradient_by_differences() {
    let (problem, _) = Problem::new(&gpu(Checks::Unchecked));
    let (q, b) = (wide(&noise(1, 70)), problem.b());
    let (value, gradient) = problem.evaluate(&q, &b);
    let expected = loss(&problem.grids, &q, &b);
    assert!((value - expected).abs() < 1e-13 * expected && expected > 0.1, "{value} for {expected}");
    for i in 0..q.len() {
        let moved = |by: f64| {
            let mut q = q.clone();
            q[i] += by;
            loss(&problem.grids, &q, &b)
        };
        let difference = (moved(1e-5) - moved(-1e-5)) / 2e-5;
        assert!((gradient[i] - difference).abs() < 1e-8 * (1.0 + difference.abs()), "{i}: {} for {difference}", gradient[i]);
    }
    // no multiple of either matters
    for (scale_q, scale_b) in [(-3.0, 1.0), (1e-6, 1e3), (1e8, -1e-4)] {
        let times = |x: &[f64], factor: f64| x.iter().map(|x| factor * x).collect::<Vec<f64>>();
        let (scaled, slope) = problem.evaluate(&times(&q, scale_q), &times(&b, scale_b));
        assert!((scaled - value).abs() < 1e-12 * value, "{scaled} for {value}");
        assert!(distance(&times(&slope, scale_q), &gradient) < 1e-9 * norm(&gradient));
    }
    // the solutions leave nothing
    let exact = |(grid, b): (&Grid, &[f64])| -> Vec<f64> {
        let inverse = matrix(grid).pseudo_inverse(1e-9).unwrap();
        (inverse * DVector::from_row_slice(b)).iter().copied().collect()
    };
    let solutions: Vec<f64> = problem.grids.iter().zip(b.chunks(35)).flat_map(exact).collect();
    let (none, slope) = problem.evaluate(&solutions, &b);
    assert!(none < 1e-24 && norm(&slope) < 1e-11, "{none}");
}

#[test]
fn the_loss_on_the_device() {
    for gpu in gpus() {
        let (mut problem, laplacians) = Problem::new(&gpu);
        let (q, b) = (noise(1, 70), problem.b().into_iter().map(|b| b as f32).collect::<Vec<f32>>());
        let [on_q, on_b] = [&q, &b].map(|values| Tensor::from_slice(&gpu, &[2, 1, 5, 7], values).unwrap());
        let plan = Plan::new(&gpu, &problem.graph, &[Stage::new(&[problem.loss, problem.gradient])]).unwrap();
        let program = plan.compile(&gpu, &[(problem.q, &on_q), (problem.b, &on_b)]).unwrap();
        let recording = program.recording(0).unwrap();
        let check = |problem: &Problem| {
            gpu.submit([&recording]);
            let (value, gradient) = problem.evaluate(&wide(&q), &wide(&b));
            // that grids were written is seen by the loss as defined
            assert!((value - loss(&problem.grids, &wide(&q), &wide(&b))).abs() < 1e-12 * value);
            let found = read(&gpu, program.tensor(problem.loss).unwrap())[0];
            assert!((found - value).abs() < 2e-6 * value, "{found} for {value}");
            let found = read(&gpu, program.tensor(problem.gradient).unwrap());
            assert!(distance(&found, &gradient) < 1e-5 * norm(&gradient));
        };
        check(&problem);
        problem.grids.reverse();
        laplacians.write(&problem.grids).unwrap();
        check(&problem);
    }
}

/// One matrix for all samples is the same as as many of it.
#[test]
fn one_matrix_or_many() {
    let gpu = gpu(Checks::Unchecked);
    let grid = pair()[1].clone();
    let one = Laplacians::new(&gpu, std::slice::from_ref(&grid)).unwrap().linear_map().unwrap();
    let three = Laplacians::new(&gpu, &vec![grid.clone(); 3]).unwrap().linear_map().unwrap();
    let values = [1, 2].map(|seed| wide(&noise(seed, 105)));
    let found = [one, three].map(|map| {
        let mut graph = Graph::new();
        let (q, b) = (graph.input("q", &[3, 5, 7]).unwrap(), graph.input("b", &[3, 5, 7]).unwrap());
        let loss = direction_loss(&mut graph, &map, q, b).unwrap();
        evaluate(&graph, &HashMap::from([(q, values[0].clone()), (b, values[1].clone())]), &[loss]).unwrap()[0][0]
    });
    assert_eq!(found[0], found[1]);
}

/// The matrix of many grids is that of each, whatever the sizes.
#[test]
fn laplacians_side_by_side() {
    let gpu = gpu(Checks::Unchecked);
    for sizes in [&[3usize, 5][..], &[4, 8], &[1, 1], &[3, 5, 7], &[2, 4, 4]] {
        let n: usize = sizes.iter().product();
        let random = |seed: u64| {
            let flags: Vec<u8> = noise(seed, n).into_iter().map(|x| if x < -0.6 { 1 } else { 2 * u8::from(x > 0.7) }).collect();
            let grid = Grid::new(sizes).unwrap().with_flags(&flags).unwrap();
            grid.with_open(&vec![[seed.is_multiple_of(2), seed.is_multiple_of(3)]; sizes.len()]).unwrap()
        };
        let grids: Vec<Grid> = (0..4).map(random).collect();
        let map = Laplacians::new(&gpu, &grids).unwrap().linear_map().unwrap();
        let x = noise(9, 4 * n);
        let mut graph = Graph::new();
        let input = graph.input("x", &[4 * n]).unwrap();
        let product = graph.apply(&map, input).unwrap();
        let tensor = Tensor::from_slice(&gpu, &[4 * n], &x).unwrap();
        let program = Plan::new(&gpu, &graph, &[Stage::new(&[product])]).unwrap().compile(&gpu, &[(input, &tensor)]).unwrap();
        gpu.submit([&program.recording(0).unwrap()]);
        let found = read(&gpu, program.tensor(product).unwrap());
        let expected: Vec<f64> = grids.iter().zip(wide(&x).chunks(n)).flat_map(|(grid, x)| apply(grid, x)).collect();
        assert!(distance(&found, &expected) < 1e-6 * (1.0 + norm(&expected)), "{sizes:?}");
        assert_eq!(map.reference(&wide(&x)).unwrap(), expected);
    }
}

/// Loss and gradient of a batch of each size are those of the interpreter.
#[test]
fn batches_of_mixed_sizes() {
    let architecture = Architecture { channels: 3, coarse: 1, after: 1, before: 2, ..Architecture::net_64(2) };
    let gpu = gpu(Checks::Unchecked);
    let parameters = architecture.parameters(&gpu, 1).unwrap();
    let gradients = parameters.like(&gpu).unwrap();
    for (size, count) in [(6, 3), (5, 2)] {
        let walls = Grid::new(&[size, size + 1]).unwrap();
        let batches = Batches::new(&gpu, &architecture, &parameters, &gradients, Mixtures::new(&walls, 0.7).unwrap(), count).unwrap();
        for number in [0, 4] {
            batches.draw(2, number).unwrap();
            gpu.submit([batches.recording()]);
            let samples: Vec<_> =
                (0..count).map(|i| Mixtures::new(&walls, 0.7).unwrap().sample(2, number * count as u32 + i as u32).unwrap()).collect();
            let grids: Vec<Grid> = samples.iter().map(|sample| sample.grid.clone()).collect();
            let b: Vec<f64> = samples.iter().flat_map(|sample| wide(&sample.b)).collect();
            assert_eq!(read(&gpu, batches.b()), b);

            let mut graph = Graph::new();
            let input = graph.input("b", &[count, 1, size, size + 1]).unwrap();
            let q = architecture.build(&mut graph, input).unwrap();
            let map = Laplacians::new(&gpu, &grids).unwrap().linear_map().unwrap();
            let value = direction_loss(&mut graph, &map, q, input).unwrap();
            let named: Vec<(String, Var)> = graph.parameters().map(|(name, var)| (name.to_owned(), var)).collect();
            let wrt: Vec<Var> = named.iter().map(|&(_, var)| var).collect();
            let slopes = graph.gradient(value, &wrt).unwrap();
            let mut values = HashMap::from([(input, b.clone())]);
            for (name, var) in &named {
                values.insert(*var, read(&gpu, parameters.get(name).unwrap()));
            }
            let outputs: Vec<Var> = [value, q].into_iter().chain(slopes).collect();
            let expected = evaluate(&graph, &values, &outputs).unwrap();
            assert!((expected[0][0] - loss(&grids, &expected[1], &b)).abs() < 1e-10 * expected[0][0]);
            let found = read(&gpu, batches.loss())[0];
            assert!((found - expected[0][0]).abs() < 1e-5 * expected[0][0], "{found} for {}", expected[0][0]);
            let scale: f64 = expected[2..].iter().map(|slope| norm(slope)).fold(0.0, f64::max);
            for ((name, _), expected) in named.iter().zip(&expected[2..]) {
                let found = read(&gpu, gradients.get(name).unwrap());
                assert!(distance(&found, expected) < 1e-4 * scale, "{name}: {found:?} for {expected:?}");
            }
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let gpu = gpu(Checks::Unchecked);
    let grid = |sizes: &[usize]| Grid::new(sizes).unwrap();
    let refused = |result: gradus::Result<()>| assert!(matches!(result, Err(Error::Option { option, .. }) if option == "grids"));
    refused(Laplacians::new(&gpu, &[]).map(|_| ()));
    refused(Laplacians::new(&gpu, &[grid(&[3, 4]), grid(&[4, 3])]).map(|_| ()));
    let laplacians = Laplacians::new(&gpu, &[grid(&[3, 4]), grid(&[3, 4])]).unwrap();
    refused(laplacians.write(&[grid(&[3, 4])]));
    refused(laplacians.write(&[grid(&[4, 3]), grid(&[4, 3])]));
    assert!(Laplacian::new(&gpu, &grid(&[3, 4])).is_ok());

    let map = laplacians.linear_map().unwrap();
    let mut graph = Graph::new();
    let (b, other, single, scalar) = (
        graph.input("b", &[2, 12]).unwrap(),
        graph.input("other", &[2, 3, 4]).unwrap(),
        graph.input("single", &[1, 12]).unwrap(),
        graph.input("scalar", &[]).unwrap(),
    );
    for (q, b) in [(other, b), (single, single), (scalar, scalar)] {
        assert!(matches!(direction_loss(&mut graph, &map, q, b), Err(Error::Operation { operation: "direction_loss", .. })));
    }
    let architecture = Architecture { channels: 2, ..Architecture::net_64(2) };
    let parameters = architecture.parameters(&gpu, 0).unwrap();
    let new = |architecture: &Architecture, sizes: &[usize], batch: usize| {
        Batches::new(&gpu, architecture, &parameters, &parameters.like(&gpu).unwrap(), Mixtures::new(&grid(sizes), 0.0).unwrap(), batch)
    };
    assert!(matches!(new(&architecture, &[4, 4], 0), Err(Error::Option { option, .. }) if option == "batch"));
    assert!(new(&architecture, &[4, 4, 4], 1).is_err());
    assert!(matches!(new(&Architecture { channels: 3, ..architecture }, &[4, 4], 1), Err(Error::Shape { .. })));
    assert!(matches!(new(&Architecture { after: 3, ..architecture }, &[4, 4], 1), Err(Error::Unknown { .. })));
}

//! The deep conjugate direction method: the networks, their inference, and what becomes of weights that are of no use.

#![cfg(all(feature = "graph", feature = "poisson", feature = "weights"))]

mod common;
#[path = "common/scenes.rs"]
mod scenes;
#[path = "common/systems.rs"]
mod systems;

use std::collections::HashMap;

use common::{f32s, gpu, noise, read};
use gradus::gpu::Checks;
use gradus::graph::Graph;
use gradus::krylov::{FlexibleCg, FlexibleCgOptions, Preconditioner, Report, Status};
use gradus::poisson::dcdm::{Architecture, DeepPreconditioner, DeepPreconditionerOptions, Training, Weights};
use gradus::poisson::{Grid, Laplacian};
use gradus::reference::dcdm::Network;
use gradus::reference::graph::evaluate;
use gradus::{DType, Error, Gpu, Recording, Tensor};
use pollster::block_on;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use scenes::{Scene, gpus};
use systems::{distance, norm, upload, wide};

const SMALL: Architecture = Architecture { dim: 2, channels: 4, levels: 1, before: 2, coarse: 1, after: 1 };

fn in_f64(gpu: &Gpu, weights: &Weights) -> HashMap<String, Vec<f64>> {
    weights.parameters.names().iter().map(|name| (name.clone(), read(gpu, weights.parameters.get(name).unwrap()))).collect()
}

/// z = M r, by way of tensors that are not at the beginning of their buffers if `inside`.
fn apply(gpu: &Gpu, preconditioner: &DeepPreconditioner, r: &[f32], inside: bool) -> Vec<f64> {
    let before = if inside { 3 } else { 0 };
    let part = |tensor: &Tensor| Tensor::from_buffer(tensor.buffer(), 4 * before as u64, &[r.len()], DType::F32).unwrap();
    let (from, to) = (upload(gpu, &[&vec![7.0; before], r].concat()), upload(gpu, &vec![7.0; before + r.len()]));
    let mut recording = Recording::new();
    preconditioner.record(&mut recording, &part(&from), &part(&to)).unwrap();
    gpu.submit([&recording]);
    let all = read(gpu, &to);
    assert!(all[..before].iter().all(|&value| value == 7.0));
    all[before..].to_vec()
}

#[test]
fn published_networks() {
    let count = |architecture: Architecture| -> gradus::Result<usize> {
        let mut graph = Graph::new();
        let x = graph.input("x", &vec![1; architecture.dim + 2])?;
        architecture.build(&mut graph, x)?;
        graph.parameters().map(|(_, var)| Ok(graph.shape(var)?.iter().product::<usize>())).sum()
    };
    assert_eq!(count(Architecture::net_64(3)).unwrap(), 97_457);
    assert_eq!(count(Architecture::net_128(3)).unwrap(), 152_881);
    assert_eq!(count(Architecture::net_64(2)).unwrap(), 32_657);
}

/// Channels of planes.
type Planes = Vec<Vec<Vec<f64>>>;

/// The 128-net of two levels in two dimensions as one would write it down.
struct Plain(HashMap<String, Vec<f64>>);

impl Plain {
    fn convolution(&self, name: &str, x: &Planes, kernel: usize) -> Planes {
        let (weight, bias) = (&self.0[&format!("{name}.weight")], &self.0[&format!("{name}.bias")]);
        let (inputs, height, width, reach) = (x.len(), x[0].len(), x[0][0].len(), kernel / 2);
        let mut y = vec![vec![vec![0.0; width]; height]; bias.len()];
        for (o, plane) in y.iter_mut().enumerate() {
            for (i, row) in plane.iter_mut().enumerate() {
                for (j, y) in row.iter_mut().enumerate() {
                    *y = bias[o];
                    for (c, x) in x.iter().enumerate() {
                        for (k, l) in (0..kernel).flat_map(|k| (0..kernel).map(move |l| (k, l))) {
                            let (Some(p), Some(q)) = ((i + k).checked_sub(reach), (j + l).checked_sub(reach)) else { continue };
                            let value = x.get(p).and_then(|row| row.get(q)).copied().unwrap_or(0.0);
                            *y += value * weight[((o * inputs + c) * kernel + k) * kernel + l];
                        }
                    }
                }
            }
        }
        y
    }

    fn relu(&self, name: &str, x: &Planes) -> Planes {
        let y = self.convolution(name, x, 3);
        y.into_iter().map(|plane| plane.into_iter().map(|row| row.into_iter().map(|y| y.max(0.0)).collect()).collect()).collect()
    }

    fn block(&self, name: &str, x: &Planes) -> Planes {
        sum(&self.relu(&format!("{name}.1"), &self.relu(&format!("{name}.0"), x)), x)
    }

    fn level(&self, level: usize, x: &Planes) -> Planes {
        if level == 2 {
            return (0..5).fold(x.clone(), |x, i| self.block(&format!("coarse.{i}"), &x));
        }
        let name = |i: usize| format!("before.{level}.{i}");
        let x1 = self.relu(&name(0), x);
        let x2 = self.relu(&name(1), &x1);
        let x3 = sum(&self.relu(&name(2), &x2), &x1);
        let x4 = self.relu(&name(3), &x3);
        let x5 = sum(&self.relu(&name(4), &x4), &x3);
        let x6 = self.relu(&name(5), &x5);
        let (height, width) = (x6[0].len(), x6[0][0].len());
        // the coarse cell of a cell: the first is alone where the size is odd
        let (above, left) = (|i: usize| (i + height % 2) / 2, |j: usize| (j + width % 2) / 2);
        let mut coarse = vec![vec![vec![(0.0, 0.0); width.div_ceil(2)]; height.div_ceil(2)]; x6.len()];
        for (c, i, j) in places(&x6) {
            let (sum, count) = &mut coarse[c][above(i)][left(j)];
            *sum += x6[c][i][j];
            *count += 1.0;
        }
        let means = |row: Vec<(f64, f64)>| row.into_iter().map(|(sum, count)| sum / count).collect();
        let coarse = coarse.into_iter().map(|plane| plane.into_iter().map(means).collect()).collect();
        let coarse = self.level(level + 1, &coarse);
        let mut y = x6;
        for (c, i, j) in places(&y) {
            y[c][i][j] += coarse[c][above(i)][left(j)];
        }
        (0..3).fold(y, |y, i| self.block(&format!("after.{level}.{i}"), &y))
    }
}

fn places(x: &Planes) -> Vec<(usize, usize, usize)> {
    let (height, width) = (x[0].len(), x[0][0].len());
    (0..x.len()).flat_map(|c| (0..height).flat_map(move |i| (0..width).map(move |j| (c, i, j)))).collect()
}

fn sum(a: &Planes, b: &Planes) -> Planes {
    let mut sum = a.clone();
    for (c, i, j) in places(a) {
        sum[c][i][j] += b[c][i][j];
    }
    sum
}

#[test]
fn the_network_is_what_is_published() {
    let gpu = gpu(Checks::Unchecked);
    let architecture = Architecture { channels: 3, levels: 2, ..Architecture::net_128(2) };
    let weights = Weights::initial(&gpu, &architecture, 3).unwrap();
    let plain = Plain(in_f64(&gpu, &weights));
    for [height, width] in [[1, 1], [8, 12], [7, 5], [10, 9], [3, 14]] {
        let mut graph = Graph::new();
        let x = graph.input("x", &[1, 1, height, width]).unwrap();
        let q = architecture.build(&mut graph, x).unwrap();
        let values = wide(&noise(4, height * width));
        let mut bindings: HashMap<_, _> = graph.parameters().map(|(name, var)| (var, plain.0[name].clone())).collect();
        bindings.insert(x, values.clone());
        let found = evaluate(&graph, &bindings, &[q]).unwrap().remove(0);
        let scale = ((height * width) as f64).sqrt();
        let rows: Planes = vec![values.chunks(width).map(|row| row.iter().map(|x| x * scale).collect()).collect()];
        let expected = plain.convolution("output", &plain.level(0, &plain.convolution("input", &rows, 3)), 1);
        assert!(distance(&found, &expected.concat().concat()) <= 1e-12 * norm(&found), "{height} by {width}");
    }
}

#[test]
fn inference_as_in_f64() {
    let (some, all) = ([gpu(Checks::Unchecked)], gpus());
    let (net_64, net_128) = (Architecture::net_64, Architecture::net_128);
    // the second one of each without cells that are solid
    #[allow(clippy::type_complexity, reason = "a list for a loop")]
    let cases: [(Architecture, &[&[usize]], &[Gpu]); 6] = [
        (net_64(2), &[&[5, 7]], &all),
        (net_64(2), &[&[1, 1], &[16, 24], &[23, 21]], &some),
        (net_128(2), &[&[24, 23], &[9, 12]], &some),
        (net_64(3), &[&[3, 5, 4]], &all),
        (net_64(3), &[&[1, 3, 2], &[8, 8, 8], &[11, 9, 10]], &some),
        (net_128(3), &[&[7, 5, 9], &[6, 4, 8]], &some),
    ];
    for (architecture, sizes, gpus) in cases {
        for (i, sizes) in sizes.iter().enumerate() {
            let scene = Scene::random(i as u64, sizes, if i == 1 { 0.0 } else { 0.2 }, 0.1);
            let r = noise(9, scene.flags.len());
            let mut expected = Vec::new();
            for gpu in gpus {
                let weights = Weights::initial(gpu, &architecture, i as u64).unwrap();
                if expected.is_empty() {
                    let network = Network::new(scene.cells(), &architecture, &in_f64(gpu, &weights)).unwrap();
                    expected = network.direction(&wide(&r)).unwrap();
                    assert_eq!(norm(&expected) > 0.0, scene.cells().diagonal().iter().any(|&d| d > 0.0));
                }
                let preconditioner = DeepPreconditioner::new(gpu, &scene.grid(), &weights).unwrap();
                let found = apply(gpu, &preconditioner, &r, i == 0);
                let error = distance(&found, &expected) / norm(&expected).max(f64::MIN_POSITIVE);
                assert!(error <= 1e-5, "{architecture:?}, {sizes:?}: {error}");
            }
        }
    }
}

const HALVES: DeepPreconditionerOptions = DeepPreconditionerOptions { activations: DType::F16, most_cells: None };

#[test]
fn inference_in_halves() {
    let [some, both] = [&[gpu(Checks::Unchecked)][..], &[gpu(Checks::Unchecked), gpu(Checks::Checked)]];
    let (net_64, net_128) = (Architecture::net_64, Architecture::net_128);
    // a last channel without a partner, and averages of averages
    let odd = Architecture { channels: 5, levels: 2, ..SMALL };
    // sums that are cut into parts, which stay f32
    let wide_net = Architecture { dim: 3, channels: 64, ..SMALL };
    #[allow(clippy::type_complexity, reason = "a list for a loop")]
    let cases: [(Architecture, &[&[usize]], &[Gpu]); 8] = [
        (wide_net, &[&[3, 4, 5]], some),
        (odd, &[&[23, 18]], both),
        (Architecture { dim: 3, ..odd }, &[&[5, 9, 6]], some),
        (Architecture { channels: 1, ..SMALL }, &[&[8, 7]], some),
        (net_64(2), &[&[24, 32], &[33, 27]], some),
        (net_128(2), &[&[24, 23]], some),
        (net_64(3), &[&[8, 8, 8], &[11, 9, 10]], some),
        (net_128(3), &[&[7, 5, 9]], some),
    ];
    for (architecture, sizes, gpus) in cases {
        for (i, sizes) in sizes.iter().enumerate() {
            let scene = Scene::random(i as u64, sizes, if i == 1 { 0.0 } else { 0.2 }, 0.1);
            let r = noise(9, scene.flags.len());
            let mut expected = Vec::new();
            for gpu in gpus {
                let weights = Weights::initial(gpu, &architecture, i as u64).unwrap();
                if expected.is_empty() {
                    let network = Network::new(scene.cells(), &architecture, &in_f64(gpu, &weights)).unwrap();
                    expected = network.direction(&wide(&r)).unwrap();
                }
                let preconditioner = DeepPreconditioner::with_options(gpu, &scene.grid(), &weights, &HALVES).unwrap();
                let found = apply(gpu, &preconditioner, &r, i == 0);
                let error = distance(&found, &expected) / norm(&expected).max(f64::MIN_POSITIVE);
                assert!(error <= 1e-2, "{architecture:?}, {sizes:?}: {error}");
                // and of half the precision
                assert!(error > 1e-6 || architecture.channels == 1, "{architecture:?}, {sizes:?}: {error}");
            }
        }
    }
    let (gpu, grid) = (&some[0], Grid::new(&[70, 60]).unwrap());
    let weights = Weights::initial(gpu, &net_64(2), 0).unwrap();
    let r = noise(9, 4200);
    let found = [None, Some(3000)].map(|most_cells| {
        let options = DeepPreconditionerOptions { most_cells, ..HALVES };
        apply(gpu, &DeepPreconditioner::with_options(gpu, &grid, &weights, &options).unwrap(), &r, false)
    });
    // a sum that is rounded otherwise may be rounded to another 16-bit float
    assert!(distance(&found[0], &found[1]) <= 1e-3 * norm(&found[0]));
    let options = DeepPreconditionerOptions { activations: DType::Bf16, ..HALVES };
    let error = DeepPreconditioner::with_options(gpu, &grid, &weights, &options).map(|_| ()).unwrap_err();
    assert!(matches!(&error, Error::Option { option, .. } if option == "activations"), "{error}");
}

/// The network says of a grid in pieces what it says of the whole, whatever the pieces.
#[test]
fn in_pieces_as_in_f64() {
    let [some, both] = [&[gpu(Checks::Unchecked)][..], &[gpu(Checks::Unchecked), gpu(Checks::Checked)]];
    let small = Architecture { dim: 3, before: 1, after: 0, ..SMALL };
    // the most cells, and how many pieces there are then
    #[allow(clippy::type_complexity, reason = "a list for a loop")]
    let cases: [(Architecture, &[usize], usize, usize, &[Gpu]); 7] = [
        (SMALL, &[31, 90], 1500, 3, some),
        (SMALL, &[61, 47], 61 * 30, 6, some),
        (Architecture { levels: 2, ..SMALL }, &[119, 22], 70 * 22, 4, some),
        (Architecture { levels: 0, coarse: 2, ..SMALL }, &[30, 41], 400, 8, some),
        (Architecture::net_64(2), &[70, 60], 3000, 6, some),
        (small, &[40, 17, 22], 30 * 17 * 22, 2, both),
        (small, &[41, 20, 33], 20 * 20 * 33, 6, some),
    ];
    for (architecture, sizes, most_cells, pieces, gpus) in cases {
        let scene = Scene::random(3, sizes, 0.1, 0.1);
        let r = noise(9, scene.flags.len());
        let mut expected = Vec::new();
        for gpu in gpus {
            let weights = Weights::initial(gpu, &architecture, 5).unwrap();
            if expected.is_empty() {
                let network = Network::new(scene.cells(), &architecture, &in_f64(gpu, &weights)).unwrap();
                expected = network.direction(&wide(&r)).unwrap();
            }
            let whole = apply(gpu, &DeepPreconditioner::new(gpu, &scene.grid(), &weights).unwrap(), &r, false);
            let options = DeepPreconditionerOptions { most_cells: Some(most_cells), ..Default::default() };
            let preconditioner = DeepPreconditioner::with_options(gpu, &scene.grid(), &weights, &options).unwrap();
            let found = apply(gpu, &preconditioner, &r, false);
            let case = format!("{architecture:?}, {sizes:?}, {most_cells}");
            let size = norm(&expected);
            assert!(distance(&found, &expected) <= 1e-5 * size && distance(&found, &whole) <= 1e-6 * size, "{case}");
            let mut recording = Recording::new();
            let (from, to) = (f32s(gpu, sizes), f32s(gpu, sizes));
            preconditioner.record(&mut recording, &from, &to).unwrap();
            let copies = recording.dispatches().filter(|dispatch| dispatch.kernel == "gradus.poisson.piece").count();
            assert_eq!(copies, 2 * pieces, "{case}");
        }
    }
}

/// Pieces are what bindings hold, and smaller ones take less memory.
#[test]
fn pieces_fit_bindings() {
    let limits = wgpu::Limits { max_storage_buffer_binding_size: 1 << 16, ..wgpu::Limits::defaults() };
    let (device, queue) = common::device(limits);
    let small = Gpu::new(&device, &queue).unwrap();
    let large = gpu(Checks::Unchecked);
    let (sizes, r) = ([90, 79], noise(2, 7110));
    let grid = Grid::new(&sizes).unwrap();
    let [of_small, of_large] = [&small, &large].map(|gpu| {
        let preconditioner = DeepPreconditioner::new(gpu, &grid, &Weights::initial(gpu, &SMALL, 1).unwrap()).unwrap();
        (apply(gpu, &preconditioner, &r, false), preconditioner.plan().intermediate_bytes())
    });
    assert!(distance(&of_small.0, &of_large.0) <= 1e-6 * norm(&of_large.0));
    assert!(3 * of_small.1 < 2 * of_large.1, "{} and {}", of_small.1, of_large.1);

    let new = |architecture: &Architecture, sizes: &[usize], most_cells: Option<usize>| {
        let weights = Weights::initial(&small, architecture, 1).unwrap();
        let options = DeepPreconditionerOptions { most_cells, ..Default::default() };
        DeepPreconditioner::with_options(&small, &Grid::new(sizes).unwrap(), &weights, &options).map(|_| ())
    };
    // a vector, and the channels of the least piece
    let limit = "max_storage_buffer_binding_size";
    assert!(matches!(new(&SMALL, &[200, 100], None), Err(Error::LimitTooSmall { limit: l, needed: 80_000, .. }) if l == limit));
    let needed = 64 * 50 * 50;
    assert!(
        matches!(new(&Architecture::net_64(2), &[60, 60], None), Err(Error::LimitTooSmall { limit: l, needed: n, .. }) if l == limit && n == needed)
    );
    assert!(new(&SMALL, &[60, 60], Some(26 * 26)).is_ok());
    let error = new(&SMALL, &[60, 60], Some(26 * 26 - 1)).unwrap_err();
    assert!(matches!(&error, Error::Option { option, expected, .. } if option == "most_cells" && expected == "at least 676"), "{error}");
    // of a grid that is smaller still
    assert!(new(&SMALL, &[10, 60], Some(260)).is_ok());
    assert!(new(&SMALL, &[10, 60], Some(0)).is_err());
}

#[test]
fn cells_that_are_no_unknowns_do_not_matter() {
    for gpu in gpus() {
        let scene = Scene::random(5, &[13, 10], 0.3, 0.2);
        let diagonal = scene.cells().diagonal();
        let weights = Weights::initial(&gpu, &SMALL, 0).unwrap();
        let preconditioner = DeepPreconditioner::new(&gpu, &scene.grid(), &weights).unwrap();
        let mut r = noise(1, 130);
        let expected = apply(&gpu, &preconditioner, &r, false);
        assert!(expected.iter().zip(&diagonal).all(|(&z, &d)| (d == 0.0) == (z == 0.0)));
        for other in [0.0f32, 1e30, f32::NAN, f32::INFINITY] {
            r.iter_mut().zip(&diagonal).filter(|(_, d)| **d == 0.0).for_each(|(r, _)| *r = other);
            assert_eq!(apply(&gpu, &preconditioner, &r, false), expected, "{other}");
        }
        // nor does what is not a number leave them
        r.fill(f32::NAN);
        let found = apply(&gpu, &preconditioner, &r, false);
        assert!(found.iter().zip(&diagonal).all(|(z, &d)| if d == 0.0 { *z == 0.0 } else { z.is_nan() }));
    }
}

#[test]
fn residuals_of_any_size() {
    for gpu in gpus() {
        let grid = Grid::new(&[9, 12]).unwrap().with_open(&[[true, false], [false, false]]).unwrap();
        let weights = Weights::initial(&gpu, &SMALL, 1).unwrap();
        let preconditioner = DeepPreconditioner::new(&gpu, &grid, &weights).unwrap();
        let r = noise(2, 108);
        let expected = apply(&gpu, &preconditioner, &r, false);
        assert!(norm(&expected) > 0.0);
        for factor in [1e30f32, 1e-30, 1e-12, 3e7] {
            let scaled: Vec<f32> = r.iter().map(|r| r * factor).collect();
            let found = apply(&gpu, &preconditioner, &scaled, false);
            assert!(distance(&found, &expected) <= 1e-5 * norm(&expected), "{factor}");
        }
        assert_eq!(apply(&gpu, &preconditioner, &[0.0; 108], false), [0.0; 108]);
        let mut r = r;
        r[50] = f32::NAN;
        assert!(apply(&gpu, &preconditioner, &r, false).iter().all(|z| z.is_nan()));
    }
}

/// Weights with which the network is `z = r + mean`, of r over the windows of two cells along each axis.
fn two_levels(gpu: &Gpu) -> Weights {
    let weights = Weights::initial(gpu, &SMALL, 0).unwrap();
    let parameters = &weights.parameters;
    let mut values = vec![0f32; parameters.flat().len()];
    // of tensors [4, channels, 3, 3], the middle ones
    let mut set = |name: &str, inputs: usize, taps: usize, elements: &[(usize, usize, f32)]| {
        let first = parameters.range(&format!("{name}.weight")).unwrap().start;
        elements.iter().for_each(|&(o, c, value)| values[first + (o * inputs + c) * taps + taps / 2] = value);
    };
    set("input", 1, 9, &[(0, 0, 1.0), (1, 0, -1.0)]);
    set("before.0.0", 4, 9, &[(0, 0, 1.0), (1, 1, 1.0)]);
    set("before.0.1", 4, 9, &[(0, 0, 1.0), (1, 1, 1.0)]);
    set("output", 4, 1, &[(0, 0, 1.0), (0, 1, -1.0)]);
    parameters.flat().write(gpu, &values).unwrap();
    weights
}

/// The first iterations are those of f64, of boxes with and without air.
#[test]
fn solutions_as_in_f64() {
    for gpu in [gpu(Checks::Unchecked), gpu(Checks::Checked)] {
        let weights = two_levels(&gpu);
        for (open, solid) in [(true, 0.0), (false, 0.2)] {
            let scene = Scene { open: vec![[open; 2]; 2], ..Scene::random(8, &[14, 11], solid, 0.0) };
            let network = Network::new(scene.cells(), &SMALL, &in_f64(&gpu, &weights)).unwrap();
            let b: Vec<f32> = scene.cells().project(&wide(&noise(3, 154))).into_iter().map(|b| b as f32).collect();
            let size = norm(&wide(&b));
            for (truncation, recompute_every) in [(0, 1), (2, 1), (2, 0), (8, 1)] {
                let expected = network.solve(&wide(&b), truncation, recompute_every, 1e-4 * size, 1000).unwrap();
                let options = FlexibleCgOptions {
                    relative_tolerance: 1e-4,
                    truncation: truncation as u32,
                    recompute_every: recompute_every as u32,
                    ..Default::default()
                };
                let (report, residual) = solve(&gpu, &scene, &weights, &b, &options);
                assert_eq!((report.status, report.lost), (Status::Converged, 0), "{truncation}, {recompute_every}");
                assert!(residual <= 1.01e-4 * size, "{truncation}, {recompute_every}: {residual}");
                for (found, wanted) in report.history.iter().zip(&expected.history).take(12) {
                    assert!((found - wanted).abs() <= 1e-3 * wanted, "{truncation}, {recompute_every}: {found} for {wanted}");
                }
                let (found, wanted) = (f64::from(report.iterations), expected.history.len() as f64 - 1.0);
                assert!((found - wanted).abs() <= 1.0 + 0.1 * wanted, "{truncation}, {recompute_every}: {found} for {wanted}");
            }
        }
    }
}

/// The report, and ‖b - A x‖ in f64.
fn solve(gpu: &Gpu, scene: &Scene, weights: &Weights, b: &[f32], options: &FlexibleCgOptions) -> (Report, f64) {
    solve_with(gpu, scene, weights, &DeepPreconditionerOptions::default(), b, options)
}

fn solve_with(
    gpu: &Gpu,
    scene: &Scene,
    weights: &Weights,
    how: &DeepPreconditionerOptions,
    b: &[f32],
    options: &FlexibleCgOptions,
) -> (Report, f64) {
    let preconditioner = DeepPreconditioner::with_options(gpu, &scene.grid(), weights, how).unwrap();
    let x = f32s(gpu, &[b.len()]);
    let laplacian = Laplacian::new(gpu, &scene.grid()).unwrap();
    let report = block_on(FlexibleCg::new(&laplacian, Some(&preconditioner), &upload(gpu, b), &x, options).unwrap().solve()).unwrap();
    (report, distance(&scene.cells().apply(&read(gpu, &x)), &wide(b)))
}

#[test]
fn weights_of_no_use_never_converge_wrongly() {
    let (unchecked, checked) = (gpu(Checks::Unchecked), gpu(Checks::Checked));
    for (gpu, how) in
        [(&unchecked, DeepPreconditionerOptions::default()), (&checked, DeepPreconditionerOptions::default()), (&unchecked, HALVES)]
    {
        let weights = Weights::initial(gpu, &SMALL, 2).unwrap();
        let parameters = weights.parameters.flat();
        let initial: Vec<f32> = read(gpu, parameters).into_iter().map(|w| w as f32).collect();
        let all: [(&str, Vec<f32>); 5] = [
            ("random", noise(3, initial.len()).iter().map(|w| 3.0 * w).collect()),
            ("zero", vec![0.0; initial.len()]),
            ("NaN", vec![f32::NAN; initial.len()]),
            ("huge", initial.iter().map(|w| 1e20 * w).collect()),
            ("one NaN", initial.iter().enumerate().map(|(i, &w)| if i == 100 { f32::NAN } else { w }).collect()),
        ];
        for open in [true, false] {
            let scene = Scene { open: vec![[open; 2]; 2], ..Scene::random(1, &[12, 9], 0.1, 0.0) };
            let b: Vec<f32> = scene.cells().project(&wide(&noise(5, 108))).into_iter().map(|b| b as f32).collect();
            for (name, values) in &all {
                parameters.write(gpu, values).unwrap();
                for factor in [0.0f32, 1.0, 1e30] {
                    let b: Vec<f32> = b.iter().map(|b| b * factor).collect();
                    let size = norm(&wide(&b));
                    for (recompute_every, max_iterations) in [(1, 300), (0, 300), (1, 3)] {
                        let options = FlexibleCgOptions { relative_tolerance: 1e-4, recompute_every, max_iterations, ..Default::default() };
                        let (report, residual) = solve_with(gpu, &scene, &weights, &how, &b, &options);
                        let case =
                            format!("{how:?}, open {open}, {name} weights, b {factor}, {recompute_every}, {max_iterations}: {report:?}");
                        match report.status {
                            Status::Converged => assert!(residual <= 1.01e-4 * size, "{case}: {residual} of {size}"),
                            // squares of 1e30 are infinite
                            Status::NonFinite => assert!(factor == 1e30, "{case}"),
                            // what the network says need not depend on the residual
                            Status::IterationLimit | Status::Stagnated => {
                                assert!(residual > 0.99e-4 * size, "{case}: {residual} of {size}")
                            }
                            _ => panic!("{case}"),
                        }
                        // where no direction is of use, every other iteration is one of conjugate gradients
                        if factor == 1.0 && max_iterations == 300 && *name != "random" {
                            assert_eq!(report.status, Status::Converged, "{case}");
                        }
                        // x is no worse than it was, 0
                        assert!(residual <= 1.001 * size, "{case}: {residual} of {size}");
                        if factor == 0.0 {
                            assert_eq!((report.status, report.iterations, residual), (Status::Converged, 0, 0.0), "{case}");
                        }
                    }
                }
            }
        }
    }
}

/// Three activations of all cells, at most, and those of the coarse level.
#[test]
fn memory_of_a_few_activations() {
    let gpu = gpu(Checks::Unchecked);
    for (dim, sizes) in [(2, vec![40, 36]), (3, vec![16, 18, 20])] {
        let cells: u64 = sizes.iter().map(|&size| size as u64).product();
        for architecture in [Architecture::net_64(dim), Architecture::net_128(dim)] {
            let weights = Weights::initial(&gpu, &architecture, 0).unwrap();
            for (options, size) in [(DeepPreconditionerOptions::default(), 4), (HALVES, 2)] {
                let preconditioner = DeepPreconditioner::with_options(&gpu, &Grid::new(&sizes).unwrap(), &weights, &options).unwrap();
                let bytes = preconditioner.plan().intermediate_bytes();
                let activation = size * 16 * cells;
                assert!(bytes >= 2 * activation && bytes <= 3 * activation + activation / 2, "{bytes} for {activation}");
            }
        }
    }
}

/// A solver's kernels do nothing once it has ended: the network's neither.
#[test]
fn the_network_ends_with_the_solver() {
    let gpu = gpu(Checks::Unchecked);
    let grid = Grid::new(&[16, 16]).unwrap();
    let preconditioner = DeepPreconditioner::new(&gpu, &grid, &Weights::initial(&gpu, &Architecture::net_64(2), 0).unwrap()).unwrap();
    let (b, x) = (f32s(&gpu, &[256]), f32s(&gpu, &[256]));
    let laplacian = Laplacian::new(&gpu, &grid).unwrap();
    let solver = FlexibleCg::new(&laplacian, Some(&preconditioner), &b, &x, &FlexibleCgOptions::default()).unwrap();
    let mut kernels = 0;
    for dispatch in solver.iteration().dispatches().filter(|dispatch| dispatch.kernel.starts_with("gradus.graph")) {
        assert!(dispatch.bindings.iter().any(|binding| binding.name == "gate"), "{}", dispatch.kernel);
        kernels += 1;
    }
    // a dispatch for each convolution, pooling and upsampling, and a few for the norm
    assert!((18..=24).contains(&kernels), "{kernels}");
}

#[test]
fn files() {
    let gpu = gpu(Checks::Unchecked);
    let mut weights = Weights::initial(&gpu, &SMALL, 11).unwrap();
    weights.training = Training {
        data: "modes of open boxes of 64²".into(),
        steps: 3000,
        batch: 16,
        optimizer: "Adam, 2e-3".into(),
        seed: 11,
        adapter: "none".into(),
    };
    let bytes = block_on(weights.to_safetensors(&gpu)).unwrap();
    let found = Weights::from_safetensors(&gpu, &bytes).unwrap();
    assert_eq!((found.architecture, &found.training), (SMALL, &weights.training));
    assert_eq!(in_f64(&gpu, &found), in_f64(&gpu, &weights));
    let grid = Grid::new(&[6, 5]).unwrap();
    let r = noise(1, 30);
    let [a, b] = [DeepPreconditioner::new(&gpu, &grid, &weights), DeepPreconditioner::from_safetensors(&gpu, &grid, &bytes)];
    assert_eq!(apply(&gpu, &a.unwrap(), &r, false), apply(&gpu, &b.unwrap(), &r, false));

    // a file that is changed
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let metadata: HashMap<String, String> = header.metadata().clone().unwrap().into_iter().collect();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    type Change<'a> = &'a dyn Fn(&mut HashMap<String, String>, &mut HashMap<String, (Vec<usize>, Vec<u8>)>);
    let refused = |change: Change| -> Vec<String> {
        let mut metadata = metadata.clone();
        let mut tensors: HashMap<_, _> =
            file.tensors().into_iter().map(|(name, view)| (name, (view.shape().to_vec(), view.data().to_vec()))).collect();
        change(&mut metadata, &mut tensors);
        let views: Vec<_> =
            tensors.iter().map(|(name, (shape, data))| (name, TensorView::new(Dtype::F32, shape.clone(), data).unwrap())).collect();
        let bytes = safetensors::serialize(views, Some(metadata.into_iter().collect())).unwrap();
        match DeepPreconditioner::from_safetensors(&gpu, &grid, &bytes) {
            Err(Error::StateMismatch { differences }) => differences,
            Err(error) => vec![error.to_string()],
            Ok(_) => Vec::new(),
        }
    };
    assert!(refused(&|_, _| ()).is_empty());
    for key in ["format", "architecture", "data", "steps", "batch", "optimizer", "seed", "adapter"] {
        let differences = refused(&|metadata, _| drop(metadata.remove(key)));
        assert_eq!(differences, [format!("the metadata have no `{key}`")]);
    }
    let set = |key: &str, value: &str| refused(&|metadata, _| drop(metadata.insert(key.into(), value.into())));
    assert_eq!(set("format", "gradus.optim.1"), ["the format is `gradus.optim.1`, expected `gradus.dcdm.1`"]);
    assert_eq!(set("steps", "-3"), ["steps is `-3`, expected a whole number"]);
    assert!(set("architecture", "none")[0].contains("an object of JSON"));
    let other = Architecture { channels: 5, ..SMALL };
    let differences = set("architecture", &other.to_json());
    assert!(differences.contains(&"`input.bias` has shape [4], expected [5]".to_owned()), "{differences:?}");
    let deeper = set("architecture", &Architecture { coarse: 2, ..SMALL }.to_json());
    assert!(deeper.contains(&"`coarse.1.0.weight` is missing".to_owned()), "{deeper:?}");
    let shallower = set("architecture", &Architecture { after: 0, ..SMALL }.to_json());
    assert!(shallower.contains(&"`after.0.0.0.bias` is not expected".to_owned()), "{shallower:?}");
    let differences = refused(&|_, tensors| drop(tensors.remove("output.weight")));
    assert_eq!(differences, ["`output.weight` is missing"]);
    let differences = refused(&|_, tensors| {
        tensors.get_mut("output.weight").unwrap().0 = vec![4];
    });
    assert_eq!(differences, ["`output.weight` has shape [4], expected [1, 4, 1, 1]"]);
    assert!(matches!(Weights::from_safetensors(&gpu, b"no such file"), Err(Error::SafeTensors(_))));
    // of another number of axes
    let solid = Grid::new(&[4, 4, 4]).unwrap();
    assert!(
        matches!(DeepPreconditioner::from_safetensors(&gpu, &solid, &bytes), Err(Error::Option { option, .. }) if option == "architecture.dim")
    );
    let foreign = Weights { architecture: other, ..weights };
    assert!(matches!(DeepPreconditioner::new(&gpu, &grid, &foreign), Err(Error::StateMismatch { .. })));
}

#[test]
fn architectures_as_text() {
    for architecture in [SMALL, Architecture::net_64(3), Architecture::net_128(2), Architecture { levels: 0, ..SMALL }] {
        assert_eq!(Architecture::from_json(&architecture.to_json()).unwrap(), architecture);
    }
    let text = SMALL.to_json();
    for wrong in [
        "",
        "[]",
        "{}",
        &text.replace("\"dim\":2", "\"dim\":4"),
        &text.replace("\"channels\":4", "\"channels\":0"),
        &text.replace("\"channels\":4", "\"channels\":4.5"),
        &text.replace("\"coarse\":1", "\"coarse\":-1"),
        &text.replace("\"coarse\":1", "\"coarse\":100000000000"),
        &text.replace("\"after\"", "\"later\""),
        &text.replace("{", "{\"kernel\":5,"),
    ] {
        assert!(matches!(Architecture::from_json(wrong), Err(Error::Option { .. })), "{wrong}");
    }
    let mut graph = Graph::new();
    let [flat, deep] = [[1, 1, 4].as_slice(), &[1, 2, 4, 4]].map(|shape| graph.input(&format!("{shape:?}"), shape).unwrap());
    assert!(matches!(SMALL.build(&mut graph, flat), Err(Error::Operation { .. })));
    assert!(matches!(SMALL.build(&mut graph, deep), Err(Error::Operation { .. })));
    assert!(matches!(Architecture { dim: 40, ..SMALL }.build(&mut graph, flat), Err(Error::Option { .. })));
    assert_eq!(graph.parameters().count(), 0);
}

//! Tensors larger than a binding, and more elements than 65,535 workgroups have invocations.

#![cfg(all(feature = "optim", feature = "weights"))]

mod common;

use common::{algorithms, device, noise, read, step};
use gradus::optim::{Optimizer, Options, Param, Sgd};
use gradus::{DType, Error, Gpu, Tensor, vector};

/// A device whose bindings hold 64 KiB, the least that the crate asks for: 16,384 elements of f32.
fn small() -> Gpu {
    let (device, queue) = device(wgpu::Limits { max_storage_buffer_binding_size: 1 << 16, ..wgpu::Limits::defaults() });
    Gpu::new(&device, &queue).unwrap()
}

#[test]
fn a_tensor_larger_than_a_binding_takes_its_step_in_ranges() {
    let gpu = small();
    let shapes: [&[usize]; 7] = [&[50_001], &[90, 401], &[3, 20_002], &[130, 130], &[7], &[66, 300], &[10, 8192]];
    for (name, pair) in algorithms() {
        for (dtype, master_weights) in [(DType::F32, false), (DType::F16, true)] {
            let options = Options { master_weights, max_norm: Some(1e6), ..Default::default() };
            if !common::fits(name, &options) {
                continue;
            }
            let params = Tensor::arena(&gpu, &shapes, dtype).unwrap();
            let grads = Tensor::arena(&gpu, &shapes, DType::F32).unwrap();
            for (i, (param, grad)) in params.iter().zip(&grads).enumerate() {
                common::write(&gpu, param, &noise(i as u64, param.len()));
                common::write(&gpu, grad, &noise(50 + i as u64, grad.len()));
            }
            let mut expected: Vec<Vec<f64>> = params.iter().map(|param| read(&gpu, param)).collect();
            let names: Vec<String> = (0..params.len()).map(|i| i.to_string()).collect();
            let list: Vec<Param> = names.iter().zip(params.iter().zip(&grads)).map(|(name, (p, g))| Param::new(name, p, g)).collect();
            let optimizer = Optimizer::with_options(&gpu, &*pair.kernel, &list, options.clone()).unwrap();
            (0..2).for_each(|_| step(&gpu, &optimizer));

            let saved = pollster::block_on(optimizer.state_dict()).unwrap();
            let file = safetensors::SafeTensors::deserialize(&saved).unwrap();
            for (i, expected) in expected.iter_mut().enumerate() {
                let gradient = read(&gpu, &grads[i]);
                let mut state = pair.reference.initial_state(expected.len());
                for t in 1..=2 {
                    pair.reference.step(t, shapes[i], expected, &gradient, &mut state);
                }
                // 16-bit parameters are judged by their master copies
                let found: Vec<f64> = match dtype {
                    DType::F32 => read(&gpu, &params[i]),
                    _ => {
                        let data = file.tensor(&format!("{i}.master")).unwrap().data();
                        data.as_chunks().0.iter().map(|&b| f64::from(f32::from_le_bytes(b))).collect()
                    }
                };
                assert_eq!(found.len(), expected.len());
                for (j, (found, expected)) in found.iter().zip(&*expected).enumerate() {
                    let error = (found - expected).abs();
                    assert!(error <= 1e-5 + 1.3e-6 * expected.abs(), "{name} {dtype} {:?}[{j}]: {found} for {expected}", shapes[i]);
                }
            }
            // states that are cut into ranges come back whole
            let mut resumed = Optimizer::with_options(&gpu, &*pair.kernel, &list, options).unwrap();
            resumed.load_state_dict(&saved).unwrap();
            let again = pollster::block_on(resumed.state_dict()).unwrap();
            let again = safetensors::SafeTensors::deserialize(&again).unwrap();
            for tensor in file.names() {
                assert!(file.tensor(tensor).unwrap() == again.tensor(tensor).unwrap(), "{name}: {tensor}");
            }
        }
    }
}

#[test]
fn vector_operations_work_in_ranges() {
    let gpu = small();
    for (dtype, n) in [(DType::F32, 70_001), (DType::F16, 140_003), (DType::Bf16, 140_003)] {
        let x = Tensor::zeros(&gpu, &[n], dtype).unwrap();
        let y = Tensor::zeros(&gpu, &[n], dtype).unwrap();
        let z = Tensor::zeros(&gpu, &[n], DType::F32).unwrap();
        let out = Tensor::zeros(&gpu, &[3], DType::F32).unwrap();
        let outs: Vec<Tensor> = (0..3).map(|i| Tensor::from_buffer(out.buffer(), 4 * i, &[1], DType::F32).unwrap()).collect();
        let mut recording = gradus::Recording::new();
        vector::random_uniform(&gpu, &mut recording, 5, 1, &x).unwrap();
        vector::copy(&gpu, &mut recording, &x, &y).unwrap();
        vector::scale(&gpu, &mut recording, -0.5, &y).unwrap();
        vector::axpy(&gpu, &mut recording, 2.0, &x, &y).unwrap();
        vector::cast(&gpu, &mut recording, &y, &z).unwrap();
        vector::dot(&gpu, &mut recording, &x, &y, &outs[0]).unwrap();
        vector::norm(&gpu, &mut recording, &x, &outs[1]).unwrap();
        vector::max_magnitude(&gpu, &mut recording, &y, &outs[2]).unwrap();
        gpu.submit([&recording]);
        let (x, y, z, out) = (read(&gpu, &x), read(&gpu, &y), read(&gpu, &z), read(&gpu, &out));
        assert_eq!(y, z);
        let unit = match dtype {
            DType::F32 => 2f64.powi(-23),
            DType::F16 => 2f64.powi(-10),
            _ => 2f64.powi(-7),
        };
        for (x, y) in x.iter().zip(&y) {
            // two roundings, to the type's spacing, of which half precision's denormals have 2^-24
            assert!((y - 1.5 * x).abs() <= 2.0 * unit * x + 2f64.powi(-24), "{dtype}: {y} for {}", 1.5 * x);
        }
        let dot: f64 = x.iter().zip(&y).map(|(x, y)| x * y).sum();
        let norm = x.iter().map(|x| x * x).sum::<f64>().sqrt();
        assert!((out[0] - dot).abs() <= 1e-5 * dot, "{dtype}: {} for {dot}", out[0]);
        assert!((out[1] - norm).abs() <= 1e-5 * norm, "{dtype}: {} for {norm}", out[1]);
        assert_eq!(out[2], y.iter().copied().fold(0.0, f64::max));
    }
}

#[test]
fn a_row_that_cannot_be_cut_is_refused() {
    let gpu = small();
    // rows of odd length, of 16-bit elements, each larger than a binding: a row may only be cut between
    // words
    let shape = [2, 40_001];
    let param = Tensor::zeros(&gpu, &shape, DType::F16).unwrap();
    let grad = Tensor::zeros(&gpu, &shape, DType::F32).unwrap();
    let result = Optimizer::new(&gpu, &gradus::optim::AdamP::default(), &[Param::new("odd", &param, &grad)]);
    match result {
        Err(Error::LimitTooSmall { limit: "max_storage_buffer_binding_size", what, .. }) => assert!(what.contains("odd"), "{what}"),
        other => panic!("{:?}", other.map(|_| ())),
    }
    // other steps have no rows
    Optimizer::new(&gpu, &gradus::optim::AdamW::default(), &[Param::new("odd", &param, &grad)]).unwrap();
}

#[test]
fn more_elements_than_65_535_workgroups_have_invocations() {
    let gpu = common::gpu(gradus::gpu::Checks::Unchecked);
    let n = 65_536 * 256 + 3;
    let param = Tensor::zeros(&gpu, &[n], DType::F32).unwrap();
    let grad = Tensor::zeros(&gpu, &[n], DType::F32).unwrap();
    let mut recording = gradus::Recording::new();
    vector::random_rademacher(&gpu, &mut recording, 1, 0, &grad).unwrap();
    gpu.submit([&recording]);
    let optimizer = Optimizer::new(&gpu, &Sgd { lr: 0.5, ..Default::default() }, &[Param::new("large", &param, &grad)]).unwrap();
    assert!(optimizer.recording().dispatches().all(|dispatch| dispatch.workgroups[0] <= 65_535));
    step(&gpu, &optimizer);
    let gradient = gradus::reference::random::rademacher(1, 0, n);
    let found: Vec<f32> = pollster::block_on(param.read(&gpu)).unwrap();
    assert!(found.iter().zip(&gradient).all(|(p, g)| *p == -0.5 * g));
}

/// Where two tensors begin in one buffer, in bytes: the second behind the first, before it, and further away than a binding reaches.
const NEIGHBOURS: [[u64; 2]; 3] = [[4, 412], [1612, 8], [0, 200_000]];

/// WebGPU refuses a dispatch in which a buffer is read and written by two bindings, or bound twice where ranges overlap, as those of
/// neighbours do: they begin at multiples of 256 bytes. Recordings refuse it on all back ends, so operations must bind it once.
#[test]
fn vectors_in_one_buffer() {
    use gradus::krylov::{Csr, Diagonal, LinearOperator};
    let gpu = small();
    let n = 100;
    let (vx, vy) = (noise(1, n), noise(2, n));
    let (offsets, columns): (Vec<u32>, Vec<u32>) = ((0..=n as u32).collect(), (0..n as u32).rev().collect());
    for [start_x, start_y] in NEIGHBOURS {
        let buffer = common::buffer(&gpu, 1 << 18, common::ALL);
        let at = |start, shape: &[usize], dtype| Tensor::from_buffer(&buffer, start, shape, dtype).unwrap();
        let (x, y) = (at(start_x, &[n], DType::F32), at(start_y, &[n], DType::F32));
        let run = |record: &dyn Fn(&mut gradus::Recording) -> gradus::Result<()>| {
            x.write(&gpu, &vx).unwrap();
            y.write(&gpu, &vy).unwrap();
            let mut recording = gradus::Recording::new();
            record(&mut recording).unwrap();
            gpu.submit([&recording]);
        };
        let expect = |what: &str, expected: &dyn Fn(usize) -> f64| {
            assert_eq!(read(&gpu, &x), vx.iter().map(|&x| f64::from(x)).collect::<Vec<_>>(), "{what}: x at {start_x}");
            for (i, found) in read(&gpu, &y).into_iter().enumerate() {
                assert!((found - expected(i)).abs() < 1e-5, "{what} at {start_x} and {start_y}: y[{i}] = {found} for {}", expected(i));
            }
        };
        let (ex, ey) = (|i: usize| f64::from(vx[i]), |i: usize| f64::from(vy[i]));
        run(&|r| vector::copy(&gpu, r, &x, &y));
        expect("copy", &ex);
        run(&|r| vector::axpy(&gpu, r, -0.5, &x, &y));
        expect("axpy", &|i| ey(i) - 0.5 * ex(i));
        run(&|r| Csr::new(&gpu, &offsets, &columns, &vy)?.record(r, &x, &y));
        expect("csr", &|i| ey(i) * ex(n - 1 - i));
        let diagonal = Diagonal::new(&gpu, &x).unwrap();
        let other = Tensor::from_slice(&gpu, &[n], &vy).unwrap();
        run(&|r| diagonal.record(r, &other, &y));
        expect("diagonal", &|i| ex(i) * ey(i));
        run(&|r| Diagonal::new(&gpu, &other)?.record(r, &x, &y));
        expect("diagonal", &|i| ex(i) * ey(i));
        // 10 by 10, of which y takes ten elements
        let (a, first, ten) =
            (at(start_x, &[10, 10], DType::F32), at(start_y, &[10], DType::F32), Tensor::from_slice(&gpu, &[10], &vy[..10]));
        let ten = ten.unwrap();
        run(&|r| vector::gemv_transposed(&gpu, r, 2.0, &a, &ten, -1.0, &first));
        expect("gemv_transposed", &|i| if i < 10 { (0..10).map(|k| 2.0 * ex(10 * k + i) * ey(k)).sum::<f64>() - ey(i) } else { ey(i) });
        run(&|r| vector::gemv(&gpu, r, 2.0, &a, &ten, -1.0, &first));
        expect("gemv", &|i| if i < 10 { (0..10).map(|k| 2.0 * ex(10 * i + k) * ey(k)).sum::<f64>() - ey(i) } else { ey(i) });
        let halves = at(start_y, &[n - 1], DType::F16);
        run(&|r| vector::cast(&gpu, r, &at(start_x, &[n - 1], DType::F32), &halves));
        for (i, found) in read(&gpu, &halves).into_iter().enumerate() {
            assert!((found - ex(i)).abs() <= 2f64.powi(-11) * ex(i).abs() + 2f64.powi(-25), "cast at {start_x}: {found} for {}", ex(i));
        }
    }
}

/// Steps with the gradients next to the parameters, and further away than a binding reaches.
#[test]
fn gradients_in_the_buffer_of_the_parameters() {
    let gpu = small();
    let shape = [6, 17];
    for (name, pair) in algorithms().into_iter().filter(|(name, _)| ["adamw", "adamp"].contains(name)) {
        for [start_p, start_g] in NEIGHBOURS {
            for (param, grad) in [(DType::F32, DType::F32), (DType::F32, DType::F16), (DType::F16, DType::F32), (DType::Bf16, DType::Bf16)]
            {
                let buffer = common::buffer(&gpu, 1 << 18, common::ALL);
                let p = Tensor::from_buffer(&buffer, start_p, &shape, param).unwrap();
                let g = Tensor::from_buffer(&buffer, start_g, &shape, grad).unwrap();
                common::write(&gpu, &p, &noise(1, p.len()));
                common::write(&gpu, &g, &noise(2, g.len()));
                let (mut expected, gradient) = (read(&gpu, &p), read(&gpu, &g));
                let optimizer = Optimizer::new(&gpu, &*pair.kernel, &[Param::new("w", &p, &g)]).unwrap();
                step(&gpu, &optimizer);
                pair.reference.step(1, &shape, &mut expected, &gradient, &mut pair.reference.initial_state(p.len()));
                let rounding =
                    [1e-6, 2f64.powi(-11), 2f64.powi(-8)][[DType::F32, DType::F16, DType::Bf16].iter().position(|&d| d == param).unwrap()];
                for (i, (found, expected)) in read(&gpu, &p).into_iter().zip(&expected).enumerate() {
                    let error = (found - expected).abs();
                    assert!(
                        error <= 1e-6 + rounding * expected.abs(),
                        "{name} {param} {grad} at {start_p}: [{i}] = {found} for {expected}"
                    );
                }
                assert_eq!(read(&gpu, &g), gradient, "{name} {param} {grad}: the gradient");
            }
        }
    }
}

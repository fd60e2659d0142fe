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
            let params = Tensor::arena(&gpu, &shapes, dtype).unwrap();
            let grads = Tensor::arena(&gpu, &shapes, DType::F32).unwrap();
            for (i, (param, grad)) in params.iter().zip(&grads).enumerate() {
                common::write(&gpu, param, &noise(i as u64, param.len()));
                common::write(&gpu, grad, &noise(50 + i as u64, grad.len()));
            }
            let mut expected: Vec<Vec<f64>> = params.iter().map(|param| read(&gpu, param)).collect();
            let names: Vec<String> = (0..params.len()).map(|i| i.to_string()).collect();
            let list: Vec<Param> = names.iter().zip(params.iter().zip(&grads)).map(|(name, (p, g))| Param::new(name, p, g)).collect();
            let options = Options { master_weights, max_norm: Some(1e6), ..Default::default() };
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

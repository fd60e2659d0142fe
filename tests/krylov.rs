//! Operators, Lanczos, eigenpairs and power iteration, against known spectra and f64.

#![cfg(feature = "krylov")]

mod common;

use std::cell::Cell;

use common::{bits, device, f32s, gpu, gpu_for, noise, read};
use gradus::gpu::{Checks, GpuOptions, Target};
use gradus::krylov::{
    Csr, Dense, Diagonal, EigenOptions, FromFn, Lanczos, LanczosEnd, LanczosOptions, LinearOperator, PowerOptions, Scaled, Shifted, Sum,
    Which, eigenpairs, lanczos, power_iteration,
};
use gradus::reference::krylov as reference;
use gradus::{DType, Error, Gpu, Recording, Result, Tensor, vector};

fn gpus() -> [Gpu; 3] {
    [gpu(Checks::Unchecked), gpu(Checks::Checked), gpu_for(Target::discrete())]
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().copied().map(f64::from).collect()
}

fn upload(gpu: &Gpu, values: &[f32]) -> Tensor {
    Tensor::from_slice(gpu, &[values.len()], values).unwrap()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn apply(operator: &dyn LinearOperator, x: &[f32]) -> Vec<f64> {
    let gpu = operator.gpu();
    let (x, y) = (upload(gpu, x), upload(gpu, &vec![f32::NAN; x.len()]));
    let mut recording = Recording::new();
    operator.record_prepare(&mut recording).unwrap();
    operator.record(&mut recording, &x, &y).unwrap();
    gpu.submit([&recording]);
    read(gpu, &y)
}

fn close(found: &[f64], expected: &[f64], bound: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() <= bound, "{what}: element {i} is {found} and not {expected}");
    }
}

fn run(operator: &dyn LinearOperator, start: Option<&Tensor>, steps: usize) -> Lanczos {
    pollster::block_on(lanczos(operator, start, &LanczosOptions { steps, seed: 5 })).unwrap()
}

// ------------------------------------------------------------------------------------- operators

#[test]
fn sparse_matrices() {
    for gpu in gpus() {
        // empty rows at the start, in the middle and at the end, a row of 900 entries, repeated columns
        let lengths = [0, 3, 900, 1, 0, 257, 256, 2, 0];
        let n = lengths.len();
        let offsets: Vec<u32> = (0..=n).map(|row| lengths[..row].iter().sum()).collect();
        let entries = offsets[n] as usize;
        let columns: Vec<u32> = (0..entries).map(|i| (i * 7 % n) as u32).collect();
        let (values, x) = (noise(1, entries), noise(2, n));
        let operator = Csr::new(&gpu, &offsets, &columns, &values).unwrap();
        let expected = reference::csr_product(&offsets, &columns, &wide(&values), &wide(&x));
        close(&apply(&operator, &x), &expected, 1e-5, "rows of many lengths");
        // all rows of one segment, x and y in one buffer, off the grid
        let offsets: Vec<u32> = (0..=5000).map(|row| 2 * row).collect();
        let columns: Vec<u32> = (0..10_000).map(|i| (i * i % 5000) as u32).collect();
        let (values, x) = (noise(3, 10_000), noise(4, 5000));
        let operator = Csr::new(&gpu, &offsets, &columns, &values).unwrap();
        let whole = upload(&gpu, &[&[f32::NAN; 3], &x[..], &[f32::NAN; 5000]].concat());
        let part = |at: u64| Tensor::from_buffer(whole.buffer(), 4 * at, &[50, 100], DType::F32).unwrap();
        let mut recording = Recording::new();
        operator.record(&mut recording, &part(3), &part(5003)).unwrap();
        gpu.submit([&recording]);
        let expected = reference::csr_product(&offsets, &columns, &wide(&values), &wide(&x));
        close(&read(&gpu, &part(5003)), &expected, 3e-7, "short rows");
        // no entries at all
        assert_eq!(apply(&Csr::new(&gpu, &[0, 0, 0], &[], &[]).unwrap(), &[1.0, 2.0]), [0.0; 2]);
    }
}

#[test]
fn sparse_matrices_that_are_refused() {
    let gpu = gpu(Checks::Unchecked);
    let refused = |offsets: &[u32], columns: &[u32], values: &[f32]| Csr::new(&gpu, offsets, columns, values).unwrap_err();
    assert!(matches!(refused(&[], &[], &[]), Error::Length { tensor, .. } if tensor == "offsets"));
    assert!(matches!(refused(&[0], &[], &[]), Error::Length { tensor, .. } if tensor == "offsets"));
    assert!(matches!(refused(&[1, 1], &[0], &[1.0]), Error::Option { option, .. } if option == "offsets[0]"));
    assert!(matches!(refused(&[0, 2, 1], &[0], &[1.0]), Error::Option { option, .. } if option == "offsets[2]"));
    assert!(matches!(refused(&[0, 1, 2], &[0, 2], &[1.0; 2]), Error::Option { option, .. } if option == "columns[1]"));
    assert!(matches!(refused(&[0, 1, 2], &[0], &[1.0; 2]), Error::Length { tensor, .. } if tensor == "columns"));
    assert!(matches!(refused(&[0, 1, 2], &[0, 1], &[1.0; 3]), Error::Length { tensor, .. } if tensor == "values"));
}

#[test]
fn sums_multiples_and_shifts() {
    for gpu in gpus() {
        let n = 37;
        let (d, e, m, x) = (noise(1, n), noise(2, n), noise(3, n * n), noise(4, n));
        let matrix = Tensor::from_slice(&gpu, &[n, n], &m).unwrap();
        let dense = Dense::new(&gpu, &matrix).unwrap();
        let diagonal = Diagonal::new(&gpu, &upload(&gpu, &d)).unwrap();
        let inverse = Diagonal::inverse(&gpu, &upload(&gpu, &e)).unwrap();
        let (factor, shift) = (upload(&gpu, &[0.5]), upload(&gpu, &[f32::NAN, -2.0]));
        let second = Tensor::from_buffer(shift.buffer(), 4, &[1], DType::F32).unwrap();
        let both = Sum::new(Scaled::new(&diagonal, 3.0), Sum::new(&inverse, Scaled::new(&dense, &factor)).unwrap()).unwrap();
        let operator = Shifted::new(Shifted::new(&both, 1.25), &second);
        let expected: Vec<f64> = (0..n)
            .map(|i| {
                let row: f64 = (0..n).map(|j| f64::from(m[i * n + j]) * f64::from(x[j])).sum();
                (3.0 * f64::from(d[i]) - 0.75 + 1.0 / f64::from(e[i])) * f64::from(x[i]) + 0.5 * row
            })
            .collect();
        let largest = expected.iter().fold(1.0, |largest: f64, y| largest.max(y.abs()));
        close(&apply(&operator, &x), &expected, 1e-6 * largest, "sum");
    }
}

#[test]
fn operators_that_do_not_fit() {
    let gpu = gpu(Checks::Unchecked);
    assert!(matches!(Dense::new(&gpu, &f32s(&gpu, &[3, 4])), Err(Error::Shape { .. })));
    assert!(matches!(Dense::new(&gpu, &f32s(&gpu, &[0, 0])), Err(Error::Shape { .. })));
    assert!(matches!(Dense::new(&gpu, &f32s(&gpu, &[])), Err(Error::Shape { .. })));
    assert!(matches!(Diagonal::new(&gpu, &f32s(&gpu, &[0])), Err(Error::Length { .. })));
    let (small, large) = (Diagonal::new(&gpu, &f32s(&gpu, &[3])).unwrap(), Diagonal::new(&gpu, &f32s(&gpu, &[4])).unwrap());
    assert!(matches!(Sum::new(&small, &large), Err(Error::Length { .. })));
    assert!(matches!(FromFn::new(&gpu, 0, |_: &mut Recording, _: &Tensor, _: &Tensor| Ok(())), Err(Error::Option { .. })));
    let x = f32s(&gpu, &[4]);
    let operators: [&dyn LinearOperator; 3] = [&large, &Shifted::new(&large, 1.0), &Scaled::new(&large, 1.0)];
    for operator in operators {
        let mut recording = Recording::new();
        assert!(matches!(operator.record(&mut recording, &x, &x), Err(Error::Overlap { .. })));
        assert!(matches!(operator.record(&mut recording, &x, &f32s(&gpu, &[5])), Err(Error::Length { .. })));
        assert!(recording.is_empty());
    }
}

/// The second difference on a line, by a kernel of the caller's.
fn second_difference(gpu: &Gpu, n: usize) -> impl Fn(&mut Recording, &Tensor, &Tensor) -> Result<()> {
    let source = "
        @group(0) @binding(0) var<storage, read> x: array<f32>;
        @group(0) @binding(1) var<storage, read_write> y: array<f32>;
        override N: u32;
        @compute @workgroup_size(64)
        fn main(@builtin(global_invocation_id) id: vec3<u32>) {
            let i = id.x;
            if i < N {
                let left = select(0.0, x[max(i, 1u) - 1u], i > 0u);
                let right = select(0.0, x[min(i + 1u, N - 1u)], i + 1u < N);
                y[i] = 2.0 * x[i] - left - right;
            }
        }";
    let device = gpu.device().clone();
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor { label: None, source: wgpu::ShaderSource::Wgsl(source.into()) });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: Some("main"),
        compilation_options: wgpu::PipelineCompilationOptions { constants: &[("N", n as f64)], ..Default::default() },
        cache: None,
    });
    move |recording, x, y| {
        let entries = [(0, x), (1, y)].map(|(binding, tensor)| {
            let buffer =
                wgpu::BufferBinding { buffer: tensor.buffer(), offset: tensor.offset(), size: std::num::NonZeroU64::new(tensor.bytes()) };
            wgpu::BindGroupEntry { binding, resource: wgpu::BindingResource::Buffer(buffer) }
        });
        let layout = pipeline.get_bind_group_layout(0);
        let group = device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout: &layout, entries: &entries });
        recording.custom("second difference", &pipeline, &group, [n.div_ceil(64) as u32, 1, 1]);
        Ok(())
    }
}

/// Its eigenvalues, descending.
fn spectrum_of_the_line(n: usize) -> Vec<f64> {
    (1..=n).rev().map(|k| 2.0 - 2.0 * (k as f64 * std::f64::consts::PI / (n + 1) as f64).cos()).collect()
}

#[test]
fn kernels_of_the_caller() {
    for gpu in gpus() {
        let n = 101;
        let operator = FromFn::new(&gpu, n, second_difference(&gpu, n)).unwrap();
        let result = run(&operator, None, 500);
        assert_eq!(result.steps(), n);
        close(&result.ritz().values, &spectrum_of_the_line(n), 4e-6, "the whole spectrum");
    }
}

// --------------------------------------------------------------------------------------- Lanczos

/// Q diag(d) Qᵀ for Q a product of Householder reflections along random vectors, in f64, then rounded.
fn rotated(d: &[f64], reflections: usize, seed: u64) -> Vec<f32> {
    let n = d.len();
    let mut a = vec![0.0; n * n];
    (0..n).for_each(|i| a[i * n + i] = d[i]);
    for reflection in 0..reflections {
        let mut v = wide(&noise(seed + reflection as u64, n));
        let norm = dot(&v, &v).sqrt();
        v.iter_mut().for_each(|v| *v /= norm);
        // A - 2 v (vᵀA) - 2 (A v) vᵀ + 4 (vᵀA v) v vᵀ, of a symmetric A
        let u: Vec<f64> = a.chunks(n).map(|row| dot(row, &v)).collect();
        let s = 2.0 * dot(&u, &v);
        for (i, row) in a.chunks_mut(n).enumerate() {
            for (j, a) in row.iter_mut().enumerate() {
                *a += -2.0 * v[i] * u[j] - 2.0 * u[i] * v[j] + 2.0 * s * v[i] * v[j];
            }
        }
    }
    a.into_iter().map(|a| a as f32).collect()
}

/// Ten eigenvalues from 100 down, the rest in a cluster about zero: the Hessian of a network.
#[test]
fn a_clustered_spectrum_without_ghosts() {
    let gpu = gpu(Checks::Unchecked);
    let n = 2000;
    let top: Vec<f64> = (0..10).map(|i| 100.0 * 0.8f64.powi(i)).collect();
    let cluster = noise(1, n - 10).into_iter().map(f64::from);
    let d: Vec<f64> = top.iter().copied().chain(cluster).collect();
    let matrix = Tensor::from_slice(&gpu, &[n, n], &rotated(&d, 3, 10)).unwrap();
    for gpu in [gpu, gpu_for(Target::discrete())] {
        let operator = Dense::new(&gpu, &matrix).unwrap();
        let result = run(&operator, None, 130);
        assert_eq!((result.steps(), result.end), (130, LanczosEnd::Steps));
        let ritz = result.ritz();
        for (found, expected) in ritz.values.iter().zip(&top) {
            assert!((found - expected).abs() <= 1e-6 * expected, "{found} for {expected}");
        }
        // what follows is the cluster: no copies
        assert!(ritz.values[10] < 1.1, "{:?}", &ritz.values[..15]);
        assert!(ritz.residuals[..10].iter().all(|&residual| residual < 1e-4));
        // the quadrature sums up to one, and to ⟨q, A q⟩
        let weights: Vec<f64> = ritz.first_components.iter().map(|tau| tau * tau).collect();
        assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-10);
        assert!((dot(&weights, &ritz.values) - result.alpha[0]).abs() < 1e-10 * 100.0);

        let vectors = result.ritz_vectors(&[0, 9, 3]).unwrap();
        assert_eq!(vectors.shape(), [3, n]);
        let vectors = read(&gpu, &vectors);
        for (row, index) in vectors.chunks(n).zip([0, 9, 3]) {
            let product = apply(&operator, &row.iter().map(|&v| v as f32).collect::<Vec<_>>());
            let rest: Vec<f64> = product.iter().zip(row).map(|(y, v)| y - top[index] * v).collect();
            assert!(dot(&rest, &rest).sqrt() <= 1e-4, "{index}: {}", dot(&rest, &rest).sqrt());
            assert!((dot(row, row) - 1.0).abs() < 1e-5);
        }
    }
}

#[test]
fn the_coefficients_are_those_of_f64() {
    for gpu in gpus() {
        for n in [6, 257, 1003] {
            let d: Vec<f32> = noise(3, n);
            let start = noise(4, n);
            let operator = Diagonal::new(&gpu, &upload(&gpu, &d)).unwrap();
            let result = run(&operator, Some(&upload(&gpu, &start)), 6);
            let apply = |x: &[f64]| -> Vec<f64> { x.iter().zip(&d).map(|(x, &d)| x * f64::from(d)).collect() };
            let expected = reference::lanczos(apply, &wide(&start), 6);
            close(&result.alpha, &expected.alpha, 2e-6, "alpha");
            close(&result.beta[..5], &expected.beta[..5], 2e-6, "beta");
            for (j, q) in expected.basis.iter().enumerate() {
                close(&read(&gpu, &result.basis(j).unwrap()), q, 1e-5, "basis");
            }
            assert!(result.basis(6).is_none());
            let expected = reference::tridiagonal_eigenvalues(&result.alpha, &result.beta);
            close(&result.ritz().values, &expected, 1e-12, "the eigenproblem of T");
        }
    }
}

#[test]
fn the_basis_stays_orthogonal() {
    for gpu in gpus() {
        let n = 533;
        // a spectrum of many magnitudes, where the plain three-term recurrence loses orthogonality at once
        let d: Vec<f32> = (0..n).map(|i| 0.97f32.powi(i)).collect();
        let result = run(&Diagonal::new(&gpu, &upload(&gpu, &d)).unwrap(), None, 90);
        let basis: Vec<Vec<f64>> = (0..result.steps()).map(|j| read(&gpu, &result.basis(j).unwrap())).collect();
        for (i, a) in basis.iter().enumerate() {
            for (j, b) in basis[..=i].iter().enumerate() {
                let expected = if i == j { 1.0 } else { 0.0 };
                assert!((dot(a, b) - expected).abs() < 1e-6, "{i} and {j}: {}", dot(a, b));
            }
        }
    }
}

#[test]
fn small_and_degenerate_operators() {
    for gpu in gpus() {
        let one = run(&Diagonal::new(&gpu, &upload(&gpu, &[-3.0])).unwrap(), None, 10);
        assert_eq!((one.steps(), &one.ritz().values[..]), (1, &[-3.0][..]));
        let two = run(&Diagonal::new(&gpu, &upload(&gpu, &[5.0, -1.0])).unwrap(), None, 10);
        close(&two.ritz().values, &[5.0, -1.0], 1e-6, "two");
        for factor in [0.0f32, 1.0, -2e-6, 3e6] {
            let identity = run(&Diagonal::new(&gpu, &upload(&gpu, &[factor; 50])).unwrap(), None, 10);
            assert_eq!((identity.steps(), identity.end), (1, LanczosEnd::Breakdown), "{factor}");
            close(&identity.alpha, &[f64::from(factor)], 1e-6 * f64::from(factor.abs()), "identity");
        }
        // an invariant subspace of three: the start has no more
        let d: Vec<f32> = (0..40).map(|i| i as f32).collect();
        let mut start = vec![0.0f32; 40];
        (start[2], start[11], start[30]) = (1.0, -2.0, 0.5);
        let result = run(&Diagonal::new(&gpu, &upload(&gpu, &d)).unwrap(), Some(&upload(&gpu, &start)), 20);
        assert_eq!((result.steps(), result.end), (3, LanczosEnd::Breakdown));
        close(&result.ritz().values, &[30.0, 11.0, 2.0], 3e-5, "an invariant subspace");
    }
}

#[test]
fn two_runs_are_the_same_and_need_one_recording() {
    for gpu in gpus() {
        let n = 1001;
        let recorded = Cell::new(0);
        let diagonal = Diagonal::new(&gpu, &upload(&gpu, &noise(8, n))).unwrap();
        let operator = FromFn::new(&gpu, n, |recording: &mut Recording, x: &Tensor, y: &Tensor| {
            recorded.set(recorded.get() + 1);
            diagonal.record(recording, x, y)
        })
        .unwrap();
        let result = |steps| {
            let result = run(&operator, None, steps);
            let last = bits(&gpu, &result.basis(steps - 1).unwrap());
            (result.alpha.clone(), result.beta.clone(), last)
        };
        let first = result(40);
        assert_eq!(recorded.get(), 1);
        assert_eq!(result(40), first);
        // a longer run begins as a shorter one
        let long = result(60);
        assert_eq!((&long.0[..40], &long.1[..40]), (&first.0[..], &first.1[..]));
    }
}

/// A basis of several bindings, and vectors longer than one: of 64 KiB, 16,384 elements.
#[test]
fn larger_than_a_binding() {
    let limits = wgpu::Limits { max_storage_buffer_binding_size: 1 << 16, ..wgpu::Limits::defaults() };
    let (device, queue) = device(limits);
    for target in [Target::software(), Target::discrete()] {
        let gpu = Gpu::with_options(&device, &queue, GpuOptions { target: Some(target), ..Default::default() }).unwrap();
        for n in [1003, 8003, 20_001] {
            let d: Vec<f32> = noise(3, n);
            let start = noise(4, n);
            let operator = Diagonal::new(&gpu, &upload(&gpu, &d)).unwrap();
            let result = run(&operator, Some(&upload(&gpu, &start)), 20);
            let apply = |x: &[f64]| -> Vec<f64> { x.iter().zip(&d).map(|(x, &d)| x * f64::from(d)).collect() };
            let expected = reference::lanczos(apply, &wide(&start), 20);
            close(&result.alpha, &expected.alpha, 1e-5, "alpha");
            close(&result.beta[..19], &expected.beta[..19], 1e-5, "beta");
        }
    }
}

#[test]
fn what_lanczos_refuses() {
    let gpu = gpu(Checks::Unchecked);
    let operator = Diagonal::new(&gpu, &upload(&gpu, &[1.0, 2.0, 3.0])).unwrap();
    let refused =
        |start: Option<&Tensor>, steps| pollster::block_on(lanczos(&operator, start, &LanczosOptions { steps, seed: 0 })).unwrap_err();
    assert!(matches!(refused(None, 0), Error::Option { option, .. } if option == "steps"));
    assert!(matches!(refused(Some(&f32s(&gpu, &[4])), 2), Error::Length { tensor, .. } if tensor == "start"));
    for start in [0.0, f32::NAN, f32::INFINITY] {
        assert!(matches!(refused(Some(&upload(&gpu, &[start; 3])), 2), Error::Option { option, .. } if option == "start"));
    }
    let result = run(&operator, None, 3);
    assert!(matches!(result.ritz_vectors(&[0, 3]), Err(Error::Option { option, .. }) if option == "index"));
    let broken = Diagonal::new(&gpu, &upload(&gpu, &[1.0, f32::NAN, 3.0])).unwrap();
    let result = run(&broken, None, 3);
    assert_eq!((result.steps(), result.end), (0, LanczosEnd::NonFinite));
    assert!(result.ritz().values.is_empty());
    assert!(matches!(pollster::block_on(eigenpairs(&broken, 1, Which::Largest, &Default::default())), Err(Error::NonFinite { .. })));
}

// ------------------------------------------------------------------------------------ eigenpairs

#[test]
fn both_ends_of_a_spectrum() {
    for gpu in gpus() {
        let n = 400;
        // gaps at both ends
        let d: Vec<f32> = (0..n)
            .map(|i| match i {
                0..5 => 20.0 - 2.0 * i as f32,
                5..8 => -5.0 - i as f32,
                _ => i as f32 / n as f32,
            })
            .collect();
        let operator = Diagonal::new(&gpu, &upload(&gpu, &d)).unwrap();
        for (which, k, expected) in [
            (Which::Largest, 5, &[20.0, 18.0, 16.0, 14.0, 12.0][..]),
            (Which::Smallest, 3, &[-12.0, -11.0, -10.0]),
            (Which::Largest, 1, &[20.0]),
        ] {
            let result = pollster::block_on(eigenpairs(&operator, k, which, &EigenOptions::default())).unwrap();
            assert!(result.converged && result.steps < 100, "{result:?}");
            close(&result.values, expected, 2e-5, "values");
            let vectors = read(&gpu, &result.vectors);
            for (i, v) in vectors.chunks(n).enumerate() {
                let rest: Vec<f64> = v.iter().zip(&d).map(|(v, &d)| (f64::from(d) - result.values[i]) * v).collect();
                let residual = dot(&rest, &rest).sqrt();
                assert!(
                    residual <= 2e-4 && (residual - result.residuals[i]).abs() <= 0.05 * residual + 5e-6,
                    "{residual} {:?}",
                    result.residuals
                );
            }
        }
    }
}

#[test]
fn multiple_eigenvalues() {
    for gpu in gpus() {
        let n = 90;
        let pairs = |d: &[f32], k: usize, which: Which| {
            let operator = Diagonal::new(&gpu, &upload(&gpu, d)).unwrap();
            let result = pollster::block_on(eigenpairs(&operator, k, which, &EigenOptions::default())).unwrap();
            assert!(result.converged, "{result:?}");
            // orthonormal, also where the values are the same
            let vectors = read(&gpu, &result.vectors);
            for (i, a) in vectors.chunks(d.len()).enumerate() {
                for (j, b) in vectors.chunks(d.len()).enumerate() {
                    assert!((dot(a, b) - if i == j { 1.0 } else { 0.0 }).abs() < 1e-5);
                }
            }
            result.values
        };
        close(&pairs(&vec![1.0; n], 7, Which::Largest), &[1.0; 7], 1e-5, "identity");
        close(&pairs(&vec![0.0; n], 3, Which::Smallest), &[0.0; 3], 0.0, "zero");
        let mut d = vec![0.0; n];
        d[3] = 5.0;
        (10..30).for_each(|i| d[i] = 1.0);
        close(&pairs(&d, 4, Which::Largest), &[5.0, 1.0, 1.0, 1.0], 2e-5, "one simple, one multiple");
        d[80] = 5.0;
        close(&pairs(&d, 4, Which::Largest), &[5.0, 5.0, 1.0, 1.0], 2e-5, "two multiple");
        close(&pairs(&d, 2, Which::Smallest), &[0.0, 0.0], 2e-5, "the kernel");
        // all there is
        close(&pairs(&[2.0, 2.0, -1.0], 3, Which::Largest), &[2.0, 2.0, -1.0], 1e-5, "a whole spectrum");
        close(&pairs(&[4.0], 1, Which::Smallest), &[4.0], 1e-6, "one");
    }
}

#[test]
fn too_few_steps_are_said() {
    let gpu = gpu(Checks::Unchecked);
    let n = 3000;
    let operator = FromFn::new(&gpu, n, second_difference(&gpu, n)).unwrap();
    let options = EigenOptions { max_steps: 30, ..Default::default() };
    let result = pollster::block_on(eigenpairs(&operator, 4, Which::Smallest, &options)).unwrap();
    assert!(!result.converged && result.steps == 30 && result.residuals.iter().any(|&residual| residual > 1e-4));
    for (k, options) in [(0, options.clone()), (31, options.clone()), (1, EigenOptions { tolerance: f64::NAN, ..options })] {
        let error = pollster::block_on(eigenpairs(&operator, k, Which::Smallest, &options)).unwrap_err();
        assert!(matches!(error, Error::Option { .. }), "{error}");
    }
}

// ------------------------------------------------------------------------------- power iteration

#[test]
fn power_iteration_finds_the_largest_magnitude() {
    for gpu in gpus() {
        for n in [1, 2, 301, 9001] {
            let mut d = noise(2, n);
            d[n / 2] = -1.5;
            let operator = Diagonal::new(&gpu, &upload(&gpu, &d)).unwrap();
            let result = pollster::block_on(power_iteration(&operator, None, &PowerOptions::default())).unwrap();
            assert!(result.converged, "{result:?}");
            assert!((result.value + 1.5).abs() <= 5e-6, "{result:?}");
            let v = read(&gpu, &result.vector);
            assert!((v[n / 2].abs() - 1.0).abs() < 1e-5);
        }
        let d = [3.0f32, 1.0, -2.0, 0.5, 0.25];
        let start = [1.0f32; 5];
        let operator = Diagonal::new(&gpu, &upload(&gpu, &d)).unwrap();
        let apply = |x: &[f64]| -> Vec<f64> { x.iter().zip(&d).map(|(x, &d)| x * f64::from(d)).collect() };
        let expected = reference::power_iteration(apply, &wide(&start), 9);
        for (iterations, check_every) in [(1, 16), (5, 2), (9, 3)] {
            let options = PowerOptions { tolerance: 0.0, max_iterations: iterations, check_every, seed: 0 };
            let result = pollster::block_on(power_iteration(&operator, Some(&upload(&gpu, &start)), &options)).unwrap();
            assert_eq!((result.iterations, result.converged), (iterations, false));
            assert!((result.value - expected[iterations as usize - 1]).abs() < 1e-6);
        }
        // the zero operator
        let zero = Diagonal::new(&gpu, &f32s(&gpu, &[10])).unwrap();
        let result = pollster::block_on(power_iteration(&zero, None, &PowerOptions::default())).unwrap();
        assert_eq!((result.value, result.residual, result.converged, result.iterations), (0.0, 0.0, true, 1));
    }
}

#[test]
fn what_power_iteration_refuses() {
    let gpu = gpu(Checks::Unchecked);
    let operator = Diagonal::new(&gpu, &upload(&gpu, &[1.0, 2.0, f32::NAN])).unwrap();
    let refused =
        |start: Option<&Tensor>, options: PowerOptions| pollster::block_on(power_iteration(&operator, start, &options)).unwrap_err();
    let default = PowerOptions::default;
    assert!(
        matches!(refused(None, PowerOptions { tolerance: f64::NAN, ..default() }), Error::Option { option, .. } if option == "tolerance")
    );
    assert!(
        matches!(refused(None, PowerOptions { max_iterations: 0, ..default() }), Error::Option { option, .. } if option == "max_iterations")
    );
    assert!(matches!(refused(None, PowerOptions { check_every: 0, ..default() }), Error::Option { option, .. } if option == "check_every"));
    assert!(matches!(refused(Some(&f32s(&gpu, &[3])), default()), Error::Option { option, .. } if option == "start"));
    assert!(matches!(refused(Some(&f32s(&gpu, &[2])), default()), Error::Length { .. }));
    assert!(matches!(refused(None, default()), Error::NonFinite { .. }));
}

/// Nothing of this crate's runs but what a recording holds: vectors of the caller's make an operator too.
#[test]
fn recordings_compose() {
    let gpu = gpu(Checks::Unchecked);
    let n = 64;
    let line = FromFn::new(&gpu, n, second_difference(&gpu, n)).unwrap();
    let between = f32s(&gpu, &[n]);
    let squared = FromFn::new(&gpu, n, |recording: &mut Recording, x: &Tensor, y: &Tensor| {
        line.record(recording, x, &between)?;
        line.record(recording, &between, y)?;
        vector::scale(&gpu, recording, 1.0, y)
    })
    .unwrap();
    let expected: Vec<f64> = spectrum_of_the_line(n).into_iter().map(|value| value * value).collect();
    close(&run(&squared, None, 64).ritz().values, &expected, 2e-5, "the square");
}

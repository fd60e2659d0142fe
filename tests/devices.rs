//! Tensors of other devices, and a device of no more than the required limits.

#![cfg(all(feature = "curvature", feature = "optim", feature = "poisson", feature = "weights"))]

mod common;

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use common::{f32s, gpu, noise, read, step};
use gradus::curvature::{Curvature, Matrix};
use gradus::gpu::{Checks, GpuOptions, Polling, Target, recommended_limits, required_features, required_limits};
use gradus::graph::{Graph, Plan, Stage};
use gradus::krylov::{Cg, CgOptions, Dense, Diagonal, LinearOperator};
use gradus::optim::{AdamP, AdamW, Optimizer, Options, Param};
use gradus::poisson::{Grid, Laplacian, Multigrid, MultigridOptions};
use gradus::{DType, Error, Gpu, Recording, Result, Tensor, vector};
use pollster::block_on;

/// A device of another wgpu instance.
fn elsewhere() -> Gpu {
    let (device, queue) = common::device(wgpu::Limits::defaults());
    Gpu::new(&device, &queue).unwrap()
}

fn is_foreign<T>(what: &str, result: Result<T>, name: &str) {
    match result {
        Err(Error::ForeignDevice { tensor }) if tensor == name => {}
        Err(other) => panic!("{what}: {other}"),
        Ok(_) => panic!("{what}: taken"),
    }
}

#[test]
fn tensors_of_another_instance_are_errors() {
    let (here, there) = (gpu(Checks::Unchecked), elsewhere());
    // the same numbers of objects on both, so that wgpu's own identifiers coincide
    let own: Vec<Tensor> = (0..4).map(|_| f32s(&here, &[4])).collect();
    let other: Vec<Tensor> = (0..4).map(|_| f32s(&there, &[4])).collect();
    let (x, y, foreign) = (&own[0], &own[1], &other[0]);
    let out = f32s(&here, &[1]);
    let foreign_one = f32s(&there, &[1]);
    let matrix = f32s(&here, &[4, 4]);
    let r = &mut Recording::new();

    is_foreign("write", foreign.write(&here, &[0f32; 4]), "tensor");
    is_foreign("read", block_on(foreign.read::<f32>(&here)), "tensor");
    is_foreign("fill", vector::fill(&here, r, 1.0, foreign), "y");
    is_foreign("fill", vector::fill(&here, r, &foreign_one, x), "alpha");
    is_foreign("scale", vector::scale(&here, r, 2.0, foreign), "y");
    is_foreign("copy", vector::copy(&here, r, foreign, y), "x");
    is_foreign("copy", vector::copy(&here, r, x, foreign), "y");
    is_foreign("cast", vector::cast(&here, r, foreign, y), "x");
    is_foreign("cast", vector::cast(&here, r, x, foreign), "y");
    is_foreign("axpy", vector::axpy(&here, r, 1.0, foreign, y), "x");
    is_foreign("axpy", vector::axpy(&here, r, 1.0, x, foreign), "y");
    is_foreign("axpy", vector::axpy(&here, r, &foreign_one, x, y), "alpha");
    is_foreign("dot", vector::dot(&here, r, foreign, y, &out), "x");
    is_foreign("dot", vector::dot(&here, r, x, foreign, &out), "y");
    is_foreign("dot", vector::dot(&here, r, x, y, &foreign_one), "out");
    is_foreign("norm", vector::norm(&here, r, foreign, &out), "x");
    is_foreign("max_magnitude", vector::max_magnitude(&here, r, x, &foreign_one), "out");
    is_foreign("random", vector::random_uniform(&here, r, 0, 0, foreign), "y");
    is_foreign("random", vector::random_rademacher(&here, r, 0, 0, foreign), "y");
    is_foreign("random", vector::random_normal(&here, r, 0, 0, foreign), "y");
    is_foreign("gemv", vector::gemv(&here, r, 1.0, &matrix, foreign, 0.0, y), "x");
    is_foreign("gemv", vector::gemv(&here, r, 1.0, &matrix, x, 0.0, foreign), "y");
    is_foreign("gemv_transposed", vector::gemv_transposed(&here, r, 1.0, &f32s(&there, &[4, 4]), x, 0.0, y), "a");

    is_foreign("optimizer", Optimizer::new(&here, &AdamW::default(), &[Param::new("w", foreign, y)]), "w");
    is_foreign("optimizer", Optimizer::new(&here, &AdamW::default(), &[Param::new("w", x, foreign)]), "w.grad");

    is_foreign("Dense", Dense::new(&here, &f32s(&there, &[4, 4])), "matrix");
    is_foreign("Diagonal", Diagonal::new(&here, foreign), "diagonal");
    let diagonal = Diagonal::new(&here, x).unwrap();
    is_foreign("record", diagonal.record(r, foreign, y), "x");
    is_foreign("record", diagonal.record(r, x, foreign), "y");
    assert!(matches!(Cg::new(&diagonal, None, foreign, y, &CgOptions::default()), Err(Error::ForeignDevice { .. })));
    assert!(matches!(Cg::new(&diagonal, None, x, foreign, &CgOptions::default()), Err(Error::ForeignDevice { .. })));

    let laplacian = Laplacian::new(&here, &Grid::new(&[2, 2]).unwrap().with_open(&[[true; 2]; 2]).unwrap()).unwrap();
    assert!(matches!(laplacian.record(r, foreign, y), Err(Error::ForeignDevice { .. })));
    assert!(matches!(laplacian.record(r, x, foreign), Err(Error::ForeignDevice { .. })));

    let mut graph = Graph::new();
    let leaf = graph.input("leaf", &[4]).unwrap();
    let square = graph.mul(leaf, leaf).unwrap();
    let loss = graph.sum(square, &[0]).unwrap();
    is_foreign("Curvature", Curvature::new(&here, &graph, loss, Matrix::Hessian, &[leaf], &[(leaf, foreign)]), "leaf");
    let plan = Plan::new(&here, &graph, &[Stage::new(&[square])]).unwrap();
    is_foreign("compile", plan.compile(&here, &[(leaf, foreign)]), "leaf");
    let program = plan.compile(&here, &[(leaf, x)]).unwrap();
    assert!(matches!(program.record(r, 0, &[(square, foreign)]), Err(Error::ForeignDevice { .. })));

    // nothing was recorded, and recordings are of one device
    assert!(r.is_empty());
    vector::fill(&here, r, 1.0, x).unwrap();
    assert!(matches!(vector::fill(&there, r, 1.0, foreign), Err(Error::Pipeline { .. })));
    assert_eq!(r.len(), 1);
    assert!(!foreign.shares_buffer(x) && foreign != x);
}

#[test]
fn several_gpus_of_one_device_share_tensors() {
    let one = gpu(Checks::Unchecked);
    let options = GpuOptions { target: Some(Target::discrete()), ..Default::default() };
    let two = Gpu::with_options(one.device(), one.queue(), options).unwrap();
    let x = Tensor::from_slice(&one, &[3], &[1f32, 2.0, 3.0]).unwrap();
    let mut recording = Recording::new();
    vector::scale(&two, &mut recording, 2.0, &x).unwrap();
    vector::scale(&one, &mut recording, 2.0, &x).unwrap();
    two.submit([&recording]);
    assert_eq!(read(&two, &x), [4.0, 8.0, 12.0]);
}

/// wgpu itself says so of a caller's buffer, if the instance is the same.
#[test]
fn buffers_of_another_device_of_the_instance_are_errors() {
    let (here, there) = block_on(async {
        let adapter = gradus::gpu::headless_adapter().await.unwrap();
        let mut gpus = Vec::new();
        for _ in 0..2 {
            let (device, queue) = adapter.request_device(&Default::default()).await.unwrap();
            gpus.push(Gpu::new(&device, &queue).unwrap());
        }
        let there = gpus.pop().unwrap();
        (gpus.pop().unwrap(), there)
    });
    let buffer = common::buffer(&there, 16, common::ALL);
    let foreign = Tensor::from_buffer(&buffer, 0, &[4], DType::F32).unwrap();
    let y = f32s(&here, &[4]);
    assert!(vector::fill(&here, &mut Recording::new(), 1.0, &foreign).is_err());
    assert!(vector::copy(&here, &mut Recording::new(), &foreign, &y).is_err());
    assert!(foreign.write(&here, &[1f32; 4]).is_err());
    assert!(block_on(foreign.read::<f32>(&here)).is_err());
    assert!(Optimizer::new(&here, &AdamW::default(), &[Param::new("w", &foreign, &y)]).is_err());
    is_foreign("a tensor that knows", vector::copy(&here, &mut Recording::new(), &f32s(&there, &[4]), &y), "x");
}

/// Kernels of all kinds of workgroups on a device that has nothing beyond what the crate says that it needs.
#[test]
fn the_required_limits_suffice() {
    let (device, queue) = block_on(async {
        let adapter = gradus::gpu::headless_adapter().await.unwrap();
        let descriptor =
            wgpu::DeviceDescriptor { required_limits: required_limits(), required_features: required_features(), ..Default::default() };
        adapter.request_device(&descriptor).await.unwrap()
    });
    for (checks, target) in [(Checks::Unchecked, Target::discrete()), (Checks::Checked, Target::software())] {
        let gpu = Gpu::with_options(&device, &queue, GpuOptions { checks, target: Some(target), ..Default::default() }).unwrap();

        let n = 60;
        let x = Tensor::from_slice(&gpu, &[n, n], &noise(1, n * n)).unwrap();
        let g = Tensor::from_slice(&gpu, &[n, n], &noise(2, n * n)).unwrap();
        let out = f32s(&gpu, &[1]);
        let mut recording = Recording::new();
        vector::norm(&gpu, &mut recording, &x, &out).unwrap();
        gpu.submit([&recording]);
        let expected = read(&gpu, &x).iter().map(|x| x * x).sum::<f64>().sqrt();
        assert!((read(&gpu, &out)[0] / expected - 1.0).abs() < 1e-6);

        let options = Options { max_norm: Some(1.0), ..Default::default() };
        let adamp = Optimizer::with_options(&gpu, &AdamP::default(), &[Param::new("w", &x, &g)], options).unwrap();
        step(&gpu, &adamp);
        assert_eq!(block_on(adamp.steps()).unwrap(), [1]);

        let mut graph = Graph::new();
        let a = graph.input("a", &[n, n]).unwrap();
        let square = graph.matmul(a, a).unwrap();
        let sum = graph.sum(square, &[0, 1]).unwrap();
        let plan = Plan::new(&gpu, &graph, &[Stage::new(&[sum])]).unwrap();
        let result = f32s(&gpu, &[]);
        let program = plan.compile(&gpu, &[(a, &g), (sum, &result)]).unwrap();
        gpu.submit([&program.recording(0).unwrap()]);
        let g = read(&gpu, &g);
        let columns = |k: usize| (0..n).map(|i| g[i * n + k]).sum::<f64>();
        let expected: f64 = (0..n).map(|k| columns(k) * g[k * n..(k + 1) * n].iter().sum::<f64>()).sum();
        assert!((read(&gpu, &result)[0] - expected).abs() < 1e-3, "{} for {expected}", read(&gpu, &result)[0]);

        for sizes in [&[70, 70][..], &[17, 17, 17]] {
            let cells: usize = sizes.iter().product();
            let grid = Grid::new(sizes).unwrap().with_open(&vec![[true; 2]; sizes.len()]).unwrap();
            let laplacian = Laplacian::new(&gpu, &grid).unwrap();
            let b = Tensor::from_slice(&gpu, &[cells], &noise(3, cells)).unwrap();
            let multigrid = Multigrid::new(&gpu, &grid, &MultigridOptions::default()).unwrap();
            let solution = f32s(&gpu, &[cells]);
            let mut cg = Cg::new(&laplacian, Some(&multigrid), &b, &solution, &CgOptions::default()).unwrap();
            let report = block_on(cg.solve()).unwrap();
            assert!(report.residual < 1e-3, "{sizes:?} {report:?}");
        }
    }
}

/// Those of the adapter for buffers, WebGPU's for the rest; the error of a smaller device says where to find them.
#[test]
fn the_recommended_limits_are_had() {
    block_on(async {
        let adapter = gradus::gpu::headless_adapter().await.unwrap();
        let (limits, available) = (recommended_limits(&adapter), adapter.limits());
        assert_eq!(limits.max_buffer_size, available.max_buffer_size);
        assert_eq!(limits.max_storage_buffer_binding_size, available.max_storage_buffer_binding_size);
        assert_eq!(limits.max_compute_invocations_per_workgroup, 256);
        let descriptor = wgpu::DeviceDescriptor { required_limits: limits.clone(), ..Default::default() };
        let (device, queue) = adapter.request_device(&descriptor).await.unwrap();
        assert_eq!(Gpu::new(&device, &queue).unwrap().limits(), &limits);
    });
    let (device, queue) = common::device(required_limits());
    let error = Tensor::zeros(&Gpu::new(&device, &queue).unwrap(), &[16_385], DType::F32).unwrap_err();
    assert!(matches!(error, Error::LimitTooSmall { limit: "max_buffer_size", needed: 65_540, found: 65_536, .. }), "{error}");
    assert!(error.to_string().contains("gradus::gpu::recommended_limits"), "{error}");
}

// ---- who polls

/// The threads that wait for devices, by a name of their own.
#[cfg(target_os = "linux")]
fn waiting_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    // one may end while they are counted
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.trim() == "gradus.wait").count()
}

/// None by default, one for all reads if it is asked for, and none when the last clone is gone. The only test here that reads by
/// a thread.
#[cfg(target_os = "linux")]
#[test]
fn no_read_has_a_thread_of_its_own() {
    let (device, queue) = common::device(wgpu::Limits::defaults());
    for (polling, threads) in [(Polling::Caller, 0), (Polling::Thread, 1)] {
        let gpu = Gpu::with_options(&device, &queue, GpuOptions { polling, ..Default::default() }).unwrap();
        let tensor = Tensor::from_slice(&gpu, &[3], &[1f32, 2.0, 3.0]).unwrap();
        let mut reads: Vec<_> = (0..8).map(|_| Box::pin(tensor.read::<f32>(&gpu))).collect();
        for read in &mut reads {
            // submits the copy
            let _ = read.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        }
        // a thread bears its name once it runs
        let named = (0..1000).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            waiting_threads() >= threads
        });
        assert!(named, "no thread waits for the device");
        assert_eq!(waiting_threads(), threads, "{polling:?}");
        // by an executor that sleeps until it is woken; those that are there already cannot be polled again
        let again = tensor.read::<f32>(&gpu);
        assert_eq!(block_on(again).unwrap(), [1.0, 2.0, 3.0]);
        assert_eq!(waiting_threads(), threads, "{polling:?}");
    }
    let ended = (0..1000).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        waiting_threads() == 0
    });
    assert!(ended, "a thread outlives its Gpu");
}

/// A loop that polls once a frame, without a waker, has the result; so has one that polls the device itself.
#[test]
fn polls_of_a_read_do_not_wait() {
    let gpu = gpu(Checks::Unchecked);
    let gpu = Gpu::with_options(gpu.device(), gpu.queue(), GpuOptions::default()).unwrap();
    let tensor = Tensor::from_slice(&gpu, &[2], &[4f32, 5.0]).unwrap();
    let context = &mut Context::from_waker(Waker::noop());
    let mut frames = 0;
    let mut read = pin!(tensor.read::<f32>(&gpu));
    let found = loop {
        match read.as_mut().poll(context) {
            Poll::Ready(found) => break found,
            Poll::Pending => std::thread::sleep(std::time::Duration::from_millis(1)),
        }
        frames += 1;
        assert!(frames < 10_000, "the read does not end");
    };
    assert_eq!(found.unwrap(), [4.0, 5.0]);

    let mut read = pin!(tensor.read::<f32>(&gpu));
    let first = read.as_mut().poll(context);
    gpu.device().poll(wgpu::PollType::wait_indefinitely()).unwrap();
    let found = if first.is_pending() { read.as_mut().poll(context) } else { first };
    assert!(matches!(found, Poll::Ready(Ok(values)) if values == [4.0, 5.0]));
}

// ---- threads

/// What holds on native back ends; a browser's objects are of one thread.
#[test]
fn types_are_send_and_sync() {
    fn both<T: Send + Sync>() {}
    fn sent<T: Send>(_: T) {}
    both::<(Gpu, Tensor, Recording, Error, GpuOptions)>();
    both::<(Optimizer, AdamW, Options, Param)>();
    both::<(Graph, Plan, gradus::graph::Program, gradus::graph::Parameters, gradus::graph::LinearMap, gradus::graph::Product)>();
    both::<(Dense, Diagonal, gradus::krylov::Csr, gradus::krylov::Lanczos, gradus::krylov::Eigenpairs, gradus::krylov::Report)>();
    both::<(Cg, gradus::krylov::FlexibleCg, gradus::krylov::Richardson)>();
    both::<(Curvature, gradus::curvature::FiniteDifferenceHessian, gradus::curvature::SpectralDensity)>();
    both::<(gradus::curvature::HessianFree, gradus::curvature::GradientNormalizedNewton, gradus::curvature::Inverse)>();
    both::<(Grid, Laplacian, Multigrid)>();
    both::<(gradus::poisson::Jacobi, gradus::poisson::IncompletePoisson, gradus::poisson::dcdm::DeepPreconditioner)>();
    // what executors of several threads take
    let gpu = gpu(Checks::Unchecked);
    let x = f32s(&gpu, &[1]);
    sent(x.read::<f32>(&gpu));
    sent(gradus::gpu::measure(&gpu, &Recording::new()));
    let diagonal = Diagonal::new(&gpu, &x).unwrap();
    let mut cg = Cg::new(&diagonal, None, &x, &f32s(&gpu, &[1]), &CgOptions::default()).unwrap();
    sent(cg.solve());
}

// ---- buffers that are gone

#[test]
fn destroyed_buffers_are_errors() {
    let gpu = gpu(Checks::Unchecked);
    let [diagonal, b, x] = [(); 3].map(|()| Tensor::from_slice(&gpu, &[3], &[1f32, 2.0, 3.0]).unwrap());
    let operator = Diagonal::new(&gpu, &diagonal).unwrap();
    let mut cg = Cg::new(&operator, None, &b, &x, &CgOptions::default()).unwrap();
    b.buffer().destroy();
    let invalid = |what: &str, error: Error| assert!(matches!(error, Error::InvalidBuffer { .. }), "{what}: {error}");
    invalid("write", b.write(&gpu, &[0f32; 3]).unwrap_err());
    invalid("read", block_on(b.read::<f32>(&gpu)).unwrap_err());
    invalid("solve", block_on(cg.solve()).unwrap_err());
    let mut recording = Recording::new();
    assert!(matches!(vector::copy(&gpu, &mut recording, &b, &x), Err(Error::Pipeline { .. })));
    assert!(recording.is_empty());
    // the device goes on
    assert_eq!(read(&gpu, &x), [1.0, 2.0, 3.0]);
}

//! The V-cycle against f64, and as preconditioner.

mod common;

use common::{f32s, gpu, noise, read};
use gradus::gpu::Checks;
use gradus::krylov::{Cg, CgOptions, LinearOperator};
use gradus::poisson::{Grid, Laplacian, Multigrid, MultigridOptions};

#[test]
fn counts() {
    let gpu = gpu(Checks::Unchecked);
    for sizes in [&[16usize, 16, 16][..], &[33, 47, 30], &[32, 32, 32], &[256, 256], &[64, 64, 64]] {
        for open in [false, true] {
            let grid = Grid::new(sizes).unwrap().with_open(&vec![[open; 2]; sizes.len()]).unwrap();
            let laplacian = Laplacian::new(&gpu, &grid).unwrap();
            let t = std::time::Instant::now();
            let multigrid = Multigrid::new(&gpu, &grid, &MultigridOptions::default()).unwrap();
            let setup = t.elapsed();
            let n = grid.len();
            let (b, x) = (f32s(&gpu, &[n]), f32s(&gpu, &[n]));
            b.write(&gpu, &noise(1, n)).unwrap();
            let options = CgOptions { relative_tolerance: 1e-5, max_iterations: 60, check_every: 4, ..Default::default() };
            let mut cg = Cg::new(&laplacian, Some(&multigrid), &b, &x, &options).unwrap();
            let t = std::time::Instant::now();
            let report = pollster::block_on(cg.solve()).unwrap();
            println!("{sizes:?} {open} setup {setup:?} {:?} {} {:?} {:?}", report.status, report.iterations, t.elapsed(), report.history);
        }
    }
}

//! The flagged Laplacian, its null space and preconditioners, on cells of which some are solid and some air.

use gradus::krylov::{self, LinearOperator};
use gradus::poisson::dcdm::{Architecture, DeepPreconditioner, DeepPreconditionerOptions, Weights};
use gradus::poisson::{Grid, IncompletePoisson, Jacobi, Laplacian, Multigrid, MultigridOptions};
use gradus::reference::dcdm;
use gradus::reference::poisson::{Cells, multigrid};
use gradus::{DType, Gpu, Recording, Result, Tensor};
use pollster::block_on;

use super::values::{noise, of_norm, wide, worse};
use super::{Entry, Report};

/// Of a sum of seven terms, of a mean of thousands.
const BOUND: f64 = 1e-6;
/// Of a dozen convolutions.
const NETWORK_BOUND: f64 = 1e-5;
/// And of as many roundings to 16 bits.
const HALVES_BOUND: f64 = 1e-2;
/// Of a few dozen steps.
const CYCLE_BOUND: f64 = 5e-6;

/// In phase with cells of four and out of it, and more than a workgroup.
const SIZES: [&[usize]; 5] = [&[1, 3], &[16, 20], &[33, 47], &[8, 12, 16], &[21, 30, 31]];

pub fn run(report: &mut Report) {
    report.case("poisson/laplacian", |gpu| SIZES.into_iter().map(|sizes| product(gpu, sizes)).collect());
    report.case("poisson/sum", |gpu| SIZES.into_iter().map(|sizes| dot(gpu, sizes)).collect());
    report.case("poisson/jacobi", |gpu| SIZES.into_iter().map(|sizes| jacobi(gpu, sizes)).collect());
    report.case("poisson/incomplete_poisson", |gpu| SIZES.into_iter().map(|sizes| incomplete_poisson(gpu, sizes)).collect());
    report.case("poisson/multigrid", |gpu| SIZES.into_iter().map(|sizes| cycle(gpu, sizes)).collect());
    report.case("poisson/mask", |gpu| SIZES.into_iter().map(|sizes| network(gpu, sizes, &Default::default(), NETWORK_BOUND)).collect());
    report.case("poisson/mask F16", |gpu| {
        let options = DeepPreconditionerOptions { activations: DType::F16, ..Default::default() };
        SIZES[2..4].iter().map(|sizes| network(gpu, sizes, &options, HALVES_BOUND)).collect()
    });
    report.case("poisson/piece", |gpu| {
        let pieces =
            |sizes: &[usize]| DeepPreconditionerOptions { most_cells: Some(24usize.pow(sizes.len() as u32)), ..Default::default() };
        [SIZES[2], SIZES[4]].into_iter().map(|sizes| network(gpu, sizes, &pieces(sizes), NETWORK_BOUND)).collect()
    });
    report.case("poisson/project", |gpu| SIZES.into_iter().map(|sizes| project(gpu, sizes)).collect());
}

/// A third of the cells are solid, so that there are closed components.
fn flags(n: usize) -> Vec<u8> {
    noise(7, n).into_iter().map(|u| if u < -0.3 { 1 } else { 2 * u8::from(u > 0.97) }).collect()
}

fn laplacian(gpu: &Gpu, sizes: &[usize], flags: &[u8]) -> Result<Laplacian> {
    Laplacian::new(gpu, &Grid::new(sizes)?.with_flags(flags)?)
}

/// Runs `record` with the cells' noise as its x.
fn run_on(gpu: &Gpu, n: usize, record: impl FnOnce(&mut Recording, &Tensor) -> Result<()>) -> Result<(Vec<f32>, Tensor)> {
    let values = noise(8, n);
    let x = Tensor::from_slice(gpu, &[n], &values)?;
    let mut recording = Recording::new();
    record(&mut recording, &x)?;
    gpu.submit([&recording]);
    Ok((values, x))
}

fn product(gpu: &Gpu, sizes: &[usize]) -> Result<Entry> {
    let flags = flags(sizes.iter().product());
    let (laplacian, y) = (laplacian(gpu, sizes, &flags)?, Tensor::zeros(gpu, &[flags.len()], DType::F32)?);
    let (x, _) = run_on(gpu, flags.len(), |recording, x| laplacian.record(recording, x, &y))?;
    let expected = Cells { sizes, flags: &flags, open: &vec![[false; 2]; sizes.len()], ..Default::default() }.apply(&wide(&x));
    Ok(Entry::new(sizes, DType::F32, of_norm(&block_on(y.read(gpu))?, &expected), BOUND))
}

fn dot(gpu: &Gpu, sizes: &[usize]) -> Result<Entry> {
    let flags = flags(sizes.iter().product());
    let (laplacian, y, dot) =
        (laplacian(gpu, sizes, &flags)?, Tensor::zeros(gpu, &[flags.len()], DType::F32)?, Tensor::zeros(gpu, &[1], DType::F32)?);
    let (x, _) = run_on(gpu, flags.len(), |recording, x| laplacian.record_dot(recording, x, &y, &dot))?;
    let expected = Cells { sizes, flags: &flags, open: &vec![[false; 2]; sizes.len()], ..Default::default() }.apply(&wide(&x));
    let expected_dot: f64 = x.iter().zip(&expected).map(|(&x, y)| f64::from(x) * y).sum();
    let error = of_norm(&block_on(dot.read(gpu))?, &[expected_dot]);
    Ok(Entry::new(sizes, DType::F32, worse(error, of_norm(&block_on(y.read(gpu))?, &expected)), BOUND))
}

fn jacobi(gpu: &Gpu, sizes: &[usize]) -> Result<Entry> {
    let flags = flags(sizes.iter().product());
    let operator = Jacobi::new(gpu, &Grid::new(sizes)?.with_flags(&flags)?)?;
    preconditioner(gpu, sizes, &flags, &operator, |cells, r| cells.jacobi(r))
}

fn incomplete_poisson(gpu: &Gpu, sizes: &[usize]) -> Result<Entry> {
    let flags = flags(sizes.iter().product());
    let operator = IncompletePoisson::new(gpu, &Grid::new(sizes)?.with_flags(&flags)?)?;
    preconditioner(gpu, sizes, &flags, &operator, |cells, r| cells.incomplete_poisson(r))
}

fn preconditioner(
    gpu: &Gpu,
    sizes: &[usize],
    flags: &[u8],
    operator: &dyn LinearOperator,
    twin: impl Fn(&Cells, &[f64]) -> Vec<f64>,
) -> Result<Entry> {
    let z = Tensor::zeros(gpu, &[flags.len()], DType::F32)?;
    let (r, _) = run_on(gpu, flags.len(), |recording, r| operator.record(recording, r, &z))?;
    let expected = twin(&Cells { sizes, flags, open: &vec![[false; 2]; sizes.len()], ..Default::default() }, &wide(&r));
    Ok(Entry::new(sizes, DType::F32, of_norm(&block_on(z.read(gpu))?, &expected), BOUND))
}

/// With r in the range of the Laplacian, in which z is compared.
fn cycle(gpu: &Gpu, sizes: &[usize]) -> Result<Entry> {
    let flags = flags(sizes.iter().product());
    let cells = Cells { sizes, flags: &flags, open: &vec![[false; 2]; sizes.len()], ..Default::default() };
    let operator = Multigrid::new(gpu, &Grid::new(sizes)?.with_flags(&flags)?, &MultigridOptions { degree: 3, twice_from: Some(1) })?;
    let r: Vec<f32> = cells.project(&wide(&noise(8, flags.len()))).into_iter().map(|r| r as f32).collect();
    let (b, z, dot) = (Tensor::from_slice(gpu, sizes, &r)?, Tensor::zeros(gpu, sizes, DType::F32)?, Tensor::zeros(gpu, &[1], DType::F32)?);
    let mut recording = Recording::new();
    operator.record_dot(&mut recording, &b, &z, &dot)?;
    gpu.submit([&recording]);
    let expected = cells.project(&multigrid::Multigrid::new(&cells, 3, 1).apply(&wide(&r)));
    let expected_dot: f64 = r.iter().zip(&expected).map(|(&r, z)| f64::from(r) * z).sum();
    let found = cells.project(&wide(&block_on(z.read(gpu))?));
    let found: Vec<f32> = found.into_iter().map(|z| z as f32).collect();
    let error = worse(of_norm(&found, &expected), of_norm(&block_on(dot.read(gpu))?, &[expected_dot]));
    Ok(Entry::new(sizes, DType::F32, error, CYCLE_BOUND))
}

/// A small network's direction: what is not fluid is masked before and after.
fn network(gpu: &Gpu, sizes: &[usize], options: &DeepPreconditionerOptions, bound: f64) -> Result<Entry> {
    let flags = flags(sizes.iter().product());
    let architecture = Architecture { dim: sizes.len(), channels: 4, levels: 1, before: 1, coarse: 1, after: 1 };
    let weights = Weights::initial(gpu, &architecture, 1)?;
    let values = |name: &String| -> Result<(String, Vec<f64>)> {
        let values = weights.parameters.get(name)?;
        Ok((name.clone(), wide(&block_on(values.read(gpu))?)))
    };
    let in_f64 = weights.parameters.names().iter().map(values).collect::<Result<_>>()?;
    let preconditioner = DeepPreconditioner::with_options(gpu, &Grid::new(sizes)?.with_flags(&flags)?, &weights, options)?;
    let z = Tensor::zeros(gpu, sizes, DType::F32)?;
    let (r, _) = run_on(gpu, flags.len(), |recording, r| krylov::Preconditioner::record(&preconditioner, recording, r, &z))?;
    let cells = Cells { sizes, flags: &flags, open: &vec![[false; 2]; sizes.len()], ..Default::default() };
    let expected = dcdm::Network::new(cells, &architecture, &in_f64)?.direction(&wide(&r))?;
    Ok(Entry::new(sizes, options.activations, of_norm(&block_on(z.read(gpu))?, &expected), bound))
}

fn project(gpu: &Gpu, sizes: &[usize]) -> Result<Entry> {
    let flags = flags(sizes.iter().product());
    let laplacian = laplacian(gpu, sizes, &flags)?;
    let (values, x) = run_on(gpu, flags.len(), |recording, x| laplacian.record_project(recording, x))?;
    let expected = Cells { sizes, flags: &flags, open: &vec![[false; 2]; sizes.len()], ..Default::default() }.project(&wide(&values));
    Ok(Entry::new(sizes, DType::F32, of_norm(&block_on(x.read(gpu))?, &expected), BOUND))
}

//! Power iteration.

use super::blocks::{self, Blocks, total};
use super::operator::{LinearOperator, expect_rows, expect_vector};
use super::scaling::Scaling;
use crate::gpu::{Bind, Recording, read_all};
use crate::shaders::layout::{PowerConstants, PowerState};
use crate::{DType, Error, Result, Tensor, shaders, vector};

/// Options of [`power_iteration`].
#[derive(Clone, Debug, PartialEq)]
pub struct PowerOptions {
    /// What ‖A v - value v‖ may be, as a multiple of |value|. Default: 1e-3, which leaves an error of about
    /// 1e-6 in the eigenvalue of a symmetric operator with a gap of its own size.
    pub tolerance: f64,
    /// The most products. Default: 1000.
    pub max_iterations: u32,
    /// How many products the device goes through before the host looks. Default: 16.
    pub check_every: u32,
    /// Of the random start vector, where none is given. Default: 0.
    pub seed: u64,
}

impl Default for PowerOptions {
    fn default() -> Self {
        Self { tolerance: 1e-3, max_iterations: 1000, check_every: 16, seed: 0 }
    }
}

/// The result of [`power_iteration`].
#[derive(Clone, Debug)]
pub struct PowerIteration {
    /// The Rayleigh quotient of the vector.
    pub value: f64,
    /// The vector v of norm one, `[dim]`.
    pub vector: Tensor,
    /// ‖A v - value v‖.
    pub residual: f64,
    /// The products taken.
    pub iterations: u32,
    /// Whether the residual is within the tolerance.
    pub converged: bool,
}

/// The eigenvalue of greatest magnitude and its vector, by power iteration with the Rayleigh quotient
/// (Golub and Van Loan 2013, section 8.2.1), from `start` or a random normal vector. It needs two vectors where
/// [`lanczos`](super::lanczos()) keeps all, and far more products: the error falls by the ratio of the two
/// greatest magnitudes in each. Where these are equal, as with eigenvalues a and -a, it does not converge. The zero
/// operator has converged after one product. The scale of the operator and of `start` does not matter, as long as
/// products are normal numbers of f32.
///
/// A vector that converges may belong to another eigenvalue, if the start has no part of the greatest.
///
/// # Errors
/// [`Error::Option`] if the tolerance is not a number of at least 0, `max_iterations` or `check_every` is 0, or
/// `start` is zero or not finite; [`Error::Length`] or [`Error::DType`] if `start` is not `dim` elements of
/// f32, or the operator has no rows; [`Error::NonFinite`] if a product is not finite; [`Error::DeviceLost`]; what recording a product may
/// fail with.
pub async fn power_iteration(operator: &dyn LinearOperator, start: Option<&Tensor>, options: &PowerOptions) -> Result<PowerIteration> {
    let (gpu, dim) = (operator.gpu(), operator.dim());
    let invalid = |option: &str, found: String, expected: &str| Error::Option { option: option.into(), found, expected: expected.into() };
    if options.tolerance.is_nan() || options.tolerance < 0.0 {
        return Err(invalid("tolerance", options.tolerance.to_string(), "at least 0"));
    }
    for (name, value) in [("max_iterations", options.max_iterations), ("check_every", options.check_every)] {
        if value == 0 {
            return Err(invalid(name, "0".into(), "at least 1"));
        }
    }
    expect_rows(operator)?;
    if let Some(start) = start {
        expect_vector("start", start, dim)?;
    }
    let (v, w) = (blocks::vector(gpu, dim)?, blocks::vector(gpu, dim)?);
    let (value, scaling) = (blocks::scalar(gpu)?, Scaling::new(gpu)?);
    let whole = Tensor::from_buffer(w.buffer(), 0, &[dim.next_multiple_of(4)], DType::F32)?;
    let state = Tensor::zeros(gpu, &[size_of::<PowerState>() / 4], DType::U32)?;
    let over = Blocks::new(gpu, dim)?;
    let advance = |recording: &mut Recording| {
        over.record(recording, &shaders::krylov::POWER_ADVANCE, &[], &[("w", &w), ("v", &v)], &[("state", state.buffer())])
    };

    // the start is normalised by what normalises a product: w = start, of which v is the direction
    let mut begin = Recording::new();
    operator.record_prepare(&mut begin)?;
    match start {
        Some(start) => vector::copy(gpu, &mut begin, &start.reshape(&[dim])?, &w)?,
        None => vector::random_normal(gpu, &mut begin, options.seed, 0, &w)?,
    }
    let scalars = |recording: &mut Recording, defines: &[&'static str]| -> Result<()> {
        scaling.record(gpu, recording, &whole)?;
        let values = [("value", value.buffer()), ("unit", scaling.unit.buffer())];
        over.record_sums(recording, &shaders::krylov::POWER_RESIDUAL, &[], &[("v", &v), ("w", &w)], &values)?;
        let kernel = gpu.kernel(&shaders::krylov::POWER_SCALARS, defines, &[])?;
        let (partials, count) = over.partials();
        let constants = PowerConstants { partials: count, tolerance: options.tolerance as f32 };
        let bindings = vec![
            partials,
            Bind::whole("value", value.buffer()),
            Bind::whole("state", state.buffer()),
            Bind::whole("unit", scaling.unit.buffer()),
        ];
        recording.dispatch_with(gpu, &kernel, total(count), &constants, bindings)?;
        advance(recording)
    };
    scalars(&mut begin, &["START"])?;
    let mut iterate = Recording::new();
    operator.record_dot(&mut iterate, &v, &w, &value)?;
    scalars(&mut iterate, &[])?;

    gpu.execute([&begin])?;
    let mut left = options.max_iterations;
    loop {
        let now = left.min(options.check_every);
        gpu.execute((0..now).map(|_| &iterate))?;
        left -= now;
        let read = read_all(gpu, std::slice::from_ref(&state)).await?;
        let state: PowerState = bytemuck::pod_read_unaligned(&read.concat());
        match state.stop {
            2 if state.iteration == 0 => {
                return Err(invalid("start", "a vector that is zero or not finite".into(), "a finite vector that is not zero"));
            }
            2 => return Err(Error::NonFinite { what: format!("the product of power iteration {}", state.iteration) }),
            0 if left > 0 => {}
            stop => {
                let (value, residual) = (f64::from(state.value), f64::from(state.residual));
                return Ok(PowerIteration { value, vector: v, residual, iterations: state.iteration, converged: stop == 1 });
            }
        }
    }
}

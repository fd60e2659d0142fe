//! The density of the spectrum by stochastic Lanczos quadrature.

use super::Estimate;
use super::sampler::expect_count;
use crate::gpu::{DType, Recording, Tensor};
use crate::krylov::operator::expect_rows;
use crate::krylov::{LanczosEnd, LanczosOptions, LinearOperator, lanczos};
use crate::{Error, Result, vector};

/// Options of [`spectral_density`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DensityOptions {
    /// How many steps of Lanczos for each random vector, a product each; fewer if the matrix is smaller
    /// than that. 1 to 2^24. Default: 80.
    pub steps: usize,
    /// How many random vectors, 1 to 2^24. Default: 4.
    pub probes: usize,
    /// Of the random vectors. Default: 0.
    pub seed: u64,
    /// The standard deviation of the Gaussians about the nodes, in the units of the eigenvalues. Default:
    /// a hundredth of the distance between the outermost nodes (or of a thousandth of the greatest
    /// magnitude of a node if that is more; 0.01 if all nodes are 0).
    pub sigma: Option<f64>,
    /// The first point of the grid and the last. Default: six standard deviations beyond the
    /// outermost nodes, where the density integrates to 1.
    pub range: Option<[f64; 2]>,
    /// How many points the grid has, evenly spaced, at least 2 and no further apart than a standard deviation.
    /// Default: 1024.
    pub points: usize,
}

impl Default for DensityOptions {
    fn default() -> Self {
        Self { steps: 80, probes: 4, seed: 0, sigma: None, range: None, points: 1024 }
    }
}

/// What one random vector x of norm 1 says of the spectrum: `⟨x, f(A) x⟩ ≈ Σ weightᵢ f(nodeᵢ)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Quadrature {
    /// The Ritz values, in descending order.
    pub nodes: Vec<f64>,
    /// Of each node; none is negative, and they add up to 1.
    pub weights: Vec<f64>,
}

/// An estimate of the density of a spectrum.
#[derive(Clone, Debug, PartialEq)]
pub struct SpectralDensity {
    /// Evenly spaced eigenvalues.
    pub grid: Vec<f64>,
    /// The share of eigenvalues by unit of eigenvalue, at each point of the grid.
    pub density: Vec<f64>,
    /// The standard deviation of the Gaussians.
    pub sigma: f64,
    /// One for each random vector.
    pub probes: Vec<Quadrature>,
}

impl SpectralDensity {
    /// The mean of `f` over the eigenvalues, `tr f(A) / n`, with the standard error between random vectors.
    /// `n` times it is the logarithm of the determinant for the logarithm, and the trace for the identity.
    ///
    /// ```
    /// # async fn log_determinant(a: &dyn gradus::krylov::LinearOperator) -> gradus::Result<f64> {
    /// use gradus::curvature::{DensityOptions, spectral_density};
    ///
    /// let spectrum = spectral_density(a, &DensityOptions::default()).await?;
    /// Ok(a.dim() as f64 * spectrum.quadrature(f64::ln).value)
    /// # }
    /// ```
    pub fn quadrature(&self, f: impl Fn(f64) -> f64) -> Estimate {
        let of_probe = |probe: &Quadrature| probe.nodes.iter().zip(&probe.weights).map(|(&node, weight)| weight * f(node)).sum();
        Estimate::of(&self.probes.iter().map(of_probe).collect::<Vec<f64>>())
    }
}

/// The density of the eigenvalues of `operator`, which must be symmetric: stochastic Lanczos quadrature (Ubaru,
/// Chen and Saad 2017), smoothed by Gaussians (Ghorbani, Krishnan and Xiao 2019).
///
/// Lanczos runs from each of `probes` random vectors of signs. Its Ritz values, weighted with the squared
/// first components of the eigenvectors of the tridiagonal matrix, are a Gauss quadrature, which is exact for
/// polynomials of degree `2 steps - 1`; the density is the mean of the Gaussians about all of them. There
/// is one reading from the device for each random vector. The zero operator has one node, 0, of weight 1.
///
/// # Errors
/// [`Error::Option`] for an option out of its range, or if the points are too far apart for `sigma`;
/// [`Error::Length`] if the operator has no rows; [`Error::NonFinite`] if a product is infinite or not a
/// number; those of [`lanczos`].
pub async fn spectral_density(operator: &dyn LinearOperator, options: &DensityOptions) -> Result<SpectralDensity> {
    options.validate()?;
    let (gpu, n) = (operator.gpu(), operator.dim());
    expect_rows(operator)?;
    let start = Tensor::zeros(gpu, &[n], DType::F32)?;
    let mut probes = Vec::with_capacity(options.probes);
    for probe in 0..options.probes {
        let mut recording = Recording::new();
        vector::random_rademacher(gpu, &mut recording, options.seed, probe as u32, &start)?;
        gpu.execute([&recording])?;
        let lanczos_options = LanczosOptions { steps: options.steps, ..Default::default() };
        let result = lanczos(operator, Some(&start), &lanczos_options).await?;
        if result.end == LanczosEnd::NonFinite {
            return Err(Error::NonFinite { what: format!("product {} of random vector {probe}", result.steps() + 1) });
        }
        let ritz = result.ritz();
        probes.push(Quadrature { nodes: ritz.values.clone(), weights: ritz.first_components.iter().map(|tau| tau * tau).collect() });
    }
    let nodes = || probes.iter().flat_map(|probe| probe.nodes.iter().copied());
    let (least, greatest) = (nodes().fold(f64::INFINITY, f64::min), nodes().fold(f64::NEG_INFINITY, f64::max));
    let sigma = options.sigma.unwrap_or_else(|| match (greatest - least).max(1e-3 * greatest.abs().max(least.abs())) {
        0.0 => 0.01,
        width => 0.01 * width,
    });
    let [from, to] = options.range.unwrap_or([least - 6.0 * sigma, greatest + 6.0 * sigma]);
    let spacing = (to - from) / (options.points - 1) as f64;
    // further apart the sum over the grid is no integral: up to here it errs by 1e-8
    if spacing > sigma {
        let expected = format!("at least {} for this sigma and range", ((to - from) / sigma).ceil() + 1.0);
        return Err(Error::Option { option: "points".into(), found: options.points.to_string(), expected });
    }
    let point = |i: usize| from + (to - from) * (i as f64 / (options.points - 1) as f64);
    let grid: Vec<f64> = (0..options.points).map(point).collect();
    let mut density = vec![0.0; options.points];
    let unit = 1.0 / (sigma * (2.0 * std::f64::consts::PI).sqrt() * options.probes as f64);
    for probe in &probes {
        for (node, weight) in probe.nodes.iter().zip(&probe.weights) {
            for (density, t) in density.iter_mut().zip(&grid) {
                *density += unit * weight * (-0.5 * ((t - node) / sigma).powi(2)).exp();
            }
        }
    }
    Ok(SpectralDensity { grid, density, sigma, probes })
}

impl DensityOptions {
    fn validate(&self) -> Result<()> {
        expect_count("steps", self.steps, 1)?;
        expect_count("probes", self.probes, 1)?;
        expect_count("points", self.points, 2)?;
        let invalid =
            |option: &str, found: String, expected: &str| Error::Option { option: option.into(), found, expected: expected.into() };
        match (self.sigma, self.range) {
            (Some(sigma), _) if !(sigma > 0.0 && sigma.is_finite()) => Err(invalid("sigma", sigma.to_string(), "above 0")),
            (_, Some([from, to])) if !(from < to && (to - from).is_finite()) => {
                Err(invalid("range", format!("[{from}, {to}]"), "two finite numbers in ascending order"))
            }
            _ => Ok(()),
        }
    }
}

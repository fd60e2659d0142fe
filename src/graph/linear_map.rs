//! Linear maps that somebody else records, as primitives of a graph.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use wgpu::WasmNotSendSync;

use super::build::{Graph, Var};
use crate::{Error, Recording, Result, Tensor};

/// What [`Product`] keeps: of any thread, but in a browser, whose buffers are of one thread.
trait Record: Fn(&mut Recording, &Tensor, &Tensor) -> Result<()> + WasmNotSendSync {}
impl<F: Fn(&mut Recording, &Tensor, &Tensor) -> Result<()> + WasmNotSendSync> Record for F {}

trait Reference: Fn(&[f64]) -> Vec<f64> + WasmNotSendSync {}
impl<F: Fn(&[f64]) -> Vec<f64> + WasmNotSendSync> Reference for F {}

/// What a matrix does to a vector: on the device, and in f64.
#[derive(Clone)]
pub struct Product {
    record: Arc<dyn Record>,
    reference: Arc<dyn Reference>,
}

impl Product {
    /// `record` appends `y = A x` for vectors x and y of f32, which it may find anywhere in two buffers; it overwrites
    /// all of y, and does not keep what it was given. `reference` is the same for
    /// [`evaluate`](crate::reference::graph::evaluate), and plays no part on the device. Both are `Send + Sync`, except in a
    /// browser, whose buffers are not.
    pub fn new(
        record: impl Fn(&mut Recording, &Tensor, &Tensor) -> Result<()> + WasmNotSendSync + 'static,
        reference: impl Fn(&[f64]) -> Vec<f64> + WasmNotSendSync + 'static,
    ) -> Self {
        Self { record: Arc::new(record), reference: Arc::new(reference) }
    }
}

/// A matrix that is known by its products, for [`Graph::apply`]: a stencil, a sparse matrix, any operator that records
/// `y = A x`. It brings its transpose, with which derivatives are made.
///
/// Two maps are equal if one is a clone of the other. What must run before products, after whatever the matrix
/// depends on has changed, is for the caller to run.
///
/// ```
/// # #[cfg(feature = "krylov")]
/// # {
/// use gradus::graph::{Graph, LinearMap, Product};
/// use gradus::krylov::{Csr, LinearOperator};
///
/// # fn example(gpu: &gradus::Gpu) -> gradus::Result<()> {
/// // the second difference on three points
/// let (offsets, columns) = ([0, 2, 5, 7], [0, 1, 0, 1, 2, 1, 2]);
/// let csr = Csr::new(gpu, &offsets, &columns, &[2.0, -1.0, -1.0, 2.0, -1.0, -1.0, 2.0])?;
/// let product = Product::new(
///     move |recording, x, y| csr.record(recording, x, y),
///     |x| vec![2.0 * x[0] - x[1], 2.0 * x[1] - x[0] - x[2], 2.0 * x[2] - x[1]],
/// );
/// let difference = LinearMap::symmetric("difference", 3, product)?;
///
/// let mut graph = Graph::new();
/// let x = graph.input("x", &[10, 3])?; // ten vectors
/// let y = graph.apply(&difference, x)?;
/// let energies = graph.mul(x, y)?;
/// let energy = graph.sum(energies, &[])?;
/// let gradient = graph.gradient(energy, &[x])?; // 2 A x
/// # Ok(())
/// # }
/// # }
/// ```
#[derive(Clone)]
pub struct LinearMap {
    matrix: Arc<Matrix>,
    transposed: bool,
}

struct Matrix {
    name: String,
    rows: usize,
    columns: usize,
    product: Product,
    /// With the transpose; `None` if that is the same.
    transposed: Option<Product>,
}

impl LinearMap {
    /// Of `rows` and `columns`, with products of the matrix and of its transpose, which is not checked. The name is for
    /// messages.
    ///
    /// # Errors
    /// [`Error::Option`] if there are no rows or no columns.
    pub fn new(name: &str, rows: usize, columns: usize, product: Product, transposed: Product) -> Result<Self> {
        Self::made(Matrix { name: name.to_owned(), rows, columns, product, transposed: Some(transposed) })
    }

    /// Of a symmetric matrix, which is not checked, of `n` rows.
    ///
    /// # Errors
    /// [`Error::Option`] if `n` is 0.
    pub fn symmetric(name: &str, n: usize, product: Product) -> Result<Self> {
        Self::made(Matrix { name: name.to_owned(), rows: n, columns: n, product, transposed: None })
    }

    fn made(matrix: Matrix) -> Result<Self> {
        match [("rows", matrix.rows), ("columns", matrix.columns)].into_iter().find(|&(_, size)| size == 0) {
            Some((option, _)) => Err(Error::Option { option: option.into(), found: "0".into(), expected: "at least 1".into() }),
            None => Ok(Self { matrix: Arc::new(matrix), transposed: false }),
        }
    }

    /// The transpose.
    #[must_use]
    pub fn transpose(&self) -> Self {
        Self { matrix: self.matrix.clone(), transposed: self.matrix.transposed.is_some() && !self.transposed }
    }

    /// The length of a product.
    #[must_use]
    pub fn rows(&self) -> usize {
        if self.transposed { self.matrix.columns } else { self.matrix.rows }
    }

    /// The length of what it is multiplied with.
    #[must_use]
    pub fn columns(&self) -> usize {
        if self.transposed { self.matrix.rows } else { self.matrix.columns }
    }

    fn product(&self) -> &Product {
        match &self.matrix.transposed {
            Some(product) if self.transposed => product,
            _ => &self.matrix.product,
        }
    }

    pub(crate) fn record(&self, recording: &mut Recording, x: &Tensor, y: &Tensor) -> Result<()> {
        (self.product().record)(recording, x, y)
    }

    /// The product in f64.
    ///
    /// # Errors
    /// [`Error::Length`] if the reference does not give as many elements as there are rows.
    pub fn reference(&self, x: &[f64]) -> Result<Vec<f64>> {
        let y = (self.product().reference)(x);
        match y.len() == self.rows() {
            true => Ok(y),
            false => Err(Error::Length { tensor: format!("{self:?}"), unit: "elements", expected: self.rows(), found: y.len() }),
        }
    }
}

impl PartialEq for LinearMap {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.matrix, &other.matrix) && self.transposed == other.transposed
    }
}

impl Eq for LinearMap {}

impl Hash for LinearMap {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.matrix).hash(state);
        self.transposed.hash(state);
    }
}

impl fmt::Debug for LinearMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}{}", self.matrix.name, if self.transposed { " transposed" } else { "" })
    }
}

/// Products with matrices of the caller's.
impl Graph {
    /// `y[.., i] = Σ_j A[i, j] x[.., j]`: the product with each vector along the last axis, one after another. What becomes of
    /// infinities and NaN is up to the matrix.
    ///
    /// # Errors
    /// [`Error::Operation`] if the last axis of `x` is not as long as the map has columns, or the result would be too
    /// large; [`Error::Unknown`] for a value of another graph.
    pub fn apply(&mut self, map: &LinearMap, x: Var) -> Result<Var> {
        let x = self.float("apply", x)?;
        let mut shape = self.dims(x).to_vec();
        match shape.last_mut() {
            Some(last) if *last == map.columns() => *last = map.rows(),
            _ => return self.refuse("apply", &[x], format!("{map:?} has {} columns", map.columns())),
        }
        self.countable("apply", &shape)?;
        let y = self.applied(map, x);
        Ok(self.var(y))
    }
}

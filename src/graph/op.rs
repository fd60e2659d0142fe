//! The primitives of a graph.

use std::fmt;

use super::linear_map::LinearMap;

/// A primitive: what a node does with its inputs. The set is closed under differentiation; see
/// `derivative.rs` for the adjoint and the tangent of each, and `reference::graph` for its meaning in f64.
#[derive(Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Op {
    /// Values bound when the graph is compiled.
    Input(String),
    /// Class or row numbers, u32, bound when the graph is compiled.
    Indices(String),
    /// A named tensor to be learned.
    Parameter(String),
    /// The same number everywhere.
    Constant(Number),
    /// The coordinate along an axis.
    Iota(usize),
    /// 1 where the coordinate along the last axis is the index, else 0; NaN along a row whose index is
    /// not a coordinate.
    OneHot,

    /// The same elements, row-major, under another shape.
    Reshape,
    /// Axis i of the result is axis `.0[i]` of the input.
    Transpose(Vec<usize>),
    /// Repeats axes of size 1.
    Broadcast,
    /// Sums over axes, which keep the size 1. Adjoint of [`Op::Broadcast`].
    Sum(Vec<usize>),
    /// Zeros around; the vector says how many come before, by axis.
    Pad(Vec<usize>),
    /// A part, beginning at these coordinates. Adjoint of [`Op::Pad`].
    Slice(Vec<usize>),
    /// Times a number.
    Scale(Number),
    /// Sums over windows of the spatial axes, the third and later ones; what is outside counts as 0.
    Pool(Window),
    /// Adjoint of [`Op::Pool`]; where windows tile, nearest upsampling.
    Unpool(Window),
    /// The elements of the first input at the places of [`Op::MaxPoolIndices`], the second.
    PoolSelect(Window),
    /// Adjoint of [`Op::PoolSelect`]; inputs the values and the places.
    PoolScatter(Window),
    /// Rows of the first input, `[rows, width]`, by number: `[n, width]` for indices `[n]`. A number that is no
    /// row gives NaN.
    Gather,
    /// Adjoint of [`Op::Gather`]: sums the rows of the first input by number.
    ScatterAdd,

    /// `C[.., m, n] = Σ_k A[.., m, k] B[.., k, n]`. Transposed forms are transposes of the inputs, which cost
    /// nothing.
    Matmul,
    /// A convolution, or one of its adjoints.
    Convolution(Form, Stencil),
    /// A product with a matrix of the caller's, along the last axis.
    Linear(LinearMap),

    /// A function of each element.
    Unary(Unary),
    /// A function of two elements.
    Binary(Binary),

    /// The maximum over axes, which keep the size 1; NaN if one is NaN. Its derivative counts as zero.
    Max(Vec<usize>),
    /// Where in each window the maximum is: row-major position in its plane, u32. The first of equals.
    MaxPoolIndices(Window),
    /// The input, with derivative zero.
    Detach,
}

/// Which of its three arguments a convolution gives from the other two. All are adjoints of
/// `T(y, x, w) = Σ y[n,co,o] x[n,ci,o·stride + k·dilation - padding] w[co,ci,k]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// y from (x, w): the forward pass.
    Output,
    /// x from (y, w): the transposed convolution.
    Input,
    /// w from (y, x): the correlation of the weight's gradient.
    Weight,
}

/// How a convolution moves, by spatial axis.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Stencil {
    /// From output to output.
    pub stride: Vec<usize>,
    /// From tap to tap.
    pub dilation: Vec<usize>,
    /// Zeros before the input.
    pub padding: Vec<usize>,
}

/// The windows of pooling, by spatial axis.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// The size of a window.
    pub size: Vec<usize>,
    /// From window to window.
    pub stride: Vec<usize>,
    /// How far the first window begins before the input.
    pub padding: Vec<usize>,
}

/// A function of one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unary {
    /// eˣ
    Exp,
    /// eˣ - 1
    Expm1,
    /// The natural logarithm.
    Log,
    /// log(1 + x)
    Log1p,
    /// The square root.
    Sqrt,
    /// 1/x
    Reciprocal,
    /// The hyperbolic tangent.
    Tanh,
    /// The error function.
    Erf,
    /// 1/(1 + e⁻ˣ)
    Sigmoid,
    /// max(x, 0); NaN of NaN.
    Relu,
    /// 1 where x > 0, else 0, also of NaN.
    Step,
    /// log(1 + eˣ)
    Softplus,
    /// |x|
    Abs,
    /// -1, 0 or 1; 0 of NaN.
    Sign,
    /// The sine.
    Sin,
    /// The cosine.
    Cos,
}

/// A function of two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Binary {
    /// a + b
    Add,
    /// a - b
    Sub,
    /// a b
    Mul,
    /// a / b
    Div,
    /// The greater one; NaN if one is NaN.
    Maximum,
    /// 1 where a > b, else 0.
    Greater,
    /// a where b is not 0, else 0, whatever a is there; NaN where b is NaN. Its derivative by b counts as zero.
    Mask,
}

/// A finite f64 that can be a key.
#[derive(Clone, Copy)]
pub struct Number(pub(crate) f64);

impl Number {
    /// The value.
    #[must_use]
    pub fn get(self) -> f64 {
        self.0
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for Number {}

impl std::hash::Hash for Number {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Op {
    /// Whether elements of the result depend on the elements of the inputs at the same place alone.
    pub(crate) fn is_pointwise(&self) -> bool {
        matches!(self, Op::Unary(_) | Op::Binary(_) | Op::Scale(_) | Op::Detach)
    }

    /// Whether the result consists of elements of the input, or zeros, at other places.
    pub(crate) fn is_view(&self) -> bool {
        matches!(self, Op::Reshape | Op::Transpose(_) | Op::Broadcast | Op::Pad(_) | Op::Slice(_))
    }

    /// Whether elements are computed from their coordinates, without a kernel of their own.
    pub(crate) fn is_source(&self) -> bool {
        matches!(self, Op::Constant(_) | Op::Iota(_) | Op::OneHot)
    }

    /// Whether values are bound by the user.
    pub(crate) fn is_leaf(&self) -> bool {
        matches!(self, Op::Input(_) | Op::Indices(_) | Op::Parameter(_))
    }

    /// The name of a leaf.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Op::Input(name) | Op::Indices(name) | Op::Parameter(name) => Some(name),
            _ => None,
        }
    }

    /// Whether the values are u32.
    pub(crate) fn is_integer(&self) -> bool {
        matches!(self, Op::Indices(_) | Op::MaxPoolIndices(_))
    }
}

impl fmt::Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Op::Input(name) => write!(f, "input {name:?}"),
            Op::Indices(name) => write!(f, "indices {name:?}"),
            Op::Parameter(name) => write!(f, "parameter {name:?}"),
            Op::Constant(value) => write!(f, "constant {value:?}"),
            Op::Iota(axis) => write!(f, "iota {axis}"),
            Op::OneHot => write!(f, "one_hot"),
            Op::Reshape => write!(f, "reshape"),
            Op::Transpose(axes) => write!(f, "transpose {axes:?}"),
            Op::Broadcast => write!(f, "broadcast"),
            Op::Sum(axes) => write!(f, "sum {axes:?}"),
            Op::Pad(before) => write!(f, "pad {before:?}"),
            Op::Slice(start) => write!(f, "slice {start:?}"),
            Op::Scale(factor) => write!(f, "scale {factor:?}"),
            Op::Pool(window) => write!(f, "pool {window:?}"),
            Op::Unpool(window) => write!(f, "unpool {window:?}"),
            Op::PoolSelect(window) => write!(f, "pool_select {window:?}"),
            Op::PoolScatter(window) => write!(f, "pool_scatter {window:?}"),
            Op::Gather => write!(f, "gather"),
            Op::ScatterAdd => write!(f, "scatter_add"),
            Op::Matmul => write!(f, "matmul"),
            Op::Convolution(form, stencil) => {
                let Stencil { stride, dilation, padding } = stencil;
                write!(f, "convolution {form:?} stride {stride:?} dilation {dilation:?} padding {padding:?}")
            }
            Op::Linear(map) => write!(f, "linear {map:?}"),
            Op::Unary(function) => write!(f, "{}", format!("{function:?}").to_lowercase()),
            Op::Binary(function) => write!(f, "{}", format!("{function:?}").to_lowercase()),
            Op::Max(axes) => write!(f, "max {axes:?}"),
            Op::MaxPoolIndices(window) => write!(f, "max_pool_indices {window:?}"),
            Op::Detach => write!(f, "detach"),
        }
    }
}

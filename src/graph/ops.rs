//! The operations of a graph: each checks its shapes when the node is made.

use super::build::{Graph, Id, Var, fits, without};
use super::op::{Binary, Form, Op, Stencil, Unary, Window};
use super::parameters::Init;
use crate::{Error, Result};

/// The most elements that a value may have: indices are signed 32-bit numbers in some back ends.
const MAX_ELEMENTS: usize = 1 << 31;

/// Zeros around the input of a convolution.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Padding {
    /// So that the output has the size of the input over the stride, rounded up; the odd zero comes after.
    Same,
    /// None.
    #[default]
    Valid,
    /// So many before and after, by axis.
    Explicit(Vec<(usize, usize)>),
}

/// How a convolution moves. Empty vectors mean 1 for each axis.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConvolutionOptions {
    /// From output to output, by axis. Default 1.
    pub stride: Vec<usize>,
    /// From tap to tap, by axis. Default 1.
    pub dilation: Vec<usize>,
    /// Default: none.
    pub padding: Padding,
}

macro_rules! unary {
    ($($(#[$doc:meta])* $name:ident => $function:ident;)*) => {
        /// Functions of each element.
        impl Graph {
            $($(#[$doc])*
            ///
            /// # Errors
            /// [`Error::Unknown`] for a value of another graph, [`Error::Operation`] for indices.
            pub fn $name(&mut self, x: Var) -> Result<Var> {
                let x = self.float(stringify!($name), x)?;
                let y = self.unary(Unary::$function, x);
                Ok(self.var(y))
            })*
        }
    };
}

unary! {
    /// eˣ, within 2 units in the last place. ∞ from 88.73 on; from -87.3 down it may be 0; NaN of NaN.
    exp => Exp;
    /// eˣ - 1, within 2 units in the last place, near 0 too. ∞ from 88.73 on; -1 of -∞; NaN of NaN.
    expm1 => Expm1;
    /// The natural logarithm, within 1 unit in the last place, near 1 too. -∞ of 0, with derivative ∞; NaN of negative numbers
    /// and of NaN; ∞ of ∞. Subnormal numbers may count as 0.
    log => Log;
    /// log(1 + x), within 3 units in the last place, near 0 too. -∞ of -1, with derivative ∞; NaN of smaller numbers and of
    /// NaN; ∞ of ∞.
    log1p => Log1p;
    /// The square root, within 5 units in the last place, of which WGSL promises no more. 0 of 0, with derivative ∞; NaN of
    /// negative numbers and of NaN; ∞ of ∞. Subnormal numbers may count as 0.
    sqrt => Sqrt;
    /// 1/x, within 2.5 units in the last place for 2⁻¹²⁶ ≤ |x| ≤ 2¹²⁶. ±∞ of ±0, 0 of ±∞, NaN of NaN. Subnormal numbers may
    /// count as 0, and so may results that are subnormal.
    reciprocal => Reciprocal;
    /// The hyperbolic tangent, within 3 units in the last place, near 0 too. ±1 of ±∞, NaN of NaN. Its derivative `1 - tanh² x`
    /// is within 3e-6 relative, also where it is small.
    tanh => Tanh;
    /// The error function 2/√π ∫₀ˣ exp(-t²) dt, within 3 units in the last place, near 0 too. ±1 of ±∞, NaN of NaN. Its
    /// derivative is within 3e-7 (1 + x²) relative.
    erf => Erf;
    /// 1/(1 + e⁻ˣ), within 3 units in the last place on both sides. 0 of -∞, 1 of ∞, NaN of NaN; from -87.3 down it may be 0.
    /// Its derivatives are within 3e-6 relative.
    sigmoid => Sigmoid;
    /// max(x, 0), with derivative 0 at 0; NaN of NaN, with derivative 0.
    relu => Relu;
    /// 1 where x > 0, else 0, also of NaN. Its derivative counts as zero.
    step => Step;
    /// log(1 + eˣ), within 3 units in the last place on both sides. 0 of -∞, ∞ of ∞, NaN of NaN; from -87.3 down it may be 0.
    /// Its derivatives are within 3e-6 relative.
    softplus => Softplus;
    /// |x|, with derivative 0 at 0; NaN of NaN, with derivative 0.
    abs => Abs;
    /// -1, 0 or 1; 0 of NaN, as in PyTorch. Its derivative counts as zero.
    sign => Sign;
    /// The sine, within 5e-7 for all finite x. NaN of ±∞ and of NaN.
    sin => Sin;
    /// The cosine, within 5e-7 for all finite x. NaN of ±∞ and of NaN.
    cos => Cos;
}

macro_rules! binary {
    ($($(#[$doc:meta])* $name:ident => $function:ident;)*) => {
        /// Functions of two elements. Shapes are broadcast as in NumPy: aligned at the last axis, axes of size 1
        /// are repeated.
        impl Graph {
            $($(#[$doc])*
            ///
            /// # Errors
            /// [`Error::Operation`] for shapes that cannot be broadcast and for indices, [`Error::Unknown`] for a
            /// value of another graph.
            pub fn $name(&mut self, a: Var, b: Var) -> Result<Var> {
                let [a, b] = self.aligned(stringify!($name), a, b)?;
                let y = self.binary(Binary::$function, a, b);
                Ok(self.var(y))
            })*
        }
    };
}

binary! {
    /// a + b in f32: ∞ - ∞ is NaN.
    add => Add;
    /// a - b in f32: ∞ - ∞ is NaN, but for the very same value taken from itself, which is 0.
    sub => Sub;
    /// a b, element by element, in f32: 0 ∞ is NaN, but for a constant 0, which makes 0 of all ([`Graph::mask`] leaves out what
    /// may be infinite). Results below 2⁻¹²⁶ may be 0.
    mul => Mul;
    /// a / b, within 2.5 units in the last place for 2⁻¹²⁶ ≤ |b| ≤ 2¹²⁶. ±∞ for b = 0, and NaN where a is 0 too, but for
    /// a constant 0, which is 0 over anything.
    div => Div;
    /// The greater of both, NaN if one is NaN; where they are equal, b's derivative counts, and a's is 0.
    maximum => Maximum;
    /// 1 where a > b, else 0, also where one is NaN. Its derivative counts as zero.
    greater => Greater;
    /// x where the mask is not 0, else 0, whatever x is there, infinite or NaN; NaN where the mask is NaN. As
    /// `torch.where(mask, x, 0)`. Where the mask is 0 the derivative by x is 0; that by the mask counts as zero.
    mask => Mask;
}

/// Leaves and values without inputs.
impl Graph {
    /// Values of f32 to be bound when the graph is compiled. They may be anything, subnormal, infinite and NaN too; devices may
    /// take subnormal ones for 0.
    ///
    /// # Errors
    /// [`Error::DuplicateName`]; [`Error::Operation`] for an axis of size 0 or more than 2³¹ elements.
    pub fn input(&mut self, name: &str, shape: &[usize]) -> Result<Var> {
        self.named("input", Op::Input(name.to_owned()), name, shape, None)
    }

    /// Numbers of classes or rows, u32, to be bound when the graph is compiled. Numbers that are none are not found then, but
    /// make NaN where they are used.
    ///
    /// # Errors
    /// As [`Graph::input`].
    pub fn indices(&mut self, name: &str, shape: &[usize]) -> Result<Var> {
        self.named("indices", Op::Indices(name.to_owned()), name, shape, None)
    }

    /// A tensor to be learned, with the values that it begins with.
    ///
    /// # Errors
    /// As [`Graph::input`].
    pub fn parameter(&mut self, name: &str, shape: &[usize], initial: Init) -> Result<Var> {
        self.named("parameter", Op::Parameter(name.to_owned()), name, shape, Some(initial))
    }

    /// The same number everywhere, rounded to f32 on the device; see [`Graph`] for very small ones.
    ///
    /// # Errors
    /// [`Error::Option`] if it is not a finite f32; those of [`Graph::input`] for the shape.
    pub fn constant(&mut self, value: f64, shape: &[usize]) -> Result<Var> {
        self.countable("constant", shape)?;
        finite("value", value)?;
        let id = self.fill(value, shape);
        Ok(self.var(id))
    }

    /// The coordinate along `axis`.
    ///
    /// # Errors
    /// [`Error::Operation`] if there is no such axis or it is longer than 2²⁴; those of [`Graph::input`] for the shape.
    pub fn iota(&mut self, axis: usize, shape: &[usize]) -> Result<Var> {
        self.countable("iota", shape)?;
        if shape.get(axis).is_none_or(|&size| size > 1 << 24) {
            return Err(refused("iota", vec![shape.to_vec()], format!("axis {axis} is none of at most 2^24 coordinates")));
        }
        let id = self.coordinate(axis, shape);
        Ok(self.var(id))
    }

    /// `[.., classes]`: 1 where the last coordinate is the index, else 0; NaN where an index is no class.
    ///
    /// # Errors
    /// [`Error::Operation`] if `indices` are not indices or `classes` is 0 or above 2²⁴.
    pub fn one_hot(&mut self, indices: Var, classes: usize) -> Result<Var> {
        let id = self.integer("one_hot", indices)?;
        let shape = [self.dims(id), &[classes]].concat();
        self.countable("one_hot", &shape)?;
        if classes > 1 << 24 {
            return Err(refused("one_hot", vec![shape], "there are more than 2^24 classes".into()));
        }
        let id = self.one_hot_of(id, classes);
        Ok(self.var(id))
    }

    fn named(&mut self, operation: &'static str, op: Op, name: &str, shape: &[usize], initial: Option<Init>) -> Result<Var> {
        self.countable(operation, shape)?;
        let duplicate = || Error::DuplicateName { what: "leaf of the graph", name: name.to_owned() };
        let id = self.leaf(op, shape, initial).ok_or_else(duplicate)?;
        Ok(self.var(id))
    }
}

/// Linear operations.
impl Graph {
    /// The same elements, row-major, under another shape.
    ///
    /// # Errors
    /// [`Error::Operation`] if the number of elements differs.
    pub fn reshape(&mut self, x: Var, shape: &[usize]) -> Result<Var> {
        let x = self.float("reshape", x)?;
        self.countable("reshape", shape)?;
        if shape.iter().product::<usize>() != self.dims(x).iter().product::<usize>() {
            return self.refuse("reshape", &[x], format!("{shape:?} has another number of elements"));
        }
        let y = self.reshaped(x, shape);
        Ok(self.var(y))
    }

    /// All axes from `axis` on as one.
    ///
    /// # Errors
    /// [`Error::Operation`] if there is no such axis.
    pub fn flatten(&mut self, x: Var, axis: usize) -> Result<Var> {
        let id = self.float("flatten", x)?;
        let shape = self.dims(id);
        match shape.get(..axis) {
            Some(kept) if axis < shape.len() => {
                let shape = [kept, &[shape[axis..].iter().product()]].concat();
                self.reshape(x, &shape)
            }
            _ => self.refuse("flatten", &[id], format!("there is no axis {axis}")),
        }
    }

    /// Axis i of the result is axis `axes[i]` of `x`.
    ///
    /// # Errors
    /// [`Error::Operation`] if `axes` is not a permutation of all axes.
    pub fn transpose(&mut self, x: Var, axes: &[usize]) -> Result<Var> {
        let x = self.float("transpose", x)?;
        let mut sorted = axes.to_vec();
        sorted.sort_unstable();
        if sorted != (0..self.dims(x).len()).collect::<Vec<_>>() {
            return self.refuse("transpose", &[x], format!("{axes:?} is not a permutation of the axes"));
        }
        let y = self.permuted(x, axes);
        Ok(self.var(y))
    }

    /// Repeats axes of size 1, and adds axes in front, as in NumPy.
    ///
    /// # Errors
    /// [`Error::Operation`] if `x` cannot be broadcast to `shape`.
    pub fn broadcast_to(&mut self, x: Var, shape: &[usize]) -> Result<Var> {
        let x = self.float("broadcast_to", x)?;
        self.countable("broadcast_to", shape)?;
        match self.stretched(x, shape) {
            Some(y) => Ok(self.var(y)),
            None => self.refuse("broadcast_to", &[x], format!("it cannot be repeated to {shape:?}")),
        }
    }

    /// The sum over `axes`, which are left out of the result; over all if `axes` is empty. No axis is empty, so that there is
    /// always something to add. ∞ where f32 overflow on the way; NaN if a term is NaN.
    ///
    /// # Errors
    /// [`Error::Operation`] if an axis is named twice or not there.
    pub fn sum(&mut self, x: Var, axes: &[usize]) -> Result<Var> {
        let x = self.float("sum", x)?;
        let axes = self.axes("sum", x, axes)?;
        let kept: Vec<usize> = self.dims(x).iter().enumerate().filter(|(i, _)| !axes.contains(i)).map(|(_, &n)| n).collect();
        let sum = self.summed(x, &axes);
        let y = self.reshaped(sum, &kept);
        Ok(self.var(y))
    }

    /// The mean over `axes`, which are left out of the result; over all if `axes` is empty: the sum times one over its terms, and
    /// so ∞ where the sum is.
    ///
    /// # Errors
    /// As [`Graph::sum`].
    pub fn mean(&mut self, x: Var, axes: &[usize]) -> Result<Var> {
        let sum = self.sum(x, axes)?;
        let count = self.dims(x.id).iter().product::<usize>() / self.dims(sum.id).iter().product::<usize>();
        self.scale(sum, 1.0 / count as f64)
    }

    /// Zeros around: `padding[i]` is how many before and after axis i.
    ///
    /// # Errors
    /// [`Error::Operation`] if there are not as many pairs as axes.
    pub fn pad(&mut self, x: Var, padding: &[(usize, usize)]) -> Result<Var> {
        let x = self.float("pad", x)?;
        if padding.len() != self.dims(x).len() {
            return self.refuse("pad", &[x], format!("{padding:?} is not a pair an axis"));
        }
        let total = |(&n, &(before, after)): (&usize, &(usize, usize))| n.checked_add(before)?.checked_add(after);
        let shape: Option<Vec<usize>> = self.dims(x).iter().zip(padding).map(total).collect();
        let shape = shape.unwrap_or_else(|| vec![usize::MAX]);
        self.countable("pad", &shape)?;
        let before: Vec<usize> = padding.iter().map(|&(before, _)| before).collect();
        let y = self.padded(x, &before, &shape);
        Ok(self.var(y))
    }

    /// The part of each axis in its range.
    ///
    /// # Errors
    /// [`Error::Operation`] if there are not as many ranges as axes, or one is empty or not inside.
    pub fn slice(&mut self, x: Var, ranges: &[std::ops::Range<usize>]) -> Result<Var> {
        let x = self.float("slice", x)?;
        let shape = self.dims(x);
        let inside = ranges.iter().zip(shape).all(|(range, &size)| range.start < range.end && range.end <= size);
        if ranges.len() != shape.len() || !inside {
            return self.refuse("slice", &[x], format!("{ranges:?} is not a range inside each axis"));
        }
        let start: Vec<usize> = ranges.iter().map(|range| range.start).collect();
        let shape: Vec<usize> = ranges.iter().map(|range| range.end - range.start).collect();
        let y = self.sliced(x, &start, &shape);
        Ok(self.var(y))
    }

    /// Values one after another along `axis`; all other axes are equal.
    ///
    /// # Errors
    /// [`Error::Operation`] if there is nothing, no such axis, or another axis differs.
    pub fn concat(&mut self, parts: &[Var], axis: usize) -> Result<Var> {
        let ids = parts.iter().map(|&part| self.float("concat", part)).collect::<Result<Vec<Id>>>()?;
        let first = match ids.first() {
            Some(&first) if axis < self.dims(first).len() => self.dims(first).to_vec(),
            _ => return self.refuse("concat", &ids, format!("there is no axis {axis}")),
        };
        let alike = |shape: &[usize]| shape.len() == first.len() && (0..first.len()).all(|i| i == axis || shape[i] == first[i]);
        if !ids.iter().all(|&id| alike(self.dims(id))) {
            return self.refuse("concat", &ids, format!("they differ in another axis than {axis}"));
        }
        let total: usize = ids.iter().map(|&id| self.dims(id)[axis]).sum();
        let mut shape = first;
        shape[axis] = total;
        self.countable("concat", &shape)?;
        let mut start = vec![0; shape.len()];
        let mut all = self.fill(0.0, &shape);
        for id in ids {
            let part = self.padded(id, &start, &shape);
            all = self.plus(all, part);
            start[axis] += self.dims(id)[axis];
        }
        Ok(self.var(all))
    }

    /// Times a number. One below 1.2e-38 is not rounded to 0: see [`Graph`]. 0 makes 0 of everything, of infinities and NaN too.
    ///
    /// # Errors
    /// [`Error::Option`] if it is not a finite f32.
    pub fn scale(&mut self, x: Var, factor: f64) -> Result<Var> {
        let x = self.float("scale", x)?;
        finite("factor", factor)?;
        let y = self.scale_by(x, factor);
        Ok(self.var(y))
    }

    /// Plus a number, rounded to f32.
    ///
    /// # Errors
    /// [`Error::Option`] if it is not a finite f32.
    pub fn add_scalar(&mut self, x: Var, value: f64) -> Result<Var> {
        let x = self.float("add_scalar", x)?;
        finite("value", value)?;
        let c = self.fill_like(value, x);
        let y = self.plus(x, c);
        Ok(self.var(y))
    }

    /// The very same value, with derivative zero.
    ///
    /// # Errors
    /// [`Error::Unknown`] for a value of another graph.
    pub fn detach(&mut self, x: Var) -> Result<Var> {
        let x = self.float("detach", x)?;
        let y = self.detached(x);
        Ok(self.var(y))
    }

    /// Means over windows of the spatial axes, `x` being `[batch, channels, spatial..]` with one to three of
    /// them; what is outside counts as 0, as in PyTorch. NaN for a window with a NaN.
    ///
    /// # Errors
    /// [`Error::Operation`] if the windows do not fit: as many sizes as axes, at least one window, no more than 2²⁵ elements
    /// in one, and no padding above half a window.
    pub fn avg_pool(&mut self, x: Var, window: &Window) -> Result<Var> {
        let x = self.float("avg_pool", x)?;
        let shape = self.windows("avg_pool", x, window)?;
        let sum = self.pooled(window, x, &shape);
        let y = self.scale_by(sum, 1.0 / window.size.iter().product::<usize>() as f64);
        Ok(self.var(y))
    }

    /// The maximum of each window of the spatial axes, as [`Graph::avg_pool`]; what is outside does not count. NaN for a window
    /// with a NaN, as in PyTorch. The derivative goes to the first of equals, +0 and -0 among them, and to the last of NaNs.
    ///
    /// # Errors
    /// As [`Graph::avg_pool`].
    pub fn max_pool(&mut self, x: Var, window: &Window) -> Result<Var> {
        let x = self.float("max_pool", x)?;
        let shape = self.windows("max_pool", x, window)?;
        let places = self.max_places(window, x, &shape);
        let y = self.selected(window, x, places);
        Ok(self.var(y))
    }

    /// Each element of `[batch, channels, spatial..]` repeated `factor` times along each spatial axis.
    ///
    /// # Errors
    /// [`Error::Operation`] if there are not one to three spatial axes or the factor is 0.
    pub fn upsample_nearest(&mut self, x: Var, factor: usize) -> Result<Var> {
        let x = self.float("upsample_nearest", x)?;
        let rank = self.dims(x).len();
        if !(3..=5).contains(&rank) || factor == 0 {
            return self.refuse(
                "upsample_nearest",
                &[x],
                format!("[batch, channels, spatial..] and a factor above 0 are expected, not {factor}"),
            );
        }
        let shape: Vec<usize> = self.dims(x).iter().enumerate().map(|(i, &n)| if i < 2 { n } else { n.saturating_mul(factor) }).collect();
        self.countable("upsample_nearest", &shape)?;
        let spatial = rank - 2;
        let window = Window { size: vec![factor; spatial], stride: vec![factor; spatial], padding: vec![0; spatial] };
        let y = self.unpooled(&window, x, &shape);
        Ok(self.var(y))
    }

    /// Rows of a table `[rows, width]` by number: `[.., width]` for indices `[..]`. A number that is no row gives NaN.
    ///
    /// # Errors
    /// [`Error::Operation`] if the table has not two axes or `indices` are not indices.
    pub fn gather(&mut self, table: Var, indices: Var) -> Result<Var> {
        let (table, indices) = (self.float("gather", table)?, self.integer("gather", indices)?);
        let &[_, width] = self.dims(table) else {
            return self.refuse("gather", &[table, indices], "a table has two axes".into());
        };
        let shape = [self.dims(indices), &[width]].concat();
        self.countable("gather", &shape)?;
        let count = self.dims(indices).iter().product();
        let flat = self.reshaped(indices, &[count]);
        let rows = self.gathered(table, flat);
        let y = self.reshaped(rows, &shape);
        Ok(self.var(y))
    }
}

/// Products.
impl Graph {
    /// `[.., m, k]` times `[.., k, n]`: the axes in front are a batch, and are broadcast. Transposed operands
    /// cost nothing. Products are added in f32, which may overflow on the way; 0 times ∞ and NaN make NaN.
    ///
    /// # Errors
    /// [`Error::Operation`] if the inner sizes differ, the batches cannot be broadcast, or there are less than two axes.
    pub fn matmul(&mut self, a: Var, b: Var) -> Result<Var> {
        let (a, b) = (self.float("matmul", a)?, self.float("matmul", b)?);
        let (sa, sb) = (self.dims(a).to_vec(), self.dims(b).to_vec());
        let ([batch_a @ .., m, k], [batch_b @ .., l, n]) = (sa.as_slice(), sb.as_slice()) else {
            return self.refuse("matmul", &[a, b], "matrices have two axes".into());
        };
        if k != l {
            return self.refuse("matmul", &[a, b], format!("the inner sizes {k} and {l} differ"));
        }
        let Some(batch) = common(batch_a, batch_b) else {
            return self.refuse("matmul", &[a, b], "the batches cannot be broadcast".into());
        };
        self.countable("matmul", &[&batch[..], &[*m, *n]].concat())?;
        // one matrix for the whole batch: rows of all of it are rows of one product, and so its gradient is one product and not a
        // sum of as many as the batch has
        if !batch.is_empty() && batch == *batch_a && batch_b.iter().all(|&size| size == 1) {
            let rows = batch.iter().product::<usize>() * m;
            let (all, one) = (self.reshaped(a, &[rows, *k]), self.reshaped(b, &[*k, *n]));
            // unless they are not so in memory, and had to be copied
            if self.view(all, &|id| self.node(id).op.is_leaf()).base != all {
                let y = self.product(all, one);
                let y = self.reshaped(y, &[&batch[..], &[*m, *n]].concat());
                return Ok(self.var(y));
            }
        }
        let stretched = self.stretched(a, &[&batch[..], &[*m, *k]].concat()).zip(self.stretched(b, &[&batch[..], &[*k, *n]].concat()));
        match stretched {
            Some((a, b)) => {
                let y = self.product(a, b);
                Ok(self.var(y))
            }
            None => self.refuse("matmul", &[a, b], "the batches cannot be broadcast".into()),
        }
    }

    /// The correlation that networks call convolution: `x` `[batch, in, spatial..]`, `weight` `[out, in, taps..]`, with
    /// one to three spatial axes; `y[n,o,s] = Σ x[n,i,s·stride + t·dilation - padding] w[o,i,t]`. What is outside counts as 0.
    /// Products are added in f32, as those of [`Graph::matmul`]; where a weight is infinite or NaN, what is outside may make NaN.
    ///
    /// # Errors
    /// [`Error::Operation`] if the channels differ, the ranks do not fit, there is no output, or an axis with its padding has 2³¹ places
    /// or more.
    pub fn convolution(&mut self, x: Var, weight: Var, options: &ConvolutionOptions) -> Result<Var> {
        let (x, w) = (self.float("convolution", x)?, self.float("convolution", weight)?);
        let (sx, sw) = (self.dims(x).to_vec(), self.dims(w).to_vec());
        let rank = sx.len();
        if !(3..=5).contains(&rank) || sw.len() != rank {
            return self.refuse("convolution", &[x, w], "[batch, in, spatial..] and [out, in, taps..] are expected".into());
        }
        if sx[1] != sw[1] {
            return self.refuse("convolution", &[x, w], format!("the input has {} channels and the weight is for {}", sx[1], sw[1]));
        }
        let spatial = rank - 2;
        let each = |given: &[usize]| if given.is_empty() { vec![1; spatial] } else { given.to_vec() };
        let (stride, dilation) = (each(&options.stride), each(&options.dilation));
        let positive = |v: &[usize]| v.len() == spatial && v.iter().all(|&n| (1..1 << 16).contains(&n));
        if !positive(&stride) || !positive(&dilation) {
            return self.refuse(
                "convolution",
                &[x, w],
                format!("stride {stride:?} and dilation {dilation:?} are not positive, one an axis"),
            );
        }
        let reach: Vec<usize> = (0..spatial).map(|i| dilation[i] * (sw[i + 2] - 1) + 1).collect();
        let padding: Vec<(usize, usize)> = match &options.padding {
            Padding::Valid => vec![(0, 0); spatial],
            Padding::Explicit(padding) => padding.clone(),
            Padding::Same => (0..spatial)
                .map(|i| {
                    let total = ((sx[i + 2].div_ceil(stride[i]) - 1) * stride[i] + reach[i]).saturating_sub(sx[i + 2]);
                    (total / 2, total - total / 2)
                })
                .collect(),
        };
        let mut shape = vec![sx[0], sw[0]];
        for i in 0..spatial {
            let padded = padding.get(i).and_then(|&(before, after)| sx[i + 2].checked_add(before)?.checked_add(after));
            // a coordinate is a signed number of 32 bits
            let padded = padded.filter(|&padded| padding.len() == spatial && padded < MAX_ELEMENTS);
            match padded.and_then(|padded| padded.checked_sub(reach[i])) {
                Some(rest) => shape.push(rest / stride[i] + 1),
                None => {
                    let reason =
                        format!("with padding {padding:?} there is no output along spatial axis {i}, or there are 2^31 places or more");
                    return self.refuse("convolution", &[x, w], reason);
                }
            }
        }
        self.countable("convolution", &shape)?;
        let stencil = Stencil { stride, dilation, padding: padding.iter().map(|&(before, _)| before).collect() };
        let y = self.convolved(Form::Output, &stencil, x, w, &shape);
        Ok(self.var(y))
    }
}

/// Checks.
impl Graph {
    /// A value of floats of this graph.
    pub(crate) fn float(&self, operation: &'static str, x: Var) -> Result<Id> {
        let id = self.check(x)?;
        match self.is_integer(id) {
            true => self.refuse(operation, &[id], "indices are not numbers".into()),
            false => Ok(id),
        }
    }

    pub(crate) fn integer(&self, operation: &'static str, x: Var) -> Result<Id> {
        let id = self.check(x)?;
        match self.is_integer(id) {
            true => Ok(id),
            false => self.refuse(operation, &[id], "indices are expected".into()),
        }
    }

    pub(crate) fn is_integer(&self, mut id: Id) -> bool {
        while self.node(id).op == Op::Reshape {
            id = self.node(id).inputs[0];
        }
        self.node(id).op.is_integer()
    }

    pub(crate) fn refuse<T>(&self, operation: &'static str, values: &[Id], reason: String) -> Result<T> {
        Err(refused(operation, values.iter().map(|&id| self.dims(id).to_vec()).collect(), reason))
    }

    pub(crate) fn countable(&self, operation: &'static str, shape: &[usize]) -> Result<()> {
        let elements = shape.iter().try_fold(1usize, |n, &axis| n.checked_mul(axis));
        match elements {
            Some(0) => Err(refused(operation, vec![shape.to_vec()], "an axis has size 0".into())),
            Some(n) if n < MAX_ELEMENTS => Ok(()),
            _ => Err(refused(operation, vec![shape.to_vec()], "there would be 2^31 elements or more".into())),
        }
    }

    /// Sorted axes; all for none.
    pub(crate) fn axes(&self, operation: &'static str, x: Id, axes: &[usize]) -> Result<Vec<usize>> {
        let rank = self.dims(x).len();
        let mut sorted = if axes.is_empty() { (0..rank).collect() } else { axes.to_vec() };
        sorted.sort_unstable();
        match sorted.windows(2).any(|pair| pair[0] == pair[1]) || sorted.last().is_some_and(|&axis| axis >= rank) {
            true => self.refuse(operation, &[x], format!("{axes:?} are not axes of it, each once")),
            false => Ok(sorted),
        }
    }

    /// Broadcast as in NumPy, if that is possible.
    fn stretched(&mut self, x: Id, shape: &[usize]) -> Option<Id> {
        let own = self.dims(x).to_vec();
        let front = shape.len().checked_sub(own.len())?;
        if !own.iter().zip(&shape[front..]).all(|(&a, &b)| a == b || a == 1) {
            return None;
        }
        let x = self.reshaped(x, &[&vec![1; front][..], &own].concat());
        Some(self.repeated(x, shape))
    }

    /// Two values broadcast to their common shape.
    fn aligned(&mut self, operation: &'static str, a: Var, b: Var) -> Result<[Id; 2]> {
        let (a, b) = (self.float(operation, a)?, self.float(operation, b)?);
        let both = common(self.dims(a), self.dims(b));
        if let Some(shape) = &both {
            self.countable(operation, shape)?;
        }
        match both.and_then(|shape| Some([self.stretched(a, &shape)?, self.stretched(b, &shape)?])) {
            Some(both) => Ok(both),
            None => self.refuse(operation, &[a, b], "they cannot be broadcast to each other".into()),
        }
    }

    /// The shape of a pooled value.
    fn windows(&self, operation: &'static str, x: Id, window: &Window) -> Result<Vec<usize>> {
        let shape = self.dims(x);
        let spatial = shape.len().saturating_sub(2);
        let Window { size, stride, padding } = window;
        // an invocation goes through a window
        let small = size.iter().try_fold(1usize, |n, &axis| n.checked_mul(axis)).is_some_and(|n| n <= 1 << 25);
        let fits = small
            && (1..=3).contains(&spatial)
            && [size, stride, padding].iter().all(|v| v.len() == spatial)
            && (0..spatial).all(|i| {
                let bounded = (1..1 << 16).contains(&size[i]) && (1..1 << 16).contains(&stride[i]);
                bounded && padding[i] <= size[i] / 2 && shape[i + 2] + 2 * padding[i] >= size[i]
            });
        match fits {
            true => {
                let spatial = (0..spatial).map(|i| (shape[i + 2] + 2 * padding[i] - size[i]) / stride[i] + 1);
                Ok(shape[..2].iter().copied().chain(spatial).collect())
            }
            false => self.refuse(operation, &[x], format!("{window:?} does not fit")),
        }
    }
}

/// The maximum over `axes`, kept with size 1, without a derivative: for shifts that cancel.
impl Graph {
    pub(crate) fn detached_max(&mut self, x: Id, axes: &[usize]) -> Id {
        let axes: Vec<usize> = axes.iter().copied().filter(|&axis| self.dims(x)[axis] > 1).collect();
        match without(self.dims(x), &axes) == self.dims(x) {
            true => self.detached(x),
            false => self.greatest(x, &axes),
        }
    }
}

fn refused(operation: &'static str, shapes: Vec<Vec<usize>>, reason: String) -> Error {
    Error::Operation { operation, shapes, reason }
}

pub(super) fn finite(option: &str, value: f64) -> Result<()> {
    match fits(value) {
        true => Ok(()),
        false => Err(Error::Option { option: option.into(), found: value.to_string(), expected: "a finite f32".into() }),
    }
}

/// The shape to which both can be broadcast.
fn common(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let size = |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |i| shape[i]);
    (0..rank)
        .map(|axis| match (size(a, axis), size(b, axis)) {
            (a, b) if a == b || b == 1 => Some(a),
            (1, b) => Some(b),
            _ => None,
        })
        .collect()
}

impl Window {
    /// Windows of `size` along each of `axes` spatial axes, side by side.
    #[must_use]
    pub fn tiles(size: usize, axes: usize) -> Self {
        Self { size: vec![size; axes], stride: vec![size; axes], padding: vec![0; axes] }
    }
}

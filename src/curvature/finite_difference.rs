//! Hessian products from gradients of any origin.

use super::operator::expect_elements;
use crate::gpu::{DType, Gpu, Recording, Tensor};
use crate::graph::{Graph, Plan, Program, Stage, Var};
use crate::krylov::LinearOperator;
use crate::{Error, Result, vector};

/// The Hessian by central differences of a gradient that somebody else computes:
/// `H x ≈ (g(p + εx) - g(p - εx)) / 2ε` with `ε = step (1 + |p|) / |x|`, all on the device.
///
/// Two gradients a product. The parameters are changed while it runs, and are afterwards what they were, bit for bit; the
/// gradient tensor is left with that of the second point. The error is some 1e-4 of the product's norm at best, by
/// rounding of the gradients (which falls with the step) and by third derivatives (which rises with its
/// square), and the matrix is as far from symmetric. Where the gradient has kinks, as with ReLU, which the step crosses, or
/// noise, the result means nothing: use [`Curvature`](super::Curvature) wherever there is a graph. The scale of x does not
/// matter from 1e-30 to 1e30; the product with zeros is zero. NaN or infinity in the gradients, the parameters or x lead to
/// a product that is not finite.
pub struct FiniteDifferenceHessian {
    gpu: Gpu,
    parameters: Tensor,
    gradient: Tensor,
    recording: Recording,
    program: Program,
    values: Values,
    saved: Tensor,
    forward: Tensor,
    signs: [Tensor; 2],
}

/// The values of the program.
struct Values {
    vector: Var,
    sign: Var,
    point: Var,
    result: Var,
}

impl FiniteDifferenceHessian {
    /// `recording` computes the gradient at `parameters`, n elements of f32, into `gradient`, n too. `step` is that of
    /// the formula; 5e-3, the cube root of f32's precision, suits functions whose derivatives are of the order of 1.
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::DType`] or [`Error::Overlap`] for tensors that do not fit, [`Error::Option`] if `step` is
    /// not positive and finite; [`Error::Operation`] for no or more than 2³¹ elements; [`Error::OutOfMemory`],
    /// [`Error::LimitTooSmall`].
    pub fn new(gpu: &Gpu, parameters: &Tensor, gradient: &Tensor, recording: Recording, step: f64) -> Result<Self> {
        let n = parameters.len();
        expect_elements("parameters", parameters, n)?;
        expect_elements("gradient", gradient, n)?;
        parameters.expect_apart("parameters", gradient, "gradient")?;
        if !(step > 0.0 && (step as f32).is_finite() && step as f32 > 0.0) {
            return Err(Error::Option { option: "step".into(), found: step.to_string(), expected: "a positive f32".into() });
        }
        let flat = |tensor: &Tensor| tensor.reshape(&[n]);
        let (parameters, gradient) = (flat(parameters)?, flat(gradient)?);

        let mut graph = Graph::new();
        let leaf = |graph: &mut Graph, name: &str| graph.input(name, &[n]);
        let (p, x) = (leaf(&mut graph, "parameters")?, leaf(&mut graph, "x")?);
        let (forward, backward) = (leaf(&mut graph, "forward")?, leaf(&mut graph, "backward")?);
        // of v divided by its largest magnitude, so that squares neither overflow nor vanish
        let norm = |graph: &mut Graph, v: Var| -> Result<Var> {
            let magnitudes = graph.abs(v)?;
            let all = graph.check(magnitudes)?;
            let largest = graph.detached_max(all, &[0]);
            let largest = graph.reshape(graph.var(largest), &[])?;
            // the product with zero is zero
            let least = graph.constant(1e-30, &[])?;
            let largest = graph.maximum(largest, least)?;
            let scaled = graph.div(v, largest)?;
            let squares = graph.mul(scaled, scaled)?;
            let sum = graph.sum(squares, &[])?;
            let root = graph.sqrt(sum)?;
            graph.mul(root, largest)
        };
        let (size, length) = (norm(&mut graph, p)?, norm(&mut graph, x)?);
        let least = graph.constant(1e-30, &[])?;
        let length = graph.maximum(length, least)?;
        let size = graph.add_scalar(size, 1.0)?;
        let size = graph.scale(size, step)?;
        let epsilon = graph.div(size, length)?;
        let sign = graph.input("sign", &[])?;
        let signed = graph.mul(sign, epsilon)?;
        let shift = graph.mul(signed, x)?;
        let point = graph.add(p, shift)?;
        let difference = graph.sub(forward, backward)?;
        let quotient = graph.div(difference, epsilon)?;
        let result = graph.scale(quotient, 0.5)?;

        let stages = [Stage::new(&[point]).after(&[x, sign]), Stage::new(&[result]).after(&[backward])];
        let plan = Plan::new(gpu, &graph, &stages)?;
        let (saved, first) = (Tensor::zeros(gpu, &[n], DType::F32)?, Tensor::zeros(gpu, &[n], DType::F32)?);
        let bindings = [(p, &saved), (forward, &first), (backward, &gradient)];
        let program = plan.compile(gpu, &bindings)?;
        let values = Values { vector: x, sign, point, result };
        let signs = [Tensor::from_slice(gpu, &[], &[1f32])?, Tensor::from_slice(gpu, &[], &[-1f32])?];
        Ok(Self { gpu: gpu.clone(), parameters, gradient, recording, program, values, saved, forward: first, signs })
    }
}

impl LinearOperator for FiniteDifferenceHessian {
    fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    fn dim(&self) -> usize {
        self.parameters.len()
    }

    fn record(&self, recording: &mut Recording, x: &Tensor, y: &Tensor) -> Result<()> {
        let n = self.dim();
        for (name, vector) in [("x", x), ("y", y)] {
            expect_elements(name, vector, n)?;
            vector.expect_apart(name, &self.parameters, "parameters")?;
            vector.expect_apart(name, &self.gradient, "gradient")?;
        }
        x.expect_apart("x", y, "y")?;
        let (x, y) = (x.reshape(&[n])?, y.reshape(&[n])?);
        let Values { vector, sign, point, result } = self.values;
        let mut own = Recording::new();
        vector::copy(&self.gpu, &mut own, &self.parameters, &self.saved)?;
        for (i, direction) in self.signs.iter().enumerate() {
            if i == 1 {
                vector::copy(&self.gpu, &mut own, &self.gradient, &self.forward)?;
            }
            self.program.record(&mut own, 0, &[(vector, &x), (sign, direction), (point, &self.parameters)])?;
            own.extend(self.recording.clone());
        }
        self.program.record(&mut own, 1, &[(vector, &x), (result, &y)])?;
        vector::copy(&self.gpu, &mut own, &self.saved, &self.parameters)?;
        recording.extend(own);
        Ok(())
    }
}

//! A network trained on clusters of points, and the eigenvalues of its loss's Hessian.

use gradus::curvature::{Curvature, Matrix};
use gradus::graph::{Graph, Parameters, Plan, Stage, Var, layers, losses};
use gradus::krylov::{EigenOptions, LanczosOptions, Ritz, lanczos};
use gradus::optim::{Adam, Optimizer, Param};
use gradus::{Gpu, Result, Tensor};

use crate::random::Random;

const DIMENSIONS: usize = 100;
const SAMPLES: usize = 2000;
/// Distance of the centres from the origin.
const RADIUS: f64 = 2.0;
/// Standard deviation of the points about their centre, by axis.
const NOISE: f64 = 0.3;
const LR: f64 = 3e-3;

/// A loss and all that it depends on.
pub struct Problem {
    pub graph: Graph,
    pub loss: Var,
    pub parameters: Parameters,
    /// Inputs and their classes.
    data: [(Var, Tensor); 2],
}

impl Problem {
    /// The mean cross-entropy of a network's logits over all samples `inputs` `[n, ..]`.
    pub fn new(
        gpu: &Gpu,
        inputs: Tensor,
        classes: &[u32],
        seed: u64,
        network: impl FnOnce(&mut Graph, Var) -> Result<Var>,
    ) -> Result<Self> {
        let mut graph = Graph::new();
        let x = graph.input("inputs", inputs.shape())?;
        let targets = graph.indices("classes", &[classes.len()])?;
        let logits = network(&mut graph, x)?;
        let loss = losses::cross_entropy(&mut graph, logits, targets)?;
        let parameters = Parameters::new(gpu, &graph, seed)?;
        let classes = Tensor::from_slice(gpu, &[classes.len()], classes)?;
        Ok(Self { graph, loss, parameters, data: [(x, inputs), (targets, classes)] })
    }

    /// Gaussian clusters, as many as `classes`, and a network of two hidden layers of 50 rectifiers.
    pub fn clusters(gpu: &Gpu, classes: usize, seed: u64) -> Result<Self> {
        let mut random = Random(seed);
        let centre = |random: &mut Random| {
            let direction: Vec<f64> = (0..DIMENSIONS).map(|_| random.normal()).collect();
            let norm = direction.iter().map(|x| x * x).sum::<f64>().sqrt();
            direction.into_iter().map(|x| RADIUS * x / norm).collect::<Vec<f64>>()
        };
        let centres: Vec<Vec<f64>> = (0..classes).map(|_| centre(&mut random)).collect();
        let (mut points, mut labels) = (Vec::with_capacity(SAMPLES * DIMENSIONS), Vec::with_capacity(SAMPLES));
        for _ in 0..SAMPLES {
            let class = random.below(classes);
            points.extend(centres[class].iter().map(|x| (x + NOISE * random.normal()) as f32));
            labels.push(class as u32);
        }
        let points = Tensor::from_slice(gpu, &[SAMPLES, DIMENSIONS], &points)?;
        Self::new(gpu, points, &labels, seed, |graph, x| {
            let mut x = x;
            for name in ["hidden1", "hidden2"] {
                x = layers::dense(graph, name, x, 50)?;
                x = graph.relu(x)?;
            }
            layers::dense(graph, "head", x, classes)
        })
    }

    fn wrt(&self) -> Vec<Var> {
        self.graph.parameters().map(|(_, var)| var).collect()
    }

    fn bindings(&self) -> Vec<(Var, &Tensor)> {
        let data = self.data.iter().map(|(var, tensor)| (*var, tensor));
        data.chain(self.wrt().into_iter().zip(self.parameters.tensors())).collect()
    }

    /// Steps of Adam over all samples until the loss is below `goal`, at most `limit` of them. The number of steps, and the
    /// loss in the end.
    pub async fn train(&self, gpu: &Gpu, goal: f32, limit: usize) -> Result<(usize, f32)> {
        let mut graph = self.graph.clone();
        let grads = graph.gradient(self.loss, &self.wrt())?;
        let gradients = self.parameters.like(gpu)?;
        let plan = Plan::new(gpu, &graph, &[Stage::new(&[&[self.loss], &grads[..]].concat())])?;
        let mut bindings = self.bindings();
        bindings.extend(grads.iter().copied().zip(gradients.tensors()));
        let program = plan.compile(gpu, &bindings)?;
        let recording = program.recording(0)?;
        // one vector to Adam, which does not look at shapes
        let all = Param::new("all", self.parameters.flat(), gradients.flat());
        let optimizer = Optimizer::new(gpu, &Adam { lr: LR, ..Default::default() }, &[all])?;
        let mut steps = 0;
        loop {
            gpu.submit([&recording]);
            let loss = program.tensor(self.loss)?.read::<f32>(gpu).await?[0];
            if loss < goal || steps == limit {
                return Ok((steps, loss));
            }
            let mut encoder = gpu.device().create_command_encoder(&Default::default());
            optimizer.step(&mut encoder);
            gpu.queue().submit([encoder.finish()]);
            steps += 1;
        }
    }

    /// The Hessian of the loss over all parameters.
    pub fn hessian(&self, gpu: &Gpu) -> Result<Curvature> {
        Curvature::new(gpu, &self.graph, self.loss, Matrix::Hessian, &self.wrt(), &self.bindings())
    }
}

/// The Ritz values of `4 classes + 30` Lanczos steps, in descending order.
pub async fn ritz(hessian: &Curvature, classes: usize, seed: u64) -> Result<Ritz> {
    Ok(lanczos(hessian, None, &LanczosOptions { steps: 4 * classes + 30, seed }).await?.ritz().clone())
}

/// How many eigenvalues lie apart from the rest: those before the largest ratio of neighbours, where that of the first and
/// the second does not count.
///
/// Of the Ritz values, in descending order, those before the first that has not converged count, as `eigenpairs` takes
/// it. Lanczos finds isolated eigenvalues first, so none of these is missed. The others are no eigenvalues but stand
/// for the bulk. It reaches through zero, and where two Ritz values about zero are neighbours their ratio has no bound:
/// among all positive ones the largest ratio is nearly always that of the last two.
pub fn outliers(ritz: &Ritz) -> usize {
    let Some(&first) = ritz.values.first() else { return 0 };
    let tolerance = EigenOptions::default().tolerance * first;
    let converged = ritz.values.iter().zip(&ritz.residuals).take_while(|&(&value, &residual)| value > 0.0 && residual <= tolerance).count();
    let ratio = |i: usize| ritz.values[i] / ritz.values[i + 1];
    let candidates = 1..converged.saturating_sub(1);
    candidates.max_by(|&i, &j| ratio(i).total_cmp(&ratio(j))).map_or(converged.min(1), |i| i + 1)
}

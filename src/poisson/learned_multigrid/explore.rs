//! Temporary.
use super::training::*;
use crate::Result;
use crate::gpu::{Gpu, Recording, Tensor};
use crate::graph::{Graph, Parameters, Plan, Program, Stage, Var};
use crate::krylov::Preconditioner;
use crate::poisson::Grid;

/// Temporary.
pub struct GraphCycle {
    gpu: Gpu,
    dim: usize,
    shape: Vec<usize>,
    program: Program,
    r: Var,
    z: Var,
}

impl GraphCycle {
    /// Temporary.
    #[allow(missing_docs, clippy::missing_errors_doc)]
    pub fn new(gpu: &Gpu, cycle: &Cycle, parameters: &Parameters, grid: &Grid) -> Result<Self> {
        let levels = Levels::new(gpu, &[grid.clone()])?;
        let mut graph = Graph::new();
        let learned = Learned::new(&mut graph, cycle)?;
        let (nodes, mut bindings) = levels.nodes(&mut graph, &learned)?;
        let shape = [&[1, 1], grid.sizes()].concat();
        let r = graph.input("r", &shape)?;
        let z = learned.cycle(&mut graph, &nodes, r)?;
        let named: Vec<_> = graph.parameters().map(|(name, var)| (name.to_owned(), var)).collect();
        for (name, var) in &named {
            bindings.push((*var, parameters.get(name)?));
        }
        let taps = learned.taps.iter().map(|(var, numbers)| Ok((*var, Tensor::from_slice(gpu, graph.shape(*var)?, numbers)?)));
        let taps = taps.collect::<Result<Vec<_>>>()?;
        bindings.extend(taps.iter().map(|(var, tensor)| (*var, tensor)));
        let plan = Plan::new(gpu, &graph, &[Stage::new(&[z]).after(&[r])])?;
        let program = plan.compile(gpu, &bindings)?;
        drop(bindings);
        Ok(Self { gpu: gpu.clone(), dim: grid.len(), shape, program, r, z })
    }
}

impl Preconditioner for GraphCycle {
    fn gpu(&self) -> &Gpu {
        &self.gpu
    }
    fn dim(&self) -> usize {
        self.dim
    }
    fn record(&self, recording: &mut Recording, r: &Tensor, z: &Tensor) -> Result<()> {
        let (r, z) = (r.reshape(&self.shape)?, z.reshape(&self.shape)?);
        self.program.record(recording, 0, &[(self.r, &r), (self.z, &z)])
    }
}

//! The deep conjugate direction method (Kaneda et al., ICML 2023): the network as the interpreter of graphs reads it, in
//! flexible conjugate gradients.

use std::collections::HashMap;

use super::graph::evaluate;
use super::krylov::{FlexibleCg, flexible_cg};
use super::poisson::Cells;
use super::vector::{norm, scale};
use crate::graph::{Graph, Var};
use crate::poisson::dcdm::Architecture;
use crate::{Error, Result};

/// A network on cells.
#[derive(Clone, Debug)]
pub struct Network<'a> {
    cells: Cells<'a>,
    graph: Graph,
    r: Var,
    q: Var,
    parameters: HashMap<Var, Vec<f64>>,
}

impl<'a> Network<'a> {
    /// With weights by name.
    ///
    /// # Errors
    /// Those of [`Architecture::build`]; [`Error::Unknown`] for a weight that is missing, [`Error::Length`] for a wrong
    /// number of elements.
    pub fn new(cells: Cells<'a>, architecture: &Architecture, weights: &HashMap<String, Vec<f64>>) -> Result<Self> {
        let mut graph = Graph::new();
        let r = graph.input("r", &[&[1, 1], cells.sizes].concat())?;
        let q = architecture.build(&mut graph, r)?;
        let mut parameters = HashMap::new();
        for (name, var) in graph.parameters() {
            let found = weights.get(name).ok_or_else(|| Error::Unknown { what: "weight", name: name.to_owned() })?;
            let expected = graph.shape(var)?.iter().product();
            if found.len() != expected {
                return Err(Error::Length { tensor: name.to_owned(), unit: "elements", expected, found: found.len() });
            }
            parameters.insert(var, found.clone());
        }
        Ok(Self { cells, graph, r, q, parameters })
    }

    /// `mask · net(mask · r / ‖mask · r‖)`, the mask being 1 where A has a row that is not 0; 0 for r of 0.
    ///
    /// # Errors
    /// [`Error::Length`] for another number of elements than cells.
    pub fn direction(&self, r: &[f64]) -> Result<Vec<f64>> {
        let diagonal = self.cells.diagonal();
        if r.len() != diagonal.len() {
            return Err(Error::Length { tensor: "r".into(), unit: "elements", expected: diagonal.len(), found: r.len() });
        }
        let masked = |x: &[f64]| -> Vec<f64> { x.iter().zip(&diagonal).map(|(&x, &d)| if d > 0.0 { x } else { 0.0 }).collect() };
        let mut unit = masked(r);
        if unit.iter().all(|&r| r == 0.0) {
            return Ok(unit);
        }
        scale(1.0 / norm(&unit), &mut unit);
        let mut bindings = self.parameters.clone();
        bindings.insert(self.r, unit);
        let values = evaluate(&self.graph, &bindings, &[self.q])?;
        Ok(values.first().map_or_else(Vec::new, |q| masked(q)))
    }

    /// A x = b from 0, by [`flexible_cg`] with the direction, of its part in the range of A.
    ///
    /// # Errors
    /// [`Error::Length`] for another number of elements than cells.
    pub fn solve(&self, b: &[f64], truncation: usize, recompute_every: usize, tolerance: f64, max_iterations: usize) -> Result<FlexibleCg> {
        // which is all that may fail, and may not fail later
        self.direction(b)?;
        let precondition = |r: &[f64]| self.cells.project(&self.direction(r).unwrap_or_default());
        Ok(flexible_cg(|x| self.cells.apply(x), precondition, b, truncation, recompute_every, tolerance, max_iterations))
    }
}

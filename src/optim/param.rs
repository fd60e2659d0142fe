//! The list of parameters, and what must hold of it.

use std::collections::{HashMap, HashSet};

use super::options::Group;
use crate::gpu::{DType, Gpu, Tensor};
use crate::{Error, Result};

/// A parameter, its gradient, and the name by which errors and state dictionaries call it.
#[derive(Clone, Debug)]
pub struct Param<'a> {
    pub(super) name: &'a str,
    pub(super) param: &'a Tensor,
    pub(super) grad: &'a Tensor,
    pub(super) group: usize,
}

impl<'a> Param<'a> {
    /// Both tensors have the same shape, and each is f32, f16 or bf16. The first axis counts
    /// channels, as in PyTorch.
    #[must_use]
    pub fn new(name: &'a str, param: &'a Tensor, grad: &'a Tensor) -> Self {
        Self { name, param, grad, group: 0 }
    }

    /// The index in [`Options::groups`](super::Options::groups). Default: 0.
    #[must_use]
    pub fn group(self, group: usize) -> Self {
        Self { group, ..self }
    }
}

/// Whether a step may be made of `params`.
pub(super) fn validate(gpu: &Gpu, params: &[Param], groups: &[Group]) -> Result<()> {
    let mut names = HashSet::new();
    for param in params {
        let grad_name = format!("{}.grad", param.name);
        if !names.insert(param.name) {
            return Err(Error::DuplicateName { what: "parameter", name: param.name.to_owned() });
        }
        if param.group >= groups.len() {
            return Err(Error::Unknown { what: "group", name: param.group.to_string() });
        }
        param.param.expect_on(param.name, gpu)?;
        param.grad.expect_on(&grad_name, gpu)?;
        param.param.expect_dtype(param.name, &DType::FLOATS)?;
        param.grad.expect_dtype(&grad_name, &DType::FLOATS)?;
        param.grad.expect_shape(&grad_name, param.param.shape())?;
        // kernels count elements in 32 bits
        if param.param.len() > u32::MAX as usize / 2 {
            return Err(Error::Length {
                tensor: param.name.to_owned(),
                unit: "elements at most",
                expected: u32::MAX as usize / 2,
                found: param.param.len(),
            });
        }
    }
    apart(params)
}

/// No parameter may overlap another or a gradient. Gradients may overlap: they are only read.
#[expect(clippy::mutable_key_type, reason = "buffers are compared and hashed by identity")]
fn apart(params: &[Param]) -> Result<()> {
    let mut by_buffer: HashMap<&wgpu::Buffer, Vec<(&Tensor, bool, &str)>> = HashMap::new();
    for param in params.iter().filter(|param| !param.param.is_empty()) {
        by_buffer.entry(param.param.buffer()).or_default().push((param.param, true, param.name));
        by_buffer.entry(param.grad.buffer()).or_default().push((param.grad, false, param.name));
    }
    for tensors in by_buffer.values_mut() {
        tensors.sort_by_key(|(tensor, ..)| tensor.offset());
        // of those before, the parameter and the gradient that reach farthest
        let mut reach: [Option<(u64, &str)>; 2] = [None; 2];
        for &(tensor, is_param, name) in &*tensors {
            let called = |is_param: bool, name: &str| if is_param { name.to_owned() } else { format!("{name}.grad") };
            for (other_is_param, far) in [(true, reach[0]), (false, reach[1])] {
                let Some((_, other)) = far.filter(|&(end, _)| end > tensor.offset() && (is_param || other_is_param)) else { continue };
                return Err(Error::Overlap { first: called(other_is_param, other), second: called(is_param, name) });
            }
            let end = tensor.range().end;
            let far = &mut reach[usize::from(!is_param)];
            if far.is_none_or(|(farthest, _)| end > farthest) {
                *far = Some((end, name));
            }
        }
    }
    Ok(())
}

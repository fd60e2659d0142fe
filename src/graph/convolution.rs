use super::op::Form;
use super::template::{Operand, Template};
pub(crate) struct Geometry {
    pub batch: u32,
    pub in_channels: u32,
    pub out_channels: u32,
    pub input: Vec<u32>,
    pub output: Vec<u32>,
    pub kernel: Vec<u32>,
    pub stride: Vec<u32>,
    pub dilation: Vec<u32>,
    pub padding: Vec<u32>,
}
pub(crate) fn convolution(_cpu: bool, _form: Form, _g: &Geometry, _t: &[[Operand; 2]]) -> Template {
    todo!()
}

use super::op::Form;
use super::template::{Operand, Template};
use crate::shaders;
use crate::shaders::layout::ConvolutionConstants;
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
pub(crate) fn convolution(_cpu: bool, form: Form, g: &Geometry, t: &[[Operand; 2]]) -> Template {
    let three = |v: &[u32], fill: u32| {
        let mut a = [fill; 4];
        let n = v.len();
        for i in 0..n {
            a[3 - n + i] = v[i];
        }
        a
    };
    let v = |s: &[u32]| s.iter().product::<u32>();
    let total = match form {
        Form::Output => g.batch * g.out_channels * v(&g.output),
        Form::Input => g.batch * g.in_channels * v(&g.input),
        Form::Weight => g.out_channels * g.in_channels * v(&g.kernel),
    };
    let l = t.last().unwrap_or(&t[0]);
    let c = ConvolutionConstants {
        batch: g.batch,
        ci: g.in_channels,
        co: g.out_channels,
        total,
        input: three(&g.input, 1),
        output: three(&g.output, 1),
        kernel: three(&g.kernel, 1),
        stride: three(&g.stride, 1),
        dilation: three(&g.dilation, 1),
        padding: three(&g.padding, 0),
        offsets: [t[0][0].offset, t[0][1].offset, l[0].offset, l[1].offset],
        ..Default::default()
    };
    let mut defines = vec![match form {
        Form::Output => "FORM_OUTPUT",
        Form::Input => "FORM_INPUT",
        Form::Weight => "FORM_WEIGHT",
    }];
    if t.len() == 2 {
        defines.push("TWO");
    }
    Template {
        source: &shaders::graph::CONVOLUTION,
        defines,
        overrides: vec![],
        operands: &["a0", "b0", "a1", "b1"],
        uniform: bytemuck::bytes_of(&c).to_vec(),
        workgroups: total.div_ceil(64).min(65535),
        parts: 1,
    }
}

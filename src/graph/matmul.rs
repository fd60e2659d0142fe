use super::template::{Operand, Template};
use crate::shaders;
use crate::shaders::layout::MatmulConstants;
pub(crate) struct Matmul {
    pub batch: [u32; 2],
    pub m: u32,
    pub n: u32,
    pub k: u32,
}
pub(crate) fn matmul(_cpu: bool, size: &Matmul, terms: &[[Operand; 2]]) -> Template {
    let v = |o: &Operand| {
        let s = &o.strides;
        [s[0], s[1], s[2], s[3]]
    };
    let total = size.batch[0] * size.batch[1] * size.m * size.n;
    let t1 = terms.get(1).unwrap_or(&terms[0]);
    let c = MatmulConstants {
        m: size.m,
        n: size.n,
        k: size.k,
        batch1: size.batch[1],
        total,
        oa0: terms[0][0].offset,
        ob0: terms[0][1].offset,
        oa1: t1[0].offset,
        ob1: t1[1].offset,
        sa0: v(&terms[0][0]),
        sb0: v(&terms[0][1]),
        sa1: v(&t1[0]),
        sb1: v(&t1[1]),
        ..Default::default()
    };
    Template {
        source: &shaders::graph::MATMUL,
        defines: if terms.len() == 2 { vec!["TWO"] } else { vec![] },
        overrides: vec![],
        uniform: bytemuck::bytes_of(&c).to_vec(),
        workgroups: total.div_ceil(64).min(65535),
        parts: 1,
    }
}

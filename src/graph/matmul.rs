//! Products of matrices in batches.

use super::template::{Operand, Template};
use super::tiles;
use crate::gpu::Work;
use crate::shaders;
use crate::shaders::layout::MatmulConstants;

/// The sizes of `C[i,j,m,n] = Σ_k A[i,j,m,k] B[i,j,k,n]`, in a batch of two axes; C is contiguous.
pub(crate) struct Matmul {
    pub batch: [u32; 2],
    pub m: u32,
    pub n: u32,
    pub k: u32,
}

/// A matrix by its strides: of two batch axes, of what is not summed over, and of k.
#[derive(Clone, Copy)]
struct Matrix {
    offset: u32,
    batch: [u32; 2],
    free: u32,
    k: u32,
    vec4: bool,
}

/// The product, or the sum of two. Strides of operands: A of its two batch axes, m and k; B of its two batch axes, k
/// and n.
pub(crate) fn matmul(size: &Matmul, terms: &[[Operand; 2]]) -> Template {
    let mut pairs: Vec<[Matrix; 2]> = terms.iter().map(|[a, b]| [matrix(a, 2, 3), matrix(b, 3, 2)]).collect();
    let (mut rows, mut columns, mut strides) = (size.m, size.n, [size.n, 1]);
    // (AB)ᵀ = BᵀAᵀ where that fills its tiles better
    let tiles = |rows: u32, columns: u32| u64::from(rows.div_ceil(16)) * u64::from(columns.div_ceil(64));
    let swapped = tiles(columns, rows) < tiles(rows, columns);
    if swapped {
        (rows, columns, strides) = (columns, rows, [1, size.n]);
        pairs.iter_mut().for_each(|pair| pair.reverse());
    }
    let fours = size.k.is_multiple_of(4);
    let aligned = |m: &Matrix, others: &[u32]| fours && m.vec4 && m.offset.is_multiple_of(4) && others.iter().all(|s| s.is_multiple_of(4));
    let along_k = |m: &Matrix| m.k == 1 && aligned(m, &[m.batch[0], m.batch[1], m.free]);
    let across = |m: &Matrix, count: u32| m.free == 1 && count.is_multiple_of(4) && aligned(m, &[m.batch[0], m.batch[1], m.k]);
    let pick = |i: usize, count: u32, names: [&'static str; 3]| match () {
        () if pairs.iter().all(|pair| along_k(&pair[i])) => names[0],
        () if pairs.iter().all(|pair| across(&pair[i], count)) => names[1],
        () => names[2],
    };
    let mut defines = vec![pick(0, rows, ["A_K", "A_R", "A_ANY"]), pick(1, columns, ["B_K", "B_C", "B_ANY"])];
    if pairs.len() == 2 {
        defines.push("TWO");
    }
    let [a0, b0] = pairs[0];
    let [a1, b1] = pairs[pairs.len() - 1];
    let batches = size.batch[0] * size.batch[1];
    let cut = tiles::cut(tiles(rows, columns) * u64::from(batches), size.k, terms.len());
    defines.extend(tiles::deep(cut.part, terms.len()));
    let constants = MatmulConstants {
        rows,
        columns,
        depth: size.k,
        inner: size.batch[1],
        tiles: cut.tiles as u32,
        part: cut.part,
        elements: batches * rows * columns,
        row_stride: strides[0],
        column_stride: strides[1],
        offset_a0: a0.offset,
        offset_b0: b0.offset,
        offset_a1: a1.offset,
        offset_b1: b1.offset,
        a0: [a0.batch[0], a0.batch[1], a0.free, a0.k],
        a1: [a1.batch[0], a1.batch[1], a1.free, a1.k],
        b0: [b0.batch[0], b0.batch[1], b0.k, b0.free],
        b1: [b1.batch[0], b1.batch[1], b1.k, b1.free],
        ..Default::default()
    };
    Template {
        source: &shaders::graph::MATMUL,
        defines,
        overrides: Vec::new(),
        operands: if swapped { &["b0", "a0", "b1", "a1"] } else { &["a0", "b0", "a1", "b1"] },
        uniform: bytemuck::bytes_of(&constants).to_vec(),
        work: Work::in_rows(cut.tiles, cut.rounds),
        parts: cut.parts,
    }
}

fn matrix(operand: &Operand, free: usize, k: usize) -> Matrix {
    let stride = |i: usize| operand.strides.get(i).copied().unwrap_or_default();
    Matrix { offset: operand.offset, batch: [stride(0), stride(1)], free: stride(free), k: stride(k), vec4: operand.vec4 }
}

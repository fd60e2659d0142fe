//! Convolutions and their adjoints.

use super::op::Form;
use super::template::{Operand, Template};
use super::tiles;
use crate::gpu::Work;
use crate::gpu::work::{MAX_ROUNDS, looped};
use crate::shaders;
use crate::shaders::layout::{ConvolutionConstants, ConvolutionRowsConstants};

/// The sizes of `T(y, x, w) = Σ y[n,co,o] x[n,ci,o·stride + t·dilation - padding] w[co,ci,t]`: one to three spatial
/// axes, slowest first. All three tensors are contiguous.
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

/// An outer index and a place in a volume, and how they move in the gathered operand.
struct Index {
    outer: u32,
    volume: [u32; 3],
    step: [u32; 3],
    /// From outer to outer index, in elements.
    jump: u32,
}

/// One of the forms, or the sum of two alike. The operands are (x, w), (y, w) or (y, x). `halves`: the result, of the Output
/// form, of one term, is stored as 16-bit floats.
pub(crate) fn convolution(form: Form, g: &Geometry, terms: &[[Operand; 2]], halves: bool) -> Template {
    let [input, output, kernel] = [&g.input, &g.output, &g.kernel].map(|sizes| three(sizes, 1));
    let (stride, dilation, padding) = (three(&g.stride, 1), three(&g.dilation, 1), three(&g.padding, 0));
    let [taps, inside, outside] = [kernel, input, output].map(|sizes| sizes.iter().product::<u32>());
    let negative = |v: [u32; 3]| v.map(u32::wrapping_neg);
    let (ci, co) = (g.in_channels, g.out_channels);
    // whether the first operand is the gathered one
    let gather_first = form != Form::Weight;
    let rows = if form == Form::Input { ci } else { co };
    let (columns, depth, start, source) = match form {
        Form::Output => (
            Index { outer: g.batch, volume: output, step: stride, jump: ci * inside },
            Index { outer: ci, volume: kernel, step: dilation, jump: inside },
            negative(padding),
            input,
        ),
        Form::Input => (
            Index { outer: g.batch, volume: input, step: [1; 3], jump: co * outside },
            Index { outer: co, volume: kernel, step: negative(dilation), jump: outside },
            padding,
            output,
        ),
        Form::Weight => (
            Index { outer: ci, volume: kernel, step: dilation, jump: inside },
            Index { outer: g.batch, volume: output, step: stride, jump: ci * inside },
            negative(padding),
            input,
        ),
    };
    let (a_row, a_outer, r_row, r_outer) = match form {
        Form::Output => (ci * taps, taps, outside, co * outside),
        Form::Input => (taps, ci * taps, inside, ci * inside),
        Form::Weight => (outside, co * outside, ci * taps, taps),
    };
    let divide = form == Form::Input && stride.iter().any(|&stride| stride > 1);
    if form != Form::Weight && !divide && kernel[2] == 3 && stride[2] == 1 && dilation[2] == 1 {
        let by_rows = Rows { rows, columns: &columns, depth: &depth, start, source, a_row, a_outer, r_row, r_outer };
        if by_rows.pays() {
            return by_rows.template(terms, halves);
        }
    }
    let inner = depth.volume.iter().product::<u32>();
    let (wide, deep) = (columns.outer * columns.volume.iter().product::<u32>(), depth.outer * inner);
    let (a, b) = if gather_first { (1, 0) } else { (0, 1) };
    let vectors = terms.iter().all(|term| term[a].vec4 && term[a].offset.is_multiple_of(4))
        && [a_row, a_outer, deep].iter().all(|n| n.is_multiple_of(4))
        && (inner.is_multiple_of(4) || a_outer == inner);
    let tiles = u64::from(rows.div_ceil(16)) * u64::from(wide.div_ceil(64));
    let cut = tiles::cut(tiles, deep, 1);

    let mut overrides = vec![
        ("ROWS", rows),
        ("COLUMNS", wide),
        ("DEPTH", deep),
        ("A_ROW", a_row),
        ("A_OUTER", a_outer),
        ("B_C_OUTER", columns.jump),
        ("B_K_OUTER", depth.jump),
        ("R_ROW", r_row),
        ("R_OUTER", r_outer),
    ];
    let mut axes = |names: [&'static str; 3], values: [u32; 3]| overrides.extend(names.into_iter().zip(values));
    axes(["C_Z", "C_Y", "C_X"], columns.volume);
    axes(["C_STEP_Z", "C_STEP_Y", "C_STEP_X"], columns.step);
    axes(["START_Z", "START_Y", "START_X"], start);
    axes(["K_Z", "K_Y", "K_X"], depth.volume);
    axes(["K_STEP_Z", "K_STEP_Y", "K_STEP_X"], depth.step);
    axes(["B_Z", "B_Y", "B_X"], source);
    axes(["DIVISOR_Z", "DIVISOR_Y", "DIVISOR_X"], stride);
    let mut defines = vec![if vectors { "A_K" } else { "A_ANY" }];
    if divide {
        defines.push("DIVIDE");
    }
    defines.extend(kinds(terms, halves));
    defines.extend(tiles::deep(cut.part, terms.len()));
    let last = &terms[terms.len() - 1];
    let constants = ConvolutionConstants {
        offset_a0: terms[0][a].offset,
        offset_b0: terms[0][b].offset,
        offset_a1: last[a].offset,
        offset_b1: last[b].offset,
        tiles: cut.tiles as u32,
        part: cut.part,
        elements: rows * wide,
    };
    Template {
        source: &shaders::graph::CONVOLUTION,
        defines,
        overrides,
        operands: if gather_first { &["b0", "a0", "b1", "a1"] } else { &["a0", "b0", "a1", "b1"] },
        uniform: bytemuck::bytes_of(&constants).to_vec(),
        work: Work::in_rows(cut.tiles, cut.rounds),
        parts: cut.parts,
    }
}

/// A form whose kernel has three taps in x, side by side in the gathered operand.
struct Rows<'a> {
    rows: u32,
    columns: &'a Index,
    depth: &'a Index,
    start: [u32; 3],
    source: [u32; 3],
    a_row: u32,
    a_outer: u32,
    r_row: u32,
    r_outer: u32,
}

impl Rows<'_> {
    /// The workgroups of eight patches of 8 by 2 elements, for eight rows each.
    fn tiles(&self) -> u64 {
        let [z, y, x] = self.columns.volume.map(u64::from);
        let patches = u64::from(self.columns.outer) * z * y.div_ceil(2) * x.div_ceil(8);
        patches.div_ceil(8) * u64::from(self.rows.div_ceil(8))
    }

    /// Whether patches are mostly full, there is work for a device, and an invocation's loops end in time.
    fn pays(&self) -> bool {
        let [_, y, x] = self.columns.volume.map(u64::from);
        let full = 10 * x * y >= 7 * x.next_multiple_of(8) * y.next_multiple_of(2);
        full && self.tiles() >= 16 && self.work().rounds <= MAX_ROUNDS
    }

    /// A block of the sum is one index of `outer` or more.
    fn work(&self) -> Work {
        let [kz, ky, _] = self.depth.volume.map(u64::from);
        let outer = u64::from(self.depth.outer);
        let sum = outer * (looped(kz, looped(ky, 0)) + 1) + looped(outer, 1) + (outer / 16 + 2) * looped(8, 0);
        Work::in_rows(self.tiles(), sum + looped(8, looped(2, looped(8, 0))))
    }

    fn template(&self, terms: &[[Operand; 2]], halves: bool) -> Template {
        // the taps in x go from first to last in the gathered operand
        let flip = self.depth.step[2] != 1;
        let start_x = if flip { self.start[2].wrapping_sub(2) } else { self.start[2] };
        let mut overrides = vec![
            ("ROWS", self.rows),
            ("BATCH", self.columns.outer),
            ("OUTER", self.depth.outer),
            ("A_ROW", self.a_row),
            ("A_OUTER", self.a_outer),
            ("START_X", start_x),
            ("FLIP", flip.into()),
            ("B_C_OUTER", self.columns.jump),
            ("B_K_OUTER", self.depth.jump),
            ("R_ROW", self.r_row),
            ("R_OUTER", self.r_outer),
        ];
        let mut axes = |names: &[&'static str], values: [u32; 3]| overrides.extend(names.iter().copied().zip(values));
        axes(&["C_Z", "C_Y", "C_X"], self.columns.volume);
        axes(&["C_STEP_Z", "C_STEP_Y"], self.columns.step);
        axes(&["START_Z", "START_Y"], self.start);
        axes(&["K_Z", "K_Y"], self.depth.volume);
        axes(&["K_STEP_Z", "K_STEP_Y"], self.depth.step);
        axes(&["B_Z", "B_Y", "B_X"], self.source);
        let last = &terms[terms.len() - 1];
        let deep = self.depth.outer * self.depth.volume.iter().product::<u32>();
        let constants = ConvolutionRowsConstants {
            offset_a0: terms[0][1].offset,
            offset_b0: terms[0][0].offset,
            offset_a1: last[1].offset,
            offset_b1: last[0].offset,
            tiles: self.tiles() as u32,
        };
        Template {
            source: &shaders::graph::CONVOLUTION_ROWS,
            defines: kinds(terms, halves).into_iter().chain(tiles::deep(deep, terms.len())).collect(),
            overrides,
            operands: &["b0", "a0", "b1", "a1"],
            uniform: bytemuck::bytes_of(&constants).to_vec(),
            work: self.work(),
            parts: 1,
        }
    }
}

/// What the templates know of operands and result.
fn kinds(terms: &[[Operand; 2]], halves: bool) -> Vec<&'static str> {
    let all = [("TWO", terms.len() == 2), ("HALVES", terms[0][0].halves), ("PAIRS", halves)];
    all.into_iter().filter(|(_, is)| *is).map(|(name, _)| name).collect()
}

/// The last of three axes are given; the others are `missing`.
fn three(sizes: &[u32], missing: u32) -> [u32; 3] {
    std::array::from_fn(|i| (i + sizes.len()).checked_sub(3).and_then(|k| sizes.get(k)).copied().unwrap_or(missing))
}

//! Products of matrices for GPUs: which tiles, which parts, and what is multiplied.
//!
//! Matrices, convolutions and their adjoints are one template, `shaders/graph/product.wgsl`: its operands are told by an
//! [`Operand`], from which the generator writes how they are loaded.

use super::build::{Graph, Id};
use super::op::{Form, Op, Stencil};
use super::view::View;
use crate::gpu::work::looped;
use crate::gpu::{Family, Target, Work};
use crate::shaders::layout::ProductConstants;

/// Tiles of a workgroup: a candidate of the family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tile {
    pub rows: u32,
    pub columns: u32,
    pub depth: u32,
    pub invocations: u32,
    /// The rows that an invocation holds, of 4 columns.
    pub sums: u32,
}

impl Tile {
    const fn new(rows: u32, columns: u32, depth: u32, invocations: u32, sums: u32) -> Self {
        Self { rows, columns, depth, invocations, sums }
    }

    fn tiles(&self, shape: &Shape) -> u64 {
        u64::from(shape.rows.div_ceil(self.rows)) * u64::from(shape.columns.div_ceil(self.columns)) * u64::from(shape.batches)
    }
}

/// All of them add in the same order, so that results do not depend on the choice. The first is for results of eight columns or
/// fewer, whose time is that of reading one operand.
pub(crate) const TILES: [Tile; 4] =
    [Tile::new(128, 8, 8, 64, 4), Tile::new(32, 32, 16, 64, 4), Tile::new(64, 64, 16, 256, 4), Tile::new(128, 64, 8, 256, 8)];
pub(crate) const FAMILY: Family = Family { name: "graph.product", candidates: &["128x8x8", "32x32x16", "64x64x16", "128x64x8"] };
const THIN: usize = 0;
const SMALL: usize = 1;
const MEDIUM: usize = 2;
const TALL: usize = 3;

/// The most columns of a result for which [`TILES`] has tiles of their own.
const FEW: u32 = 8;

/// The terms of a part at most: 32 blocks of 16 blocks of 16, so that no sum is of more than 32 numbers.
const MOST: u32 = 8192;

/// The most terms that are added in order, and those that are added in blocks of 16.
const IN_ORDER: u64 = 32;
const IN_BLOCKS: u64 = 512;

/// Workgroups that a product should have at least.
const OCCUPIED: u64 = 64;

/// Where a row or a column is in the result: `i / inner * outer + i % inner * stride`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub inner: u32,
    pub outer: u32,
    pub stride: u32,
}

/// The sizes of a product, and of a sum of `terms` products.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub batches: u32,
    pub rows: u32,
    pub columns: u32,
    pub depth: u32,
    pub terms: u32,
}

/// The depth in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    pub parts: u32,
    /// The terms of a part, a multiple of 16.
    pub part: u32,
}

impl Shape {
    /// Parts that leave work for a device, by the shape alone: 512 tiles of 64 by 64 with 256 terms at least, and [`OCCUPIED`] tiles
    /// of 32 by 32 with 32 terms at least; and no more terms than are added up with little error.
    pub fn cut(&self) -> Cut {
        let (medium, small) = (TILES[MEDIUM].tiles(self), TILES[SMALL].tiles(self));
        let depth = u64::from(self.depth);
        let parts = (512 / medium.max(1)).min(depth / 256).max(depth.div_ceil(MOST.into())).max(1);
        let mut part = depth.div_ceil(parts).next_multiple_of(16);
        if depth.div_ceil(part) * small < OCCUPIED {
            // rounded down, so that there are no fewer
            part = (depth * small / OCCUPIED / 16 * 16).clamp(32, part.max(32));
        }
        Cut { parts: depth.div_ceil(part).max(1) as u32, part: part as u32 }
    }

    /// How sums are added: see the template.
    fn deep(&self) -> u32 {
        let terms = u64::from(self.cut().part.min(self.depth)) * u64::from(self.terms);
        u32::from(terms > IN_ORDER) + u32::from(terms > IN_BLOCKS)
    }

    pub fn multiplications(&self) -> u64 {
        [self.rows, self.columns, self.depth, self.batches, self.terms].into_iter().map(u64::from).product()
    }

    /// Whether a candidate is worth a measurement: tiles of eight columns for few columns, large ones for as many.
    pub fn may_take(&self, tile: usize) -> bool {
        let tile = &TILES[tile];
        if tile.columns <= FEW { self.columns <= 2 * FEW } else { self.columns > FEW / 2 && self.rows > tile.rows / 2 }
    }

    /// What a measurement is good for: sizes to the next power of two.
    pub fn class(&self) -> String {
        let log = |n: u32| n.max(1).next_power_of_two().trailing_zeros();
        let [rows, columns, depth, batches] = [self.rows, self.columns, self.depth, self.batches].map(log);
        format!("rows{rows} columns{columns} depth{depth} batches{batches} terms{}", self.terms)
    }

    /// The candidate that runs: a tuning's choice, else the largest tile of which there are enough to occupy the device.
    pub fn tile(&self, target: &Target) -> usize {
        if let Some(chosen) = target.tuning.choice(&FAMILY, &self.class()) {
            return chosen;
        }
        if self.columns <= FEW {
            return THIN;
        }
        let parts = u64::from(self.cut().parts);
        let enough = |tile: usize, groups: u64| TILES[tile].tiles(self) * parts >= groups;
        let full = target.workgroups_at_once();
        match () {
            () if enough(TALL, full) => TALL,
            () if enough(MEDIUM, full / 2) => MEDIUM,
            () => SMALL,
        }
    }
}

/// Which of the coordinates of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Group {
    Batch,
    /// Rows of A, columns of B.
    Free,
    Depth,
}

/// Where along an axis of its value an operand is: `(offset + Σ factor·coordinate) / divisor`, and 0 where there is a rest, or no
/// such element.
#[derive(Clone, Debug)]
pub(crate) struct Along {
    pub offset: i64,
    /// Coordinates by their group and place in it, and their factors.
    pub terms: Vec<(Group, usize, i64)>,
    pub divisor: usize,
    pub size: usize,
    /// Whether elements may be beyond the ends.
    pub guarded: bool,
}

impl Along {
    fn plain(group: Group, at: usize, size: usize) -> Self {
        Self { offset: 0, terms: vec![(group, at, 1)], divisor: 1, size, guarded: false }
    }
}

/// What is multiplied: an element of a value for each element of the batch, row or column, and k.
#[derive(Clone, Debug)]
pub(crate) struct Operand {
    pub value: Id,
    /// Batch, free index and k are taken apart into coordinates of these sizes.
    pub batch: Vec<usize>,
    pub free: Vec<usize>,
    pub depth: Vec<usize>,
    /// The axes of the value, or of its elements in another shape, slowest first.
    pub axes: Vec<Along>,
    /// Whether neighbours in memory are neighbours along k.
    pub along: bool,
}

/// A product of a graph: operands A and B of each term, and where the result goes.
#[derive(Clone, Debug)]
pub(crate) struct Product {
    pub shape: Shape,
    pub terms: Vec<[Operand; 2]>,
    pub row: Place,
    pub column: Place,
}

impl Product {
    /// The product, or the sum of two, that `terms` are. `pairs`: channels of the result are stored two a word, so that they must be rows.
    pub fn new(graph: &Graph, terms: &[Id], views: &[View], pairs: bool) -> Option<Self> {
        let product = match &graph.node(*terms.first()?).op {
            Op::Matmul => Self::of_matrices(graph, terms, views),
            Op::Convolution(form, stencil) => Self::of_convolutions(graph, *form, stencil, terms, views),
            _ => return None,
        };
        // the side with few is the columns
        let few = !pairs && product.shape.rows <= FEW && product.shape.columns > product.shape.rows;
        Some(if few { product.transposed() } else { product })
    }

    fn transposed(mut self) -> Self {
        (self.shape.rows, self.shape.columns) = (self.shape.columns, self.shape.rows);
        (self.row, self.column) = (self.column, self.row);
        self.terms.iter_mut().for_each(|term| term.reverse());
        self
    }

    fn of_matrices(graph: &Graph, terms: &[Id], views: &[View]) -> Self {
        let node = graph.node(terms[0]);
        let rank = node.shape.len();
        let (batch, [m, n]) = (&node.shape[..rank - 2], [node.shape[rank - 2], node.shape[rank - 1]]);
        let k = graph.dims(node.inputs[0])[rank - 1];
        // a batch of one, and one with the stride of an operand, costs no arithmetic
        let operand = |view: &View, free: usize, order: [Group; 2]| {
            let groups = (0..batch.len()).map(|i| (Group::Batch, i)).chain(order.map(|group| (group, 0)));
            let terms = groups.zip(&view.strides).map(|((group, i), &stride)| (group, i, stride as i64)).collect();
            let size = graph.dims(view.base).iter().product();
            let axis = Along { offset: view.offset as i64, terms, divisor: 1, size, guarded: false };
            let stride = |group: Group| view.strides[rank - 2 + usize::from(order[1] == group)];
            let along = stride(Group::Depth) == 1 && stride(Group::Free) != 1;
            Operand { value: view.base, batch: batch.to_vec(), free: vec![free], depth: vec![k], axes: vec![axis], along }
        };
        let both =
            |i: usize| [operand(&views[2 * i], m, [Group::Free, Group::Depth]), operand(&views[2 * i + 1], n, [Group::Depth, Group::Free])];
        let shape = Shape {
            batches: batch.iter().product::<usize>() as u32,
            rows: m as u32,
            columns: n as u32,
            depth: k as u32,
            terms: terms.len() as u32,
        };
        let place = |count: usize, stride: usize| Place { inner: count as u32, outer: 0, stride: stride as u32 };
        Self { shape, terms: (0..terms.len()).map(both).collect(), row: place(m, n), column: place(n, 1) }
    }

    /// Rows are channels: of the output, in the form Input of the input. Columns are places in the batch, in the form Weight taps.
    fn of_convolutions(graph: &Graph, form: Form, stencil: &Stencil, terms: &[Id], views: &[View]) -> Self {
        let dims = |id: Id, i: usize| graph.dims(graph.node(id).inputs[i]).to_vec();
        let own = graph.dims(terms[0]).to_vec();
        let (x, w, y) = match form {
            Form::Output => (dims(terms[0], 0), dims(terms[0], 1), own),
            Form::Input => (own, dims(terms[0], 1), dims(terms[0], 0)),
            Form::Weight => (dims(terms[0], 1), own, dims(terms[0], 0)),
        };
        let (batch, ci, co) = (x[0], x[1], y[1]);
        let (inside, outside, kernel) = (&x[2..], &y[2..], &w[2..]);
        let count = |sizes: &[usize]| sizes.iter().product::<usize>();
        let with = |first: usize, sizes: &[usize]| [&[first], sizes].concat();
        let spatial = inside.len();
        let plain = Along::plain;
        // x[n, ci, o·stride + t·dilation - padding], or y[n, co, (i + padding - t·dilation) / stride]
        let gathered = |value: Id, channels: usize, sizes: &[usize], [outer, channel]: [Group; 2], [place, tap]: [Group; 2]| {
            let batches = plain(outer, 0, batch);
            let axes = (0..spatial).map(|i| {
                let [stride, dilation, padding] = [stencil.stride[i], stencil.dilation[i], stencil.padding[i]].map(|n| n as i64);
                match form {
                    Form::Input => Along {
                        offset: padding,
                        terms: vec![(place, i + 1, 1), (tap, i + 1, -dilation)],
                        divisor: stride as usize,
                        size: sizes[i],
                        guarded: true,
                    },
                    _ => Along {
                        offset: -padding,
                        terms: vec![(place, i + 1, stride), (tap, i + 1, dilation)],
                        divisor: 1,
                        size: sizes[i],
                        guarded: padding > 0 || stride * (outside[i] as i64 - 1) + dilation * (kernel[i] as i64 - 1) >= sizes[i] as i64,
                    },
                }
            });
            let axes = [batches, plain(channel, 0, channels)].into_iter().chain(axes).collect();
            (value, axes)
        };
        let operand = |(value, axes): (Id, Vec<Along>), free: Vec<usize>, depth: Vec<usize>, along: bool| Operand {
            value,
            batch: Vec::new(),
            free,
            depth,
            axes,
            along,
        };
        let (free, depth) = (Group::Free, Group::Depth);
        let both = |i: usize| {
            let inputs = [views[2 * i].base, views[2 * i + 1].base];
            let taps = count(kernel);
            match form {
                Form::Output => {
                    // the input channels and taps of a row of w lie side by side
                    let w = (inputs[1], vec![plain(free, 0, co), plain(depth, 0, ci * taps)]);
                    let x = gathered(inputs[0], ci, inside, [free, depth], [free, depth]);
                    [operand(w, vec![co], vec![ci * taps], true), operand(x, with(batch, outside), with(ci, kernel), false)]
                }
                Form::Input => {
                    let w = (inputs[1], vec![plain(depth, 0, co), plain(free, 0, ci), plain(depth, 1, taps)]);
                    let y = gathered(inputs[0], co, outside, [free, depth], [free, depth]);
                    [operand(w, vec![ci], vec![co, taps], true), operand(y, with(batch, inside), with(co, kernel), false)]
                }
                Form::Weight => {
                    let y = (inputs[0], vec![plain(depth, 0, batch), plain(free, 0, co), plain(depth, 1, count(outside))]);
                    let x = gathered(inputs[1], ci, inside, [depth, free], [depth, free]);
                    [operand(y, vec![co], vec![batch, count(outside)], true), operand(x, with(ci, kernel), with(batch, outside), true)]
                }
            }
        };
        let (rows, columns, sum) = match form {
            Form::Output => (co, batch * count(outside), ci * count(kernel)),
            Form::Input => (ci, batch * count(inside), co * count(kernel)),
            Form::Weight => (co, ci * count(kernel), batch * count(outside)),
        };
        let inner = match form {
            Form::Output => count(outside),
            Form::Input => count(inside),
            Form::Weight => columns,
        };
        Self {
            shape: Shape { batches: 1, rows: rows as u32, columns: columns as u32, depth: sum as u32, terms: terms.len() as u32 },
            terms: (0..terms.len()).map(both).collect(),
            row: Place { inner: rows as u32, outer: 0, stride: inner as u32 },
            column: Place { inner: inner as u32, outer: (rows * inner) as u32, stride: 1 },
        }
    }

    /// Whether four columns are four elements side by side, at a multiple of four.
    pub fn stores_vectors(&self) -> bool {
        let fours = [self.column.inner, self.column.outer, self.row.stride, self.row.outer];
        self.column.stride == 1 && fours.iter().all(|n| n.is_multiple_of(4)) && self.shape.columns.is_multiple_of(4)
    }

    pub fn overrides(&self, tile: &Tile, modes: [u32; 2]) -> Vec<(&'static str, u32)> {
        vec![
            ("TILE_ROWS", tile.rows),
            ("TILE_COLUMNS", tile.columns),
            ("TILE_DEPTH", tile.depth),
            ("INVOCATIONS", tile.invocations),
            ("A_MODE", modes[0]),
            ("B_MODE", modes[1]),
            ("DEEP", self.shape.deep()),
        ]
    }

    pub fn defines(&self, tile: &Tile) -> Vec<&'static str> {
        let mut defines = Vec::new();
        defines.extend((tile.sums == 8).then_some("TALL"));
        defines.extend((self.terms.len() == 2).then_some("TWO"));
        defines
    }

    pub fn constants(&self, tile: &Tile) -> ProductConstants {
        let (shape, cut) = (&self.shape, self.shape.cut());
        ProductConstants {
            rows: shape.rows,
            columns: shape.columns,
            depth: shape.depth,
            part: cut.part,
            elements: shape.batches * shape.rows * shape.columns,
            batches: shape.batches,
            tiles: (tile.tiles(shape) * u64::from(cut.parts)) as u32,
            row_inner: self.row.inner,
            row_outer: self.row.outer,
            row_stride: self.row.stride,
            column_inner: self.column.inner,
            column_outer: self.column.outer,
            column_stride: self.column.stride,
        }
    }

    /// How often a workgroup reads A, and B, as far as all of it is concerned.
    pub fn reads(&self, tile: &Tile) -> [u64; 2] {
        [self.shape.columns.div_ceil(tile.columns), self.shape.rows.div_ceil(tile.rows)].map(u64::from)
    }

    /// A workgroup a tile.
    pub fn work(&self, tile: &Tile) -> Work {
        let cut = self.shape.cut();
        let loads = |free: u32| looped((tile.depth * free / 4).div_ceil(tile.invocations).into(), 0);
        let round = loads(tile.rows) + loads(tile.columns) + looped(tile.depth.into(), 0);
        let rounds = looped(u64::from(self.shape.terms) * u64::from(cut.part / tile.depth), round);
        let stored = looped(tile.sums.into(), looped(4, 0));
        Work::in_rows(tile.tiles(&self.shape) * u64::from(cut.parts), rounds + stored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::Processor;

    fn shape([rows, columns, depth]: [u32; 3], batches: u32) -> Shape {
        Shape { batches, rows, columns, depth, terms: 1 }
    }

    /// Parts are not empty, have all terms, and no more than add up with little error; there is work for a device where there is any.
    #[test]
    fn depths_are_cut() {
        for depth in [1, 15, 16, 31, 32, 33, 500, 513, 8192, 8193, 1_000_000, 1 << 30] {
            for (rows, columns, batches) in [(1, 1, 1), (64, 64, 1), (33, 200, 1), (64, 64, 64), (2048, 2048, 1), (1, 1 << 20, 1)] {
                let shape = shape([rows, columns, depth], batches);
                let Cut { parts, part } = shape.cut();
                assert!(part.is_multiple_of(16) && part <= MOST, "{shape:?}: {part}");
                let all = u64::from(parts) * u64::from(part);
                assert!(all >= depth.into() && all - u64::from(part) < depth.into(), "{shape:?}: {parts} of {part}");
                let few = TILES[SMALL].tiles(&shape) * u64::from(parts) < OCCUPIED;
                assert!(!few || part == 32 || depth <= 16, "{shape:?}: {parts} of {part}");
            }
        }
    }

    /// By the shape and the target alone, and every dispatch of a large product ends its loops in time.
    #[test]
    fn tiles_are_picked() {
        let (discrete, integrated) = (Target::discrete(), Target { processor: Processor::Integrated, ..Target::discrete() });
        for (size, batches, on_discrete, on_integrated) in [
            ([2048, 2048, 2048], 1, TALL, TALL),
            ([1024, 1024, 1024], 1, MEDIUM, TALL),
            ([1024, 512, 100], 1, SMALL, MEDIUM),
            ([64, 64, 65_536], 1, MEDIUM, TALL),
            ([256, 64, 128], 1, SMALL, SMALL),
            ([64, 64, 64], 64, SMALL, MEDIUM),
            ([65_536, 8, 64], 1, THIN, THIN),
        ] {
            let shape = shape(size, batches);
            assert_eq!([&discrete, &integrated].map(|target| shape.tile(target)), [on_discrete, on_integrated], "{shape:?}");
            for tile in &TILES {
                let place = Place { inner: 1, outer: 1, stride: 1 };
                let work = Product { shape, terms: Vec::new(), row: place, column: place }.work(tile);
                assert!(work.rounds <= 65_535, "{shape:?} {tile:?}: {work:?}");
            }
        }
        assert_eq!(FAMILY.candidates.len(), TILES.len());
        for (name, tile) in FAMILY.candidates.iter().zip(&TILES) {
            assert_eq!(*name, format!("{}x{}x{}", tile.rows, tile.columns, tile.depth));
        }
    }
}

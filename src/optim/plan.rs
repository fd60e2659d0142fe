//! Where the elements of many tensors are, and how they are cut into the ranges that kernels visit.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use wgpu::BufferUsages;

use super::streams::Cells;
use crate::gpu::{DType, Gpu, Tensor, binding_alignment};
use crate::shaders::layout::{Chunk, GradientChunk, ProjectionTask, RowTask};
use crate::{Error, Result};

/// Where a tensor is cut that does not fit in a binding, if its rows do not matter.
const CUT: u64 = 1024;

/// The states of tensors of `CUT` elements or more lie as the parameters do modulo this many, 256 bytes.
const ALIGNED: u64 = 64;

/// Tensors below this many elements are visited a cell an invocation, not a chunk a workgroup.
const SMALL: u64 = 64;

/// A long row of a tensor of few rows is summed in segments of this length, to occupy a GPU. A binding
/// holds at least one.
const SEGMENT: u64 = 4 * 1024;

/// The longest row that is not cut into segments: four of them, the share of 4 invocations, are far below
/// the 65,535 rounds of all loops together after which a software driver ends an invocation.
const LONGEST_ROW: u64 = 1 << 17;

/// A tensor of as many rows as this occupies a GPU without segments.
const MANY_ROWS: u64 = 64;

/// Tensors, or ranges of them, that one set of dispatches visits: they lie in the same two buffers,
/// within the range that a binding may have.
pub(super) struct Batch {
    pub param: wgpu::Buffer,
    pub grad: wgpu::Buffer,
    pub param_dtype: DType,
    pub grad_dtype: DType,
    /// What a step copies the gradients' window to, if it lies in the parameters' buffer and no binding holds both.
    pub grad_copy: Option<wgpu::Buffer>,
    /// The bytes of the two buffers that are bound; each begins where a binding may. Of one buffer they are the same.
    pub param_window: Range<u64>,
    pub grad_window: Range<u64>,
    /// Which of the layout's stores has the states.
    pub store: usize,
    /// How many sums by row its elements have, if rows matter.
    pub sums: u64,
    pub pieces: Vec<Piece>,
}

/// Elements of a tensor in a batch.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub tensor: usize,
    /// The elements of the tensor.
    pub elements: Range<u64>,
    /// The first element, in units of elements from the start of each window or store.
    pub param: u64,
    pub grad: u64,
    pub state: u64,
}

/// Where the states of tensors are, whatever gradients they have.
#[derive(Clone, Debug, Default)]
pub(super) struct Layout {
    pub stores: Vec<Stored>,
    /// Those of a store, and those of a tensor, one after another.
    pub places: Vec<Place>,
}

/// A buffer for each state.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    /// In elements.
    pub len: u64,
    pub param_dtype: DType,
}

/// Elements of a tensor whose states lie together.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub tensor: usize,
    pub elements: Range<u64>,
    pub store: usize,
    /// The first element in the store.
    pub state: u64,
}

impl Layout {
    /// Where a parameter begins in a cell, in bytes, and so do its states.
    pub fn phase(param: &Tensor) -> u64 {
        param.offset() % (4 * param.dtype().size())
    }

    /// Tensors of one buffer share a store, as far as a binding holds it. `rows`: tensors are cut where rows or their segments end.
    #[expect(clippy::mutable_key_type, reason = "buffers are compared and hashed by identity")]
    pub fn new(gpu: &Gpu, params: &[(&str, &Tensor)], rows: bool) -> Result<Self> {
        // in the order of first appearance, so that the layout depends on the list alone
        let mut buffers: Vec<Vec<usize>> = Vec::new();
        let mut index = HashMap::new();
        for (i, (_, param)) in params.iter().enumerate().filter(|(_, (_, param))| !param.is_empty()) {
            let buffer = *index.entry((param.buffer().clone(), param.dtype())).or_insert_with(|| {
                buffers.push(Vec::new());
                buffers.len() - 1
            });
            buffers[buffer].push(i);
        }
        let most = limit(gpu) / 4;
        let mut layout = Self::default();
        for tensors in &mut buffers {
            tensors.sort_by_key(|&i| params[i].1.offset());
            let mut open = false;
            for &tensor in &*tensors {
                let (name, param) = params[tensor];
                let mut rest = 0..param.len() as u64;
                while !rest.is_empty() {
                    if !open {
                        layout.stores.push(Stored { len: 0, param_dtype: param.dtype() });
                        open = true;
                    }
                    let store = layout.stores.len() - 1;
                    let used = &mut layout.stores[store].len;
                    // a cell has the same phase in the parameter and its states, and in large tensors a cache line has; no two
                    // tensors have a cell of a state in common
                    let align = if rest.end - rest.start < CUT { 4 } else { ALIGNED };
                    let phase = (param.offset() / param.dtype().size() + rest.start) % align;
                    let state = used.next_multiple_of(align) + phase;
                    let mut end = rest.end;
                    if (state + end - rest.start).next_multiple_of(4) > most {
                        if *used > 0 {
                            open = false;
                            continue;
                        }
                        let length = cut(param, rest.start, room(gpu, param.dtype(), DType::F32), rows.then(|| segment(gpu, param)));
                        if length == 0 {
                            return Err(Self::too_long(gpu, name, param));
                        }
                        end = end.min(rest.start + length);
                    }
                    *used = (state + end - rest.start).next_multiple_of(4);
                    layout.places.push(Place { tensor, elements: rest.start..end, store, state });
                    rest.start = end;
                }
            }
        }
        Ok(layout)
    }

    fn too_long(gpu: &Gpu, name: &str, param: &Tensor) -> Error {
        Error::LimitTooSmall {
            limit: "max_storage_buffer_binding_size",
            what: format!("one row of `{name}`"),
            needed: columns(param) * 4,
            found: gpu.limits().max_storage_buffer_binding_size,
        }
    }
}

/// Where the coefficient of a tensor's row 0 is, or would be, modulo 2^32, and how long its rows are.
pub(super) type Coefficients<'a> = dyn Fn(usize) -> (u32, u64) + 'a;

/// The kernels' way to load cells, and how many invocations share a range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Class {
    pub cells: Cells,
    pub lanes: u32,
    /// How many rows a cell may touch (elementwise, with projection).
    pub rows: CellRows,
    /// Rows end within cells (sums by row).
    pub straddle: bool,
}

/// How many rows a cell may touch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum CellRows {
    #[default]
    Two,
    /// Every row begins with a cell and is a whole number of cells.
    One,
    /// Rows have fewer than three elements.
    Four,
}

/// Groups what the layout places into batches, by the buffers of parameters and gradients. `rows`: pieces end where rows or their segments do.
#[expect(clippy::mutable_key_type, reason = "buffers are compared and hashed by identity")]
pub(super) fn batches(gpu: &Gpu, tensors: &[(&str, &Tensor, &Tensor)], layout: &Layout, rows: bool) -> Result<Vec<Batch>> {
    // in the order of first appearance, so that the plan depends on the list alone
    let mut groups: Vec<(bool, Vec<&Place>)> = Vec::new();
    let mut index = HashMap::new();
    for place in &layout.places {
        let (_, param, grad) = tensors[place.tensor];
        let limit = limit(gpu);
        let start = param.offset().min(grad.offset()) / binding_alignment(gpu) * binding_alignment(gpu);
        let end = param.range().end.max(grad.range().end).next_multiple_of(4);
        let apart = param.buffer() == grad.buffer() && end - start > limit;
        let key = (place.store, param.buffer().clone(), grad.buffer().clone(), grad.dtype(), apart);
        let group = *index.entry(key).or_insert_with(|| {
            groups.push((apart, Vec::new()));
            groups.len() - 1
        });
        groups[group].1.push(place);
    }
    let mut all = Vec::new();
    for (apart, group) in &groups {
        let mut open: Option<Builder> = None;
        for &place in group {
            let (name, param, grad) = tensors[place.tensor];
            let mut rest = place.clone();
            while !rest.elements.is_empty() {
                let builder = open.get_or_insert_with(|| Builder::new(gpu, param, grad, place.store, *apart, rows));
                let taken = builder.take(&rest, param, grad);
                rest.elements.start += taken;
                rest.state += taken;
                if taken == 0 && builder.batch.pieces.is_empty() {
                    return Err(Layout::too_long(gpu, name, param));
                }
                if !rest.elements.is_empty() {
                    all.extend(open.take().map(|builder| builder.batch));
                }
            }
        }
        all.extend(open.map(|builder| builder.batch));
    }
    for batch in all.iter_mut().filter(|batch: &&mut Batch| batch.param == batch.grad && batch.param_window != batch.grad_window) {
        let bytes = batch.grad_window.end - batch.grad_window.start;
        batch.grad_copy = Some(gpu.buffer("gradus.optim.gradients", bytes, BufferUsages::STORAGE | BufferUsages::COPY_SRC)?);
    }
    Ok(all)
}

/// A batch that still grows.
struct Builder<'a> {
    gpu: &'a Gpu,
    /// Whether pieces end where rows or their segments do.
    rows: bool,
    batch: Batch,
    alignment: u64,
    limit: u64,
    /// Parameters and gradients have one window.
    shared: bool,
}

impl<'a> Builder<'a> {
    fn new(gpu: &'a Gpu, param: &Tensor, grad: &Tensor, store: usize, apart: bool, rows: bool) -> Self {
        let batch = Batch {
            param: param.buffer().clone(),
            grad: grad.buffer().clone(),
            param_dtype: param.dtype(),
            grad_dtype: grad.dtype(),
            grad_copy: None,
            param_window: 0..0,
            grad_window: 0..0,
            store,
            sums: 0,
            pieces: Vec::new(),
        };
        let shared = param.buffer() == grad.buffer() && !apart;
        Self { gpu, rows, batch, alignment: binding_alignment(gpu), limit: limit(gpu), shared }
    }

    /// Adds the first elements of `rest`, as many as fit, and returns how many that were. A tensor is
    /// cut only if it does not fit in a batch of its own.
    fn take(&mut self, rest: &Place, param: &Tensor, grad: &Tensor) -> u64 {
        if let Some(fit) = self.fit(param, grad, &rest.elements) {
            self.add(rest, param, grad, rest.elements.clone(), fit);
            return rest.elements.end - rest.elements.start;
        }
        if !self.batch.pieces.is_empty() {
            return 0;
        }
        let mut room = room(self.gpu, param.dtype(), grad.dtype());
        if self.rows {
            let rows = Rows::of(self.gpu, param);
            room = room.min((self.limit / 16 / rows.parts).saturating_mul(rows.segment));
        }
        let start = rest.elements.start;
        let length = cut(param, start, room, self.rows.then(|| segment(self.gpu, param))).min(rest.elements.end - start);
        let part = start..start + length;
        match self.fit(param, grad, &part).filter(|_| length > 0) {
            Some(fit) => {
                self.add(rest, param, grad, part, fit);
                length
            }
            None => 0,
        }
    }

    /// The windows if `elements` were added, if that is within limits.
    fn fit(&self, param: &Tensor, grad: &Tensor, elements: &Range<u64>) -> Option<Fit> {
        let window = |tensor: &Tensor, old: &Range<u64>, unit: u64| {
            let bytes = |element: u64| tensor.offset() + element * tensor.dtype().size();
            let start = bytes(elements.start) / self.alignment * self.alignment;
            let end = [unit, 4].map(|unit| bytes(elements.end).next_multiple_of(unit));
            let end = if end[0] <= tensor.buffer().size() { end[0] } else { end[1] };
            match self.batch.pieces.is_empty() {
                true => start..end,
                false => start.min(old.start)..end.max(old.end),
            }
        };
        let mut param_window = window(param, &self.batch.param_window, 4);
        // the last cell whole, where the buffer has it
        let mut grad_window = window(grad, &self.batch.grad_window, 4 * grad.dtype().size());
        if self.shared {
            param_window = param_window.start.min(grad_window.start)..param_window.end.max(grad_window.end);
            grad_window = param_window.clone();
        }
        let sums = self.batch.sums + if self.rows { Rows::of(self.gpu, param).sums(elements) } else { 0 };
        let fits = [param_window.end - param_window.start, grad_window.end - grad_window.start, sums * 16];
        fits.iter().all(|&bytes| bytes <= self.limit).then_some(Fit { param_window, grad_window, sums })
    }

    fn add(&mut self, place: &Place, param: &Tensor, grad: &Tensor, elements: Range<u64>, fit: Fit) {
        // indices are relative to the windows, whose starts may move down as tensors are added: they
        // are kept relative to the buffers until then
        let first = |tensor: &Tensor| tensor.offset() / tensor.dtype().size() + elements.start;
        let piece = Piece { tensor: place.tensor, param: first(param), grad: first(grad), state: place.state, elements };
        self.batch.pieces.push(piece);
        self.batch.param_window = fit.param_window;
        self.batch.grad_window = fit.grad_window;
        self.batch.sums = fit.sums;
    }
}

struct Fit {
    param_window: Range<u64>,
    grad_window: Range<u64>,
    sums: u64,
}

/// How many elements from `start` on a piece of at most `room` may have.
fn cut(param: &Tensor, start: u64, room: u64, segment: Option<u64>) -> u64 {
    let Some(segment) = segment else {
        return room / CUT * CUT;
    };
    let columns = columns(param);
    if segment < columns {
        // within a row: segments are even and begin at multiples of their length
        let column = start % columns;
        let length = room / segment * segment;
        let length = length.min(columns - column);
        // a word of two 16-bit elements is not cut
        let end = start + length;
        return if end.is_multiple_of(2) || param.dtype().size() == 4 { length } else { 0 };
    }
    // of 16-bit elements an even number of rows, for the same reason
    let unit = if param.dtype().size() == 4 { columns } else { 2 * columns };
    room / unit * unit
}

impl Batch {
    /// Whether one binding holds parameters and gradients.
    pub fn shared(&self) -> bool {
        self.param == self.grad && self.grad_copy.is_none()
    }

    fn param_at(&self, piece: &Piece) -> u64 {
        piece.param - self.param_window.start / self.param_dtype.size()
    }

    fn grad_at(&self, piece: &Piece) -> u64 {
        piece.grad - self.grad_window.start / self.grad_dtype.size()
    }

    /// How long chunks are, and how many invocations share one: a workgroup's block, except that on a
    /// software driver 16 invocations do as much, since what each costs to begin is to be spread.
    fn chunk_size(&self, gpu: &Gpu) -> (u64, u32) {
        let cells = self.pieces.iter().map(|piece| piece.elements.end - piece.elements.start).sum::<u64>() / 4;
        (4 * gpu.target().block(cells), gpu.target().lanes_of_chunk())
    }

    /// Cuts the pieces into chunks for the elementwise traversal.
    pub fn chunks(&self, gpu: &Gpu, coefficient: Option<&Coefficients>) -> BTreeMap<Class, Vec<Chunk>> {
        let size = self.chunk_size(gpu);
        let mut classes: BTreeMap<Class, Vec<Chunk>> = BTreeMap::new();
        for piece in &self.pieces {
            let (param, grad) = (self.param_at(piece), self.grad_at(piece));
            let (coefficient, columns) = coefficient.map_or((0, 1), |at| at(piece.tensor));
            // a cell that begins at a multiple of four in memory is within a row
            let whole_rows = columns.is_multiple_of(4) && (param + 4 - piece.elements.start % 4).is_multiple_of(4);
            for (class, range) in ranges(size, param, grad, piece.elements.end - piece.elements.start) {
                let rows = match columns {
                    ..3 => CellRows::Four,
                    _ if whole_rows && class.cells != Cells::Scattered => CellRows::One,
                    _ => CellRows::Two,
                };
                let class = Class { rows, ..class };
                classes.entry(class).or_default().push(Chunk {
                    tensor: piece.tensor as u32,
                    param: (param + range.start) as u32,
                    grad: (grad + range.start) as u32,
                    state: (piece.state + range.start) as u32,
                    element: (piece.elements.start + range.start) as u32,
                    length: (range.end - range.start) as u32,
                    coefficient,
                    columns: columns as u32,
                });
            }
        }
        classes
    }

    /// Cuts the pieces into chunks of gradients alone.
    pub fn gradient_chunks(&self, gpu: &Gpu) -> BTreeMap<Class, Vec<GradientChunk>> {
        let size = self.chunk_size(gpu);
        let mut classes: BTreeMap<Class, Vec<GradientChunk>> = BTreeMap::new();
        for piece in &self.pieces {
            let grad = self.grad_at(piece);
            let length = piece.elements.end - piece.elements.start;
            let end = self.grad_window.start + (grad + length).next_multiple_of(4) * self.grad_dtype.size();
            let whole = Class { cells: Cells::Aligned, lanes: size.1, ..Class::default() };
            let all = match grad.is_multiple_of(4) && end <= self.grad_window.end {
                // what the last cell has besides is left out
                true => chunked(0..length, size.0).map(|range| (whole, range)).collect(),
                false => ranges(size, grad, grad, length),
            };
            for (class, range) in all {
                classes.entry(class).or_default().push(GradientChunk {
                    tensor: piece.tensor as u32,
                    grad: (grad + range.start) as u32,
                    length: (range.end - range.start) as u32,
                });
            }
        }
        classes
    }

    /// Cuts the pieces into tasks of rows. `rows(tensor)` says how the tensor's rows are summed, and where the sums go.
    pub fn row_tasks(&self, rows: &dyn Fn(usize) -> (Rows, Part)) -> BTreeMap<Class, Vec<RowTask>> {
        let mut classes: BTreeMap<Class, Vec<RowTask>> = BTreeMap::new();
        for piece in &self.pieces {
            let (Rows { columns, segment, segments, lanes, parts, .. }, part) = rows(piece.tensor);
            let at = [self.param_at(piece), self.grad_at(piece), piece.state];
            // short rows are several to a task, so that the table stays small beside the elements
            let task_rows = (256 / columns).max(1);
            let mut push = |element: u64, scattered: bool, straddle: bool, count: u64, length: u64| {
                let skipped = element - piece.elements.start;
                let (row, column) = (element / columns, element % columns);
                let cells = if scattered { Cells::Scattered } else { Cells::Aligned };
                let class = Class { cells, lanes, rows: CellRows::default(), straddle };
                classes.entry(class).or_default().push(RowTask {
                    tensor: piece.tensor as u32,
                    param: (at[0] + skipped) as u32,
                    grad: (at[1] + skipped) as u32,
                    state: (at[2] + skipped) as u32,
                    element: element as u32,
                    rows: count as u32,
                    columns: length as u32,
                    sums: (part.sums + ((row - part.first) * segments + column / segment) * parts) as u32,
                });
            };
            let aligned = |element: u64| at.iter().all(|at| (at + element - piece.elements.start).is_multiple_of(4));
            // how many rows together are whole cells
            let group = if columns.is_multiple_of(2) { 2 } else { 4 };
            let mut element = piece.elements.start;
            if segments > 1 {
                while element < piece.elements.end {
                    let length = segment.min(columns - element % columns);
                    push(element, !(aligned(element) && length.is_multiple_of(4)), false, 1, length);
                    element += length;
                }
                continue;
            }
            while element < piece.elements.end {
                let left = (piece.elements.end - element) / columns;
                let (scattered, straddle, count) = if columns.is_multiple_of(4) {
                    (!aligned(element), false, left.min(task_rows))
                } else if aligned(element) && columns >= 4 && left >= group {
                    (false, true, (left / group * group).min(4))
                } else {
                    // up to the next row that begins with a cell, if one does
                    let to_aligned = (1..4.min(left)).find(|&r| columns >= 4 && aligned(element + r * columns));
                    (true, false, to_aligned.unwrap_or(left).min(task_rows))
                };
                push(element, scattered, straddle, count, columns);
                element += count * columns;
            }
        }
        for tasks in classes.values_mut() {
            tasks.sort_by_key(|task| std::cmp::Reverse(task.rows));
        }
        classes
    }
}

/// Cuts a range into ranges of up to `size`.
fn chunked(range: Range<u64>, size: u64) -> impl Iterator<Item = Range<u64>> {
    let end = range.end;
    range.step_by(size as usize).map(move |start| start..(start + size).min(end))
}

/// Cuts `length` elements that begin at `param` and `grad` into ranges by class: whole cells, and the ragged ends. A chunk has up
/// to `chunk` elements, for as many invocations as `lanes` says.
fn ranges((chunk, lanes): (u64, u32), param: u64, grad: u64, length: u64) -> Vec<(Class, Range<u64>)> {
    let class = |cells, lanes| Class { cells, lanes, rows: CellRows::default(), straddle: false };
    let ragged = class(Cells::Scattered, 1);
    let head = ((4 - param % 4) % 4).min(length);
    let tail = (length - head) / 4 * 4 + head;
    let first = (head > 0).then_some(0..head);
    if length < SMALL {
        return first.into_iter().chain(chunked(head..length, 4)).map(|range| (ragged, range)).collect();
    }
    let whole = if param % 4 == grad % 4 { Cells::Aligned } else { Cells::GradScattered };
    let ends = [0..head, tail..length].into_iter().filter(|range| !range.is_empty()).map(|range| (ragged, range));
    ends.chain(chunked(head..tail, chunk).map(|range| (class(whole, lanes), range))).collect()
}

/// How the rows of a tensor are summed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows {
    pub rows: u64,
    pub columns: u64,
    /// A row is summed in segments of this length, the last shorter.
    pub segment: u64,
    pub segments: u64,
    /// How many invocations share a segment, and how many sums they leave.
    pub lanes: u32,
    pub parts: u64,
}

impl Rows {
    /// Tensors of fewer than two dimensions are one row.
    pub fn of(gpu: &Gpu, param: &Tensor) -> Self {
        let (columns, segment) = (columns(param), segment(gpu, param));
        let length = segment.min(columns);
        let (lanes, parts) = gpu.target().lanes_of_row(length);
        Self { rows: param.len() as u64 / columns, columns, segment, segments: columns.div_ceil(segment), lanes, parts }
    }

    /// How many sums there are of so many elements, which end where rows or segments do.
    fn sums(&self, elements: &Range<u64>) -> u64 {
        let length = elements.end - elements.start;
        match self.segments {
            1 => length / self.columns * self.parts,
            _ => length.div_ceil(self.segment) * self.parts,
        }
    }
}

/// Batches whose sums by row a binding holds, and so whose rows' coefficients.
#[derive(Default)]
pub(super) struct Group {
    pub batches: Range<usize>,
    pub parts: Vec<Part>,
    /// The part of each tensor.
    index: HashMap<usize, usize>,
    /// How many of each there are.
    pub sums: u64,
    pub coefficients: u64,
}

/// Rows of a tensor that are in a group: all, if they are in segments.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub tensor: usize,
    pub first: u64,
    pub rows: u64,
    /// Where their sums and coefficients begin in the group's.
    pub sums: u64,
    pub coefficients: u64,
}

impl Group {
    /// Of a tensor that is in one of its batches.
    pub fn part(&self, tensor: usize) -> Part {
        self.parts[self.index[&tensor]]
    }

    fn add(&mut self, tensor: usize, rows: &Rows, range: Range<u64>) {
        let count = range.end - range.start;
        match self.parts.last_mut() {
            Some(part) if part.tensor == tensor => part.rows += count,
            _ => {
                self.index.insert(tensor, self.parts.len());
                self.parts.push(Part { tensor, first: range.start, rows: count, sums: self.sums, coefficients: self.coefficients });
            }
        }
        self.sums += count * rows.segments * rows.parts;
        self.coefficients += count;
    }
}

/// Groups batches in their order.
pub(super) fn groups(gpu: &Gpu, rows: &[Rows], batches: &[Batch]) -> Vec<Group> {
    let most = limit(gpu) / 16;
    let mut groups: Vec<Group> = Vec::new();
    for (i, batch) in batches.iter().enumerate() {
        // the segments of a tensor stay together: there is but one for thousands of elements
        let continues = batch.pieces.first().is_some_and(|piece| piece.elements.start > 0 && rows[piece.tensor].segments > 1);
        if groups.last().is_none_or(|group| !continues && group.sums + batch.sums > most) {
            groups.push(Group { batches: i..i, ..Group::default() });
        }
        let Some(group) = groups.last_mut() else { continue };
        group.batches.end = i + 1;
        for piece in &batch.pieces {
            let r = &rows[piece.tensor];
            match (r.segments, piece.elements.start) {
                (1, start) => group.add(piece.tensor, r, start / r.columns..piece.elements.end / r.columns),
                (_, 0) => group.add(piece.tensor, r, 0..r.rows),
                _ => {}
            }
        }
    }
    groups
}

/// What `optim/projection.wgsl` is to do.
#[derive(Default)]
pub(super) struct Projections {
    /// For each group, the tensors that one workgroup projects.
    pub alone: Vec<Vec<ProjectionTask>>,
    /// For each group, blocks of the rows of others.
    pub blocks: Vec<Vec<ProjectionTask>>,
    /// Those others.
    pub finish: Vec<ProjectionTask>,
    /// How many blocks there are.
    pub partials: u64,
}

impl Projections {
    pub fn new(gpu: &Gpu, tensors: &[(&str, &Tensor, &Tensor)], rows: &[Rows], groups: &[Group]) -> Self {
        let mut all = Self::default();
        let (rows_alone, block_of_rows) = gpu.target().rows_of_projection();
        for group in groups {
            let (mut alone, mut blocks) = (Vec::new(), Vec::new());
            for part in &group.parts {
                let (r, projected) = (&rows[part.tensor], tensors[part.tensor].1.shape().len() >= 2);
                let task = |rows: Range<u64>| ProjectionTask {
                    tensor: part.tensor as u32,
                    rows: (rows.end - rows.start) as u32,
                    columns: r.columns as u32,
                    segments: (r.segments * r.parts) as u32,
                    sums: (part.sums + rows.start * r.segments * r.parts) as u32,
                    coefficients: (part.coefficients + rows.start) as u32,
                    projected: projected.into(),
                    ..Default::default()
                };
                if part.rows == r.rows && (r.rows <= rows_alone || r.segments > 1) {
                    alone.push(task(0..part.rows));
                    continue;
                }
                if part.first == 0 {
                    all.finish.push(ProjectionTask { rows: r.rows as u32, partial: all.partials as u32, ..task(0..0) });
                }
                // the parts of a tensor are in consecutive groups, the last of one and the first of the next
                let Some(whole) = all.finish.last_mut() else { continue };
                for start in (0..part.rows).step_by(block_of_rows as usize) {
                    let own = whole.partial + whole.partials;
                    let rows = start..(start + block_of_rows).min(part.rows);
                    blocks.push(ProjectionTask { partial: own, whole: whole.partial, ..task(rows) });
                    whole.partials += 1;
                    all.partials += 1;
                }
            }
            all.alone.push(alone);
            all.blocks.push(blocks);
        }
        all
    }
}

/// The length of a row: the first axis counts rows, if there are two or more.
fn columns(param: &Tensor) -> u64 {
    if param.is_empty() {
        return 1;
    }
    let columns = match param.shape() {
        [_, rest @ ..] if !rest.is_empty() => rest.iter().product::<usize>(),
        _ => param.len(),
    };
    columns.max(1) as u64
}

/// The length of a row's segments: the whole row if there are enough rows, and a binding holds two.
fn segment(gpu: &Gpu, param: &Tensor) -> u64 {
    let columns = columns(param);
    let rows = param.len() as u64 / columns;
    if rows >= MANY_ROWS && columns <= LONGEST_ROW && 2 * columns <= room(gpu, param.dtype(), DType::F32) {
        columns
    } else {
        columns.min(SEGMENT)
    }
}

/// The bytes that a binding holds of a buffer.
fn limit(gpu: &Gpu) -> u64 {
    gpu.binding_limit().min(gpu.limits().max_buffer_size) / 4 * 4
}

/// How many elements of two types, and of f32 states, a binding holds wherever they begin.
fn room(gpu: &Gpu, param: DType, grad: DType) -> u64 {
    let bytes = limit(gpu);
    // what lies before the first element, and the phase of the states
    bytes.saturating_sub(binding_alignment(gpu) + 4 * ALIGNED) / param.size().max(grad.size()).max(4)
}

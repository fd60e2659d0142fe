//! The kernels of pooling: sums and maxima over windows, and their adjoints.
//!
//! An invocation goes through one window, or through the windows that cover one element. Where there are few
//! results and large windows the sums are cut into parts. Large windows whose maximum is sought are shared by a
//! workgroup.

use super::op::Window;
use super::quotient::Divisor;
use super::template::{Operand, Template};
use crate::gpu::{KernelSource, MAX_WORKGROUPS};
use crate::shaders;
use crate::shaders::layout::{SelectConstants, WindowConstants};

/// A value whose spatial axes are pooled. Sizes and strides are at least 1, and the padding is less than
/// the size.
#[derive(Clone, Debug)]
pub(crate) struct Planes {
    /// How many: batch times channels.
    pub planes: u32,
    /// The un-pooled spatial axes, one to three.
    pub input: Vec<u32>,
    /// The pooled ones.
    pub output: Vec<u32>,
    pub window: Window,
}

/// How many rounds of loops an invocation may take, with a margin for those that this file does not count.
const MAX_ROUNDS: u64 = 60_000;

/// Of the invocations of a workgroup.
const LANES: u32 = 128;

/// Sums over windows: y, pooled, from x, operand `a`. Parts where that makes work for the device.
pub(crate) fn pool(cpu: bool, p: &Planes, x: &Operand) -> Template {
    let axes = Axes::new(p);
    let elements = p.planes * volume(axes.output);
    let terms = std::array::from_fn(|i| axes.size[i].min(axes.input[i]));
    // a sixty-fourth of the terms is what the parts may cost
    let wanted = if cpu { 512 } else { 1 << 15 };
    let parts = u64::from(wanted / elements).min(product(terms) / 64).max(1);
    sums(&shaders::graph::POOL, axes.constants(elements, axes.output, axes.input, x, None), &[], terms, parts)
}

/// The adjoint of [`pool`]: x, un-pooled, from y, operand `a`.
pub(crate) fn unpool(_cpu: bool, p: &Planes, y: &Operand) -> Template {
    covering(&shaders::graph::UNPOOL, p, y, None)
}

/// The positions of the maxima, u32, from x, operand `a`. Not a template: the kernel writes `out`, `array<u32>` at
/// binding 2, from its first word on, and is dispatched without a generated part. Numbers this small are
/// denormals as f32, and would not survive it on every device.
///
/// Windows of more than 2^25 elements inside a plane take more rounds than a software driver executes.
pub(crate) fn max_pool_indices(cpu: bool, p: &Planes, x: &Operand) -> Template {
    let axes = Axes::new(p);
    let elements = p.planes * volume(axes.output);
    let visited = std::array::from_fn(|i| axes.size[i].min(axes.input[i]));
    let alone = rounds(visited) * u64::from(elements.div_ceil(LANES).div_ceil(MAX_WORKGROUPS));
    let shared = product(visited) >= if cpu { 4096 } else { 1024 } || alone > MAX_ROUNDS;
    let constants = axes.constants(elements, axes.output, axes.input, x, None);
    let (defines, jobs) = if shared { (vec!["SHARED"], elements) } else { (Vec::new(), elements.div_ceil(LANES)) };
    template(&shaders::graph::MAX_POOL_INDICES, defines, bytemuck::bytes_of(&constants), jobs.into(), 1)
}

/// The elements of x, operand `a`, at the places of [`max_pool_indices`], operand `indices`.
pub(crate) fn pool_select(_cpu: bool, p: &Planes, x: &Operand, places: &Operand) -> Template {
    let axes = Axes::new(p);
    let own = volume(axes.output);
    let Divisor { multiplier, shift } = Divisor::new(own);
    let elements = p.planes * own;
    let plane = volume(axes.input);
    let constants = SelectConstants { elements, plane, multiplier, shift, a: x.offset, indices: places.offset };
    let jobs = elements.div_ceil(4 * LANES);
    template(&shaders::graph::POOL_SELECT, Vec::new(), bytemuck::bytes_of(&constants), jobs.into(), 1)
}

/// The adjoint of [`pool_select`]: x from y, operand `a`, and the places, operand `indices`.
pub(crate) fn pool_scatter(_cpu: bool, p: &Planes, y: &Operand, places: &Operand) -> Template {
    covering(&shaders::graph::POOL_SCATTER, p, y, Some(places))
}

/// The windows that cover each element. Parts only where an invocation would take too many rounds: they are
/// as large as the un-pooled value.
fn covering(source: &'static KernelSource, p: &Planes, y: &Operand, places: Option<&Operand>) -> Template {
    let axes = Axes::new(p);
    let elements = p.planes * volume(axes.input);
    let constants = axes.constants(elements, axes.input, axes.output, y, places);
    if (0..3).all(|i| axes.size[i] <= axes.stride[i]) {
        let jobs = elements.div_ceil(4 * LANES);
        return template(source, vec!["BACKWARD", "DISJOINT"], bytemuck::bytes_of(&constants), jobs.into(), 1);
    }
    let terms = std::array::from_fn(|i| axes.size[i].div_ceil(axes.stride[i]).min(axes.output[i]));
    sums(source, constants, &["BACKWARD"], terms, 1)
}

/// A kernel of `shared/window_sums.wgsl`, of at most so many terms along each axis, in `parts` parts or as many
/// more as it takes.
fn sums(source: &'static KernelSource, constants: WindowConstants, defines: &[&'static str], terms: [u32; 3], parts: u64) -> Template {
    let elements = u64::from(constants.elements);
    let passes = |jobs: u64| jobs.div_ceil(u64::from(LANES)).div_ceil(MAX_WORKGROUPS.into());
    let cells = elements.div_ceil(4);
    let mut defines = defines.to_vec();
    if parts == 1 && passes(cells) * 4 * rounds(terms) <= MAX_ROUNDS {
        let jobs = cells.div_ceil(LANES.into());
        return template(source, defines, bytemuck::bytes_of(&constants), jobs, 1);
    }
    // each part of an element is a job
    let fits = |parts: u64| passes(elements * parts) * (product(terms).div_ceil(parts) + 2) <= MAX_ROUNDS;
    let mut parts = parts.max(2);
    while !fits(parts) && parts < product(terms) {
        parts *= 2;
    }
    let parts = parts.min(product(terms)) as u32;
    defines.push("PARTS");
    let constants = WindowConstants { parts, ..constants };
    let jobs = (elements * u64::from(parts)).div_ceil(LANES.into());
    template(source, defines, bytemuck::bytes_of(&constants), jobs, parts)
}

fn template(source: &'static KernelSource, defines: Vec<&'static str>, uniform: &[u8], workgroups: u64, parts: u32) -> Template {
    let workgroups = workgroups.min(MAX_WORKGROUPS.into()) as u32;
    Template { source, defines, overrides: Vec::new(), uniform: uniform.to_vec(), workgroups, parts }
}

/// The rounds of three nested loops, their last tests included.
fn rounds(terms: [u32; 3]) -> u64 {
    terms.iter().rev().fold(0, |inner, &n| u64::from(n) * (inner + 1) + 1)
}

fn product(terms: [u32; 3]) -> u64 {
    terms.iter().map(|&n| u64::from(n)).product()
}

fn volume(axes: [u32; 3]) -> u32 {
    axes.iter().product()
}

/// As three axes, the slowest first.
struct Axes {
    input: [u32; 3],
    output: [u32; 3],
    size: [u32; 3],
    stride: [u32; 3],
    padding: [u32; 3],
}

impl Axes {
    fn new(p: &Planes) -> Self {
        let Window { size, stride, padding } = &p.window;
        let small = |v: &[usize]| v.iter().map(|&n| n as u32).collect::<Vec<_>>();
        Self {
            input: three(&p.input, 1),
            output: three(&p.output, 1),
            size: three(&small(size), 1),
            stride: three(&small(stride), 1),
            padding: three(&small(padding), 0),
        }
    }

    fn constants(&self, elements: u32, result: [u32; 3], operand: [u32; 3], a: &Operand, indices: Option<&Operand>) -> WindowConstants {
        let (by_axis, by_stride) = (result.map(Divisor::new), self.stride.map(Divisor::new));
        WindowConstants {
            result,
            elements,
            result_multiplier: by_axis.map(|d| d.multiplier),
            parts: 1,
            result_shift: by_axis.map(|d| d.shift),
            a: a.offset,
            operand,
            indices: indices.map_or(0, |operand| operand.offset),
            size: self.size,
            stride: self.stride,
            stride_multiplier: by_stride.map(|d| d.multiplier),
            stride_shift: by_stride.map(|d| d.shift),
            padding: self.padding,
            ..Default::default()
        }
    }
}

/// The last of three axes are given; the others are `missing`.
fn three(axes: &[u32], missing: u32) -> [u32; 3] {
    std::array::from_fn(|i| (i + axes.len()).checked_sub(3).and_then(|k| axes.get(k)).copied().unwrap_or(missing))
}

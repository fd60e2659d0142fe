//! The kernels of pooling: sums and maxima over windows, and their adjoints.
//!
//! An invocation goes through one window, or through the windows that cover one element. Where there are few
//! results and large windows the sums are cut into parts. Large windows whose maximum is sought are shared by a
//! workgroup.

use super::op::Window;
use super::quotient::Divisor;
use super::template::{Operand, Template};
use crate::gpu::work::{MAX_ROUNDS, looped, summed};
use crate::gpu::{KernelSource, Target, Work};
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

impl Planes {
    /// Of one sample's channels, two are a plane of words if the operand is of 16-bit floats.
    fn words(&self, operand: &Operand) -> u32 {
        if operand.halves { self.planes.div_ceil(2) } else { self.planes }
    }
}

/// Of the invocations of a workgroup.
const LANES: u32 = 128;

/// Sums over windows: y, pooled, from x, operand `a`. Parts where that makes work for the device.
pub(crate) fn pool(target: &Target, p: &Planes, x: &Operand) -> Template {
    let axes = Axes::new(p);
    let elements = p.words(x) * volume(axes.output);
    let terms = std::array::from_fn(|i| axes.size[i].min(axes.input[i]));
    // a sixty-fourth of the terms is what the parts may cost
    let parts = if x.halves { 1 } else { u64::from(target.pooling() / elements).min(product(terms) / 64).max(1) };
    let defines: &[&'static str] = if x.halves { &["HALVES"] } else { &[] };
    sums(&shaders::graph::POOL, axes.constants(elements, axes.output, axes.input, x, None), defines, terms, parts)
}

/// The adjoint of [`pool`]: x, un-pooled, from y, operand `a`.
pub(crate) fn unpool(p: &Planes, y: &Operand) -> Template {
    covering(&shaders::graph::UNPOOL, p, y, None)
}

/// The positions of the maxima, u32, from x, operand `a`. Not a template: the kernel writes `out`, `array<u32>` at
/// binding 2, from its first word on, and is dispatched without a generated part. Numbers this small are
/// denormals as f32, and would not survive it on every device.
pub(crate) fn max_pool_indices(target: &Target, p: &Planes, x: &Operand) -> Template {
    let axes = Axes::new(p);
    let elements = p.planes * volume(axes.output);
    let visited = std::array::from_fn(|i| axes.size[i].min(axes.input[i]));
    let alone = Work::strided(elements.div_ceil(LANES).into(), visited.iter().rev().fold(0, |inner, &n| looped(n.into(), inner)));
    let shared = Work::strided(elements.into(), looped(product(visited).div_ceil(1024), 0) + 2 * looped(16, 0));
    let large = product(visited) >= target.shared_window();
    let (defines, work) = match (large && shared.rounds <= MAX_ROUNDS) || alone.rounds > MAX_ROUNDS {
        true => (vec!["SHARED"], shared),
        false => (Vec::new(), alone),
    };
    let constants = axes.constants(elements, axes.output, axes.input, x, None);
    template(&shaders::graph::MAX_POOL_INDICES, defines, bytemuck::bytes_of(&constants), work, 1)
}

/// The elements of x, operand `a`, at the places of [`max_pool_indices`], operand `indices`.
pub(crate) fn pool_select(p: &Planes, x: &Operand, places: &Operand) -> Template {
    let axes = Axes::new(p);
    let own = volume(axes.output);
    let Divisor { multiplier, shift } = Divisor::new(own);
    let elements = p.planes * own;
    let plane = volume(axes.input);
    let constants = SelectConstants { elements, plane, multiplier, shift, a: x.offset, indices: places.offset };
    let work = Work::strided(elements.div_ceil(4 * LANES).into(), 0);
    template(&shaders::graph::POOL_SELECT, Vec::new(), bytemuck::bytes_of(&constants), work, 1)
}

/// The adjoint of [`pool_select`]: x from y, operand `a`, and the places, operand `indices`.
pub(crate) fn pool_scatter(p: &Planes, y: &Operand, places: &Operand) -> Template {
    covering(&shaders::graph::POOL_SCATTER, p, y, Some(places))
}

/// The windows that cover each element. Parts only where an invocation would take too many rounds: they are
/// as large as the un-pooled value.
fn covering(source: &'static KernelSource, p: &Planes, y: &Operand, places: Option<&Operand>) -> Template {
    let axes = Axes::new(p);
    let constants = axes.constants(p.words(y) * volume(axes.input), axes.input, axes.output, y, places);
    let mut defines = vec!["BACKWARD"];
    defines.extend(y.halves.then_some("HALVES"));
    let terms = std::array::from_fn(|i| axes.size[i].div_ceil(axes.stride[i]).min(axes.output[i]));
    if product(terms) == 1 {
        defines.push("DISJOINT");
    }
    sums(source, constants, &defines, terms, 1)
}

/// A kernel of `shared/window_sums.wgsl`, of at most so many terms along each axis, in `parts` parts or as many
/// more as it takes.
fn sums(source: &'static KernelSource, constants: WindowConstants, defines: &[&'static str], terms: [u32; 3], parts: u64) -> Template {
    let elements = u64::from(constants.elements);
    let over = |jobs: u64, rounds: u64| Work::strided(jobs.div_ceil(LANES.into()), rounds);
    let mut defines = defines.to_vec();
    // the loop over four of HALVES among them
    let whole = over(elements.div_ceil(4), 4 * (rounds(terms) + 1));
    if parts == 1 && whole.rounds <= MAX_ROUNDS {
        if defines.contains(&"BACKWARD") && constants.result[2].is_multiple_of(4) {
            defines.push("CELLS");
        }
        return template(source, defines, bytemuck::bytes_of(&constants), whole, 1);
    }
    // each part of an element is a job
    let work = |parts: u64| over(elements * parts, summed(product(terms).div_ceil(parts)));
    let mut parts = parts.max(2);
    while work(parts).rounds > MAX_ROUNDS && parts < product(terms) {
        parts *= 2;
    }
    let parts = parts.min(product(terms)) as u32;
    defines.push("PARTS");
    let constants = WindowConstants { parts, ..constants };
    template(source, defines, bytemuck::bytes_of(&constants), work(parts.into()), parts)
}

fn template(source: &'static KernelSource, defines: Vec<&'static str>, uniform: &[u8], work: Work, parts: u32) -> Template {
    Template { source, defines, overrides: Vec::new(), operands: &["a", "indices"], uniform: uniform.to_vec(), work, parts }
}

/// The rounds of a sum over three axes.
fn rounds([x, y, z]: [u32; 3]) -> u64 {
    looped(x.into(), looped(y.into(), summed(z.into())))
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
            reach: std::array::from_fn(|i| (self.size[i] - 1) / self.stride[i]),
            rest: std::array::from_fn(|i| (self.size[i] - 1) % self.stride[i]),
            first_window: std::array::from_fn(|i| self.padding[i] / self.stride[i]),
            first_offset: std::array::from_fn(|i| self.padding[i] % self.stride[i]),
            ..Default::default()
        }
    }
}

/// The last of three axes are given; the others are `missing`.
fn three(axes: &[u32], missing: u32) -> [u32; 3] {
    std::array::from_fn(|i| (i + axes.len()).checked_sub(3).and_then(|k| axes.get(k)).copied().unwrap_or(missing))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::Checks;
    use crate::graph::testing::{Input, gpu, noise, run, summed, words};
    use crate::reference::pooling::{self as reference, Windows};

    /// Planes, and by axis: elements, size, stride, padding.
    type Case = (usize, &'static [[usize; 4]]);

    const CASES: [Case; 20] = [
        (1, &[[1, 1, 1, 0]]),
        (3, &[[7, 3, 2, 1]]),
        (2, &[[10, 2, 2, 0]]),
        // gaps; tiles that leave a rest
        (5, &[[11, 2, 5, 0]]),
        (3, &[[11, 4, 4, 0]]),
        (1, &[[1031, 5, 3, 2]]),
        (6, &[[8, 2, 2, 0], [8, 2, 2, 0]]),
        (3, &[[5, 2, 2, 0], [7, 3, 3, 0]]),
        (5, &[[7, 3, 1, 1], [9, 2, 2, 1]]),
        (2, &[[5, 4, 1, 2], [13, 4, 3, 2]]),
        (2, &[[9, 3, 2, 1], [12, 5, 2, 2]]),
        // gaps along one axis, overlap along the other
        (2, &[[9, 2, 3, 1], [10, 3, 2, 1]]),
        (2, &[[9, 2, 3, 1], [10, 3, 4, 1]]),
        (3, &[[4, 2, 2, 0], [6, 2, 2, 0], [5, 2, 2, 0]]),
        (2, &[[5, 3, 1, 1], [4, 3, 2, 1], [7, 3, 1, 1]]),
        (1, &[[3, 3, 1, 0], [3, 3, 1, 0], [3, 3, 1, 0]]),
        (2, &[[6, 1, 1, 0], [1, 1, 3, 0], [9, 2, 7, 0]]),
        // one large window; large windows that overlap
        (1, &[[130, 130, 130, 0], [131, 131, 1, 0]]),
        (2, &[[40, 37, 1, 0], [39, 38, 2, 2]]),
        (2, &[[12, 12, 3, 6], [12, 13, 2, 6], [13, 10, 1, 5]]),
    ];

    struct Sizes {
        planes: usize,
        input: Vec<usize>,
        output: Vec<usize>,
        window: Window,
    }

    impl Sizes {
        fn new((planes, axes): Case) -> Self {
            let column = |k: usize| axes.iter().map(|axis| axis[k]).collect::<Vec<_>>();
            let output = axes.iter().map(|[n, size, stride, padding]| (n + 2 * padding - size) / stride + 1).collect();
            let window = Window { size: column(1), stride: column(2), padding: column(3) };
            Self { planes, input: column(0), output, window }
        }

        fn planes(&self) -> Planes {
            let small = |v: &[usize]| v.iter().map(|&n| n as u32).collect();
            Planes { planes: self.planes as u32, input: small(&self.input), output: small(&self.output), window: self.window.clone() }
        }

        fn windows(&self) -> Windows<'_> {
            let Window { size, stride, padding } = &self.window;
            Windows { planes: self.planes, input: &self.input, output: &self.output, size, stride, padding }
        }

        fn unpooled(&self) -> usize {
            self.planes * self.input.iter().product::<usize>()
        }

        fn pooled(&self) -> usize {
            self.planes * self.output.iter().product::<usize>()
        }
    }

    fn operand(offset: usize) -> Operand {
        Operand { offset: offset as u32, strides: Vec::new(), vec4: false, halves: false }
    }

    /// Small whole numbers, whose sums are exact in any order.
    fn whole(length: usize) -> Vec<f32> {
        noise(length).iter().map(|x| (6.0 * x).round()).collect()
    }

    fn wide(x: &[f32]) -> Vec<f64> {
        x.iter().map(|&x| x.into()).collect()
    }

    fn indices(places: &[usize]) -> Vec<u32> {
        places.iter().map(|&place| place as u32).collect()
    }

    /// (the shape is for a CPU, the shaders' checks, where the first operand begins)
    fn ways() -> [(Target, Checks, usize); 3] {
        let (software, discrete) = (Target::software(), Target::discrete());
        [(software, Checks::Unchecked, 0), (discrete.clone(), Checks::Unchecked, 3), (discrete, Checks::Checked, 1)]
    }

    /// Compares what a template gives, also when one workgroup does it all.
    fn expect(checks: Checks, template: Template, inputs: &[Input], expected: &[f64], case: Case) {
        let found = run(gpu(checks), &template, inputs, expected.len());
        assert_eq!(summed(&found, expected.len()), expected, "{template:?} {case:?}");
        let alone = Template { work: Work::alone(0), ..template };
        assert_eq!(run(gpu(checks), &alone, inputs, expected.len()), found, "{alone:?} {case:?}");
    }

    #[test]
    fn sums_over_windows() {
        let mut permutations = Vec::new();
        for case in CASES {
            let sizes = Sizes::new(case);
            let (x, y) = (whole(sizes.unpooled()), whole(sizes.pooled()));
            let pooled = reference::pool(&sizes.windows(), &wide(&x));
            let unpooled = reference::unpool(&sizes.windows(), &wide(&y));
            let dot = |a: &[f64], b: &[f32]| a.iter().zip(b).map(|(a, &b)| a * f64::from(b)).sum::<f64>();
            assert_eq!(dot(&pooled, &y), dot(&unpooled, &x), "the reference's adjoint: {case:?}");
            for (target, checks, offset) in ways() {
                let template = pool(&target, &sizes.planes(), &operand(offset));
                permutations.push(template.defines.clone());
                expect(checks, template, &[Input { name: "a", words: &words(&x), offset }], &pooled, case);
                let template = unpool(&sizes.planes(), &operand(offset));
                permutations.push(template.defines.clone());
                expect(checks, template, &[Input { name: "a", words: &words(&y), offset }], &unpooled, case);
            }
        }
        for defines in
            [&[][..], &["PARTS"], &["BACKWARD"], &["BACKWARD", "CELLS"], &["BACKWARD", "DISJOINT"], &["BACKWARD", "DISJOINT", "CELLS"]]
        {
            assert!(permutations.iter().any(|found| found == defines), "{defines:?} is not tested");
        }
    }

    #[test]
    fn maxima() {
        let mut shared = 0;
        for case in CASES {
            let sizes = Sizes::new(case);
            let mut x = whole(sizes.unpooled());
            let special = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, 0.0, 1e-40, 2e-40, -1e-40, -f32::NAN];
            // many ties; special values here and there, or nothing but -∞, NaN and zeros
            for fill in 0..4 {
                for (i, x) in x.iter_mut().enumerate() {
                    match fill {
                        0 => {}
                        1 if i % 7 == 3 => *x = special[i / 7 % 9],
                        1 => {}
                        2 => *x = [f32::NEG_INFINITY, -0.0, 0.0, f32::NEG_INFINITY][i * i % 13 % 4],
                        _ => *x = [f32::NEG_INFINITY, f32::NAN][usize::from(i % 5 == 1 && i < 200)],
                    }
                }
                let expected = indices(&reference::max_pool_indices(&sizes.windows(), &wide(&x)));
                for (target, checks, offset) in ways() {
                    let template = max_pool_indices(&target, &sizes.planes(), &operand(offset));
                    shared += usize::from(template.defines.contains(&"SHARED"));
                    let input = [Input { name: "a", words: &words(&x), offset }];
                    assert_eq!(run(gpu(checks), &template, &input, expected.len()), expected, "{case:?} {fill} {target:?} {checks:?}");
                    let alone = Template { work: Work::alone(0), ..template };
                    assert_eq!(run(gpu(checks), &alone, &input, expected.len()), expected, "{case:?} {fill} {target:?} {checks:?}");
                }
            }
        }
        assert!(shared > 0);
    }

    #[test]
    fn places() {
        for case in CASES {
            let sizes = Sizes::new(case);
            let (x, y) = (whole(sizes.unpooled()), whole(sizes.pooled()));
            let places = reference::max_pool_indices(&sizes.windows(), &wide(&x));
            let at = indices(&places);
            let selected = reference::pool_select(&sizes.windows(), &wide(&x), &places);
            let scattered = reference::pool_scatter(&sizes.windows(), &wide(&y), &places);
            for (_, checks, offset) in ways() {
                let places = Input { name: "indices", words: &at, offset: 2 * offset };
                let (a, indices) = (operand(offset), operand(2 * offset));
                let inputs = [Input { name: "a", words: &words(&x), offset }, places];
                expect(checks, pool_select(&sizes.planes(), &a, &indices), &inputs, &selected, case);
                let inputs = [Input { name: "a", words: &words(&y), offset }, places];
                expect(checks, pool_scatter(&sizes.planes(), &a, &indices), &inputs, &scattered, case);
            }
        }
    }

    /// The parts of sums that their size does not ask for.
    #[test]
    fn parts() {
        for case in CASES {
            let sizes = Sizes::new(case);
            let axes = Axes::new(&sizes.planes());
            let (x, y) = (whole(sizes.unpooled()), whole(sizes.pooled()));
            let places = reference::max_pool_indices(&sizes.windows(), &wide(&x));
            let pooled = reference::pool(&sizes.windows(), &wide(&x));
            let unpooled = reference::unpool(&sizes.windows(), &wide(&y));
            let scattered = reference::pool_scatter(&sizes.windows(), &wide(&y), &places);
            let at = indices(&places);
            let (x, y) = (words(&x), words(&y));
            let (x, y) = (Input { name: "a", words: &x, offset: 0 }, Input { name: "a", words: &y, offset: 0 });
            let places = Input { name: "indices", words: &at, offset: 0 };
            for checks in [Checks::Unchecked, Checks::Checked] {
                let zero = operand(0);
                let forward = axes.constants(pooled.len() as u32, axes.output, axes.input, &zero, None);
                let backward = axes.constants(unpooled.len() as u32, axes.input, axes.output, &zero, None);
                let in_parts = |source, constants, defines| sums(source, constants, defines, [3, 1, 1], 3);
                expect(checks, in_parts(&shaders::graph::POOL, forward, &[]), &[x], &pooled, case);
                expect(checks, in_parts(&shaders::graph::UNPOOL, backward, &["BACKWARD"]), &[y], &unpooled, case);
                expect(checks, in_parts(&shaders::graph::POOL_SCATTER, backward, &["BACKWARD"]), &[y, places], &scattered, case);
            }
        }
    }

    /// Of numbers that f32 rounds: near the sum, and the same bits on every run.
    #[test]
    fn rounded_sums() {
        let sizes = Sizes::new((3, &[[120, 120, 1, 0], [121, 121, 1, 0]]));
        let x = noise(sizes.unpooled());
        let template = pool(&Target::discrete(), &sizes.planes(), &operand(0));
        let input = [Input { name: "a", words: &words(&x), offset: 0 }];
        let found = run(gpu(Checks::Unchecked), &template, &input, 3);
        assert_eq!(found, run(gpu(Checks::Unchecked), &template, &input, 3));
        let expected = reference::pool(&sizes.windows(), &wide(&x));
        for (found, expected) in summed(&found, 3).iter().zip(&expected) {
            // some 64 terms a part, of magnitude below 1, that may all round the same way
            assert!((found - expected).abs() < 64.0 * 14_520.0 * 2f64.powi(-25), "{found} {expected}");
        }
    }

    /// A software driver ends loops after 65,535 rounds.
    #[test]
    fn large_windows() {
        let cases: [Case; 7] = [
            (1, &[[4096, 4096, 1, 0], [4096, 4096, 1, 0]]),
            (600, &[[160, 160, 1, 0], [160, 160, 1, 0]]),
            (1 << 16, &[[80, 80, 1, 0], [80, 80, 1, 0]]),
            (1, &[[80_000, 40_000, 1, 0]]),
            (1, &[[511, 256, 1, 0], [511, 256, 1, 0]]),
            (4, &[[256, 256, 1, 0], [256, 256, 1, 0], [256, 256, 1, 0]]),
            (1, &[[70_000, 60_000, 1, 0], [50, 1, 1, 0]]),
        ];
        for case in cases {
            let sizes = Sizes::new(case);
            let p = sizes.planes();
            for target in [Target::discrete(), Target::software()] {
                for template in [pool(&target, &p, &operand(0)), unpool(&p, &operand(0)), pool_scatter(&p, &operand(0), &operand(0))] {
                    let constants: WindowConstants = bytemuck::pod_read_unaligned(&template.uniform);
                    let axis = |i: usize| match template.defines.contains(&"BACKWARD") {
                        true => sizes.window.size[i].div_ceil(sizes.window.stride[i]).min(sizes.output[i]),
                        false => sizes.window.size[i],
                    };
                    let terms: u64 = (0..sizes.input.len()).map(|i| axis(i) as u64).product();
                    // what a long axis of short ones adds is not counted
                    let jobs = u64::from(constants.elements) * u64::from(template.parts);
                    let invocations = u64::from(template.work.workgroups) * 128;
                    let each = if template.parts > 1 { 1 } else { 4 };
                    let rounds = jobs.div_ceil(each * invocations) * each * terms.div_ceil(template.parts.into());
                    assert_eq!(constants.parts, template.parts);
                    assert!(template.work.rounds >= rounds, "{case:?} {target:?} {template:?}: {rounds}");
                    assert!(template.work.rounds <= 65_535, "{case:?} {target:?} {template:?}");
                }
                let template = max_pool_indices(&target, &p, &operand(0));
                let visited: u64 = sizes.window.size.iter().map(|&n| n as u64).product();
                let each = if template.defines.contains(&"SHARED") { visited.div_ceil(1024) + 40 } else { visited };
                assert!(each < 65_535, "{case:?} {target:?} {template:?}");
            }
        }
    }
}

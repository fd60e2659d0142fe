// A step of smoothing, a step of Jacobi with a factor ω of its own; the factors of several steps are the inverse roots of a polynomial
// (Lottes, "Optimal polynomial smoothers for multigrid V-cycles", 2022).
//
// STEP: y = x + ω D⁻¹(b - A x). START: two steps from x = 0 in one pass, y = α D⁻¹b - γ D⁻¹A D⁻¹b with the sum α and the product γ of their factors.
// RESIDUAL: y = b - A x. DOT: and partial sums of ⟨b, y⟩. y is 0 where there is no unknown. Rows: shared/stencil.wgsl, or with WEIGHTS
// shared/weights.wgsl. COARSE: of a level that is not the finest, all vectors in one buffer, rows of whole cells of four.
//
// Workgroups of 256, which go over cells of four elements in blocks. Deterministic. Bytes an element: START 8, else 12, and 2 for the code or
// 12 or 16 for the weights.

#import shared/gate
#import shared/runs
#ifdef DOT
#import shared/strip_sums
#endif

#permute START | STEP | STEP DOT | RESIDUAL
#permute - | WEIGHTS | WEIGHTS LINKED | COARSE WEIGHTS | COARSE WEIGHTS LINKED

struct StepConstants {
    // cells of four, and those of a block
    count: u32,
    block: u32,
    // COARSE: from row to row, and from plane to plane, 0 where there is one, in elements
    stride_y: i32,
    stride_z: i32,
    // COARSE: where x, y, b and the weights begin, in cells of four, and what says where lists begin
    x: u32,
    y: u32,
    b: u32,
    weights: u32,
    links: u32,
    // STEP: ω. START: α - γ, and γ
    factor: f32,
    second: f32,
}

@group(0) @binding(0) var<uniform> constants: StepConstants;
#ifdef COARSE
@group(0) @binding(3) var<storage, read_write> vectors: array<vec4<f32>>;
#else
@group(0) @binding(3) var<storage, read> b: array<vec4<f32>>;
#ifndef START
@group(0) @binding(5) var<storage, read> x: array<vec4<f32>>;
#endif
@group(0) @binding(7) var<storage, read_write> y: array<vec4<f32>>;
#endif

#import shared/shifts
#ifdef WEIGHTS
#import shared/weights
#else
#import shared/stencil
#endif

fn rhs(i: u32) -> vec4<f32> {
#ifdef COARSE
    return vectors[constants.b + i];
#else
    return b[i];
#endif
}

#ifdef START
fn four(i: u32) -> vec4<f32> {
    let d = diagonals(row_of(i));
    return select(vec4(0.0), rhs(i) / d, d != vec4(0.0));
}
#else
fn four(i: u32) -> vec4<f32> {
#ifdef COARSE
    return vectors[constants.x + i];
#else
    return x[i];
#endif
}
#endif

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    if is_over() {
        return;
    }
    let c = constants;
    let own = vec2(group.x * c.block) + run_of_block(lane, c.block);
#ifdef DOT
    var sum = vec4(0.0);
#endif
    for (var i = own.x; i < min(own.y, c.count); i += RUN) {
        let row = row_of(i);
        let d = diagonals(row);
        let here = four(i);
#ifdef START
        let value = c.factor * here + c.second * (around(i, row, here) / d);
#else
        let r = rhs(i);
        let rest = r + around(i, row, here);
#ifdef STEP
        let value = here + c.factor * (rest / d - here);
#else
        let value = rest - d * here;
#endif
#endif
        let result = select(vec4(0.0), value, d != vec4(0.0));
#ifdef COARSE
        vectors[c.y + i] = result;
#else
        y[i] = result;
#endif
#ifdef DOT
        sum += select(vec4(0.0), r * result, d != vec4(0.0));
#endif
    }
#ifdef DOT
    leave_sums(group.x, lane, vec4(dot(sum, vec4(1.0)), 0.0, 0.0, 0.0));
#endif
}

// A coarse level's u = D Q Pᵀ t. P is the interpolation of shaders/poisson/learned_prolong.wgsl; a pair of rows of the finer level
// is read once, for three rows of the coarse one.
//
// Workgroups of 256, an invocation for a strip of the coarse level (shared/strips.wgsl). Deterministic. Bytes a cell of the
// finer level: 4; and 8 of the coarse one.

#import shared/gate
#import shared/strips
#import shared/interpolation

override AXES: u32 = 3;

@group(0) @binding(0) var<uniform> constants: InterpolationConstants;
@group(0) @binding(3) var<storage, read> t: array<vec4<f32>>;
// D Q
@group(0) @binding(4) var<storage, read> transfers: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> u: array<vec4<f32>>;

// Of a row of the finer level, for four cells: the sums of their children, and of what is next to these along x.
struct Sums {
    near: vec4<f32>,
    far: vec4<f32>,
}

fn both(a: Sums, b: Sums) -> Sums {
    return Sums(a.near + b.near, a.far + b.far);
}

fn sums_of(at: u32, fold: f32) -> Sums {
    let a = t[at];
    let b = t[at + 1u];
    let near = vec4(a.x + a.y, a.z + a.w, b.x + b.y, b.z + b.w);
    let far = vec4(t[at - 1u].w + a.z, a.y + b.x, a.w + b.z, b.y + t[at + 2u].x);
    return Sums(near, far + fold * near);
}

// What a row gives to the coarse row that it is in, and to the one that it is next to.
fn shares_of(plane: u32, at: u32, p: vec4<f32>, fold: vec4<f32>) -> array<vec4<f32>, 2> {
    var own = sums_of(at, fold.x);
    if AXES == 2u {
        return array<vec4<f32>, 2>(p.x * own.near + p.y * own.far, p.y * own.near + p.z * own.far);
    }
    own = both(own, sums_of(at + plane, fold.x));
    var next = both(sums_of(at - plane, fold.x), sums_of(at + 2u * plane, fold.x));
    next = Sums(next.near + fold.z * own.near, next.far + fold.z * own.far);
    let one = own.far + next.near;
    return array<vec4<f32>, 2>(p.x * own.near + p.y * one + p.z * next.far, p.y * own.near + p.z * one + p.w * next.far);
}

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if is_over() {
        return;
    }
    let fine = constants.fine;
    let coarse = constants.coarse;
    // once, and not for each row
    let p = constants.transfer;
    let fold = constants.fold;
    let own = strip_of(coarse, id.x);
    if own.y >= own.end {
        return;
    }
    var at = place_of(coarse, own.i, own.y, own.z);
    var source = fine.first + place_of(fine, 2u * own.i, 2u * own.y, 2u * own.z);
    // the last row before the strip, and its first two
    var before = shares_of(fine.plane, source - fine.pitch, p, fold)[1];
    var low = shares_of(fine.plane, source, p, fold);
    var high = shares_of(fine.plane, source + fine.pitch, p, fold);
    for (var y = own.y; y < own.end; y++) {
        source += 2u * fine.pitch;
        let next_low = shares_of(fine.plane, source, p, fold);
        let next_high = shares_of(fine.plane, source + fine.pitch, p, fold);
        let sum = before + low[0] + high[0] + next_low[1] + fold.y * low[1];
        let d = transfers[coarse.coarse_first + at];
        u[coarse.first + at] = select(vec4(0.0), d * sum, d > vec4(0.0));
        before = high[1];
        low = next_low;
        high = next_high;
        at += coarse.pitch;
    }
}

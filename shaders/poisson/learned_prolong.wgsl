// The correction x += γ P e from a coarse level (shared/interpolation.wgsl), where there are unknowns.
//
// Workgroups of 256, an invocation for a strip of the coarse level in a plane of the finer one (shared/strips.wgsl). Deterministic.
// Bytes a cell of the finer level: 8 and 2 for the code; and 4 of the coarse one.

#import shared/gate
#import shared/strips
#import shared/unknowns
#import shared/interpolation

override AXES: u32 = 3;

@group(0) @binding(0) var<uniform> constants: InterpolationConstants;
@group(0) @binding(3) var<storage, read_write> x: array<vec4<f32>>;

// Of four coarse cells: their values, and those before and after them.
struct Row {
    here: vec4<f32>,
    before: vec4<f32>,
    after: vec4<f32>,
}

fn row_at(at: u32, fold_x: f32) -> Row {
    let here = x[at];
    let fold = fold_x * here;
    return Row(here, vec4(x[at - 1u].w, here.xyz) + fold, vec4(here.yzw, x[at + 1u].x) + fold);
}

// For the first and the second of two cells along x each: of the rows that are in a coarse row, and of those next to it.
struct Shares {
    near_even: vec4<f32>,
    near_odd: vec4<f32>,
    far_even: vec4<f32>,
    far_odd: vec4<f32>,
}

// `beside` is the coarse plane on the side of the finer one.
fn shares_of(at: u32, beside: u32, p: vec4<f32>, fold: vec4<f32>) -> Shares {
    let own = row_at(at, fold.x);
    var shares = Shares(
        p.x * own.here + p.y * own.before,
        p.x * own.here + p.y * own.after,
        p.y * own.here + p.z * own.before,
        p.y * own.here + p.z * own.after,
    );
    if AXES == 3u {
        var next = row_at(beside, fold.x);
        next = Row(next.here + fold.z * own.here, next.before + fold.z * own.before, next.after + fold.z * own.after);
        shares.near_even += p.y * next.here + p.z * next.before;
        shares.near_odd += p.y * next.here + p.z * next.after;
        shares.far_even += p.z * next.here + p.w * next.before;
        shares.far_odd += p.z * next.here + p.w * next.after;
    }
    return shares;
}

fn correct(at: u32, two: bool, even: vec4<f32>, odd: vec4<f32>) {
    let first = vec4(even.x, odd.x, even.y, odd.y);
    x[at] += select(vec4(0.0), first, codes_at(at) != vec4(0u));
    if two {
        let second = vec4(even.z, odd.z, even.w, odd.w);
        x[at + 1u] += select(vec4(0.0), second, codes_at(at + 1u) != vec4(0u));
    }
}

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if is_over() {
        return;
    }
    let fine = constants.fine;
    let coarse = constants.coarse;
    // once, and not for each row
    let p = constants.fold.w * constants.transfer;
    let fold = constants.fold;
    var lattice = coarse;
    lattice.nz = fine.nz;
    let own = strip_of(lattice, id.x);
    if own.y >= own.end {
        return;
    }
    var source = coarse.first + place_of(coarse, own.i, own.y, own.z / 2u);
    let beside = select(0u - coarse.plane, coarse.plane, own.z % 2u == 1u);
    var at = fine.first + place_of(fine, 2u * own.i, 2u * own.y, own.z);
    let two = 2u * own.i + 1u < across(fine);
    var before = shares_of(source - coarse.pitch, source - coarse.pitch + beside, p, fold);
    var here = shares_of(source, source + beside, p, fold);
    for (var y = own.y; y < own.end; y++) {
        source += coarse.pitch;
        let after = shares_of(source, source + beside, p, fold);
        correct(at, two, here.near_even + before.far_even + fold.y * here.far_even, here.near_odd + before.far_odd + fold.y * here.far_odd);
        if 2u * y + 1u < fine.ny {
            correct(at + fine.pitch, two, here.near_even + after.far_even, here.near_odd + after.far_odd);
        }
        before = here;
        here = after;
        at += 2u * fine.pitch;
    }
}

// The smoothing of a learned multigrid, S = D K D, of vectors to which one D was already applied: K is a stencil that is the
// same everywhere, times what the level is damped by.
//
//     START: x = D K u;  COARSE: x = Q (x + D K u);  FINEST: z = x + D K u, in rows without padding, 0 where there is no unknown
//
// ALONE: x counts as 0. DOT: and partial sums of ⟨r, z⟩. Going through a strip, what a row adds to itself and to those one and two away is found once:
// the sums of its values at each distance along x, times K.
//
// Workgroups of 256, an invocation for a strip (shared/strips.wgsl). Deterministic. Bytes a cell: START 8, COARSE 16, FINEST 12
// and with DOT 16, and 2 for the code.

#import shared/gate
#import shared/strips
#import shared/unknowns
#ifdef FINEST
#import shared/dense_rows
#endif
#ifdef DOT
#import shared/dense_residual
#import shared/strip_sums
#endif

#permute START | COARSE | ALONE COARSE | FINEST | ALONE FINEST | DOT FINEST | ALONE DOT FINEST

struct SmoothConstants {
    lattice: Lattice,
    // K at distances 000 100 110 111, 200 210 211 220, 221 222
    stencil: array<vec4<f32>, 3>,
    // its number
    level: u32,
}

// the cells that K reaches along an axis, and the number of axes
override RADIUS: u32 = 2;
override AXES: u32 = 3;

@group(0) @binding(0) var<uniform> constants: SmoothConstants;
@group(0) @binding(3) var<storage, read> u: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> damping: array<f32>;
#ifdef FINEST
#ifndef ALONE
@group(0) @binding(4) var<storage, read> x: array<vec4<f32>>;
#endif
#ifdef ALIGNED
@group(0) @binding(6) var<storage, read_write> z: array<vec4<f32>>;
#else
@group(0) @binding(6) var<storage, read_write> z: array<f32>;
#endif
#else
@group(0) @binding(4) var<storage, read_write> x: array<vec4<f32>>;
#endif
#ifdef COARSE
// D Q
@group(0) @binding(8) var<storage, read> transfers: array<vec4<f32>>;
#endif

// Sums of the values at distances 0, 1 and 2 along x.
struct Sums {
    zero: vec4<f32>,
    one: vec4<f32>,
    two: vec4<f32>,
}

fn sums_of(at: u32) -> Sums {
    let here = u[at];
    let left = u[at - 1u];
    let right = u[at + 1u];
    var sums = Sums(here, vec4(left.w, here.xyz) + vec4(here.yzw, right.x), vec4(0.0));
    if RADIUS == 2u {
        sums.two = vec4(left.zw, here.xy) + vec4(here.zw, right.xy);
    }
    return sums;
}

fn both(a: Sums, b: Sums) -> Sums {
    return Sums(a.zero + b.zero, a.one + b.one, a.two + b.two);
}

fn weighted(zero: f32, one: f32, two: f32, sums: Sums) -> vec4<f32> {
    var sum = zero * sums.zero + one * sums.one;
    if RADIUS == 2u {
        sum += two * sums.two;
    }
    return sum;
}

// What a row adds to itself, and to the rows one and two away.
fn shares_of(plane: u32, at: u32, a: vec4<f32>, b: vec4<f32>, c: vec4<f32>) -> array<vec4<f32>, 3> {
    let own = sums_of(at);
    var shares = array<vec4<f32>, 3>(weighted(a.x, a.y, b.x, own), weighted(a.y, a.z, b.y, own), vec4(0.0));
    if RADIUS == 2u {
        shares[2] = weighted(b.x, b.y, b.w, own);
    }
    if AXES == 3u {
        let next = both(sums_of(at - plane), sums_of(at + plane));
        shares[0] += weighted(a.y, a.z, b.y, next);
        shares[1] += weighted(a.z, a.w, b.z, next);
        if RADIUS == 2u {
            shares[2] += weighted(b.y, b.z, c.x, next);
            let further = both(sums_of(at - 2u * plane), sums_of(at + 2u * plane));
            shares[0] += weighted(b.x, b.y, b.w, further);
            shares[1] += weighted(b.y, b.z, c.x, further);
            shares[2] += weighted(b.w, c.x, c.y, further);
        }
    }
    return shares;
}

#ifdef FINEST
fn store(l: Lattice, i: u32, y: u32, plane: u32, value: vec4<f32>) {
    let at = dense_place(l, i, y, plane);
#ifdef ALIGNED
    z[at / 4u] = value;
#else
    let count = dense_count(l, i);
    z[at] = value.x;
    if count > 1u {
        z[at + 1u] = value.y;
    }
    if count > 2u {
        z[at + 2u] = value.z;
    }
    if count > 3u {
        z[at + 3u] = value.w;
    }
#endif
}
#endif

@compute @workgroup_size(256)
fn main(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    if is_over() {
        return;
    }
    let l = constants.lattice;
    let own = strip_of(l, id.x);
    let start = place_of(l, own.i, own.y, own.z);
    let damped = damping[constants.level];
    // once, and not for each row
    let a = constants.stencil[0];
    let b = constants.stencil[1];
    let c = constants.stencil[2];
    // what there is so far of the rows from RADIUS before the one that comes next
    var rows = array<vec4<f32>, 4>(vec4(0.0), vec4(0.0), vec4(0.0), vec4(0.0));
    var next = l.first + start - RADIUS * l.pitch;
    var at = start - 2u * RADIUS * l.pitch;
#ifdef DOT
    var sum = vec4(0.0);
#endif
    let ahead = select(0u, own.end - own.y + 2u * RADIUS, own.end > own.y);
    for (var k = 0u; k < ahead; k++) {
        let shares = shares_of(l.plane, next, a, b, c);
        var smoothed = rows[0];
        if RADIUS == 2u {
            smoothed += shares[2];
            rows[0] = rows[1] + shares[1];
            rows[1] = rows[2] + shares[0];
            rows[2] = rows[3] + shares[1];
            rows[3] = shares[2];
        } else {
            smoothed += shares[1];
            rows[0] = rows[1] + shares[0];
            rows[1] = shares[1];
        }
        if k >= 2u * RADIUS {
            let code = codes_at(l.first + at);
            let d = scales(code);
            smoothed *= damped * d;
#ifdef START
            x[l.first + at] = smoothed;
#endif
#ifdef COARSE
            let q = transfers[l.coarse_first + at] / d;
#ifndef ALONE
            smoothed += x[l.first + at];
#endif
            x[l.first + at] = select(vec4(0.0), q * smoothed, d > vec4(0.0));
#endif
#ifdef FINEST
            let y = own.y + k - 2u * RADIUS;
#ifndef ALONE
            smoothed += x[l.first + at];
#endif
            store(l, own.i, y, own.z, smoothed);
#ifdef DOT
            sum += select(vec4(0.0), residual_at(l, own.i, y, own.z) * smoothed, d > vec4(0.0));
#endif
#endif
        }
        next += l.pitch;
        at += l.pitch;
    }
#ifdef DOT
    leave_sums(group.x, lane, vec4(dot(sum, vec4(1.0)), 0.0, 0.0, 0.0));
#endif
}

// A convolution or one of its adjoints as a product of matrices whose second operand is gathered, and with TWO
// the sum of two: result[row, column] = Σ_k a[row, k] b(column, k).
//
// form    row  column    k         a  b
// Output  co   (n, o)    (ci, t)   w  x[n, ci, o·stride - padding + t·dilation]
// Input   ci   (n, i)    (co, t)   w  y[n, co, (i + padding - t·dilation) / stride]
// Weight  co   (ci, t)   (n, o)    y  x[n, ci, t·dilation - padding + o·stride]
//
// Columns and k are an outer index and a place in a volume; the places add up to one in b, which is 0 outside
// of it, and with DIVIDE (strides of the Input form) where it is no multiple of the stride.
//
// HALVES: b is of 16-bit floats, two channels a word, and PAIRS: so is the result (shared/pairs.wgsl), of the Output
// form; then i of `store_pair` counts words.
//
// A workgroup of 8 takes tiles of 16 rows, uniform among the invocations, and 64 columns; an invocation 16 by 8 of
// one, in registers. A_K: a is loaded as vectors along k. With several parts each tile sums a part of the depth, and
// the parts are summed by another kernel. Deterministic: terms are added in order, with DEEP, for parts of more
// than 512, in blocks (shared/tile_sums.wgsl). Bytes: a is read once for 64 columns, b once for 16 rows and each k, the result written once.

#import shared/optional_gate
#import shared/tile_sums
#ifdef PAIRS
#import shared/pairs
#endif

#permute - | DEEP
#permute A_K | A_ANY
#permute - | DIVIDE | TWO | DIVIDE TWO | HALVES | PAIRS | HALVES PAIRS

struct ConvolutionConstants {
    offset_a0: u32,
    offset_b0: u32,
    offset_a1: u32,
    offset_b1: u32,
    tiles: u32,
    // the terms of a part, a multiple of four
    part: u32,
    elements: u32,
}

@group(0) @binding(0) var<uniform> constants: ConvolutionConstants;

override ROWS: u32 = 1u;
override COLUMNS: u32 = 1u;
override DEPTH: u32 = 1u;
// of a: from row to row, and from outer to outer index of k; the inner ones are side by side
override A_ROW: u32 = 1u;
override A_OUTER: u32 = 1u;
// the volumes of columns and k, their steps in b, negative ones wrapped, and where column 0 is
override C_Z: u32 = 1u;
override C_Y: u32 = 1u;
override C_X: u32 = 1u;
override C_STEP_Z: u32 = 1u;
override C_STEP_Y: u32 = 1u;
override C_STEP_X: u32 = 1u;
override START_Z: u32 = 0u;
override START_Y: u32 = 0u;
override START_X: u32 = 0u;
override K_Z: u32 = 1u;
override K_Y: u32 = 1u;
override K_X: u32 = 1u;
override K_STEP_Z: u32 = 1u;
override K_STEP_Y: u32 = 1u;
override K_STEP_X: u32 = 1u;
// of b: the volume, and from outer to outer index
override B_Z: u32 = 1u;
override B_Y: u32 = 1u;
override B_X: u32 = 1u;
override B_C_OUTER: u32 = 1u;
override B_K_OUTER: u32 = 1u;
// DIVIDE
override DIVISOR_Z: u32 = 1u;
override DIVISOR_Y: u32 = 1u;
override DIVISOR_X: u32 = 1u;
// of the result
override R_ROW: u32 = 1u;
override R_OUTER: u32 = 1u;

#ifdef A_K
alias A = vec4<f32>;
#else
alias A = f32;
#endif

@group(0) @binding(1) var<storage, read> a0: array<A>;
#ifdef HALVES
@group(0) @binding(2) var<storage, read> b0: array<u32>;
#else
@group(0) @binding(2) var<storage, read> b0: array<f32>;
#endif
#ifdef TWO
@group(0) @binding(3) var<storage, read> a1: array<A>;
@group(0) @binding(4) var<storage, read> b1: array<f32>;
#endif

#ifndef GENERATED
@group(0) @binding(6) var<storage, read_write> stand_in: array<f32>;

fn store(i: u32, value: f32) {
    stand_in[i] = value;
}
#endif

// Four places in b: coordinates, and what they and their outer indices add to an element's; with DIVIDE, what the
// outer indices add.
struct Places {
    z: vec4<u32>,
    y: vec4<u32>,
    x: vec4<u32>,
    at: vec4<u32>,
}

fn places(z: vec4<u32>, y: vec4<u32>, x: vec4<u32>, outer: vec4<u32>) -> Places {
#ifdef DIVIDE
    return Places(z, y, x, outer);
#else
    return Places(z, y, x, outer + (z * B_Y + y) * B_X + x);
#endif
}

fn columns_at(first: u32) -> Places {
    let c = min(vec4(first, first + 8u, first + 16u, first + 24u), vec4(COLUMNS - 1u));
    let x = c % C_X;
    let y = c / C_X % C_Y;
    let z = c / (C_X * C_Y) % C_Z;
    return places(
        z * C_STEP_Z + vec4(START_Z),
        y * C_STEP_Y + vec4(START_Y),
        x * C_STEP_X + vec4(START_X),
        c / (C_X * C_Y * C_Z) * B_C_OUTER,
    );
}

fn depth_at(k: u32) -> Places {
    let all = min(vec4(k, k + 1u, k + 2u, k + 3u), vec4(DEPTH - 1u));
    let x = all % K_X;
    let y = all / K_X % K_Y;
    let z = all / (K_X * K_Y) % K_Z;
#ifdef HALVES
    let outer = all / (K_X * K_Y * K_Z) / 2u;
#else
    let outer = all / (K_X * K_Y * K_Z);
#endif
    return places(z * K_STEP_Z, y * K_STEP_Y, x * K_STEP_X, outer * B_K_OUTER);
}

// Where the elements of four columns at one k are in b, beyond its offset.
struct Elements {
    at: vec4<u32>,
    there: vec4<bool>,
}

fn elements(c: Places, kz: u32, ky: u32, kx: u32, k_at: u32, k: u32) -> Elements {
    var z = c.z + vec4(kz);
    var y = c.y + vec4(ky);
    var x = c.x + vec4(kx);
    var at = c.at + vec4(k_at);
    // coordinates below 0 are large
    var there = x < vec4(B_X);
    if DEPTH % 4u != 0u {
        there = there & vec4(k < DEPTH);
    }
#ifdef DIVIDE
    there = (z < vec4(0x80000000u)) & (y < vec4(0x80000000u)) & (x < vec4(0x80000000u));
    there = there & (z % DIVISOR_Z == vec4(0u)) & (y % DIVISOR_Y == vec4(0u)) & (x % DIVISOR_X == vec4(0u));
    there = there & vec4(k < DEPTH);
    z = z / DIVISOR_Z;
    y = y / DIVISOR_Y;
    x = x / DIVISOR_X;
    at += (z * B_Y + y) * B_X + x;
    there = there & (x < vec4(B_X));
#endif
    // axes that are not there need no test
    if B_Y > 1u || C_Y > 1u || K_Y > 1u {
        there = there & (y < vec4(B_Y));
    }
    if B_Z > 1u || C_Z > 1u || K_Z > 1u {
        there = there & (z < vec4(B_Z));
    }
    return Elements(select(vec4(0u), at, there), there);
}

// Column r is a[row + r, k .. k + 4].
fn load_a0(row: u32, k: u32) -> mat4x4<f32> {
    let rows = vec4(constants.offset_a0) + min(vec4(row, row + 1u, row + 2u, row + 3u), vec4(ROWS - 1u)) * A_ROW;
#ifdef A_K
    let along = k / (K_X * K_Y * K_Z) * A_OUTER + k % (K_X * K_Y * K_Z);
    let i = (rows + vec4(along)) / 4u;
    return mat4x4(a0[i.x], a0[i.y], a0[i.z], a0[i.w]);
#else
    let all = vec4(k, k + 1u, k + 2u, k + 3u);
    let inside = min(all, vec4(DEPTH - 1u));
    let i = inside / (K_X * K_Y * K_Z) * A_OUTER + inside % (K_X * K_Y * K_Z);
    let x = rows.x;
    let y = rows.y;
    let z = rows.z;
    let w = rows.w;
    let there = all < vec4(DEPTH);
    return mat4x4(
        select(vec4(0.0), vec4(a0[x + i.x], a0[x + i.y], a0[x + i.z], a0[x + i.w]), there),
        select(vec4(0.0), vec4(a0[y + i.x], a0[y + i.y], a0[y + i.z], a0[y + i.w]), there),
        select(vec4(0.0), vec4(a0[z + i.x], a0[z + i.y], a0[z + i.z], a0[z + i.w]), there),
        select(vec4(0.0), vec4(a0[w + i.x], a0[w + i.y], a0[w + i.z], a0[w + i.w]), there),
    );
#endif
}

#ifdef HALVES
fn load_b0(e: Elements, k: u32) -> vec4<f32> {
    let i = e.at + vec4(constants.offset_b0);
    // of an odd channel the upper half
    let shift = k / (K_X * K_Y * K_Z) % 2u * 16u;
    let x = unpack2x16float(b0[i.x] >> shift).x;
    let y = unpack2x16float(b0[i.y] >> shift).x;
    let z = unpack2x16float(b0[i.z] >> shift).x;
    return select(vec4(0.0), vec4(x, y, z, unpack2x16float(b0[i.w] >> shift).x), e.there);
}
#else
fn load_b0(e: Elements, k: u32) -> vec4<f32> {
    let i = e.at + vec4(constants.offset_b0);
    return select(vec4(0.0), vec4(b0[i.x], b0[i.y], b0[i.z], b0[i.w]), e.there);
}
#endif

#ifdef TWO
// Column r is a[row + r, k .. k + 4].
fn load_a1(row: u32, k: u32) -> mat4x4<f32> {
    let rows = vec4(constants.offset_a1) + min(vec4(row, row + 1u, row + 2u, row + 3u), vec4(ROWS - 1u)) * A_ROW;
#ifdef A_K
    let along = k / (K_X * K_Y * K_Z) * A_OUTER + k % (K_X * K_Y * K_Z);
    let i = (rows + vec4(along)) / 4u;
    return mat4x4(a1[i.x], a1[i.y], a1[i.z], a1[i.w]);
#else
    let all = vec4(k, k + 1u, k + 2u, k + 3u);
    let inside = min(all, vec4(DEPTH - 1u));
    let i = inside / (K_X * K_Y * K_Z) * A_OUTER + inside % (K_X * K_Y * K_Z);
    let x = rows.x;
    let y = rows.y;
    let z = rows.z;
    let w = rows.w;
    let there = all < vec4(DEPTH);
    return mat4x4(
        select(vec4(0.0), vec4(a1[x + i.x], a1[x + i.y], a1[x + i.z], a1[x + i.w]), there),
        select(vec4(0.0), vec4(a1[y + i.x], a1[y + i.y], a1[y + i.z], a1[y + i.w]), there),
        select(vec4(0.0), vec4(a1[z + i.x], a1[z + i.y], a1[z + i.z], a1[z + i.w]), there),
        select(vec4(0.0), vec4(a1[w + i.x], a1[w + i.y], a1[w + i.z], a1[w + i.w]), there),
    );
#endif
}

fn load_b1(e: Elements) -> vec4<f32> {
    let i = e.at + vec4(constants.offset_b1);
    return select(vec4(0.0), vec4(b1[i.x], b1[i.y], b1[i.z], b1[i.w]), e.there);
}
#endif

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    if is_over() {
        return;
    }
    let wide = (COLUMNS + 63u) / 64u;
    let high = (ROWS + 15u) / 16u;
    let part_size = constants.part;
    for (var tile = group.y * groups.x + group.x; tile < constants.tiles; tile += groups.x * groups.y) {
        let column = tile % wide * 64u + lane;
        let row = tile / wide % high * 16u;
        let part = tile / (wide * high);
        let end = min((part + 1u) * part_size, DEPTH);
        let s0 = columns_at(column);
        let s1 = columns_at(column + 32u);
        var c00 = mat4x4<f32>();
        var c01 = mat4x4<f32>();
        var c10 = mat4x4<f32>();
        var c11 = mat4x4<f32>();
        var c20 = mat4x4<f32>();
        var c21 = mat4x4<f32>();
        var c30 = mat4x4<f32>();
        var c31 = mat4x4<f32>();
#ifdef DEEP
        var sums = TileSums();
        for (var start = part * part_size; start < end; start += 4u * ROUNDS) {
            let stop = min(start + 4u * ROUNDS, end);
#else
        {
            let start = part * part_size;
            let stop = end;
#endif
            for (var k = start; k < stop; k += 4u) {
                let p = depth_at(k);
                let e00 = elements(s0, p.z.x, p.y.x, p.x.x, p.at.x, k + 0u);
                let e01 = elements(s0, p.z.y, p.y.y, p.x.y, p.at.y, k + 1u);
                let e02 = elements(s0, p.z.z, p.y.z, p.x.z, p.at.z, k + 2u);
                let e03 = elements(s0, p.z.w, p.y.w, p.x.w, p.at.w, k + 3u);
                let e10 = elements(s1, p.z.x, p.y.x, p.x.x, p.at.x, k + 0u);
                let e11 = elements(s1, p.z.y, p.y.y, p.x.y, p.at.y, k + 1u);
                let e12 = elements(s1, p.z.z, p.y.z, p.x.z, p.at.z, k + 2u);
                let e13 = elements(s1, p.z.w, p.y.w, p.x.w, p.at.w, k + 3u);
                {
                    let y0 = mat4x4(load_b0(e00, k + 0u), load_b0(e01, k + 1u), load_b0(e02, k + 2u), load_b0(e03, k + 3u));
                    let y1 = mat4x4(load_b0(e10, k + 0u), load_b0(e11, k + 1u), load_b0(e12, k + 2u), load_b0(e13, k + 3u));
                    let x0 = load_a0(row, k);
                    c00 += y0 * x0;
                    c01 += y1 * x0;
                    let x1 = load_a0(row + 4u, k);
                    c10 += y0 * x1;
                    c11 += y1 * x1;
                    let x2 = load_a0(row + 8u, k);
                    c20 += y0 * x2;
                    c21 += y1 * x2;
                    let x3 = load_a0(row + 12u, k);
                    c30 += y0 * x3;
                    c31 += y1 * x3;
                }
#ifdef TWO
                {
                    let y0 = mat4x4(load_b1(e00), load_b1(e01), load_b1(e02), load_b1(e03));
                    let y1 = mat4x4(load_b1(e10), load_b1(e11), load_b1(e12), load_b1(e13));
                    let x0 = load_a1(row, k);
                    c00 += y0 * x0;
                    c01 += y1 * x0;
                    let x1 = load_a1(row + 4u, k);
                    c10 += y0 * x1;
                    c11 += y1 * x1;
                    let x2 = load_a1(row + 8u, k);
                    c20 += y0 * x2;
                    c21 += y1 * x2;
                    let x3 = load_a1(row + 12u, k);
                    c30 += y0 * x3;
                    c31 += y1 * x3;
                }
#endif
            }
#ifdef DEEP
            add_block(&sums, Tile(c00, c01, c10, c11, c20, c21, c30, c31));
            c00 = mat4x4<f32>();
            c01 = mat4x4<f32>();
            c10 = mat4x4<f32>();
            c11 = mat4x4<f32>();
            c20 = mat4x4<f32>();
            c21 = mat4x4<f32>();
            c30 = mat4x4<f32>();
            c31 = mat4x4<f32>();
#endif
        }
#ifdef DEEP
        finish_sums(&sums);
        let blocks = &sums.all;
#else
        var tile_sums = Tile(c00, c01, c10, c11, c20, c21, c30, c31);
        let blocks = &tile_sums;
#endif
        // one copy of what `store` does, however many elements there are
        let high_here = min(ROWS - row, 16u);
        let wide_here = (min(max(COLUMNS, column) - column, 64u) + 7u) / 8u;
#ifdef PAIRS
        for (var r = 0u; r < high_here; r += 2u) {
            for (var j = 0u; j < wide_here; j++) {
                let c = column + 8u * j;
                let i = (row + r) / 2u * R_ROW + c / (C_X * C_Y * C_Z) * R_OUTER + c % (C_X * C_Y * C_Z);
                let k = r / 4u * 2u + j / 4u;
                store_pair(i, vec2((*blocks)[k][r % 4u][j % 4u], (*blocks)[k][r % 4u + 1u][j % 4u]));
            }
        }
#else
        for (var r = 0u; r < high_here; r++) {
            for (var j = 0u; j < wide_here; j++) {
                let c = column + 8u * j;
                let i = (row + r) * R_ROW + c / (C_X * C_Y * C_Z) * R_OUTER + c % (C_X * C_Y * C_Z);
                store(part * constants.elements + i, (*blocks)[r / 4u * 2u + j / 4u][r % 4u][j % 4u]);
            }
        }
#endif
    }
}

// The Output and Input forms of shaders/graph/convolution.wgsl (whose table gives rows, columns and k) for kernels of
// three taps in x that move by one element there, whatever they do along y and z:
//
//     result[row, (n, z, y, x)] = Σ_k a[row, (outer, kz, ky, kx)] b[n, outer, Z(z, kz), Y(y, ky), x + START_X + kx]
//
// with Z(z, kz) = z·C_STEP_Z + START_Z + kz·K_STEP_Z, Y alike, and 0 for what is outside of b. FLIP: the taps in x
// are taken from last to first.
//
// An invocation computes 8 rows of a patch of 8 by 2 elements in x and y, in registers: the ten elements that it loads
// of a line of b serve three taps, eight rows and eight elements, and the three of a that it loads for a row serve
// sixteen elements. Loads, and finding out which are inside, are what costs on a software driver: with the
// gathered product of convolution.wgsl they take four fifths of the time.
//
// HALVES: b is of 16-bit floats, two channels a word, and PAIRS: so is the result (shared/pairs.wgsl); then i of
// `store_pair` counts words.
//
// Workgroups of 8, which share the rows. Deterministic: terms are added in order, with DEEP, for more than 512, in blocks
// (shared/tile_sums.wgsl). Bytes: a is read once for each
// workgroup, b up to 10/8 · 3 times for 8 rows, mostly from the cache, the result is written once.

#import shared/optional_gate
#import shared/tile_sums
#ifdef PAIRS
#import shared/pairs
#endif

#permute - | DEEP
#permute - | TWO | HALVES | PAIRS | HALVES PAIRS

struct ConvolutionRowsConstants {
    offset_a0: u32,
    offset_b0: u32,
    offset_a1: u32,
    offset_b1: u32,
    // workgroups of work
    tiles: u32,
}

@group(0) @binding(0) var<uniform> constants: ConvolutionRowsConstants;

override ROWS: u32 = 1u;
// of columns: how many in the batch, and their volume
override BATCH: u32 = 1u;
override C_Z: u32 = 1u;
override C_Y: u32 = 2u;
override C_X: u32 = 1u;
// of k
override OUTER: u32 = 1u;
override K_Z: u32 = 1u;
override K_Y: u32 = 1u;
// of a: from row to row, and from outer to outer index of k; the inner ones are side by side
override A_ROW: u32 = 1u;
override A_OUTER: u32 = 1u;
// steps in b, negative ones wrapped, and where column 0 and the first of three taps are
override C_STEP_Z: u32 = 1u;
override C_STEP_Y: u32 = 1u;
override START_Z: u32 = 0u;
override START_Y: u32 = 0u;
override START_X: u32 = 0u;
override K_STEP_Z: u32 = 1u;
override K_STEP_Y: u32 = 1u;
// 1: from last to first
override FLIP: u32 = 0u;
// of b: the volume, and from outer to outer index
override B_Z: u32 = 1u;
override B_Y: u32 = 1u;
override B_X: u32 = 1u;
override B_C_OUTER: u32 = 1u;
override B_K_OUTER: u32 = 1u;
// of the result
override R_ROW: u32 = 1u;
override R_OUTER: u32 = 1u;

// of b in a word
#ifdef HALVES
const CHANNELS: u32 = 2u;
#else
const CHANNELS: u32 = 1u;
#endif

@group(0) @binding(1) var<storage, read> a0: array<f32>;
#ifdef HALVES
@group(0) @binding(2) var<storage, read> b0: array<u32>;
#else
@group(0) @binding(2) var<storage, read> b0: array<f32>;
#endif
#ifdef TWO
@group(0) @binding(3) var<storage, read> a1: array<f32>;
@group(0) @binding(4) var<storage, read> b1: array<f32>;
#endif

#ifndef GENERATED
@group(0) @binding(6) var<storage, read_write> stand_in: array<f32>;

fn store(i: u32, value: f32) {
    stand_in[i] = value;
}
#endif

// Ten elements side by side.
struct Line {
    low: vec4<f32>,
    high: vec4<f32>,
    end: vec2<f32>,
}

// Where they are in a line of b, and which of them are inside.
struct Span {
    low: vec4<u32>,
    high: vec4<u32>,
    end: vec2<u32>,
    low_there: vec4<bool>,
    high_there: vec4<bool>,
    end_there: vec2<bool>,
}

fn span(first: u32) -> Span {
    let low = vec4(first) + vec4(0u, 1u, 2u, 3u);
    let high = low + vec4(4u);
    let end = vec2(first) + vec2(8u, 9u);
    // coordinates below 0 are large
    let last = B_X - 1u;
    return Span(
        select(vec4(last), low, low < vec4(B_X)),
        select(vec4(last), high, high < vec4(B_X)),
        select(vec2(last), end, end < vec2(B_X)),
        low < vec4(B_X),
        high < vec4(B_X),
        end < vec2(B_X),
    );
}

#ifdef HALVES
// Of an even channel, and of the odd one after it.
struct Lines {
    even: Line,
    odd: Line,
}

fn lines0(at: u32, s: Span, there: bool) -> Lines {
    let l = vec4(at) + s.low;
    let h = vec4(at) + s.high;
    let e = vec2(at) + s.end;
    let low = select(vec4(0u), vec4(b0[l.x], b0[l.y], b0[l.z], b0[l.w]), s.low_there & vec4(there));
    let high = select(vec4(0u), vec4(b0[h.x], b0[h.y], b0[h.z], b0[h.w]), s.high_there & vec4(there));
    let end = select(vec2(0u), vec2(b0[e.x], b0[e.y]), s.end_there & vec2(there));
    let l0 = unpack2x16float(low.x);
    let l1 = unpack2x16float(low.y);
    let l2 = unpack2x16float(low.z);
    let l3 = unpack2x16float(low.w);
    let h0 = unpack2x16float(high.x);
    let h1 = unpack2x16float(high.y);
    let h2 = unpack2x16float(high.z);
    let h3 = unpack2x16float(high.w);
    let e0 = unpack2x16float(end.x);
    let e1 = unpack2x16float(end.y);
    return Lines(
        Line(vec4(l0.x, l1.x, l2.x, l3.x), vec4(h0.x, h1.x, h2.x, h3.x), vec2(e0.x, e1.x)),
        Line(vec4(l0.y, l1.y, l2.y, l3.y), vec4(h0.y, h1.y, h2.y, h3.y), vec2(e0.y, e1.y)),
    );
}
#else
fn line0(at: u32, s: Span, there: bool) -> Line {
    let l = vec4(at) + s.low;
    let h = vec4(at) + s.high;
    let e = vec2(at) + s.end;
    return Line(
        select(vec4(0.0), vec4(b0[l.x], b0[l.y], b0[l.z], b0[l.w]), s.low_there & vec4(there)),
        select(vec4(0.0), vec4(b0[h.x], b0[h.y], b0[h.z], b0[h.w]), s.high_there & vec4(there)),
        select(vec2(0.0), vec2(b0[e.x], b0[e.y]), s.end_there & vec2(there)),
    );
}
#endif

fn taps0(row: u32, at: u32) -> vec3<f32> {
    let i = constants.offset_a0 + min(row, ROWS - 1u) * A_ROW + at;
    return vec3(a0[i + 2u * FLIP], a0[i + 1u], a0[i + 2u - 2u * FLIP]);
}

#ifdef TWO
fn line1(at: u32, s: Span, there: bool) -> Line {
    let l = vec4(at) + s.low;
    let h = vec4(at) + s.high;
    let e = vec2(at) + s.end;
    return Line(
        select(vec4(0.0), vec4(b1[l.x], b1[l.y], b1[l.z], b1[l.w]), s.low_there & vec4(there)),
        select(vec4(0.0), vec4(b1[h.x], b1[h.y], b1[h.z], b1[h.w]), s.high_there & vec4(there)),
        select(vec2(0.0), vec2(b1[e.x], b1[e.y]), s.end_there & vec2(there)),
    );
}

fn taps1(row: u32, at: u32) -> vec3<f32> {
    let i = constants.offset_a1 + min(row, ROWS - 1u) * A_ROW + at;
    return vec3(a1[i + 2u * FLIP], a1[i + 1u], a1[i + 2u - 2u * FLIP]);
}
#endif

// Of a row: the patch's first and second line, four elements each.
alias Patch = mat4x4<f32>;

fn product(before: Patch, w: vec3<f32>, u: Line, v: Line) -> Patch {
    return Patch(
        before[0] + w.x * u.low + w.y * vec4(u.low.yzw, u.high.x) + w.z * vec4(u.low.zw, u.high.xy),
        before[1] + w.x * u.high + w.y * vec4(u.high.yzw, u.end.x) + w.z * vec4(u.high.zw, u.end.xy),
        before[2] + w.x * v.low + w.y * vec4(v.low.yzw, v.high.x) + w.z * vec4(v.low.zw, v.high.xy),
        before[3] + w.x * v.high + w.y * vec4(v.high.yzw, v.end.x) + w.z * vec4(v.high.zw, v.end.xy),
    );
}

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    if is_over() {
        return;
    }
    let across = (C_X + 7u) / 8u;
    let down = (C_Y + 1u) / 2u;
    let patches = BATCH * C_Z * down * across;
    let wide = (patches + 7u) / 8u;
    for (var tile = group.y * groups.x + group.x; tile < constants.tiles; tile += groups.x * groups.y) {
        let own = tile % wide * 8u + lane;
        let row = tile / wide * 8u;
        let cell = min(own, patches - 1u);
        let x = cell % across * 8u;
        let y = cell / across % down * 2u;
        let z = cell / (across * down) % C_Z;
        let n = cell / (across * down * C_Z);
        let s = span(x + START_X);
        var c0 = Patch();
        var c1 = Patch();
        var c2 = Patch();
        var c3 = Patch();
        var c4 = Patch();
        var c5 = Patch();
        var c6 = Patch();
        var c7 = Patch();
#ifdef DEEP
        // about 12 rounds a block, with three terms each
        let together = CHANNELS * max(1u, 12u / (K_Z * K_Y));
        var sums = TileSums();
        for (var first = 0u; first < OUTER; first += together) {
            let last = min(first + together, OUTER);
#else
        {
            let first = 0u;
            let last = OUTER;
#endif
            for (var outer = first; outer < last; outer += CHANNELS) {
                for (var kz = 0u; kz < K_Z; kz++) {
                    let zb = z * C_STEP_Z + START_Z + kz * K_STEP_Z;
                    let z_there = zb < B_Z;
                    for (var ky = 0u; ky < K_Y; ky++) {
                        let yu = y * C_STEP_Y + START_Y + ky * K_STEP_Y;
                        let yv = yu + C_STEP_Y;
                        let u_there = z_there & (yu < B_Y);
                        let v_there = z_there & (yv < B_Y);
                        let plane = n * B_C_OUTER + outer / CHANNELS * B_K_OUTER;
                        // lines that are not there are read as the first one
                        let u_at = plane + select(0u, (zb * B_Y + yu) * B_X, u_there);
                        let v_at = plane + select(0u, (zb * B_Y + yv) * B_X, v_there);
                        let k = outer * A_OUTER + (kz * K_Y + ky) * 3u;
#ifdef HALVES
                        {
                            let u = lines0(constants.offset_b0 + u_at, s, u_there);
                            let v = lines0(constants.offset_b0 + v_at, s, v_there);
                            c0 = product(c0, taps0(row, k), u.even, v.even);
                            c1 = product(c1, taps0(row + 1u, k), u.even, v.even);
                            c2 = product(c2, taps0(row + 2u, k), u.even, v.even);
                            c3 = product(c3, taps0(row + 3u, k), u.even, v.even);
                            c4 = product(c4, taps0(row + 4u, k), u.even, v.even);
                            c5 = product(c5, taps0(row + 5u, k), u.even, v.even);
                            c6 = product(c6, taps0(row + 6u, k), u.even, v.even);
                            c7 = product(c7, taps0(row + 7u, k), u.even, v.even);
                            // a channel that is not there is 0
                            let next = k + min(OUTER - 1u - outer, 1u) * A_OUTER;
                            c0 = product(c0, taps0(row, next), u.odd, v.odd);
                            c1 = product(c1, taps0(row + 1u, next), u.odd, v.odd);
                            c2 = product(c2, taps0(row + 2u, next), u.odd, v.odd);
                            c3 = product(c3, taps0(row + 3u, next), u.odd, v.odd);
                            c4 = product(c4, taps0(row + 4u, next), u.odd, v.odd);
                            c5 = product(c5, taps0(row + 5u, next), u.odd, v.odd);
                            c6 = product(c6, taps0(row + 6u, next), u.odd, v.odd);
                            c7 = product(c7, taps0(row + 7u, next), u.odd, v.odd);
                        }
#else
                        {
                            let u = line0(constants.offset_b0 + u_at, s, u_there);
                            let v = line0(constants.offset_b0 + v_at, s, v_there);
                            c0 = product(c0, taps0(row, k), u, v);
                            c1 = product(c1, taps0(row + 1u, k), u, v);
                            c2 = product(c2, taps0(row + 2u, k), u, v);
                            c3 = product(c3, taps0(row + 3u, k), u, v);
                            c4 = product(c4, taps0(row + 4u, k), u, v);
                            c5 = product(c5, taps0(row + 5u, k), u, v);
                            c6 = product(c6, taps0(row + 6u, k), u, v);
                            c7 = product(c7, taps0(row + 7u, k), u, v);
                        }
#endif
#ifdef TWO
                        {
                            let u = line1(constants.offset_b1 + u_at, s, u_there);
                            let v = line1(constants.offset_b1 + v_at, s, v_there);
                            c0 = product(c0, taps1(row, k), u, v);
                            c1 = product(c1, taps1(row + 1u, k), u, v);
                            c2 = product(c2, taps1(row + 2u, k), u, v);
                            c3 = product(c3, taps1(row + 3u, k), u, v);
                            c4 = product(c4, taps1(row + 4u, k), u, v);
                            c5 = product(c5, taps1(row + 5u, k), u, v);
                            c6 = product(c6, taps1(row + 6u, k), u, v);
                            c7 = product(c7, taps1(row + 7u, k), u, v);
                        }
#endif
                    }
                }
            }
#ifdef DEEP
            add_block(&sums, Tile(c0, c1, c2, c3, c4, c5, c6, c7));
            c0 = Patch();
            c1 = Patch();
            c2 = Patch();
            c3 = Patch();
            c4 = Patch();
            c5 = Patch();
            c6 = Patch();
            c7 = Patch();
#endif
        }
#ifdef DEEP
        finish_sums(&sums);
        let rows = &sums.all;
#else
        var tile_sums = Tile(c0, c1, c2, c3, c4, c5, c6, c7);
        let rows = &tile_sums;
#endif
        // one copy of what `store` does, however many elements there are
        if own < patches {
            let high_here = min(ROWS - row, 8u);
            let wide_here = min(C_X - x, 8u);
            let lines_here = min(C_Y - y, 2u);
#ifdef PAIRS
            for (var r = 0u; r < high_here; r += 2u) {
                for (var line = 0u; line < lines_here; line++) {
                    let first = (row + r) / 2u * R_ROW + n * R_OUTER + (z * C_Y + y + line) * C_X + x;
                    for (var j = 0u; j < wide_here; j++) {
                        let k = 2u * line + j / 4u;
                        store_pair(first + j, vec2((*rows)[r][k][j % 4u], (*rows)[r + 1u][k][j % 4u]));
                    }
                }
            }
#else
            for (var r = 0u; r < high_here; r++) {
                for (var line = 0u; line < lines_here; line++) {
                    let first = (row + r) * R_ROW + n * R_OUTER + (z * C_Y + y + line) * C_X + x;
                    for (var j = 0u; j < wide_here; j++) {
                        store(first + j, (*rows)[r][2u * line + j / 4u][j % 4u]);
                    }
                }
            }
#endif
        }
    }
}

// C[i,j,r,c] = Σ_k A[i,j,r,k] B[i,j,k,c], and with TWO the sum of two such products: rows are uniform among the
// invocations, columns are not.
//
// A workgroup of 8 takes tiles of 16 rows and 64 columns, an invocation 16 by 8 of one, in registers, as eight
// 4x4 blocks straight from memory. A_K, A_R: vectors of A along k, along the rows; B_K, B_C: of B along k, along
// the columns; A_ANY, B_ANY: one by one, at any stride. With several parts each tile sums a part of the depth, and the
// parts are summed by another kernel. Deterministic: terms are added in order, with DEEP, for parts of more
// than 512, in blocks (shared/tile_sums.wgsl). Bytes: A is read once for 64 columns, B once for 16 rows, C written once.

#import shared/optional_gate
#import shared/tile_sums

#permute - | DEEP
#permute A_K | A_R | A_ANY
#permute B_K | B_C | B_ANY
#permute - | TWO

struct MatmulConstants {
    rows: u32,
    columns: u32,
    depth: u32,
    // of the second batch axis
    inner: u32,
    // in all batches and parts
    tiles: u32,
    // the terms of a part, a multiple of four, and the elements of the result
    part: u32,
    elements: u32,
    row_stride: u32,
    column_stride: u32,
    // where the operands begin
    offset_a0: u32,
    offset_b0: u32,
    offset_a1: u32,
    offset_b1: u32,
    // of the two batch axes, the rows and k
    a0: vec4<u32>,
    a1: vec4<u32>,
    // of the two batch axes, k and the columns
    b0: vec4<u32>,
    b1: vec4<u32>,
}

@group(0) @binding(0) var<uniform> constants: MatmulConstants;

#ifdef A_ANY
alias A = f32;
#else
alias A = vec4<f32>;
#endif
#ifdef B_ANY
alias B = f32;
#else
alias B = vec4<f32>;
#endif

@group(0) @binding(1) var<storage, read> a0: array<A>;
@group(0) @binding(2) var<storage, read> b0: array<B>;
#ifdef TWO
@group(0) @binding(3) var<storage, read> a1: array<A>;
@group(0) @binding(4) var<storage, read> b1: array<B>;
#endif

#ifndef GENERATED
@group(0) @binding(6) var<storage, read_write> stand_in: array<f32>;

fn store(i: u32, value: f32) {
    stand_in[i] = value;
}
#endif

// Where four rows or columns are, and a place in the depth; those that are not there are the last again.
struct Four {
    at: vec4<u32>,
    along: u32,
}

fn four(first: u32, count: u32, offset: u32, stride: u32, along: u32) -> Four {
    let index = min(vec4(first) + vec4(0u, 1u, 2u, 3u), vec4(count - 1u));
    return Four(vec4(offset) + index * stride, along);
}

// Column r is A[r, k .. k + 4].
fn load_a0(rows: Four, k: u32, depth: u32) -> mat4x4<f32> {
#ifdef A_K
    let i = (rows.at + vec4(k)) / 4u;
    return mat4x4(a0[i.x], a0[i.y], a0[i.z], a0[i.w]);
#endif
#ifdef A_R
    let i = (rows.at.x + vec4(k, k + 1u, k + 2u, k + 3u) * rows.along) / 4u;
    return transpose(mat4x4(a0[i.x], a0[i.y], a0[i.z], a0[i.w]));
#endif
#ifdef A_ANY
    let i = inside(k, depth) * rows.along;
    let x = rows.at.x;
    let y = rows.at.y;
    let z = rows.at.z;
    let w = rows.at.w;
    return mat4x4(
        here(vec4(a0[x + i.x], a0[x + i.y], a0[x + i.z], a0[x + i.w]), k, depth),
        here(vec4(a0[y + i.x], a0[y + i.y], a0[y + i.z], a0[y + i.w]), k, depth),
        here(vec4(a0[z + i.x], a0[z + i.y], a0[z + i.z], a0[z + i.w]), k, depth),
        here(vec4(a0[w + i.x], a0[w + i.y], a0[w + i.z], a0[w + i.w]), k, depth),
    );
#endif
}

// Column k is B[k, four columns].
fn load_b0(columns: Four, k: u32, depth: u32) -> mat4x4<f32> {
#ifdef B_C
    let i = (columns.at.x + vec4(k, k + 1u, k + 2u, k + 3u) * columns.along) / 4u;
    return mat4x4(b0[i.x], b0[i.y], b0[i.z], b0[i.w]);
#endif
#ifdef B_K
    let i = (columns.at + vec4(k)) / 4u;
    return transpose(mat4x4(b0[i.x], b0[i.y], b0[i.z], b0[i.w]));
#endif
#ifdef B_ANY
    let i = inside(k, depth) * columns.along;
    let x = columns.at.x;
    let y = columns.at.y;
    let z = columns.at.z;
    let w = columns.at.w;
    return transpose(mat4x4(
        here(vec4(b0[x + i.x], b0[x + i.y], b0[x + i.z], b0[x + i.w]), k, depth),
        here(vec4(b0[y + i.x], b0[y + i.y], b0[y + i.z], b0[y + i.w]), k, depth),
        here(vec4(b0[z + i.x], b0[z + i.y], b0[z + i.z], b0[z + i.w]), k, depth),
        here(vec4(b0[w + i.x], b0[w + i.y], b0[w + i.z], b0[w + i.w]), k, depth),
    ));
#endif
}

#ifdef TWO
fn load_a1(rows: Four, k: u32, depth: u32) -> mat4x4<f32> {
#ifdef A_K
    let i = (rows.at + vec4(k)) / 4u;
    return mat4x4(a1[i.x], a1[i.y], a1[i.z], a1[i.w]);
#endif
#ifdef A_R
    let i = (rows.at.x + vec4(k, k + 1u, k + 2u, k + 3u) * rows.along) / 4u;
    return transpose(mat4x4(a1[i.x], a1[i.y], a1[i.z], a1[i.w]));
#endif
#ifdef A_ANY
    let i = inside(k, depth) * rows.along;
    let x = rows.at.x;
    let y = rows.at.y;
    let z = rows.at.z;
    let w = rows.at.w;
    return mat4x4(
        here(vec4(a1[x + i.x], a1[x + i.y], a1[x + i.z], a1[x + i.w]), k, depth),
        here(vec4(a1[y + i.x], a1[y + i.y], a1[y + i.z], a1[y + i.w]), k, depth),
        here(vec4(a1[z + i.x], a1[z + i.y], a1[z + i.z], a1[z + i.w]), k, depth),
        here(vec4(a1[w + i.x], a1[w + i.y], a1[w + i.z], a1[w + i.w]), k, depth),
    );
#endif
}

fn load_b1(columns: Four, k: u32, depth: u32) -> mat4x4<f32> {
#ifdef B_C
    let i = (columns.at.x + vec4(k, k + 1u, k + 2u, k + 3u) * columns.along) / 4u;
    return mat4x4(b1[i.x], b1[i.y], b1[i.z], b1[i.w]);
#endif
#ifdef B_K
    let i = (columns.at + vec4(k)) / 4u;
    return transpose(mat4x4(b1[i.x], b1[i.y], b1[i.z], b1[i.w]));
#endif
#ifdef B_ANY
    let i = inside(k, depth) * columns.along;
    let x = columns.at.x;
    let y = columns.at.y;
    let z = columns.at.z;
    let w = columns.at.w;
    return transpose(mat4x4(
        here(vec4(b1[x + i.x], b1[x + i.y], b1[x + i.z], b1[x + i.w]), k, depth),
        here(vec4(b1[y + i.x], b1[y + i.y], b1[y + i.z], b1[y + i.w]), k, depth),
        here(vec4(b1[z + i.x], b1[z + i.y], b1[z + i.z], b1[z + i.w]), k, depth),
        here(vec4(b1[w + i.x], b1[w + i.y], b1[w + i.z], b1[w + i.w]), k, depth),
    ));
#endif
}
#endif

// Four places in the depth, the last again where there are none, and zero for values from there.
fn inside(k: u32, depth: u32) -> vec4<u32> {
    return min(vec4(k, k + 1u, k + 2u, k + 3u), vec4(depth - 1u));
}

fn here(v: vec4<f32>, k: u32, depth: u32) -> vec4<f32> {
    return select(vec4(0.0), v, vec4(k, k + 1u, k + 2u, k + 3u) < vec4(depth));
}

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    if is_over() {
        return;
    }
    let rows = constants.rows;
    let columns = constants.columns;
    let depth = constants.depth;
    let row_stride = constants.row_stride;
    let column_stride = constants.column_stride;
    let wide = (columns + 63u) / 64u;
    let high = (rows + 15u) / 16u;
    for (var tile = group.y * groups.x + group.x; tile < constants.tiles; tile += groups.x * groups.y) {
        let row = tile / wide % high * 16u;
        let column = tile % wide * 64u + lane * 4u;
        let batches = constants.elements / (rows * columns);
        let batch = tile / wide / high % batches;
        let part = tile / wide / high / batches;
        let outer = vec2(batch / constants.inner, batch % constants.inner);
        let begin = part * constants.part;
        let end = min(begin + constants.part, depth);
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
#endif
#ifdef DEEP
        for (var start = begin; start < end; start += 4u * ROUNDS) {
            let stop = min(start + 4u * ROUNDS, end);
#else
        {
            let start = begin;
            let stop = end;
#endif
            let offset_a = constants.offset_a0 + dot(outer, constants.a0.xy);
            let offset_b = constants.offset_b0 + dot(outer, constants.b0.xy);
            let r0 = four(row, rows, offset_a, constants.a0.z, constants.a0.w);
            let r1 = four(row + 4u, rows, offset_a, constants.a0.z, constants.a0.w);
            let r2 = four(row + 8u, rows, offset_a, constants.a0.z, constants.a0.w);
            let r3 = four(row + 12u, rows, offset_a, constants.a0.z, constants.a0.w);
            let s0 = four(column, columns, offset_b, constants.b0.w, constants.b0.z);
            let s1 = four(column + 32u, columns, offset_b, constants.b0.w, constants.b0.z);
            for (var k = start; k < stop; k += 4u) {
                let y0 = load_b0(s0, k, depth);
                let y1 = load_b0(s1, k, depth);
                let x0 = load_a0(r0, k, depth);
                c00 += y0 * x0;
                c01 += y1 * x0;
                let x1 = load_a0(r1, k, depth);
                c10 += y0 * x1;
                c11 += y1 * x1;
                let x2 = load_a0(r2, k, depth);
                c20 += y0 * x2;
                c21 += y1 * x2;
                let x3 = load_a0(r3, k, depth);
                c30 += y0 * x3;
                c31 += y1 * x3;
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
#ifdef TWO
#ifdef DEEP
        for (var start = begin; start < end; start += 4u * ROUNDS) {
            let stop = min(start + 4u * ROUNDS, end);
#else
        {
            let start = begin;
            let stop = end;
#endif
            let offset_a = constants.offset_a1 + dot(outer, constants.a1.xy);
            let offset_b = constants.offset_b1 + dot(outer, constants.b1.xy);
            let r0 = four(row, rows, offset_a, constants.a1.z, constants.a1.w);
            let r1 = four(row + 4u, rows, offset_a, constants.a1.z, constants.a1.w);
            let r2 = four(row + 8u, rows, offset_a, constants.a1.z, constants.a1.w);
            let r3 = four(row + 12u, rows, offset_a, constants.a1.z, constants.a1.w);
            let s0 = four(column, columns, offset_b, constants.b1.w, constants.b1.z);
            let s1 = four(column + 32u, columns, offset_b, constants.b1.w, constants.b1.z);
            for (var k = start; k < stop; k += 4u) {
                let y0 = load_b1(s0, k, depth);
                let y1 = load_b1(s1, k, depth);
                let x0 = load_a1(r0, k, depth);
                c00 += y0 * x0;
                c01 += y1 * x0;
                let x1 = load_a1(r1, k, depth);
                c10 += y0 * x1;
                c11 += y1 * x1;
                let x2 = load_a1(r2, k, depth);
                c20 += y0 * x2;
                c21 += y1 * x2;
                let x3 = load_a1(r3, k, depth);
                c30 += y0 * x3;
                c31 += y1 * x3;
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
#endif
#ifdef DEEP
        finish_sums(&sums);
        let blocks = &sums.all;
#else
        var tile_sums = Tile(c00, c01, c10, c11, c20, c21, c30, c31);
        let blocks = &tile_sums;
#endif
        let base = part * constants.elements + batch * rows * columns;
        // one copy of what `store` does, however many elements there are
        let high_here = min(rows - row, 16u);
        for (var r = 0u; r < high_here; r++) {
            for (var half = 0u; half < 2u; half++) {
                let first = column + half * 32u;
                let wide_here = min(max(first, columns) - first, 4u);
                for (var c = 0u; c < wide_here; c++) {
                    store(base + (row + r) * row_stride + (first + c) * column_stride, (*blocks)[r / 4u * 2u + half][r % 4u][c]);
                }
            }
        }
    }
}

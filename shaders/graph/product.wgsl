// C[row, column] = Σ_k A[row, k] B[k, column] for each element of a batch, and with TWO the sum of two such products: the form for
// GPUs. A convolution, its adjoints, transposes and views are the same product of other operands: the generator supplies
//
//   a0(batch, row, k), b0(batch, column, k), with TWO a1 and b1:
//     four rows (columns) at k, or, in the mode BLOCK, four k at a row (column);
//   store(i, value) for the element i of the result; with STORE4 store4(i, values) for four of a row side by side; with PAIRS
//     store_pair(i, values) for two rows side by side, i counting words (shared/pairs.wgsl).
//
// A workgroup of INVOCATIONS takes a tile of TILE_ROWS by TILE_COLUMNS. It loads TILE_DEPTH of both operands into workgroup memory,
// k-major in vectors of four, so that both are read as vectors. An invocation holds 4 rows by 4 columns in registers, and with TALL 4
// more rows, half a tile further. Rows, columns and k that are not there are loaded from where
// there is something; k beyond the end count as 0, rows and columns are not stored.
//
// Terms are added in the order of k by fma; with DEEP in blocks of 16, and the blocks in order; with DEEP 2 those in blocks of 16 again.
// That does not depend on the tile.
// With several parts each workgroup sums a part of the depth, and another kernel adds the parts. Deterministic. Bytes: A is read once
// for each column of tiles, B once for each row of tiles, C written once.

#import shared/optional_gate
#ifdef PAIRS
#import shared/pairs
#endif

#permute - | TALL
#permute - | TWO
#permute STORE | STORE4 | PAIRS

override TILE_ROWS: u32 = 32u;
override TILE_COLUMNS: u32 = 32u;
override TILE_DEPTH: u32 = 16u;
override INVOCATIONS: u32 = 64u;
// how operands are loaded, and whether sums are added in blocks
override A_MODE: u32 = 0u;
override B_MODE: u32 = 0u;
override DEEP: u32 = 0u;

// Neighbours load four rows (columns) side by side; four of one k after another; blocks of four by four.
const ACROSS: u32 = 0u;
const ALONG: u32 = 1u;
const BLOCK: u32 = 2u;

const BLOCK_OF_TERMS: u32 = 16u;
const BLOCK_OF_BLOCKS: u32 = 256u;

struct ProductConstants {
    rows: u32,
    columns: u32,
    // of one product
    depth: u32,
    // the terms of a part, and the elements of the result
    part: u32,
    elements: u32,
    batches: u32,
    // in all batches and parts
    tiles: u32,
    // where a row is in the result: row / inner * outer + row % inner * stride
    row_inner: u32,
    row_outer: u32,
    row_stride: u32,
    column_inner: u32,
    column_outer: u32,
    column_stride: u32,
}

@group(0) @binding(0) var<uniform> constants: ProductConstants;

#ifndef GENERATED
@group(0) @binding(6) var<storage, read_write> stand_in: array<f32>;

fn a0(batch: u32, row: u32, k: u32) -> vec4<f32> {
    return vec4(stand_in[batch + row + k]);
}

fn a1(batch: u32, row: u32, k: u32) -> vec4<f32> {
    return a0(batch, row, k);
}

fn b0(batch: u32, column: u32, k: u32) -> vec4<f32> {
    return a0(batch, column, k);
}

fn b1(batch: u32, column: u32, k: u32) -> vec4<f32> {
    return a0(batch, column, k);
}

fn store(i: u32, value: f32) {
    stand_in[i] = value;
}

fn store4(i: u32, value: vec4<f32>) {
    store(i, value.x);
    store(i + 1u, value.y);
    store(i + 2u, value.z);
    store(i + 3u, value.w);
}
#endif

var<workgroup> tile_a: array<vec4<f32>, TILE_DEPTH * TILE_ROWS / 4u>;
var<workgroup> tile_b: array<vec4<f32>, TILE_DEPTH * TILE_COLUMNS / 4u>;

// Of the first or the second product.
fn load_a(second: bool, batch: u32, row: u32, k: u32) -> vec4<f32> {
#ifdef TWO
    if second {
        return a1(batch, row, k);
    }
#endif
    return a0(batch, row, k);
}

fn load_b(second: bool, batch: u32, column: u32, k: u32) -> vec4<f32> {
#ifdef TWO
    if second {
        return b1(batch, column, k);
    }
#endif
    return b0(batch, column, k);
}

// Four rows at k, and 0 where there is no k.
fn four_of_a(second: bool, batch: u32, row: u32, k: u32, end: u32) -> vec4<f32> {
    let there = min(row, (constants.rows - 1u) / 4u * 4u);
    return select(vec4(0.0), load_a(second, batch, there, min(k, end - 1u)), k < end);
}

fn four_of_b(second: bool, batch: u32, column: u32, k: u32, end: u32) -> vec4<f32> {
    let there = min(column, (constants.columns - 1u) / 4u * 4u);
    return select(vec4(0.0), load_b(second, batch, there, min(k, end - 1u)), k < end);
}

fn fill_a(lane: u32, second: bool, batch: u32, row: u32, k: u32, end: u32) {
    if A_MODE == BLOCK {
        for (var i = lane; i < TILE_DEPTH * TILE_ROWS / 16u; i += INVOCATIONS) {
            let down = i / (TILE_DEPTH / 4u) * 4u;
            let along = i % (TILE_DEPTH / 4u) * 4u;
            let last = constants.rows - 1u;
            let at = min(k + along, end - 4u);
            let x = load_a(second, batch, min(row + down, last), at);
            let y = load_a(second, batch, min(row + down + 1u, last), at);
            let z = load_a(second, batch, min(row + down + 2u, last), at);
            let w = load_a(second, batch, min(row + down + 3u, last), at);
            let inside = k + along < end;
            let first = (along * TILE_ROWS + down) / 4u;
            tile_a[first] = select(vec4(0.0), vec4(x.x, y.x, z.x, w.x), inside);
            tile_a[first + TILE_ROWS / 4u] = select(vec4(0.0), vec4(x.y, y.y, z.y, w.y), inside);
            tile_a[first + TILE_ROWS / 2u] = select(vec4(0.0), vec4(x.z, y.z, z.z, w.z), inside);
            tile_a[first + TILE_ROWS / 4u * 3u] = select(vec4(0.0), vec4(x.w, y.w, z.w, w.w), inside);
        }
    } else {
        for (var i = lane; i < TILE_DEPTH * TILE_ROWS / 4u; i += INVOCATIONS) {
            let along = select(i / (TILE_ROWS / 4u), i % TILE_DEPTH, A_MODE == ALONG);
            let down = select(i % (TILE_ROWS / 4u), i / TILE_DEPTH, A_MODE == ALONG);
            tile_a[along * (TILE_ROWS / 4u) + down] = four_of_a(second, batch, row + 4u * down, k + along, end);
        }
    }
}

// By the last invocations first, so that blocks of A and B are loaded by different ones.
fn fill_b(lane: u32, second: bool, batch: u32, column: u32, k: u32, end: u32) {
    if B_MODE == BLOCK {
        for (var i = INVOCATIONS - 1u - lane; i < TILE_DEPTH * TILE_COLUMNS / 16u; i += INVOCATIONS) {
            let across = i / (TILE_DEPTH / 4u) * 4u;
            let along = i % (TILE_DEPTH / 4u) * 4u;
            let last = constants.columns - 1u;
            let at = min(k + along, end - 4u);
            let x = load_b(second, batch, min(column + across, last), at);
            let y = load_b(second, batch, min(column + across + 1u, last), at);
            let z = load_b(second, batch, min(column + across + 2u, last), at);
            let w = load_b(second, batch, min(column + across + 3u, last), at);
            let inside = k + along < end;
            let first = (along * TILE_COLUMNS + across) / 4u;
            tile_b[first] = select(vec4(0.0), vec4(x.x, y.x, z.x, w.x), inside);
            tile_b[first + TILE_COLUMNS / 4u] = select(vec4(0.0), vec4(x.y, y.y, z.y, w.y), inside);
            tile_b[first + TILE_COLUMNS / 2u] = select(vec4(0.0), vec4(x.z, y.z, z.z, w.z), inside);
            tile_b[first + TILE_COLUMNS / 4u * 3u] = select(vec4(0.0), vec4(x.w, y.w, z.w, w.w), inside);
        }
    } else {
        for (var i = lane; i < TILE_DEPTH * TILE_COLUMNS / 4u; i += INVOCATIONS) {
            let along = select(i / (TILE_COLUMNS / 4u), i % TILE_DEPTH, B_MODE == ALONG);
            let across = select(i % (TILE_COLUMNS / 4u), i / TILE_DEPTH, B_MODE == ALONG);
            tile_b[along * (TILE_COLUMNS / 4u) + across] = four_of_b(second, batch, column + 4u * across, k + along, end);
        }
    }
}

fn place_of_row(row: u32) -> u32 {
    return row / constants.row_inner * constants.row_outer + row % constants.row_inner * constants.row_stride;
}

fn place_of_column(column: u32) -> u32 {
    return column / constants.column_inner * constants.column_outer + column % constants.column_inner * constants.column_stride;
}

// One of four. A choice rather than an array, which would be in slow memory.
fn of_four(i: u32, x: vec4<f32>, y: vec4<f32>, z: vec4<f32>, w: vec4<f32>) -> vec4<f32> {
    return select(select(x, y, i == 1u), select(z, w, i == 3u), i >= 2u);
}

// Four columns from `column` on of a row.
fn store_four(base: u32, row: u32, column: u32, values: vec4<f32>) {
#ifdef STORE4
    if (row < constants.rows) & (column < constants.columns) {
        store4(base + place_of_row(row) + place_of_column(column), values);
    }
#else
    for (var i = 0u; i < 4u; i++) {
        let there = column + i;
        if (row < constants.rows) & (there < constants.columns) {
            let value = select(select(values.x, values.y, i == 1u), select(values.z, values.w, i == 3u), i >= 2u);
            store(base + place_of_row(row) + place_of_column(there), value);
        }
    }
#endif
}

#ifdef PAIRS
// Four columns of an even row and the one after it.
fn store_pairs(base: u32, row: u32, column: u32, even: vec4<f32>, odd: vec4<f32>) {
    for (var i = 0u; i < 4u; i++) {
        let there = column + i;
        if (row < constants.rows) & (there < constants.columns) {
            let x = select(select(even.x, even.y, i == 1u), select(even.z, even.w, i == 3u), i >= 2u);
            let y = select(select(odd.x, odd.y, i == 1u), select(odd.z, odd.w, i == 3u), i >= 2u);
            store_pair(base + place_of_row(row / 2u) + place_of_column(there), vec2(x, y));
        }
    }
}
#endif

@compute @workgroup_size(INVOCATIONS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    if is_over() {
        return;
    }
    let lanes_across = TILE_COLUMNS / 4u;
    let own_row = lane / lanes_across;
    let own_column = lane % lanes_across;
    let wide = (constants.columns + TILE_COLUMNS - 1u) / TILE_COLUMNS;
    let high = (constants.rows + TILE_ROWS - 1u) / TILE_ROWS;
    for (var tile = group.y * groups.x + group.x; tile < constants.tiles; tile += groups.x * groups.y) {
        let column = tile % wide * TILE_COLUMNS;
        let row = tile / wide % high * TILE_ROWS;
        let batch = tile / wide / high % constants.batches;
        let part = tile / wide / high / constants.batches;
        let begin = part * constants.part;
        let end = min(begin + constants.part, constants.depth);
#ifdef TWO
        // whole blocks, so that the second product begins a block whatever the tile
        let rounds = (end - begin + BLOCK_OF_TERMS - 1u) / BLOCK_OF_TERMS * (BLOCK_OF_TERMS / TILE_DEPTH);
#else
        let rounds = (end - begin + TILE_DEPTH - 1u) / TILE_DEPTH;
#endif
        var c0 = vec4<f32>();
        var c1 = vec4<f32>();
        var c2 = vec4<f32>();
        var c3 = vec4<f32>();
        var s0 = vec4<f32>();
        var s1 = vec4<f32>();
        var s2 = vec4<f32>();
        var s3 = vec4<f32>();
        var t0 = vec4<f32>();
        var t1 = vec4<f32>();
        var t2 = vec4<f32>();
        var t3 = vec4<f32>();
#ifdef TALL
        var c4 = vec4<f32>();
        var c5 = vec4<f32>();
        var c6 = vec4<f32>();
        var c7 = vec4<f32>();
        var s4 = vec4<f32>();
        var s5 = vec4<f32>();
        var s6 = vec4<f32>();
        var s7 = vec4<f32>();
        var t4 = vec4<f32>();
        var t5 = vec4<f32>();
        var t6 = vec4<f32>();
        var t7 = vec4<f32>();
#endif
#ifdef TWO
        let all_rounds = 2u * rounds;
#else
        let all_rounds = rounds;
#endif
        for (var round = 0u; round < all_rounds; round++) {
            let second = round >= rounds;
            let first = select(round, round - rounds, second) * TILE_DEPTH;
            fill_a(lane, second, batch, row, begin + first, end);
            fill_b(lane, second, batch, column, begin + first, end);
            workgroupBarrier();
            for (var k = 0u; k < TILE_DEPTH; k++) {
                let x = tile_a[k * (TILE_ROWS / 4u) + own_row];
                let y = tile_b[k * (TILE_COLUMNS / 4u) + own_column];
                c0 = fma(vec4(x.x), y, c0);
                c1 = fma(vec4(x.y), y, c1);
                c2 = fma(vec4(x.z), y, c2);
                c3 = fma(vec4(x.w), y, c3);
#ifdef TALL
                let z = tile_a[k * (TILE_ROWS / 4u) + TILE_ROWS / 8u + own_row];
                c4 = fma(vec4(z.x), y, c4);
                c5 = fma(vec4(z.y), y, c5);
                c6 = fma(vec4(z.z), y, c6);
                c7 = fma(vec4(z.w), y, c7);
#endif
            }
            workgroupBarrier();
            if (DEEP > 0u) & ((first + TILE_DEPTH) % BLOCK_OF_TERMS == 0u) {
                s0 += c0;
                s1 += c1;
                s2 += c2;
                s3 += c3;
                c0 = vec4<f32>();
                c1 = vec4<f32>();
                c2 = vec4<f32>();
                c3 = vec4<f32>();
#ifdef TALL
                s4 += c4;
                s5 += c5;
                s6 += c6;
                s7 += c7;
                c4 = vec4<f32>();
                c5 = vec4<f32>();
                c6 = vec4<f32>();
                c7 = vec4<f32>();
#endif
            }
            if (DEEP > 1u) & ((first + TILE_DEPTH) % BLOCK_OF_BLOCKS == 0u) {
                t0 += s0;
                t1 += s1;
                t2 += s2;
                t3 += s3;
                s0 = vec4<f32>();
                s1 = vec4<f32>();
                s2 = vec4<f32>();
                s3 = vec4<f32>();
#ifdef TALL
                t4 += s4;
                t5 += s5;
                t6 += s6;
                t7 += s7;
                s4 = vec4<f32>();
                s5 = vec4<f32>();
                s6 = vec4<f32>();
                s7 = vec4<f32>();
#endif
            }
        }
        c0 = t0 + (s0 + c0);
        c1 = t1 + (s1 + c1);
        c2 = t2 + (s2 + c2);
        c3 = t3 + (s3 + c3);
#ifdef TALL
        c4 = t4 + (s4 + c4);
        c5 = t5 + (s5 + c5);
        c6 = t6 + (s6 + c6);
        c7 = t7 + (s7 + c7);
#endif
        let base = part * constants.elements + batch * constants.rows * constants.columns;
        let stored_row = row + 4u * own_row;
        let stored_column = column + 4u * own_column;
#ifdef PAIRS
        store_pairs(base, stored_row, stored_column, c0, c1);
        store_pairs(base, stored_row + 2u, stored_column, c2, c3);
#ifdef TALL
        store_pairs(base, stored_row + TILE_ROWS / 2u, stored_column, c4, c5);
        store_pairs(base, stored_row + TILE_ROWS / 2u + 2u, stored_column, c6, c7);
#endif
#else
        // one copy of what is stored: operations that follow may be many
#ifdef TALL
        for (var i = 0u; i < 8u; i++) {
            let top = of_four(i, c0, c1, c2, c3);
            let bottom = of_four(i - 4u, c4, c5, c6, c7);
            store_four(base, stored_row + i / 4u * (TILE_ROWS / 2u) + i % 4u, stored_column, select(top, bottom, i >= 4u));
        }
#else
        for (var i = 0u; i < 4u; i++) {
            store_four(base, stored_row + i, stored_column, of_four(i, c0, c1, c2, c3));
        }
#endif
#endif
    }
}

// y = A x for the flagged Laplacian A = -Δ·h², five points in two dimensions and seven in three:
//
//     y_i = d_i x_i - Σ x_j over the fluid neighbours j of i
//
// where d_i counts the neighbours that are not solid. A cell that is not fluid gives 0. The code of a cell has a bit
// for each neighbour that is fluid (z - 1, z + 1, y - 1, y + 1, x - 1, x + 1 from the lowest on) and d_i from bit 6 on, so
// no coordinates are needed: neighbours are at fixed distances in memory. DOT: and partial sums of ⟨x, y⟩.
//
// Workgroups and cells of four elements: shared/blocks.wgsl. Deterministic. Bytes an element: 8 and 2 for the code.

#import shared/blocks
#ifdef DOT
#import shared/block_sums
#endif

#permute - | DOT

// from row to row and from plane to plane, in elements
override STRIDE_Y: u32 = 4u;
override STRIDE_Z: u32 = 16u;

@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;
// two codes a word
@group(0) @binding(4) var<storage, read> codes: array<vec2<u32>>;

// The cell, or another where there is none: what is not there is not used.
fn cell(i: u32, count: u32) -> vec4<f32> {
    return x[min(i, count - 1u)];
}

// The four elements from 4 i + distance on.
fn after(i: u32, distance: u32, count: u32) -> vec4<f32> {
    let low = cell(i + distance / 4u, count);
    if distance % 4u == 0u {
        return low;
    }
    let high = cell(i + distance / 4u + 1u, count);
    if distance % 4u == 1u {
        return vec4(low.yzw, high.x);
    }
    if distance % 4u == 2u {
        return vec4(low.zw, high.xy);
    }
    return vec4(low.w, high.xyz);
}

// The four elements from 4 i - distance on.
fn before(i: u32, distance: u32, count: u32) -> vec4<f32> {
    let high = cell(i - distance / 4u, count);
    if distance % 4u == 0u {
        return high;
    }
    let low = cell(i - distance / 4u - 1u, count);
    if distance % 4u == 1u {
        return vec4(low.w, high.xyz);
    }
    if distance % 4u == 2u {
        return vec4(low.zw, high.xy);
    }
    return vec4(low.yzw, high.x);
}

// The values of the neighbours that a bit of the codes tells are fluid.
fn fluid(code: vec4<u32>, bit: u32, values: vec4<f32>) -> vec4<f32> {
    return select(vec4(0.0), values, (code & vec4(bit)) != vec4(0u));
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let c = constants;
    let own = own_cells(c, group.x, lane);
    var sum = vec4(0.0);
    for (var i = own.x; i < own.y; i += 8u) {
        let words = codes[i];
        let code = vec4(words.x & 0xffffu, words.x >> 16u, words.y & 0xffffu, words.y >> 16u);
        let here = x[i];
        var around = fluid(code, 16u, vec4(cell(i - 1u, c.count).w, here.xyz));
        around += fluid(code, 32u, vec4(here.yzw, cell(i + 1u, c.count).x));
        around += fluid(code, 4u, before(i, STRIDE_Y, c.count));
        around += fluid(code, 8u, after(i, STRIDE_Y, c.count));
        if STRIDE_Z > 0u {
            around += fluid(code, 1u, before(i, STRIDE_Z, c.count));
            around += fluid(code, 2u, after(i, STRIDE_Z, c.count));
        }
        let d = code >> vec4(6u);
        // not 0 times what may be infinite
        let product = select(vec4(0.0), vec4<f32>(d) * here - around, d != vec4(0u));
        y[i] = product;
        sum += select(vec4(0.0), here * product, d != vec4(0u));
    }
#ifdef DOT
    leave_sums(c, group.x, lane, vec4(dot(sum, vec4(1.0)), 0.0, 0.0, 0.0));
#endif
}

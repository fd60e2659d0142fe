// The rows of A for four cells along x at a time, where weights say what flags cannot (shared/stencil.wgsl):
//
//     (A x)_i = d_i x_i - Σ w_ij x_j over the neighbours j of i
//
// Arrays of `constants.count` cells of four each: d; the weights of the faces below along x; along y; along z, if there are planes. The face
// above a cell is the one below the next, and what is read beyond an array is 0: the first row, or plane, of the next array, or
// what follows the last. LINKED: a cell of which d is negative has further neighbours: its element of `links` says where a list of
// pairs begins, an index, with the highest bit set in the last pair, and a weight. A kernel says with `four` what cells hold.
// COARSE: one level's of several. 12 or 16 bytes a cell.

#import shared/shifts

@group(0) @binding(4) var<storage, read> weights: array<vec4<f32>>;
#ifdef LINKED
@group(0) @binding(6) var<storage, read> links: array<u32>;
#endif

// From the first of the arrays on.
fn weight_at(i: u32) -> vec4<f32> {
#ifdef COARSE
    return weights[constants.weights + i];
#else
    return weights[i];
#endif
}

fn row_of(i: u32) -> vec4<f32> {
    return weight_at(i);
}

fn diagonals(row: vec4<f32>) -> vec4<f32> {
    return abs(row);
}

fn weight(k: u32, i: u32) -> vec4<f32> {
    return weight_at(k * constants.count + i);
}

// Those of the four cells from 4 i + distance on.
fn weight_above(k: u32, i: u32, distance: i32) -> vec4<f32> {
    let at = i + u32(distance >> 2u);
    let low = weight(k, at);
#ifdef COARSE
    return low;
#else
    if (distance & 3) == 0 {
        return low;
    }
    let high = weight(k, at + 1u);
    if (distance & 3) == 1 {
        return vec4(low.yzw, high.x);
    }
    if (distance & 3) == 2 {
        return vec4(low.zw, high.xy);
    }
    return vec4(low.w, high.xyz);
#endif
}

// Not 0 times what may be infinite.
fn weighted(w: vec4<f32>, values: vec4<f32>) -> vec4<f32> {
    return select(vec4(0.0), w * values, w != vec4(0.0));
}

#ifdef LINKED
// Where the list of a cell begins.
fn list_of(cell: u32) -> u32 {
#ifdef COARSE
    return links[constants.links + cell];
#else
    return links[cell];
#endif
}

fn element(i: u32) -> f32 {
    let values = four(i / 4u);
    let low = select(values.x, values.y, i % 4u == 1u);
    let high = select(values.z, values.w, i % 4u == 3u);
    return select(low, high, i % 4u >= 2u);
}

// Σ over the lists of the cells that have one. One loop for all four: neighbouring invocations go through their lists together,
// whichever of their cells has one.
fn further(i: u32, row: vec4<f32>) -> vec4<f32> {
    var sum = vec4(0.0);
    let bits = select(vec4(0u), vec4(1u, 2u, 4u, 8u), row < vec4(0.0));
    // cells still to come, the one at hand, and where in its list, 0 if not begun
    var rest = bits.x | bits.y | bits.z | bits.w;
    var at = 0u;
    while rest != 0u {
        let k = firstTrailingBit(rest);
        if at == 0u {
            at = list_of(4u * i + k);
        }
        let index = links[at];
        let value = bitcast<f32>(links[at + 1u]) * element(index & 0x7fffffffu);
        sum += select(vec4(0.0), vec4(value), vec4(0u, 1u, 2u, 3u) == vec4(k));
        at += 2u;
        if (index >> 31u) != 0u {
            rest &= rest - 1u;
            at = 0u;
        }
    }
    return sum;
}
#endif

// Σ over the neighbours, of cells that hold `here`.
fn around(i: u32, row: vec4<f32>, here: vec4<f32>) -> vec4<f32> {
    let left = weight(1u, i);
    var sum = weighted(left, vec4(four(within(i32(i) - 1)).w, here.xyz));
    sum += weighted(vec4(left.yzw, weight(1u, i + 1u).x), vec4(here.yzw, four(within(i32(i) + 1)).x));
    sum += weighted(weight(2u, i), shifted(i, -stride_y())) + weighted(weight_above(2u, i, stride_y()), shifted(i, stride_y()));
    if stride_z() > 0 {
        sum += weighted(weight(3u, i), shifted(i, -stride_z())) + weighted(weight_above(3u, i, stride_z()), shifted(i, stride_z()));
    }
#ifdef LINKED
    sum += further(i, row);
#endif
    return sum;
}

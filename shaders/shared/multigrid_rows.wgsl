// The row of A for a cell of a coarser level:
//
//     (A x)_i = d_i x_i - Σ w_ij x_j over the neighbours j of i
//
// d_i = 0 where there is no unknown. A kernel says with `value` what the x_j of its sums are.

#import shared/multigrid

// for the cell of the same coordinates, the weights between it and the one below along x, y and z, and d. There is one
// more along each axis than there are cells.
@group(0) @binding(3) var<storage, read> weights: array<vec4<f32>>;

fn weights_of(l: Level, p: vec3<u32>) -> vec4<f32> {
    return weights[l.weights + (p.z * (l.ny + 1u) + p.y) * (l.nx + 1u) + p.x];
}

fn diagonal(l: Level, p: vec3<u32>) -> f32 {
    return weights_of(l, p).w;
}

// w times the value of a neighbour, which may not be there.
fn weighted(l: Level, w: f32, p: vec3<u32>) -> f32 {
    var y = 0.0;
    if (w > 0.0) & is_within(l, p) {
        y = w * value(l, p);
    }
    return y;
}

// Σ w_ij x_j.
fn around(l: Level, p: vec3<u32>) -> f32 {
    let low = weights_of(l, p);
    let right = vec3(p.x + 1u, p.y, p.z);
    var sum = weighted(l, low.x, vec3(p.x - 1u, p.y, p.z)) + weighted(l, weights_of(l, right).x, right);
    let up = vec3(p.x, p.y + 1u, p.z);
    sum += weighted(l, low.y, vec3(p.x, p.y - 1u, p.z)) + weighted(l, weights_of(l, up).y, up);
    if l.nz > 1u {
        let behind = vec3(p.x, p.y, p.z + 1u);
        sum += weighted(l, low.z, vec3(p.x, p.y, p.z - 1u)) + weighted(l, weights_of(l, behind).z, behind);
    }
    return sum;
}

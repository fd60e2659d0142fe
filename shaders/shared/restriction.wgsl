// Restriction of the residual, B = Pᵀ (b - A x), the adjoint of shared/prolongation.wgsl: a coarse cell gathers from its
// own cells what they do not leave to others, and a quarter from those beyond each face that it is connected through. The
// residual is 0 on black cells, which were relaxed last: they are not visited. A kernel says with `residual` what it is at a
// red cell, which is 0 where there is no unknown.

#import shared/multigrid

// From a cell, which may not be there.
fn part(l: Level, p: vec3<u32>, share: f32) -> f32 {
    var y = 0.0;
    if is_within(l, p) & (share > 0.0) {
        y = share * residual(l, p);
    }
    return y;
}

fn restricted(l: Level, coarse: vec3<u32>) -> f32 {
    let p = 2u * coarse;
    // what the first cell and the last say of the faces below and above; of a face above that has no cells it does not matter
    let below = code_of(l, index_of(l, p));
    let above = code_of(l, index_of(l, min(p + vec3(1u), vec3(l.nx, l.ny, l.nz) - vec3(1u))));
    let bits = vec3(NEAR_X, NEAR_Y, NEAR_Z);
    let t = select(vec3(0.0), vec3(0.25), (vec3(below) & bits) != vec3(0u));
    let u = select(vec3(0.0), vec3(0.25), (vec3(above) & bits) != vec3(0u));
    var sum = part(l, p, 1.0 - t.x - t.y - t.z) + part(l, vec3(p.x + 1u, p.y + 1u, p.z), 1.0 - u.x - u.y - t.z);
    sum += part(l, vec3(p.x - 1u, p.y + 1u, p.z), t.x) + part(l, vec3(p.x + 2u, p.y, p.z), u.x);
    sum += part(l, vec3(p.x + 1u, p.y - 1u, p.z), t.y) + part(l, vec3(p.x, p.y + 2u, p.z), u.y);
    if l.nz > 1u {
        sum += part(l, vec3(p.x + 1u, p.y, p.z + 1u), 1.0 - u.x - t.y - u.z) + part(l, vec3(p.x, p.y + 1u, p.z + 1u), 1.0 - t.x - u.y - u.z);
        sum += part(l, vec3(p.x - 1u, p.y, p.z + 1u), t.x) + part(l, vec3(p.x + 2u, p.y + 1u, p.z + 1u), u.x);
        sum += part(l, vec3(p.x, p.y - 1u, p.z + 1u), t.y) + part(l, vec3(p.x + 1u, p.y + 2u, p.z + 1u), u.y);
        sum += part(l, vec3(p.x + 1u, p.y, p.z - 1u), t.z) + part(l, vec3(p.x, p.y + 1u, p.z - 1u), t.z);
        sum += part(l, vec3(p.x, p.y, p.z + 2u), u.z) + part(l, vec3(p.x + 1u, p.y + 1u, p.z + 2u), u.z);
    }
    return sum;
}

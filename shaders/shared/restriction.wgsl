// Restriction, b = Pᵀ r: see shared/transfers.wgsl.

#import shared/transfers

// What one neighbour of a child, across the face of the parent, leaves to it.
fn from_beyond(l: Level, p: vec3<u32>, odd: vec3<u32>, axis: vec3<u32>, at: u32) -> f32 {
    let q = select(p - axis, p + axis, any((odd & axis) != vec3(0u)));
    var sum = 0.0;
    if all(q < sizes_of(l)) & all(axis <= halves_of(l)) {
        let i = index_of(l, q);
        let t = transfer(l, i, odd ^ axis);
        let share = dot(t.xyz, vec3<f32>(axis));
        // not 0 times what may be infinite
        sum = select(0.0, share * load(at + i), share > 0.0);
    }
    return sum;
}

// (Pᵀ r) of a coarse unknown, r from `at` on.
fn restricted(l: Level, c: Level, job: u32, at: u32) -> f32 {
    var sum = 0.0;
    var own = c.dense + job - jobs_of(c);
    if job < jobs_of(c) {
        let place = place_of(c, job);
        own = index_of(c, place);
        let halves = halves_of(l);
        let first = place + place * halves;
        for (var k = 0u; k < corners_of(l); k++) {
            let odd = (vec3(k) >> vec3(0u, 1u, 2u)) & vec3(1u);
            let p = first + odd;
            if any(odd > halves) | any(p >= sizes_of(l)) {
                continue;
            }
            let i = index_of(l, p);
            // of an axis that is not halved, whether the place is odd does not matter
            let t = transfer(l, i, odd);
            sum += select(0.0, t.w * load(at + i), t.w > 0.0);
            sum += from_beyond(l, p, odd, vec3(1u, 0u, 0u), at);
            sum += from_beyond(l, p, odd, vec3(0u, 1u, 0u), at);
            if l.nz > 1u {
                sum += from_beyond(l, p, odd, vec3(0u, 0u, 1u), at);
            }
        }
    }
#ifdef LINKED
    if c.restriction_links != 0u {
        let list = links[c.restriction_links + own];
        if list != 0u {
            sum += listed(list, at);
        }
    }
#endif
    return sum;
}

// Where the result of a job is.
fn unknown_of(c: Level, job: u32) -> u32 {
    var own = c.dense + job - jobs_of(c);
    if job < jobs_of(c) {
        own = index_of(c, place_of(c, job));
    }
    return own;
}

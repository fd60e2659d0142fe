// Prolongation, x += P e: see shared/transfers.wgsl. A kernel adds to x with `add`.

#import shared/transfers

// e of a coarse cell, if there is one.
fn beside(c: Level, q: vec3<u32>, e: u32) -> f32 {
    let inside = all(q < sizes_of(c));
    return select(0.0, load(e + index_of(c, select(vec3(0u), q, vec3(inside)))), inside);
}

// x += P e for the children of a coarse cell, or for an unknown of which a list says P; e and x from there on.
fn correct(l: Level, c: Level, job: u32, e: u32, x: u32) {
    if job >= jobs_of(c) {
#ifdef LINKED
        let at = l.prolongation_links + 1u + 2u * (job - jobs_of(c));
        add(x + links[at], listed(links[at + 1u], e));
#endif
        return;
    }
    let place = place_of(c, job);
    let halves = halves_of(l);
    let first = place + place * halves;
    let here = load(e + index_of(c, place));
    let x_axis = vec3(1u, 0u, 0u);
    let y_axis = vec3(0u, 1u, 0u);
    let z_axis = vec3(0u, 0u, 1u);
    let low = vec3(beside(c, place - x_axis, e), beside(c, place - y_axis, e), beside(c, place - z_axis, e));
    let high = vec3(beside(c, place + x_axis, e), beside(c, place + y_axis, e), beside(c, place + z_axis, e));
    for (var k = 0u; k < corners_of(l); k++) {
        let odd = (vec3(k) >> vec3(0u, 1u, 2u)) & vec3(1u);
        let p = first + odd;
        if any(odd > halves) | any(p >= sizes_of(l)) {
            continue;
        }
        let i = index_of(l, p);
        let t = transfer(l, i, odd);
        let near = select(low, high, odd != vec3(0u));
        let parts = select(vec4(0.0), t * vec4(near, here), t != vec4(0.0));
        if t.w >= 0.0 {
            add(x + i, dot(parts, vec4(1.0)));
        }
    }
}

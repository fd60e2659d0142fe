// The kernels of a step of smoke. Lengths are in cells, times in steps, z is up; in two dimensions y is one cell deep.
//
// Densities are in the centres of cells. Velocities are on their faces: component a of cell p is that of the face between
// p - e_a and p. Between walls and the solid they are 0; the high z face of the domain is open. All arrays of
// velocities have the size of the domain and one more along each axis, so that they hold the high faces.
//
// The workgroups are rows: x by 64, and y and z one by one.

override NX: u32 = 1u;
override NY: u32 = 1u;
override NZ: u32 = 1u;
// the acceleration at density 1
override BUOYANCY: f32 = 0.0;
// the disc at the bottom where the density is 1
override SOURCE_RADIUS: f32 = 0.0;
override SOURCE_HEIGHT: f32 = 0.0;

// 1 for solid, else 0
@group(0) @binding(0) var<storage, read> solid: array<u32>;
// what the step begins with
@group(0) @binding(1) var<storage, read> density: array<f32>;
@group(0) @binding(2) var<storage, read> velocity: array<f32>;
// what it ends with
@group(0) @binding(3) var<storage, read_write> next_density: array<f32>;
@group(0) @binding(4) var<storage, read_write> next_velocity: array<f32>;
@group(0) @binding(5) var<storage, read> pressure: array<f32>;
// less the divergence of next_velocity
@group(0) @binding(6) var<storage, read_write> convergence: array<f32>;

fn size() -> vec3<u32> {
    return vec3(NX, NY, NZ);
}

// 1 along axis a.
fn unit(a: u32) -> vec3<u32> {
    return select(vec3(0u), vec3(1u), vec3(a) == vec3(0u, 1u, 2u));
}

fn cell(p: vec3<u32>) -> u32 {
    return (p.z * NY + p.y) * NX + p.x;
}

fn face(a: u32, p: vec3<u32>) -> u32 {
    return ((a * (NZ + 1u) + p.z) * (NY + 1u) + p.y) * (NX + 1u) + p.x;
}

// Whether anything flows through a face.
fn is_open(a: u32, p: vec3<u32>) -> bool {
    if any(p >= size() + unit(a)) || p[a] == 0u {
        return false;
    }
    if solid[cell(p - unit(a))] != 0u {
        return false;
    }
    if p[a] == size()[a] {
        return a == 2u;
    }
    return solid[cell(p)] == 0u;
}

// The eight elements around a place, between which its value is interpolated.
struct Around {
    low: vec3<u32>,
    high: vec3<u32>,
    weight: vec3<f32>,
}

// Of elements 0 to `last` along each axis, the first of them at `first`; beyond, values are those of the nearest place.
fn around(at: vec3<f32>, first: vec3<f32>, last: vec3<u32>) -> Around {
    let place = clamp(at - first, vec3(0.0), vec3<f32>(last));
    let low = vec3<u32>(place);
    return Around(low, min(low + 1u, last), place - vec3<f32>(low));
}

fn interpolate(low: vec4<f32>, high: vec4<f32>, weight: vec3<f32>) -> f32 {
    let z = mix(low, high, weight.z);
    let y = mix(z.xy, z.zw, weight.y);
    return mix(y.x, y.y, weight.x);
}

fn component(a: u32, at: vec3<f32>) -> f32 {
    let i = around(at, 0.5 - 0.5 * vec3<f32>(unit(a)), size() - 1u + unit(a));
    let low = vec4(
        velocity[face(a, vec3(i.low.x, i.low.y, i.low.z))],
        velocity[face(a, vec3(i.high.x, i.low.y, i.low.z))],
        velocity[face(a, vec3(i.low.x, i.high.y, i.low.z))],
        velocity[face(a, vec3(i.high.x, i.high.y, i.low.z))],
    );
    let high = vec4(
        velocity[face(a, vec3(i.low.x, i.low.y, i.high.z))],
        velocity[face(a, vec3(i.high.x, i.low.y, i.high.z))],
        velocity[face(a, vec3(i.low.x, i.high.y, i.high.z))],
        velocity[face(a, vec3(i.high.x, i.high.y, i.high.z))],
    );
    return interpolate(low, high, i.weight);
}

// Where what is now at a place was a step ago, by the midpoint rule.
fn origin(at: vec3<f32>) -> vec3<f32> {
    let half = at - 0.5 * vec3(component(0u, at), component(1u, at), component(2u, at));
    return at - vec3(component(0u, half), component(1u, half), component(2u, half));
}

@compute @workgroup_size(64)
fn advect_density(@builtin(global_invocation_id) p: vec3<u32>) {
    if any(p >= size()) {
        return;
    }
    let at = vec3<f32>(p) + 0.5;
    let i = around(origin(at), vec3(0.5), size() - 1u);
    let low = vec4(
        density[cell(vec3(i.low.x, i.low.y, i.low.z))],
        density[cell(vec3(i.high.x, i.low.y, i.low.z))],
        density[cell(vec3(i.low.x, i.high.y, i.low.z))],
        density[cell(vec3(i.high.x, i.high.y, i.low.z))],
    );
    let high = vec4(
        density[cell(vec3(i.low.x, i.low.y, i.high.z))],
        density[cell(vec3(i.high.x, i.low.y, i.high.z))],
        density[cell(vec3(i.low.x, i.high.y, i.high.z))],
        density[cell(vec3(i.high.x, i.high.y, i.high.z))],
    );
    let from_middle = at.xy - 0.5 * vec2<f32>(size().xy);
    let is_source = at.z < SOURCE_HEIGHT && length(from_middle) < SOURCE_RADIUS;
    let value = select(interpolate(low, high, i.weight), 1.0, is_source);
    next_density[cell(p)] = select(value, 0.0, solid[cell(p)] != 0u);
}

// With the force that next_density brings.
@compute @workgroup_size(64)
fn advect_velocity(@builtin(global_invocation_id) p: vec3<u32>) {
    for (var a = 0u; a < 3u; a++) {
        if !is_open(a, p) {
            continue;
        }
        var value = component(a, origin(vec3<f32>(p) + 0.5 - 0.5 * vec3<f32>(unit(a))));
        if a == 2u {
            let above = min(p.z, NZ - 1u);
            value += BUOYANCY * 0.5 * (next_density[cell(p - unit(a))] + next_density[cell(vec3(p.xy, above))]);
        }
        next_velocity[face(a, p)] = value;
    }
}

@compute @workgroup_size(64)
fn converge(@builtin(global_invocation_id) p: vec3<u32>) {
    if any(p >= size()) {
        return;
    }
    var sum = 0.0;
    for (var a = 0u; a < 3u; a++) {
        sum += next_velocity[face(a, p)] - next_velocity[face(a, p + unit(a))];
    }
    convergence[cell(p)] = select(sum, 0.0, solid[cell(p)] != 0u);
}

// Takes the gradient of the pressure from next_velocity; beyond the open face the pressure is 0.
@compute @workgroup_size(64)
fn accelerate(@builtin(global_invocation_id) p: vec3<u32>) {
    for (var a = 0u; a < 3u; a++) {
        if !is_open(a, p) {
            continue;
        }
        var above = 0.0;
        if p[a] < size()[a] {
            above = pressure[cell(p)];
        }
        next_velocity[face(a, p)] -= above - pressure[cell(p - unit(a))];
    }
}

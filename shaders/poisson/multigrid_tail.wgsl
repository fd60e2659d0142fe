// The coarsest levels of a multigrid cycle, from the first of at most 512 cells on, in one workgroup: a list of operations, which are those of
// multigrid_smooth.wgsl, multigrid_restrict.wgsl and multigrid_prolong.wgsl, and the exact solution on the coarsest level, x = A⁺ b. ALONE: there is no
// finer level.
//
// Deterministic. A barrier after each operation. Bytes: those of the same operations one by one, from the cache.

#import shared/gate

// gpu::Target::lanes_of_tail
override LANES: u32 = 256u;

struct Operation {
    // 0: start; 1: step; 2: residual; 3: restrict; 4: prolong; 5: solve
    kind: u32,
    level: u32,
    // where the vector that is read begins, and the one that is written
    x: u32,
    y: u32,
    factor: f32,
    second: f32,
}

struct TailConstants {
    // the first, and the end
    first: u32,
    end: u32,
    // ALONE: the cells, and where the right-hand side and the solution begin; bit 0 of `ends`: it is taken first, bit 1: that is left at last
    cells: u32,
    b: u32,
    x: u32,
    ends: u32,
}

@group(0) @binding(0) var<uniform> constants: TailConstants;
@group(0) @binding(1) var<storage, read> operations: array<Operation>;
@group(0) @binding(2) var<storage, read> levels: array<Level>;
@group(0) @binding(4) var<storage, read> weights: array<f32>;
@group(0) @binding(5) var<storage, read_write> vectors: array<f32>;

#permute WEIGHTS | LINKED WEIGHTS
#permute - | ALONE

#ifdef ALONE
@group(0) @binding(3) var<storage, read> rhs: array<f32>;
@group(0) @binding(7) var<storage, read_write> solution: array<f32>;
#endif

#import shared/restriction
#import shared/prolongation

fn load(i: u32) -> f32 {
    return vectors[i];
}

fn add(i: u32, correction: f32) {
    vectors[i] += correction;
}

fn transfer_of(i: u32) -> vec4<f32> {
    let at = 4u * i;
    return vec4(weights[at], weights[at + 1u], weights[at + 2u], weights[at + 3u]);
}

// What is multiplied by a weight: x, or, to start, D⁻¹ b.
fn value(l: Level, j: u32, x: u32, start: bool) -> f32 {
    let v = vectors[x + j];
    return select(v, v / abs(weights[l.weights + j]), start);
}

// Of array k the weight of a cell, times what another holds.
fn part(l: Level, k: u32, cell: u32, j: u32, x: u32, start: bool) -> f32 {
    let w = weights[l.weights + k * l.count + cell];
    var sum = 0.0;
    if w != 0.0 {
        sum = w * value(l, j, x, start);
    }
    return sum;
}

// Σ w_ij x_j.
fn neighbours(l: Level, i: u32, x: u32, start: bool) -> f32 {
    var sum = part(l, 1u, i, i - 1u, x, start) + part(l, 1u, i + 1u, i + 1u, x, start);
    sum += part(l, 2u, i, i - l.pitch, x, start) + part(l, 2u, i + l.pitch, i + l.pitch, x, start);
    if l.nz > 1u {
        sum += part(l, 3u, i, i - l.plane, x, start) + part(l, 3u, i + l.plane, i + l.plane, x, start);
    }
#ifdef LINKED
    if weights[l.weights + i] < 0.0 {
        var at = links[l.row_links + i];
        var last = false;
        while !last {
            let index = links[at];
            sum += bitcast<f32>(links[at + 1u]) * value(l, index & 0x7fffffffu, x, start);
            last = (index >> 31u) != 0u;
            at += 2u;
        }
    }
#endif
    return sum;
}

fn smooth_level(l: Level, o: Operation, lane: u32) {
    for (var i = lane; i < l.count; i += LANES) {
        let d = abs(weights[l.weights + i]);
        var result = 0.0;
        if d != 0.0 {
            let around = neighbours(l, i, o.x, o.kind == 0u);
            let here = vectors[o.x + i];
            let rest = vectors[l.b + i] + around;
            result = rest - d * here;
            if o.kind == 1u {
                result = here + o.factor * (rest / d - here);
            }
            if o.kind == 0u {
                result = (o.factor * here + o.second * around) / d;
            }
        }
        vectors[o.y + i] = result;
    }
}

// Of the unknowns that have edges: their number, then each one, then A⁺.
fn solve(l: Level, o: Operation, lane: u32) {
    let table = 4u * l.transfers + 1u;
    let count = u32(weights[table - 1u]);
    for (var i = lane; i < count; i += LANES) {
        var sum = 0.0;
        for (var first = 0u; first < count; first += 16u) {
            var block = 0.0;
            for (var j = first; j < min(first + 16u, count); j++) {
                // A⁺ is symmetric: neighbours load neighbours. Not 0 times what may be infinite
                let w = weights[table + count + j * count + i];
                block += select(0.0, w * vectors[o.x + u32(weights[table + j])], w != 0.0);
            }
            sum += block;
        }
        vectors[o.y + u32(weights[table + i])] = sum;
    }
}

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) lane: u32) {
    if is_over() {
        return;
    }
#ifdef ALONE
    for (var i = lane; i < select(0u, constants.cells, (constants.ends & 1u) != 0u); i += LANES) {
        vectors[constants.b + i] = rhs[i];
    }
    storageBarrier();
#endif
    for (var k = constants.first; k < constants.end; k++) {
        let o = operations[k];
        let l = levels[o.level];
        switch o.kind {
            case 3u: {
                let c = levels[o.level + 1u];
                for (var job = lane; job < jobs_of(c) + c.count - c.dense; job += LANES) {
                    vectors[o.y + unknown_of(c, job)] = restricted(l, c, job, o.x);
                }
            }
            case 4u: {
                let c = levels[o.level + 1u];
                var jobs = jobs_of(c);
#ifdef LINKED
                jobs += select(0u, links[l.prolongation_links], l.prolongation_links != 0u);
#endif
                for (var job = lane; job < jobs; job += LANES) {
                    correct(l, c, job, o.x, o.y);
                }
            }
            case 5u: {
                solve(l, o, lane);
            }
            default: {
                smooth_level(l, o, lane);
            }
        }
        storageBarrier();
    }
#ifdef ALONE
    for (var i = lane; i < select(0u, constants.cells, (constants.ends & 2u) != 0u); i += LANES) {
        solution[i] = vectors[constants.x + i];
    }
#endif
}

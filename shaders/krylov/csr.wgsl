// y = A x for a sparse matrix in compressed rows. A segment is a part of a row of up to 256 entries; an
// invocation adds up one, in blocks (shared/carry.wgsl). Where all rows have one segment these are y. Else GATHER adds up
// the segments of each row alike. Deterministic.
// Bytes an entry: 8, and x as the cache has it.

#permute - | GATHER

struct CsrConstants {
    x: u32,
    y: u32,
    // segments, with GATHER rows
    count: u32,
}

alias Sum = f32;
#import shared/carry

@group(0) @binding(0) var<uniform> constants: CsrConstants;
// where each segment begins among the entries, with GATHER each row among the segments, and the end
@group(0) @binding(1) var<storage, read> offsets: array<u32>;
#ifdef GATHER
@group(0) @binding(2) var<storage, read> sums: array<f32>;
#else
@group(0) @binding(2) var<storage, read> columns: array<u32>;
@group(0) @binding(3) var<storage, read> values: array<f32>;
@group(0) @binding(4) var<storage, read> x: array<f32>;
#endif
@group(0) @binding(5) var<storage, read_write> y: array<f32>;

fn term(i: u32) -> f32 {
#ifdef GATHER
    return sums[i];
#else
    return values[i] * x[constants.x + columns[i]];
#endif
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let c = constants;
    for (var segment = id.x; segment < c.count; segment += groups.x * 64u) {
        var sums = Carry();
        let end = offsets[segment + 1u];
        for (var first = offsets[segment]; first < end; first += TERMS) {
            var sum = 0.0;
            for (var i = first; i < min(first + TERMS, end); i++) {
                sum += term(i);
            }
            sums = carried(sums, sum);
        }
        y[c.y + segment] = total_carried(sums);
    }
}

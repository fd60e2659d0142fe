// The first sweep of the finest level, from z = 0, both colours in one pass:
//
//     z_red = r / d;  z_black = (r + Σ z_red) / d;  0 where there is no unknown
//
// Workgroups and cells of four elements: shared/blocks.wgsl; rows: shared/stencil.wgsl. Deterministic. Bytes a cell: 8 and 2
// for the code.

#import shared/gate
#import shared/blocks
#import shared/stencil

@group(0) @binding(2) var<storage, read> r: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> z: array<vec4<f32>>;

// Of red cells.
fn four(i: u32) -> vec4<f32> {
    let d = diagonals(row_of(i));
    return select(vec4(0.0), r[i] / d, d != vec4(0.0));
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    if is_over() {
        return;
    }
    let c = constants;
    let own = own_cells(c, group.x, lane);
    for (var i = own.x; i < own.y; i += RUN) {
        let code = row_of(i);
        let d = diagonals(code);
        let red = four(i);
        let black = (r[i] + around(i, code, red)) / d;
        let relaxed = select(black, red, (code & vec4(0x2000u)) != vec4(0u));
        z[i] = select(vec4(0.0), relaxed, d != vec4(0.0));
    }
}

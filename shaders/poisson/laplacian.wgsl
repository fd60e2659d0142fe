// y = A x for the Laplacian, five points in two dimensions and seven in three: of flags (shared/stencil.wgsl), or with WEIGHTS
// (shared/weights.wgsl). A cell that is not fluid gives 0. DOT: and partial sums of ⟨x, y⟩.
//
// Workgroups and cells of four elements: shared/blocks.wgsl. Deterministic. Bytes an element: 8, and 2 for the code or 12 or 16 for
// the weights.

#import shared/gate
#import shared/blocks
#import shared/shifts
#ifdef WEIGHTS
#import shared/weights
#else
#import shared/stencil
#endif
#ifdef DOT
#import shared/block_sums
#endif

#permute - | DOT
#permute - | WEIGHTS | WEIGHTS LINKED

@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;

fn four(i: u32) -> vec4<f32> {
    return x[i];
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    if is_over() {
        return;
    }
    let c = constants;
    let own = own_cells(c, group.x, lane);
    var sum = vec4(0.0);
    for (var i = own.x; i < own.y; i += RUN) {
        let row = row_of(i);
        let here = x[i];
        let d = diagonals(row);
        // not 0 times what may be infinite
        let product = select(vec4(0.0), d * here - around(i, row, here), d != vec4(0.0));
        y[i] = product;
        sum += select(vec4(0.0), here * product, d != vec4(0.0));
    }
#ifdef DOT
    leave_sums(c, group.x, lane, vec4(dot(sum, vec4(1.0)), 0.0, 0.0, 0.0));
#endif
}

// Half a sweep of red-black Gauss-Seidel on the finest level, from x to y: (r_i + Σ x_j) / d_i for cells of a colour, x_i for
// those of the other, 0 where there is no unknown. RED or BLACK. DOT: and partial sums of ⟨r, y⟩. RESIDUAL: instead, after
// a sweep that ended with black cells, r_i + Σ x_j - d_i x_i for red ones, 0 for those.
//
// Workgroups and cells of four elements: shared/blocks.wgsl; rows: shared/stencil.wgsl. Deterministic. Bytes a cell: 12 and 2
// for the code.

#import shared/gate
#import shared/blocks
#import shared/stencil
#ifdef DOT
#import shared/block_sums
#endif

#permute RED | BLACK | RED DOT | RESIDUAL

@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> r: array<vec4<f32>>;

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
#ifdef DOT
    var sum = vec4(0.0);
#endif
    for (var i = own.x; i < own.y; i += RUN) {
        let code = row_of(i);
        let d = diagonals(code);
        let here = x[i];
        let rhs = r[i];
        let rest = rhs + around(i, code, here);
        let red = (code & vec4(0x2000u)) != vec4(0u);
#ifdef RED
        let result = select(here, rest / d, red);
#endif
#ifdef BLACK
        let result = select(rest / d, here, red);
#endif
#ifdef RESIDUAL
        let result = select(vec4(0.0), rest - d * here, red);
#endif
        y[i] = select(vec4(0.0), result, d != vec4(0.0));
#ifdef DOT
        sum += select(vec4(0.0), rhs * result, d != vec4(0.0));
#endif
    }
#ifdef DOT
    leave_sums(c, group.x, lane, vec4(dot(sum, vec4(1.0)), 0.0, 0.0, 0.0));
#endif
}

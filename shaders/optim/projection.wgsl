// The radial projection of AdamP and SGDP (Heo et al. 2021, section 4): of each tensor's sums by
// row, the view, the rows' coefficients and the decay.
//
//   cos = |⟨g,p⟩| / (max(‖g‖, eps) max(‖p‖, eps))
//   channel view, if max over rows of cos < delta / √columns:     c_row = ⟨p,u⟩_row / (‖p‖_row + eps)²
//   layer view, else if cos of the whole < delta / √(rows columns): c = ⟨p,u⟩ / (‖p‖ + eps)²
//   else c = 0, and the decay stays as it is
//
// Cosines are not negative, so their bits order them as integers, and a NaN is above all others: it
// projects nothing. One workgroup of 256 a tensor. Deterministic: the order of each sum depends on
// the shape alone. Bytes a row: 16 read and 4 written a segment, 4 more for the layer view.

#import shared/scalars
#import shared/tree

struct ProjectionConstants {
    delta: f32,
    eps: f32,
}

struct ProjectionTask {
    tensor: u32,
    rows: u32,
    columns: u32,
    // each row is this many sums, one after another
    segments: u32,
    // where the tensor's sums and coefficients begin
    sums: u32,
    coefficients: u32,
    // 0 for tensors of less than two dimensions, which are not projected
    projected: u32,
}

@group(0) @binding(0) var<uniform> constants: ProjectionConstants;
@group(0) @binding(1) var<storage, read> tasks: array<ProjectionTask>;
@group(0) @binding(2) var<storage, read_write> scalars: array<Scalars>;
@group(0) @binding(3) var<storage, read> sums: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> coefficients: array<f32>;

var<workgroup> shared_maximum: array<u32, 256>;

// The bits of the cosine of p and g, of their sums.
fn cosine(sum: vec4<f32>) -> u32 {
    let norms = max(sqrt(sum.y), constants.eps) * max(sqrt(sum.x), constants.eps);
    // a sum that is NaN must reach the result, which max() does not promise
    let finite = abs(sum.z) / norms;
    return select(bitcast<u32>(finite) & 0x7fffffffu, 0x7fc00000u, is_nan(sum.x) || is_nan(sum.y) || is_nan(sum.z));
}

fn is_nan(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}

fn coefficient(sum: vec4<f32>) -> f32 {
    let norm = sqrt(sum.x) + constants.eps;
    return sum.w / norm / norm;
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) invocation: u32) {
    for (var index = group.x; index < arrayLength(&tasks); index += groups.x) {
        let task = tasks[index];
        var total = vec4(0.0);
        var maximum = 0u;
        if task.segments == 1u {
            for (var row = invocation; row < task.rows; row += 256u) {
                let sum = sums[task.sums + row];
                total += sum;
                maximum = max(maximum, cosine(sum));
                coefficients[task.coefficients + row] = coefficient(sum);
            }
        } else {
            for (var row = 0u; row < task.rows; row++) {
                var part = vec4(0.0);
                for (var segment = invocation; segment < task.segments; segment += 256u) {
                    part += sums[task.sums + row * task.segments + segment];
                }
                let sum = sum_256(invocation, part);
                if invocation == 0u {
                    total += sum;
                    maximum = max(maximum, cosine(sum));
                    coefficients[task.coefficients + row] = coefficient(sum);
                }
            }
        }
        total = sum_256(invocation, total);
        shared_maximum[invocation] = maximum;
        workgroupBarrier();
        for (var i = 0u; i < 256u; i++) {
            maximum = max(maximum, shared_maximum[i]);
        }
        workgroupBarrier();

        let columns = f32(task.columns);
        let channel = task.projected != 0u && maximum < bitcast<u32>(constants.delta / sqrt(columns));
        let layer = task.projected != 0u && !channel && cosine(total) < bitcast<u32>(constants.delta / sqrt(columns * f32(task.rows)));
        if !channel {
            let c = select(0.0, coefficient(total), layer);
            for (var row = invocation; row < task.rows; row += 256u) {
                coefficients[task.coefficients + row] = c;
            }
        }
        if invocation == 0u && (channel || layer) {
            scalars[task.tensor].decay = scalars[task.tensor].projected_decay;
        }
    }
}

// The adjoint of gather.wgsl: sums rows by number, into a result [rows, width]:
//
//     x[r, w] = Σ_n y[n, w],  indices[n] = r
//
// Indices that are no row are left out. Bindings: a is y, [count, width].
//
// A workgroup of 64 invocations has a block of 32 rows and `columns` columns, 2^k up to 64, as sums in workgroup
// memory. It goes through the indices in chunks of 2,048. First each invocation looks at 32 of them, 64 apart,
// and leaves a word whose bits say which are rows of the block. Then the words are gone through: an invocation
// has one column, and 64 / columns invocations share it, each with its own words and sums, which are added at
// the end. Workgroups stride over blocks and parts; a part has `span` indices, a multiple of 2,048.
//
// Bytes: 4 for each element of y and of the result, and rows·width·count/512 for the indices, which come
// from the cache: with 50,000 rows, 4,096 indices and a width of 512, twice the 102 MB of the result.
// Deterministic: the order of the terms of a sum depends on their number and on the sizes alone.

#import shared/result

struct ScatterConstants {
    // of the result
    rows: u32,
    width: u32,
    // of the indices
    count: u32,
    columns: u32,
    parts: u32,
    span: u32,
    // where the operands begin
    a: u32,
    indices: u32,
}

@group(0) @binding(0) var<uniform> constants: ScatterConstants;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> indices: array<u32>;

const LANES: u32 = 64u;
const ROWS: u32 = 32u;
const CHUNK: u32 = 2048u;

var<workgroup> shared_hits: array<u32, 64>;
// by row and invocation
var<workgroup> shared_sums: array<f32, 2048>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let width = constants.width;
    let columns = constants.columns;
    let slice = lane / columns;
    let slices = LANES / columns;
    let groups_of_columns = (width + columns - 1u) / columns;
    let blocks = (constants.rows + ROWS - 1u) / ROWS * groups_of_columns;
    for (var job = group.x; job < blocks * constants.parts; job += groups.x) {
        let part = job / blocks;
        let block = job - part * blocks;
        let first_row = block / groups_of_columns * ROWS;
        let first_column = block % groups_of_columns * columns;
        let rows = min(ROWS, constants.rows - first_row);
        let column = first_column + lane % columns;
        for (var row = 0u; row < rows; row++) {
            shared_sums[row * LANES + lane] = 0.0;
        }
        let end = min(constants.count, (part + 1u) * constants.span);
        for (var chunk = part * constants.span; chunk < end; chunk += CHUNK) {
            var hits = 0u;
            for (var bit = 0u; bit < 32u; bit++) {
                let n = chunk + LANES * bit + lane;
                // indices below first_row wrap around
                if n < end && indices[constants.indices + min(n, end - 1u)] - first_row < rows {
                    hits |= 1u << bit;
                }
            }
            // the words of the chunk before may still be read
            workgroupBarrier();
            shared_hits[lane] = hits;
            workgroupBarrier();
            for (var word = slice; word < LANES && column < width; word += slices) {
                var left = shared_hits[word];
                while left != 0u {
                    let n = chunk + LANES * firstTrailingBit(left) + word;
                    left &= left - 1u;
                    let row = indices[constants.indices + n] - first_row;
                    shared_sums[row * LANES + lane] += a[constants.a + n * width + column];
                }
            }
        }
        workgroupBarrier();
        for (var k = lane; k < rows * columns; k += LANES) {
            let row = k / columns;
            let own = k - row * columns;
            if first_column + own < width {
                var sum = 0.0;
                for (var other = own; other < LANES; other += columns) {
                    sum += shared_sums[row * LANES + other];
                }
                store((part * constants.rows + first_row + row) * width + first_column + own, sum);
            }
        }
        // the sums are still read for this block
        workgroupBarrier();
    }
}

// Cross-entropy of a softmax classifier over a mini-batch, the gradient of its mean, and which
// samples are classified correctly, φ being the features of a sample:
//
//     z = W φ + b,  loss = log Σ exp(z) - z[label],  δ = (softmax(z) - onehot(label)) / count,
//     ∂loss/∂W = Σ δ φᵀ,  ∂loss/∂b = Σ δ.
//
// Every sum runs in an order that does not depend on timing: the same bits on every run.

const CLASSES = 10u;
// four features each, as in features.wgsl and train_digits.rs
const COLUMNS = 256u;
const WIDTH = 64u;

struct Batch {
    // the first sample's place in `order`
    first: u32,
    count: u32,
}

struct Model {
    weight: array<array<vec4<f32>, COLUMNS>, CLASSES>,
    bias: array<f32, CLASSES>,
}

struct Metrics {
    loss: f32,
    correct: u32,
}

@group(0) @binding(0) var<uniform> batch: Batch;
@group(0) @binding(1) var<storage, read> features: array<array<vec4<f32>, COLUMNS>>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read> order: array<u32>;
@group(0) @binding(4) var<storage, read> params: Model;
@group(0) @binding(5) var<storage, read_write> delta: array<array<f32, CLASSES>>;
@group(0) @binding(6) var<storage, read_write> grads: Model;
// of a place in `order`
@group(0) @binding(7) var<storage, read_write> metrics: array<Metrics>;

var<workgroup> shared_sum: array<array<f32, WIDTH>, CLASSES>;
var<workgroup> shared_z: array<f32, CLASSES>;

// A workgroup a sample: its logits, of which each invocation adds up some columns, then δ.
@compute @workgroup_size(WIDTH)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let place = batch.first + group.x;
    let sample = order[place];
    var sum: array<vec4<f32>, CLASSES>;
    for (var k = i; k < COLUMNS; k += WIDTH) {
        let feature = features[sample][k];
        for (var c = 0u; c < CLASSES; c++) {
            sum[c] += params.weight[c][k] * feature;
        }
    }
    for (var c = 0u; c < CLASSES; c++) {
        shared_sum[c][i] = (sum[c].x + sum[c].y) + (sum[c].z + sum[c].w);
    }
    workgroupBarrier();

    if i < CLASSES {
        var z = params.bias[i];
        for (var j = 0u; j < WIDTH; j++) {
            z += shared_sum[i][j];
        }
        shared_z[i] = z;
    }
    workgroupBarrier();

    if i < CLASSES {
        // without the largest logit every exponent is zero or below, so that none overflows
        var best = 0u;
        for (var c = 1u; c < CLASSES; c++) {
            best = select(best, c, shared_z[c] > shared_z[best]);
        }
        let largest = shared_z[best];
        var total = 0.0;
        for (var c = 0u; c < CLASSES; c++) {
            total += exp(shared_z[c] - largest);
        }

        let label = labels[sample];
        let p = exp(shared_z[i] - largest) / total;
        delta[group.x][i] = (p - select(0.0, 1.0, i == label)) / f32(batch.count);
        if i == label {
            metrics[place] = Metrics(log(total) - (shared_z[i] - largest), select(0u, 1u, best == label));
        }
    }
}

// An invocation four columns of every class, summed over the batch.
@compute @workgroup_size(WIDTH)
fn gradient(@builtin(global_invocation_id) id: vec3<u32>) {
    let k = id.x;
    if k >= COLUMNS {
        return;
    }
    var weight: array<vec4<f32>, CLASSES>;
    for (var b = 0u; b < batch.count; b++) {
        let feature = features[order[batch.first + b]][k];
        for (var c = 0u; c < CLASSES; c++) {
            weight[c] += delta[b][c] * feature;
        }
    }
    for (var c = 0u; c < CLASSES; c++) {
        grads.weight[c][k] = weight[c];
    }
    if k < CLASSES {
        var bias = 0.0;
        for (var b = 0u; b < batch.count; b++) {
            bias += delta[b][k];
        }
        grads.bias[k] = bias;
    }
}

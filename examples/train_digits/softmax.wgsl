// Mean cross-entropy of a softmax classifier over a mini-batch, its gradient, and how many samples
// are classified correctly:
//
//     z = W x + b,  loss = mean(log Σ exp(z) - z[label]),  δ = (softmax(z) - onehot(label)) / count,
//     ∂loss/∂W = Σ δ xᵀ,  ∂loss/∂b = Σ δ.
//
// One workgroup, first an invocation a sample, then an invocation four weights, a bias, or the
// metrics. Sums over samples run in the order of the batch: the same bits on every run.

const CLASSES = 10u;
// an image is 64 pixels
const COLUMNS = 16u;
const WEIGHTS = CLASSES * COLUMNS;
const MAX_BATCH = 256u;

struct Batch {
    // the first sample's place in `order`
    first: u32,
    count: u32,
    // where the metrics go
    slot: u32,
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
@group(0) @binding(1) var<storage, read> images: array<array<vec4<f32>, COLUMNS>>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read> order: array<u32>;
@group(0) @binding(4) var<storage, read> params: Model;
@group(0) @binding(5) var<storage, read_write> grads: Model;
@group(0) @binding(6) var<storage, read_write> metrics: array<Metrics>;

// 10 KiB of the 16 KiB that every device has
var<workgroup> shared_delta: array<array<f32, CLASSES>, MAX_BATCH>;
var<workgroup> shared_loss: array<f32, MAX_BATCH>;
var<workgroup> shared_correct: array<u32, MAX_BATCH>;

fn forward(b: u32) {
    let sample = order[batch.first + b];
    let label = labels[sample];
    var z: array<f32, CLASSES>;
    for (var c = 0u; c < CLASSES; c++) {
        var sum = vec4(0.0);
        for (var k = 0u; k < COLUMNS; k++) {
            sum += params.weight[c][k] * images[sample][k];
        }
        z[c] = params.bias[c] + ((sum.x + sum.y) + (sum.z + sum.w));
    }

    // without the largest logit every exponent is zero or below, so that none overflows
    var best = 0u;
    for (var c = 1u; c < CLASSES; c++) {
        best = select(best, c, z[c] > z[best]);
    }
    let largest = z[best];
    var total = 0.0;
    for (var c = 0u; c < CLASSES; c++) {
        total += exp(z[c] - largest);
    }

    for (var c = 0u; c < CLASSES; c++) {
        let p = exp(z[c] - largest) / total;
        shared_delta[b][c] = (p - select(0.0, 1.0, c == label)) / f32(batch.count);
    }
    shared_loss[b] = log(total) - (z[label] - largest);
    shared_correct[b] = select(0u, 1u, best == label);
}

@compute @workgroup_size(MAX_BATCH)
fn main(@builtin(local_invocation_index) i: u32) {
    if i < batch.count {
        forward(i);
    }
    workgroupBarrier();

    if i < WEIGHTS {
        let c = i / COLUMNS;
        let k = i % COLUMNS;
        var sum = vec4(0.0);
        for (var b = 0u; b < batch.count; b++) {
            sum += shared_delta[b][c] * images[order[batch.first + b]][k];
        }
        grads.weight[c][k] = sum;
    } else if i < WEIGHTS + CLASSES {
        let c = i - WEIGHTS;
        var sum = 0.0;
        for (var b = 0u; b < batch.count; b++) {
            sum += shared_delta[b][c];
        }
        grads.bias[c] = sum;
    } else if i == WEIGHTS + CLASSES {
        var loss = 0.0;
        var correct = 0u;
        for (var b = 0u; b < batch.count; b++) {
            loss += shared_loss[b];
            correct += shared_correct[b];
        }
        metrics[batch.slot] = Metrics(loss / f32(batch.count), correct);
    }
}

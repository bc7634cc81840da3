// The excitation of a squeeze-and-excitation block: makes the factors of channels from their means. A workgroup makes
// the factors of one sample.
//
//   r[k] = relu(sum_c S[k][c] x[n][c] + bias_s[k])
//   y[n][c] = sigmoid(sum_k E[c][k] r[k] + bias_e[c])
//
// Mapping. Both matrices are stored transposed, so that adjacent threads read adjacent weights. Each sum of r is cut
// into PARTS, as many as there are threads for, which are then added up in workgroup memory. After that, a thread makes
// every WORKGROUP-th element of y.
//
// Operands: x, y [n][channels]; weights S [channels][REDUCED], bias_s [REDUCED], E [REDUCED][channels], bias_e
// [channels]. All f32.
//
// The host guarantees: the device has PARTS * REDUCED elements of workgroup memory.

#import tensors/input as x
#import tensors/input as weights
#import tensors/output as y
#import common/nan

const WORKGROUP: u32 = 256u;
const REDUCED: u32 = 4u;
const PARTS: u32 = 1u;

struct Shape {
    n: u32,
    grid_x: u32,
    channels: u32,
    unused: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;

// [PARTS][REDUCED] sums, then r.
var<workgroup> hidden: array<f32, PARTS * REDUCED>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let workgroup = id.x + id.y * shape.grid_x;
    // Workgroups beyond the last sample compute it again, but store nothing: no thread may skip a barrier.
    let row = min(workgroup, shape.n - 1u) * shape.channels;
    let bias_s = shape.channels * REDUCED;
    let e = bias_s + REDUCED;
    let bias_e = e + shape.channels * REDUCED;

    for (var i = local; i < PARTS * REDUCED; i += WORKGROUP) {
        let k = i % REDUCED;
        var sum = 0.0;
        for (var c = i / REDUCED; c < shape.channels; c += PARTS) {
            sum += x_load(row + c) * weights_load(c * REDUCED + k);
        }
        hidden[i] = sum;
    }
    workgroupBarrier();
    for (var k = local; k < REDUCED; k += WORKGROUP) {
        var sum = weights_load(bias_s + k);
        for (var part = 0u; part < PARTS; part++) {
            sum += hidden[part * REDUCED + k];
        }
        hidden[k] = at_least(sum, 0.0);
    }
    workgroupBarrier();
    if workgroup < shape.n {
        for (var c = local; c < shape.channels; c += WORKGROUP) {
            var sum = weights_load(bias_e + c);
            for (var k = 0u; k < REDUCED; k++) {
                sum += hidden[k] * weights_load(e + k * shape.channels + c);
            }
            // exp(-sum) would overflow if the sum is far below zero.
            let decay = exp_or_nan(-abs(sum));
            y_store(row + c, select(decay, 1.0, sum >= 0.0) / (1.0 + decay));
        }
    }
}

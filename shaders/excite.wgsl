// The excitation of a squeeze-and-excitation block, from means of channels to their factors; a workgroup makes those of
// one sample.
//
//   r[k] = relu(sum_c S[k][c] x[n][c] + bias_s[k])
//   y[n][c] = sigmoid(sum_k E[c][k] r[k] + bias_e[c])
//
// Mapping. Both matrices lie transposed, so that threads side by side read weights side by side. The sums of r are cut
// into PARTS where there are threads for it, and added up in workgroup memory; a thread then makes every WORKGROUP-th
// of y.
//
// Operands: x, y [n][channels]; weights S [channels][REDUCED], bias_s [REDUCED], E [REDUCED][channels], bias_e
// [channels]. All f32.
//
// The host guarantees: PARTS * REDUCED elements of workgroup memory.

struct Shape {
    n: u32,
    grid_x: u32,
    channels: u32,
    unused: u32,
}

var<workgroup> hidden: array<f32, PARTS * REDUCED>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let workgroup = id.x + id.y * shape.grid_x;
    // Workgroups beyond the last sample repeat it up to the last store: none may miss a barrier.
    let row = min(workgroup, shape.n - 1u) * shape.channels;
    let bias_s = shape.channels * REDUCED;
    let e = bias_s + REDUCED;
    let bias_e = e + shape.channels * REDUCED;

    for (var i = local; i < PARTS * REDUCED; i += WORKGROUP) {
        let k = i % REDUCED;
        var sum = 0.0;
        for (var c = i / REDUCED; c < shape.channels; c += PARTS) {
            sum += load_x(row + c) * load_weights(c * REDUCED + k);
        }
        hidden[i] = sum;
    }
    workgroupBarrier();
    for (var k = local; k < REDUCED; k += WORKGROUP) {
        var sum = load_weights(bias_s + k);
        for (var part = 0u; part < PARTS; part++) {
            sum += hidden[part * REDUCED + k];
        }
        hidden[k] = max(sum, 0.0);
    }
    workgroupBarrier();
    if workgroup < shape.n {
        for (var c = local; c < shape.channels; c += WORKGROUP) {
            var sum = load_weights(bias_e + c);
            for (var k = 0u; k < REDUCED; k++) {
                sum += hidden[k] * load_weights(e + k * shape.channels + c);
            }
            store_y(row + c, 1.0 / (1.0 + exp(-sum)));
        }
    }
}

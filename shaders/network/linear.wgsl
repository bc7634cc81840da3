// Y = activate(W X + b) for the vectors of a batch.
//
//   Y[n][o] = activate(sum_i W[o][i] X[n][i] + b[o])
//
// Mapping. A Lane is LANES adjacent outputs. A workgroup makes COLUMNS Lanes of SAMPLES samples. PARTS threads share
// the sums of a Lane: each thread takes every PARTS-th input. Their sums are then added in workgroup memory, one half
// to the other, until one is left. A weight that a thread loads serves all samples. With a single sample every weight
// is read once, and memory limits the speed. The host then takes few columns, so that there are enough workgroups.
//
// Operands: X [n][inputs] and Y [n][outputs], f32; weights [block][inputs][BLOCK] of Lanes, so that a workgroup of
// BLOCK columns reads contiguous memory; in front of them the bias [outputs] in f32.
//
// The host guarantees: weights are padded with zeros to whole blocks; COLUMNS and WORKGROUP are powers of two, and
// COLUMNS is at most WORKGROUP.

#import common/activate
#import tensors/input as x
#import tensors/output as y
#import tensors/weights

const WORKGROUP: u32 = 256u;
// Lanes that lie side by side in the weights.
const BLOCK: u32 = 8u;
const COLUMNS: u32 = 8u;
const SAMPLES: u32 = 1u;
// Threads that share a Lane.
const PARTS: u32 = WORKGROUP / COLUMNS;

struct Shape {
    n: u32,
    grid_x: u32,
    inputs: u32,
    outputs: u32,
    lanes: u32, // Lanes of a row of Y
    column_blocks: u32, // workgroups along a row of Y
    weights_first: u32, // where the weights begin, in Lanes
    slope: f32,
}

@group(0) @binding(0) var<uniform> shape: Shape;

// The sum of each thread, for one sample.
var<workgroup> partial: array<Lane, WORKGROUP>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let workgroup = id.x + id.y * shape.grid_x;
    let part = local / COLUMNS;
    let column = workgroup % shape.column_blocks * COLUMNS + local % COLUMNS;
    let sample = workgroup / shape.column_blocks * SAMPLES;
    // Threads beyond the last Lane or sample compute it again, but do not store it: no thread may skip a barrier.
    var sums = partial_sums(min(column, shape.lanes - 1u), sample, part);
    for (var s = 0u; s < SAMPLES; s++) {
        if PARTS > 1u {
            sums[s] = sum_of_parts(sums[s], local, part);
        }
        if part == 0u && column < shape.lanes && sample + s < shape.n {
            store(sample + s, column, sums[s] + bias(column));
        }
    }
}

// The sums over the inputs of one part, for a Lane of the samples from `sample` on.
fn partial_sums(column: u32, sample: u32, part: u32) -> array<Lane, SAMPLES> {
    var weights_at = shape.weights_first + (column / BLOCK * shape.inputs + part) * BLOCK + column % BLOCK;
    var row: array<u32, SAMPLES>;
    for (var s = 0u; s < SAMPLES; s++) {
        row[s] = min(sample + s, shape.n - 1u) * shape.inputs;
    }
    var sums: array<Lane, SAMPLES>;
    for (var i = part; i < shape.inputs; i += PARTS) {
        let w = weight(weights_at);
        for (var s = 0u; s < SAMPLES; s++) {
            sums[s] = sums[s] + Lane(x_load(row[s] + i)) * w;
        }
        weights_at += PARTS * BLOCK;
    }
    return sums;
}

// The sum of all parts of a column.
fn sum_of_parts(sum: Lane, local: u32, part: u32) -> Lane {
    // The previous content has been read: the loop below ends with a barrier.
    partial[local] = sum;
    workgroupBarrier();
    for (var half = PARTS / 2u; half > 0u; half /= 2u) {
        if part < half {
            partial[local] = partial[local] + partial[local + half * COLUMNS];
        }
        workgroupBarrier();
    }
    return partial[local];
}

fn store(sample: u32, column: u32, value: Lane) {
    let first = column * LANES;
    for (var k = 0u; k < live_lanes(first, shape.outputs); k++) {
        y_store(sample * shape.outputs + first + k, activate(lane(value, k), shape.slope));
    }
}

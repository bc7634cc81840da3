// Y = W X + b for the vectors of a batch.
//
//   Y[n][o] = sum_i W[o][i] X[n][i] + b[o]
//
// Mapping. A Lane is LANES adjacent outputs. A workgroup has COLUMNS lanes, and WORKGROUP / COLUMNS threads a lane that
// share its sum: each takes every so manieth input, and workgroup memory halves what they have. With SAMPLES above 1 a
// thread keeps the sums of several samples, and a weight that it loads serves them all. A single sample reads every
// weight once, so that memory decides: the host takes few columns where there are few workgroups otherwise.
//
// Operands: X [n][inputs] and Y [n][outputs], f32; weights [block][i][o] in Lanes, BLOCK of them a block, so that a
// workgroup of BLOCK columns reads one run of memory; in front of them the bias [o] in f32.
//
// The host guarantees: weights padded with zeros to whole blocks; COLUMNS and WORKGROUP are powers of two.

struct Shape {
    n: u32,
    grid_x: u32,
    inputs: u32,
    outputs: u32,
    lanes: u32, // Lanes of a row of Y
    column_blocks: u32, // workgroups along a row of Y
    weights: u32, // in Lanes
    unused: u32,
}

const PARTS: u32 = WORKGROUP / COLUMNS;

var<workgroup> partial: array<Lane, WORKGROUP>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let workgroup = id.x + id.y * shape.grid_x;
    let part = local / COLUMNS;
    let column = workgroup % shape.column_blocks * COLUMNS + local % COLUMNS;
    let sample = workgroup / shape.column_blocks * SAMPLES;
    // Threads beyond the last lane or sample repeat it up to the store: none may miss a barrier.
    let inside = min(column, shape.lanes - 1u);
    var weights_at = shape.weights + (inside / BLOCK * shape.inputs + part) * BLOCK + inside % BLOCK;
    var row: array<u32, SAMPLES>;
    for (var s = 0u; s < SAMPLES; s++) {
        row[s] = min(sample + s, shape.n - 1u) * shape.inputs;
    }

    var sums: array<Lane, SAMPLES>;
    for (var i = part; i < shape.inputs; i += PARTS) {
        let w = weight(weights_at);
        for (var s = 0u; s < SAMPLES; s++) {
            sums[s] = sums[s] + Lane(load_x(row[s] + i)) * w;
        }
        weights_at += PARTS * BLOCK;
    }

    for (var s = 0u; s < SAMPLES; s++) {
        if PARTS > 1u {
            // What was here has been read: the loop below ends with a barrier.
            partial[local] = sums[s];
            workgroupBarrier();
            for (var half = PARTS / 2u; half > 0u; half /= 2u) {
                if part < half {
                    partial[local] = partial[local] + partial[local + half * COLUMNS];
                }
                workgroupBarrier();
            }
            sums[s] = partial[local];
        }
        if part == 0u && column < shape.lanes && sample + s < shape.n {
            let value = sums[s] + bias(column);
            let first = column * LANES;
            for (var k = 0u; k < live_lanes(first, shape.outputs); k++) {
                store_y((sample + s) * shape.outputs + first + k, lane(value, k));
            }
        }
    }
}

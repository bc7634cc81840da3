// Softmax of every row. A workgroup makes one row.
//
//   Y[n][i] = exp(X[n][i] - max_j X[n][j]) / sum_k exp(X[n][k] - max_j X[n][j])
//
// Mapping. A thread takes every WORKGROUP-th element. Maximum and sum over the threads are found in workgroup memory:
// one half is combined with the other, until one element is left.
//
// Operands: X, Y [n][length], f32.
//
// The host guarantees: WORKGROUP is a power of two.

#import tensors/input as x
#import tensors/output as y
#import common/nan

const WORKGROUP: u32 = 256u;

struct Shape {
    n: u32,
    grid_x: u32,
    length: u32,
    unused: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;

// What each thread has found.
var<workgroup> partial: array<f32, WORKGROUP>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let workgroup = id.x + id.y * shape.grid_x;
    // Workgroups beyond the last row compute it again, but store nothing: no thread may skip a barrier.
    let row = min(workgroup, shape.n - 1u) * shape.length;

    // A thread without elements starts with the last element of the row, which does not change the maximum.
    var largest = x_load(row + min(local, shape.length - 1u));
    for (var i = local; i < shape.length; i += WORKGROUP) {
        largest = max(largest, x_load(row + i));
    }
    largest = largest_of_all(largest, local);
    // All threads must have read the maximum before sums overwrite it.
    workgroupBarrier();

    var sum = 0.0;
    for (var i = local; i < shape.length; i += WORKGROUP) {
        sum += exp_or_nan(x_load(row + i) - largest);
    }
    sum = sum_of_all(sum, local);

    if workgroup < shape.n {
        for (var i = local; i < shape.length; i += WORKGROUP) {
            y_store(row + i, exp_or_nan(x_load(row + i) - largest) / sum);
        }
    }
}

fn largest_of_all(own: f32, local: u32) -> f32 {
    partial[local] = own;
    workgroupBarrier();
    for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
        if local < half {
            partial[local] = max(partial[local], partial[local + half]);
        }
        workgroupBarrier();
    }
    return partial[0];
}

fn sum_of_all(own: f32, local: u32) -> f32 {
    partial[local] = own;
    workgroupBarrier();
    for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
        if local < half {
            partial[local] += partial[local + half];
        }
        workgroupBarrier();
    }
    return partial[0];
}

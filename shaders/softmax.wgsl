// Softmax of every row; a workgroup makes one.
//
//   Y[n][i] = exp(X[n][i] - max_j X[n][j]) / sum_k exp(X[n][k] - max_j X[n][j])
//
// Mapping. A thread takes every WORKGROUP-th element; maximum and sum are found in workgroup memory, halving.
//
// Operands: X, Y [n][length], f32.
//
// The host guarantees: WORKGROUP is a power of two.

struct Shape {
    n: u32,
    grid_x: u32,
    length: u32,
    unused: u32,
}

var<workgroup> partial: array<f32, WORKGROUP>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let workgroup = id.x + id.y * shape.grid_x;
    // Workgroups beyond the last row repeat it up to the last store: none may miss a barrier.
    let row = min(workgroup, shape.n - 1u) * shape.length;

    // A thread without elements stands in with the last one, which changes no maximum.
    var largest = load_x(row + min(local, shape.length - 1u));
    for (var i = local; i < shape.length; i += WORKGROUP) {
        largest = max(largest, load_x(row + i));
    }
    partial[local] = largest;
    workgroupBarrier();
    for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
        if local < half {
            partial[local] = max(partial[local], partial[local + half]);
        }
        workgroupBarrier();
    }
    largest = partial[0];
    // All have read the maximum before the sums take its place.
    workgroupBarrier();

    var sum = 0.0;
    for (var i = local; i < shape.length; i += WORKGROUP) {
        sum += exp(load_x(row + i) - largest);
    }
    partial[local] = sum;
    workgroupBarrier();
    for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
        if local < half {
            partial[local] += partial[local + half];
        }
        workgroupBarrier();
    }
    sum = partial[0];

    if workgroup < shape.n {
        for (var i = local; i < shape.length; i += WORKGROUP) {
            store_y(row + i, exp(load_x(row + i) - largest) / sum);
        }
    }
}

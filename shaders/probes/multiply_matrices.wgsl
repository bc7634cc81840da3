// Chains of matrix products that do not wait for each other: measures how fast matrix units can be.
//
//   Y[subgroup][k] = the sum of 4 * rounds products A[..] * B[k]
//
// Operands: matrices of SIDE x SIDE, row by row: A [16] and B [CHAINS] of f16, Y [subgroups][CHAINS] of Number;
// `subgroups` [1], to which the shader writes the number of subgroups of a workgroup.
//
// The host guarantees: Y has room for as many subgroups as there can be; Left, Right and Sum match SIDE and Number.

enable f16;
enable wgpu_cooperative_matrix;
// naga reports everything that needs uniform control flow under this rule. It treats a branch on any local variable,
// even on the counter of a loop, as not uniform.
diagnostic(off, derivative_uniformity);

const WORKGROUP: u32 = 64u;
const CHAINS: u32 = 4u;
const SIDE: u32 = 16u;
alias Number = f32;
alias Left = coop_mat16x16<f16, A>;
alias Right = coop_mat16x16<f16, B>;
alias Sum = coop_mat16x16<f32, C>;

struct Shape {
    rounds: u32,
    unused_a: u32,
    unused_b: u32,
    unused_c: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
// [16][SIDE][SIDE]
@group(0) @binding(1) var<storage, read> a: array<f16>;
// [CHAINS][SIDE][SIDE]
@group(0) @binding(2) var<storage, read> b: array<f16>;
// [workgroups * subgroups][CHAINS][SIDE][SIDE]
@group(0) @binding(3) var<storage, read_write> y: array<Number>;
// [1]
@group(0) @binding(4) var<storage, read_write> subgroups: array<u32>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) count: u32,
    @builtin(local_invocation_index) local: u32,
) {
    var rights: array<Right, CHAINS>;
    for (var k = 0u; k < CHAINS; k++) {
        rights[k] = coopLoadT<Right>(&b[k * SIDE * SIDE], SIDE);
    }
    var sums: array<Sum, CHAINS>;
    for (var round = 0u; round < shape.rounds; round++) {
        // The left factor changes with each product. If a product did not change, a device that multiplies matrices in
        // software could compute it once before the loop, and only add in the loop.
        for (var i = 0u; i < 4u; i++) {
            let left = coopLoadT<Left>(&a[((4u * round + i) & 15u) * SIDE * SIDE], SIDE);
            for (var k = 0u; k < CHAINS; k++) {
                sums[k] = coopMultiplyAdd(left, rights[k], sums[k]);
            }
        }
    }
    for (var k = 0u; k < CHAINS; k++) {
        coopStoreT(sums[k], &y[((id.x * count + subgroup) * CHAINS + k) * SIDE * SIDE], SIDE);
    }
    if id.x == 0u && local == 0u {
        subgroups[0] = count;
    }
}

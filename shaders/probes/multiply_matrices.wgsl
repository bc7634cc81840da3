// Chains of matrix products that do not wait for each other: what matrix units can reach at best.
//
//   Y[subgroup][k] = the sum over 4 * rounds products A[..] * B[k]
//
// In front stand WORKGROUP, CHAINS, SIDE, the bindings a, b, y and subgroups, and the matrices' types Left, Right and
// Sum. All are SIDE x SIDE, in rows. The host guarantees 16 matrices of A, CHAINS of B, and CHAINS of Y for each subgroup
// that there can be. `subgroups` becomes how many a workgroup has.

struct Shape {
    rounds: u32,
    unused_a: u32,
    unused_b: u32,
    unused_c: u32,
}

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
        // Each factor once a round, and another the next: a device that multiplies matrices in software would compute
        // a product that does not change before the loop, and add.
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

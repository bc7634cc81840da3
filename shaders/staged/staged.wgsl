// Octave convolution of any kernel size, for layers of one group: a matrix product over tiles in workgroup memory.
//
//   Y_H = activate(conv(X_H, W_HH) + replicate(conv(X_L, W_LH)) + bias_h + residual_h)
//   Y_L = activate(conv(X_L, W_LL) + conv(pool(X_H), W_HL) + bias_l + residual_l)
//   Y_P = pool(Y_H)                                                   if the layer writes it
//
// Mapping. M = output channels, N = positions of the output, cell by cell, K = (path, tap, input channel): the two
// paths into an output add to the same sums. The first `high_workgroups` workgroups make Y_H, the others make Y_L. A
// workgroup makes TILE_VECTORS * LANES channels of TILE_CELLS cells. Each thread makes VECTORS * LANES channels of
// CELLS cells.
//
// K goes through workgroup memory in slabs: SLAB input channels of one tap. There is room for two slabs, so that one is
// written while the other one is multiplied. Weights are staged as vectors of 4 channels, inputs as the 4 positions of
// a cell. Adjacent threads read adjacent vectors, so threads of a subgroup do not read different words of a memory
// bank.
//   - L->H at stride 1 is computed at low resolution, with one position per cell, and starts the sums of the cell
//     (staged/replicated). Or an earlier dispatch has made these sums, and they are added at the end (staged/output).
//   - H->L averages X_H while it is staged, once per workgroup, unless the layer is given pool(X_H).
//   - If SLICED, the input channels are cut into `slices`, and there are `slices` times as many workgroups: first those
//     of the first slice, then those of the second one, and so on. Partial sums lie in the same order.
//
// Operands: X [n][c][t][h][w]; one buffer with biases [block][oc] of Y_H, those of Y_L, then weights
// [block][q][r][s][c_in][oc] of each path; residuals and Y [n][c][t][h][w].
//
// The host guarantees: sizes and offsets of `shape` lie within their buffers; weights are padded with zeros to whole
// blocks; WORKGROUP = THREAD_ROWS * THREAD_COLS; there are no more `slices` than slabs of any path. In the shader, no
// thread of a workgroup leaves before the last barrier.

#import staged/tile
#import staged/path as hh
#import staged/path as hl
#import staged/path as lh
#import staged/path as ll
#import staged/output as high
#import staged/output as low

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    var workgroup = id.x + id.y * shape.grid_x;
    var slice = 0u;
    if SLICED {
        slice = workgroup / shape.workgroups;
        workgroup %= shape.workgroups;
    }
    if slice >= shape.slices {
        // Beyond the last slice.
    } else if workgroup < shape.high_workgroups {
        make_high(workgroup, local, slice);
    } else if workgroup < shape.workgroups {
        make_low(workgroup - shape.high_workgroups, local, slice);
    }
}

fn make_high(workgroup: u32, local: u32, slice: u32) {
    let own = owner_of(shape.high, workgroup, local);
    var sums: Sums;
    // L->H comes first, because staged/replicated sets the sums and does not add to them.
    lh_accumulate(&sums, shape.lh, shape.high, own, local, slice);
    hh_accumulate(&sums, shape.hh, shape.high, own, local, slice);
    high_finish_tile(&sums, shape.high, own, slice);
}

fn make_low(workgroup: u32, local: u32, slice: u32) {
    let own = owner_of(shape.low, workgroup, local);
    var sums: Sums;
    ll_accumulate(&sums, shape.ll, shape.low, own, local, slice);
    hl_accumulate(&sums, shape.hl, shape.low, own, local, slice);
    low_finish_tile(&sums, shape.low, own, slice);
}

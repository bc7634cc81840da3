// Octave convolution of any kernel size, dense, grouped or depthwise, in one dispatch and without workgroup memory.
//
//   Y_H = activate(conv(X_H, W_HH) + replicate(conv(X_L, W_LH)) + bias_h + residual_h)
//   Y_L = activate(conv(X_L, W_LL) + conv(pool(X_H), W_HL) + bias_l + residual_l)
//   Y_P = pool(Y_H)                                                   if the layer writes it
//
// Mapping. `high_workgroups` workgroups make Y_H, the others Y_L, in turns (common/turns). In both, a workgroup has one
// block of output channels, and a thread makes a tile of it: ROWS x COLS positions by VECTORS * LANES channels, which
// differ between the instances `high` and `low`. Sums stay in registers until the epilogue: nothing between is stored.
//   - If ACROSS is 1, the threads of a workgroup lie along the positions: inputs are each thread's own, and weights lie at an
//     address that is the same for all of them, a scalar load if the hardware has one.
//   - If ACROSS is WORKGROUP, they lie along the channels of one block over the same positions, and it is the other way
//     round. The channels of a block are then [vector][thread][lane].
//   - L->H is computed at low resolution, half of the rows and columns of a tile, and starts the sums of the 2x2 positions
//     above (at stride 2 the two resolutions are the same, and it starts them one to one).
//   - H->L averages X_H while it loads, unless the layer is given pool(X_H).
//   - If SLICED, the channels of all inputs are cut into `slices`. There are `slices` times the workgroups, and they make
//     partial sums, one slice behind the other, for layer/reduce to add up.
//
// Operands: X_H, X_L, X_P [n][c][t][h][w], each bound once however many paths read it; weights and biases as direct/path and
// direct/output say, the biases of Y_H first, then those of Y_L, then the weights; residuals and outputs [n][c][t][h][w].
//
// The host guarantees: ROWS and COLS of `high` are even if L->H is replicated or Y_P written; sizes, strides and offsets of
// `shape` lie within their buffers; `workgroups` times `slices` are fewer than 2^28 (a grid folded into x and y may have
// up to grid_x - 1 too many). If ACROSS is not 1, there is one group. A map may be told to be of one row if each position
// reads its own position alone.

#import common/lanes
#import common/turns
#import direct/output as high
#import direct/output as low
#import direct/path as hh
#import direct/path as hl
#import direct/path as lh
#import direct/path as ll
#import direct/shape
#import direct/tiles

const MAKES_HIGH: bool = true;
const MAKES_LOW: bool = true;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    var workgroup = id.x + id.y * shape.grid_x;
    if workgroup >= shape.workgroups * shape.slices {
        return;
    }
    var slice = 0u;
    if SLICED {
        slice = workgroup / shape.workgroups;
        workgroup %= shape.workgroups;
    }
    if !MAKES_LOW {
        make_high(workgroup, local, slice);
    } else if !MAKES_HIGH {
        make_low(workgroup, local, slice);
    } else {
        let turn = turn_of(workgroup, vec4(shape.high_workgroups, shape.workgroups - shape.high_workgroups, 0u, 0u));
        if turn.kind == 0u {
            make_high(turn.index, local, slice);
        } else {
            make_low(turn.index, local, slice);
        }
    }
}

fn owner_of(o: OutputShape, workgroup: u32, local: u32, slice: u32) -> Owner {
    // What reads the same follows one another: blocks of channels over the same positions, or the other way round.
    var thread = (workgroup / o.blocks) * WORKGROUP + local;
    var block = workgroup % o.blocks;
    var own: Owner;
    if ACROSS > 1u {
        thread = workgroup % o.threads;
        block = workgroup / o.threads;
        own.across = local;
    }
    // Beyond the last thread the last stands in, but below the last row, where nothing is stored: a branch around all that
    // a thread does would hold scalar registers throughout.
    let idle = thread >= o.threads;
    thread = min(thread, o.threads - 1u);
    own.x = thread % o.cols;
    own.y = select(thread / o.cols % o.rows, o.rows, idle);
    own.t = thread / (o.cols * o.rows) % o.t;
    own.n = thread / (o.cols * o.rows * o.t);
    own.group = block / o.group_blocks;
    own.block = block;
    own.slice = slice;
    return own;
}

// A thread's tile of Y_H.
fn make_high(workgroup: u32, local: u32, slice: u32) {
    let o = shape.high;
    let own = owner_of(o, workgroup, local, slice);
    let y = own.y * HIGH_ROWS;
    let x = own.x * HIGH_COLS;
    var from_low: LhSums;
    lh_accumulate(&from_low, shape.lh, own, y >> LOW_SHIFT, x >> LOW_SHIFT);
    var sums: HhSums;
    for (var v = 0u; v < HIGH_VECTORS; v++) {
        for (var k = 0u; k < LANES; k++) {
            for (var i = 0u; i < HIGH_ROWS; i++) {
                for (var j = 0u; j < HIGH_COLS; j++) {
                    sums[v][k][i][j] = from_low[v][k][i >> LOW_SHIFT][j >> LOW_SHIFT];
                }
            }
        }
    }
    hh_accumulate(&sums, shape.hh, own, o.first_row + y, x);
    high_finish_tile(&sums, o, own, y, x);
}

// A thread's tile of Y_L.
fn make_low(workgroup: u32, local: u32, slice: u32) {
    let o = shape.low;
    let own = owner_of(o, workgroup, local, slice);
    let y = own.y * LOW_ROWS;
    let x = own.x * LOW_COLS;
    var sums: LlSums;
    ll_accumulate(&sums, shape.ll, own, y, x);
    hl_accumulate(&sums, shape.hl, own, y, x);
    low_finish_tile(&sums, o, own, y, x);
}

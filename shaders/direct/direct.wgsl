// Octave convolution of any kernel size, dense, grouped or depthwise, in one dispatch and without workgroup memory.
//
//   Y_H = activate(conv(X_H, W_HH) + replicate(conv(X_L, W_LH)) + bias_h + residual_h)
//   Y_L = activate(conv(X_L, W_LL) + conv(pool(X_H), W_HL) + bias_l + residual_l)
//   Y_P = pool(Y_H)                                                   if the layer writes it
//
// Mapping. `high_workgroups` workgroups make Y_H, the others make Y_L, in turns (common/turns). A workgroup has one
// block of output channels. Each of its threads makes a tile: ROWS x COLS positions of VECTORS * LANES channels. The
// tiles of the instances `high` and `low` may differ. Sums stay in registers until the epilogue.
//   - If ACROSS is 1, the threads of a workgroup lie along the positions. Each thread reads inputs of its own. All
//     threads read weights at the same address, with a scalar load if the hardware has one.
//   - If ACROSS is WORKGROUP, the threads lie along the channels of one block, over the same positions. Each thread
//     reads weights of its own, and all read the same inputs. The channels of a block are ordered
//     [vector][thread][lane].
//   - L->H is computed at low resolution, with half of the rows and columns of a tile. Each of its sums starts the sums
//     of the 2x2 positions above it. At stride 2 both resolutions are the same, and each sum starts one.
//   - H->L averages X_H while it loads, unless the layer is given pool(X_H).
//   - If SLICED, the channels of all inputs are cut into `slices`, and there are `slices` times as many workgroups.
//     They make partial sums, first all of one slice, then all of the next. layer/reduce adds them up.
//
// Operands: X_H, X_L, X_P [n][c][t][h][w], each bound once even if several paths read it; one buffer with the biases of
// Y_H, the biases of Y_L (direct/output), then the weights (direct/path); residuals and outputs [n][c][t][h][w].
//
// The host guarantees: ROWS and COLS of `high` are even if L->H is replicated or Y_P is written; sizes, strides and
// offsets of `shape` lie within their buffers; `workgroups` times `slices` is less than 2^28 (a grid folded into x and
// y may have up to grid_x - 1 more). If ACROSS is not 1, there is one group. The host may pass maps as single rows if
// each output reads only the inputs at its own position.

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
    // Adjacent workgroups share what they read: inputs if ACROSS is 1, weights if not.
    var thread = (workgroup / o.blocks) * WORKGROUP + local;
    var block = workgroup % o.blocks;
    var own: Owner;
    if ACROSS > 1u {
        thread = workgroup % o.threads;
        block = workgroup / o.threads;
        own.across = local;
    }
    // A thread beyond the last one computes the last tile, but at a row below the map, so that it stores nothing. A
    // branch around all work of a thread would keep scalar registers occupied throughout.
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

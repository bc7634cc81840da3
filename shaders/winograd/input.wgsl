// The first dispatch of a Winograd convolution: the inputs of all Winograd tiles at their points.
//
//   V[a][c][tile] = (B^T d B)[a]
//
// d is the WINDOW x WINDOW inputs of channel c under a Winograd tile, with zeros outside of the map.
//
// Each path has a feed, an instance of winograd/feed; but at stride 1, L->H shares the feed of L->L, if any. At high
// resolution, feeds read X_H, and at stride 2 also X_L for L->H. At low resolution, feeds read X_L and pool(X_H). V has
// the channels of all feeds of a resolution, one feed after the other.
//
// Mapping. Each workgroup works for one feed, in turns. A thread makes all points of PARTS Winograd tiles of one
// channel. Winograd tiles run fastest, so that adjacent threads store to adjacent addresses.
//
// Operands: X [n][c][t][h][w] of each feed; V [a][c][tile] of each resolution, the channels of each feed padded with
// zeros to a multiple of 4.
//
// The host guarantees: kernel 3x3, dilation 1, stride 1; Winograd tiles cover the outputs; a row of V has room for all
// Winograd tiles, and its length is a multiple of PARTS.

#import common/turns
#import winograd/feed as hh
#import winograd/feed as hl
#import winograd/feed as lh
#import winograd/feed as ll
#import winograd/input_shape

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let workgroup = id.x + id.y * shape.grid_x;
    let counts = vec4(shape.hh.workgroups, shape.hl.workgroups, shape.lh.workgroups, shape.ll.workgroups);
    if workgroup >= sum_of(counts) {
        return;
    }
    let turn = turn_of(workgroup, counts);
    if HH_PRESENT && turn.kind == 0u {
        hh_make(shape.hh, turn.index * WORKGROUP + local);
    } else if HL_PRESENT && turn.kind == 1u {
        hl_make(shape.hl, turn.index * WORKGROUP + local);
    } else if LH_PRESENT && turn.kind == 2u {
        lh_make(shape.lh, turn.index * WORKGROUP + local);
    } else if LL_PRESENT && turn.kind == 3u {
        ll_make(shape.ll, turn.index * WORKGROUP + local);
    }
}

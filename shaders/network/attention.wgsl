// Attention of one frequency. Each query takes a mean of the values of all keys, weighted by the softmax of its scores.
//
//   score[i][j] = scale * sum_d Q[n][d][i] K[n][d][j]
//   Y[n][y_first + c][i] = sum_j exp(score[i][j]) V[n][c][j] / sum_j exp(score[i][j])
//
// Mapping. A workgroup makes 4 * QUADS queries of PARTS * CHANNELS channels, and goes through the keys in tiles of
// 4 * PARTS. A thread scores four queries with four keys, and then adds up the values of CHANNELS channels for its four
// queries. Only the weights of a tile are stored, in workgroup memory. They are relative to the largest score so far. If
// that grows, the sums so far are multiplied by as much as the weights shrink.
//
// A score that is NaN or infinity makes all weights of its query NaN, as PyTorch's softmax does. One that is -infinity has
// no weight. If all are, the weights are NaN, because their sum is 0.
//
// Operands: Q [n][depth][queries]; K [n][depth][keys]; V [n][channels][keys]; Y [n][y_channels][queries], of which
// `channels` channels are written, starting at y_first.
//
// The host guarantees: if QUERIES_PAIRED, `queries` is even, and if KEYS_PAIRED, `keys`; blocks * PARTS * CHANNELS is at
// least `channels`.

#import tensors/input as q
#import tensors/input as k
#import tensors/input as v
#import tensors/output as y

// Threads side by side, with four queries each.
const QUADS: u32 = 4u;
// Threads with the same queries.
const PARTS: u32 = 32u;
// Channels of a thread.
const CHANNELS: u32 = 8u;
// Q is read, and Y written, two queries at a time.
const QUERIES_PAIRED: bool = false;
// K and V are read two keys at a time.
const KEYS_PAIRED: bool = false;

const WORKGROUP: u32 = QUADS * PARTS;
// Keys of a tile.
const TILE: u32 = 4u * PARTS;
// The least f32 that is finite. It stands in for the largest of no scores.
const LEAST: f32 = -3.4028234e38;

struct Shape {
    workgroups: u32, // n * blocks * tiles
    grid_x: u32,
    tiles: u32, // workgroups along the queries
    blocks: u32, // workgroups along the channels
    queries: u32,
    keys: u32,
    depth: u32,
    channels: u32,
    y_first: u32,
    y_channels: u32,
    scale: f32,
    unused: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;

// The weights of a tile, [TILE][QUADS] for four queries each.
var<workgroup> weights: array<vec4<f32>, TILE * QUADS>;
// What each thread has found about its keys, for its four queries.
var<workgroup> partial: array<vec4<f32>, WORKGROUP>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let workgroup = id.x + id.y * shape.grid_x;
    // Workgroups beyond the last compute it again, but store nothing: no thread may skip a barrier.
    let task = min(workgroup, shape.workgroups - 1u);
    let quad = local % QUADS;
    let part = local / QUADS;
    let first = (task % shape.tiles * QUADS + quad) * 4u;
    let block = task / shape.tiles % shape.blocks;
    let n = task / (shape.tiles * shape.blocks);
    // A thread's channels lie PARTS apart.
    let channel = block * PARTS * CHANNELS + part;

    let query_places = places(first, shape.queries, QUERIES_PAIRED);
    var largest = vec4(LEAST);
    // The sum of the weights of this thread's keys.
    var sum = vec4(0.0);
    var sums: array<vec4<f32>, CHANNELS>;

    for (var tile = 0u; tile < shape.keys; tile += TILE) {
        let own = tile + 4u * part;
        var scores = own_scores(n, query_places, own);
        var tile_largest = vec4(LEAST);
        for (var i = 0u; i < 4u; i++) {
            if own + i < shape.keys {
                tile_largest = max(tile_largest, scores[i]);
            }
        }
        // The partial maxima before these have been read: all threads have since stored their weights.
        partial[local] = tile_largest;
        workgroupBarrier();
        var new_largest = largest;
        for (var p = 0u; p < PARTS; p++) {
            new_largest = max(new_largest, partial[p * QUADS + quad]);
        }
        let shrink = exp_or_nan(largest - new_largest);
        largest = new_largest;
        sum *= shrink;
        for (var i = 0u; i < 4u; i++) {
            let weight = select(vec4(0.0), exp_or_nan(scores[i] - largest), own + i < shape.keys);
            sum += weight;
            // The weights of the tile before have been read: all threads have since stored their maxima.
            weights[(4u * part + i) * QUADS + quad] = weight;
        }
        for (var c = 0u; c < CHANNELS; c++) {
            sums[c] *= shrink;
        }
        workgroupBarrier();
        let count = min(TILE, shape.keys - tile);
        let fours = count & ~3u;
        for (var j = 0u; j < fours; j += 4u) {
            let w0 = weights[j * QUADS + quad];
            let w1 = weights[(j + 1u) * QUADS + quad];
            let w2 = weights[(j + 2u) * QUADS + quad];
            let w3 = weights[(j + 3u) * QUADS + quad];
            for (var c = 0u; c < CHANNELS; c++) {
                let values = four_values(value_row(n, channel + c * PARTS) + tile + j);
                sums[c] += w0 * values.x + w1 * values.y + w2 * values.z + w3 * values.w;
            }
        }
        for (var j = fours; j < count; j++) {
            let weight = weights[j * QUADS + quad];
            for (var c = 0u; c < CHANNELS; c++) {
                sums[c] += weight * v_load(value_row(n, channel + c * PARTS) + tile + j);
            }
        }
    }

    partial[local] = sum;
    workgroupBarrier();
    var all = vec4(0.0);
    for (var p = 0u; p < PARTS; p++) {
        all += partial[p * QUADS + quad];
    }
    if workgroup < shape.workgroups {
        for (var c = 0u; c < CHANNELS; c++) {
            if channel + c * PARTS < shape.channels {
                let row = (n * shape.y_channels + shape.y_first + channel + c * PARTS) * shape.queries;
                store_four(row, first, sums[c] / all);
            }
        }
    }
}

// The scores of four queries with each of the four keys from `key` on. Those of keys beyond the last are not used.
fn own_scores(n: u32, query_places: vec4<u32>, key: u32) -> array<vec4<f32>, 4> {
    let key_places = places(key, shape.keys, KEYS_PAIRED);
    var scores: array<vec4<f32>, 4>;
    if key < shape.keys {
        var query_row = n * shape.depth * shape.queries;
        var key_row = n * shape.depth * shape.keys;
        for (var d = 0u; d < shape.depth; d++) {
            let queries = four_queries(query_row, query_places);
            let keys = four_keys(key_row, key_places);
            for (var i = 0u; i < 4u; i++) {
                scores[i] += queries * keys[i];
            }
            query_row += shape.queries;
            key_row += shape.keys;
        }
    }
    for (var i = 0u; i < 4u; i++) {
        scores[i] *= shape.scale;
    }
    return scores;
}

// The places of four adjacent elements of a row. Of those beyond the last, the last. The first and the third are even, if
// elements are read in pairs.
fn places(first: u32, length: u32, paired: bool) -> vec4<u32> {
    let inside = min(first + vec4(0u, 1u, 2u, 3u), vec4(length - 1u));
    return select(inside, inside & vec4(~1u), paired);
}

fn four_queries(row: u32, at: vec4<u32>) -> vec4<f32> {
    if QUERIES_PAIRED {
        return vec4(q_load_2(row + at.x), q_load_2(row + at.z));
    }
    return vec4(q_load(row + at.x), q_load(row + at.y), q_load(row + at.z), q_load(row + at.w));
}

fn four_keys(row: u32, at: vec4<u32>) -> vec4<f32> {
    if KEYS_PAIRED {
        return vec4(k_load_2(row + at.x), k_load_2(row + at.z));
    }
    return vec4(k_load(row + at.x), k_load(row + at.y), k_load(row + at.z), k_load(row + at.w));
}

// The first value of a channel. Of channels beyond the last, that of the last.
fn value_row(n: u32, channel: u32) -> u32 {
    return (n * shape.channels + min(channel, shape.channels - 1u)) * shape.keys;
}

fn four_values(i: u32) -> vec4<f32> {
    if KEYS_PAIRED {
        return vec4(v_load_2(i), v_load_2(i + 2u));
    }
    return vec4(v_load(i), v_load(i + 1u), v_load(i + 2u), v_load(i + 3u));
}

fn store_four(row: u32, first: u32, values: vec4<f32>) {
    if QUERIES_PAIRED {
        if first < shape.queries {
            y_store_2(row + first, values.xy);
        }
        if first + 2u < shape.queries {
            y_store_2(row + first + 2u, values.zw);
        }
        return;
    }
    for (var i = 0u; i < 4u; i++) {
        if first + i < shape.queries {
            y_store(row + first + i, values[i]);
        }
    }
}

// exp(x) for x up to 0: a NaN of a NaN, and 0 of -infinity. WGSL leaves both open, and lets a driver assume that there are
// none. So it looks at the bits.
fn exp_or_nan(x: vec4<f32>) -> vec4<f32> {
    let bits = bitcast<vec4<u32>>(x);
    let kept = select(exp(x), x, (bits & vec4(0x7fffffffu)) > vec4(0x7f800000u));
    return select(kept, vec4(0.0), bits == vec4(0xff800000u));
}

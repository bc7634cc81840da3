//! Brings a graph into the form that layers are found in: batch norms are folded into the convolutions in front of
//! them, and activations that exporters take apart are put together.

use octconv::Activation;
use octconv::network::{Ends, PoolKind};

use super::graph::{Conv, Id, MOST_TERMS, Op, PlainGraph, Pool, Shape, Upsample, Value};
use crate::{ImportError, Problem};

/// Changes a value, if it can. `uses`: how often each value is read. Returns whether it did.
type Pass = fn(&mut PlainGraph, Id, &[usize]) -> bool;

/// Simplifies the graph. The value of its output stays the same.
///
/// # Errors
///
/// [`ImportError::Nodes`] if a vector needs a matrix that is too large.
pub(crate) fn simplify(graph: &mut PlainGraph) -> Result<(), ImportError> {
    // Each pass makes others possible. Passes change a finite number of values, but files are not to be trusted.
    for _ in 0..32 {
        let before = graph.values.len();
        let passes: [Pass; 17] = [
            drop_same,
            join_activation,
            merge_affines,
            fold_into_conv,
            fold_into_linear,
            push_through_sum,
            join_padding,
            mean_from_conv,
            whole_mean,
            split_mean,
            compose_indices,
            fold_into_reader,
            fold_into_matrix,
            compose_selections,
            select_before_activation,
            select_outputs,
            select_inputs,
        ];
        let mut changed = false;
        let mut uses = graph.uses();
        for pass in passes {
            for id in 0..before {
                if uses[id] > 0 && pass(graph, id, &uses) {
                    changed = true;
                    uses = graph.uses();
                }
            }
        }
        if !changed {
            break;
        }
    }
    (0..graph.values.len()).for_each(|id| write_selection(graph, id));
    let written = write_vector_sums(graph).and_then(|()| write_vector_scales(graph));
    written.map_err(|id| {
        let Value { node, operator, .. } = graph.values[id].clone();
        let reason = "it scales or adds vectors, whose matrix would take too much memory".into();
        ImportError::Nodes { problems: vec![Problem { node, operator, reason }] }
    })
}

fn replace(graph: &mut PlainGraph, id: Id, op: Op, inputs: Vec<Id>) -> bool {
    graph.values[id].op = op;
    graph.values[id].inputs = inputs;
    true
}

/// Readers of a value that is the same as another read the other one.
fn drop_same(graph: &mut PlainGraph, id: Id, _: &[usize]) -> bool {
    let same = |graph: &PlainGraph, id: Id| match graph.op(id) {
        Op::Same | Op::Affine { same: Some([1.0, 0.0]), .. } => Some(graph.input(id)),
        Op::Concat | Op::Add if graph.values[id].inputs.len() == 1 => Some(graph.input(id)),
        _ => None,
    };
    let mut changed = false;
    for i in 0..graph.values[id].inputs.len() {
        while let Some(other) = same(graph, graph.values[id].inputs[i]) {
            graph.values[id].inputs[i] = other;
            changed = true;
        }
    }
    if id == graph.output
        && let Some(other) = same(graph, id)
    {
        graph.output = other;
        changed = true;
    }
    changed
}

/// x * sigmoid(x) and other functions that exporters write as several operators.
fn join_activation(graph: &mut PlainGraph, id: Id, uses: &[usize]) -> bool {
    // Scaling may lie anywhere in a product: it is taken out first.
    let (scale, root) = match constant_factor(graph, id) {
        Some((scale, inner)) if uses[inner] == 1 => (scale, inner),
        _ => (1.0, id),
    };
    if *graph.op(root) != Op::Multiply {
        return false;
    }
    let [a, b] = [0, 1].map(|i| graph.values[root].inputs[i]);
    for (x, gate) in [(a, b), (b, a)] {
        // The factor may belong to the product, or to what is activated.
        for (factor, x) in [Some((1.0, x)), constant_factor(graph, x)].into_iter().flatten() {
            if let Some(activation) = gated(graph, x, gate, scale * factor) {
                return replace(graph, id, Op::Activation(activation), vec![x]);
            }
        }
    }
    false
}

/// The activation that is x times `gate` times `scale`.
fn gated(graph: &PlainGraph, x: Id, gate: Id, scale: f64) -> Option<Activation> {
    let is = |value: f64, wanted: f64| (value - wanted).abs() < 1e-5;
    match graph.op(gate) {
        Op::Activation(Activation::Sigmoid) if graph.input(gate) == x && is(scale, 1.0) => Some(Activation::Silu),
        Op::Activation(Activation::HardSigmoid) if graph.input(gate) == x && is(scale, 1.0) => {
            Some(Activation::HardSwish)
        }
        Op::Activation(Activation::Relu6) if is(scale, 1.0 / 6.0) => {
            let (factor, shift, inner) = straight(graph, graph.input(gate), x);
            (is(factor, 1.0) && is(shift, 3.0) && inner == x).then_some(Activation::HardSwish)
        }
        // x * (1 + erf(x / sqrt(2))) / 2
        Op::Affine { .. } => {
            let (factor, shift, erf) = straight(graph, gate, x);
            let half = is(factor * scale, 0.5) && is(shift * scale, 0.5);
            let (Op::Erf, true) = (graph.op(erf), half) else { return None };
            let (factor, shift, inner) = straight(graph, graph.input(erf), x);
            let scaled = is(factor, std::f64::consts::FRAC_1_SQRT_2) && shift == 0.0;
            (inner == x && scaled).then_some(Activation::Gelu)
        }
        _ => None,
    }
}

/// The value as factor * x + shift, with the same numbers for all channels. If x is none of what it is made of, another value
/// stands in its place.
fn straight(graph: &PlainGraph, id: Id, x: Id) -> (f64, f64, Id) {
    let (mut factor, mut sum, mut at) = (1.0, 0.0, id);
    while at != x
        && let Op::Affine { same: Some([scale, shift]), .. } = graph.op(at)
    {
        (sum, factor, at) = (sum + factor * shift, factor * scale, graph.input(at));
    }
    (factor, sum, at)
}

fn constant_factor(graph: &PlainGraph, id: Id) -> Option<(f64, Id)> {
    let &Op::Affine { same: Some([factor, 0.0]), .. } = graph.op(id) else { return None };
    Some((factor, graph.input(id)))
}

fn constant_shift(graph: &PlainGraph, id: Id) -> Option<(f64, Id)> {
    let &Op::Affine { same: Some([1.0, shift]), .. } = graph.op(id) else { return None };
    Some((shift, graph.input(id)))
}

/// (x * a + b) * c + d becomes x * ac + (bc + d). So that activations can be found, hard sigmoids go first.
fn merge_affines(graph: &mut PlainGraph, id: Id, uses: &[usize]) -> bool {
    let Op::Affine { scale, shift, .. } = graph.op(id) else { return false };
    let inner = graph.input(id);
    if let (Op::Activation(Activation::Relu6), Some((factor, _))) = (graph.op(inner), constant_factor(graph, id))
        && (factor - 1.0 / 6.0).abs() < 1e-6
        && let Some((3.0, x)) = constant_shift(graph, graph.input(inner))
    {
        return replace(graph, id, Op::Activation(Activation::HardSigmoid), vec![x]);
    }
    let Op::Affine { scale: before, shift: from, .. } = graph.op(inner) else { return false };
    if uses[inner] != 1 {
        return false;
    }
    let shift = (0..scale.len()).map(|c| from[c] * scale[c] + shift[c]).collect();
    let scale = scale.iter().zip(before).map(|(a, b)| a * b).collect();
    let x = graph.input(inner);
    replace(graph, id, Op::affine(scale, shift), vec![x])
}

fn scaled(conv: &Conv, scale: &[f64], shift: Option<&[f64]>) -> Conv {
    let each = conv.weights.len() / conv.shape[0];
    let weights = conv.weights.iter().enumerate().map(|(i, &w)| (f64::from(w) * scale[i / each]) as f32).collect();
    let bias =
        |c: usize| conv.bias.as_ref().map_or(0.0, |bias| bias[c]) * scale[c] + shift.map_or(0.0, |shift| shift[c]);
    let has_bias = conv.bias.is_some() || shift.is_some();
    let bias = has_bias.then(|| (0..conv.shape[0]).map(bias).collect());
    Conv { weights, bias, ..conv.clone() }
}

/// conv(x) * scale + shift becomes one convolution.
fn fold_into_conv(graph: &mut PlainGraph, id: Id, uses: &[usize]) -> bool {
    let Op::Affine { scale, shift, .. } = graph.op(id) else { return false };
    let inner = graph.input(id);
    let Op::Conv(conv) = graph.op(inner) else { return false };
    if uses[inner] != 1 || !graph.take(conv.weights.len()) {
        return false;
    }
    let (conv, x) = (scaled(conv, scale, Some(shift)), graph.input(inner));
    keep_name(graph, id, inner);
    replace(graph, id, Op::Conv(conv), vec![x])
}

/// The value that takes the place of another is reported under its name.
fn keep_name(graph: &mut PlainGraph, id: Id, of: Id) {
    let Value { name, node, operator, .. } = graph.values[of].clone();
    let value = &mut graph.values[id];
    (value.name, value.node, value.operator) = (name, node, operator);
}

fn fold_into_linear(graph: &mut PlainGraph, id: Id, uses: &[usize]) -> bool {
    let Op::Affine { scale, shift, .. } = graph.op(id) else { return false };
    let inner = graph.input(id);
    let Op::Linear { weights, outputs, bias, name } = graph.op(inner) else { return false };
    if uses[inner] != 1 || !graph.take(weights.len()) {
        return false;
    }
    let each = weights.len() / outputs;
    let weights = weights.iter().enumerate().map(|(i, &w)| (f64::from(w) * scale[i / each]) as f32).collect();
    let bias = (0..*outputs).map(|c| bias.as_ref().map_or(0.0, |bias| bias[c]) * scale[c] + shift[c]).collect();
    let op = Op::Linear { weights, outputs: *outputs, bias: Some(bias), name: name.clone() };
    let x = graph.input(inner);
    keep_name(graph, id, inner);
    replace(graph, id, op, vec![x])
}

/// (conv(x) + up(conv(y))) * scale + shift: the convolutions take the scale, and one of them the shift. So batch norm
/// behind an octave layer disappears.
fn push_through_sum(graph: &mut PlainGraph, id: Id, uses: &[usize]) -> bool {
    let Op::Affine { scale, shift, .. } = graph.op(id).clone() else { return false };
    let sum = graph.input(id);
    if *graph.op(sum) != Op::Add || uses[sum] != 1 {
        return false;
    }
    // The convolutions of all terms, if each term is one.
    let (mut convs, mut count) = (Vec::new(), 0usize);
    let mut terms = graph.values[sum].inputs.clone();
    while let Some(term) = terms.pop() {
        if uses[term] != 1 || convs.len() + terms.len() >= MOST_TERMS {
            return false;
        }
        match graph.op(term) {
            Op::Add => terms.extend(&graph.values[term].inputs),
            Op::Upsample(_) => terms.push(graph.input(term)),
            Op::Conv(conv) => {
                count = count.saturating_add(conv.weights.len());
                convs.push(term);
            }
            _ => return false,
        }
    }
    if !graph.take(count) {
        return false;
    }
    // The shift goes to a convolution that is not repeated or padded anywhere, so that it is added once.
    convs.sort_unstable();
    for (i, &conv) in convs.iter().enumerate() {
        let Op::Conv(old) = graph.op(conv) else { return false };
        let new = scaled(old, &scale, (i == 0).then_some(shift.as_slice()));
        graph.values[conv].op = Op::Conv(new);
    }
    let inputs = graph.values[sum].inputs.clone();
    replace(graph, id, Op::Add, inputs)
}

/// A convolution or mean of a map with zeros around it has them as its padding.
fn join_padding(graph: &mut PlainGraph, id: Id, _: &[usize]) -> bool {
    let Some(&inner) = graph.values[id].inputs.first() else { return false };
    let Op::Pad(pad) = graph.op(inner).clone() else { return false };
    let sum = |padding: [Ends; 3]| {
        [0, 1, 2].map(|a| Ends {
            before: padding[a].before.saturating_add(pad[a].before),
            behind: padding[a].behind.saturating_add(pad[a].behind),
        })
    };
    let op = match graph.op(id) {
        Op::Conv(conv) => Op::Conv(Conv { padding: sum(conv.padding), ..conv.clone() }),
        Op::Pool(pool) if pool.kind == PoolKind::Average && !pool.ceil_mode => {
            // Zeros count in the mean; other padding may not.
            if pool.padding != [Ends::default(); 3] && !pool.count_include_pad {
                return false;
            }
            Op::Pool(Pool { padding: sum(pool.padding), count_include_pad: true, ..pool.clone() })
        }
        _ => return false,
    };
    let x = graph.input(inner);
    replace(graph, id, op, vec![x])
}

/// A convolution of each channel by itself with equal weights is a mean.
fn mean_from_conv(graph: &mut PlainGraph, id: Id, _: &[usize]) -> bool {
    let Op::Conv(conv) = graph.op(id) else { return false };
    let [outputs, inputs, kernel @ ..] = conv.shape;
    let area: usize = kernel.iter().product();
    let each = 1.0 / area as f32;
    let mean = inputs == 1
        && conv.groups == outputs
        && area > 1
        && kernel == conv.stride
        && conv.dilation == [1; 3]
        && conv.padding == [Ends::default(); 3]
        && conv.bias.as_ref().is_none_or(|bias| bias.iter().all(|&b| b == 0.0))
        && conv.weights.iter().all(|&w| (w - each).abs() <= each * f32::EPSILON);
    let pool = Pool {
        kind: PoolKind::Average,
        kernel,
        stride: conv.stride,
        padding: conv.padding,
        ceil_mode: false,
        count_include_pad: false,
    };
    let x = graph.input(id);
    mean && replace(graph, id, Op::Pool(pool), vec![x])
}

/// The elements of a mean of a whole map are the means of its channels, which suit any size.
fn whole_mean(graph: &mut PlainGraph, id: Id, _: &[usize]) -> bool {
    if !matches!(graph.op(id), Op::Flatten | Op::GlobalPool) {
        return false;
    }
    let inner = graph.input(id);
    let Op::Pool(pool) = graph.op(inner) else { return false };
    let x = graph.input(inner);
    let whole = Some(pool.kernel) == graph.shape(x).space()
        && graph.shape(inner).space() == Some([1; 3])
        && pool.is_mean_without_padding();
    whole && replace(graph, id, Op::GlobalPool, vec![x])
}

/// A mean of 4x4 positions becomes two means of 2x2, which octave layers know.
fn split_mean(graph: &mut PlainGraph, id: Id, _: &[usize]) -> bool {
    let Op::Pool(pool) = graph.op(id) else { return false };
    let x = graph.input(id);
    let Shape::Map { c, space: [t, h, w] } = graph.shape(x) else { return false };
    if !pool.is_mean_of(4) || h % 4 != 0 || w % 4 != 0 {
        return false;
    }
    let half = Pool { kernel: [1, 2, 2], stride: [1, 2, 2], ..pool.clone() };
    // Values stand in the order in which they are computed, so the first of the two takes this place.
    let value = Value {
        op: Op::Pool(half.clone()),
        inputs: vec![x],
        shape: Shape::Map { c, space: [t, h / 2, w / 2] },
        ..graph.values[id].clone()
    };
    graph.insert(id, value);
    replace(graph, id + 1, Op::Pool(half), vec![id])
}

/// Rows and columns that are chosen out of chosen rows and columns.
fn compose_indices(graph: &mut PlainGraph, id: Id, uses: &[usize]) -> bool {
    let Op::Upsample(Upsample::Nearest { rows, columns }) = graph.op(id) else { return false };
    let inner = graph.input(id);
    if let Op::Upsample(Upsample::Nearest { rows: from_rows, columns: from_columns }) = graph.op(inner) {
        let pick = |of: &[usize], chosen: &[usize]| chosen.iter().map(|&i| of[i]).collect();
        let op = Upsample::Nearest { rows: pick(from_rows, rows), columns: pick(from_columns, columns) };
        let x = graph.input(inner);
        return uses[inner] == 1 && replace(graph, id, Op::Upsample(op), vec![x]);
    }
    let Some([_, h, w]) = graph.shape(inner).space() else { return false };
    let whole = rows.iter().copied().eq(0..h) && columns.iter().copied().eq(0..w);
    whole && replace(graph, id, Op::Same, vec![inner])
}

/// conv(x * scale + shift) becomes one convolution. Where the map has zeros around it, they get no shift.
fn fold_into_reader(graph: &mut PlainGraph, id: Id, uses: &[usize]) -> bool {
    let Some(&inner) = graph.values[id].inputs.first() else { return false };
    let (Op::Conv(conv), Op::Affine { scale, shift, .. }) = (graph.op(id), graph.op(inner)) else { return false };
    let padded = conv.padding != [Ends::default(); 3];
    if uses[inner] != 1 || padded && shift.iter().any(|&shift| shift != 0.0) || !graph.take(conv.weights.len()) {
        return false;
    }
    let [outputs, inputs, kernel @ ..] = conv.shape;
    let taps: usize = kernel.iter().product();
    let of = |output: usize, input: usize| output / (outputs / conv.groups) * inputs + input;
    let mut bias = conv.bias.clone().unwrap_or_else(|| vec![0.0; outputs]);
    let mut weights = conv.weights.clone();
    for (i, weights) in weights.chunks_exact_mut(taps).enumerate() {
        let (output, channel) = (i / inputs, of(i / inputs, i % inputs));
        for weight in weights {
            bias[output] += f64::from(*weight) * shift[channel];
            *weight = (f64::from(*weight) * scale[channel]) as f32;
        }
    }
    let has_bias = conv.bias.is_some() || shift.iter().any(|&shift| shift != 0.0);
    let conv = Conv { weights, bias: has_bias.then_some(bias), ..conv.clone() };
    let x = graph.input(inner);
    replace(graph, id, Op::Conv(conv), vec![x])
}

/// A matrix times (x * scale + shift) becomes one matrix.
fn fold_into_matrix(graph: &mut PlainGraph, id: Id, uses: &[usize]) -> bool {
    let Some(&inner) = graph.values[id].inputs.first() else { return false };
    let (Op::Linear { weights, outputs, bias, name }, Op::Affine { scale, shift, .. }) =
        (graph.op(id), graph.op(inner))
    else {
        return false;
    };
    if uses[inner] != 1 || !graph.take(weights.len()) {
        return false;
    }
    let mut bias = bias.clone().unwrap_or_else(|| vec![0.0; *outputs]);
    let mut weights = weights.clone();
    for (row, bias) in weights.chunks_exact_mut(scale.len()).zip(&mut bias) {
        for ((weight, scale), shift) in row.iter_mut().zip(scale).zip(shift) {
            *bias += f64::from(*weight) * shift;
            *weight = (f64::from(*weight) * scale) as f32;
        }
    }
    let op = Op::Linear { weights, outputs: *outputs, bias: Some(bias), name: name.clone() };
    let x = graph.input(inner);
    replace(graph, id, op, vec![x])
}

/// Channels that are chosen out of chosen channels, or out of one part of a concatenation.
fn compose_selections(graph: &mut PlainGraph, id: Id, _: &[usize]) -> bool {
    let Op::Select(chosen) = graph.op(id) else { return false };
    let inner = graph.input(id);
    if let Op::Select(from) = graph.op(inner) {
        // At worst, it becomes a matrix of all channels that it is chosen out of.
        let [all, read] = [graph.input(inner), inner].map(|id| graph.shape(id).channels());
        if !graph.take(chosen.len().saturating_mul(all.saturating_sub(read))) {
            return false;
        }
        let chosen = chosen.iter().map(|&c| from[c]).collect();
        let x = graph.input(inner);
        return replace(graph, id, Op::Select(chosen), vec![x]);
    }
    if chosen.iter().copied().eq(0..graph.shape(inner).channels()) {
        return replace(graph, id, Op::Same, vec![inner]);
    }
    if *graph.op(inner) != Op::Concat {
        return false;
    }
    let mut first = 0;
    for &part in &graph.values[inner].inputs {
        let behind = first + graph.shape(part).channels();
        if chosen.iter().all(|c| (first..behind).contains(c)) {
            let chosen = chosen.iter().map(|c| c - first).collect();
            return replace(graph, id, Op::Select(chosen), vec![part]);
        }
        first = behind;
    }
    false
}

/// Whether channels are chosen of a value, and it is read in no other way.
fn only_selected(graph: &PlainGraph, id: Id) -> bool {
    let mut readers = graph.reached().into_iter().filter(|&reader| graph.values[reader].inputs.contains(&id));
    id != graph.output && readers.all(|reader| matches!(graph.op(reader), Op::Select(_)))
}

/// Channels of an activated value are activated channels.
fn select_before_activation(graph: &mut PlainGraph, id: Id, uses: &[usize]) -> bool {
    let Op::Select(_) = graph.op(id) else { return false };
    let inner = graph.input(id);
    let &Op::Activation(activation) = graph.op(inner) else { return false };
    let x = graph.input(inner);
    if !matches!(graph.op(x), Op::Conv(_)) || uses[inner] != 1 && !only_selected(graph, inner) {
        return false;
    }
    // Values stand in the order in which they are computed, so the choice takes this place.
    let value = Value { inputs: vec![x], ..graph.values[id].clone() };
    graph.insert(id, value);
    replace(graph, id + 1, Op::Activation(activation), vec![id])
}

/// A convolution makes the chosen channels alone.
fn select_outputs(graph: &mut PlainGraph, id: Id, uses: &[usize]) -> bool {
    let Op::Select(chosen) = graph.op(id) else { return false };
    let inner = graph.input(id);
    let Op::Conv(conv) = graph.op(inner) else { return false };
    let alone = |graph| uses[inner] == 1 || only_selected(graph, inner);
    if conv.groups != 1 || chosen.len() > conv.shape[0] || !alone(graph) {
        return false;
    }
    let each = conv.weights.len() / conv.shape[0];
    if !graph.take(chosen.len().saturating_mul(each)) {
        return false;
    }
    let weights = chosen.iter().flat_map(|&c| &conv.weights[c * each..(c + 1) * each]).copied().collect();
    let bias = conv.bias.as_ref().map(|bias| chosen.iter().map(|&c| bias[c]).collect());
    let [_, rest @ ..] = conv.shape;
    let shape = [chosen.len(), rest[0], rest[1], rest[2], rest[3]];
    let conv = Conv { weights, bias, shape, ..conv.clone() };
    let x = graph.input(inner);
    keep_name(graph, id, inner);
    replace(graph, id, Op::Conv(conv), vec![x])
}

/// A convolution reads all channels, with zeros for those that are not chosen, where that is less work than to choose.
fn select_inputs(graph: &mut PlainGraph, id: Id, _: &[usize]) -> bool {
    let Some(&inner) = graph.values[id].inputs.first() else { return false };
    let (Op::Conv(conv), Op::Select(chosen)) = (graph.op(id), graph.op(inner)) else { return false };
    let x = graph.input(inner);
    let all = graph.shape(x).channels();
    let [outputs, inputs, kernel @ ..] = conv.shape;
    let taps: usize = kernel.iter().product();
    let more = all.saturating_sub(inputs).saturating_mul(outputs).saturating_mul(taps);
    let whole = more.saturating_add(conv.weights.len());
    if conv.groups != 1 || more > chosen.len().saturating_mul(all) || !graph.take(whole) {
        return false;
    }
    let mut weights = vec![0.0; outputs * all * taps];
    for (i, from) in conv.weights.chunks_exact(taps).enumerate() {
        let at = (i / inputs * all + chosen[i % inputs]) * taps;
        weights[at..at + taps].iter_mut().zip(from).for_each(|(to, &from)| *to += from);
    }
    let shape = [outputs, all, kernel[0], kernel[1], kernel[2]];
    let conv = Conv { weights, shape, ..conv.clone() };
    replace(graph, id, Op::Conv(conv), vec![x])
}

/// What still chooses channels becomes a matrix of ones and zeros.
fn write_selection(graph: &mut PlainGraph, id: Id) {
    let Op::Select(chosen) = graph.op(id) else { return };
    let inputs = graph.shape(graph.input(id)).channels();
    let outputs = chosen.len();
    let mut weights = vec![0.0; outputs * inputs];
    chosen.iter().enumerate().for_each(|(i, &c)| weights[i * inputs + c] = 1.0);
    graph.values[id].op = match graph.shape(id) {
        Shape::Vector { .. } => Op::Linear { weights, outputs, bias: None, name: None },
        Shape::Map { .. } => Op::Conv(Conv {
            weights,
            shape: [outputs, inputs, 1, 1, 1],
            bias: None,
            stride: [1; 3],
            padding: [Ends::default(); 3],
            dilation: [1; 3],
            groups: 1,
            name: None,
        }),
    };
}

/// Only maps can be added, so a sum of vectors becomes a matrix of all their elements: the identity for each, times its
/// scale. Gives the value whose matrix would be too large.
fn write_vector_sums(graph: &mut PlainGraph) -> Result<(), Id> {
    let sums = graph.reached().into_iter().rev();
    for id in sums.filter(|&id| *graph.op(id) == Op::Add && graph.shape(id).space().is_none()).collect::<Vec<_>>() {
        let c = graph.shape(id).channels();
        let terms = graph.values[id].inputs.clone();
        let columns = terms.len().saturating_mul(c);
        if !graph.take(columns.saturating_mul(c)) {
            return Err(id);
        }
        let (mut inputs, mut weights, mut bias) = (Vec::new(), vec![0.0; c * columns], vec![0.0; c]);
        for (i, &term) in terms.iter().enumerate() {
            let affine = match graph.op(term) {
                Op::Affine { scale, shift, .. } => Some((scale, shift)),
                _ => None,
            };
            inputs.push(if affine.is_some() { graph.input(term) } else { term });
            for at in 0..c {
                weights[at * columns + i * c + at] = affine.map_or(1.0, |(scale, _)| scale[at] as f32);
                bias[at] += affine.map_or(0.0, |(_, shift)| shift[at]);
            }
        }
        let both = Value { op: Op::Concat, inputs, shape: Shape::Vector { c: columns }, ..graph.values[id].clone() };
        graph.insert(id, both);
        replace(graph, id + 1, Op::Linear { weights, outputs: c, bias: Some(bias), name: None }, vec![id]);
    }
    Ok(())
}

/// Only maps can be scaled by channel, so what still scales a vector becomes a matrix. Gives the value whose matrix would
/// be too large.
fn write_vector_scales(graph: &mut PlainGraph) -> Result<(), Id> {
    for id in graph.reached() {
        let (Op::Affine { scale, shift, .. }, Shape::Vector { c }) = (graph.op(id), graph.shape(id)) else { continue };
        if !graph.take(c.saturating_mul(c)) {
            return Err(id);
        }
        let mut weights = vec![0.0; c * c];
        scale.iter().enumerate().for_each(|(at, &scale)| weights[at * (c + 1)] = scale as f32);
        graph.values[id].op = Op::Linear { weights, outputs: c, bias: Some(shift.clone()), name: None };
    }
    Ok(())
}

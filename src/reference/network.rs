//! The reference for whole networks: computes the nodes one after another on the CPU, in f64.

use std::ops::Range;

use rayon::prelude::*;

use super::layer::{Maps, octave_conv_f64};
use super::tensor::Tensor;
use crate::dims::{Dims, InputSize};
use crate::error::Error;
use crate::layer::{Activation, Fraction, Frequency, Resample, Window};
use crate::memory::with_room;
use crate::network::{Checkpoint, Graph, GraphNode, INPUT, PoolKind, Task, ValueId, ValueShape};

/// The value of a node, in f64.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// A map.
    Map {
        /// The high frequency. `None` if it has no channels.
        high: Option<Tensor>,
        /// The low frequency. `None` if it has no channels.
        low: Option<Tensor>,
    },
    /// One vector of `c` elements per sample.
    Vector {
        /// Batch.
        n: u32,
        /// Elements.
        c: u32,
        /// `n * c` elements, sample by sample.
        data: Vec<f64>,
    },
}

impl Value {
    /// The elements of the vector; or those of the map's high frequency, then those of its low frequency.
    pub fn to_f32(&self) -> Vec<f32> {
        match self {
            Self::Map { high, low } => [high, low].into_iter().flatten().flat_map(Tensor::to_f32).collect(),
            Self::Vector { data, .. } => data.iter().map(|&v| v as f32).collect(),
        }
    }

    /// Both frequencies of a map. Nothing for a vector.
    fn parts(&self) -> [Option<&Tensor>; 2] {
        match self {
            Self::Map { high, low } => [high.as_ref(), low.as_ref()],
            Self::Vector { .. } => [None, None],
        }
    }

    /// The elements of a vector. Nothing for a map.
    fn numbers(&self) -> &[f64] {
        match self {
            Self::Map { .. } => &[],
            Self::Vector { data, .. } => data,
        }
    }
}

/// Computes a network and returns the value of its output.
///
/// `input` is `[n, c, t, h, w]`, with the numbers of `size`. `visit` is called with the name and the value of every
/// node, in order. A value is dropped after the last node that reads it.
///
/// # Errors
///
/// - Those of [`Graph::shapes`] if the network cannot have this size.
/// - [`Error::Length`] if `input` has another length.
/// - [`Error::Checkpoint`] if tensors are missing or have other shapes: see [`Checkpoint::fit`].
/// - [`Error::Node`] if the variance + eps of a batch norm is not positive.
/// - [`Error::Limit`] for values of more than 2^32 - 1 elements.
/// - [`Error::OutOfMemory`] if there is no memory for a value.
pub fn run(
    graph: &Graph,
    checkpoint: &Checkpoint,
    size: InputSize,
    input: &[f32],
    visit: &mut dyn FnMut(&str, &Value),
) -> Result<Value, Error> {
    let shapes = graph.shapes(size)?;
    checkpoint.check(graph)?;
    for (id, shape) in shapes.iter().enumerate() {
        let (needs, allowed) = (shape.elements(), u64::from(u32::MAX));
        if needs > allowed {
            let (what, limit) = (graph.name(id).to_string(), "the number of elements that 32-bit indices reach");
            return Err(Error::Limit { what, needs, limit, allowed });
        }
    }
    let dims = Dims { n: size.n, c: graph.network.input.channels, t: size.t, h: size.h, w: size.w };
    if input.len() as u64 != dims.elements() {
        return Err(Error::Length { tensor: INPUT, found: input.len() as u64, shape: dims });
    }

    let last_readers = last_readers(graph);
    let mut values: Vec<Option<Value>> = vec![None; shapes.len()];
    with_room::<f64>(dims.elements(), "the reference, with an input").map(drop)?;
    values[0] = Some(Value::Map { high: Some(Tensor::new(dims, input)), low: None });
    for (index, node) in graph.nodes.iter().enumerate() {
        let id = index + 1;
        let value = Run { graph, checkpoint, shapes: &shapes, values: &values }
            .node(node, id)
            .map_err(|error| Error::Node { node: node.name.clone(), error: Box::new(error) })?;
        visit(&node.name, &value);
        values[id] = Some(value);
        for (value, _) in values.iter_mut().zip(&last_readers).filter(|&(_, &reader)| reader == id) {
            *value = None;
        }
    }
    // The output has no last reader.
    values.swap_remove(graph.output).ok_or_else(|| Error::Description { problem: "there is no output".into() })
}

/// Computes the value of one node from `values`, which has those that it reads.
#[cfg(feature = "verify")]
pub(crate) fn node(
    graph: &Graph,
    checkpoint: &Checkpoint,
    shapes: &[ValueShape],
    values: &[Option<Value>],
    index: usize,
) -> Result<Value, Error> {
    Run { graph, checkpoint, shapes, values }.node(&graph.nodes[index], index + 1)
}

/// For each value the last node that reads it. That is the node that makes it if none reads it, and no node for the
/// output.
fn last_readers(graph: &Graph) -> Vec<ValueId> {
    let mut last: Vec<ValueId> = (0..=graph.nodes.len()).collect();
    for (index, node) in graph.nodes.iter().enumerate() {
        for &input in node.inputs.iter().chain(&node.residual) {
            last[input] = index + 1;
        }
    }
    last[graph.output] = ValueId::MAX;
    last
}

struct Run<'a> {
    graph: &'a Graph,
    checkpoint: &'a Checkpoint,
    shapes: &'a [ValueShape],
    values: &'a [Option<Value>],
}

impl Run<'_> {
    /// Both frequencies of a map that a node reads.
    fn map(&self, id: ValueId) -> [Option<&Tensor>; 2] {
        self.values[id].as_ref().map_or([None, None], Value::parts)
    }

    fn vector(&self, id: ValueId) -> &[f64] {
        self.values[id].as_ref().map_or(&[], Value::numbers)
    }

    /// A tensor of the node, in f64.
    fn tensor(&self, node: &GraphNode, name: &str) -> Vec<f64> {
        let tensor = self.checkpoint.get(&format!("{}.{name}", node.name));
        tensor.unwrap_or_default().iter().map(|&v| f64::from(v)).collect()
    }

    fn node(&self, node: &GraphNode, id: ValueId) -> Result<Value, Error> {
        // Attention and concatenation have what they make twice for a while. Convolutions ask for their own.
        let times = if matches!(node.task, Task::Attention { .. } | Task::Concat) { 2 } else { 1 };
        with_room::<f64>(self.shapes[id].elements().saturating_mul(times), "the reference, with values").map(drop)?;
        let eps = self.graph.network.norm_eps;
        let input = node.inputs[0];
        let [high, low] = self.map(input);
        let (out, n) = match self.shapes[id] {
            ValueShape::Map { high, low, size } => ([high, low], size.n),
            ValueShape::Vector { n, .. } => ([None, None], n),
        };
        let parts = |function: &dyn Fn(&Tensor, Frequency) -> Tensor| Value::Map {
            high: high.map(|x| function(x, Frequency::High)),
            low: low.map(|x| function(x, Frequency::Low)),
        };
        let vector = |data: Vec<f64>| Value::Vector { n, c: (data.len() / n as usize) as u32, data };
        Ok(match &node.task {
            Task::Conv { spec, .. } => {
                let ValueShape::Map { size, .. } = self.shapes[input] else { return Err(not_a_map()) };
                let [residual_h, residual_l] = node.residual.map_or([None, None], |id| self.map(id));
                let maps = Maps { x_h: high, x_l: low, x_p: None, residual_h, residual_l };
                let weights = self.checkpoint.conv_weights(&node.name, eps);
                let [high, low] = octave_conv_f64(spec, size, &weights, &maps)?;
                Value::Map { high, low }
            }
            Task::Pool { kind, window } => {
                let pooled = |x: Option<&Tensor>, to: Option<Dims>| Some(pool(x?, to?, *kind, window));
                Value::Map { high: pooled(high, out[0]), low: pooled(low, out[1]) }
            }
            Task::Upsample { resample, .. } => {
                let upsampled = |x: Option<&Tensor>, to: Option<Dims>| Some(upsample(x?, to?, resample));
                Value::Map { high: upsampled(high, out[0]), low: upsampled(low, out[1]) }
            }
            Task::Activation { activation } => match self.shapes[id] {
                ValueShape::Map { .. } => parts(&|x, _| by_channel(x, |_| (1.0, 0.0), None, *activation)),
                ValueShape::Vector { .. } => vector(self.vector(input).iter().map(|&x| activation.apply(x)).collect()),
            },
            Task::Add { activation } => {
                let sum = |part: usize| {
                    let mut terms = node.inputs.iter().filter_map(|&id| self.map(id)[part]);
                    Some(add(terms.next()?.clone(), terms, *activation))
                };
                Value::Map { high: sum(0), low: sum(1) }
            }
            Task::Norm { activation, .. } => {
                let factors = |frequency| self.checkpoint.factors(&node.name, frequency, eps);
                let (of_high, of_low) = (factors(Frequency::High)?, factors(Frequency::Low)?);
                parts(&|x, frequency| {
                    let factors = if frequency == Frequency::High { &of_high } else { &of_low };
                    let factor = |c: usize| factors.as_ref().map_or((1.0, 0.0), |f| f[c % x.dims.c as usize]);
                    by_channel(x, factor, None, *activation)
                })
            }
            Task::Concat if matches!(self.shapes[id], ValueShape::Vector { .. }) => {
                let rows = |sample: usize| {
                    let row = move |x: &[f64]| {
                        let c = x.len() / n as usize;
                        x[sample * c..(sample + 1) * c].to_vec()
                    };
                    node.inputs.iter().flat_map(move |&id| row(self.vector(id)))
                };
                vector((0..n as usize).flat_map(rows).collect())
            }
            Task::Concat => {
                let maps: Vec<_> = node.inputs.iter().map(|&id| self.map(id)).collect();
                let joined = |part: usize| Some(concat(maps.iter().filter_map(|map| map[part]), out[part]?));
                Value::Map { high: joined(0), low: joined(1) }
            }
            Task::Excite { activation, .. } => {
                let residual = node.residual.map_or([None, None], |id| self.map(id));
                let squeeze = [self.tensor(node, "squeeze.weight"), self.tensor(node, "squeeze.bias")];
                let mut reduced = linear(&means([high, low], n), n, &squeeze);
                reduced.iter_mut().for_each(|v| *v = Activation::Relu.apply(*v));
                parts(&|x, frequency| {
                    let (letter, residual) = match frequency {
                        Frequency::High => ("h", residual[0]),
                        Frequency::Low => ("l", residual[1]),
                    };
                    let excite = ["weight", "bias"].map(|name| self.tensor(node, &format!("excite_{letter}.{name}")));
                    let scale = linear(&reduced, n, &excite);
                    by_channel(x, |c| (1.0 / (1.0 + (-scale[c]).exp()), 0.0), residual, *activation)
                })
            }
            Task::Attention { scale } => {
                let [queries, keys, values] = [0, 1, 2].map(|i| self.map(node.inputs[i]));
                let of = |part: usize| {
                    let (queries, keys, values) = (queries[part]?, keys[part]?, values[part]?);
                    Some(attention(queries, keys, values, scale.of(keys.dims.c)))
                };
                Value::Map { high: of(0), low: of(1) }
            }
            Task::Gate => {
                let factors = self.vector(node.inputs[1]);
                let first = |frequency| if frequency == Frequency::High { 0 } else { high.map_or(0, |x| x.dims.c) };
                parts(&|x, frequency| {
                    // Channel `c` of sample `c / channels`, in a vector that has those of the other frequency too.
                    let (channels, each) = (x.dims.c as usize, factors.len() / n as usize);
                    let at = |c: usize| c / channels * each + first(frequency) as usize + c % channels;
                    by_channel(x, |c| (factors[at(c)], 0.0), None, Activation::None)
                })
            }
            Task::GlobalPool => vector(means([high, low], n)),
            Task::Linear { activation, .. } => {
                let matrix = [self.tensor(node, "weight"), self.tensor(node, "bias")];
                let ValueShape::Vector { c, .. } = self.shapes[id] else { return Err(not_a_map()) };
                let mut data = linear(self.vector(input), n, &matrix);
                data.iter_mut().for_each(|y| *y = activation.apply(*y));
                Value::Vector { n, c, data }
            }
            Task::Softmax => {
                let scores = self.vector(input);
                vector(scores.chunks((scores.len() / n as usize).max(1)).flat_map(softmax).collect())
            }
        })
    }
}

/// Never happens, because the graph refuses such nodes.
fn not_a_map() -> Error {
    Error::Description { problem: "it reads or makes a value of the wrong kind".into() }
}

/// The activation of x * factor + shift + residual. `affine(n * channels + c)` gives factor and shift of channel `c` of
/// sample `n`.
fn by_channel(
    x: &Tensor,
    affine: impl Fn(usize) -> (f64, f64) + Sync,
    residual: Option<&Tensor>,
    activation: Activation,
) -> Tensor {
    let volume = volume(x.dims);
    let mut data = x.data.clone();
    data.par_chunks_mut(volume).enumerate().for_each(|(channel, values)| {
        let (factor, shift) = affine(channel);
        for (i, y) in values.iter_mut().enumerate() {
            let residual = residual.map_or(0.0, |residual| residual.data[channel * volume + i]);
            *y = activation.apply(*y * factor + shift + residual);
        }
    });
    Tensor { dims: x.dims, data }
}

/// Elements of one channel of one sample.
fn volume(dims: Dims) -> usize {
    (dims.t as usize * dims.h as usize * dims.w as usize).max(1)
}

/// For each sample, the means of the high channels, then of the low channels.
fn means(map: [Option<&Tensor>; 2], n: u32) -> Vec<f64> {
    let means = map.map(|x| match x {
        Some(x) => {
            x.data.chunks(volume(x.dims)).map(|values| values.iter().sum::<f64>() / values.len() as f64).collect()
        }
        None => Vec::new(),
    });
    let of_sample = |means: &[f64], sample: usize| {
        let c = means.len() / n as usize;
        means[sample * c..(sample + 1) * c].to_vec()
    };
    (0..n as usize).flat_map(|sample| means.iter().flat_map(move |means| of_sample(means, sample))).collect()
}

/// Each row of `x` times a matrix `[outputs, inputs]`, plus a bias, which may be empty.
fn linear(x: &[f64], n: u32, [weight, bias]: &[Vec<f64>; 2]) -> Vec<f64> {
    let inputs = (x.len() / n as usize).max(1);
    let dot = |row: &[f64], x: &[f64]| row.iter().zip(x).map(|(w, x)| w * x).sum::<f64>();
    let output = |x, (i, row)| dot(row, x) + bias.get(i).copied().unwrap_or(0.0);
    x.chunks(inputs).flat_map(|x| weight.chunks(inputs).enumerate().map(move |row| output(x, row))).collect()
}

fn softmax(scores: &[f64]) -> Vec<f64> {
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exps: Vec<f64> = scores.iter().map(|score| (score - max).exp()).collect();
    let sum: f64 = exps.iter().sum();
    exps.into_iter().map(|exp| exp / sum).collect()
}

/// For each position of the queries the mean of the values, weighted by the softmax of its scores.
fn attention(queries: &Tensor, keys: &Tensor, values: &Tensor, scale: f64) -> Tensor {
    let (from, to) = (volume(keys.dims), volume(queries.dims));
    let (depth, channels) = (keys.dims.c as usize, values.dims.c as usize);
    // The channels of one position.
    let column = |column: usize| {
        let (sample, i) = (column / to, column % to);
        let queries = &queries.data[sample * depth * to..][..depth * to];
        let keys = &keys.data[sample * depth * from..][..depth * from];
        let values = &values.data[sample * channels * from..][..channels * from];
        let score = |j: usize| scale * (0..depth).map(|d| queries[d * to + i] * keys[d * from + j]).sum::<f64>();
        let weights = softmax(&(0..from).map(score).collect::<Vec<_>>());
        let mean = |values: &[f64]| values.iter().zip(&weights).map(|(value, weight)| value * weight).sum::<f64>();
        values.chunks(from).map(mean).collect::<Vec<_>>()
    };
    let columns: Vec<Vec<f64>> = (0..queries.dims.n as usize * to).into_par_iter().map(column).collect();
    let dims = queries.dims.with_channels(values.dims.c);
    let mut data = vec![0.0; dims.elements() as usize];
    for (plane, elements) in data.chunks_mut(to).enumerate() {
        let (sample, channel) = (plane / channels, plane % channels);
        elements.iter_mut().zip(&columns[sample * to..]).for_each(|(y, column)| *y = column[channel]);
    }
    Tensor { dims, data }
}

/// Concatenates channels.
fn concat<'a>(parts: impl Iterator<Item = &'a Tensor>, dims: Dims) -> Tensor {
    let parts: Vec<&Tensor> = parts.collect();
    let of_sample = |x: &Tensor, sample: usize| {
        let elements = x.dims.c as usize * volume(x.dims);
        x.data[sample * elements..(sample + 1) * elements].to_vec()
    };
    let data = (0..dims.n as usize).flat_map(|sample| parts.iter().flat_map(move |x| of_sample(x, sample))).collect();
    Tensor { dims, data }
}

/// The activation of the sum of `first` and `others`.
fn add<'a>(first: Tensor, others: impl Iterator<Item = &'a Tensor>, activation: Activation) -> Tensor {
    let mut sum = first;
    for other in others {
        sum.data.iter_mut().zip(&other.data).for_each(|(sum, term)| *sum += term);
    }
    sum.data.iter_mut().for_each(|y| *y = activation.apply(*y));
    sum
}

/// Each element is the sum of those around its place in `x`, times how near they are; or the one at its place.
fn upsample(x: &Tensor, dims: Dims, resample: &Resample) -> Tensor {
    let (from, to) = ([x.dims.t, x.dims.h, x.dims.w], [dims.t, dims.h, dims.w]);
    let of_axis =
        |axis: usize| -> Vec<_> { (0..to[axis]).map(|i| around(resample, axis, i, from[axis], to[axis])).collect() };
    let places = [0, 1, 2].map(of_axis);
    let [_, h_in, w_in] = from.map(|size| size as usize);
    let [_, h_out, w_out] = to.map(|size| size as usize);
    let mut data = vec![0.0; dims.elements() as usize];
    data.par_chunks_mut(volume(dims)).zip(x.data.par_chunks(volume(x.dims))).for_each(|(out, volume)| {
        for (i, y) in out.iter_mut().enumerate() {
            let (t, h, w) = (i / (h_out * w_out), i / w_out % h_out, i % w_out);
            for &(frame, by_frame) in &places[0][t] {
                for &(row, by_row) in &places[1][h] {
                    for &(col, by_col) in &places[2][w] {
                        *y += by_frame * by_row * by_col * volume[(frame * h_in + row) * w_in + col];
                    }
                }
            }
        }
    });
    Tensor { dims, data }
}

/// The elements of an axis of `from` around the place of element `i` of one of `to`, each with its weight.
fn around(resample: &Resample, axis: usize, i: u32, from: u32, to: u32) -> Vec<(usize, f64)> {
    let Fraction { above, below } = resample.distance(axis, from, to);
    let (i, above, below, last) = (u64::from(i), u64::from(above), u64::from(below), from as usize - 1);
    if !resample.interpolates(axis) {
        return vec![(((i * above / below) as usize).min(last), 1.0)];
    }
    // i above / below, or (i + 1/2) above / below - 1/2 but not less than 0, as a fraction of whole numbers.
    let (above, below) = match resample.align_corners {
        true => (i * above, below),
        false => (((2 * i + 1) * above).saturating_sub(below), 2 * below),
    };
    let first = ((above / below) as usize).min(last);
    let behind = (above % below) as f64 / below as f64;
    vec![(first, 1.0 - behind), ((first + 1).min(last), behind)]
}

/// The maximum of the elements of each pool window that lie inside the map; or their sum, divided by their number, to
/// which the positions in the padding may be added.
fn pool(x: &Tensor, dims: Dims, kind: PoolKind, window: &Window) -> Tensor {
    let Dims { t: t_in, h: h_in, w: w_in, .. } = x.dims;
    let (h_out, w_out) = (dims.h as usize, dims.w as usize);
    // The positions of a pool window along an axis, from `before` before the map to `behind` behind it.
    let within = |axis: usize, output: usize, [before, behind]: [u32; 2]| -> Range<i64> {
        let [kernel, stride, padding] =
            [window.kernel, window.stride, window.padding].map(|numbers| i64::from(numbers[axis]));
        let size = i64::from([t_in, h_in, w_in][axis]);
        let start = output as i64 * stride - padding;
        start.max(-i64::from(before))..(start + kernel).min(size + i64::from(behind))
    };
    let inside = |axis: usize, output: usize| {
        let Range { start, end } = within(axis, output, [0, 0]);
        start as usize..end as usize
    };
    let counted = window.counted();
    let count = |axis: usize, output: usize| {
        let Range { start, end } = within(axis, output, counted.map(|numbers| numbers[axis]));
        (end - start) as f64
    };
    let mut data = vec![0.0; dims.elements() as usize];
    data.par_chunks_mut(volume(dims)).zip(x.data.par_chunks(volume(x.dims))).for_each(|(out, volume)| {
        for (i, y) in out.iter_mut().enumerate() {
            let (t, h, w) = (i / (h_out * w_out), i / w_out % h_out, i % w_out);
            let (frames, rows, columns) = (inside(0, t), inside(1, h), inside(2, w));
            let count = count(0, t) * count(1, h) * count(2, w);
            let rows = frames.flat_map(|t| rows.clone().map(move |row| t * h_in as usize + row));
            let elements = rows.flat_map(|row| &volume[row * w_in as usize..][columns.clone()]).copied();
            *y = match kind {
                // Not f64::max, which would lose a NaN.
                PoolKind::Max => elements.fold(f64::NEG_INFINITY, |m, v| if v > m || v.is_nan() { v } else { m }),
                PoolKind::Average => elements.sum::<f64>() / count,
            };
        }
    });
    Tensor { dims, data }
}

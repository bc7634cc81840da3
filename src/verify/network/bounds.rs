//! How far the device's value of a node may be from the reference's, as the documentation of [`super`] derives it.

use crate::device::DeviceFacts;
use crate::error::Error;
use crate::error_bounds::Bounds;
use crate::kernels::attention;
use crate::kernels::job::Slice;
use crate::layer::{Activation, Frequency, Spec};
use crate::network::{Checkpoint, Graph, GraphNode, NetworkPlan, PoolKind, Scale, Task, ValueId, ValueShape};
use crate::plan::{Options, Plan};
use crate::reference::network::{Value, node};
use crate::reference::{Maps, Tensor, magnitude_f64};
use crate::winograd::Transform;

/// The unit roundoff of f32.
const U: f64 = 1.0 / (1u64 << 24) as f64;

/// How much a sum of `terms` terms errs, times the sum of their magnitudes.
fn rounding(terms: f64) -> f64 {
    (8.0 * terms.sqrt() + 16.0) * U
}

/// The bound of a value `y` that is stored in f32, with a bound of `error` before.
fn stored(y: f64, error: f64) -> f64 {
    error + 4.0 * U * y.abs()
}

/// The bound of an activation's value `y`, if its argument is off by at most `error`, and at most `magnitude` large.
fn activated(activation: Activation, y: f64, magnitude: f64, error: f64) -> f64 {
    let error = activation.lipschitz() * error;
    stored(y, error + activation.own_error(magnitude, y.abs() + error))
}

/// Everything that bounds follow from. `values` and `errors` have those of all nodes so far.
pub(super) struct NodeBounds<'a> {
    pub(super) graph: &'a Graph,
    pub(super) checkpoint: &'a Checkpoint,
    pub(super) plan: &'a NetworkPlan,
    pub(super) facts: &'a DeviceFacts,
    /// What the reference goes on with.
    pub(super) values: &'a [Option<Value>],
    /// How far the device's values may be from these.
    pub(super) errors: &'a [Option<Value>],
}

/// Both frequencies of a map.
type Parts = [Option<Tensor>; 2];

fn parts(value: Option<&Value>) -> Parts {
    match value {
        Some(Value::Map { high, low }) => [high.clone(), low.clone()],
        _ => [None, None],
    }
}

fn numbers(value: Option<&Value>) -> &[f64] {
    match value {
        Some(Value::Vector { data, .. }) => data,
        _ => &[],
    }
}

/// `function` of each element and its index.
fn each(tensor: &Tensor, function: impl Fn(usize, f64) -> f64) -> Tensor {
    let data = tensor.data.iter().enumerate().map(|(i, &v)| function(i, v)).collect();
    Tensor { dims: tensor.dims, data }
}

/// `function` of each element and its index, in all parts of a value. The index counts within a part.
fn each_of(value: &Value, function: impl Fn(usize, usize, f64) -> f64) -> Value {
    let part =
        |index: usize, part: &Option<Tensor>| part.as_ref().map(|tensor| each(tensor, |i, v| function(index, i, v)));
    match value {
        Value::Map { high, low } => Value::Map { high: part(0, high), low: part(1, low) },
        Value::Vector { n, c, data } => {
            let data = data.iter().enumerate().map(|(i, &v)| function(0, i, v)).collect();
            Value::Vector { n: *n, c: *c, data }
        }
    }
}

/// Element `i` of part `part`, or 0 if there is none.
fn at(value: Option<&Value>, part: usize, i: usize) -> f64 {
    let data = match value {
        Some(Value::Map { high, low }) => [high, low][part].as_ref().map(|tensor| tensor.data.as_slice()),
        Some(Value::Vector { data, .. }) => Some(data.as_slice()),
        None => None,
    };
    data.and_then(|data| data.get(i)).copied().unwrap_or(0.0)
}

impl NodeBounds<'_> {
    /// The bounds of the value `y` of node `index`.
    pub(super) fn of(&self, index: usize, y: &Value) -> Result<Value, Error> {
        let node = &self.graph.nodes[index];
        let input = node.inputs[0];
        // What a sum of errors or of magnitudes is: the node itself, which has no signs.
        let same = |values: &[Option<Value>]| self.node(values, index);
        Ok(match &node.task {
            Task::Conv { spec, .. } => self.conv(index, node, spec, y)?,
            Task::Concat | Task::Pool { kind: PoolKind::Max, .. } => same(self.errors)?,
            Task::Upsample { resample, .. } if !resample.bilinear => same(self.errors)?,
            Task::Upsample { .. } => self.mean(y, 4.0, &same(self.errors)?, &same(&self.magnitudes())?),
            Task::Pool { window, .. } => {
                let terms = window.kernel.iter().map(|&k| f64::from(k)).product();
                self.mean(y, terms, &same(self.errors)?, &same(&self.magnitudes())?)
            }
            Task::GlobalPool => {
                self.mean(y, self.largest_plane(input), &same(self.errors)?, &same(&self.magnitudes())?)
            }
            Task::Norm { activation, .. } => self.norm(node, *activation, y)?,
            Task::Activation { activation } => {
                let (x, e) = (self.value(input), self.error(input));
                each_of(y, |part, i, y| {
                    let error = at(e, part, i);
                    activated(*activation, y, at(x, part, i).abs() + error, error)
                })
            }
            Task::Add { activation } => self.add(node, *activation, y),
            Task::Excite { activation, .. } => self.excite(node, *activation, y),
            Task::Attention { scale } => self.attention(node, *scale, y),
            Task::Gate => self.gate(node, y),
            Task::Linear { activation, .. } => {
                let tensors = ["weight", "bias"].map(|name| self.tensor(node, name));
                let (x, e) = (self.value(input), self.error(input));
                let linear = Linear::new(self.samples(), numbers(x), numbers(e), &tensors);
                let bound = linear.bound();
                each_of(y, |_, i, y| activated(*activation, y, linear.magnitude[i], bound[i]))
            }
            Task::Softmax => self.softmax(input, y),
        })
    }

    fn node(&self, values: &[Option<Value>], index: usize) -> Result<Value, Error> {
        node(self.graph, self.checkpoint, self.plan.shapes(), values, index)
    }

    fn samples(&self) -> usize {
        self.plan.size().n as usize
    }

    fn value(&self, id: ValueId) -> Option<&Value> {
        self.values[id].as_ref()
    }

    fn error(&self, id: ValueId) -> Option<&Value> {
        self.errors[id].as_ref()
    }

    /// The largest that the elements of a value may be on the device.
    fn magnitude(&self, id: ValueId) -> Option<Value> {
        Some(each_of(self.value(id)?, |part, i, v| v.abs() + at(self.error(id), part, i)))
    }

    fn magnitudes(&self) -> Vec<Option<Value>> {
        (0..self.values.len()).map(|id| self.magnitude(id)).collect()
    }

    fn tensor(&self, node: &GraphNode, name: &str) -> Vec<f64> {
        let tensor = self.checkpoint.get(&format!("{}.{name}", node.name)).unwrap_or_default();
        tensor.iter().map(|&v| f64::from(v)).collect()
    }

    /// Elements of the largest channel of a map.
    fn largest_plane(&self, id: ValueId) -> f64 {
        let planes = parts(self.value(id)).into_iter().flatten().map(|x| x.dims.with_channels(1).elements());
        planes.max().unwrap_or(1) as f64
    }

    /// Means of `terms` elements, weighted or not.
    fn mean(&self, y: &Value, terms: f64, errors: &Value, magnitudes: &Value) -> Value {
        let bound = |part, i| at(Some(errors), part, i) + rounding(terms) * at(Some(magnitudes), part, i);
        each_of(y, |part, i, y| stored(y, bound(part, i)))
    }

    fn conv(&self, index: usize, node: &GraphNode, spec: &Spec, y: &Value) -> Result<Value, Error> {
        let input = node.inputs[0];
        let layer = self.plan.layer_of(index);
        let (Some(layer), ValueShape::Map { size, .. }) = (layer, self.plan.shapes()[input]) else {
            return Err(Error::Description { problem: "it has no plan".into() });
        };
        let options = Options { variant: Some(layer.variant), ..layer.options };
        // What runs may do the work of other nodes too, and end with the activation of a sum.
        let residual = layer.spec.has_residual(Frequency::High);
        let planned = layer.spec.ending(residual, spec.activation());
        let plan = Plan::new(&planned, layer.size, &options, self.facts)?;
        // The size of inputs counts only in f16.
        let bounds = [Frequency::High, Frequency::Low].map(|frequency| Bounds::new(&plan, frequency, 1.0));
        let weights = self.checkpoint.conv_weights(&node.name, self.graph.network.norm_eps);
        let magnitudes = |value: &dyn Fn(ValueId) -> Option<Value>, transform| {
            let [x_h, x_l] = parts(value(input).as_ref());
            let [residual_h, residual_l] = parts(node.residual.and_then(value).as_ref());
            let maps = Maps {
                x_h: x_h.as_ref(),
                x_l: x_l.as_ref(),
                x_p: None,
                residual_h: residual_h.as_ref(),
                residual_l: residual_l.as_ref(),
            };
            let [high, low] = magnitude_f64(spec, size, &weights, &maps, transform)?;
            Ok::<_, Error>(Value::Map { high, low })
        };
        let largest = magnitudes(&|id| self.magnitude(id), None)?;
        let absolute = |id| Some(each_of(self.value(id)?, |_, _, v| v.abs()));
        let without_errors = magnitudes(&absolute, None)?;
        let rounded = match plan.variant().transformed_outputs() {
            None => largest.clone(),
            Some(m) => magnitudes(&|id| self.magnitude(id), Some(Transform::of(m)))?,
        };
        Ok(each_of(y, |part, i, y| {
            // All terms but those of the errors are the same in both.
            let incoming = at(Some(&largest), part, i) - at(Some(&without_errors), part, i);
            let incoming = spec.activation().lipschitz() * incoming.max(0.0);
            let bound = incoming + bounds[part].of_output(y.abs() + incoming, at(Some(&rounded), part, i));
            bounds[part].stored(y, bound)
        }))
    }

    fn norm(&self, node: &GraphNode, activation: Activation, y: &Value) -> Result<Value, Error> {
        let (input, eps) = (node.inputs[0], self.graph.network.norm_eps);
        let factors = |f| self.checkpoint.factors(&node.name, f, eps);
        let norms = [factors(Frequency::High)?, factors(Frequency::Low)?];
        let dims = parts(Some(y)).map(|part| part.map(|tensor| tensor.dims));
        Ok(each_of(y, |part, i, y| {
            let (Some(norm), Some(dims)) = (&norms[part], dims[part]) else { return 0.0 };
            let plane = dims.with_channels(1).elements() / u64::from(dims.n);
            let (factor, shift) = norm[i / plane as usize % dims.c as usize];
            let error = at(self.error(input), part, i);
            let magnitude = factor.abs() * (at(self.value(input), part, i).abs() + error) + shift.abs();
            activated(activation, y, magnitude, factor.abs() * error + rounding(2.0) * magnitude)
        }))
    }

    fn add(&self, node: &GraphNode, activation: Activation, y: &Value) -> Value {
        let sum = |term: &dyn Fn(ValueId) -> f64| node.inputs.iter().map(|&id| term(id)).sum::<f64>();
        each_of(y, |part, i, y| {
            let error = sum(&|id| at(self.error(id), part, i));
            let magnitude = sum(&|id| at(self.value(id), part, i).abs()) + error;
            activated(activation, y, magnitude, error + rounding(node.inputs.len() as f64) * magnitude)
        })
    }

    fn excite(&self, node: &GraphNode, activation: Activation, y: &Value) -> Value {
        let input = node.inputs[0];
        let (x, e) = (parts(self.value(input)), parts(self.error(input)));
        let n = self.samples();
        let (means, mean_errors) = (means(&x, n, |v| v), means(&e, n, |v| v));
        let sizes = means_of_magnitudes(&x, &e, n);
        let mean_errors: Vec<f64> =
            mean_errors.iter().zip(&sizes).map(|(e, s)| e + rounding(self.largest_plane(input)) * s).collect();
        let squeeze = ["squeeze.weight", "squeeze.bias"].map(|name| self.tensor(node, name));
        let squeeze = Linear::new(n, &means, &mean_errors, &squeeze);
        let reduced: Vec<f64> = squeeze.y.iter().map(|v| v.max(0.0)).collect();
        let factors = ["h", "l"].map(|letter| {
            let tensors = ["weight", "bias"].map(|name| self.tensor(node, &format!("excite_{letter}.{name}")));
            let scores = Linear::new(n, &reduced, &squeeze.bound(), &tensors);
            let (factors, sigmoid) = (scores.y.iter().map(|&v| Activation::Sigmoid.apply(v)), Activation::Sigmoid);
            let bounds = scores.bound();
            let factors = factors.enumerate().map(|(i, f)| (f, activated(sigmoid, f, scores.magnitude[i], bounds[i])));
            factors.collect::<Vec<_>>()
        });
        let residual = |part, i| {
            let (value, error) = node.residual.map_or((None, None), |id| (self.value(id), self.error(id)));
            (at(value, part, i).abs(), at(error, part, i))
        };
        each_of(y, |part, i, y| {
            let Some(dims) = x[part].as_ref().map(|x| x.dims) else { return 0.0 };
            let plane = dims.with_channels(1).elements() / u64::from(dims.n);
            let (factor, factor_error) = factors[part][i / plane as usize];
            let error = at(self.error(input), part, i);
            let size = at(self.value(input), part, i).abs() + error;
            let (residual, residual_error) = residual(part, i);
            let incoming = factor * error + size * factor_error + residual_error;
            let magnitude = size * (factor + factor_error) + residual + residual_error;
            activated(activation, y, magnitude, incoming + rounding(2.0) * magnitude)
        })
    }

    fn attention(&self, node: &GraphNode, scale: Scale, y: &Value) -> Value {
        let values = [0, 1, 2].map(|i| parts(self.value(node.inputs[i])));
        let errors = [0, 1, 2].map(|i| parts(self.error(node.inputs[i])));
        let bound = |part: usize, y: &Tensor| {
            let of = |tensors: &[Parts; 3]| {
                let [q, k, v] = tensors;
                Some([q[part].clone()?, k[part].clone()?, v[part].clone()?])
            };
            let (x, e) = of(&values).zip(of(&errors))?;
            let [queries, keys, values] = x.each_ref().map(|tensor| tensor.dims);
            let scale = scale.of(keys.c);
            let job = attention::Job { queries, keys, values, scale: scale as f32, slice: Slice::whole(values.c) };
            let tiles = attention::tiles_of_keys(self.facts, &job) as f64;
            Some(attended(&x, &e, scale, tiles, y))
        };
        match y {
            Value::Map { high, low } => {
                let of = |part, y: &Option<Tensor>| y.as_ref().and_then(|y| bound(part, y));
                Value::Map { high: of(0, high), low: of(1, low) }
            }
            Value::Vector { .. } => y.clone(),
        }
    }

    fn gate(&self, node: &GraphNode, y: &Value) -> Value {
        let (x, e) = (self.value(node.inputs[0]), self.error(node.inputs[0]));
        let (factors, factor_errors) = (numbers(self.value(node.inputs[1])), numbers(self.error(node.inputs[1])));
        let dims = parts(x).map(|part| part.map(|tensor| tensor.dims));
        let channels = dims.map(|dims| dims.map_or(0, |dims| dims.c as usize));
        each_of(y, |part, i, y| {
            let Some(dims) = dims[part] else { return 0.0 };
            let plane = (dims.with_channels(1).elements() / u64::from(dims.n)) as usize;
            let (sample, channel) = (i / plane / channels[part], i / plane % channels[part]);
            let first = if part == 0 { 0 } else { channels[0] };
            let of = sample * (channels[0] + channels[1]) + first + channel;
            let (factor, factor_error) = (factors[of].abs(), factor_errors[of]);
            let (size, error) = (at(x, part, i).abs(), at(e, part, i));
            let incoming = factor * error + (size + error) * factor_error;
            stored(y, incoming + rounding(1.0) * (size + error) * (factor + factor_error))
        })
    }

    fn softmax(&self, input: ValueId, y: &Value) -> Value {
        let (x, e) = (numbers(self.value(input)), numbers(self.error(input)));
        let Value::Vector { c, .. } = y else { return y.clone() };
        let row = |i: usize| i / *c as usize * *c as usize..(i / *c as usize + 1) * *c as usize;
        each_of(y, |_, i, y| {
            let (x, error) = (&x[row(i)], e[row(i)].iter().copied().fold(0.0, f64::max));
            let range = x.iter().copied().fold(f64::NEG_INFINITY, f64::max)
                - x.iter().copied().fold(f64::INFINITY, f64::min)
                + 2.0 * error;
            // WGSL's exp(x) is off by up to 3 + 2 |x| ulp, and x - max is rounded.
            let relative = ((2.0 * error).exp() - 1.0) + (rounding(x.len() as f64) + (8.0 + 6.0 * range) * U);
            // An exponential may be subnormal, and flushed to zero.
            stored(y, relative * y + 2f64.powi(-125))
        })
    }
}

/// The bounds of the attention `y` of queries, keys and values `x`, whose errors are at most `e`. The device goes through
/// the keys in so many tiles.
fn attended(x: &[Tensor; 3], e: &[Tensor; 3], scale: f64, tiles: f64, y: &Tensor) -> Tensor {
    let [to, from] = [x[0].dims, x[1].dims].map(|dims| dims.positions() as usize);
    let [depth, channels] = [x[1].dims.c, x[2].dims.c].map(|c| c as usize);
    let mut data = vec![0.0; y.data.len()];
    for column in 0..y.dims.n as usize * to {
        let (sample, i) = (column / to, column % to);
        let of = |tensors: &[Tensor; 3], d: usize, j: usize| {
            let [query, key] = [(sample * depth + d) * to + i, (sample * depth + d) * from + j];
            (tensors[0].data[query], tensors[1].data[key])
        };
        // Scores, and how far they may be off.
        let mut scores = Vec::with_capacity(from);
        let (mut off, mut exact) = (0.0f64, 0.0f64);
        for j in 0..from {
            let (mut score, mut size, mut magnitude) = (0.0, 0.0, 0.0);
            for d in 0..depth {
                let ((q, k), (e_q, e_k)) = (of(x, d, j), of(e, d, j));
                score += scale * q * k;
                size += scale.abs() * (q * k).abs();
                magnitude += scale.abs() * (q.abs() + e_q) * (k.abs() + e_k);
            }
            scores.push(score);
            exact = exact.max(magnitude - size);
            off = off.max((rounding(depth as f64) + 4.0 * U) * magnitude);
        }
        let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let range = largest - scores.iter().copied().fold(f64::INFINITY, f64::min) + 2.0 * (exact + off);
        let sum: f64 = scores.iter().map(|score| (score - largest).exp()).sum();
        let error = exact + off + attention::exponent_error(tiles, range) * U;
        let factor = (2.0 * error).exp();
        let rounding = rounding(from as f64 + tiles);
        for c in 0..channels {
            let row = (sample * channels + c) * from;
            let (mut size, mut incoming, mut most) = (0.0, 0.0, 0.0f64);
            for (j, score) in scores.iter().enumerate() {
                let weight = (score - largest).exp() / sum;
                let (value, e_v) = (x[2].data[row + j].abs(), e[2].data[row + j]);
                size += weight * value;
                incoming += weight * e_v;
                most = most.max(value + e_v);
            }
            let at = (sample * channels + c) * to + i;
            let bound = (factor - 1.0) * size + factor * (incoming + 2.0 * rounding * (size + incoming));
            // A mean is not beyond the largest of its values, whatever their weights. But that says nothing of a score that
            // is infinite.
            let largest = y.data[at].abs() + most * (1.0 + 4.0 * rounding);
            let bound = if range.is_finite() { bound.min(largest) } else { f64::INFINITY };
            // A weight may be subnormal, and flushed to zero.
            data[at] = stored(y.data[at], bound + from as f64 * most * 2f64.powi(-125) + 2f64.powi(-125));
        }
    }
    Tensor { dims: y.dims, data }
}

/// For each sample, the means of `function` of the elements of each high channel, then of each low channel.
fn means(map: &Parts, n: usize, function: impl Fn(f64) -> f64) -> Vec<f64> {
    let channels = |x: &Tensor, sample: usize| -> Vec<f64> {
        let (c, plane) = (x.dims.c as usize, x.data.len() / (n * x.dims.c as usize));
        let mean = |values: &[f64]| values.iter().map(|&v| function(v)).sum::<f64>() / plane as f64;
        x.data[sample * c * plane..(sample + 1) * c * plane].chunks(plane).map(mean).collect()
    };
    (0..n).flat_map(|sample| map.iter().flatten().flat_map(move |x| channels(x, sample)).collect::<Vec<_>>()).collect()
}

fn means_of_magnitudes(x: &Parts, errors: &Parts, n: usize) -> Vec<f64> {
    let [sizes, errors] = [means(x, n, f64::abs), means(errors, n, |e| e)];
    sizes.iter().zip(&errors).map(|(size, error)| size + error).collect()
}

/// Rows times a matrix, plus a bias: the exact values, and for each the sum of its magnitudes and the error of its terms.
struct Linear {
    y: Vec<f64>,
    magnitude: Vec<f64>,
    incoming: Vec<f64>,
    terms: f64,
}

impl Linear {
    /// `x` and `errors` have `n` rows.
    fn new(n: usize, x: &[f64], errors: &[f64], [weight, bias]: &[Vec<f64>; 2]) -> Self {
        let inputs = (x.len() / n).max(1);
        let mut made = Self { y: Vec::new(), magnitude: Vec::new(), incoming: Vec::new(), terms: inputs as f64 };
        for (x, errors) in x.chunks(inputs).zip(errors.chunks(inputs)) {
            for (i, row) in weight.chunks(inputs).enumerate() {
                let bias = bias.get(i).copied().unwrap_or(0.0);
                let dot = |value: &dyn Fn(usize) -> f64| (0..inputs).map(value).sum::<f64>();
                made.y.push(dot(&|k| row[k] * x[k]) + bias);
                made.magnitude.push(dot(&|k| row[k].abs() * (x[k].abs() + errors[k])) + bias.abs());
                made.incoming.push(dot(&|k| row[k].abs() * errors[k]));
            }
        }
        made
    }

    /// How far the values may be off.
    fn bound(&self) -> Vec<f64> {
        let bound = |(incoming, magnitude): (&f64, &f64)| incoming + rounding(self.terms) * magnitude;
        self.incoming.iter().zip(&self.magnitude).map(bound).collect()
    }
}

//! Runs a network, node after node.

use burn::tensor::Tensor;
use burn::tensor::activation::{relu, sigmoid, softmax};
use burn::tensor::module::{avg_pool2d, max_pool2d};
use burn::tensor::ops::{AvgPoolOptions, MaxPoolOptions, PadMode};
use octconv::Rounding;
use octconv::network::PoolKind;

use super::description::{Task, Window};
use super::parts::Part;
use super::{OctNetwork, Value};
use crate::composed::{activate, finish};
use crate::conv::OctConv2d;
use crate::maps::OctTensor;

impl OctNetwork {
    /// The value of the node with this number. Nodes behind it are not run, and a value is dropped after its last reader. `observe`
    /// sees each convolution and what it reads.
    pub(super) fn run(&self, input: Tensor<4>, to: usize, observe: &mut Observer<'_>) -> Value {
        let mut values: Vec<Option<Value>> = vec![None; to + 2];
        values[0] = Some(Value::Map(OctTensor::plain(input)));
        for index in 0..=to {
            let node = &self.network().nodes[index];
            let run = Run { network: self, name: &node.name, values: &values };
            let value = run.task(&self.description.nodes[index], observe);
            values[index + 1] = Some(value);
            for (value, _) in values[..=to].iter_mut().zip(&self.description.last_readers).filter(|(_, r)| **r == index)
            {
                *value = None;
            }
        }
        values.pop().flatten().expect("the last value has been computed")
    }
}

/// Sees the name of a convolution's node, the convolution, its input, and the residual that it adds.
pub(super) type Observer<'a> = dyn FnMut(&str, &OctConv2d, &OctTensor, Option<&OctTensor>) + 'a;

/// A node, and the values that it may read.
struct Run<'a> {
    network: &'a OctNetwork,
    name: &'a str,
    values: &'a [Option<Value>],
}

impl Run<'_> {
    fn map(&self, id: usize) -> OctTensor {
        match &self.values[id] {
            Some(Value::Map(map)) => map.clone(),
            _ => panic!("OctNetwork: {} reads a map that is not there", self.name),
        }
    }

    fn vector(&self, id: usize) -> Tensor<2> {
        match &self.values[id] {
            Some(Value::Vector(vector)) => vector.clone(),
            _ => panic!("OctNetwork: {} reads a vector that is not there", self.name),
        }
    }

    /// The module of the node with this name behind the node's, which may be empty.
    fn part(&self, part: &str) -> Option<&Part> {
        let is = |name: &str| name.strip_prefix(self.name).is_some_and(|rest| rest == part);
        self.network.parts.iter().find(|(name, _)| is(name)).map(|(_, part)| part)
    }

    /// Applies the batch norms of both frequencies.
    fn norm(&self, map: OctTensor) -> OctTensor {
        let size = map.size();
        let (high, low) = map.into_parts();
        let apply = |part: &str, x: Option<Tensor<4>>| {
            let x = x?;
            match self.part(part) {
                Some(Part::Norm(norm)) => Some(norm.forward(x)),
                _ => panic!("OctNetwork: {} has no batch norm {part}", self.name),
            }
        };
        OctTensor::of_parts(apply(".norm_h", high), apply(".norm_l", low), size)
    }

    fn linear(&self, part: &str, x: Tensor<2>) -> Tensor<2> {
        match self.part(part) {
            Some(Part::Linear(linear)) => linear.forward(x),
            _ => panic!("OctNetwork: {} has no matrix {part}", self.name),
        }
    }

    fn task(&self, task: &Task, observe: &mut Observer<'_>) -> Value {
        let map = Value::Map;
        match task {
            Task::Conv { input, residual, norm, activation, .. } => {
                let (x, residual) = (self.map(*input), residual.map(|id| self.map(id)));
                let Some(Part::Conv(conv)) = self.part("") else {
                    panic!("OctNetwork: {} has no convolution", self.name)
                };
                observe(self.name, conv, &x, residual.as_ref().filter(|_| !norm));
                if !norm {
                    return map(conv.forward_with(x, residual));
                }
                let normed = self.norm(conv.forward(x));
                map(both(normed, residual, |y, residual| finish(y, residual, *activation)))
            }
            Task::Pool { input, pool: window } => map(pool(self.map(*input), window, self.network.network().rounding)),
            Task::Norm { input, activation, .. } => map(self.norm(self.map(*input)).map(|x| activate(x, *activation))),
            Task::Activation { input, activation } => match &self.values[*input] {
                Some(Value::Vector(vector)) => Value::Vector(activate(vector.clone(), *activation)),
                _ => map(self.map(*input).map(|x| activate(x, *activation))),
            },
            Task::Add { inputs, activation } => {
                let mut maps = inputs.iter().map(|id| self.map(*id));
                let first = maps.next().expect("a sum has terms");
                let sum =
                    maps.fold(first, |sum, term| both(sum, Some(term), |x, y| x + y.expect("terms have one shape")));
                map(sum.map(|x| activate(x, *activation)))
            }
            Task::Concat { inputs } => match &self.values[inputs[0]] {
                Some(Value::Vector(_)) => {
                    Value::Vector(Tensor::cat(inputs.iter().map(|id| self.vector(*id)).collect(), 1))
                }
                _ => map(concat(inputs.iter().map(|id| self.map(*id)).collect())),
            },
            Task::Excite { input, residual, activation, .. } => {
                let x = self.map(*input);
                let reduced = relu(self.linear(".squeeze", means(&x)));
                let residual = residual.map(|id| self.map(id));
                let gate = |part| sigmoid(self.linear(part, reduced.clone()));
                let gated = OctTensor::of_parts(
                    x.high().map(|x| by_channel(x, gate(".excite_h"))),
                    x.low().map(|x| by_channel(x, gate(".excite_l"))),
                    x.size(),
                );
                map(both(gated, residual, |x, residual| finish(x, residual, *activation)))
            }
            Task::Gate { input, by } => {
                let (x, by) = (self.map(*input), self.vector(*by));
                let [high, low] = x.channels();
                map(OctTensor::of_parts(
                    x.high().map(|x| by_channel(x, by.clone().narrow(1, 0, high))),
                    x.low().map(|x| by_channel(x, by.clone().narrow(1, high, low))),
                    x.size(),
                ))
            }
            Task::GlobalPool { input } => Value::Vector(means(&self.map(*input))),
            Task::Linear { input, activation, .. } => {
                Value::Vector(activate(self.linear("", self.vector(*input)), *activation))
            }
            Task::Softmax { input } => Value::Vector(softmax(self.vector(*input), 1)),
        }
    }
}

/// Applies a function to each frequency of two maps, of which the second may be absent.
fn both(
    x: OctTensor,
    other: Option<OctTensor>,
    function: impl Fn(Tensor<4>, Option<Tensor<4>>) -> Tensor<4>,
) -> OctTensor {
    let size = x.size();
    let (high, low) = x.into_parts();
    let (other_high, other_low) = other.map_or((None, None), OctTensor::into_parts);
    let high = high.map(|x| function(x, other_high));
    OctTensor::of_parts(high, low.map(|x| function(x, other_low)), size)
}

fn concat(maps: Vec<OctTensor>) -> OctTensor {
    let size = maps[0].size();
    let (high, low): (Vec<_>, Vec<_>) = maps.into_iter().map(OctTensor::into_parts).unzip();
    let join = |parts: Vec<Option<Tensor<4>>>| {
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        (!parts.is_empty()).then(|| Tensor::cat(parts, 1))
    };
    OctTensor::of_parts(join(high), join(low), size)
}

/// The means of the high channels, then of the low ones.
fn means(map: &OctTensor) -> Tensor<2> {
    let mean = |x: &Tensor<4>| {
        let [n, c, h, w] = x.dims();
        x.clone().reshape([n, c, h * w]).mean_dim(2).reshape([n, c])
    };
    Tensor::cat([map.high(), map.low()].into_iter().flatten().map(mean).collect(), 1)
}

/// Each channel of a map times an element of a vector.
fn by_channel(x: &Tensor<4>, factors: Tensor<2>) -> Tensor<4> {
    let [n, c] = factors.dims();
    x.clone() * factors.reshape([n, c, 1, 1])
}

/// Pools both frequencies. The size at full resolution decides how many pool windows the low one has.
fn pool(x: OctTensor, window: &Window, rounding: Rounding) -> OctTensor {
    let size: [usize; 2] = std::array::from_fn(|axis| window.count(axis, x.size()[axis]));
    let half = size.map(|axis| rounding.half(u32::try_from(axis).unwrap_or(u32::MAX)) as usize);
    let (high, low) = x.into_parts();
    OctTensor::of_parts(high.map(|x| window.pool(x, size)), low.map(|x| window.pool(x, half)), size)
}

impl Window {
    /// How many pool windows an axis of this size has.
    fn count(&self, axis: usize, size: usize) -> usize {
        let (kernel, stride) = (self.kernel[axis], self.stride[axis]);
        let (before, behind) = (self.padding[axis].before as usize, self.padding[axis].behind as usize);
        let more = if self.ceil { stride - 1 } else { 0 };
        let room = (size + before + behind + more).checked_sub(kernel);
        let last =
            room.unwrap_or_else(|| panic!("OctNetwork: a pool of {kernel} does not fit a map of {size}")) / stride;
        // As in PyTorch: what rounding up has added must not begin behind the map.
        if self.ceil && last * stride >= size + before { last } else { last + 1 }
    }

    /// Pools a map into so many rows and columns.
    fn pool(&self, mut x: Tensor<4>, to: [usize; 2]) -> Tensor<4> {
        let [n, c, h, w] = x.dims();
        let before = self.padding.map(|ends| ends.before as usize);
        let declared = self.padding.map(|ends| ends.behind as usize);
        // How far the windows reach behind the map.
        let reached: [usize; 2] = std::array::from_fn(|axis| {
            let end = (to[axis] - 1) * self.stride[axis] + self.kernel[axis];
            end.saturating_sub(before[axis] + [h, w][axis])
        });
        // As declared, even if no window reaches it: Burn copies the map unless the padding is the same at both ends.
        let mut padding = [0, 1].map(|axis| (before[axis], declared[axis].max(reached[axis])));
        let mut counts_padding = self.counts_padding;
        if counts_padding && (0..2).any(|axis| reached[axis] > declared[axis]) {
            // The padding counts, and what lies behind it does not.
            x = x.pad([0, 1].map(|axis| (before[axis], declared[axis])), PadMode::Constant(0.0));
            padding = [0, 1].map(|axis| (0, reached[axis].saturating_sub(declared[axis])));
            counts_padding = false;
        }
        let y = match self.kind {
            PoolKind::Max => {
                let options = MaxPoolOptions::new(self.kernel).with_stride(self.stride);
                max_pool2d(x, options.with_padding_pairs(padding))
            }
            PoolKind::Average => {
                let options = AvgPoolOptions::new(self.kernel).with_stride(self.stride);
                avg_pool2d(x, options.with_padding_pairs(padding).with_count_include_pad(counts_padding))
            }
            other => panic!("OctNetwork: no operator for the pool {other:?}"),
        };
        y.slice([0..n, 0..c, 0..to[0], 0..to[1]])
    }
}

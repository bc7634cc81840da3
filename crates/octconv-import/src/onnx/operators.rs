//! What each operator of ONNX becomes.

use octconv::Activation;
use octconv::network::{Ends, PoolKind};

use super::constant::{Constant, shape};
use super::fold::{Cut, FRACTIONS, axis, common_shape, cuts, flatten_axis, reshape_sizes, shown, squeezed, unsqueezed};
use super::node::FileNode;
use super::proto::data_type;
use super::read::{MOST_SIZE, Reader, Slot, TRAINING, elements};
use super::resize;
use crate::plain::{Conv, Id, Op, Pool, Upsample};

/// The most channels of a map: layers count them in 32 bits.
const MOST_CHANNELS: usize = u32::MAX as usize;

type Made = Result<Slot, String>;

/// An operator that is read: its inputs, of which at least one is a value.
struct Reading<'a> {
    reader: &'a mut Reader,
    node: &'a FileNode,
    slots: &'a [Option<Slot>],
    constants: &'a [Option<&'a Constant>],
}

/// Reads an operator with at least one input that is a value.
pub(super) fn read(
    reader: &mut Reader,
    node: &FileNode,
    slots: &[Option<Slot>],
    constants: &[Option<&Constant>],
) -> Result<Vec<Slot>, String> {
    let mut reading = Reading { reader, node, slots, constants };
    match node.operator.as_str() {
        "Split" => reading.split(),
        _ => reading.one().map(|slot| vec![slot]),
    }
}

/// Why no operation of a network can be what this operator is, if that is known.
pub(super) fn no_counterpart(operator: &str) -> Option<&'static str> {
    Some(match operator {
        "LayerNormalization"
        | "InstanceNormalization"
        | "GroupNormalization"
        | "RMSNormalization"
        | "SimplifiedLayerNormalization"
        | "MeanVarianceNormalization"
        | "LpNormalization"
        | "LRN" => {
            "it normalises by what runs through the network: only batch norms with known means have a counterpart"
        }
        "DepthToSpace" | "SpaceToDepth" => "it moves channels into rows and columns, or back: nothing does that",
        "Elu" | "Selu" | "Celu" | "Softplus" | "Softsign" | "Mish" | "ThresholdedRelu" | "Shrink" => {
            "it is no activation that a network can have: docs/networks.md lists them under Activations"
        }
        "ArgMax" | "ArgMin" | "TopK" | "NonMaxSuppression" => {
            "its answer is indices: import what is in front of it (--output), and take the largest yourself"
        }
        "LogSoftmax" => "import what is in front of it (--output): the largest element of its answer is the same one",
        "Attention" | "MultiHeadAttention" | "Einsum" | "LSTM" | "GRU" | "RNN" => {
            "it belongs to networks that are not convolutional"
        }
        _ => return None,
    })
}

impl Reading<'_> {
    fn one(&mut self) -> Made {
        match self.node.operator.as_str() {
            "Conv" => self.conv(),
            "BatchNormalization" => self.batch_norm(),
            "PRelu" => self.prelu(),
            "Swish" if self.node.float("alpha").unwrap_or(1.0) == 1.0 => self.activation(Activation::Silu),
            "Relu" => self.activation(Activation::Relu),
            "Sigmoid" => self.activation(Activation::Sigmoid),
            "Tanh" => self.activation(Activation::Tanh),
            "HardSwish" => self.activation(Activation::HardSwish),
            "LeakyRelu" => {
                let slope = self.node.float("alpha").unwrap_or(0.01);
                self.activation(Activation::LeakyRelu { slope })
            }
            "HardSigmoid" => {
                let (alpha, beta) = (self.node.float("alpha").unwrap_or(0.2), self.node.float("beta").unwrap_or(0.5));
                if (alpha - 1.0 / 6.0).abs() <= 1e-6 && beta == 0.5 {
                    return self.activation(Activation::HardSigmoid);
                }
                // Its own slope is 1/6, and its own value at 0 is 1/2.
                let (id, raw) = self.value(0)?;
                let inner = self.straight(id, &raw, 6.0 * f64::from(alpha), 6.0 * (f64::from(beta) - 0.5))?;
                Ok(self.reader.add(Op::Activation(Activation::HardSigmoid), vec![inner], raw))
            }
            "Gelu" => match self.node.text("approximate") {
                None | Some("none") => self.activation(Activation::Gelu),
                Some("tanh") => self.activation(Activation::GeluTanh),
                Some(other) => Err(format!("its approximate is {other}")),
            },
            "Clip" => self.clip(),
            "Erf" => self.unary(Op::Erf),
            "MaxPool" => self.pool(PoolKind::Max),
            "AveragePool" => self.pool(PoolKind::Average),
            "GlobalMaxPool" => self.global_max(true),
            "ConvTranspose" => self.conv_transpose(),
            "GlobalAveragePool" => self.global_pool(true),
            "ReduceMean" | "ReduceMax" => self.reduce(),
            "Add" | "Sum" => self.sum(),
            "Sub" => self.difference(),
            "Div" => self.with_constant(),
            "Neg" => self.negative(),
            "Mul" => self.product(),
            "Expand" => self.expand(),
            "Concat" => self.concat(),
            "Resize" | "Upsample" => self.resize(),
            "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze" => self.reshape(),
            "Gemm" => self.gemm(),
            "MatMul" => self.matmul(),
            "Softmax" => self.softmax(),
            "Pad" => self.pad(),
            "Slice" => self.slice(),
            "Gather" => self.gather(),
            "Transpose" => self.transpose(),
            "Identity" => self.same(),
            "Dropout" => self.dropout(),
            "Cast" => self.cast(),
            operator => Err(no_counterpart(operator).unwrap_or("this operator has no counterpart").into()),
        }
    }

    /// The value that is input `i`, and its sizes.
    fn value(&self, i: usize) -> Result<(Id, Vec<usize>), String> {
        match self.slots.get(i) {
            Some(Some(Slot::Value(id, raw))) => Ok((*id, raw.clone())),
            Some(Some(Slot::Constant(_))) => Err(format!("its input {i} is constant")),
            Some(Some(Slot::View { raw, sizes, .. })) => Err(format!(
                "its input {i} is a map of {raw:?} as {sizes:?}: only a shuffle of channels may split it, and only a \
                 product may read it as an enlarged one"
            )),
            _ => Err(format!("its input {i} is missing")),
        }
    }

    /// The map that is input `i`. Means of a whole map are one too where there is room for its axes.
    fn map(&mut self, i: usize) -> Result<(Id, Vec<usize>), String> {
        let (id, raw) = self.value(i)?;
        if self.reader.is_vector(id) { self.as_map(id, i, &raw) } else { Ok((id, raw)) }
    }

    fn constant(&self, i: usize) -> Result<&Constant, String> {
        let variable = || format!("its input {i} depends on what runs through the network: must be constant");
        self.constants.get(i).copied().flatten().ok_or_else(variable)
    }

    fn given(&self, i: usize) -> bool {
        self.slots.get(i).is_some_and(Option::is_some)
    }

    fn unary(&mut self, op: Op) -> Made {
        let (id, raw) = self.value(0)?;
        Ok(self.reader.add(op, vec![id], raw))
    }

    fn same(&mut self) -> Made {
        let (id, raw) = self.value(0)?;
        Ok(Slot::Value(id, raw))
    }

    fn dropout(&mut self) -> Made {
        if self.given(2) && self.constant(2)?.scalar() != Some(0.0) {
            return Err(TRAINING.into());
        }
        self.same()
    }

    /// A network computes with one type of numbers, so a cast to another type of fractions changes nothing.
    fn cast(&mut self) -> Made {
        let to = self.node.int("to").unwrap_or(0);
        if !FRACTIONS.contains(&to) {
            let name = i32::try_from(to).map_or_else(|_| to.to_string(), data_type::name);
            return Err(format!("it makes {name} of what runs through the network: must be a type with fractions"));
        }
        self.same()
    }

    fn activation(&mut self, activation: Activation) -> Made {
        self.unary(Op::Activation(activation))
    }

    fn clip(&mut self) -> Made {
        let bound = |name: &str, i: usize| match (self.node.float(name), self.given(i)) {
            (Some(value), _) => Ok(Some(value)),
            (None, true) => {
                let value = self.constant(i)?.scalar();
                value.map(Some).ok_or_else(|| format!("its {name} has several elements"))
            }
            (None, false) => Ok(None),
        };
        // What no number is beyond is no bound.
        let min = bound("min", 1)?.filter(|&min| min > f32::MIN).map(f64::from);
        let max = bound("max", 2)?.filter(|&max| max < f32::MAX).map(f64::from);
        let (id, raw) = self.value(0)?;
        self.between(id, &raw, [min, max])
    }

    /// min(max(x, the first), the second). What lies between the limits comes out as it went in, however far they are
    /// from it.
    fn between(&mut self, id: Id, raw: &[usize], bounds: [Option<f64>; 2]) -> Made {
        // ReLU6 of a scaled value rounds it relative to itself, unless the factor is beyond the range of f32.
        const USUAL: std::ops::RangeInclusive<f64> = 1e-6..=1e6;
        let [min, max] = bounds;
        if bounds.iter().flatten().any(|limit| !limit.is_finite()) || min.zip(max).is_some_and(|(min, max)| min >= max)
        {
            let limit = |limit: Option<f64>| limit.map_or("any".into(), |limit| limit.to_string());
            return Err(format!(
                "it keeps values between {} and {}: must be finite, the first less than the second",
                limit(min),
                limit(max)
            ));
        }
        let value = match bounds {
            [None, None] => id,
            [Some(0.0), None] => self.relu(id, raw, 1.0, 0.0)?,
            [None, Some(0.0)] => {
                let negative = self.relu(id, raw, -1.0, 0.0)?;
                self.straight(negative, raw, -1.0, 0.0)?
            }
            [Some(0.0), Some(max)] if USUAL.contains(&max) => {
                let inner = self.straight(id, raw, 6.0 / max, 0.0)?;
                let kept = self.made(Op::Activation(Activation::Relu6), vec![inner], raw);
                self.straight(kept, raw, max / 6.0, 0.0)?
            }
            // x + relu(min - x) - relu(x - max)
            [min, max] => {
                let mut terms = vec![id];
                if let Some(min) = min {
                    terms.push(self.relu(id, raw, -1.0, min)?);
                }
                if let Some(max) = max {
                    let over = self.relu(id, raw, 1.0, -max)?;
                    terms.push(self.straight(over, raw, -1.0, 0.0)?);
                }
                self.made(Op::Add, terms, raw)
            }
        };
        Ok(Slot::Value(value, raw.to_vec()))
    }

    /// relu(x * factor + shift).
    fn relu(&mut self, id: Id, raw: &[usize], factor: f64, shift: f64) -> Result<Id, String> {
        let inner = self.straight(id, raw, factor, shift)?;
        Ok(self.made(Op::Activation(Activation::Relu), vec![inner], raw))
    }

    /// Adds a value of these sizes.
    fn made(&mut self, op: Op, inputs: Vec<Id>, raw: &[usize]) -> Id {
        self.reader.add_value(op, inputs, raw)
    }

    /// x * factor + shift.
    fn straight(&mut self, id: Id, raw: &[usize], factor: f64, shift: f64) -> Result<Id, String> {
        if factor == 1.0 && shift == 0.0 {
            return Ok(id);
        }
        self.reader.take(raw[1].saturating_mul(2))?;
        let op = Op::affine(vec![factor; raw[1]], vec![shift; raw[1]]);
        Ok(self.made(op, vec![id], raw))
    }

    /// x where it is positive, and elsewhere x times the slope of its channel.
    fn prelu(&mut self) -> Made {
        let (id, raw) = self.value(0)?;
        self.reader.take(raw[1].saturating_mul(4))?;
        let slopes = per_channel(self.constant(1)?, &raw)?;
        if slopes.iter().all(|&slope| slope == slopes[0]) {
            return self.activation(Activation::LeakyRelu { slope: slopes[0] as f32 });
        }
        // slope x + (1 - slope) relu(x)
        let zeros = vec![0.0; raw[1]];
        let rest = slopes.iter().map(|slope| 1.0 - slope).collect();
        let mut add = |op, id| self.made(op, vec![id], &raw);
        let all = add(Op::affine(slopes, zeros.clone()), id);
        let positive = add(Op::Activation(Activation::Relu), id);
        let positive = add(Op::affine(rest, zeros), positive);
        Ok(self.reader.add(Op::Add, vec![all, positive], raw))
    }

    fn negative(&mut self) -> Made {
        let (id, raw) = self.value(0)?;
        Ok(Slot::Value(self.straight(id, &raw, -1.0, 0.0)?, raw))
    }

    fn conv(&mut self) -> Made {
        let (id, raw) = self.value(0)?;
        let count = elements(self.constant(1)?.shape());
        self.reader.take(count)?;
        let weights = match self.constant(1)? {
            Constant::Float(weights) => weights.clone(),
            Constant::Int(_) => return Err("its weights are whole numbers".into()),
        };
        let bias = if self.given(2) { Some(doubles(&self.constant(2)?.floats())) } else { None };
        let name = self.reader.weight_name(&self.node.inputs[1]);
        let axes = weights.ndim().saturating_sub(2);
        let shape = match *weights.shape() {
            [n, c, h, w] => [n, c, 1, h, w],
            [n, c, t, h, w] => [n, c, t, h, w],
            _ => {
                return Err(format!(
                    "its weights are {:?}: must have 2 or 3 axes behind the channels",
                    weights.shape()
                ));
            }
        };
        if raw.len() != axes + 2 {
            return Err(format!("its weights are {:?}, and its input {raw:?}", weights.shape()));
        }
        if shape.contains(&0) {
            return Err(format!("its weights are {:?}", weights.shape()));
        }
        let groups = whole(self.node.int("group").unwrap_or(1), "group")?;
        let window = Window::read(self.node, axes, [shape[2], shape[3], shape[4]])?;
        let weights: Vec<f32> = weights.iter().copied().collect();
        let [outputs, inputs, ..] = shape;
        if inputs.checked_mul(groups) != Some(raw[1]) || outputs % groups != 0 {
            return Err(format!("its weights are {shape:?} in {groups} groups, and its input has {} channels", raw[1]));
        }
        if bias.as_ref().is_some_and(|bias| bias.len() != outputs) {
            return Err(format!("its bias has not {outputs} elements"));
        }
        let is_matrix = shape[2..] == [1, 1, 1] && groups == 1 && window.padding == [Ends::default(); 3];
        if self.reader.is_vector(id) && is_matrix {
            let op = Op::Linear { weights, outputs, bias, name };
            let sizes = [&[raw[0], outputs], &raw[2..]].concat();
            return Ok(self.reader.add(op, vec![id], sizes));
        }
        let (id, raw) = self.map(0)?;
        let Window { stride, dilation, .. } = window;
        let padding = window.paddings(self.node, &raw, dilation)?;
        self.convolved(id, &raw, Conv { weights, shape, bias, stride, padding, dilation, groups, name })
    }

    /// A convolution. A layer strides by 1 or 2, the same along rows and columns. If this one does not, it takes steps of
    /// 1 or 2, and a pool of single positions leaves out the others.
    fn convolved(&mut self, id: Id, raw: &[usize], conv: Conv) -> Made {
        let [_, h, w] = conv.stride;
        if h == w && h <= 2 {
            return self.convolution(id, raw, conv);
        }
        if conv.shape[2..] == [1; 3] && conv.padding == [Ends::default(); 3] {
            // What is left out need not be computed.
            let Slot::Value(id, raw) = self.every(id, raw, [1, h, w])? else { return Err("it reads a vector".into()) };
            return self.convolution(id, &raw, Conv { stride: [conv.stride[0], 1, 1], ..conv });
        }
        let step = if h % 2 == 0 && w % 2 == 0 { 2 } else { 1 };
        let stride = [conv.stride[0], step, step];
        let Slot::Value(id, raw) = self.convolution(id, raw, Conv { stride, ..conv })? else {
            return Err("it reads a vector".into());
        };
        self.every(id, &raw, [1, h / step, w / step])
    }

    fn convolution(&mut self, id: Id, raw: &[usize], conv: Conv) -> Made {
        let reach = |axis: usize| conv.dilation[axis].saturating_mul(conv.shape[2 + axis] - 1).saturating_add(1);
        let space = sizes_behind(raw, |axis, size| {
            let Ends { before, behind } = conv.padding[axis];
            Some((size + before as usize + behind as usize).checked_sub(reach(axis))? / conv.stride[axis] + 1)
        })?;
        let sizes = [&[raw[0], conv.shape[0]], space.as_slice()].concat();
        Ok(self.reader.add(Op::Conv(conv), vec![id], sizes))
    }

    /// Every so many frames, rows and columns of a map, from the first on.
    fn every(&mut self, id: Id, raw: &[usize], stride: [usize; 3]) -> Made {
        let space = sizes_behind(raw, |axis, size| Some((size - 1) / stride[axis] + 1))?;
        let (kind, kernel, padding) = (PoolKind::Max, [1; 3], [Ends::default(); 3]);
        let pool = Pool { kind, kernel, stride, padding, ceil_mode: false, count_include_pad: false };
        Ok(self.reader.add(Op::Pool(pool), vec![id], [&raw[..2], space.as_slice()].concat()))
    }

    /// A transposed convolution of stride 1 is a convolution with a turned kernel.
    fn conv_transpose(&mut self) -> Made {
        let (id, raw) = self.map(0)?;
        self.reader.take(elements(self.constant(1)?.shape()))?;
        let Constant::Float(turned) = self.constant(1)? else { return Err("its weights are whole numbers".into()) };
        let axes = raw.len() - 2;
        if turned.ndim() != raw.len() || turned.shape().contains(&0) {
            return Err(format!("its weights are {:?}, and its input {raw:?}", turned.shape()));
        }
        let (inputs, each) = (turned.shape()[0], turned.shape()[1]);
        let groups = whole(self.node.int("group").unwrap_or(1), "group")?;
        let kernel = spread(&turned.shape()[2..], 1);
        let Window { stride, dilation, padding, .. } = Window::read(self.node, axes, kernel)?;
        if stride != [1; 3] {
            return Err(format!(
                "its strides are {:?}: only 1 has a counterpart. An upsampling and a convolution in its place have one",
                &stride[3 - axes..]
            ));
        }
        let given = |name: &str| self.node.ints(name).is_some_and(|values| values.iter().any(|&v| v != 0));
        if given("output_padding") || given("output_shape") || self.node.text("auto_pad").is_some_and(|s| s != "NOTSET")
        {
            return Err("it has an output_padding, an output_shape or an auto_pad: only pads have a counterpart".into());
        }
        if inputs != raw[1] || inputs % groups != 0 {
            return Err(format!("its weights are {:?} in {groups} groups, and its input is {raw:?}", turned.shape()));
        }
        let outputs = each.checked_mul(groups).ok_or("it has too many channels")?;
        let bias = if self.given(2) { Some(doubles(&self.constant(2)?.floats())) } else { None };
        if bias.as_ref().is_some_and(|bias| bias.len() != outputs) {
            return Err(format!("its bias has not {outputs} elements"));
        }
        let taps: usize = kernel.iter().product();
        let of: Vec<f32> = turned.iter().copied().collect();
        let mut weights = vec![0.0; of.len()];
        for (i, &weight) in of.iter().enumerate() {
            let (tap, output, input) = (i % taps, i / taps % each, i / taps / each);
            let (group, input) = (input / (inputs / groups), input % (inputs / groups));
            weights[((group * each + output) * (inputs / groups) + input) * taps + taps - 1 - tap] = weight;
        }
        let mut around = padding;
        for (axis, ends) in around.iter_mut().enumerate() {
            let reach = u32::try_from(dilation[axis].saturating_mul(kernel[axis] - 1)).ok();
            let rest = |cut: u32| reach.and_then(|reach| reach.checked_sub(cut));
            let (Some(before), Some(behind)) = (rest(ends.before), rest(ends.behind)) else {
                return Err(format!("its pads cut more than its kernel of {kernel:?} adds"));
            };
            *ends = Ends { before, behind };
        }
        let shape = [outputs, inputs / groups, kernel[0], kernel[1], kernel[2]];
        let name = self.reader.weight_name(&self.node.inputs[1]);
        self.convolution(id, &raw, Conv { weights, shape, bias, stride, padding: around, dilation, groups, name })
    }

    fn batch_norm(&mut self) -> Made {
        let (id, raw) = self.value(0)?;
        // Before opset 14 a node is in training mode if it gives the means and variances too.
        let more = self.node.outputs.iter().skip(1).any(|name| !name.is_empty());
        if more || self.node.int("training_mode").is_some_and(|mode| mode != 0) {
            return Err(TRAINING.into());
        }
        for i in 1..=4 {
            if elements(self.constant(i)?.shape()) != raw[1] {
                return Err(format!("its tensors have not {} elements, as many as its input has channels", raw[1]));
            }
        }
        self.reader.take(raw[1].saturating_mul(2))?;
        let eps = f64::from(self.node.float("epsilon").unwrap_or(1e-5));
        let [gamma, beta, mean, var] = [1, 2, 3, 4].map(|i| self.constant(i).map(|c| doubles(&c.floats())));
        let (gamma, beta, mean, var) = (gamma?, beta?, mean?, var?);
        let scale: Vec<f64> = gamma.iter().zip(&var).map(|(gamma, var)| gamma / (var + eps).sqrt()).collect();
        let shift = (0..raw[1]).map(|c| beta[c] - mean[c] * scale[c]).collect();
        Ok(self.reader.add(Op::affine(scale, shift), vec![id], raw))
    }

    fn pool(&mut self, kind: PoolKind) -> Made {
        let (id, raw) = self.value(0)?;
        let all = |name: &str, value: i64| self.node.ints(name).map(|ints| ints.iter().all(|&v| v == value));
        let single = raw.len() > 2 && all("kernel_shape", 1) == Some(true) && all("pads", 0) != Some(false);
        if single && self.reader.is_vector(id) {
            return Ok(Slot::Value(id, raw));
        }
        let (id, raw) = self.map(0)?;
        let kernel = self.node.ints("kernel_shape").ok_or("its kernel_shape is missing")?;
        let axes = raw.len() - 2;
        let window = Window::read(self.node, axes, three(kernel, 1, "kernel_shape")?)?;
        if kernel.len() != axes || window.dilation != [1; 3] {
            return Err("its windows have gaps (dilations), or another number of axes than its input".into());
        }
        let padding = window.paddings(self.node, &raw, [1; 3])?;
        let Window { kernel, stride, .. } = window;
        let ceil_mode = self.node.int("ceil_mode") == Some(1);
        let count_include_pad = kind == PoolKind::Average && self.node.int("count_include_pad") == Some(1);
        let space = sizes_behind(&raw, |axis, size| {
            let (before, behind) = (padding[axis].before as usize, padding[axis].behind as usize);
            let room = (size + before + behind).checked_sub(kernel[axis])?;
            if !ceil_mode {
                return Some(room / stride[axis] + 1);
            }
            // As PyTorch does it: the last window must begin in the map or in front of it.
            let count = room.div_ceil(stride[axis]) + 1;
            Some(if (count - 1) * stride[axis] >= size + before { count - 1 } else { count })
        })?;
        let whole = kernel == spread(&raw[2..], 1) && padding == [Ends::default(); 3];
        let pool = Pool { kind, kernel, stride, padding, ceil_mode, count_include_pad };
        // Octave layers halve maps of 2x2 too. Where a vector is wanted, such a mean becomes one.
        let halves = pool.halves() || pool.is_mean_of(4);
        if kind == PoolKind::Average && whole && !halves && space.iter().all(|&d| d == 1) {
            return self.global_pool(true);
        }
        Ok(self.reader.add(Op::Pool(pool), vec![id], [&raw[..2], space.as_slice()].concat()))
    }

    fn global_pool(&mut self, keeps_axes: bool) -> Made {
        let (id, raw) = self.value(0)?;
        let sizes = match keeps_axes {
            true => raw.iter().enumerate().map(|(i, &d)| if i < 2 { d } else { 1 }).collect(),
            false => raw[..2].to_vec(),
        };
        if self.reader.is_vector(id) {
            return Ok(Slot::Value(id, sizes));
        }
        Ok(self.reader.add(Op::GlobalPool, vec![id], sizes))
    }

    /// The maxima of whole channels: one pool window, whose mean is itself.
    fn global_max(&mut self, keeps_axes: bool) -> Made {
        let (id, raw) = self.map(0)?;
        self.reader.fix("it becomes a max pool of the whole map");
        let kernel = spread(&raw[2..], 1);
        let (kind, padding) = (PoolKind::Max, [Ends::default(); 3]);
        let pool = Pool { kind, kernel, stride: [1; 3], padding, ceil_mode: false, count_include_pad: false };
        let one: Vec<usize> = raw.iter().enumerate().map(|(i, &d)| if i < 2 { d } else { 1 }).collect();
        let id = self.made(Op::Pool(pool), vec![id], &one);
        let sizes = if keeps_axes { one } else { raw[..2].to_vec() };
        Ok(self.reader.add(Op::GlobalPool, vec![id], sizes))
    }

    /// The mean or the maximum of what is behind the channels.
    fn reduce(&mut self) -> Made {
        let (_, raw) = self.value(0)?;
        let axes = match self.node.ints("axes") {
            Some(axes) => axes.to_vec(),
            None if self.given(1) => self.constant(1)?.ints().ok_or("its axes must be whole numbers")?,
            None => Vec::new(),
        };
        if axes.is_empty() {
            if self.node.int("noop_with_empty_axes").is_some_and(|noop| noop != 0) {
                return self.same();
            }
            return Err("it reduces all axes, batch and channels too: must be those behind the channels".into());
        }
        let mut axes: Vec<usize> = axes.iter().map(|&a| axis(a, raw.len())).collect::<Result<_, _>>()?;
        axes.sort_unstable();
        if !axes.iter().copied().eq(2..raw.len()) {
            let axes = shown(&axes);
            return Err(format!("it reduces axes {axes}: must be those behind the channels, all of them"));
        }
        let keeps_axes = self.node.int("keepdims") != Some(0);
        if self.node.operator == "ReduceMax" { self.global_max(keeps_axes) } else { self.global_pool(keeps_axes) }
    }

    /// The sum of values, and of constants that have a number for each channel.
    fn sum(&mut self) -> Made {
        let values: Vec<usize> = (0..self.slots.len()).filter(|&i| self.constants[i].is_none()).collect();
        let (_, raw) = self.value(values.first().copied().unwrap_or(0))?;
        let mut inputs = Vec::new();
        for i in values {
            let (id, other) = self.value(i)?;
            if other != raw {
                return Err(format!("it adds {raw:?} and {other:?}: must be of one size"));
            }
            inputs.push((id, other));
        }
        let constants: Vec<&Constant> = self.constants.iter().copied().flatten().collect();
        self.reader.take(raw[1].saturating_mul(2 * constants.len()))?;
        let mut shift = vec![0.0; raw[1]];
        for constant in &constants {
            per_channel(constant, &raw)?.iter().zip(&mut shift).for_each(|(value, all)| *all += value);
        }
        let inputs = self.alike(inputs)?;
        let all = match inputs.as_slice() {
            &[one] => one,
            _ => self.made(Op::Add, inputs, &raw),
        };
        match constants.is_empty() {
            true => Ok(Slot::Value(all, raw)),
            false => Ok(self.reader.add(Op::affine(vec![1.0; raw[1]], shift), vec![all], raw)),
        }
    }

    /// The values, all as vectors if one of them is a vector. The others are maps of one position then.
    fn alike(&mut self, values: Vec<(Id, Vec<usize>)>) -> Result<Vec<Id>, String> {
        let vectors = values.iter().any(|&(id, _)| self.reader.is_vector(id));
        values.into_iter().map(|(id, raw)| if vectors { self.vector(id, &raw) } else { Ok(id) }).collect()
    }

    /// A map of one position as a vector: its means are itself.
    fn vector(&mut self, id: Id, raw: &[usize]) -> Result<Id, String> {
        if self.reader.is_vector(id) {
            return Ok(id);
        }
        if let Some(vector) = self.reader.vector_of_means(id)? {
            return Ok(vector);
        }
        self.reader.fix("it reads a map of one position as a vector");
        Ok(self.made(Op::GlobalPool, vec![id], raw))
    }

    fn difference(&mut self) -> Made {
        if self.constants.iter().any(Option::is_some) {
            return self.with_constant();
        }
        let [(a, raw), (b, other)] = [self.value(0)?, self.value(1)?];
        if raw != other {
            return Err(format!("it subtracts {other:?} from {raw:?}: must be of one size"));
        }
        let negative = self.straight(b, &raw, -1.0, 0.0)?;
        let inputs = self.alike(vec![(a, raw.clone()), (negative, other)])?;
        Ok(self.reader.add(Op::Add, inputs, raw))
    }

    /// A difference, product or quotient of a value and a constant per channel.
    fn with_constant(&mut self) -> Made {
        let [left, right] = [0, 1].map(|i| self.constants.get(i).copied().flatten());
        let (at, constant) = match (left, right, self.slots.len()) {
            (None, Some(constant), 2) => (0, constant),
            (Some(constant), None, 2) => (1, constant),
            _ => return Err("it combines two values: one of them must be constant".into()),
        };
        let (id, raw) = self.value(at)?;
        self.reader.take(raw[1].saturating_mul(2))?;
        let values = per_channel(constant, &raw)?;
        let reverse = at == 1;
        let ones = vec![1.0; raw[1]];
        let (scale, shift) = match (self.node.operator.as_str(), reverse) {
            ("Sub", false) => (ones, values.iter().map(|v| -v).collect()),
            ("Sub", true) => (vec![-1.0; raw[1]], values),
            ("Mul", _) => (values, vec![0.0; raw[1]]),
            ("Div", false) => (values.iter().map(|v| 1.0 / v).collect(), vec![0.0; raw[1]]),
            _ => return Err("it divides a constant by a value".into()),
        };
        Ok(self.reader.add(Op::affine(scale, shift), vec![id], raw))
    }

    fn product(&mut self) -> Made {
        if self.constants.iter().any(Option::is_some) {
            return self.with_constant();
        }
        let [(a, a_raw), (b, b_raw)] = [self.factor(0)?, self.factor(1)?];
        let is_map = [a, b].map(|id| !self.reader.is_vector(id));
        if a_raw == b_raw && is_map[0] == is_map[1] {
            return Ok(self.reader.add(Op::Multiply, vec![a, b], a_raw));
        }
        let wide = common_shape(&a_raw, &b_raw)?;
        let first = wide == a_raw && is_map[0];
        let (map, raw, gate, by) = if first { (a, a_raw, b, b_raw) } else { (b, b_raw, a, a_raw) };
        // Axes are aligned at the last one, so a vector without the axes of rows and columns goes along those.
        let by_channel = by.len() == raw.len() && by[0] == raw[0] && by[2..].iter().all(|&d| d == 1);
        if wide != raw || self.reader.is_vector(map) || !by_channel {
            return Err(format!(
                "it multiplies {raw:?} and {by:?}: must be of one shape, or a map and a number for each channel"
            ));
        }
        let mut gate = self.vector(gate, &by)?;
        if by[1] != raw[1] {
            let all = self.select(gate, &by, std::iter::repeat_n(0, raw[1]))?;
            gate = all.id().unwrap_or(gate);
        }
        Ok(self.reader.add(Op::Scale, vec![map, gate], raw))
    }

    /// Input `i` of a product. One that was enlarged to the size of the other is as it was.
    fn factor(&self, i: usize) -> Result<(Id, Vec<usize>), String> {
        match [i, 1 - i].map(|i| self.slots.get(i)) {
            [Some(Some(Slot::View { id, raw, sizes, .. })), Some(Some(Slot::Value(_, other)))]
                if raw.len() == sizes.len() && sizes == other =>
            {
                Ok((*id, raw.clone()))
            }
            _ => self.value(i),
        }
    }

    /// One number for each channel, which is repeated along rows and columns. A product does that by itself.
    fn expand(&mut self) -> Made {
        let (id, raw) = self.value(0)?;
        let to = self.constant(1)?.ints().ok_or("its shape must be whole numbers")?;
        let sizes = common_shape(&raw, &shape(&to)?)?;
        if sizes == raw {
            return Ok(Slot::Value(id, raw));
        }
        if sizes.len() != raw.len() || sizes[..2] != raw[..2] || raw[2..].iter().any(|&d| d != 1) {
            return Err(format!("it makes {sizes:?} of {raw:?}: must repeat one number for each channel"));
        }
        Ok(Slot::View { id, raw, sizes, turned: None })
    }

    fn concat(&mut self) -> Made {
        let (_, first) = self.value(0)?;
        let at = axis(self.node.int("axis").unwrap_or(1), first.len())?;
        if at != 1 {
            return Err(format!("it concatenates along axis {at}: must be 1, the channels"));
        }
        let (mut inputs, mut channels) = (Vec::new(), 0usize);
        for i in 0..self.slots.len() {
            let (id, raw) = self.value(i)?;
            if raw[2..] != first[2..] || raw[0] != first[0] {
                return Err(format!("it concatenates {first:?} and {raw:?}"));
            }
            channels = channels.saturating_add(raw[1]);
            inputs.push((id, raw));
        }
        if channels > MOST_CHANNELS {
            return Err(format!("it makes {channels} channels: must be at most {MOST_CHANNELS}"));
        }
        let inputs = self.alike(inputs)?;
        let sizes = [&[first[0], channels], &first[2..]].concat();
        Ok(self.reader.add(Op::Concat, inputs, sizes))
    }

    fn resize(&mut self) -> Made {
        let (id, raw) = self.value(0)?;
        let (upsample, sizes) = resize::read(self.node, self.constants, &raw, self.reader.opset)?;
        let Some(upsample) = upsample else { return Ok(Slot::Value(id, raw)) };
        if let Upsample::Nearest { rows, columns } = &upsample {
            self.reader.take(rows.len() + columns.len())?;
        }
        let (id, _) = self.map(0)?;
        Ok(self.reader.add(Op::Upsample(upsample), vec![id], sizes))
    }

    /// A vector that is made of means, as a map of one position: the means as a pool of the whole map, and matrices as
    /// convolutions.
    fn as_map(&mut self, vector: Id, i: usize, raw: &[usize]) -> Result<(Id, Vec<usize>), String> {
        let (mut chain, mut count) = (Vec::new(), 0usize);
        let mut at = vector;
        let graph = &self.reader.graph;
        loop {
            let numbers = match graph.op(at) {
                Op::Linear { weights, outputs, .. } => weights.len() + outputs,
                Op::Affine { scale, .. } => 2 * scale.len(),
                Op::Activation(_) => 1,
                _ => break,
            };
            count = count.saturating_add(numbers);
            chain.push(at);
            at = graph.input(at);
        }
        let x = (*graph.op(at) == Op::GlobalPool).then(|| graph.input(at));
        let whole = x.and_then(|x| Some((x, graph.shape(x).space()?, graph.shape(x).channels())));
        if raw.len() < 3 {
            return Err(format!("its input {i} is a vector: must be a map"));
        }
        let Some((x, kernel, channels)) = whole else {
            return Err(format!("its input {i} is a vector, and not of the means of a map: must be a map"));
        };
        self.reader.take(count)?;
        self.reader.fix("the means that it reads become a pool of the whole map");
        let sizes = |channels: usize| [&[raw[0], channels], &raw[2..]].concat();
        let padding = [Ends::default(); 3];
        let (kind, stride) = (PoolKind::Average, [1; 3]);
        let pool = Pool { kind, kernel, stride, padding, ceil_mode: false, count_include_pad: false };
        let mut raw = sizes(channels);
        let mut id = self.made(Op::Pool(pool), vec![x], &raw);
        for at in chain.into_iter().rev() {
            let op = match self.reader.graph.op(at).clone() {
                Op::Linear { weights, outputs, bias, name } => {
                    let shape = [outputs, weights.len() / outputs, 1, 1, 1];
                    raw = sizes(outputs);
                    let (stride, dilation, groups) = ([1; 3], [1; 3], 1);
                    Op::Conv(Conv { weights, shape, bias, stride, padding, dilation, groups, name })
                }
                other => other,
            };
            id = self.made(op, vec![id], &raw);
        }
        Ok((id, raw))
    }

    /// All changes of shape that keep the elements in their order.
    fn reshape(&mut self) -> Made {
        let view = match self.slots.first() {
            Some(Some(Slot::View { id, raw, sizes, turned })) => Some((*id, raw.clone(), sizes.clone(), *turned)),
            _ => None,
        };
        let (id, raw) = match &view {
            Some((id, _, sizes, _)) => (*id, sizes.clone()),
            None => self.value(0)?,
        };
        let listed = |i: usize| match self.node.ints("axes") {
            Some(axes) => Ok(Some(axes.to_vec())),
            None if self.given(i) => {
                self.constant(i)?.ints().map(Some).ok_or_else(|| "its axes must be whole numbers".to_string())
            }
            None => Ok(None),
        };
        let sizes = match self.node.operator.as_str() {
            "Flatten" => {
                let at = flatten_axis(self.node, raw.len())?;
                vec![elements(&raw[..at]), elements(&raw[at..])]
            }
            "Squeeze" => squeezed(&raw, listed(1)?.as_deref())?,
            "Unsqueeze" => unsqueezed(&raw, &listed(1)?.ok_or("its axes are missing")?)?,
            _ => {
                let to = match self.node.ints("shape") {
                    Some(shape) => shape.to_vec(),
                    None => self.constant(1)?.ints().ok_or("its shape must be whole numbers")?,
                };
                reshape_sizes(&raw, &to, self.node.int("allowzero") == Some(1))?
            }
        };
        if let Some((id, raw, from, turned)) = view {
            return match turned {
                _ if sizes != raw => {
                    Err(format!("it makes {sizes:?} of {from:?}, which was {raw:?}: only that has a counterpart"))
                }
                None => Ok(Slot::Value(id, raw)),
                Some([rows, columns]) => {
                    let order = (0..rows * columns).map(|i| i % rows * columns + i / rows);
                    self.select(id, &raw, order)
                }
            };
        }
        if sizes == raw {
            return Ok(Slot::Value(id, raw));
        }
        let all = elements(&raw[1..]);
        let of_vector = |sizes: &[usize]| sizes.len() >= 2 && sizes[0] == raw[0] && sizes[1] == all;
        if self.reader.is_vector(id) && of_vector(&sizes) {
            return Ok(Slot::Value(id, sizes));
        }
        // Channels as a table, which may be turned: a shuffle. Or a single one without its axis.
        let space = &raw[2..];
        let splits = !self.reader.is_vector(id)
            && sizes.len() == raw.len() + 1
            && sizes[..1] == raw[..1]
            && sizes[3..] == *space
            && sizes[1].checked_mul(sizes[2]) == Some(raw[1]);
        if splits {
            return Ok(Slot::View { id, raw, sizes, turned: None });
        }
        if of_vector(&sizes) {
            if let Some(vector) = self.reader.vector_of_means(id)? {
                return Ok(Slot::Value(vector, sizes));
            }
            if sizes.len() == 2 {
                return Ok(self.reader.add(Op::Flatten, vec![id], sizes));
            }
        }
        Err(format!("it makes {sizes:?} of {raw:?}: only maps can become vectors, and channels a table to be shuffled"))
    }

    fn transpose(&mut self) -> Made {
        let perm = self.node.ints("perm").map(<[i64]>::to_vec);
        match self.slots.first() {
            Some(Some(Slot::View { id, raw, sizes, turned: None })) if sizes.len() == raw.len() + 1 => {
                let mut swapped: Vec<i64> = (0..sizes.len() as i64).collect();
                swapped.swap(1, 2);
                if perm == Some(swapped) {
                    let mut turned = sizes.clone();
                    turned.swap(1, 2);
                    let table = Some([sizes[1], sizes[2]]);
                    return Ok(Slot::View { id: *id, raw: raw.clone(), sizes: turned, turned: table });
                }
            }
            Some(Some(Slot::Value(id, raw)))
                if perm.as_ref().is_some_and(|p| p.iter().copied().eq(0..raw.len() as i64)) =>
            {
                return Ok(Slot::Value(*id, raw.clone()));
            }
            _ => {}
        }
        let perm = perm.map_or("turned round".into(), |perm| shown(&perm));
        Err(format!(
            "its order of axes is {perm}: maps stay [n, c, h, w], and only a shuffle of channels has a counterpart"
        ))
    }

    /// These channels of a map, or elements of a vector.
    fn select(&mut self, id: Id, raw: &[usize], chosen: impl ExactSizeIterator<Item = usize>) -> Made {
        self.reader.take(chosen.len())?;
        let chosen: Vec<usize> = chosen.collect();
        if chosen.iter().copied().eq(0..raw[1]) {
            return Ok(Slot::Value(id, raw.to_vec()));
        }
        if chosen.is_empty() {
            return Err(format!("it leaves nothing of {raw:?}"));
        }
        // At worst, it becomes a matrix.
        self.reader.take(chosen.len().saturating_mul(raw[1]))?;
        let sizes = [&[raw[0], chosen.len()], &raw[2..]].concat();
        Ok(self.reader.add(Op::Select(chosen), vec![id], sizes))
    }

    fn split(&mut self) -> Result<Vec<Slot>, String> {
        let (id, raw) = self.value(0)?;
        let at = axis(self.node.int("axis").unwrap_or(0), raw.len())?;
        if at != 1 {
            return Err(format!("it splits axis {at}: must be 1, the channels"));
        }
        let outputs = self.node.outputs.len();
        let lengths: Vec<i64> = match self.node.ints("split") {
            Some(lengths) => lengths.to_vec(),
            None if self.given(1) => self.constant(1)?.ints().ok_or("its lengths must be whole numbers")?,
            None => {
                let each = raw[1].div_ceil(outputs.max(1));
                (0..outputs).map(|i| raw[1].saturating_sub(i * each).min(each) as i64).collect()
            }
        };
        let lengths: Vec<usize> = lengths.iter().map(|&l| usize::try_from(l).unwrap_or(0)).collect();
        let all = lengths.iter().try_fold(0usize, |all, &length| all.checked_add(length));
        if lengths.len() != outputs || all != Some(raw[1]) || lengths.contains(&0) {
            let lengths = shown(&lengths);
            return Err(format!("it splits {} channels into {lengths}, with {outputs} outputs", raw[1]));
        }
        let mut first = 0;
        let mut parts = Vec::new();
        for length in lengths {
            parts.push(self.select(id, &raw, first..first + length)?);
            first += length;
        }
        Ok(parts)
    }

    /// Channels by their numbers.
    fn gather(&mut self) -> Made {
        let (id, raw) = self.value(0)?;
        let at = axis(self.node.int("axis").unwrap_or(0), raw.len())?;
        if at != 1 {
            return Err(format!("it chooses along axis {at}: must be 1, the channels"));
        }
        let indices = self.constant(1)?;
        let alone = indices.shape().is_empty();
        if indices.shape().len() > 1 {
            return Err(format!("its indices are {:?}: must be one number or a list", indices.shape()));
        }
        let given = indices.ints().ok_or("its indices must be whole numbers")?;
        let chosen = given.iter().map(|&i| axis(i, raw[1])).collect::<Result<Vec<usize>, _>>()?;
        let slot = self.select(id, &raw, chosen.into_iter())?;
        match slot {
            Slot::Value(id, raw) if alone && raw.len() > 2 => {
                let sizes = [&raw[..1], &raw[2..]].concat();
                Ok(Slot::View { id, raw, sizes, turned: None })
            }
            Slot::Value(..) if alone => Err("it takes one element of a vector, without its axis".into()),
            slot => Ok(slot),
        }
    }

    fn gemm(&mut self) -> Made {
        let alpha = self.node.float("alpha").unwrap_or(1.0);
        let beta = self.node.float("beta").unwrap_or(1.0);
        if self.node.int("transA").unwrap_or(0) != 0 {
            return Err("its transA is 1: must be 0".into());
        }
        let turned = self.node.int("transB").unwrap_or(0) != 0;
        let bias = if self.given(2) { Some(self.constant(2)?.clone()) } else { None };
        self.linear(turned, alpha, bias.map(|bias| (bias, beta)))
    }

    fn matmul(&mut self) -> Made {
        self.linear(false, 1.0, None)
    }

    fn linear(&mut self, turned: bool, alpha: f32, bias: Option<(Constant, f32)>) -> Made {
        let (id, raw) = self.value(0)?;
        let count = elements(self.constant(1)?.shape());
        self.reader.take(count)?;
        let matrix = match self.constant(1)? {
            Constant::Float(matrix) if matrix.ndim() == 2 => matrix.clone(),
            other => return Err(format!("its matrix is {:?}: must have two axes", other.shape())),
        };
        if !self.reader.is_vector(id) || raw.len() != 2 {
            return Err(format!("its input is {raw:?}: must be a vector [n, c]"));
        }
        let matrix = if turned { matrix } else { matrix.reversed_axes() };
        let &[outputs, inputs] = matrix.shape() else { return Err("its matrix has not two axes".into()) };
        if inputs != raw[1] || outputs == 0 {
            return Err(format!("its matrix has {inputs} inputs, and {} are there", raw[1]));
        }
        let weights = matrix.iter().map(|v| v * alpha).collect();
        let bias = bias.map(|(bias, beta)| {
            per_channel(&bias, &[1, outputs]).map(|b| b.iter().map(|v| v * f64::from(beta)).collect())
        });
        let name = self.reader.weight_name(&self.node.inputs[1]);
        let op = Op::Linear { weights, outputs, bias: bias.transpose()?, name };
        Ok(self.reader.add(op, vec![id], vec![raw[0], outputs]))
    }

    fn softmax(&mut self) -> Made {
        let (id, raw) = self.value(0)?;
        let default = if self.reader.opset < 13 { 1 } else { -1 };
        let at = axis(self.node.int("axis").unwrap_or(default), raw.len())?;
        let vector = if self.reader.is_vector(id) { Some(id) } else { self.reader.vector_of_means(id)? };
        let (Some(vector), 1) = (vector, at) else {
            return Err(format!("its input is {raw:?}, along axis {at}: must be a vector, along axis 1"));
        };
        Ok(self.reader.add(Op::Softmax, vec![vector], raw))
    }

    fn pad(&mut self) -> Made {
        let (id, raw) = self.value(0)?;
        let mode = self.node.text("mode").unwrap_or("constant").to_owned();
        let pads = match self.node.ints("pads") {
            Some(pads) => pads.to_vec(),
            None => self.constant(1)?.ints().ok_or("its pads must be whole numbers")?,
        };
        let value = match self.node.float("value") {
            Some(value) => value,
            None if self.given(2) => self.constant(2)?.scalar().unwrap_or(0.0),
            None => 0.0,
        };
        let rank = raw.len();
        let axes: Vec<usize> = match self.given(3) {
            true => {
                let axes = self.constant(3)?.ints().ok_or("its axes must be whole numbers")?;
                axes.iter().map(|&a| axis(a, rank)).collect::<Result<_, _>>()?
            }
            false => (0..rank).collect(),
        };
        let most = MOST_SIZE as i64;
        if pads.len() != 2 * axes.len() || !pads.iter().all(|pad| (-most..=most).contains(pad)) {
            return Err(format!("its pads are {}: must be two for each axis, from -{most} to {most}", shown(&pads)));
        }
        let mut ends = vec![[0i64; 2]; rank];
        axes.iter().enumerate().for_each(|(i, &a)| ends[a] = [pads[i], pads[i + axes.len()]]);
        if ends.iter().all(|&ends| ends == [0, 0]) {
            return Ok(Slot::Value(id, raw));
        }
        let (id, raw) = self.map(0)?;
        if ends[..2] != [[0, 0]; 2] {
            return Err(format!("its pads are {}: must leave batch and channels as they are", shown(&pads)));
        }
        if mode == "edge" || ends.iter().flatten().any(|&pad| pad < 0) {
            if mode != "edge" && ends.iter().flatten().any(|&pad| pad > 0) {
                return Err(format!("its pads are {}: must be all positive or all negative", shown(&pads)));
            }
            // An axis behind the channels, and a pad, are at most MOST_SIZE long.
            return self.reindex(id, &raw, |axis, size| {
                let [before, behind] = ends[axis + 2];
                (-before..size as i64 + behind).map(|at| at.clamp(0, size as i64 - 1) as usize).collect()
            });
        }
        if mode != "constant" || value != 0.0 {
            return Err(format!("its mode is {mode} and its value {value}: must be constant and 0"));
        }
        let read = |[before, behind]: [i64; 2]| match (u32::try_from(before), u32::try_from(behind)) {
            (Ok(before), Ok(behind)) => Ok(Ends { before, behind }),
            _ => Err(format!("its pads are {}", shown(&pads))),
        };
        let all: Vec<Ends> = ends[2..].iter().map(|&e| read(e)).collect::<Result<_, _>>()?;
        let padding = spread(&all, Ends::default());
        let space =
            sizes_behind(&raw, |axis, size| Some(size + (padding[axis].before + padding[axis].behind) as usize))?;
        Ok(self.reader.add(Op::Pad(padding), vec![id], [&raw[..2], space.as_slice()].concat()))
    }

    fn slice(&mut self) -> Made {
        let (id, raw) = self.value(0)?;
        let mut cuts = cuts(self.node, self.constants, &raw, self.reader.opset)?;
        // Exporters name axes of which all is taken, too.
        cuts.retain(|cut| cut.first != 0 || cut.step != 1 || cut.count != raw[cut.axis]);
        if cuts.is_empty() {
            return Ok(Slot::Value(id, raw));
        }
        if cuts.iter().any(|cut| cut.axis == 0) {
            return Err("it cuts axis 0, the batch".into());
        }
        if let [cut @ Cut { axis: 1, .. }] = cuts.as_slice() {
            return self.select(id, &raw, cut.indices());
        }
        if cuts.iter().any(|cut| cut.axis == 1) {
            return Err("it cuts channels and something else at once".into());
        }
        let (id, raw) = self.map(0)?;
        self.reindex(id, &raw, |axis, size| match cuts.iter().find(|cut| cut.axis == axis + 2) {
            Some(cut) => cut.indices().collect(),
            None => (0..size).collect(),
        })
    }

    /// A map whose rows and columns are chosen from those of another. `chosen` gives the indices for an axis behind the
    /// channels, of which there are two or three.
    fn reindex(&mut self, id: Id, raw: &[usize], chosen: impl Fn(usize, usize) -> Vec<usize>) -> Made {
        let axes = raw.len() - 2;
        let all: Vec<Vec<usize>> = (0..axes).map(|axis| chosen(axis, raw[axis + 2])).collect();
        if axes == 3 && !all[0].iter().copied().eq(0..raw[2]) {
            return Err("it changes the frames".into());
        }
        if all.iter().any(Vec::is_empty) {
            return Err(format!("it leaves nothing of {raw:?}"));
        }
        let sizes: Vec<usize> = all.iter().map(Vec::len).collect();
        self.reader.take(sizes.iter().sum())?;
        let [rows, columns] = [&all[axes - 2], &all[axes - 1]].map(Vec::clone);
        let op = Op::Upsample(Upsample::Nearest { rows, columns });
        Ok(self.reader.add(op, vec![id], [&raw[..2], sizes.as_slice()].concat()))
    }
}

/// The windows of a convolution or pool, for frames, rows and columns.
struct Window {
    kernel: [usize; 3],
    stride: [usize; 3],
    dilation: [usize; 3],
    padding: [Ends; 3],
}

impl Window {
    fn read(node: &FileNode, axes: usize, kernel: [usize; 3]) -> Result<Self, String> {
        let list = |name: &str| match node.ints(name) {
            Some(values) if values.len() != axes => Err(format!("its {name} are {}", shown(values))),
            Some(values) => three(values, 1, name),
            None => Ok([1; 3]),
        };
        let padding = match node.ints("pads") {
            None => [Ends::default(); 3],
            Some(pads) if pads.len() == 2 * axes => {
                let end = |v: i64| {
                    let end = u32::try_from(v).ok().filter(|&v| v as usize <= MOST_SIZE);
                    end.ok_or_else(|| format!("its pads are {pads:?}"))
                };
                let ends = |i: usize| Ok(Ends { before: end(pads[i])?, behind: end(pads[i + axes])? });
                spread(&(0..axes).map(ends).collect::<Result<Vec<_>, String>>()?, Ends::default())
            }
            Some(pads) => return Err(format!("its pads are {}", shown(pads))),
        };
        let window = Self { kernel, stride: list("strides")?, dilation: list("dilations")?, padding };
        if [window.kernel, window.stride, window.dilation].iter().flatten().any(|&v| v > MOST_SIZE) {
            return Err("its kernel, strides or dilations are too large".into());
        }
        Ok(window)
    }

    /// The padding, if an attribute leaves it to the sizes.
    fn paddings(&self, node: &FileNode, raw: &[usize], dilation: [usize; 3]) -> Result<[Ends; 3], String> {
        let sizes = spread(&raw[2..], 1);
        let same = |extra_first: bool| {
            [0, 1, 2].map(|axis| {
                let reach = dilation[axis].saturating_mul(self.kernel[axis] - 1).saturating_add(1);
                let windows = sizes[axis].div_ceil(self.stride[axis]);
                let all = ((windows - 1) * self.stride[axis]).saturating_add(reach).saturating_sub(sizes[axis]);
                let all = u32::try_from(all).unwrap_or(u32::MAX);
                let (less, more) = (all / 2, all.div_ceil(2));
                if extra_first { Ends { before: more, behind: less } } else { Ends { before: less, behind: more } }
            })
        };
        match node.text("auto_pad") {
            None | Some("NOTSET" | "") => Ok(self.padding),
            Some("VALID") => Ok([Ends::default(); 3]),
            Some("SAME_UPPER") => Ok(same(false)),
            Some("SAME_LOWER") => Ok(same(true)),
            Some(other) => Err(format!("its auto_pad is {other}")),
        }
    }
}

/// Values for frames, rows and columns. Images have no frames.
fn spread<T: Copy>(values: &[T], frames: T) -> [T; 3] {
    match *values {
        [t, h, w] => [t, h, w],
        [h, w] => [frames, h, w],
        _ => [frames; 3],
    }
}

fn three(values: &[i64], frames: usize, name: &str) -> Result<[usize; 3], String> {
    let all: Vec<usize> = values.iter().map(|&v| whole(v, name)).collect::<Result<_, _>>()?;
    match all.len() {
        2 | 3 => Ok(spread(&all, frames)),
        _ => Err(format!("its {name} are {}: must be 2 or 3 numbers", shown(values))),
    }
}

/// A number that must be at least 1.
fn whole(value: i64, name: &str) -> Result<usize, String> {
    usize::try_from(value).ok().filter(|&v| v > 0).ok_or_else(|| format!("its {name} is {value}: must be at least 1"))
}

/// The sizes behind the channels that `size` makes of those that are there, by axis: 0 frames, 1 rows, 2 columns.
fn sizes_behind(raw: &[usize], size: impl Fn(usize, usize) -> Option<usize>) -> Result<Vec<usize>, String> {
    let first = 5 - raw.len();
    let sizes: Option<Vec<usize>> =
        raw[2..].iter().enumerate().map(|(i, &d)| size(first + i, d).filter(|d| (1..=MOST_SIZE).contains(d))).collect();
    sizes.ok_or_else(|| format!("it makes nothing, or more than {MOST_SIZE} along an axis, of {raw:?}"))
}

fn doubles(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| v.into()).collect()
}

/// The elements of a constant that has one for each channel, or one for all.
fn per_channel(constant: &Constant, raw: &[usize]) -> Result<Vec<f64>, String> {
    let (shape, channels) = (constant.shape(), raw[1]);
    let at = (1 + shape.len()).checked_sub(raw.len());
    let one_axis = shape.iter().enumerate().all(|(i, &d)| d == 1 || Some(i) == at);
    let values = || doubles(&constant.floats());
    match elements(shape) {
        1 if shape.len() <= raw.len() => Ok(vec![values()[0]; channels]),
        n if n == channels && one_axis && shape.len() <= raw.len() => Ok(values()),
        _ => Err(format!(
            "it combines {raw:?} with a constant of {shape:?}: must be one number, or one for each channel"
        )),
    }
}

//! Writes the nodes and tensors of a network.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use octconv::network::{
    Axes, Checkpoint, Conv, Excite, HostTensor, INPUT, Input, Network, Node, Op as NodeOp, Pool as NodePool,
    Upsample as NodeUpsample, UpsampleMode, UpsampleTo,
};
use octconv::{Activation, Downsample, TimeAxis};

use super::layers::{ConvLayer, HH, HL, KernelAxis, Key, LH, LL, Layer, Layers, NoLayer};
use super::names::{Names, common};
use super::pairs::Pairs;
use crate::plain::{Id, Op, PlainGraph, Shape, Upsample};
use crate::{ImportOptions, Imported, Problem, Report};

/// Why a network cannot be written.
pub(super) enum Failed {
    /// Two maps are no pair.
    Pair { high: Id, low: Id, reason: String },
    /// Nodes without a counterpart.
    Nodes { problems: Vec<Problem> },
    /// There are more nodes than a network may have. Without a pair there are no fewer.
    Large,
}

/// Added to variances. Batch norms are written as a scale and a shift, with a variance of 1.
const NORM_EPS: f32 = 0.0;

/// The largest factor of an upsampling in a description.
const MOST_FACTOR: usize = 1024;

/// The most nodes of a description.
pub(super) const MOST_NODES: usize = 1 << 12;

/// The weights that may be made beyond those of the file: zeros between groups and around kernels.
const MORE_WEIGHTS: usize = 1 << 25;

/// How many times as many multiply-adds a convolution may take for zeros around and between its weights.
const MOST_TAPS: usize = 64;

struct Writer<'a> {
    graph: &'a PlainGraph,
    layers: Layers<'a>,
    names: Names,
    written: HashMap<Key, String>,
    nodes: Vec<Node>,
    checkpoint: Checkpoint,
    report: Report,
    /// The weights that may still be made.
    left: usize,
}

/// Writes the network of a graph with these pairs.
pub(super) fn write(graph: &PlainGraph, pairs: &Pairs, options: &ImportOptions) -> Result<Imported, Failed> {
    let layers = Layers::new(graph, pairs);
    let mut writer = Writer {
        graph,
        layers,
        names: Names::new(),
        written: HashMap::new(),
        nodes: Vec::new(),
        checkpoint: Checkpoint::default(),
        report: Report { file_nodes: graph.nodes, fixed: graph.fixed.clone(), ..Report::default() },
        left: MORE_WEIGHTS,
    };
    let output = writer.write_all(Key::single(graph.output))?;
    let input = graph.values.iter().find(|value| value.op == Op::Input);
    let (channels, space) =
        input.map_or((0, [0; 3]), |value| (value.shape.channels(), value.shape.space().unwrap_or([0; 3])));
    writer.report.size = space.map(|d| d as u32);
    let network = Network {
        name: options.name.clone().unwrap_or_else(|| "imported".into()),
        input: Input { channels: channels as u32 },
        rounding: writer.layers.rounding,
        norm_eps: NORM_EPS,
        nodes: writer.nodes,
        output,
        stages: Vec::new(),
        picture: None,
    };
    Ok(Imported { network, checkpoint: writer.checkpoint, report: writer.report })
}

impl Writer<'_> {
    /// Writes the node of `key`, and all that it reads. Returns its name.
    fn write_all(&mut self, key: Key) -> Result<String, Failed> {
        let mut problems: Vec<Problem> = Vec::new();
        let mut found: HashMap<Key, (Layer, Vec<Key>)> = HashMap::new();
        // Nodes that are open, each in front of those that it waits for.
        let mut open = vec![key];
        let mut waiting: HashSet<Key> = HashSet::new();
        while let Some(&at) = open.last() {
            if self.written.contains_key(&at) {
                open.pop();
                continue;
            }
            if let Entry::Vacant(entry) = found.entry(at) {
                match self.layers.find(at) {
                    Ok(layer) => {
                        let reads = reads(&layer);
                        entry.insert((layer, reads));
                    }
                    Err(NoLayer::Pair { high, low, reason }) => return Err(Failed::Pair { high, low, reason }),
                    Err(NoLayer::Node { at: id, reason }) => {
                        problems.push(self.problem(id, reason));
                        // What it reads may have problems of its own.
                        self.written.insert(at, String::new());
                        let reads = self.graph.values[id].inputs.iter().map(|&id| Key::single(id));
                        open.extend(reads.filter(|key| !self.written.contains_key(key)));
                        continue;
                    }
                }
            }
            let waits: Vec<Key> =
                found[&at].1.iter().filter(|read| !self.written.contains_key(read)).copied().collect();
            if !waits.is_empty() {
                if waits.iter().any(|wait| waiting.contains(wait)) {
                    return Err(self.cycle(at));
                }
                waiting.insert(at);
                open.extend(waits);
                continue;
            }
            open.pop();
            if let Some((layer, _)) = found.remove(&at) {
                match self.write_layer(at, layer) {
                    Ok(_) if self.nodes.len() > MOST_NODES => return Err(Failed::Large),
                    Ok(name) => drop(self.written.insert(at, name)),
                    Err((id, reason)) => {
                        problems.push(self.problem(id, reason));
                        self.written.insert(at, String::new());
                    }
                }
            }
        }
        if problems.is_empty() { Ok(self.written[&key].clone()) } else { Err(Failed::Nodes { problems }) }
    }

    /// Pairs that were found wrongly may wait for each other.
    fn cycle(&self, at: Key) -> Failed {
        match at.low {
            Some(low) => Failed::Pair { high: at.high, low, reason: "it depends on itself".into() },
            None => Failed::Nodes { problems: vec![self.problem(at.high, "it depends on itself".into())] },
        }
    }

    fn problem(&self, id: Id, reason: String) -> Problem {
        let value = &self.graph.values[id];
        Problem { node: value.node.clone(), operator: value.operator.clone(), reason }
    }

    fn fix(&mut self, id: Id, reason: String) {
        self.report.fixed.push(self.problem(id, reason).to_string());
    }

    fn name(&self, key: Key) -> String {
        self.written[&key].clone()
    }

    fn add(&mut self, key: Key, name: Option<String>, otherwise: &str, op: NodeOp) -> String {
        let value = &self.graph.values[key.high];
        let wanted: Vec<String> = name.into_iter().chain([value.name.clone()]).collect();
        let name = self.names.take(&wanted, otherwise);
        self.nodes.push(Node { name: name.clone(), op });
        name
    }

    fn tensor(&mut self, name: String, shape: &[usize], data: Vec<f32>) {
        self.checkpoint.tensors.insert(name, HostTensor { shape: shape.to_vec(), data });
    }

    fn write_layer(&mut self, key: Key, layer: Layer) -> Result<String, (Id, String)> {
        Ok(match layer {
            Layer::Input => INPUT.to_owned(),
            Layer::Conv(layer) => self.conv(key, &layer)?,
            Layer::Pool { input } => {
                let Op::Pool(pool) = self.graph.op(key.high) else { return Err((key.high, "it is no pool".into())) };
                let input = self.name(input);
                let axes = |v: [usize; 3]| self.axes(v.map(|v| v as u32));
                let mut node = NodePool::new(input, pool.kind, axes(pool.kernel), axes(pool.stride));
                node.padding = self.axes(pool.padding);
                (node.ceil_mode, node.count_include_pad) = (pool.ceil_mode, pool.count_include_pad);
                self.add(key, None, "pool", NodeOp::Pool(node))
            }
            Layer::Norm { input, affine, activation } => {
                let name =
                    self.add(key, None, "norm", NodeOp::Norm { input: self.name(input), affine: true, activation });
                for (id, letter) in affine.into_iter().zip(['h', 'l']) {
                    let Some(Op::Affine { scale, shift, .. }) = id.map(|id| self.graph.op(id)) else { continue };
                    let c = scale.len();
                    let [gamma, beta] = [scale, shift].map(|v| v.iter().map(|&v| v as f32).collect());
                    for (part, data) in
                        [("gamma", gamma), ("beta", beta), ("mean", vec![0.0; c]), ("var", vec![1.0; c])]
                    {
                        self.tensor(format!("{name}.norm_{letter}.{part}"), &[c], data);
                    }
                }
                name
            }
            Layer::Concat { inputs } => {
                let inputs = inputs.into_iter().map(|key| self.name(key)).collect();
                self.add(key, None, "concat", NodeOp::Concat { inputs })
            }
            Layer::Excite { input, squeeze, excite, residual, activation } => {
                self.excite(key, input, squeeze, excite, residual, activation)
            }
            Layer::Gate { input, by } => {
                let mut by: Vec<String> = by.into_iter().map(|id| self.name(Key::single(id))).collect();
                if by.len() > 1 {
                    let both = NodeOp::Concat { inputs: std::mem::take(&mut by) };
                    by = vec![self.add(key, None, "gate", both)];
                }
                let (input, by) = (self.name(input), by.concat());
                self.add(key, None, "gate", NodeOp::Gate { input, by })
            }
            Layer::GlobalPool { input } => {
                if *self.graph.op(key.high) == Op::Flatten {
                    self.fix(key.high, "it reads a map of one position as a vector".into());
                }
                self.add(key, None, "global_pool", NodeOp::GlobalPool { input: self.name(input) })
            }
            Layer::Linear { input, at, activation } => self.linear(key, self.name(input), at, activation),
            Layer::LinearOfMap { input, at } => self.linear_of_map(key, self.name(input), at),
            Layer::Softmax { input } => self.add(key, None, "softmax", NodeOp::Softmax { input: self.name(input) }),
            Layer::Add { inputs, activation } => {
                let inputs = inputs.into_iter().map(|key| self.name(key)).collect();
                self.add(key, None, "add", NodeOp::Add { inputs, activation })
            }
            Layer::Activation { input, activation } => {
                self.add(key, None, "activation", NodeOp::Activation { input: self.name(input), activation })
            }
            Layer::Upsample { input } => {
                let upsample = self.upsample(key, self.name(input)).map_err(|reason| (key.high, reason))?;
                self.add(key, None, "upsample", NodeOp::Upsample(upsample))
            }
        })
    }

    /// Values for rows and columns, and for frames if the network has them.
    fn axes<T: Copy>(&self, [t, h, w]: [T; 3]) -> Axes<T> {
        if self.graph.video { Axes::Video([t, h, w]) } else { Axes::Image([h, w]) }
    }

    /// An upsampling that makes the same from the same size. A whole factor holds for all sizes.
    fn upsample(&mut self, key: Key, input: String) -> Result<NodeUpsample, String> {
        let Op::Upsample(upsample) = self.graph.op(key.high) else { return Err("it does not upsample".into()) };
        let size = |id: Id| self.graph.shape(id).space().map(|[_, h, w]| [h, w]);
        let (Some(from), Some(to)) = (size(self.graph.input(key.high)), size(key.high)) else {
            return Err("it reads a vector".into());
        };
        let whole = [0, 1].map(|axis| to[axis].is_multiple_of(from[axis]).then(|| to[axis] / from[axis]));
        let to_size = match whole {
            [Some(h), Some(w)] if h.max(w) <= MOST_FACTOR => UpsampleTo::Factor(Axes::Image([h as f64, w as f64])),
            _ => {
                self.fix(key.high, format!("it makes a map of {}x{}", to[0], to[1]));
                UpsampleTo::Size(Axes::Image(to.map(|d| d as u32)))
            }
        };
        let (mode, align_corners) = match upsample {
            Upsample::Bilinear { align_corners, .. } => (UpsampleMode::Bilinear, *align_corners),
            Upsample::Nearest { rows, columns } => {
                let is_nearest = |indices: &[usize], from: usize| {
                    indices.iter().enumerate().all(|(i, &at)| at == i * from / indices.len())
                };
                if !is_nearest(rows, from[0]) || !is_nearest(columns, from[1]) {
                    let reason = match self.graph.values[key.high].operator.as_str() {
                        "Pad" | "Slice" => {
                            "it repeats or cuts rows or columns: must do so at the end of a doubled map of an octave layer"
                        }
                        _ => "it copies other rows or columns than PyTorch's interpolate does, and belongs to no layer",
                    };
                    return Err(reason.into());
                }
                (UpsampleMode::Nearest, false)
            }
        };
        Ok(NodeUpsample { input, mode, align_corners, to: to_size })
    }

    fn conv(&mut self, key: Key, layer: &ConvLayer) -> Result<String, (Id, String)> {
        let convs = layer.paths.map(|id| id.and_then(|id| self.layers.uses.conv(id)));
        let Some(model) = convs.iter().flatten().next() else {
            return Err((key.high, "it has no convolution".into()));
        };
        let outputs = |path: usize| convs[path].map_or(0, |conv| conv.shape[0] as u32);
        let (high, low) = (outputs(HH), outputs(HL).max(outputs(LL)));
        let octave = key.low.is_some() || layer.input.low.is_some();
        let depthwise = self.layers.is_depthwise(layer);
        let groups = self.layers.groups(layer);
        let groups_of = |conv: &crate::plain::Conv| if depthwise { conv.groups } else { groups };
        for (id, conv) in layer.paths.iter().zip(convs).filter_map(|(id, conv)| Some((*id)?).zip(conv)) {
            let axes = [0, 1, 2].map(|axis| KernelAxis::of(conv, axis).length);
            let taps = |kernel: &[usize]| kernel.iter().fold(1, |all: usize, &d| all.saturating_mul(d));
            let [_, _, kernel @ ..] = conv.shape;
            if taps(&axes) > taps(&kernel).saturating_mul(MOST_TAPS) {
                let reason = format!(
                    "its uneven pads become zeros around and between its weights, a kernel of {axes:?} for one of \
                     {kernel:?}: must be at most {MOST_TAPS} times as large"
                );
                return Err((id, reason));
            }
            let more = widened(conv, groups_of(conv)).map_or(usize::MAX, |shape| elements(&shape) - conv.weights.len());
            let refused = || {
                let reason = "zeros between its groups, or around and between its weights, would take too much memory";
                (id, reason.to_string())
            };
            self.left = self.left.checked_sub(more).ok_or_else(refused)?;
        }
        let axes = [0, 1, 2].map(|axis| KernelAxis::of(model, axis));
        let padding = axes.each_ref().map(|axis| axis.padding);
        let kernel = axes.each_ref().map(|axis| axis.length as u32);
        let dilation = axes.each_ref().map(|axis| axis.dilation as u32);
        let [stride_t, stride, _] = model.stride.map(|s| s as u32);
        let time = TimeAxis { kernel: kernel[0], stride: stride_t, padding: padding[0], dilation: dilation[0] };
        let bias = convs.iter().flatten().any(|conv| conv.bias.is_some());
        let node = Conv {
            split: (octave).then_some([high, low]),
            kernel: [kernel[1], kernel[2]],
            stride: if layer.halves { 2 } else { stride },
            padding: [padding[1], padding[2]],
            dilation: [dilation[1], dilation[2]],
            time: self.graph.video.then_some(time),
            groups: if depthwise { 1 } else { groups as u32 },
            depthwise,
            bias,
            activation: layer.activation,
            residual: layer.residual.map(|key| self.name(key)),
            downsample: if stride == 2 { Downsample::StridedConv } else { Downsample::AveragePool },
            high_to_low: depthwise || layer.paths[HL].is_some() || key.low.is_none(),
            low_to_high: depthwise || layer.paths[LH].is_some() || layer.input.low.is_none(),
            ..Conv::new(self.name(layer.input), high + low)
        };
        let given: Vec<&str> = convs.iter().flatten().filter_map(|conv| conv.name.as_deref()).collect();
        let all_given = given.len() == convs.iter().flatten().count();
        let name = all_given.then(|| common(&given)).or_else(|| {
            let ids = layer.paths.iter().flatten();
            let names: Vec<&str> = ids.map(|&id| self.graph.values[id].name.trim_end_matches("/Conv")).collect();
            Some(common(&names))
        });
        match octave {
            true => self.report.octave_convs += 1,
            false => self.report.plain_convs += 1,
        }
        let name = self.add(key, name, "conv", NodeOp::Conv(node));
        for (path, tensor) in [(HH, "w_hh"), (HL, "w_hl"), (LH, "w_lh"), (LL, "w_ll")] {
            if let Some(conv) = convs[path] {
                let (shape, data) = self.path_weights(conv, groups_of(conv));
                self.tensor(format!("{name}.{tensor}"), &shape, data);
            }
        }
        for (letter, paths, channels) in [('h', [HH, LH], high), ('l', [HL, LL], low)] {
            if bias && channels > 0 {
                let mut sum = vec![0.0; channels as usize];
                for conv in paths.iter().filter_map(|&path| convs[path]) {
                    conv.bias.iter().flatten().zip(&mut sum).for_each(|(b, sum): (&f64, &mut f64)| *sum += b);
                }
                let data = sum.into_iter().map(|v| v as f32).collect();
                self.tensor(format!("{name}.bias_{letter}"), &[channels as usize], data);
            }
        }
        Ok(name)
    }

    /// The weights of a path in so many groups, with zeros where the padding of the two ends differs, and between groups
    /// where the path has more of them.
    fn path_weights(&self, conv: &crate::plain::Conv, groups: usize) -> (Vec<usize>, Vec<f32>) {
        let [n, c, kernel @ ..] = conv.shape;
        let Some(whole) = widened(conv, groups) else { return Default::default() };
        let [_, wide, size @ ..] = whole;
        let axes = [0, 1, 2].map(|axis| KernelAxis::of(conv, axis));
        // Groups of the path in one of the layer.
        let inner = conv.groups / groups;
        let mut data = vec![0.0; elements(&whole)];
        for (i, row) in conv.weights.chunks_exact(kernel[2]).enumerate() {
            let (y, t, channel) = (i % kernel[1], i / kernel[1] % kernel[0], i / (kernel[1] * kernel[0]));
            let (output, channel) = (channel / c, channel % c);
            let group = output / (n / conv.groups) % inner;
            let of = output * wide + group * c + channel;
            let [t, y, x] = [(0, t), (1, y), (2, 0)].map(|(axis, i)| axes[axis].front + i * axes[axis].step);
            let at = ((of * size[0] + t) * size[1] + y) * size[2] + x;
            data[at..].iter_mut().step_by(axes[2].step).zip(row).for_each(|(to, &from)| *to = from);
        }
        let [t, h, w] = size;
        let shape = if self.graph.video { vec![n, wide, t, h, w] } else { vec![n, wide, h, w] };
        (shape, data)
    }

    fn excite(
        &mut self,
        key: Key,
        input: Key,
        squeeze: Id,
        excite: [Option<Id>; 2],
        residual: Option<Key>,
        activation: Activation,
    ) -> String {
        let reduced = self.graph.shape(squeeze).channels() as u32;
        let node =
            Excite { input: self.name(input), reduced, residual: residual.map(|key| self.name(key)), activation };
        let given =
            self.matrix_name(squeeze).and_then(|name| name.rsplit_once('.').map(|(module, _)| module.to_owned()));
        let name = self.add(key, given, "excite", NodeOp::Excite(node));
        for (id, part) in [(Some(squeeze), "squeeze"), (excite[0], "excite_h"), (excite[1], "excite_l")] {
            if let Some(id) = id {
                self.matrix(id, &format!("{name}.{part}"), true);
            }
        }
        name
    }

    fn matrix_name(&self, id: Id) -> Option<String> {
        match self.graph.op(id) {
            Op::Linear { name, .. } => name.clone(),
            _ => None,
        }
    }

    /// Writes the weights and the bias of a matrix. `always`: with a bias of zeros if the file has none.
    fn matrix(&mut self, id: Id, name: &str, always: bool) {
        let Op::Linear { weights, outputs, bias, .. } = self.graph.op(id) else { return };
        let inputs = weights.len() / outputs;
        self.tensor(format!("{name}.weight"), &[*outputs, inputs], weights.clone());
        let bias = bias.as_ref().map(|bias| bias.iter().map(|&v| v as f32).collect());
        if let Some(bias) = bias.or_else(|| always.then(|| vec![0.0; *outputs])) {
            self.tensor(format!("{name}.bias"), &[*outputs], bias);
        }
    }

    fn linear(&mut self, key: Key, input: String, at: Id, activation: Activation) -> String {
        let Op::Linear { outputs, bias, .. } = self.graph.op(at) else { return String::new() };
        let op = NodeOp::Linear { input, outputs: *outputs as u32, bias: bias.is_some(), activation };
        let name = self.add(key, self.matrix_name(at), "linear", op);
        self.matrix(at, &name, false);
        name
    }

    /// A matrix of all elements of a map is a convolution with a kernel as large as the map.
    fn linear_of_map(&mut self, key: Key, input: String, at: Id) -> String {
        let flat = self.graph.input(at);
        let Op::Linear { weights, outputs, bias, .. } = self.graph.op(at) else { return String::new() };
        let Shape::Map { c, space: [t, h, w] } = self.graph.shape(self.graph.input(flat)) else { return String::new() };
        self.fix(at, "it reads all elements of a map".into());
        let time = TimeAxis { kernel: t as u32, stride: 1, padding: 0, dilation: 1 };
        let node = Conv {
            kernel: [h as u32, w as u32],
            time: self.graph.video.then_some(time),
            bias: bias.is_some(),
            ..Conv::new(input, *outputs as u32)
        };
        let name = self.add(key, self.matrix_name(at), "linear", NodeOp::Conv(node));
        let shape = if self.graph.video { vec![*outputs, c, t, h, w] } else { vec![*outputs, c, h, w] };
        self.tensor(format!("{name}.w_hh"), &shape, weights.clone());
        if let Some(bias) = bias {
            self.tensor(format!("{name}.bias_h"), &[*outputs], bias.iter().map(|&v| v as f32).collect());
        }
        self.report.plain_convs += 1;
        self.add(key, Some(format!("{name}.vector")), "vector", NodeOp::GlobalPool { input: name })
    }
}

/// The shape of the weights of a path in so many groups, with an even padding. `None` if they cannot be counted.
fn widened(conv: &crate::plain::Conv, groups: usize) -> Option<[usize; 5]> {
    let [n, c, ..] = conv.shape;
    let [t, h, w] = [0, 1, 2].map(|axis| KernelAxis::of(conv, axis).length);
    let shape = [n, conv.groups / groups * c, t, h, w];
    shape.iter().try_fold(1usize, |all, &d| all.checked_mul(d)).map(|_| shape)
}

fn elements(shape: &[usize]) -> usize {
    shape.iter().product()
}

/// What a layer reads.
fn reads(layer: &Layer) -> Vec<Key> {
    match layer {
        Layer::Input => Vec::new(),
        Layer::Conv(conv) => std::iter::once(conv.input).chain(conv.residual).collect(),
        Layer::Add { inputs, .. } | Layer::Concat { inputs } => inputs.clone(),
        Layer::Excite { input, residual, .. } => std::iter::once(*input).chain(*residual).collect(),
        Layer::Gate { input, by } => std::iter::once(*input).chain(by.iter().map(|&id| Key::single(id))).collect(),
        Layer::Pool { input }
        | Layer::Norm { input, .. }
        | Layer::Activation { input, .. }
        | Layer::GlobalPool { input }
        | Layer::Upsample { input }
        | Layer::Linear { input, .. }
        | Layer::LinearOfMap { input, .. }
        | Layer::Softmax { input } => vec![*input],
    }
}

//! What layer makes a value or a pair of values.

use octconv::network::Ends;
use octconv::{Activation, Rounding};

use super::pairs::Pairs;
use super::sums::{Sum, Uses};
use crate::plain::{Conv, Id, Op, PlainGraph};

/// What a node of the description makes: a value, or a pair of values. `part`: a sum of several convolutions takes
/// several nodes; this is the node with that number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) high: Id,
    pub(super) low: Option<Id>,
    pub(super) part: Option<usize>,
}

impl Key {
    pub(super) fn single(id: Id) -> Self {
        Self { high: id, low: None, part: None }
    }

    fn pair(high: Id, low: Id) -> Self {
        Self { high, low: Some(low), part: None }
    }
}

/// A convolution of a map by one node.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ConvLayer {
    pub(super) input: Key,
    /// Whether both resolutions are halved by means before they are convolved.
    pub(super) halves: bool,
    /// The convolutions of the paths: from high and from low to high, then to low.
    pub(super) paths: [Option<Id>; 4],
    pub(super) residual: Option<Key>,
    pub(super) activation: Activation,
}

pub(super) const HH: usize = 0;
pub(super) const LH: usize = 1;
pub(super) const HL: usize = 2;
pub(super) const LL: usize = 3;

/// A node of the description, before it has a name.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Layer {
    Input,
    Conv(ConvLayer),
    Add {
        inputs: Vec<Key>,
        activation: Activation,
    },
    /// The pool of the value.
    Pool {
        input: Key,
    },
    /// The scale and shift of the values.
    Norm {
        input: Key,
        affine: [Option<Id>; 2],
        activation: Activation,
    },
    Activation {
        input: Key,
        activation: Activation,
    },
    Concat {
        inputs: Vec<Key>,
    },
    Excite {
        input: Key,
        squeeze: Id,
        excite: [Option<Id>; 2],
        residual: Option<Key>,
        activation: Activation,
    },
    /// A map times a vector, or each frequency times one.
    Gate {
        input: Key,
        by: Vec<Id>,
    },
    GlobalPool {
        input: Key,
    },
    Upsample {
        input: Key,
    },
    /// The matrix of the value `at`.
    Linear {
        input: Key,
        at: Id,
        activation: Activation,
    },
    /// The same for all elements of a map.
    LinearOfMap {
        input: Key,
        at: Id,
    },
    Softmax {
        input: Key,
    },
}

/// Why there is no layer.
pub(super) enum NoLayer {
    /// Two values are no pair.
    Pair { high: Id, low: Id, reason: String },
    /// A node of the file has no counterpart.
    Node { at: Id, reason: String },
}

type Matched = Result<Layer, NoLayer>;

/// The matcher of a graph.
pub(super) struct Layers<'a> {
    pub(super) graph: &'a PlainGraph,
    pub(super) uses: Uses<'a>,
    pairs: &'a Pairs,
    pub(super) rounding: Rounding,
}

/// Where a convolution may belong: what it reads, whether that is halved first, and the path.
type Choice = (Key, bool, usize);

/// Convolutions that one node makes.
#[derive(Clone, Debug)]
struct Group {
    input: Key,
    halves: bool,
    paths: [Option<Id>; 4],
}

impl<'a> Layers<'a> {
    pub(super) fn new(graph: &'a PlainGraph, pairs: &'a Pairs) -> Self {
        Self { graph, uses: Uses::new(graph), pairs, rounding: rounding(graph) }
    }

    /// The key of a value that is read by itself, or as the high one of its pair.
    fn key_of(&self, id: Id) -> Key {
        match self.pairs.low_of(id) {
            Some(low) => Key::pair(id, low),
            None => Key::single(id),
        }
    }

    /// The layer that makes a value or a pair.
    pub(super) fn find(&self, key: Key) -> Matched {
        match key.low {
            Some(low) => self.find_pair(key, low),
            None => self.find_single(key),
        }
    }

    fn find_single(&self, key: Key) -> Matched {
        let id = key.high;
        let partner = self.pairs.low_of(id).map(|low| (id, low)).or(self.pairs.high_of(id).map(|high| (high, id)));
        if let Some((high, low)) = partner {
            let reason = format!("{} is read without the other", self.graph.values[id].name);
            return Err(NoLayer::Pair { high, low, reason });
        }
        // A repeated convolution that belongs to no pair is no sum.
        let repeated = matches!(self.graph.op(id), Op::Upsample(_));
        if let Some(sum) = self.uses.sum(id).filter(|_| !repeated) {
            return self.conv_sum(key, &sum, None);
        }
        if let Some(layer) = self.excite(id, None) {
            return Ok(layer);
        }
        let read = |i: usize| Key::single(self.graph.values[id].inputs[i]);
        match self.graph.op(id) {
            Op::Input => Ok(Layer::Input),
            Op::Pool(_) => Ok(Layer::Pool { input: read(0) }),
            Op::Affine { .. } => {
                Ok(Layer::Norm { input: read(0), affine: [Some(id), None], activation: Activation::None })
            }
            &Op::Activation(activation) => {
                let input = self.graph.input(id);
                let alone = self.uses.uses[input] == 1;
                match self.graph.op(input) {
                    Op::Affine { .. } if alone && self.graph.shape(input).space().is_some() => {
                        let affine = [Some(input), None];
                        Ok(Layer::Norm { input: Key::single(self.graph.input(input)), affine, activation })
                    }
                    Op::Add if alone => Ok(self.add(input, activation)),
                    Op::Linear { .. } if alone && !self.is_flat(input) => Ok(self.linear(input, activation)),
                    _ => Ok(Layer::Activation { input: Key::single(input), activation }),
                }
            }
            Op::Add => Ok(self.add(id, Activation::None)),
            Op::Concat => self.concat(id),
            Op::Scale => Ok(Layer::Gate { input: read(0), by: vec![self.graph.values[id].inputs[1]] }),
            Op::GlobalPool => Ok(Layer::GlobalPool { input: read(0) }),
            Op::Upsample(_) => Ok(Layer::Upsample { input: read(0) }),
            Op::Flatten if self.graph.shape(self.graph.input(id)).space() == Some([1; 3]) => {
                Ok(Layer::GlobalPool { input: read(0) })
            }
            Op::Linear { .. } => Ok(self.linear(id, Activation::None)),
            Op::Softmax => Ok(Layer::Softmax { input: read(0) }),
            op => Err(NoLayer::Node { at: id, reason: no_counterpart(op).into() }),
        }
    }

    fn find_pair(&self, key: Key, low: Id) -> Matched {
        let high = key.high;
        let none = |reason: &str| Err(NoLayer::Pair { high, low, reason: reason.into() });
        if !self.halves_as_wanted(high, low) {
            return none("odd sizes are halved in two ways");
        }
        if let (Some(h), Some(l)) = (self.uses.sum(high), self.uses.sum(low)) {
            if h.activation != l.activation {
                return none("their activations differ");
            }
            return self.conv_sum(key, &h, Some(&l));
        }
        if let Some(layer) = self.excite(high, Some(low)) {
            return Ok(layer);
        }
        let inner = [high, low].map(|id| self.graph.values[id].inputs.first().copied().unwrap_or(id));
        let input = || match self.pairs.low_of(inner[0]) == Some(inner[1]) {
            true => Ok(Key::pair(inner[0], inner[1])),
            false => Err(NoLayer::Pair { high, low, reason: "what they are made from is no pair".into() }),
        };
        match (self.graph.op(high), self.graph.op(low)) {
            (Op::Pool(a), Op::Pool(b)) if a == b => Ok(Layer::Pool { input: input()? }),
            (Op::Affine { .. }, Op::Affine { .. }) => {
                Ok(Layer::Norm { input: input()?, affine: [Some(high), Some(low)], activation: Activation::None })
            }
            (&Op::Activation(a), &Op::Activation(b)) if a == b => {
                let alone = inner.iter().all(|&id| self.uses.uses[id] == 1);
                match inner.map(|id| self.graph.op(id)) {
                    [Op::Affine { .. }, Op::Affine { .. }] if alone => {
                        let [x, y] = inner.map(|id| self.graph.input(id));
                        if self.pairs.low_of(x) != Some(y) {
                            return none("what they are made from is no pair");
                        }
                        Ok(Layer::Norm { input: Key::pair(x, y), affine: inner.map(Some), activation: a })
                    }
                    [Op::Add, Op::Add] if alone => self.add_pair(high, low, inner, a),
                    _ => Ok(Layer::Activation { input: input()?, activation: a }),
                }
            }
            (Op::Add, Op::Add) => self.add_pair(high, low, [high, low], Activation::None),
            (Op::Concat, Op::Concat) => self.concat_pair(high, low),
            (Op::Scale, Op::Scale) => {
                let by = [high, low].map(|id| self.graph.values[id].inputs[1]);
                Ok(Layer::Gate { input: input()?, by: by.to_vec() })
            }
            _ => none("they are made in different ways"),
        }
    }

    /// Whether the low map has the size that the network's rounding gives.
    fn halves_as_wanted(&self, high: Id, low: Id) -> bool {
        let (Some([_, h, w]), Some([_, low_h, low_w])) =
            (self.graph.shape(high).space(), self.graph.shape(low).space())
        else {
            return false;
        };
        [(h, low_h), (w, low_w)].iter().all(|&(size, low)| half(size, self.rounding) == low)
    }

    fn linear(&self, id: Id, activation: Activation) -> Layer {
        let input = self.graph.input(id);
        match self.is_flat(id) {
            true => Layer::LinearOfMap { input: Key::single(self.graph.input(input)), at: id },
            false => Layer::Linear { input: Key::single(input), at: id, activation },
        }
    }

    /// Whether a matrix reads the elements of a map of more than one position.
    fn is_flat(&self, id: Id) -> bool {
        let input = self.graph.input(id);
        *self.graph.op(input) == Op::Flatten && self.graph.shape(self.graph.input(input)).space() != Some([1; 3])
    }

    fn add(&self, sum: Id, activation: Activation) -> Layer {
        let inputs = self.graph.values[sum].inputs.iter().map(|&id| Key::single(id)).collect();
        Layer::Add { inputs, activation }
    }

    fn add_pair(&self, high: Id, low: Id, sums: [Id; 2], activation: Activation) -> Matched {
        let [highs, lows] = sums.map(|id| &self.graph.values[id].inputs);
        match self.paired(highs, lows) {
            Some(inputs) => Ok(Layer::Add { inputs, activation }),
            None => Err(NoLayer::Pair { high, low, reason: "what they add up are no pairs".into() }),
        }
    }

    /// The pairs of these values, if each has its partner in the other list.
    fn paired(&self, highs: &[Id], lows: &[Id]) -> Option<Vec<Key>> {
        let mut left = lows.to_vec();
        let mut keys = Vec::new();
        for &high in highs {
            let low = self.pairs.low_of(high)?;
            left.remove(left.iter().position(|&other| other == low)?);
            keys.push(Key::pair(high, low));
        }
        left.is_empty().then_some(keys)
    }

    fn concat(&self, id: Id) -> Matched {
        let inputs = &self.graph.values[id].inputs;
        // The means of the high channels, then of the low ones.
        if let [a, b] = inputs.as_slice()
            && [a, b].iter().all(|&&id| *self.graph.op(id) == Op::GlobalPool)
            && self.pairs.low_of(self.graph.input(*a)) == Some(self.graph.input(*b))
        {
            return Ok(Layer::GlobalPool { input: Key::pair(self.graph.input(*a), self.graph.input(*b)) });
        }
        Ok(Layer::Concat { inputs: inputs.iter().map(|&id| Key::single(id)).collect() })
    }

    fn concat_pair(&self, high: Id, low: Id) -> Matched {
        let [highs, lows] = [high, low].map(|id| &self.graph.values[id].inputs);
        let keys: Vec<Key> = highs.iter().map(|&id| self.key_of(id)).collect();
        let same = keys.iter().filter_map(|key| key.low).eq(lows.iter().copied());
        let reason = "they concatenate what are no pairs, or in another order".into();
        if same { Ok(Layer::Concat { inputs: keys }) } else { Err(NoLayer::Pair { high, low, reason }) }
    }

    /// The sum of convolutions and other values. Several convolutions that no single node can make follow each other:
    /// each adds what the one before made.
    fn conv_sum(&self, key: Key, high: &Sum, low: Option<&Sum>) -> Matched {
        let failed = |at: Id, reason: String| match key.low {
            Some(low) => NoLayer::Pair { high: key.high, low, reason },
            None => NoLayer::Node { at, reason },
        };
        let mut values = high.values();
        let mut open: Vec<(Id, Vec<Choice>)> = Vec::new();
        for (conv, doubled) in high.convs() {
            match self.choices_high(conv, doubled) {
                // A repeated convolution that belongs to no pair is a value of its own.
                choices if choices.is_empty() => values.push(self.reader_of(conv)),
                choices => open.push((conv, choices)),
            }
        }
        let mut low_values = Vec::new();
        if let Some(low) = low {
            low_values = low.values();
            for (conv, doubled) in low.convs() {
                let choices = if doubled { Vec::new() } else { self.choices_low(conv) };
                if choices.is_empty() {
                    return Err(failed(conv, "a convolution into the low one reads no pair".into()));
                }
                open.push((conv, choices));
            }
        }
        let mut groups = grouped(open);
        let residuals = match low {
            None => values.iter().map(|&id| Key::single(id)).collect(),
            Some(_) => match self.paired(&values, &low_values) {
                Some(keys) => keys,
                None => return Err(failed(key.high, "what is added to them is no pair".into())),
            },
        };
        let Some(last) = groups.len().checked_sub(1) else {
            return Ok(match *residuals {
                // A repeated convolution alone.
                [input] => Layer::Activation { input, activation: high.activation },
                _ => Layer::Add { inputs: residuals, activation: high.activation },
            });
        };
        // The parts in front of the convolutions: one that adds up all other values, if there are several.
        let sums = usize::from(residuals.len() > 1);
        let part = key.part.unwrap_or(sums + last);
        if part < sums {
            return Ok(Layer::Add { inputs: residuals, activation: Activation::None });
        }
        let Group { input, halves, paths } = groups.swap_remove(part - sums);
        let residual = if part == 0 { residuals.first().copied() } else { Some(Key { part: Some(part - 1), ..key }) };
        let activation = if key.part.is_none() { high.activation } else { Activation::None };
        let layer = ConvLayer { input, halves, paths, residual, activation };
        self.check_conv(&layer, key).map_err(|(at, reason)| failed(at, reason))?;
        Ok(Layer::Conv(layer))
    }

    fn reader_of(&self, id: Id) -> Id {
        self.uses.readers(id).first().copied().unwrap_or(id)
    }

    /// Where a convolution into a high or only map may belong.
    fn choices_high(&self, conv: Id, doubled: bool) -> Vec<Choice> {
        let x = self.graph.input(conv);
        if doubled {
            return self.pairs.high_of(x).map(|high| (Key::pair(high, x), false, LH)).into_iter().collect();
        }
        let mut choices = Vec::new();
        if self.pairs.low_of(x).is_some() {
            choices.push((self.key_of(x), false, HH));
        }
        if let Some(high) = self.pairs.high_of(x) {
            choices.push((Key::pair(high, x), true, LH));
        }
        if let Some(of) = self.uses.halved(x)
            && self.pools_as_wanted(of, x)
            && self.pairs.high_of(of).is_none()
            && (self.pairs.low_of(of).is_some() || self.only_convolved(x))
        {
            choices.push((self.key_of(of), true, HH));
        }
        if choices.is_empty() {
            choices.push((Key::single(x), false, HH));
        }
        choices
    }

    /// The same for a convolution into a low map.
    fn choices_low(&self, conv: Id) -> Vec<Choice> {
        let x = self.graph.input(conv);
        let mut choices = Vec::new();
        if let Some(high) = self.pairs.high_of(x) {
            choices.push((Key::pair(high, x), false, LL));
        }
        if let Some(of) = self.uses.halved(x)
            && self.pools_as_wanted(of, x)
        {
            if let Some(high) = self.pairs.high_of(of) {
                choices.push((Key::pair(high, of), true, LL));
            } else {
                choices.push((self.key_of(of), false, HL));
                if let Some(higher) = self.uses.halved(of)
                    && self.pools_as_wanted(higher, of)
                {
                    choices.push((self.key_of(higher), true, HL));
                }
            }
        }
        choices
    }

    fn pools_as_wanted(&self, from: Id, to: Id) -> bool {
        self.halves_as_wanted(from, to)
    }

    /// Whether a mean is read by convolutions and further means alone, so that they can make it themselves.
    fn only_convolved(&self, id: Id) -> bool {
        id != self.graph.output
            && self.uses.readers(id).iter().all(|&reader| match self.graph.op(reader) {
                Op::Conv(conv) => conv.stride == [1; 3],
                Op::Pool(pool) => pool.halves(),
                _ => false,
            })
    }

    /// Checks that one node can make these convolutions.
    fn check_conv(&self, layer: &ConvLayer, key: Key) -> Result<(), (Id, String)> {
        let convs: Vec<(Id, &Conv)> =
            layer.paths.iter().flatten().filter_map(|&id| Some((id, self.uses.conv(id)?))).collect();
        let &[(first, model), ..] = convs.as_slice() else { return Err((key.high, "it has no convolution".into())) };
        let has = |path: usize| layer.paths[path].is_some();
        if !has(HH) {
            return Err((first, "no convolution leads from high to high".into()));
        }
        if key.low.is_some() && !(if layer.input.low.is_some() { has(LL) } else { has(HL) }) {
            return Err((first, "a convolution into the low one is missing".into()));
        }
        if key.low.is_none() && (has(HL) || has(LL)) || layer.input.low.is_none() && (has(LH) || has(LL)) {
            return Err((first, "it mixes maps of one and of two frequencies".into()));
        }
        for &(at, conv) in &convs {
            let same = conv.shape[2..] == model.shape[2..]
                && (conv.stride, conv.padding, conv.dilation) == (model.stride, model.padding, model.dilation);
            if !same {
                return Err((at, "its kernel, stride, padding or dilation is not that of the other paths".into()));
            }
        }
        let octave = key.low.is_some() || layer.input.low.is_some();
        let [_, h, w] = model.stride;
        if h != w || h > 2 || (octave || layer.halves) && h != 1 {
            let stride = &model.stride[usize::from(!self.graph.video)..];
            return Err((first, format!("its stride is {stride:?}: must be 1 or 2 along rows and columns")));
        }
        if model.padding[0].before != model.padding[0].behind {
            return Err((first, "it has another padding before the first frame than behind the last".into()));
        }
        Ok(())
    }

    /// The number of groups of a layer: the most that divides those of all paths. A path with more gets zeros between
    /// its groups.
    pub(super) fn groups(&self, layer: &ConvLayer) -> usize {
        let groups = layer.paths.iter().flatten().filter_map(|&id| Some(self.uses.conv(id)?.groups));
        groups.reduce(gcd).unwrap_or(1)
    }

    /// Whether each channel is convolved by itself, without an exchange.
    pub(super) fn is_depthwise(&self, layer: &ConvLayer) -> bool {
        let by_itself = |id: &Option<Id>| {
            id.and_then(|id| self.uses.conv(id)).is_none_or(|conv| conv.shape[1] == 1 && conv.groups > 1)
        };
        let [hh, lh, hl, ll] = &layer.paths;
        lh.is_none() && hl.is_none() && by_itself(hh) && by_itself(ll)
    }

    /// x * sigmoid(excite(relu(squeeze(means of x)))), plus a residual, then an activation.
    fn excite(&self, high: Id, low: Option<Id>) -> Option<Layer> {
        let graph = self.graph;
        let strip = |id: Id| match *graph.op(id) {
            Op::Activation(activation) if self.uses.uses[graph.input(id)] == 1 => (activation, graph.input(id)),
            _ => (Activation::None, id),
        };
        let scale_of = |root: Id| -> Option<(Id, Option<Id>)> {
            match (graph.op(root), graph.values[root].inputs.as_slice()) {
                (Op::Scale, _) => Some((root, None)),
                (Op::Add, &[a, b]) => {
                    let scale = [(a, b), (b, a)]
                        .into_iter()
                        .find(|&(x, _)| *graph.op(x) == Op::Scale && self.uses.uses[x] == 1);
                    scale.map(|(scale, other)| (scale, Some(other)))
                }
                _ => None,
            }
        };
        let (activation, root) = strip(high);
        let (scale, residual) = scale_of(root)?;
        let (x, gate) = (graph.values[scale].inputs[0], graph.values[scale].inputs[1]);
        let (excite, squeeze, means) = self.gate(gate)?;
        let Some(low) = low else {
            let of_x = *graph.op(means) == Op::GlobalPool && graph.input(means) == x;
            let residual = residual.map(Key::single);
            let excite = [Some(excite), None];
            return of_x.then_some(Layer::Excite { input: Key::single(x), squeeze, excite, residual, activation });
        };
        let (low_activation, low_root) = strip(low);
        let (low_scale, low_residual) = scale_of(low_root)?;
        let (y, low_gate) = (graph.values[low_scale].inputs[0], graph.values[low_scale].inputs[1]);
        let (low_excite, low_squeeze, low_means) = self.gate(low_gate)?;
        let both = *graph.op(means) == Op::Concat
            && graph.values[means]
                .inputs
                .iter()
                .map(|&id| (graph.op(id), graph.values[id].inputs.first()))
                .eq([(&Op::GlobalPool, Some(&x)), (&Op::GlobalPool, Some(&y))]);
        let residual = match (residual, low_residual) {
            (None, None) => None,
            (Some(a), Some(b)) if self.pairs.low_of(a) == Some(b) => Some(Key::pair(a, b)),
            _ => return None,
        };
        let same = activation == low_activation && squeeze == low_squeeze && means == low_means;
        (both && same && self.pairs.low_of(x) == Some(y)).then_some(Layer::Excite {
            input: Key::pair(x, y),
            squeeze,
            excite: [Some(excite), Some(low_excite)],
            residual,
            activation,
        })
    }

    /// The two matrices of a gate, and the means that they read.
    fn gate(&self, gate: Id) -> Option<(Id, Id, Id)> {
        let graph = self.graph;
        let inner = |id: Id, wanted: &Op| (graph.op(id) == wanted).then(|| graph.input(id));
        let excite = inner(gate, &Op::Activation(Activation::Sigmoid))?;
        let linear = |id: Id| matches!(graph.op(id), Op::Linear { .. }).then(|| graph.input(id));
        let relu = linear(excite)?;
        let squeeze = inner(relu, &Op::Activation(Activation::Relu))?;
        Some((excite, squeeze, linear(squeeze)?))
    }
}

/// Gives every convolution to a group: first to that which takes the most of them.
fn grouped(mut open: Vec<(Id, Vec<Choice>)>) -> Vec<Group> {
    let mut groups = Vec::new();
    while !open.is_empty() {
        let mut best: Option<(usize, Group)> = None;
        for &(input, halves, _) in open.iter().flat_map(|(_, choices)| choices) {
            let mut paths = [None; 4];
            for (conv, choices) in &open {
                let fits = |&&(i, h, path): &&Choice| (i, h) == (input, halves) && paths[path].is_none();
                if let Some(&(_, _, path)) = choices.iter().find(fits) {
                    paths[path] = Some(*conv);
                }
            }
            let takes = paths.iter().flatten().count();
            if best.as_ref().is_none_or(|(most, _)| takes > *most) {
                best = Some((takes, Group { input, halves, paths }));
            }
        }
        let Some((_, group)) = best else { break };
        open.retain(|(conv, _)| !group.paths.contains(&Some(*conv)));
        groups.push(group);
    }
    groups
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn half(size: usize, rounding: Rounding) -> usize {
    match rounding {
        Rounding::Floor => size / 2,
        _ => size.div_ceil(2),
    }
}

/// How the file halves odd sizes.
fn rounding(graph: &PlainGraph) -> Rounding {
    let mut pools = 0;
    let mut ceil = false;
    let mut floor_of_odd = false;
    for id in graph.reached() {
        let Op::Pool(pool) = graph.op(id) else { continue };
        if pool.halves() {
            pools += 1;
            ceil |= pool.ceil_mode;
            let odd = graph.shape(graph.input(id)).space().is_some_and(|[_, h, w]| h % 2 == 1 || w % 2 == 1);
            floor_of_odd |= odd && !pool.ceil_mode;
        }
    }
    if pools > 0 && (floor_of_odd || !ceil) { Rounding::Floor } else { Rounding::Ceil }
}

fn no_counterpart(op: &Op) -> &'static str {
    match op {
        Op::Multiply => "it multiplies two maps, or two vectors",
        Op::Pad(_) => "it adds zeros to a map that is not read by convolutions alone",
        Op::Flatten => "it makes a vector of a map, and no matrix reads it",
        Op::Erf => "it is not part of GELU",
        _ => "it has no counterpart",
    }
}

/// An axis of a kernel as a node has it: with the same padding in front of the map and behind it. Where the file has another,
/// the kernel has zeros at the end with less of it. Its dilation must divide how many they are, so it may be less than in the
/// file, with zeros between the weights.
pub(super) struct KernelAxis {
    pub(super) padding: u32,
    pub(super) dilation: usize,
    /// Zeros in front of the first weight.
    pub(super) front: usize,
    /// From one weight to the next.
    pub(super) step: usize,
    pub(super) length: usize,
}

impl KernelAxis {
    /// Axis 0 has frames, 1 rows and 2 columns.
    pub(super) fn of(conv: &Conv, axis: usize) -> Self {
        let Ends { before, behind } = conv.padding[axis];
        let uneven = before.abs_diff(behind) as usize;
        let dilation = gcd(conv.dilation[axis], uneven);
        let (step, zeros) = (conv.dilation[axis] / dilation, uneven / dilation);
        let length = step.saturating_mul(conv.shape[2 + axis] - 1).saturating_add(1 + zeros);
        let front = if behind > before { zeros } else { 0 };
        Self { padding: before.max(behind), dilation, front, step, length }
    }
}

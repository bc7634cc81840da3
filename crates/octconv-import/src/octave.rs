//! Makes an octave network of a plain one: convolutions become octave convolutions, as the paper does it.
//!
//! A convolution that no other one leads to stays plain if it strides, and so does the last stage: what comes behind the last map of
//! another size than the last one that all paths run through. In between, a share of the channels becomes low frequency.
//! Maps that are added up have the same split. Convolutions that stride average first, except those that no other one
//! leads to.

use std::collections::BTreeMap;

use octconv::network::{Attention, Checkpoint, Graph, HostTensor, Network, Op, ValueShape};
use octconv::{Downsample, Error, InputSize, Split};

/// An octave network that was made of a plain one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OctaveNetwork {
    /// Its description.
    pub network: Network,
    /// Weights of the plain network, split by channel: where training can start. They do not give the same answers.
    pub checkpoint: Option<Checkpoint>,
}

/// The most channels of all values together, each of which is listed.
const MOST_CHANNELS: usize = 1 << 24;

/// Makes an octave network of a plain one.
///
/// `alpha` is the share of low-frequency channels; `size` is the size of an input, which decides what the last stage is.
///
/// # Errors
///
/// [`Error::Argument`] if `alpha` is not in [0, 1]. [`Error::Description`] if the network has a low frequency already,
/// or too many channels. Those of [`Graph::new`], [`Graph::shapes`] and [`Checkpoint::fit`].
pub fn to_octave(
    network: &Network,
    checkpoint: Option<&Checkpoint>,
    alpha: f64,
    size: InputSize,
) -> Result<OctaveNetwork, Error> {
    let graph = Graph::new(network)?;
    let shapes = graph.shapes(size)?;
    Split::from_alpha(1, alpha)?;
    let plain = checkpoint.map(|checkpoint| checkpoint.clone().fit(&graph)).transpose()?;
    let values = Values::new(network, &shapes)?;
    let splits = values.splits(network, alpha);
    let mut octave = network.clone();
    let mut tensors = BTreeMap::new();
    for (index, node) in octave.nodes.iter_mut().enumerate() {
        let input = values.reads[index + 1].first().map_or(0, |&id| id);
        let change = Change { from: &splits[input], to: &splits[index + 1] };
        if let Op::Conv(conv) = &mut node.op {
            let channels = change.to.channels();
            let split = Split::from_alpha(conv.channels, alpha)?;
            let ours = [channels.high.len() as u32, channels.low.len() as u32];
            (conv.alpha, conv.split) = match ours {
                [_, 0] => (0.0, None),
                ours if ours == [split.high, split.low] => (alpha, None),
                ours => (0.0, Some(ours)),
            };
            // So many groups do not divide each frequency.
            if !channels.low.is_empty() && is_depthwise(conv, values.channels[input]) {
                (conv.depthwise, conv.groups) = (true, 1);
            }
            if conv.stride == 2 && !values.is_first[index + 1] {
                conv.downsample = Downsample::AveragePool;
            }
        }
        if let Some(plain) = &plain {
            change.tensors(&node.name, &node.op, plain, &mut tensors);
        }
    }
    let checkpoint = plain.is_some().then_some(Checkpoint { tensors });
    let graph = Graph::new(&octave)?;
    graph.shapes(size)?;
    let checkpoint = checkpoint.map(|checkpoint| checkpoint.fit(&graph)).transpose()?;
    Ok(OctaveNetwork { network: octave, checkpoint })
}

/// Which channels of the plain network a value has, in its order.
#[derive(Clone, Debug, Default, PartialEq)]
struct Channels {
    high: Vec<usize>,
    low: Vec<usize>,
}

impl Channels {
    /// The last channels of each of so many groups are low, `low` of them together.
    fn shared(c: usize, low: usize, groups: usize) -> Self {
        let groups = if low > 0 { groups } else { 1 };
        let (each, low) = (c / groups, low / groups);
        let (low, high) = (0..c).partition(|c| c % each >= each - low);
        Self { high, low }
    }
}

/// A map or a vector, by the channels of the plain network.
#[derive(Clone, Debug, PartialEq)]
enum Order {
    Map(Channels),
    Vector(Vec<usize>),
}

impl Order {
    fn channels(&self) -> Channels {
        match self {
            Self::Map(channels) => channels.clone(),
            Self::Vector(order) => Channels { high: order.clone(), low: Vec::new() },
        }
    }

    fn all(&self) -> Vec<usize> {
        let Channels { high, low } = self.channels();
        [high, low].concat()
    }
}

/// The values of a network: its input, then one for each node.
struct Values {
    /// The values that each value is made of, without its residual.
    reads: Vec<Vec<usize>>,
    /// For each value the first of those that have the same split.
    class: Vec<usize>,
    channels: Vec<usize>,
    is_map: Vec<bool>,
    /// Whether no convolution leads to what a value is made of.
    is_first: Vec<bool>,
    /// The first value of the last stage.
    last_stage: usize,
}

impl Values {
    fn new(network: &Network, shapes: &[ValueShape]) -> Result<Self, Error> {
        let id = |name: &str| network.nodes.iter().position(|node| node.name == name).map_or(0, |index| index + 1);
        let (mut channels, mut sizes) = (Vec::new(), Vec::new());
        for shape in shapes {
            match *shape {
                ValueShape::Map { low: Some(_), .. } => {
                    return Err(Error::Description { problem: "the network has a low frequency already".into() });
                }
                ValueShape::Map { size, high, .. } => {
                    channels.push(high.map_or(0, |dims| dims.c as usize));
                    sizes.push(Some([size.t, size.h, size.w]));
                }
                ValueShape::Vector { c, .. } => {
                    channels.push(c as usize);
                    sizes.push(None);
                }
                _ => {}
            }
        }
        let all = channels.iter().fold(0, |all: usize, &c| all.saturating_add(c));
        if all > MOST_CHANNELS {
            let problem = format!("its values have {all} channels together: must have at most {MOST_CHANNELS}");
            return Err(Error::Description { problem });
        }
        let mut reads = vec![Vec::new()];
        let mut all_reads = vec![Vec::new()];
        let mut class: Vec<usize> = (0..shapes.len()).collect();
        for (index, node) in network.nodes.iter().enumerate() {
            let at = index + 1;
            let (made_of, same): (Vec<usize>, Vec<usize>) = match &node.op {
                Op::Conv(conv) => {
                    let residual = conv.residual.as_deref().map(id);
                    let itself = is_depthwise(conv, channels[id(&conv.input)]).then(|| id(&conv.input));
                    (vec![id(&conv.input)], residual.into_iter().chain(itself).collect())
                }
                Op::Excite(excite) => {
                    let input = id(&excite.input);
                    (vec![input], excite.residual.as_deref().map(id).into_iter().chain([input]).collect())
                }
                Op::Add { inputs, .. } => {
                    let inputs: Vec<usize> = inputs.iter().map(|name| id(name)).collect();
                    (inputs.clone(), inputs)
                }
                Op::Concat { inputs } => (inputs.iter().map(|name| id(name)).collect(), Vec::new()),
                // What queries, keys and values have in common is which frequencies there are.
                Op::Attention(Attention { queries, keys, values, .. }) => {
                    (vec![id(values)], vec![id(queries), id(keys), id(values)])
                }
                Op::Gate { input, by } => (vec![id(input), id(by)], vec![id(input)]),
                Op::GlobalPool { input } | Op::Linear { input, .. } => (vec![id(input)], Vec::new()),
                _ => {
                    let input = node.reads().first().map_or(0, |name| id(name));
                    (vec![input], vec![input])
                }
            };
            for other in same {
                join(&mut class, at, other);
            }
            reads.push(made_of);
            all_reads.push(node.reads().iter().map(|name| id(name)).collect());
        }
        let is_map: Vec<bool> = sizes.iter().map(Option::is_some).collect();
        let last_stage = last_stage(&all_reads, &sizes, network);
        let mut is_first: Vec<bool> = Vec::new();
        for reads in &all_reads {
            let is_conv = |id: usize| id > 0 && matches!(network.nodes[id - 1].op, Op::Conv(_));
            is_first.push(reads.iter().all(|&id| is_first[id] && !is_conv(id)));
        }
        Ok(Self { reads, class, channels, is_map, is_first, last_stage })
    }

    /// The order of channels of every value. A share `alpha` of a map is low, if nothing speaks against it.
    fn splits(&self, network: &Network, alpha: f64) -> Vec<Order> {
        let count = self.channels.len();
        let class = |id: usize| find(&self.class, id);
        // The classes that stay plain.
        let mut plain = vec![false; count];
        let mut makers = vec![0; count];
        // Groups must divide both frequencies of what a convolution reads and makes.
        let mut multiple = vec![1; count];
        plain[class(0)] = true;
        for (index, node) in network.nodes.iter().enumerate() {
            let at = index + 1;
            plain[class(at)] |= at >= self.last_stage;
            match &node.op {
                Op::Conv(conv) if !is_depthwise(conv, self.channels[self.reads[at][0]]) => {
                    plain[class(at)] |= self.is_first[at] && conv.stride == 2;
                    for id in [at, self.reads[at][0]] {
                        let class = class(id);
                        match lcm(multiple[class], conv.groups as usize) {
                            Some(both) => multiple[class] = both,
                            // More than any map has.
                            None => plain[class] = true,
                        }
                    }
                }
                Op::Conv(conv) => plain[class(at)] |= conv.channels as usize != self.channels[self.reads[at][0]],
                Op::Concat { .. } => makers[class(at)] += 1,
                _ => {}
            }
        }
        let output = network.nodes.iter().position(|node| node.name == network.output).map_or(0, |index| index + 1);
        plain[class(output)] = true;
        for id in 0..count {
            // Each group has a share of its own, so the order of channels is that of the groups. It is another one behind a
            // concatenation.
            let (class, of) = (class(id), multiple[class(id)]);
            plain[class] |= of > 1 && (makers[class] > 0 || self.is_map[id] && !self.channels[id].is_multiple_of(of));
        }
        let low = |id: usize| {
            let (all, multiple) = ((alpha * self.channels[id] as f64) as usize, multiple[class(id)]);
            all / multiple * multiple
        };
        // All maps of an attention have the same frequencies. The few channels of one may leave it without low ones.
        let mut has = vec![None; count];
        for (index, _) in network.nodes.iter().enumerate().filter(|(_, node)| matches!(node.op, Op::Conv(_))) {
            let (at, low) = (index + 1, low(index + 1));
            let here = [self.channels[at] > low, low > 0];
            plain[class(at)] |= *has[class(at)].get_or_insert(here) != here;
        }
        // Only split concatenations and groups change the order of channels. A gate's vector would not follow.
        for (index, _) in network.nodes.iter().enumerate().filter(|(_, node)| matches!(node.op, Op::Gate { .. })) {
            for id in self.ordered_as(&self.reads[index + 1], network) {
                plain[class(id)] |= makers[class(id)] > 0 || multiple[class(id)] > 1;
            }
        }
        // The parts of a concatenation decide its split, so nothing else may. Plain ones have plain parts.
        let mut class_size = vec![0; count];
        (0..count).filter(|&id| self.makes(network, id)).for_each(|id| class_size[class(id)] += 1);
        loop {
            let before = plain.clone();
            // What is plain makes what it is made of plain, so the last come first.
            for (index, node) in network.nodes.iter().enumerate().rev() {
                let at = index + 1;
                let alone = class_size[class(at)] <= 1 && makers[class(at)] <= 1;
                if matches!(node.op, Op::Concat { .. }) && (plain[class(at)] || !alone) {
                    plain[class(at)] = true;
                    self.reads[at].iter().for_each(|&id| plain[class(id)] = true);
                }
            }
            if plain == before {
                break;
            }
        }
        let mut orders: Vec<Order> = Vec::new();
        for id in 0..count {
            let c = self.channels[id];
            let order = match id.checked_sub(1).map(|index| &network.nodes[index].op) {
                _ if !self.is_map[id] => self.vector(id, &orders, network),
                Some(Op::Concat { .. }) => Order::Map(self.joined(id, &orders)),
                Some(Op::Conv(_)) | None => {
                    let low = if plain[class(id)] { 0 } else { low(id) };
                    // A convolution that adds a map has its order.
                    let same = (0..id).find(|&other| class(other) == class(id) && self.is_map[other]);
                    match same.map(|other| orders[other].clone()) {
                        Some(order) if order.all().len() == c => order,
                        _ => Order::Map(Channels::shared(c, low, multiple[class(id)])),
                    }
                }
                Some(_) => orders[self.reads[id][0]].clone(),
            };
            orders.push(order);
        }
        orders
    }

    /// The maps that decide the order of the elements of these values: they themselves, or those whose means they have.
    fn ordered_as(&self, ids: &[usize], network: &Network) -> Vec<usize> {
        let (mut open, mut maps) = (ids.to_vec(), Vec::new());
        while let Some(id) = open.pop() {
            match id.checked_sub(1).map(|index| &network.nodes[index].op) {
                _ if self.is_map[id] => maps.push(id),
                Some(Op::Linear { .. }) => {}
                _ => open.extend(&self.reads[id]),
            }
        }
        maps
    }

    /// Whether a value has a split of its own, not that of what it is made of.
    fn makes(&self, network: &Network, id: usize) -> bool {
        match id.checked_sub(1).map(|index| &network.nodes[index].op) {
            Some(Op::Conv(conv)) => !is_depthwise(conv, self.channels[self.reads[id][0]]),
            Some(Op::Concat { .. }) | None => true,
            Some(_) => false,
        }
    }

    /// The channels of concatenated maps: the high ones of all, then the low ones of all.
    fn joined(&self, id: usize, orders: &[Order]) -> Channels {
        let mut joined = Channels::default();
        let mut first = 0;
        for &part in &self.reads[id] {
            let Channels { high, low } = orders[part].channels();
            joined.high.extend(high.iter().map(|c| first + c));
            joined.low.extend(low.iter().map(|c| first + c));
            first += self.channels[part];
        }
        joined
    }

    fn vector(&self, id: usize, orders: &[Order], network: &Network) -> Order {
        match id.checked_sub(1).map(|index| &network.nodes[index].op) {
            Some(Op::Linear { .. }) | None => Order::Vector((0..self.channels[id]).collect()),
            Some(Op::Concat { .. }) => {
                let mut first = 0;
                let mut all = Vec::new();
                for &part in &self.reads[id] {
                    all.extend(orders[part].all().iter().map(|c| first + c));
                    first += self.channels[part];
                }
                Order::Vector(all)
            }
            Some(_) => Order::Vector(orders[self.reads[id][0]].all()),
        }
    }
}

/// Whether a convolution convolves each channel by itself.
fn is_depthwise(conv: &octconv::network::Conv, inputs: usize) -> bool {
    conv.depthwise || inputs > 1 && conv.groups as usize == inputs
}

/// The first value of the last stage: that behind the last map that all paths run through and that has another size
/// than the last map. Without one, the last convolution.
fn last_stage(reads: &[Vec<usize>], sizes: &[Option<[u32; 3]>], network: &Network) -> usize {
    let last_size = sizes.iter().rev().flatten().next();
    let is_passed = |id: usize| reads[id + 1..].iter().flatten().all(|&read| read >= id);
    let boundary =
        (1..sizes.len()).rev().find(|&id| sizes[id].is_some() && sizes[id].as_ref() != last_size && is_passed(id));
    let last_conv = network.nodes.iter().rposition(|node| matches!(node.op, Op::Conv(_))).map_or(0, |index| index + 1);
    boundary.map_or(last_conv, |id| id + 1)
}

fn find(class: &[usize], mut id: usize) -> usize {
    while class[id] != id {
        id = class[id];
    }
    id
}

fn join(class: &mut [usize], a: usize, b: usize) {
    let (a, b) = (find(class, a), find(class, b));
    class[a.max(b)] = a.min(b);
}

/// The least common multiple. `None` if it is too large.
fn lcm(a: usize, b: usize) -> Option<usize> {
    let (mut x, mut y) = (a.max(1), b.max(1));
    while y != 0 {
        (x, y) = (y, x % y);
    }
    (a.max(1) / x).checked_mul(b.max(1))
}

/// What a node reads and makes.
struct Change<'a> {
    from: &'a Order,
    to: &'a Order,
}

impl Change<'_> {
    /// Adds the tensors of a node, cut out of those of the plain one.
    fn tensors(&self, name: &str, op: &Op, plain: &Checkpoint, tensors: &mut BTreeMap<String, HostTensor>) {
        let get = |part: &str| plain.tensors.get(&format!("{name}.{part}"));
        let mut put = |part: String, tensor: HostTensor| {
            if !tensor.data.is_empty() {
                tensors.insert(format!("{name}.{part}"), tensor);
            }
        };
        let (from, to) = (self.from.channels(), self.to.channels());
        for part in ["bias", "norm"] {
            for (letter, channels) in [("h", &to.high), ("l", &to.low)] {
                let inner: &[&str] = if part == "norm" { &[".gamma", ".beta", ".mean", ".var"] } else { &[""] };
                for inner in inner {
                    if let Some(tensor) = get(&format!("{part}_h{inner}")) {
                        put(format!("{part}_{letter}{inner}"), rows(tensor, channels));
                    }
                }
            }
        }
        match op {
            Op::Conv(conv) => {
                let Some(weights) = get("w_hh") else { return };
                let inputs = from.high.len() + from.low.len();
                let paths = [
                    ("hh", &from.high, &to.high),
                    ("hl", &from.high, &to.low),
                    ("lh", &from.low, &to.high),
                    ("ll", &from.low, &to.low),
                ];
                if is_depthwise(conv, inputs) {
                    put("w_hh".into(), rows(weights, &to.high));
                    put("w_ll".into(), rows(weights, &to.low));
                    return;
                }
                let groups = conv.groups as usize;
                for (path, inputs, outputs) in paths {
                    // All groups have their inputs in the same places.
                    let of_first = |&c: &usize| groups == 1 || c < weights.shape[1];
                    let columns: Vec<usize> = inputs.iter().copied().filter(of_first).collect();
                    put(format!("w_{path}"), columns_of(&rows(weights, outputs), &columns));
                }
            }
            Op::Excite(_) => {
                if let (Some(squeeze), Some(bias)) = (get("squeeze.weight"), get("squeeze.bias")) {
                    put("squeeze.weight".into(), columns_of(squeeze, &self.from.all()));
                    put("squeeze.bias".into(), bias.clone());
                }
                for (letter, channels) in [("h", &to.high), ("l", &to.low)] {
                    for part in ["weight", "bias"] {
                        if let Some(tensor) = get(&format!("excite_h.{part}")) {
                            put(format!("excite_{letter}.{part}"), rows(tensor, channels));
                        }
                    }
                }
            }
            Op::Linear { .. } => {
                if let Some(weight) = get("weight") {
                    put("weight".into(), columns_of(weight, &self.from.all()));
                }
                if let Some(bias) = get("bias") {
                    put("bias".into(), bias.clone());
                }
            }
            _ => {}
        }
    }
}

/// The parts of a tensor with these indices along its first axis.
fn rows(tensor: &HostTensor, chosen: &[usize]) -> HostTensor {
    let each: usize = tensor.shape[1..].iter().product();
    let data = chosen.iter().flat_map(|&row| &tensor.data[row * each..(row + 1) * each]).copied().collect();
    HostTensor { shape: [&[chosen.len()], &tensor.shape[1..]].concat(), data }
}

/// The parts of a tensor with these indices along its second axis.
fn columns_of(tensor: &HostTensor, chosen: &[usize]) -> HostTensor {
    let (row, each) = (tensor.shape[1..].iter().product::<usize>(), tensor.shape[2..].iter().product::<usize>());
    let rows = tensor.data.chunks_exact(row.max(1));
    let data = rows.flat_map(|row| chosen.iter().flat_map(|&c| &row[c * each..(c + 1) * each])).copied().collect();
    HostTensor { shape: [&[tensor.shape[0], chosen.len()], &tensor.shape[2..]].concat(), data }
}

#[cfg(test)]
mod tests {
    use octconv::network::zoo;
    use octconv::reference;

    use super::*;

    fn plain(name: &str, classes: Option<u32>) -> Network {
        zoo::build(name, &zoo::Settings { alpha: 0.0, classes, ..zoo::Settings::default() }).unwrap()
    }

    #[test]
    fn costs_are_those_of_the_built_in_networks() {
        for (name, alpha) in [
            ("resnet50", 0.5),
            ("resnet101", 0.25),
            ("se-resnet50", 0.5),
            ("densenet121", 0.25),
            ("mobilenet-v1", 0.5),
            ("cifar-resnet20", 0.25),
            ("i3d-resnet50-nl", 0.1),
        ] {
            let size = zoo::default_size(name).unwrap();
            let octave = to_octave(&plain(name, None), None, alpha, size).unwrap().network;
            let wanted = zoo::build(name, &zoo::Settings { alpha, ..zoo::Settings::default() }).unwrap();
            let cost = |network: &Network| Graph::new(network).unwrap().cost(size).unwrap();
            assert_eq!(cost(&octave), cost(&wanted), "{name}");
        }
    }

    #[test]
    fn weights_are_those_of_the_same_channels() {
        // Two layers of one channel each: the second reads what the first makes.
        let text = r#"{"name": "n", "input": {"channels": 2}, "output": "sum", "nodes": [
            {"name": "a", "op": "conv", "input": "input", "channels": 4, "bias": true},
            {"name": "b", "op": "conv", "input": "a", "channels": 6, "norm": true},
            {"name": "both", "op": "concat", "inputs": ["a", "b"]},
            {"name": "c", "op": "conv", "input": "both", "channels": 3},
            {"name": "means", "op": "global_pool", "input": "c"},
            {"name": "sum", "op": "linear", "input": "means", "outputs": 2}]}"#;
        let network: Network = serde_json::from_str(text).unwrap();
        let graph = Graph::new(&network).unwrap();
        let weights = Checkpoint::random(&graph, 3);
        let size = InputSize::image(1, 4, 4);
        let octave = to_octave(&network, Some(&weights), 0.5, size).unwrap();
        let tensors = octave.checkpoint.unwrap().tensors;
        let old = |name: &str| &weights.tensors[name].data;
        // The channels of both are a's 0 to 3, then b's 0 to 5. High ones are 0, 1, 4, 5, 6, and low ones the others.
        let expected: Vec<f32> = (0..3).flat_map(|o| [0, 1, 4, 5, 6].map(|i| old("c.w_hh")[o * 10 + i])).collect();
        assert_eq!(tensors["c.w_hh"].data, expected);
        let expected: Vec<f32> = (0..3).flat_map(|o| [2, 3, 7, 8, 9].map(|i| old("c.w_hh")[o * 10 + i])).collect();
        assert_eq!(tensors["c.w_lh"].data, expected);
        assert_eq!(tensors["b.norm_l.mean"].data, old("b.norm_h.mean")[3..]);
        assert_eq!(tensors["a.bias_h"].data, old("a.bias_h")[..2]);

        answers(&network, &octave.network, [&weights.tensors, &tensors]);
    }

    /// On maps of one value, means change nothing, so the octave network answers as the plain one.
    fn answers(network: &Network, octave: &Network, tensors: [&BTreeMap<String, HostTensor>; 2]) {
        let size = InputSize::image(1, 4, 4);
        let input: Vec<f32> = [0.5, -1.5].iter().flat_map(|&v| [v; 16]).collect();
        let [plain, split] = [(network, tensors[0]), (octave, tensors[1])].map(|(network, tensors)| {
            let graph = Graph::new(network).unwrap();
            let checkpoint = Checkpoint { tensors: tensors.clone() };
            reference::network::run(&graph, &checkpoint, size, &input, &mut |_, _| {}).unwrap().to_f32()
        });
        assert!(plain.iter().all(|v| v.is_finite()) && plain.iter().any(|&v| v != plain[0]), "{plain:?}");
        assert!(plain.iter().zip(&split).all(|(a, b)| (a - b).abs() < 1e-5), "{plain:?} {split:?}");
    }

    /// Gates of both kinds and an attention. `queries` is how many channels those of the attention have. Gives the nodes
    /// that have a low frequency.
    fn gated(queries: u32, alpha: f64) -> Vec<String> {
        let text = r#"{"name": "n", "input": {"channels": 2}, "output": "answer", "nodes": [
            {"name": "a", "op": "conv", "input": "input", "channels": 8, "bias": true},
            {"name": "excited", "op": "excite", "input": "a", "reduced": 4, "activation": "relu"},
            {"name": "b", "op": "conv", "input": "excited", "channels": 8, "bias": true},
            {"name": "means", "op": "global_pool", "input": "b"},
            {"name": "s", "op": "linear", "input": "means", "outputs": 4, "activation": "relu"},
            {"name": "e", "op": "linear", "input": "s", "outputs": 8, "activation": "sigmoid"},
            {"name": "gate", "op": "gate", "input": "b", "by": "e"},
            {"name": "q", "op": "conv", "input": "gate", "channels": QUERIES},
            {"name": "k", "op": "conv", "input": "gate", "channels": QUERIES},
            {"name": "v", "op": "conv", "input": "gate", "channels": 8},
            {"name": "attended", "op": "attention", "queries": "q", "keys": "k", "values": "v"},
            {"name": "last", "op": "conv", "input": "attended", "channels": 3},
            {"name": "pooled", "op": "global_pool", "input": "last"},
            {"name": "answer", "op": "linear", "input": "pooled", "outputs": 3}]}"#;
        let network: Network = serde_json::from_str(&text.replace("QUERIES", &queries.to_string())).unwrap();
        let weights = Checkpoint::random(&Graph::new(&network).unwrap(), 5);
        let size = InputSize::image(1, 4, 4);
        let octave = to_octave(&network, Some(&weights), alpha, size).unwrap();
        answers(&network, &octave.network, [&weights.tensors, &octave.checkpoint.unwrap().tensors]);
        let graph = Graph::new(&octave.network).unwrap();
        let has_low = |shape: &ValueShape| matches!(shape, ValueShape::Map { low: Some(_), .. });
        let shapes = graph.shapes(size).unwrap();
        let nodes = octave.network.nodes.iter().zip(&shapes[1..]);
        nodes.filter(|(_, shape)| has_low(shape)).map(|(node, _)| node.name.clone()).collect()
    }

    #[test]
    fn gates_and_attention_are_split() {
        let gates = ["a", "excited", "b", "gate"];
        assert_eq!(gated(4, 0.25), [&gates[..], &["q", "k", "v", "attended"]].concat());
        // A share of two channels is none, so the attention stays plain, and its values too.
        assert_eq!(gated(2, 0.25), gates);
    }

    /// Maps of one attention whose convolutions have groups without a common factor: no number of channels suits all.
    #[test]
    fn groups_without_a_common_multiple_stay_plain() {
        let groups = [524_287, 524_269, 524_261, 524_257];
        let convs = groups.iter().enumerate().map(|(i, g)| {
            let c = 2 * g;
            format!(
                r#"{{"name": "a{i}", "op": "conv", "input": "input", "channels": {c}}},
                {{"name": "b{i}", "op": "conv", "input": "a{i}", "channels": {c}, "groups": {g}}},"#
            )
        });
        let text = format!(
            r#"{{"name": "n", "input": {{"channels": 1}}, "output": "last", "nodes": [{}
            {{"name": "s", "op": "attention", "queries": "b0", "keys": "b0", "values": "b1"}},
            {{"name": "t", "op": "attention", "queries": "b2", "keys": "b2", "values": "s"}},
            {{"name": "u", "op": "attention", "queries": "b3", "keys": "b3", "values": "t"}},
            {{"name": "last", "op": "conv", "input": "u", "channels": 3}}]}}"#,
            convs.collect::<String>()
        );
        let network: Network = serde_json::from_str(&text).unwrap();
        let octave = to_octave(&network, None, 0.5, InputSize::image(1, 2, 2)).unwrap().network;
        for (node, plain) in octave.nodes.iter().zip(&network.nodes).filter(|(node, _)| node.name.starts_with('b')) {
            assert_eq!(node, plain);
        }
    }

    /// Convolutions with two and with four groups, which read the same map, and a residual sum.
    #[test]
    fn groups_are_split_by_themselves() {
        let text = r#"{"name": "n", "input": {"channels": 2}, "output": "last", "nodes": [
            {"name": "a", "op": "conv", "input": "input", "channels": 16, "bias": true},
            {"name": "b", "op": "conv", "input": "a", "channels": 16, "groups": 2, "norm": true, "activation": "relu"},
            {"name": "c", "op": "conv", "input": "a", "channels": 8, "groups": 4, "bias": true},
            {"name": "d", "op": "conv", "input": "b", "channels": 16, "residual": "a"},
            {"name": "e", "op": "conv", "input": "d", "channels": 8, "groups": 2, "residual": "c"},
            {"name": "f", "op": "conv", "input": "e", "channels": 8, "depthwise": true},
            {"name": "g", "op": "concat", "inputs": ["f", "d"]},
            {"name": "h", "op": "excite", "input": "g", "reduced": 4},
            {"name": "last", "op": "conv", "input": "h", "channels": 3}]}"#;
        let network: Network = serde_json::from_str(text).unwrap();
        let weights = Checkpoint::random(&Graph::new(&network).unwrap(), 5);
        let octave = to_octave(&network, Some(&weights), 0.5, InputSize::image(1, 4, 4)).unwrap();
        answers(&network, &octave.network, [&weights.tensors, &octave.checkpoint.unwrap().tensors]);
        let split: Vec<&str> = octave
            .network
            .nodes
            .iter()
            .filter_map(|node| match &node.op {
                Op::Conv(conv) if conv.alpha > 0.0 || conv.split.is_some() => Some(node.name.as_str()),
                _ => None,
            })
            .collect();
        assert_eq!(split, ["a", "b", "c", "d", "e", "f"]);
    }

    /// Groups of one channel each are a depthwise convolution, whose frequencies are convolved by themselves.
    #[test]
    fn as_many_groups_as_channels_are_depthwise() {
        let text = r#"{"name": "n", "input": {"channels": 2}, "output": "last", "nodes": [
            {"name": "a", "op": "conv", "input": "input", "channels": 16, "bias": true},
            {"name": "b", "op": "conv", "input": "a", "channels": 16, "groups": 16, "norm": true},
            {"name": "c", "op": "conv", "input": "b", "channels": 8},
            {"name": "d", "op": "conv", "input": "c", "channels": 16, "groups": 8},
            {"name": "last", "op": "conv", "input": "d", "channels": 3}]}"#;
        let network: Network = serde_json::from_str(text).unwrap();
        let weights = Checkpoint::random(&Graph::new(&network).unwrap(), 5);
        let octave = to_octave(&network, Some(&weights), 0.5, InputSize::image(1, 4, 4)).unwrap();
        answers(&network, &octave.network, [&weights.tensors, &octave.checkpoint.unwrap().tensors]);
        let of = |i: usize| match &octave.network.nodes[i].op {
            Op::Conv(conv) => (conv.alpha, conv.depthwise, conv.groups),
            _ => panic!("it is no convolution"),
        };
        assert_eq!([0, 1, 3].map(of), [(0.5, false, 1), (0.5, true, 1), (0.0, false, 8)]);
    }

    /// Groups of what is concatenated, and a gate of a map with groups, have no order that suits both.
    #[test]
    fn groups_that_fit_no_order_stay_plain() {
        let text = r#"{"name": "n", "input": {"channels": 2}, "output": "last", "nodes": [
            {"name": "a", "op": "conv", "input": "input", "channels": 8},
            {"name": "b", "op": "conv", "input": "a", "channels": 4},
            {"name": "c", "op": "concat", "inputs": ["a", "b"]},
            {"name": "d", "op": "conv", "input": "c", "channels": 12, "groups": 2},
            {"name": "means", "op": "global_pool", "input": "d"},
            {"name": "s", "op": "linear", "input": "means", "outputs": 12, "activation": "sigmoid"},
            {"name": "e", "op": "gate", "input": "d", "by": "s"},
            {"name": "f", "op": "conv", "input": "e", "channels": 8},
            {"name": "last", "op": "conv", "input": "f", "channels": 3}]}"#;
        let network: Network = serde_json::from_str(text).unwrap();
        let weights = Checkpoint::random(&Graph::new(&network).unwrap(), 5);
        let octave = to_octave(&network, Some(&weights), 0.5, InputSize::image(1, 4, 4)).unwrap();
        answers(&network, &octave.network, [&weights.tensors, &octave.checkpoint.unwrap().tensors]);
    }

    /// The first convolution strides as it did, whatever stands in front of it.
    #[test]
    fn the_picture_is_not_averaged() {
        let text = r#"{"name": "n", "input": {"channels": 2}, "output": "last", "nodes": [
            {"name": "scaled", "op": "norm", "input": "input"},
            {"name": "a", "op": "conv", "input": "scaled", "channels": 8, "stride": 2, "downsample": "strided"},
            {"name": "b", "op": "conv", "input": "a", "channels": 8, "stride": 2, "downsample": "strided"},
            {"name": "c", "op": "conv", "input": "b", "channels": 8, "stride": 2, "downsample": "strided"},
            {"name": "last", "op": "conv", "input": "c", "channels": 3}]}"#;
        let network: Network = serde_json::from_str(text).unwrap();
        let octave = to_octave(&network, None, 0.5, InputSize::image(1, 16, 16)).unwrap().network;
        let of = |i: usize| match &octave.nodes[i].op {
            Op::Conv(conv) => (conv.alpha, conv.downsample),
            _ => panic!("it is no convolution"),
        };
        let averages = Downsample::AveragePool;
        assert_eq!([1, 2, 3].map(of), [(0.0, Downsample::StridedConv), (0.5, averages), (0.0, averages)]);
    }

    #[test]
    fn networks_with_a_low_frequency_or_many_channels_are_refused() {
        let octave = zoo::build("cifar-resnet20", &zoo::Settings { alpha: 0.5, ..zoo::Settings::default() }).unwrap();
        let size = InputSize::image(1, 32, 32);
        assert!(to_octave(&octave, None, 0.5, size).unwrap_err().to_string().contains("low frequency already"));
        let nodes = (0..16).map(|i| match i {
            0 => r#"{"name": "a0", "op": "conv", "input": "input", "channels": 1048576}"#.into(),
            _ => format!(r#"{{"name": "a{i}", "op": "add", "inputs": ["a{}", "a0"]}}"#, i - 1),
        });
        let nodes = nodes.collect::<Vec<_>>().join(", ");
        let text = format!(r#"{{"name": "n", "input": {{"channels": 1}}, "output": "a15", "nodes": [{nodes}]}}"#);
        let wide: Network = serde_json::from_str(&text).unwrap();
        let refusal = to_octave(&wide, None, 0.5, InputSize::image(1, 1, 1)).unwrap_err().to_string();
        assert!(
            refusal.contains("its values have 16777217 channels together: must have at most 16777216"),
            "{refusal}"
        );
        assert!(to_octave(&plain("cifar-resnet20", None), None, 1.5, size).unwrap_err().to_string().contains("alpha"));
    }
}

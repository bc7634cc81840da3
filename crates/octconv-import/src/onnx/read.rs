//! Turns a parsed file into a graph of plain maps.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::rc::Rc;

use super::constant::{Constant, Source};
use super::fold::{evaluate, part_of_shape, written};
use super::node::{FileNode, MOST_NAME};
use super::proto::{GraphProto, ModelProto, ValueInfoProto};
use super::{file, operators};
use crate::plain::{Conv, Id, Op, PlainGraph, Shape, Value};
use crate::{External, ImportError, ImportOptions, Problem};

/// What a name of the file stands for.
#[derive(Clone)]
pub(super) enum Slot {
    Constant(Rc<Constant>),
    /// A value, with the sizes that it has in the file: a vector may be [n, c] or [n, c, 1, 1] there.
    Value(Id, Vec<usize>),
    /// A map of the sizes `raw`, which has other sizes in the file: `sizes`. Its channels are other axes there, or its only
    /// position is repeated. `turned`: the channels were a table of so many rows and columns, which have changed places.
    View {
        id: Id,
        raw: Vec<usize>,
        sizes: Vec<usize>,
        turned: Option<[usize; 2]>,
    },
}

impl Slot {
    /// The value, if it is not constant.
    pub(super) fn id(&self) -> Option<Id> {
        match self {
            Self::Value(id, _) | Self::View { id, .. } => Some(*id),
            Self::Constant(_) => None,
        }
    }
}

/// A graph in the making.
pub(super) struct Reader {
    pub(super) graph: PlainGraph,
    pub(super) opset: i64,
    slots: HashMap<String, Slot>,
    /// The node that is read, and its operator.
    at: (String, String),
    /// Maps of one position that are made of the means of whole maps alone, each as the vector that it was made into.
    means: HashMap<Id, Option<Id>>,
}

/// Why a node that differs while a network is trained cannot be read.
pub(super) const TRAINING: &str = "it is in training mode: export the network for inference";

/// The longest axis of a map behind its channels. What a file says must not decide how much memory is taken.
pub(super) const MOST_SIZE: usize = 1 << 20;

/// The most bytes of tensors, as they are kept here, if nothing else is asked for.
const MOST_BYTES: u64 = 1 << 30;

/// The numbers that are taken beyond those of a file: constants that are computed, and weights that several nodes read.
const MORE: usize = 1 << 27;

/// The most nodes of a file.
const MOST_NODES: usize = 1 << 15;

/// The most values that they make. A description has at most 4096 nodes, and an octave layer is made of a dozen values.
const MOST_VALUES: usize = 1 << 14;

/// Reads an ONNX file. `external` gives the bytes of tensors that lie in other files.
pub(crate) fn read(bytes: &[u8], options: &ImportOptions, external: &mut External) -> Result<PlainGraph, ImportError> {
    let ModelProto { graph, opset_import } = file::parse(bytes)?;
    let opset = opset_import.iter().find(|o| matches!(o.domain.as_deref(), None | Some("" | "ai.onnx")));
    let opset = opset.and_then(|o| o.version).unwrap_or(1);
    let GraphProto { node, initializer, input, output } = graph.unwrap_or_default();
    if node.len() > MOST_NODES {
        return Err(ImportError::File { reason: format!("it has {} nodes: must be at most {MOST_NODES}", node.len()) });
    }
    let nodes: Vec<FileNode> = node.into_iter().map(FileNode::new).collect();
    // All values that a node makes have its operator too.
    if let Some(length) = nodes.iter().map(|node| node.operator.len()).max().filter(|&length| length > MOST_NAME) {
        let reason = format!("the operator of a node has {length} bytes: must have at most {MOST_NAME}");
        return Err(ImportError::File { reason });
    }
    let name = answer(&output, &nodes, options)?;
    let Needed { nodes: needed, names: wanted } = needed(&nodes, &name);
    let mut reader = Reader {
        graph: PlainGraph::default(),
        opset,
        slots: HashMap::new(),
        at: Default::default(),
        means: HashMap::new(),
    };
    let mut problems = Vec::new();
    let mut source = Source::new(external, options.max_bytes.unwrap_or(MOST_BYTES));
    let given: HashSet<&str> = initializer.iter().filter_map(|tensor| tensor.name.as_deref()).collect();
    for tensor in &initializer {
        let name = tensor.name.clone().unwrap_or_default();
        if !wanted.contains(&name) {
            continue;
        }
        match Constant::read(tensor, &mut source) {
            Ok(constant) => drop(reader.slots.insert(name, Slot::Constant(Rc::new(constant)))),
            Err(reason) => {
                // Nodes that read it have no problem of their own.
                let unknown = reader.unknown();
                reader.slots.insert(name.clone(), unknown);
                problems.push(Problem { node: name, operator: "initializer".into(), reason });
            }
        }
    }
    // What is computed from the numbers of a file has about as many, and so has what weights become, in a few steps.
    let outside = source.outside.saturating_mul(2);
    reader.graph.left.set(bytes.len().saturating_add(outside).saturating_mul(2).saturating_add(MORE));
    let name_of = |input: &ValueInfoProto| input.name.clone().unwrap_or_default();
    let open: Vec<&ValueInfoProto> = input.iter().filter(|&i| !given.contains(name_of(i).as_str())).collect();
    let read: Vec<&ValueInfoProto> = open.iter().copied().filter(|&i| wanted.contains(&name_of(i))).collect();
    if read.is_empty() && !open.is_empty() {
        return Err(ImportError::File { reason: not_made(&name) });
    }
    reader.add_input(&read, options)?;
    for (node, _) in nodes.into_iter().zip(needed).filter(|(_, needed)| *needed) {
        // A node may make a value for each input and each output.
        if reader.graph.values.len() + node.inputs.len() + node.outputs.len() > MOST_VALUES {
            let reason = format!("its nodes make more than {MOST_VALUES} values");
            return Err(ImportError::File { reason });
        }
        reader.read_node(node, &mut source, &mut problems);
    }
    if problems.is_empty() {
        match reader.slots.get(&name) {
            Some(Slot::Value(id, _)) => reader.graph.output = *id,
            _ => return Err(ImportError::File { reason: not_made(&name) }),
        }
        Ok(reader.graph)
    } else {
        Err(ImportError::Nodes { problems })
    }
}

/// The name of the value that the network answers with.
fn answer(outputs: &[ValueInfoProto], nodes: &[FileNode], options: &ImportOptions) -> Result<String, ImportError> {
    let refuse = |reason: String| Err(ImportError::File { reason });
    let names: Vec<&str> = outputs.iter().map(|output| output.name.as_deref().unwrap_or_default()).collect();
    match (&options.output, names.as_slice()) {
        (Some(name), _) if nodes.iter().any(|node| node.outputs.contains(name)) => Ok(name.clone()),
        (Some(name), names) => {
            refuse(format!("none of its nodes makes {name}, which was asked for: its outputs are {}", names.join(", ")))
        }
        (None, [name]) => Ok((*name).to_owned()),
        (None, []) => refuse("it has no output".into()),
        (None, names) => {
            refuse(format!("it has {} outputs: choose one of {} (--output)", names.len(), names.join(", ")))
        }
    }
}

fn not_made(output: &str) -> String {
    format!("its output {output} is not made from its input")
}

/// What the answer depends on.
struct Needed {
    /// For each node whether it is needed.
    nodes: Vec<bool>,
    /// The names of the answer, and of what these nodes read.
    names: HashSet<String>,
}

fn needed(nodes: &[FileNode], answer: &str) -> Needed {
    let mut names: HashSet<String> = HashSet::from([answer.to_owned()]);
    let mut needed = vec![false; nodes.len()];
    for (node, needed) in nodes.iter().zip(&mut needed).rev() {
        *needed = node.outputs.iter().any(|name| !name.is_empty() && names.contains(name));
        if *needed {
            names.extend(node.inputs.iter().cloned());
        }
    }
    Needed { nodes: needed, names }
}

impl Reader {
    fn add_input(&mut self, inputs: &[&ValueInfoProto], options: &ImportOptions) -> Result<(), ImportError> {
        let refuse = |reason: String| Err(ImportError::File { reason });
        let [input] = inputs else {
            let names: Vec<_> = inputs.iter().map(|i| i.name.as_deref().unwrap_or_default()).collect();
            return refuse(format!("it has {} inputs ({}): must have one", names.len(), names.join(", ")));
        };
        let name = input.name.clone().unwrap_or_default();
        let tensor = input.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
        let shape = tensor.and_then(|tensor| tensor.shape.as_ref());
        let sizes: Vec<Option<i64>> = shape.map_or(Vec::new(), |shape| shape.dim.iter().map(|d| d.dim_value).collect());
        if !matches!(sizes.len(), 4 | 5) {
            return refuse(format!(
                "its input {name} has {} axes: must be [n, c, h, w] or [n, c, t, h, w]",
                sizes.len()
            ));
        }
        // Sizes that the file leaves open are negative, or have a name only. Some exporters write 0.
        let given = |axis: usize| sizes[axis].and_then(|d| usize::try_from(d).ok()).filter(|&d| d > 0);
        let Some(c) = given(1) else { return refuse(format!("the channels of its input {name} are not given")) };
        let [h, w] = options.size.map_or([None; 2], |size| size.map(|d| Some(d as usize)));
        let last = sizes.len() - 1;
        let mut raw = vec![given(0).unwrap_or(1), c];
        if last == 4 {
            raw.push(given(2).or(options.frames.map(|t| t as usize)).unwrap_or(8));
        }
        for (axis, asked) in [(last - 1, h), (last, w)] {
            match (given(axis), asked) {
                (Some(size), Some(asked)) if size != asked => {
                    return refuse(format!(
                        "its input {name} is {size} long along axis {axis}, and {asked} was asked for"
                    ));
                }
                (size, asked) => raw.push(size.or(asked).unwrap_or(224)),
            }
        }
        if !raw.iter().all(|d| (1..=MOST_SIZE).contains(d)) {
            return refuse(format!("its input {name} is {raw:?}: all sizes must be 1 to {MOST_SIZE}"));
        }
        self.graph.video = last == 4;
        self.at = (name.clone(), "input".into());
        let slot = self.add(Op::Input, vec![], raw);
        self.slots.insert(name, slot);
        Ok(())
    }

    fn read_node(&mut self, node: FileNode, source: &mut Source, problems: &mut Vec<Problem>) {
        self.at = (node.name.clone(), node.operator.clone());
        let missing = node.inputs.iter().find(|name| !name.is_empty() && !self.slots.contains_key(*name)).cloned();
        let slots: Vec<Option<Slot>> = node.inputs.iter().map(|name| self.slots.get(name).cloned()).collect();
        // What cannot be read has been reported once. Nodes behind it are not its problem, unless nothing could read them.
        let unknown = |slot: &Slot| slot.id().is_some_and(|id| *self.graph.op(id) == Op::Unknown);
        let follows = slots.iter().flatten().any(unknown);
        let result = match missing {
            Some(name) => Err(format!(
                "its input {name} is made by no node in front of it, or by one that makes something else too"
            )),
            None if follows && operators::no_counterpart(&node.operator).is_none() => {
                Ok(node.outputs.iter().map(|_| self.unknown()).collect())
            }
            None => self.results(&node, &slots, source),
        };
        let made = result.unwrap_or_else(|reason| {
            problems.push(Problem { node: node.name.clone(), operator: node.operator.clone(), reason });
            node.outputs.iter().map(|_| self.unknown()).collect()
        });
        for (name, slot) in node.outputs.iter().zip(made).filter(|(name, _)| !name.is_empty()) {
            self.slots.insert(name.clone(), slot);
        }
    }

    fn unknown(&mut self) -> Slot {
        self.add(Op::Unknown, vec![], vec![1, 1])
    }

    /// What a node makes: its first output alone, or all of them.
    fn results(&mut self, node: &FileNode, slots: &[Option<Slot>], source: &mut Source) -> Result<Vec<Slot>, String> {
        if node.has_graphs() {
            return Err("it has graphs of its own: branches and loops cannot be imported".into());
        }
        if node.operator == "Constant" {
            return self.computed(constant(node, source)).map(|slot| vec![slot]);
        }
        if let ("Shape", Some(Some(Slot::Value(_, raw)))) = (node.operator.as_str(), slots.first()) {
            let sizes: Vec<i64> = raw.iter().map(|&d| d as i64).collect();
            return self.computed(Ok(part_of_shape(node, &sizes))).map(|slot| vec![slot]);
        }
        let constants: Vec<Option<&Constant>> = slots
            .iter()
            .map(|slot| match slot {
                Some(Slot::Constant(constant)) => Some(&**constant),
                _ => None,
            })
            .collect();
        // Whatever it makes of them, all of them are read.
        self.take(constants.iter().flatten().fold(0, |all, c| all.saturating_add(elements(c.shape()))))?;
        if !slots.iter().flatten().any(|slot| slot.id().is_some()) {
            // Before anything is computed: many nodes may ask for what there is no room for.
            let charged = written(node, &constants)?;
            self.take(charged)?;
            let unknown = || Err("it is computed from constants, and is not known here".into());
            let constant = evaluate(node, &constants, self.opset).unwrap_or_else(unknown)?;
            self.take(elements(constant.shape()).saturating_sub(charged))?;
            return Ok(vec![Slot::Constant(Rc::new(constant))]);
        }
        self.graph.nodes += 1;
        operators::read(self, node, slots, &constants)
    }

    fn computed(&mut self, constant: Result<Constant, String>) -> Result<Slot, String> {
        let constant = constant?;
        self.take(elements(constant.shape()))?;
        Ok(Slot::Constant(Rc::new(constant)))
    }

    /// Refuses to take so many numbers if a file of this size has no use for them.
    pub(super) fn take(&mut self, count: usize) -> Result<(), String> {
        let refused = || format!("it needs {count} numbers more than a file of this size may need");
        self.graph.take(count).then_some(()).ok_or_else(refused)
    }

    /// Reports that the node that is read holds the network to the size of the input.
    pub(super) fn fix(&mut self, reason: &str) {
        let (node, operator) = self.at.clone();
        self.graph.fixed.push(Problem { node, operator, reason: reason.into() }.to_string());
    }

    /// Adds a value with these sizes in the file: [n, c], [n, c, h, w] or [n, c, t, h, w].
    pub(super) fn add(&mut self, op: Op, inputs: Vec<Id>, raw: Vec<usize>) -> Slot {
        Slot::Value(self.add_value(op, inputs, &raw), raw)
    }

    pub(super) fn add_value(&mut self, op: Op, inputs: Vec<Id>, raw: &[usize]) -> Id {
        let vector = matches!(op, Op::GlobalPool | Op::Flatten | Op::Linear { .. }) || raw.len() == 2;
        let vector = vector || inputs.first().is_some_and(|&id| self.is_vector(id) && !matches!(op, Op::Scale));
        let c = raw.get(1).copied().unwrap_or(1);
        let shape = match *raw {
            _ if vector => Shape::Vector { c },
            [_, c, h, w] => Shape::Map { c, space: [1, h, w] },
            [_, c, t, h, w] => Shape::Map { c, space: [t, h, w] },
            _ => Shape::Vector { c },
        };
        let of_means = match &op {
            Op::Pool(pool) => {
                self.graph.shape(inputs[0]).space() == Some(pool.kernel) && pool.is_mean_without_padding()
            }
            Op::Conv(conv) => conv.is_matrix() && self.means.contains_key(&inputs[0]),
            Op::Affine { .. } | Op::Activation(_) | Op::Erf | Op::Add | Op::Multiply | Op::Concat | Op::Select(_) => {
                inputs.iter().all(|id| self.means.contains_key(id))
            }
            _ => false,
        };
        let (node, operator) = self.at.clone();
        self.graph.values.push(Value { op, inputs, shape, name: node.clone(), node, operator });
        let id = self.graph.values.len() - 1;
        if of_means && shape.space() == Some([1; 3]) {
            self.means.insert(id, None);
        }
        id
    }

    /// A map that is made of the means of whole maps alone, as a vector: the pools as means of any size, and 1x1
    /// convolutions as matrices. `None` if it is made of something else.
    pub(super) fn vector_of_means(&mut self, map: Id) -> Result<Option<Id>, String> {
        if !self.means.contains_key(&map) {
            return Ok(None);
        }
        let (mut wanted, mut open, mut count) = (BTreeSet::new(), vec![map], 0usize);
        while let Some(at) = open.pop() {
            if self.means.get(&at) != Some(&None) || !wanted.insert(at) {
                continue;
            }
            let numbers = match self.graph.op(at) {
                Op::Pool(_) => continue,
                Op::Conv(conv) => conv.weights.len().saturating_add(conv.shape[0]),
                Op::Affine { scale, .. } => scale.len().saturating_mul(2),
                Op::Select(chosen) => chosen.len(),
                _ => 1,
            };
            count = count.saturating_add(numbers);
            open.extend(&self.graph.values[at].inputs);
        }
        self.take(count)?;
        // Every value comes after those that it is made of.
        for at in wanted {
            let Value { op, inputs, shape, .. } = self.graph.values[at].clone();
            let as_vector = |id: Id| self.means.get(&id).copied().flatten().unwrap_or(id);
            let vectors = inputs.iter().copied().map(as_vector).collect();
            let (op, inputs) = match op {
                Op::Pool(_) => (Op::GlobalPool, inputs),
                Op::Conv(Conv { weights, shape, bias, name, .. }) => {
                    (Op::Linear { weights, outputs: shape[0], bias, name }, vectors)
                }
                op => (op, vectors),
            };
            let vector = self.add_value(op, inputs, &[1, shape.channels()]);
            self.means.insert(at, Some(vector));
        }
        Ok(self.means.get(&map).copied().flatten())
    }

    pub(super) fn is_vector(&self, id: Id) -> bool {
        matches!(self.graph.shape(id), Shape::Vector { .. })
    }

    /// What the file calls a constant that weights come from, if that is a name that somebody gave.
    pub(super) fn weight_name(&self, name: &str) -> Option<String> {
        let given = name.strip_suffix(".weight").or(name.strip_suffix(".weights")).or(name.strip_suffix("_weight"))?;
        let made = given.contains("::") || given.is_empty();
        (!made).then(|| given.to_owned())
    }
}

/// The elements of a tensor of these sizes, as far as they can be counted.
pub(super) fn elements(sizes: &[usize]) -> usize {
    sizes.iter().fold(1, |all, &d| all.saturating_mul(d))
}

fn constant(node: &FileNode, source: &mut Source) -> Result<Constant, String> {
    use ndarray::{Array1, arr0};
    if let Some(tensor) = node.tensor("value") {
        return Constant::read(tensor, source);
    }
    if let Some(value) = node.float("value_float") {
        return Ok(Constant::Float(arr0(value).into_dyn()));
    }
    if let Some(value) = node.int("value_int") {
        return Ok(Constant::Int(arr0(value).into_dyn()));
    }
    if let Some(values) = node.floats("value_floats") {
        return Ok(Constant::Float(Array1::from(values.to_vec()).into_dyn()));
    }
    if let Some(values) = node.ints("value_ints") {
        return Ok(Constant::Int(Array1::from(values.to_vec()).into_dyn()));
    }
    Err("it has no value that is known here".into())
}

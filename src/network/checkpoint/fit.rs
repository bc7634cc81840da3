//! Turns a checkpoint in any dialect into exactly the tensors that a network needs.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use super::checkpoint::{Checkpoint, HostTensor, elements};
use super::dialects::{Alias, Block, Known, Whole, common_prefix, is_counter, is_tail, names, without_prefix};
use super::groups::widened;
use crate::error::{Error, Misfit, MisfitKind};
use crate::memory::with_room;
use crate::network::graph::{Graph, TensorSpec};

impl Checkpoint {
    /// Returns exactly the tensors of `graph`, under this project's names.
    ///
    /// Translates the names of every dialect that `docs/networks.md` lists. Drops prefixes such as `module.`, and the
    /// counters of batches. Slices weights that hold several paths. Adds up the biases of the convolutions into one
    /// output. If the node has no bias but a batch norm, the sum goes into its running mean. Leaves out the scale and the
    /// shift of a batch norm that has none here, if they are 1 and 0. A path may have more groups than its layer, such as
    /// twice as many.
    ///
    /// A dialect whose networks add another number to variances than `graph` does gets the difference added to its
    /// variances, so that the sum is the same.
    ///
    /// # Errors
    ///
    /// [`Error::Checkpoint`] with every tensor that is missing, surplus or of another shape. [`Error::OutOfMemory`] if there
    /// is no memory for a tensor.
    pub fn fit(self, graph: &Graph) -> Result<Self, Error> {
        Fit::new(graph, None).run(self)
    }

    /// As [`Checkpoint::fit`], without a copy of a checkpoint that has exactly the tensors of `graph` already.
    pub(crate) fn fitted(&self, graph: &Graph) -> Result<Cow<'_, Self>, Error> {
        let wanted = graph.tensors();
        let exactly = |tensor: &TensorSpec| {
            let found = self.tensors.get(&tensor.name);
            found.is_some_and(|found| found.shape == tensor.shape && found.data.len() as u64 == tensor.elements())
        };
        if wanted.len() == self.tensors.len() && wanted.iter().all(exactly) {
            return Ok(Cow::Borrowed(self));
        }
        self.copy()?.fit(graph).map(Cow::Owned)
    }

    /// The same tensors.
    fn copy(&self) -> Result<Self, Error> {
        let copy = |(name, tensor): (&String, &HostTensor)| {
            let mut data = with_room(tensor.data.len() as u64, &format!("copying {name}"))?;
            data.extend_from_slice(&tensor.data);
            Ok((name.clone(), HostTensor { shape: tensor.shape.clone(), data }))
        };
        Ok(Self { tensors: self.tensors.iter().map(copy).collect::<Result<_, Error>>()? })
    }

    /// As [`Checkpoint::fit`], for tensors of a network that adds `eps` to the variances of its batch norms.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] unless `eps` is in [0, 1). Otherwise those of [`Checkpoint::fit`].
    pub fn fit_with_eps(self, graph: &Graph, eps: f64) -> Result<Self, Error> {
        if !(0.0..1.0).contains(&eps) {
            return Err(Error::argument("eps", eps, "must be in [0, 1)"));
        }
        Fit::new(graph, Some(eps)).run(self)
    }

    /// The same tensors without the counters of batches that PyTorch and Chainer keep in batch norms.
    pub fn without_counters(mut self) -> Self {
        self.tensors.retain(|name, _| !is_counter(name));
        self
    }

    /// The same tensors without the prefixes that all of their names have, such as `module.`: at most eight.
    pub fn without_prefixes(mut self) -> Self {
        for _ in 0..MOST_PREFIXES {
            let Some(prefix) = common_prefix(self.tensors.keys().map(String::as_str)) else { break };
            let short = |(name, tensor): (String, HostTensor)| (name[prefix.len()..].to_owned(), tensor);
            self.tensors = self.tensors.into_iter().map(short).collect();
        }
        self
    }
}

/// The most prefixes of one name. A crafted one may have as many as it is long.
const MOST_PREFIXES: usize = 8;

/// A tensor of the file: its name there, and itself.
type Named = (String, HostTensor);

/// What is found so far.
struct Fit<'a> {
    graph: &'a Graph,
    /// What the file's networks add to variances, if the caller knows.
    eps: Option<f64>,
    wanted: BTreeMap<String, Vec<usize>>,
    names: HashMap<String, Known>,
    /// The tensors of the graph, and the names that they have in the file.
    found: BTreeMap<String, HostTensor>,
    sources: BTreeMap<String, String>,
    /// Biases to add up, by the name of their sum. The graph may lack a tensor of that name.
    summands: BTreeMap<String, Vec<Named>>,
    /// Parts of matrices, by the name of the matrix.
    columns: BTreeMap<String, BTreeMap<usize, Named>>,
    misfits: Vec<Misfit>,
}

impl<'a> Fit<'a> {
    fn new(graph: &'a Graph, eps: Option<f64>) -> Self {
        let wanted: BTreeMap<_, _> = graph.tensors().into_iter().map(|tensor| (tensor.name, tensor.shape)).collect();
        let names = names(graph, &wanted);
        Self {
            graph,
            eps,
            wanted,
            names,
            found: BTreeMap::new(),
            sources: BTreeMap::new(),
            summands: BTreeMap::new(),
            columns: BTreeMap::new(),
            misfits: Vec::new(),
        }
    }

    fn run(mut self, checkpoint: Checkpoint) -> Result<Checkpoint, Error> {
        for (name, tensor) in checkpoint.tensors {
            self.place(name, tensor)?;
        }
        for (target, parts) in std::mem::take(&mut self.columns) {
            self.join(&target, parts)?;
        }
        for (target, biases) in std::mem::take(&mut self.summands) {
            self.add_biases(&target, biases);
        }
        let fitted = Checkpoint { tensors: self.found };
        self.misfits.extend(fitted.misfits(&self.wanted));
        if self.misfits.is_empty() { Ok(fitted) } else { Err(Error::Checkpoint { misfits: self.misfits }) }
    }

    /// Puts a tensor of the file where it belongs.
    fn place(&mut self, name: String, tensor: HostTensor) -> Result<(), Error> {
        let bare = self.bare(&name);
        if self.wanted.contains_key(bare) {
            let (bare, eps) = (bare.to_owned(), self.eps);
            return self.insert(bare, name, tensor, eps);
        }
        let Some(known) = self.names.get(bare) else {
            if is_tail(bare) {
                let reason = "only pre-activation networks have it, whose norms stand before their convolutions";
                self.surplus(name, reason.into());
            } else if !is_counter(bare) {
                self.misfit(name, MisfitKind::Unknown { found: tensor.shape });
            }
            return Ok(());
        };
        let eps = self.eps.or(known.eps);
        match known.alias.clone() {
            Alias::Of(target) => self.insert(target, name, tensor, eps)?,
            Alias::Summand(target) => self.summands.entry(target).or_default().push((name, tensor)),
            Alias::Columns(target, part) => {
                if let Some((other, _)) = self.columns.entry(target).or_default().insert(part, (name, tensor)) {
                    self.surplus(other, "it is there twice".into());
                }
            }
            Alias::Constant(value) => {
                if let Some(other) = tensor.data.iter().find(|&&v| v != value) {
                    let reason = format!("has {other}, and its batch norm has no scale and no shift: must be {value}");
                    self.surplus(name, reason);
                }
            }
            Alias::Whole(whole) => self.slice(&whole, name, &tensor)?,
        }
        Ok(())
    }

    /// The name without the prefixes that keep it from being known.
    fn bare<'n>(&self, name: &'n str) -> &'n str {
        let mut bare = name;
        for _ in 0..=MOST_PREFIXES {
            if self.wanted.contains_key(bare) || self.names.contains_key(bare) || is_counter(bare) {
                return bare;
            }
            let Some(shorter) = without_prefix(bare) else { break };
            bare = shorter;
        }
        // Then it is told as the file has it.
        name
    }

    /// Takes `tensor` for the graph's tensor `target`. `eps`: what the file's networks add to variances.
    fn insert(&mut self, target: String, name: String, mut tensor: HostTensor, eps: Option<f64>) -> Result<(), Error> {
        if let Some(other) = self.sources.get(&target) {
            let reason = format!("{other} is {target} already");
            self.surplus(name, reason);
            return Ok(());
        }
        // Axes of one element behind those of a matrix are those of a 1x1 convolution.
        if let Some(wanted) = self.wanted.get(&target)
            && let Some((_, more)) = tensor.shape.split_at_checked(wanted.len())
            && more.iter().all(|&size| size == 1)
        {
            tensor.shape.truncate(wanted.len());
        }
        if let Some(wanted) = self.wanted.get(&target)
            && let Some(wide) = widened(self.graph, &target, &tensor, wanted)?
        {
            tensor = wide;
        }
        if let Some(eps) = eps.filter(|_| target.ends_with(".var")) {
            let shift = eps - f64::from(self.graph.network().norm_eps);
            tensor.data.iter_mut().for_each(|var| *var = (f64::from(*var) + shift) as f32);
        }
        self.sources.insert(target.clone(), name);
        self.found.insert(target, tensor);
        Ok(())
    }

    /// Cuts a weight into those of its paths.
    fn slice(&mut self, whole: &Whole, name: String, tensor: &HostTensor) -> Result<(), Error> {
        let expected = &whole.shape;
        if tensor.shape != *expected {
            self.misfit(name, MisfitKind::Shape { found: tensor.shape.clone(), expected: expected.clone() });
        } else if tensor.data.len() as u64 != elements(expected) {
            self.misfit(name, MisfitKind::Length { found: tensor.data.len(), expected: expected.clone() });
        } else {
            for block in &whole.blocks {
                self.insert(block.name.clone(), name.clone(), cut(tensor, block)?, None)?;
            }
        }
        Ok(())
    }

    /// Puts the parts of a matrix side by side.
    fn join(&mut self, target: &str, parts: BTreeMap<usize, Named>) -> Result<(), Error> {
        let rows = self.wanted.get(target).map_or(0, |shape| shape[0]);
        let width = |tensor: &HostTensor| tensor.data.len() / rows.max(1);
        let wrong = parts.values().find(|(_, tensor)| tensor.shape.first() != Some(&rows) || rows == 0);
        if let Some((name, tensor)) = wrong {
            let expected = vec![rows, width(tensor)];
            let problem = MisfitKind::Shape { found: tensor.shape.clone(), expected };
            self.misfit(name.clone(), problem);
            return Ok(());
        }
        let columns = parts.values().map(|(_, tensor)| width(tensor)).sum();
        let mut data = with_room(elements(&[rows, columns]), &format!("making {target}"))?;
        for row in 0..rows {
            for (_, tensor) in parts.values() {
                let width = width(tensor);
                data.extend_from_slice(&tensor.data[row * width..(row + 1) * width]);
            }
        }
        let names: Vec<_> = parts.into_values().map(|(name, _)| name).collect();
        self.insert(target.to_owned(), names.join(" and "), HostTensor { shape: vec![rows, columns], data }, None)
    }

    /// Adds up biases into the tensor `target`, or subtracts them from the running mean of the batch norm behind it,
    /// because x + b - mean = x - (mean - b).
    fn add_biases(&mut self, target: &str, biases: Vec<Named>) {
        if self.found.contains_key(target) {
            for (name, _) in biases {
                self.surplus(name, format!("{target} is there too"));
            }
            return;
        }
        let Some((node, letter)) = target.rsplit_once(".bias_") else { return };
        let mean = format!("{node}.norm_{letter}.mean");
        let Some(shape) = self.wanted.get(target).or(self.wanted.get(&mean)).cloned() else {
            for (name, tensor) in biases {
                let reason = format!("found {:?}, but its node has neither a bias nor a batch norm", tensor.shape);
                self.surplus(name, reason);
            }
            return;
        };
        let mut sum = vec![0.0f64; shape.iter().product()];
        for (name, bias) in biases {
            if bias.shape != shape || bias.data.len() != sum.len() {
                self.misfit(name, MisfitKind::Shape { found: bias.shape, expected: shape.clone() });
                continue;
            }
            sum.iter_mut().zip(&bias.data).for_each(|(sum, &b)| *sum += f64::from(b));
        }
        if self.wanted.contains_key(target) {
            let data = sum.into_iter().map(|sum| sum as f32).collect();
            self.found.insert(target.into(), HostTensor { shape, data });
        } else if let Some(mean) = self.found.get_mut(&mean) {
            mean.data.iter_mut().zip(sum).for_each(|(mean, sum)| *mean = (f64::from(*mean) - sum) as f32);
        }
    }

    fn surplus(&mut self, name: String, reason: String) {
        self.misfit(name, MisfitKind::Surplus { reason });
    }

    fn misfit(&mut self, name: String, problem: MisfitKind) {
        let bare = self.bare(&name);
        let node = match self.names.get(bare).map(|known| &known.alias) {
            Some(Alias::Of(target) | Alias::Summand(target) | Alias::Columns(target, _)) => target,
            Some(Alias::Constant(_)) | None => bare,
            Some(Alias::Whole(whole)) => whole.blocks.first().map_or(bare, |block| block.name.as_str()),
        };
        let node = self.node_of(node).to_owned();
        self.misfits.push(Misfit { node, name, problem });
    }

    /// The node that a tensor's name starts with. If there is none, the name without its last part.
    fn node_of<'n>(&self, name: &'n str) -> &'n str {
        let mut ends = name.match_indices(['.', '/']).rev().map(|(at, _)| &name[..at]);
        let known = ends.clone().find(|node| self.graph.nodes.iter().any(|other| other.name == **node));
        known.or(ends.next()).or(name.rsplit_once('_').map(|(start, _)| start)).unwrap_or(name)
    }
}

/// A block of a weight `[c_out, c_in, ...]`.
fn cut(whole: &HostTensor, block: &Block) -> Result<HostTensor, Error> {
    let taps = &whole.shape[2..];
    let (columns, inner) = (whole.shape[1], taps.iter().product::<usize>());
    let shape = [&[block.rows.len(), block.columns.len()], taps].concat();
    let mut data = with_room(elements(&shape), &format!("making {}", block.name))?;
    for start in block.rows.clone().map(|row| row * columns) {
        data.extend_from_slice(&whole.data[(start + block.columns.start) * inner..(start + block.columns.end) * inner]);
    }
    Ok(HostTensor { shape, data })
}

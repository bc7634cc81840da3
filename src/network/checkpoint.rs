//! A network's tensors by name: read, made from a seed, translated from other namings, checked against the network.

use std::collections::{BTreeMap, HashMap, HashSet};

use rayon::prelude::*;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::graph::{Graph, Role, Task};
use crate::error::Error;
use crate::layer::{BatchNorm, Weights};
use crate::layer::{Frequency, Path, Spec};

/// A tensor on the host.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HostTensor {
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its elements, contiguous, the last axis varying fastest.
    pub data: Vec<f32>,
}

/// The tensors of a network by name; `docs/networks.md` has the names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checkpoint {
    /// All of them.
    pub tensors: BTreeMap<String, HostTensor>,
}

impl Checkpoint {
    /// Reads a safetensors file of F32, F16, BF16 or F64 tensors, all taken as f32. PyTorch's counters
    /// (`num_batches_tracked`) are left out.
    ///
    /// # Errors
    ///
    /// [`Error::File`] where the bytes are no such file, or a tensor has another type.
    pub fn from_safetensors(bytes: &[u8]) -> Result<Self, Error> {
        check_safetensors(bytes)?;
        let file = SafeTensors::deserialize(bytes).map_err(|error| Error::File { problem: error.to_string() })?;
        let mut tensors = BTreeMap::new();
        for (name, view) in file.tensors() {
            if !is_counter(&name) {
                let data = values(&name, &view)?;
                tensors.insert(name, HostTensor { shape: view.shape().to_vec(), data });
            }
        }
        Ok(Self { tensors })
    }

    /// The bytes of a safetensors file with these tensors, in F32.
    ///
    /// # Errors
    ///
    /// [`Error::File`] where a tensor's elements are not as many as its shape says.
    pub fn to_safetensors(&self) -> Result<Vec<u8>, Error> {
        let problem = |error: safetensors::SafeTensorError| Error::File { problem: error.to_string() };
        let bytes = |tensor: &HostTensor| tensor.data.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
        let data: Vec<Vec<u8>> = self.tensors.values().map(bytes).collect();
        let views = self.tensors.iter().zip(&data).map(|((name, tensor), data)| {
            let view = TensorView::new(Dtype::F32, tensor.shape.clone(), data).map_err(problem)?;
            Ok((name, view))
        });
        let views = views.collect::<Result<Vec<_>, Error>>()?;
        safetensors::serialize(views, None).map_err(problem)
    }

    /// Every tensor that `graph` wants, made from a seed and its name as `docs/networks.md` says.
    pub fn random(graph: &Graph, seed: u64) -> Self {
        let tensors = graph.tensors().into_iter().map(|spec| {
            let value = |v: f64| match spec.role {
                Role::Weight { fan_in } => v * (6.0 / f64::from(fan_in)).sqrt(),
                Role::Bias | Role::Beta | Role::Mean => v / 8.0,
                Role::Gamma { residual: false } => 1.0 + v / 8.0,
                Role::Gamma { residual: true } => 0.25 * (1.0 + v / 8.0),
                Role::Var => 1.0 + v / 2.0,
            };
            let data = random(&spec.name, seed, spec.shape.iter().product(), value);
            (spec.name, HostTensor { shape: spec.shape, data })
        });
        Self { tensors: tensors.collect() }
    }

    /// The elements of a tensor, if it is there.
    pub fn get(&self, name: &str) -> Option<&[f32]> {
        self.tensors.get(name).map(|tensor| tensor.data.as_slice())
    }

    /// This checkpoint with exactly the tensors of `graph`, named as this project names them.
    ///
    /// Names of d-li14's code are translated, and a leading `module.` and counters dropped. Biases of the convolutions
    /// into one output are summed; where the node has no bias but a batch norm, its running mean takes them.
    ///
    /// # Errors
    ///
    /// [`Error::Checkpoint`] with every tensor that is missing, surplus or of another shape.
    pub fn fit(self, graph: &Graph) -> Result<Self, Error> {
        let wanted: BTreeMap<String, Vec<usize>> = graph.tensors().into_iter().map(|t| (t.name, t.shape)).collect();
        let aliases = aliases(graph);
        let mut problems = Vec::new();
        let mut tensors: BTreeMap<String, HostTensor> = BTreeMap::new();
        let mut sources: BTreeMap<String, String> = BTreeMap::new();
        // By the bias that they would be, which the graph may lack.
        let mut summands: BTreeMap<String, Vec<(String, HostTensor)>> = BTreeMap::new();
        for (name, tensor) in self.tensors {
            let bare = name.strip_prefix("module.").filter(|_| !wanted.contains_key(&name)).unwrap_or(&name);
            let target = match aliases.get(bare) {
                _ if wanted.contains_key(bare) => bare,
                Some(Alias::Of(target)) => target,
                Some(Alias::Summand(target)) => {
                    summands.entry(target.clone()).or_default().push((name, tensor));
                    continue;
                }
                None if is_counter(bare) => continue,
                None => {
                    problems.push(format!("{name} is surplus: found {:?}, expected no such tensor", tensor.shape));
                    continue;
                }
            };
            match sources.insert(target.to_string(), name.clone()) {
                Some(other) => problems.push(format!("{name} is surplus: {other} is {target} already")),
                None => drop(tensors.insert(target.into(), tensor)),
            }
        }
        for (target, biases) in summands {
            if tensors.contains_key(&target) {
                problems.extend(biases.iter().map(|(name, _)| format!("{name} is surplus: {target} is there too")));
                continue;
            }
            add_biases(&target, biases, &wanted, &mut tensors, &mut problems);
        }
        let fitted = Self { tensors };
        problems.extend(fitted.problems(&wanted));
        if problems.is_empty() { Ok(fitted) } else { Err(Error::Checkpoint { problems }) }
    }

    /// That every tensor of `graph` is there in its shape, for what reads tensors by name.
    pub(crate) fn check(&self, graph: &Graph) -> Result<(), Error> {
        let wanted = graph.tensors().into_iter().map(|tensor| (tensor.name, tensor.shape)).collect();
        let problems = self.problems(&wanted);
        if problems.is_empty() { Ok(()) } else { Err(Error::Checkpoint { problems }) }
    }

    /// What is missing or misshapen, a line each.
    fn problems(&self, wanted: &BTreeMap<String, Vec<usize>>) -> Vec<String> {
        let problem = |(name, shape): (&String, &Vec<usize>)| match self.tensors.get(name) {
            None => Some(format!("{name} is missing: expected {shape:?}")),
            Some(found) if found.shape != *shape => {
                Some(format!("{name} has another shape: found {:?}, expected {shape:?}", found.shape))
            }
            Some(found) if found.data.len() != shape.iter().product::<usize>() => {
                Some(format!("{name} has {} elements: expected {shape:?}", found.data.len()))
            }
            Some(_) => None,
        };
        wanted.iter().filter_map(problem).collect()
    }

    /// The weights of a conv node, as far as they are there.
    pub(crate) fn conv_weights(&self, node: &str, eps: f32) -> Weights<'_> {
        let get = |name: &str| self.get(&format!("{node}.{name}"));
        Weights {
            w_hh: get("w_hh"),
            w_hl: get("w_hl"),
            w_lh: get("w_lh"),
            w_ll: get("w_ll"),
            bias_h: get("bias_h"),
            bias_l: get("bias_l"),
            norm_h: self.norm(node, Frequency::High, eps),
            norm_l: self.norm(node, Frequency::Low, eps),
        }
    }

    /// The batch norm of one frequency of a node, if it has one.
    pub(crate) fn norm(&self, node: &str, frequency: Frequency, eps: f32) -> Option<BatchNorm<'_>> {
        let get = |name: &str| self.get(&format!("{node}.norm_{}.{name}", letter(frequency)));
        Some(BatchNorm { gamma: get("gamma")?, beta: get("beta")?, mean: get("mean")?, var: get("var")?, eps })
    }
}

/// The input for comparisons with other implementations: `elements` numbers in [-1, 1), from a seed, in NCTHW order.
pub fn random_input(elements: usize, seed: u64) -> Vec<f32> {
    random(super::INPUT, seed, elements, |v| v)
}

/// `value` of as many numbers in [-1, 1), which depend on the name and the seed.
fn random(name: &str, seed: u64, elements: usize, value: impl Fn(f64) -> f64 + Sync) -> Vec<f32> {
    const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
    let fnv1a = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3);
    let start = name.bytes().fold(0xCBF2_9CE4_8422_2325, fnv1a) ^ seed.wrapping_mul(GOLDEN);
    let element = |i: usize| {
        let z = start.wrapping_add((i as u64 + 1).wrapping_mul(GOLDEN));
        let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let z = z ^ (z >> 31);
        value((z >> 40) as f64 / f64::from(1 << 23) - 1.0) as f32
    };
    (0..elements).into_par_iter().with_min_len(1 << 14).map(element).collect()
}

/// Refuses a safetensors file with offsets beyond its end, for programs that read such files themselves: the safetensors
/// crate adds offsets up before it compares them, which overflows on crafted files. [`Checkpoint::from_safetensors`]
/// calls it.
///
/// # Errors
///
/// [`Error::File`] with the name of the tensor.
pub fn check_safetensors(bytes: &[u8]) -> Result<(), Error> {
    let Some((length, rest)) = bytes.split_first_chunk() else { return Ok(()) };
    let header = usize::try_from(u64::from_le_bytes(*length)).ok().and_then(|length| rest.get(..length));
    let Some(header) = header else { return Ok(()) };
    let Ok(serde_json::Value::Object(header)) = serde_json::from_slice(header) else { return Ok(()) };
    for (name, tensor) in &header {
        let ends = tensor["data_offsets"].as_array().into_iter().flatten();
        if ends.filter_map(serde_json::Value::as_u64).any(|end| end > rest.len() as u64) {
            let problem = format!("tensor {name} ends beyond the file, which is truncated or damaged");
            return Err(Error::File { problem });
        }
    }
    Ok(())
}

fn values(name: &str, view: &TensorView) -> Result<Vec<f32>, Error> {
    let data = view.data();
    Ok(match view.dtype() {
        Dtype::F32 => data.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect(),
        Dtype::F64 => data.as_chunks().0.iter().map(|&bytes| f64::from_le_bytes(bytes) as f32).collect(),
        Dtype::F16 => data.as_chunks().0.iter().map(|&bytes| half::f16::from_le_bytes(bytes).to_f32()).collect(),
        Dtype::BF16 => data.as_chunks().0.iter().map(|&bytes| half::bf16::from_le_bytes(bytes).to_f32()).collect(),
        dtype => {
            return Err(Error::File { problem: format!("tensor {name} is {dtype}: must be F32, F16, BF16 or F64") });
        }
    })
}

/// PyTorch counts batches in every batch norm.
fn is_counter(name: &str) -> bool {
    name.rsplit('.').next() == Some("num_batches_tracked")
}

/// What a name of another naming stands for.
enum Alias {
    /// This tensor.
    Of(String),
    /// One of the biases that add up to this tensor.
    Summand(String),
}

/// All that d-li14's naming could call a tensor of `graph`.
fn aliases(graph: &Graph) -> HashMap<String, Alias> {
    const NORM: [(&str, &str); 4] =
        [("weight", "gamma"), ("bias", "beta"), ("running_mean", "mean"), ("running_var", "var")];
    let mut aliases = HashMap::new();
    for node in &graph.nodes {
        let name = &node.name;
        for (theirs, ours) in NORM {
            for f in [Frequency::High, Frequency::Low].map(letter) {
                aliases.insert(format!("{name}.bn_{f}.{theirs}"), Alias::Of(format!("{name}.norm_{f}.{ours}")));
            }
        }
        let Task::Conv { spec, .. } = &node.task else { continue };
        let mut conv = |theirs: &str, path: Path| {
            let (weight, bias) = (path.weight_name(), letter(path.output()));
            aliases.insert(format!("{theirs}.weight"), Alias::Of(format!("{name}.{weight}")));
            aliases.insert(format!("{theirs}.bias"), Alias::Summand(format!("{name}.bias_{bias}")));
        };
        for path in Path::ALL.into_iter().filter(|&path| spec.has(path)) {
            let [from, to] = [path.input(), path.output()].map(letter);
            conv(&format!("{name}.conv.conv_{from}2{to}"), path);
        }
        if is_plain(spec) {
            conv(name, Path::HH);
            conv(&format!("{name}.conv"), Path::HH);
        }
        // Stems are plain convolutions with a batch norm beside them.
        let stem_norm = match name.as_str() {
            "conv1" => "bn1",
            "features.0" => "features.0.1",
            _ => continue,
        };
        if is_plain(spec) {
            if name == "features.0" {
                conv("features.0.0", Path::HH);
            }
            for (theirs, ours) in NORM {
                aliases.insert(format!("{stem_norm}.{theirs}"), Alias::Of(format!("{name}.norm_h.{ours}")));
            }
        }
    }
    // Names of absent frequencies mean nothing.
    let wanted: HashSet<String> = graph.tensors().into_iter().map(|tensor| tensor.name).collect();
    aliases.retain(|_, alias| !matches!(alias, Alias::Of(target) if !wanted.contains(target)));
    aliases
}

fn is_plain(spec: &Spec) -> bool {
    Path::ALL.into_iter().filter(|&path| spec.has(path)).eq([Path::HH])
}

fn letter(frequency: Frequency) -> char {
    match frequency {
        Frequency::High => 'h',
        Frequency::Low => 'l',
    }
}

/// Sums biases into the tensor `target`, or into the running mean of the batch norm behind it: (x + b - mean) is
/// (x - (mean - b)).
fn add_biases(
    target: &str,
    biases: Vec<(String, HostTensor)>,
    wanted: &BTreeMap<String, Vec<usize>>,
    tensors: &mut BTreeMap<String, HostTensor>,
    problems: &mut Vec<String>,
) {
    let mean = match target.rsplit_once(".bias_") {
        Some((node, letter)) => format!("{node}.norm_{letter}.mean"),
        None => return,
    };
    let Some(shape) = wanted.get(target).or(wanted.get(&mean)) else {
        let surplus = |(name, tensor): &(String, HostTensor)| {
            format!("{name} is surplus: found {:?}, but its node has neither a bias nor a batch norm", tensor.shape)
        };
        problems.extend(biases.iter().map(surplus));
        return;
    };
    let mut sum = vec![0.0f64; shape.iter().product()];
    for (name, bias) in &biases {
        if bias.shape != *shape || bias.data.len() != sum.len() {
            problems.push(format!("{name} has another shape: found {:?}, expected {shape:?}", bias.shape));
            continue;
        }
        sum.iter_mut().zip(&bias.data).for_each(|(sum, &b)| *sum += f64::from(b));
    }
    if wanted.contains_key(target) {
        let data = sum.into_iter().map(|sum| sum as f32).collect();
        tensors.insert(target.into(), HostTensor { shape: shape.clone(), data });
    } else if let Some(mean) = tensors.get_mut(&mean) {
        mean.data.iter_mut().zip(sum).for_each(|(mean, sum)| *mean = (f64::from(*mean) - sum) as f32);
    }
}

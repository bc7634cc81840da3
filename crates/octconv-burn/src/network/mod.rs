//! Networks of octconv's descriptions as modules.

mod checkpoint;
mod description;
mod parts;
mod run;

use std::sync::Arc;

use burn::module::{Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor};
use burn::tensor::{Device, Tensor};
use octconv::network::{Checkpoint, INPUT, Network};

pub(crate) use self::checkpoint::loaded;
use self::description::Description;
use self::parts::Part;
use self::run::Observer;
use crate::conv::NotAccelerated;
use crate::maps::OctTensor;

/// Why a network cannot be a module, or a checkpoint not its parameters.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// octconv refuses the description or the checkpoint.
    #[error(transparent)]
    Refused(#[from] octconv::Error),
    /// A node has no module here.
    #[error("node {node}: {what} cannot be a module here: use octconv's own network on the device")]
    Unsupported {
        /// The node.
        node: String,
        /// What it has.
        what: &'static str,
    },
}

/// The value of a node.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "there are few values, and a map is the usual one")]
#[non_exhaustive]
pub enum Value {
    /// A feature map.
    Map(OctTensor),
    /// One vector per sample: `[n, c]`.
    Vector(Tensor<2>),
}

/// A network that octconv describes, such as those of [`zoo`](octconv::network::zoo), as a module: an [`OctConv2d`](crate::OctConv2d)
/// for each convolution, and Burn's modules and operators for all else.
///
/// Its parameters have the names of octconv's tensors, which are the paths in its records, except that a batch norm has
/// `running_mean` and `running_var`, as in Burn. Burn has the matrices of linear layers transposed; conversions take care of it.
///
/// It trains on a device with autodiff. Batch norm then uses and updates statistics as [`BatchNorm`](burn::nn::BatchNorm) does.
/// For inference, [`OctNetwork::folded`] makes each convolution, its batch norm, residual and activation one operation.
#[derive(Clone, Debug)]
pub struct OctNetwork {
    description: Arc<Description>,
    /// The modules of the nodes, with the names that their parameters begin with.
    parts: Vec<(String, Part)>,
}

impl OctNetwork {
    /// A network with random parameters, as Burn's modules initialise them.
    ///
    /// # Errors
    ///
    /// If octconv refuses the description, or if a node has a time axis, is an attention or an upsampling, or has a batch norm while
    /// the network's `norm_eps` is 0.
    pub fn new(network: &Network, device: &Device) -> Result<Self, NetworkError> {
        let description = Description::new(network)?;
        let parts = parts::build(&description, device);
        Ok(Self { description: Arc::new(description), parts })
    }

    /// A network with the parameters of a checkpoint, which may be in any dialect that octconv knows.
    ///
    /// # Errors
    ///
    /// Those of [`OctNetwork::new`], and if the checkpoint does not fit the network.
    pub fn from_checkpoint(network: &Network, checkpoint: Checkpoint, device: &Device) -> Result<Self, NetworkError> {
        let new = Self::new(network, device)?;
        let checkpoint = checkpoint.fit(&new.description.graph)?;
        Ok(new.with_tensors(&checkpoint))
    }

    /// As [`OctNetwork::from_checkpoint`], from the bytes of a safetensors file.
    ///
    /// # Errors
    ///
    /// Those of [`OctNetwork::from_checkpoint`], and if the bytes are no such file.
    pub fn from_safetensors(network: &Network, bytes: &[u8], device: &Device) -> Result<Self, NetworkError> {
        Self::from_checkpoint(network, Checkpoint::from_safetensors(bytes)?, device)
    }

    /// The description.
    pub fn network(&self) -> &Network {
        self.description.graph.network()
    }

    /// Computes the answer, a vector for each sample: `[n, c]`.
    ///
    /// # Panics
    ///
    /// Those of [`OctNetwork::forward_to`], and if the answer of the network is a map.
    pub fn forward(&self, input: Tensor<4>) -> Tensor<2> {
        match self.forward_to(input, &self.network().output) {
            Value::Vector(answer) => answer,
            Value::Map(_) => panic!("OctNetwork: the answer is a map: call forward_to"),
        }
    }

    /// Computes the value of a node, such as the scores before a softmax, which a loss is made of.
    ///
    /// # Panics
    ///
    /// If there is no such node, or octconv refuses the shape of the input: one with no samples, with another number of channels, or
    /// too small or too large for a node. Also if the input is on another device than the parameters, or has another type; and if
    /// memory or the device fails, as [`OctConv2d::forward`](crate::OctConv2d::forward) says.
    pub fn forward_to(&self, input: Tensor<4>, node: &str) -> Value {
        self.observed(input, node, &mut |_, _, _, _| {})
    }

    /// Whether a forward pass of this input would run octconv's kernels: the name of each convolution's node with the variant, or why
    /// Burn's operators would run. It computes the answer, because a convolution's input is the value of other nodes.
    ///
    /// # Panics
    ///
    /// Those of [`OctNetwork::forward_to`], for the network's answer.
    pub fn acceleration(&self, input: &Tensor<4>) -> Vec<(String, Result<String, NotAccelerated>)> {
        let mut found = Vec::new();
        self.observed(input.clone(), &self.network().output, &mut |name, conv, input, residual| {
            found.push((name.to_owned(), conv.acceleration_with(input, residual)));
        });
        found
    }

    fn observed(&self, input: Tensor<4>, node: &str, observe: &mut Observer<'_>) -> Value {
        let index = self.network().nodes.iter().position(|other| other.name == node);
        let index = index.filter(|_| node != INPUT);
        self.run(input, index.unwrap_or_else(|| panic!("OctNetwork: there is no node {node}")), observe)
    }
}

/// Runs the same method on every part, with the part's name around it.
macro_rules! each_part {
    ($self:ident, $part:ident => $result:expr) => {{
        let Self { description, parts } = $self;
        let parts = parts.into_iter().map(|(name, $part)| (name, $result)).collect();
        Self { description, parts }
    }};
}

/// What Burn's visitors and mappers are told about each part.
const CONTAINER: &str = "Struct:OctNetwork";

impl Module for OctNetwork {
    fn collect_devices(&self, devices: Devices) -> Devices {
        self.parts.iter().fold(devices, |devices, (_, part)| part.collect_devices(devices))
    }

    fn fork(self, device: &Device) -> Self {
        each_part!(self, part => part.fork(device))
    }

    fn to_device(self, device: &Device) -> Self {
        each_part!(self, part => part.to_device(device))
    }

    fn train(self) -> Self {
        each_part!(self, part => part.train())
    }

    fn valid(&self) -> Self {
        let parts = self.parts.iter().map(|(name, part)| (name.clone(), part.valid())).collect();
        Self { description: self.description.clone(), parts }
    }

    fn materialize(self) -> Self {
        each_part!(self, part => part.materialize())
    }

    fn visit<Visitor: ModuleVisitor>(&self, visitor: &mut Visitor) {
        for (name, part) in &self.parts {
            visitor.enter_module(name, CONTAINER);
            part.visit(visitor);
            visitor.exit_module(name, CONTAINER);
        }
    }

    fn map<Mapper: ModuleMapper>(self, mapper: &mut Mapper) -> Self {
        let Self { description, parts } = self;
        let mapped = |(name, part): (String, Part)| {
            mapper.enter_module(&name, CONTAINER);
            let part = part.map(mapper);
            mapper.exit_module(&name, CONTAINER);
            (name, part)
        };
        Self { description, parts: parts.into_iter().map(mapped).collect() }
    }
}

impl ModuleDisplayDefault for OctNetwork {
    fn content(&self, content: Content) -> Option<Content> {
        let content = content.set_top_level_type("OctNetwork").add("name", &self.network().name);
        content.add("nodes", &self.network().nodes.len()).optional()
    }
}

impl ModuleDisplay for OctNetwork {}

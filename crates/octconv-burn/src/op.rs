//! The operation that runs octconv's kernels on Burn's tensors, in Burn's memory and on its queue.
//!
//! It is a backend extension: with Burn's operator fusion it runs when the fused stream comes to it, and without it at once.

use std::fmt;
use std::sync::{Arc, Mutex, Weak};

use burn::backend::{Backend, Dispatch, ExtensionType, backend_extension, tensor::FloatTensor};
use burn::tensor::{DType, Shape, Tensor};
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use octconv::{Dims, Layer, PackedWeights, Plan, TensorBinding, Tensors};

use crate::accelerator::{Accelerator, Place};
use crate::maps::OctTensor;

/// A tensor that may be absent.
#[derive(ExtensionType)]
#[extension_type(fusion: cfg(feature = "fusion"))]
pub enum Part<B: Backend> {
    /// It is absent.
    Absent,
    /// It is there.
    Present(FloatTensor<B>),
}

/// Both frequencies of a map.
#[derive(ExtensionType)]
#[extension_type(fusion: cfg(feature = "fusion"))]
pub struct Maps<B: Backend> {
    /// The high channels.
    #[extension_type]
    pub high: Part<B>,
    /// The low channels.
    #[extension_type]
    pub low: Part<B>,
}

/// The operations of this crate.
#[backend_extension(Cube, Fusion: cfg(feature = "fusion"))]
pub trait OctaveOps: Backend {
    /// An octave layer.
    #[fusion(meta = outputs)]
    fn octave_layer(
        #[extension_type] input: Maps<Self>,
        #[extension_type] residual: Maps<Self>,
        layer: Prepared,
    ) -> Maps<Self>;
}

/// The shapes of the outputs, which fusion knows before the layer has run.
#[cfg(feature = "fusion")]
fn outputs(_input: &MapsMetadata, _residual: &MapsMetadata, layer: &Prepared) -> MapsMetadata {
    use burn::backend::fusion::custom::TensorSpec;
    let part = |dims: Option<Dims>| match dims {
        Some(dims) => PartMetadata::Present(TensorSpec::new(shape(dims), layer.0.dtype)),
        None => PartMetadata::Absent,
    };
    let shapes = layer.0.plan.shapes();
    MapsMetadata { high: part(shapes.y_h), low: part(shapes.y_l) }
}

impl OctaveOps for CubeBackend {
    fn octave_layer(input: Maps<Self>, residual: Maps<Self>, layer: Prepared) -> Maps<Self> {
        layer.run([input.high, input.low, residual.high, residual.low].map(Part::tensor))
    }
}

impl Part<CubeBackend> {
    fn tensor(self) -> Option<CubeTensor> {
        match self {
            Self::Absent => None,
            Self::Present(tensor) => Some(tensor),
        }
    }
}

/// Runs a layer on its input. `residual` is there if the layer adds one.
pub(crate) fn run(layer: &Prepared, input: OctTensor, residual: Option<OctTensor>) -> [Option<Tensor<4>>; 2] {
    let into_part = |part: Option<Tensor<4>>| part.map_or(Part::Absent, |part| Part::Present(part.into_dispatch()));
    let into_maps = |map: Option<OctTensor>| {
        let (high, low) = map.map_or((None, None), OctTensor::into_parts);
        Maps::<Dispatch> { high: into_part(high), low: into_part(low) }
    };
    let output = Dispatch::octave_layer(into_maps(Some(input)), into_maps(residual), layer.clone());
    [output.high, output.low].map(|part| match part {
        Part::Absent => None,
        Part::Present(tensor) => Some(Tensor::from_dispatch(tensor)),
    })
}

/// A layer with packed weights at a size, ready to run.
#[derive(Clone)]
pub struct Prepared(Arc<Inner>);

struct Inner {
    accelerator: Arc<Accelerator>,
    plan: Plan,
    weights: Arc<PackedWeights>,
    dtype: DType,
    last: LastBound,
}

/// The binding of a module's last pass, at whatever size. There is one alone, because it holds buffers of Burn's memory pool,
/// which Burn could free otherwise.
#[derive(Clone, Default)]
pub(crate) struct LastBound(Arc<Mutex<Option<Bound>>>);

/// A layer, bound to tensors in these places. The buffers are held, so that no other buffer has the same identity.
struct Bound {
    of: Weak<Inner>,
    places: Places,
    layer: Layer,
}

/// Buffer and offset of each tensor, by its name.
type Places = Vec<(&'static str, wgpu::Buffer, u64)>;

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Prepared({} at {:?})", self.0.plan.variant(), self.0.plan.size())
    }
}

impl Prepared {
    pub(crate) fn new(
        accelerator: Arc<Accelerator>,
        plan: Plan,
        weights: Arc<PackedWeights>,
        dtype: DType,
        last: LastBound,
    ) -> Self {
        Self(Arc::new(Inner { accelerator, plan, weights, dtype, last }))
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.0.plan
    }

    pub(crate) fn weights(&self) -> &Arc<PackedWeights> {
        &self.0.weights
    }
}

/// A tensor of Burn, and where it lies.
struct Placed {
    name: &'static str,
    tensor: CubeTensor,
    place: Place,
    bytes: u64,
}

impl Placed {
    fn new(name: &'static str, tensor: CubeTensor, bytes: u64) -> Self {
        let place = Place::of(&tensor.client, tensor.handle.clone())
            .unwrap_or_else(|error| panic!("octave layer: Burn has no memory for {name}: {error}"));
        Self { name, tensor, place, bytes }
    }

    /// A copy in memory of its own.
    fn copied(self) -> Self {
        Self::new(self.name, self.tensor.copy(), self.bytes)
    }

    fn overlaps(&self, other: &Self) -> bool {
        let end = |placed: &Self| placed.place.offset + placed.bytes;
        self.place.buffer == other.place.buffer && self.place.offset < end(other) && other.place.offset < end(self)
    }
}

impl Prepared {
    /// `reads` are X_H, X_L, and the residuals of Y_H and Y_L.
    fn run(&self, reads: [Option<CubeTensor>; 4]) -> Maps<CubeBackend> {
        let first = reads.iter().flatten().next().expect("a layer reads a map");
        let (client, device) = (first.client.clone(), first.device.clone());
        let mut reads = ["x_h", "x_l", "residual_h", "residual_l"].into_iter().zip(reads).collect::<Vec<_>>();

        // What is read first: it is copied before the outputs take memory.
        let mut placed: Vec<Placed> = Vec::new();
        let wanted = self.0.plan.tensors();
        for tensor in wanted.iter().filter(|tensor| !tensor.written) {
            let read = reads.iter_mut().find(|(name, _)| *name == tensor.name);
            let read = read.and_then(|(_, read)| read.take()).expect("the caller has checked the inputs");
            placed.push(self.readable(tensor.name, read, tensor.bytes, &placed));
        }
        for tensor in wanted.iter().filter(|tensor| tensor.written) {
            let (client, device) = (client.clone(), device.clone());
            let output = empty_device_contiguous_dtype(client, device, shape(tensor.dims), self.0.dtype);
            placed.push(Placed::new(tensor.name, output, tensor.bytes));
        }
        let scratch = (self.0.plan.scratch_bytes() > 0).then(|| {
            let handle = client.empty(self.0.plan.scratch_bytes() as usize);
            Place::of(&client, handle).unwrap_or_else(|error| panic!("octave layer: Burn has no scratch: {error}"))
        });
        self.submit(&placed, scratch.as_ref());

        let mut output = |name: &str| match placed.iter().position(|placed| placed.name == name) {
            Some(index) => Part::Present(placed.swap_remove(index).tensor),
            None => Part::Absent,
        };
        Maps { high: output("y_h"), low: output("y_l") }
    }

    /// The tensor, contiguous at a place that the device can bind, apart from `others`. It is copied only if it is not.
    fn readable(&self, name: &'static str, tensor: CubeTensor, bytes: u64, others: &[Placed]) -> Placed {
        let placed = Placed::new(name, into_contiguous(tensor), bytes);
        let alignment = self.0.accelerator.engine.facts().limits.min_storage_buffer_offset_alignment;
        let Place { buffer, offset, .. } = &placed.place;
        let fits = offset.is_multiple_of(u64::from(alignment)) && offset + bytes <= buffer.size();
        if fits && !others.iter().any(|other| other.overlaps(&placed)) { placed } else { placed.copied() }
    }

    /// Records and submits the layer, behind everything that Burn has submitted.
    fn submit(&self, placed: &[Placed], scratch: Option<&Place>) {
        let tensors = placed.iter().map(|Placed { name, place, .. }| (*name, place));
        let places: Places = tensors
            .chain(scratch.map(|place| (SCRATCH, place)))
            .map(|(name, place)| (name, place.buffer.clone(), place.offset))
            .collect();
        let layer = self.bound(places);
        let device = self.0.accelerator.engine.device();
        let mut encoder =
            device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("octave layer") });
        layer.record(&mut encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default()));
        self.0.accelerator.queue.submit([encoder.finish()]);
    }

    /// The layer bound to these places: that of the last pass, if it is the same.
    fn bound(&self, places: Places) -> Layer {
        let mut last = self.0.last.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let is_same = |bound: &&Bound| bound.of.as_ptr() == Arc::as_ptr(&self.0) && bound.places == places;
        if let Some(bound) = last.as_ref().filter(is_same) {
            return bound.layer.clone();
        }
        let layer = self.bind(&places).unwrap_or_else(|error| panic!("octave layer: {error}"));
        *last = Some(Bound { of: Arc::downgrade(&self.0), places, layer: layer.clone() });
        layer
    }

    fn bind(&self, places: &Places) -> Result<Layer, octconv::Error> {
        let mut tensors = Tensors::default();
        for (name, buffer, offset) in places {
            let binding = TensorBinding { buffer, offset: *offset };
            match *name {
                SCRATCH => tensors.scratch = Some(binding),
                name => tensors.set(name, binding)?,
            }
        }
        self.0.accelerator.engine.bind(&self.0.plan, &self.0.weights, &tensors)
    }
}

/// The name of the scratch among the places.
const SCRATCH: &str = "scratch";

fn shape(dims: Dims) -> Shape {
    Shape::from([dims.n, dims.c, dims.h, dims.w].map(|axis| axis as usize))
}

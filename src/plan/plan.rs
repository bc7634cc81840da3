//! The choice of kernels: a pure function from specification, size, options and device facts to a [`Plan`].
//!
//! Nothing here touches a device, so that a plan can be made, printed and compared anywhere.

use super::interface::interface;
use super::layer::LayerOnDevice;
use super::limits::{check_limits, scratch_bytes};
use super::options::Options;
use super::strategies::{self, Planner};
use super::variant::{Strategy, Variant};
use crate::device::DeviceFacts;
use crate::dims::{Dims, InputSize};
use crate::error::Error;
use crate::kernels::Step;
use crate::kernels::job::TensorId;
use crate::kernels::packing::Packing;
#[cfg(feature = "network")]
use crate::layer::{Frequency, Path};
use crate::layer::{Shapes, Spec};

/// A tensor that a caller binds for a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlanTensor {
    /// `x_h`, `x_l`, `x_p`, `residual_h`, `residual_l`, `y_h`, `y_l` or `y_p`.
    pub name: &'static str,
    /// Its shape.
    pub dims: Dims,
    /// Whether the layer writes it; otherwise it reads it.
    pub written: bool,
}

/// A layer at a size, cut into dispatches for a device. Make one with [`Plan::new`].
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub(crate) spec: Spec,
    pub(crate) size: InputSize,
    pub(crate) options: Options,
    pub(crate) shapes: Shapes,
    pub(crate) variant: Variant,
    pub(crate) steps: Vec<Step>,
    pub(crate) scratch: Vec<Dims>,
    pub(crate) tuned: bool,
}

impl Plan {
    /// Plans a layer: the variant that `options` forces, or else the first of [`Plan::candidates`].
    pub fn new(spec: &Spec, size: InputSize, options: &Options, facts: &DeviceFacts) -> Result<Self, Error> {
        let layer = LayerOnDevice::new(spec, size, options, facts)?;
        let wanted = |variant: &Variant| match options.variant {
            None => true,
            Some(forced) => {
                variant.untiled() == forced.untiled() && forced.tile.is_none_or(|t| Some(t) == variant.tile)
            }
        };
        let mut best: Option<(f64, Self)> = None;
        let mut first_error = None;
        for variant in Variant::all().flat_map(Variant::tiled).filter(wanted) {
            match Self::of_variant(&layer, variant) {
                Ok(plan) => {
                    let cost = plan.rank(facts);
                    if best.as_ref().is_none_or(|&(least, _)| cost < least) {
                        best = Some((cost, plan));
                    }
                }
                // What is in the way of a variant that applies says more than why another does not apply.
                Err(error) if matches!(first_error, None | Some(Error::Variant { .. })) => first_error = Some(error),
                Err(_) => {}
            }
        }
        let none = || first_error.unwrap_or_else(|| Error::argument("variant", "none", "at least one must be legal"));
        best.map(|(_, plan)| plan).ok_or_else(none)
    }

    /// Every legal plan of a layer, the best by the planner's estimate first. No two plans of a variant have the same
    /// dispatches. Plans of the unfused strategy come last: they are there to be compared with.
    pub fn candidates(spec: &Spec, size: InputSize, options: &Options, facts: &DeviceFacts) -> Vec<Self> {
        let options = Options { variant: None, ..*options };
        let Ok(layer) = LayerOnDevice::new(spec, size, &options, facts) else { return Vec::new() };
        let plan = |variant| Self::of_variant(&layer, variant).ok();
        let mut plans: Vec<Self> = Vec::new();
        for plan in Variant::all().flat_map(Variant::tiled).filter_map(plan) {
            // Narrow outputs make one tile of several.
            let same = |other: &Self| other.variant.untiled() == plan.variant.untiled() && other.steps == plan.steps;
            if !plans.iter().any(same) {
                plans.push(plan);
            }
        }
        plans.sort_by(|a, b| a.rank(facts).total_cmp(&b.rank(facts)));
        plans
    }

    /// The plan of a variant with its tile, or why it cannot run.
    pub(crate) fn with_variant(
        spec: &Spec,
        size: InputSize,
        options: &Options,
        facts: &DeviceFacts,
        variant: Variant,
    ) -> Result<Self, Error> {
        Self::of_variant(&LayerOnDevice::new(spec, size, options, facts)?, variant)
    }

    fn of_variant(layer: &LayerOnDevice, variant: Variant) -> Result<Self, Error> {
        let mut planner = Planner { layer, variant, scratch: Vec::new() };
        let steps = strategies::steps(&mut planner)?;
        let scratch = planner.scratch;
        check_limits(layer, variant, &steps, &scratch)?;
        let LayerOnDevice { size, shapes, .. } = *layer;
        let (spec, options) = (layer.spec.clone(), *layer.options);
        Ok(Self { spec, size, options, shapes, variant, steps, scratch, tuned: false })
    }

    /// The dispatch for the rows of Y_H from `first` on, as many as `y` has, into `y`. Only of a plain convolution in
    /// one dispatch of a family that makes bands, and without a residual or slices.
    #[cfg(feature = "network")]
    pub(crate) fn band(&self, first: u32, y: Dims, facts: &DeviceFacts) -> Result<Step, Error> {
        let (spec, options) = (&self.spec, &self.options);
        let layer = LayerOnDevice::new(spec, self.size, options, facts)?;
        let planner = Planner { layer: &layer, variant: self.variant, scratch: Vec::new() };
        let plain = [Path::HL, Path::LH, Path::LL].into_iter().all(|path| !spec.has(path));
        let whole = options.high_slice.is_none() && !options.pooled_output && !spec.has_residual(Frequency::High);
        if !(plain && whole && self.makes_bands()) {
            return Err(planner.refuse("only a plain convolution in one dispatch is made in bands"));
        }
        let mut job = planner.job(None);
        if let Some(high) = &mut job.high {
            high.y.dims = y;
            high.first_row = first;
        }
        planner.convolve(&job)
    }

    /// Whether the plan's kernel can make a band of rows.
    #[cfg(feature = "network")]
    pub(crate) fn makes_bands(&self) -> bool {
        self.variant.strategy == Strategy::Fused && self.variant.family.kernels().makes_bands()
    }

    /// Microseconds that the planner expects the layer to take on a nominal device of the kind that `facts` tell:
    /// good for comparing plans, no prediction of a time.
    pub fn estimate(&self, facts: &DeviceFacts) -> f64 {
        self.steps.iter().map(|step| step.work.estimate(facts)).sum()
    }

    /// By what candidates are sorted.
    fn rank(&self, facts: &DeviceFacts) -> f64 {
        // Never the planner's choice, whatever it estimates: what fusing is measured against.
        let handicap = if self.variant.strategy == Strategy::Unfused { 1e6 } else { 0.0 };
        self.estimate(facts) + handicap
    }

    /// The specification.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// The size it was planned for.
    pub fn size(&self) -> InputSize {
        self.size
    }

    /// The options it was planned with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The shapes of all tensors.
    pub fn shapes(&self) -> &Shapes {
        &self.shapes
    }

    /// The variant it runs.
    pub fn variant(&self) -> Variant {
        self.variant
    }

    /// Whether the variant was measured to be the fastest, and not estimated: see [`Choices`](crate::Choices).
    pub fn is_tuned(&self) -> bool {
        self.tuned
    }

    /// Number of dispatches.
    pub fn dispatches(&self) -> usize {
        self.steps.len()
    }

    /// The kernels in the order of their dispatches, with their tiles.
    pub fn kernels(&self) -> Vec<String> {
        self.steps.iter().map(|step| step.kernel.name()).collect()
    }

    /// The most products that a kernel adds up in f16.
    #[cfg(feature = "context")]
    pub(crate) fn f16_terms(&self) -> u32 {
        self.steps.iter().map(|step| step.f16_terms).max().unwrap_or(0)
    }

    /// The WGSL sources in the order of their dispatches, as they go to the device.
    pub fn sources(&self) -> Vec<String> {
        self.steps.iter().map(|step| step.kernel.source()).collect()
    }

    /// Bytes of intermediate maps, 0 for a fused layer.
    pub fn scratch_bytes(&self) -> u64 {
        scratch_bytes(&self.scratch, self.options.precision.activations.bytes())
    }

    /// The tensors that the caller binds, those of [`Tensors`](crate::Tensors) that are not `None`.
    pub fn tensors(&self) -> Vec<PlanTensor> {
        let tensor = |(id, dims, written): (TensorId, Dims, bool)| PlanTensor { name: id.name(), dims, written };
        self.interface().into_iter().map(tensor).collect()
    }

    /// The tensors that the caller binds: id, shape, and whether the layer writes it.
    pub(crate) fn interface(&self) -> Vec<(TensorId, Dims, bool)> {
        interface(&self.spec, &self.shapes, &self.options)
    }

    /// The buffers of packed weights and biases, one for each dispatch that reads any.
    pub(crate) fn packings(&self) -> Vec<&Packing> {
        self.steps.iter().filter_map(|step| step.packing.as_ref()).collect()
    }
}

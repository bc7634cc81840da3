//! The choice of kernels for a layer, and what a plan says about itself.
//!
//! Nothing here touches a device, so that a plan can be made, printed and compared anywhere.

use std::ops::Range;

use super::interface::interface;
use super::layer::LayerOnDevice;
use super::limits::check_limits;
use super::options::Options;
use super::places::{bound_bytes, end_of, one_after_the_other, scratch_places};
use super::strategies::{self, Planner};
use super::tuning::Tuning;
use super::variant::{Strategy, Variant};
use crate::device::{Abilities, DeviceFacts};
use crate::dims::{Dims, InputSize};
use crate::error::Error;
use crate::kernels::Step;
use crate::kernels::job::TensorId;
use crate::kernels::packing::Packing;
#[cfg(feature = "network")]
use crate::layer::{Frequency, Path};
use crate::layer::{Shapes, Spec, Weights};
use crate::memory::with_room;
use crate::precision::Dtype;

/// A tensor that a caller binds for a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlanTensor {
    /// `x_h`, `x_l`, `x_p`, `residual_h`, `residual_l`, `y_h`, `y_l` or `y_p`.
    pub name: &'static str,
    /// Its shape.
    pub dims: Dims,
    /// The type of its elements.
    pub dtype: Dtype,
    /// The bytes that it takes, a multiple of 4: an odd number of f16 elements takes two more than these have.
    pub bytes: u64,
    /// Whether the layer writes it. If not, it reads it.
    pub written: bool,
}

/// A strategy with a family, as [`Plan::alternatives`] judges it for a layer.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Alternative {
    /// The strategy and the family, without a tile.
    pub variant: Variant,
    /// The estimate of its best tile in microseconds, or why it cannot run.
    pub estimate: Result<f64, Error>,
}

/// A layer at a size, cut into dispatches for a device. Make one with [`Engine::plan`](crate::Engine::plan), or without
/// a device with [`Plan::new`].
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub(crate) spec: Spec,
    pub(crate) size: InputSize,
    pub(crate) options: Options,
    pub(crate) shapes: Shapes,
    pub(crate) variant: Variant,
    pub(crate) steps: Vec<Step>,
    pub(crate) scratch: Vec<Dims>,
    pub(crate) tuning: Tuning,
    /// Those of the device that it was planned for that matter to it.
    pub(crate) abilities: Abilities,
}

impl Plan {
    /// Plans a layer: with the variant that `options` force, or else with the best by the planner's estimate.
    ///
    /// # Errors
    ///
    /// Those of [`Spec::shapes`]; [`Error::Argument`] and [`Error::Feature`] for options that do not fit the layer or
    /// the device; [`Error::Limit`] and [`Error::Variant`] if no variant can run.
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
                // Why a suitable variant fails says more than why another is unsuitable.
                Err(error) if matches!(first_error, None | Some(Error::Variant { .. })) => first_error = Some(error),
                Err(_) => {}
            }
        }
        let none = || first_error.unwrap_or_else(|| Error::argument("variant", "none", "at least one must be legal"));
        best.map(|(_, plan)| plan).ok_or_else(none)
    }

    /// Every legal plan of a layer, the best by the planner's estimate first. Ignores the variant of `options`.
    ///
    /// Plans of the same strategy and family differ in their dispatches. Plans of the unfused strategy come last,
    /// because they are only there for comparisons. Empty if nothing can run the layer.
    pub fn candidates(spec: &Spec, size: InputSize, options: &Options, facts: &DeviceFacts) -> Vec<Self> {
        let options = Options { variant: None, ..*options };
        let Ok(layer) = LayerOnDevice::new(spec, size, &options, facts) else { return Vec::new() };
        let plan = |variant| Self::of_variant(&layer, variant).ok();
        let mut plans: Vec<Self> = Vec::new();
        for plan in Variant::all().flat_map(Variant::tiled).filter_map(plan) {
            // For narrow outputs, several tiles are the same kernel.
            let same = |other: &Self| other.variant.untiled() == plan.variant.untiled() && other.steps == plan.steps;
            if !plans.iter().any(same) {
                plans.push(plan);
            }
        }
        plans.sort_by(|a, b| a.rank(facts).total_cmp(&b.rank(facts)));
        plans
    }

    /// Every strategy with every family, and what speaks for or against it. The best is first, and what cannot run is last.
    /// So it says why a layer has the kernels that it has, and which others want a feature that the device was opened
    /// without.
    ///
    /// # Errors
    ///
    /// Those of [`Spec::shapes`], and [`Error::Argument`] and [`Error::Feature`] for options that do not fit the layer or the
    /// device.
    pub fn alternatives(
        spec: &Spec,
        size: InputSize,
        options: &Options,
        facts: &DeviceFacts,
    ) -> Result<Vec<Alternative>, Error> {
        let options = Options { variant: None, ..*options };
        let layer = LayerOnDevice::new(spec, size, &options, facts)?;
        let judged = Variant::all().filter_map(|variant| {
            let plans: Vec<_> = variant.tiled().map(|tiled| Self::of_variant(&layer, tiled)).collect();
            let estimates = plans.iter().flatten().map(|plan| plan.estimate(facts));
            let estimate = match (estimates.min_by(f64::total_cmp), plans.into_iter().find_map(Result::err)) {
                (Some(least), _) => Ok(least),
                (None, why) => Err(why?),
            };
            Some(Alternative { variant, estimate })
        });
        let mut judged: Vec<_> = judged.collect();
        let cost = |of: &Alternative| of.estimate.as_ref().map_or(f64::INFINITY, |&cost| cost);
        judged.sort_by(|a, b| cost(a).total_cmp(&cost(b)));
        Ok(judged)
    }

    /// The plan of a variant that has a tile, or why it cannot run.
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
        let tuning = if options.variant.is_some() { Tuning::Forced } else { Tuning::UnknownDevice };
        let abilities = layer.facts.abilities().for_types(options.precision);
        Ok(Self { spec, size, options, shapes, variant, steps, scratch, tuning, abilities })
    }

    /// The dispatch that makes a band of Y_H: as many rows as `y` has, from row `first` on, into a tensor of shape `y`.
    /// Only for a plain convolution in one dispatch, without residual and slices, of a family that makes bands.
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

    /// Microseconds that the planner expects the layer to take on a device with these facts, among them its
    /// [`DeviceFacts::rates`]. Use it to compare plans, not to predict times.
    pub fn estimate(&self, facts: &DeviceFacts) -> f64 {
        self.steps.iter().map(|step| step.work.estimate(facts)).sum()
    }

    /// The key by which candidates are sorted.
    fn rank(&self, facts: &DeviceFacts) -> f64 {
        // The unfused strategy is only for comparisons, so it is never the planner's choice if there is another.
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

    /// Whether the variant was chosen because it was measured to be the fastest. If not, it was estimated or forced.
    pub fn is_tuned(&self) -> bool {
        self.tuning == Tuning::Used
    }

    /// Whether the variant was chosen because it was measured to be the fastest, or why not.
    pub fn tuning(&self) -> Tuning {
        self.tuning
    }

    /// Number of dispatches.
    pub fn dispatches(&self) -> usize {
        self.steps.len()
    }

    /// The names of the kernels in the order of their dispatches, with the tiles that they have for this layer.
    pub fn kernels(&self) -> Vec<String> {
        self.steps.iter().map(|step| step.kernel.name()).collect()
    }

    /// The workgroups of each dispatch, in order, in x and y.
    pub fn workgroups(&self) -> Vec<[u32; 2]> {
        self.steps.iter().map(|step| [step.grid.x, step.grid.y]).collect()
    }

    /// The most products of one sum in f16, over all kernels. 0 if all sums are f32.
    #[cfg(feature = "context")]
    pub(crate) fn f16_terms(&self) -> u32 {
        self.steps.iter().map(|step| step.f16_terms).max().unwrap_or(0)
    }

    /// Whether a dispatch binds the tensor. A kernel that pools X_H itself does not bind pool(X_H), even if it is given.
    #[cfg(feature = "verify")]
    pub(crate) fn binds(&self, id: TensorId) -> bool {
        self.steps.iter().any(|step| step.tensors.contains(&id))
    }

    /// The WGSL sources in the order of their dispatches. What goes to a device may differ in how it names and binds the
    /// same things: Direct3D gets no aliases, and tensors that share a buffer with what is written are bound as written.
    pub fn sources(&self) -> Vec<String> {
        self.steps.iter().map(|step| step.kernel.source()).collect()
    }

    /// Bytes of scratch: what the plan's dispatches hand to each other. 0 for the fused strategy.
    pub fn scratch_bytes(&self) -> u64 {
        end_of(&self.scratch_places())
    }

    /// The bytes of each map of scratch.
    pub(crate) fn scratch_places(&self) -> Vec<Range<u64>> {
        scratch_places(&self.scratch, self.options.precision.activations.bytes())
    }

    /// The contents of the buffer of weights: batch norm is folded into them, and they are laid out as the plan's kernels
    /// read them. Put the bytes on the device, and give their place to
    /// [`Engine::place_weights`](crate::Engine::place_weights). [`Engine::pack`](crate::Engine::pack) does all of that.
    ///
    /// # Errors
    ///
    /// [`Error::Presence`] or [`Error::Length`] for weights that do not fit the layer, [`Error::Argument`] for a batch
    /// norm's variance that is not positive and for a folded weight that its type cannot hold, [`Error::OutOfMemory`].
    pub fn pack(&self, weights: &Weights) -> Result<Vec<u8>, Error> {
        weights.validate(&self.spec)?;
        let mut bytes = with_room(self.weights_bytes(), "packing weights")?;
        for (packing, place) in self.packings().into_iter().zip(self.weights_places()) {
            bytes.resize(place.start as usize, 0);
            bytes.extend(packing.pack(&self.spec, weights)?);
            bytes.resize(place.end as usize, 0);
        }
        Ok(bytes)
    }

    /// Bytes of [`Plan::pack`].
    pub fn weights_bytes(&self) -> u64 {
        end_of(&self.weights_places())
    }

    /// The bytes of the weights of each dispatch that reads any.
    pub(crate) fn weights_places(&self) -> Vec<Range<u64>> {
        let bytes = |packing: &Packing| packing.offsets(&self.spec).bytes.next_multiple_of(4);
        one_after_the_other(self.packings().into_iter().map(bytes))
    }

    /// Bytes of the uniform buffer that [`Engine::bind`](crate::Engine::bind) makes.
    pub fn uniform_bytes(&self) -> u64 {
        end_of(&one_after_the_other(self.steps.iter().map(|step| step.shape.len() as u64)))
    }

    /// The tensors that the caller binds: exactly these of [`Tensors`](crate::Tensors) must be given.
    pub fn tensors(&self) -> Vec<PlanTensor> {
        let dtype = self.options.precision.activations;
        let tensor = |(id, dims, written): (TensorId, Dims, bool)| PlanTensor {
            name: id.name(),
            dims,
            dtype,
            bytes: self.tensor_bytes(dims),
            written,
        };
        self.interface().into_iter().map(tensor).collect()
    }

    /// Bytes that a tensor of this shape binds: a multiple of 4.
    pub(crate) fn tensor_bytes(&self, dims: Dims) -> u64 {
        bound_bytes(dims, self.options.precision.activations.bytes())
    }

    /// The tensors that the caller binds: id, shape, and whether the layer writes it.
    pub(crate) fn interface(&self) -> Vec<(TensorId, Dims, bool)> {
        interface(&self.spec, &self.shapes, &self.options)
    }

    /// The packings of weights and biases: one for each dispatch that reads any, in order.
    pub(crate) fn packings(&self) -> Vec<&Packing> {
        self.steps.iter().filter_map(|step| step.packing.as_ref()).collect()
    }
}

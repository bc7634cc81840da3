//! Runs a case on the device and on the reference, and compares every element.

use super::case::{Case, Outcome};
use super::data::{Data, guarded};
use super::values::LARGEST_F16;
use crate::context::{Context, decode};
#[cfg(feature = "export")]
use crate::device::DeviceFacts;
use crate::dims::Dims;
use crate::engine::{TensorBinding, Tensors};
use crate::error::Error;
use crate::error_bounds::Bounds;
#[cfg(feature = "export")]
use crate::export::{Bundle, BundleOptions};
use crate::kernels::job::{Slice, TensorId};
use crate::layer::Frequency;
use crate::plan::Plan;
use crate::precision::Dtype;
use crate::reference::{self, Inputs, Outputs, Tensor};
use crate::winograd::Transform;

impl Case {
    /// Runs the case on the device and on the reference, and compares them.
    ///
    /// # Errors
    ///
    /// If the library or the device refuses the case. A wrong value is no error but [`Outcome::failure`].
    pub async fn run_async(&self, context: &Context) -> Result<Outcome, Error> {
        let engine = context.engine();
        let guard = u64::from(engine.facts().limits.min_storage_buffer_offset_alignment).max(256);
        // Tensors begin at different offsets.
        let guard = guard * (1 + self.seed % 3);
        let trial = Trial::new(self, engine.plan(&self.spec, self.size, &self.options)?, guard);
        let packed = engine.pack(&trial.plan, &trial.data.weights())?;
        // Scratch is poisoned too.
        let scratch = vec![0xff; (trial.plan.scratch_bytes() + 2 * guard) as usize];
        let memory = Memory::new(context, &trial.contents, &scratch, self.one_buffer, guard)?;
        let binding = |id| memory.place(id).map(|(buffer, offset)| TensorBinding { buffer, offset: offset + guard });
        let tensors = Tensors {
            x_h: binding(TensorId::XH),
            x_l: binding(TensorId::XL),
            x_p: binding(TensorId::XP),
            residual_h: binding(TensorId::ResidualH),
            residual_l: binding(TensorId::ResidualL),
            y_h: binding(TensorId::YH),
            y_l: binding(TensorId::YL),
            y_p: binding(TensorId::YP),
            scratch: binding(TensorId::Scratch(0)),
        };
        let bound = engine.bind(&trial.plan, &packed, &tensors);
        engine.settled().await?;
        let layer = bound?;
        // Together with the run, because some browsers answer slowly.
        let after = context.run_and_read_bytes_async(|pass| layer.record(pass), &memory.parts()).await?;

        let mut outcome = trial.judge(&after)?;
        // Scratch lies behind the caller's tensors, if it is not the engine's own.
        if let Some(after) = after.get(trial.contents.len()) {
            let guards = |bytes: &[u8]| [&bytes[..guard as usize], &bytes[bytes.len() - guard as usize..]].concat();
            if guards(after) != guards(&scratch) {
                outcome.failure = Some("scratch: something wrote around it".into());
            }
        }
        Ok(outcome)
    }

    /// [`Case::run_async`], which it blocks on.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn run(&self, context: &Context) -> Result<Outcome, Error> {
        pollster::block_on(self.run_async(context))
    }

    /// Runs the case without a device, and compares it with the reference. `play` is given its bundle for a device with these
    /// facts, and what the bundle's buffers hold. It leaves there what the dispatches write. Not part of the public interface.
    ///
    /// # Errors
    ///
    /// If the library refuses the case.
    #[cfg(feature = "export")]
    #[doc(hidden)]
    pub fn play(&self, facts: &DeviceFacts, play: impl FnOnce(&Bundle, &mut [Vec<u8>])) -> Result<Outcome, Error> {
        let trial = Trial::new(self, Plan::new(&self.spec, self.size, &self.options, facts)?, 0);
        let bundle = Bundle::of_layer(&trial.plan, &trial.data.weights(), facts, BundleOptions::default())?;
        let mut buffers = bundle.buffers();
        let manifest = bundle.manifest();
        let listed = |id: TensorId| {
            let mut tensors = manifest.inputs.iter().chain(&manifest.outputs);
            tensors.find(|tensor| tensor.name == id.name()).map(|tensor| tensor.buffer)
        };
        for (id, bytes) in &trial.contents {
            let buffer = listed(*id).and_then(|index| buffers.get_mut(index));
            buffer.into_iter().for_each(|buffer| buffer.clone_from(bytes));
        }
        play(&bundle, &mut buffers);
        let after = trial.contents.iter().filter_map(|(id, _)| buffers.get(listed(*id)?).cloned());
        trial.judge(&after.collect::<Vec<_>>())
    }

    fn slice(&self, id: TensorId) -> Option<Slice> {
        match id {
            TensorId::YH => self.options.high_slice,
            TensorId::YL => self.options.low_slice,
            _ => None,
        }
    }

    fn channels(&self, plan: &Plan, id: TensorId) -> u32 {
        let dims = if id == TensorId::YH { plan.shapes().y_h } else { plan.shapes().y_l };
        dims.map_or(0, |dims| dims.c)
    }

    /// The largest error allowed for each element, as the documentation of [`crate::verify`] derives it.
    fn bounds(&self, plan: &Plan, expected: &Outputs, magnitude: &Outputs) -> Outputs {
        // Weights are drawn as their type stores them. Only folding and a transform round them again.
        let rounds_again = self.batch_norm || plan.variant().transformed_outputs().is_some() || plan.f16_terms() > 0;
        let largest = if rounds_again { self.values.largest(self.options.precision.activations) } else { 1.0 };
        let [high, low] = [Frequency::High, Frequency::Low].map(|frequency| Bounds::new(plan, frequency, largest));
        let each = |bounds: &Bounds, y: &Tensor, other: &Tensor, bound: fn(&Bounds, f64, f64) -> f64| {
            let data = y.data.iter().zip(&other.data).map(|(&y, &other)| bound(bounds, y, other));
            Tensor { dims: y.dims, data: data.collect() }
        };
        let output = |bounds, y: &Option<Tensor>, s: &Option<Tensor>| {
            let (y, s) = y.as_ref().zip(s.as_ref())?;
            Some(each(bounds, y, &each(bounds, y, s, Bounds::of_output), Bounds::stored))
        };
        let y_h = output(&high, &expected.y_h, &magnitude.y_h);
        let y_l = output(&low, &expected.y_l, &magnitude.y_l);
        // The mean of four errors, each at most its bound, and then that of storing. The bound of an error includes its
        // storing, because the unfused strategy pools stored values.
        // Where a stored value may be infinite, its mean may be too.
        let f16 = self.options.precision.activations == Dtype::F16;
        let overflows = |y: f64, bound: f64| f16 && y.is_finite() && may_overflow(y, bound);
        let pooled = y_h.as_ref().zip(expected.y_h.as_ref()).map(|(bounds, y)| {
            let values = bounds.data.iter().zip(&y.data);
            let data = values.map(|(&bound, &y)| if overflows(y, bound) { f64::INFINITY } else { bound }).collect();
            reference::average_pool(&Tensor { dims: bounds.dims, data }, self.spec.rounding())
        });
        let y_p = pooled.zip(expected.y_p.as_ref()).map(|(bound, y)| each(&high, y, &bound, Bounds::stored));
        Outputs { y_h, y_l, y_p }
    }
}

/// A case with its plan and its data.
struct Trial<'a> {
    case: &'a Case,
    plan: Plan,
    data: Data,
    /// Bytes before and behind each tensor.
    guard: u64,
    /// What the caller's tensors hold before the run, with their guard bands.
    contents: Vec<(TensorId, Vec<u8>)>,
}

impl<'a> Trial<'a> {
    fn new(case: &'a Case, plan: Plan, guard: u64) -> Self {
        let data = Data::new(case, &plan);
        let dtype = case.options.precision.activations;
        let mut contents = Vec::new();
        for (id, dims, written) in plan.interface() {
            let mut bytes = guarded(data.tensor(id), dims, written, dtype, guard);
            if let Some(slice) = case.slice(id) {
                let own = case.channels(&plan, id);
                let size = dtype.bytes() as usize;
                for i in (0..dims.elements() as usize).filter(|&i| slice_index(dims, slice, own, i).is_none()) {
                    bytes[guard as usize + i * size..][..size].fill(0xa5);
                }
            }
            contents.push((id, bytes));
        }
        Self { case, plan, data, guard, contents }
    }

    /// Compares what the tensors hold after the run with the reference.
    fn judge(&self, after: &[Vec<u8>]) -> Result<Outcome, Error> {
        let Self { case, plan, guard, .. } = self;
        let (weights, inputs) = (self.data.weights(), self.data.inputs());
        let expected = reference::octave_conv(&case.spec, case.size, &weights, &inputs)?;
        // A kernel that pools X_H itself errs by what it reads. A mean of X_H may cancel to a pool(X_H) that is far smaller.
        let read = Inputs { x_p: inputs.x_p.filter(|_| plan.binds(TensorId::XP)), ..inputs };
        let magnitude = match plan.variant().transformed_outputs() {
            None => reference::magnitude(&case.spec, case.size, &weights, &read)?,
            Some(m) => reference::magnitude_of_tiles(&case.spec, case.size, &weights, &read, Transform::of(m))?,
        };
        let bounds = case.bounds(plan, &expected, &magnitude);

        let dtype = case.options.precision.activations;
        let mut outcome = Outcome { variant: plan.variant(), kernels: plan.kernels(), worst: 0.0, failure: None };
        for (((id, dims, written), (_, before)), after) in plan.interface().into_iter().zip(&self.contents).zip(after) {
            if !written {
                if after != before {
                    outcome.failure = Some(format!("{} is an input and has changed", id.name()));
                }
                continue;
            }
            let body = *guard as usize..*guard as usize + (dims.elements() * dtype.bytes()) as usize;
            if let Some(at) = (0..after.len()).find(|i| !body.contains(i) && after[*i] != before[*i]) {
                let place = at as i64 - body.start as i64;
                outcome.failure =
                    Some(format!("{} wrote outside of itself, at byte {place} of {}", id.name(), body.len()));
                continue;
            }
            let (Some(expected), Some(bound)) = (output(&expected, id), output(&bounds, id)) else { continue };
            let size = dtype.bytes() as usize;
            let (own, slice) = (expected.dims.c, case.slice(id).unwrap_or(Slice::whole(expected.dims.c)));
            let found = decode(&after[body.clone()], dtype);
            for (at, &found) in found.iter().enumerate() {
                let bytes = body.start + at * size..body.start + (at + 1) * size;
                let Some(i) = slice_index(dims, slice, own, at) else {
                    if after[bytes.clone()] != before[bytes] {
                        outcome.failure =
                            Some(format!("{} wrote outside of its channels, at {}", id.name(), place(dims, at)));
                    }
                    continue;
                };
                let ratio = share_of_bound(found, expected.data[i], bound.data[i], dtype);
                if ratio > outcome.worst {
                    outcome.worst = ratio;
                    if outcome.worst > 1.0 {
                        outcome.failure = Some(format!(
                            "{} is {found} at {}, the reference {}, more than {:.3e} apart",
                            id.name(),
                            place(dims, at),
                            expected.data[i],
                            bound.data[i],
                        ));
                    }
                }
            }
        }
        Ok(outcome)
    }
}

/// Where the tensors of a case lie, each between guard bands: in buffers of their own, or in one.
struct Memory {
    buffers: Vec<wgpu::Buffer>,
    /// The tensor, its buffer, where it begins there with its guard band, and its bytes with that.
    places: Vec<(TensorId, usize, u64, u64)>,
}

impl Memory {
    /// With `one_buffer`, scratch is a tensor too, under the id of its first map. If not, the engine makes it.
    fn new(
        context: &Context,
        contents: &[(TensorId, Vec<u8>)],
        scratch: &[u8],
        one_buffer: bool,
        guard: u64,
    ) -> Result<Self, Error> {
        let (mut places, mut sizes) = (Vec::new(), Vec::new());
        let scratch = one_buffer.then_some((TensorId::Scratch(0), scratch));
        let contents = contents.iter().map(|(id, bytes)| (*id, bytes.as_slice())).chain(scratch);
        for (id, bytes) in contents.clone() {
            if !one_buffer || sizes.is_empty() {
                sizes.push(0u64);
            }
            let index = sizes.len() - 1;
            let start = sizes[index].next_multiple_of(guard);
            sizes[index] = start + bytes.len() as u64;
            places.push((id, index, start, bytes.len() as u64));
        }
        let buffers = sizes.into_iter().map(|bytes| context.tensor(bytes.div_ceil(4), Dtype::F32));
        let buffers = buffers.collect::<Result<Vec<_>, Error>>()?;
        for ((_, index, start, _), (_, bytes)) in places.iter().zip(contents) {
            context.write_bytes(&buffers[*index], *start, bytes)?;
        }
        Ok(Self { buffers, places })
    }

    /// The buffer of a tensor, and where its guard band begins there.
    fn place(&self, id: TensorId) -> Option<(&wgpu::Buffer, u64)> {
        let (_, index, start, _) = self.places.iter().find(|(other, ..)| *other == id)?;
        Some((&self.buffers[*index], *start))
    }

    /// The buffers, offsets and sizes of all tensors with their guard bands.
    fn parts(&self) -> Vec<(&wgpu::Buffer, u64, u64)> {
        self.places.iter().map(|&(_, index, start, bytes)| (&self.buffers[index], start, bytes)).collect()
    }
}

/// The index in an output of `own` channels, which is a slice of the tensor `whole`, of element `i` of that tensor.
/// `None` if the element is outside of the slice.
fn slice_index(whole: Dims, slice: Slice, own: u32, i: usize) -> Option<usize> {
    let plane = (whole.t * whole.h * whole.w) as usize;
    let (at, c, n) = (i % plane, (i / plane) as u32 % whole.c, i / plane / whole.c as usize);
    let c = c.checked_sub(slice.first).filter(|&c| c < own)?;
    Some((n * own as usize + c as usize) * plane + at)
}

/// How much of its bound an error takes: more than 1 if `found` is wrong. A bound that is not finite allows every value.
fn share_of_bound(found: f32, expected: f64, bound: f64, stored: Dtype) -> f64 {
    let right = |right: bool| if right { 0.0 } else { f64::INFINITY };
    let overflows = stored == Dtype::F16 && may_overflow(expected, bound);
    if !bound.is_finite() {
        0.0
    } else if expected.is_nan() {
        right(found.is_nan())
    } else if expected.is_infinite() || (overflows && found.is_infinite()) {
        right(found.is_infinite() && (found > 0.0) == (expected > 0.0))
    } else {
        let ratio = (f64::from(found) - expected).abs() / bound;
        if ratio.is_nan() { f64::INFINITY } else { ratio }
    }
}

/// Whether f16 may store a value with an error of at most `bound` as an infinity.
fn may_overflow(value: f64, bound: f64) -> bool {
    value.abs() + bound > LARGEST_F16.into()
}

fn output(outputs: &Outputs, id: TensorId) -> Option<&Tensor> {
    match id {
        TensorId::YH => outputs.y_h.as_ref(),
        TensorId::YL => outputs.y_l.as_ref(),
        TensorId::YP => outputs.y_p.as_ref(),
        _ => None,
    }
}

/// The coordinates of element `i`, for messages.
fn place(dims: Dims, i: usize) -> String {
    let (t, h, w, c) = (dims.t as usize, dims.h as usize, dims.w as usize, dims.c as usize);
    let (x, y, frame) = (i % w, i / w % h, i / (w * h) % t);
    let (channel, n) = (i / (w * h * t) % c, i / (w * h * t * c));
    format!("[n {n}, c {channel}, t {frame}, y {y}, x {x}] of {dims}")
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(not(feature = "export"))]
    use crate::device::DeviceFacts;
    use crate::dims::InputSize;
    use crate::layer::{Activation, Spec};
    use crate::plan::Options;
    use crate::precision::Precision;

    /// The bounds of a plan do not allow another value where the reference has a NaN or an infinity.
    #[test]
    fn bounds_of_what_is_not_finite_are_finite() {
        let kernels = ["fused/direct/t4c2h2w", "unfused/direct/t4c2h2w"];
        for activation in Activation::all() {
            for (dtype, kernel) in
                [Dtype::F32, Dtype::F16].into_iter().flat_map(|dtype| kernels.map(|kernel| (dtype, kernel)))
            {
                let spec = Spec::builder(8, 8).alpha(0.5, 0.5).activation(activation).build().unwrap();
                let variant = Some(kernel.parse().unwrap());
                let options = Options { precision: Precision::of(dtype), variant, ..Options::default() };
                let features = wgpu::Features::SHADER_F16;
                let facts = DeviceFacts { features, ..DeviceFacts::default() };
                let plan = Plan::new(&spec, InputSize::image(1, 8, 8), &options, &facts).unwrap();
                let bounds = Bounds::new(&plan, Frequency::High, 1.0);
                for (y, others) in [
                    (f64::NAN, [0.0, f32::INFINITY, 1.0]),
                    (f64::INFINITY, [f32::NAN, f32::NEG_INFINITY, f32::MAX]),
                    (f64::NEG_INFINITY, [f32::NAN, f32::INFINITY, 0.0]),
                ] {
                    let bound = bounds.stored(y, bounds.of_output(y, y.abs()));
                    assert_eq!(share_of_bound(y as f32, y, bound, dtype), 0.0);
                    for other in others {
                        assert_eq!(
                            share_of_bound(other, y, bound, dtype),
                            f64::INFINITY,
                            "{other} for {y}, {activation:?}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_not_a_number_must_be_the_same() {
        const NONE: f64 = f64::NAN;
        const INFINITE: f64 = f64::INFINITY;
        let right = |found, expected, bound, stored| share_of_bound(found, expected, bound, stored) <= 1.0;
        for stored in [Dtype::F32, Dtype::F16] {
            assert!(right(1.5, 1.0, 0.5, stored) && !right(1.6, 1.0, 0.5, stored));
            assert!(right(f32::NAN, NONE, 0.5, stored) && !right(0.0, NONE, 0.5, stored));
            assert!(right(f32::INFINITY, INFINITE, 0.5, stored) && right(f32::NEG_INFINITY, -INFINITE, 0.5, stored));
            for found in [f32::NAN, f32::NEG_INFINITY, f32::MAX, 0.0] {
                assert!(!right(found, INFINITE, 0.5, stored) && right(found, 1.0, INFINITE, stored));
            }
            assert!(!right(f32::INFINITY, 1.0, 0.5, stored) && !right(f32::NAN, 1.0, 0.5, stored));
        }
        // f16 may or must round these to an infinity.
        assert!(right(f32::INFINITY, 65_510.0, 32.0, Dtype::F16) && right(65_504.0, 65_510.0, 32.0, Dtype::F16));
        assert!(!right(f32::NEG_INFINITY, 65_510.0, 32.0, Dtype::F16));
        assert!(right(f32::INFINITY, 1e6, 500.0, Dtype::F16) && !right(65_504.0, 1e6, 500.0, Dtype::F16));
    }
}

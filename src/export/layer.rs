//! The bundle of one layer.

use super::builder::{Builder, Spot, tensor};
use super::bundle::{Bundle, BundleOptions};
use crate::device::DeviceFacts;
use crate::error::{Error, PlanMismatch};
use crate::kernels::job::TensorId;
use crate::layer::Weights;
use crate::plan::Plan;

impl Bundle {
    /// The bundle of a layer. Each tensor is a buffer of its own. `facts` are those that it was planned for.
    ///
    /// # Errors
    ///
    /// [`Error::Plan`] for other facts than those of the plan; those of [`Plan::pack`]; [`Error::Shader`] if the language lacks
    /// something; [`Error::OutOfMemory`].
    pub fn of_layer(
        plan: &Plan,
        weights: &Weights,
        facts: &DeviceFacts,
        options: BundleOptions,
    ) -> Result<Self, Error> {
        let own = Plan::with_variant(&plan.spec, plan.size, &plan.options, facts, plan.variant)?;
        if own.steps != plan.steps || own.scratch != plan.scratch {
            return Err(Error::Plan { problem: PlanMismatch::Dispatches });
        }
        let mut builder = Builder::new(options.language, facts);
        let mut own_buffer = |name: String, bytes: u64| {
            let buffer = builder.buffer(name, bytes);
            builder.region(buffer, 0, bytes)
        };
        let interface = plan.interface().into_iter();
        let callers = interface.map(|(id, dims, written)| {
            let spot = own_buffer(id.name().into(), plan.tensor_bytes(dims));
            (id, dims, written, spot)
        });
        let callers: Vec<_> = callers.collect();
        let scratch = plan.scratch_places().into_iter().enumerate();
        let scratch: Vec<Spot> =
            scratch.map(|(i, place)| own_buffer(format!("scratch-{i}"), place.end - place.start)).collect();
        let packed = plan.pack(weights)?;
        let mut places = plan.weights_places().into_iter();
        for step in &plan.steps {
            let place = step.packing.as_ref().and_then(|_| places.next());
            let place = place.map(|place| builder.weights(&packed[place.start as usize..place.end as usize]));
            let place = place.transpose()?;
            builder.dispatch("layer", step, |id| match id {
                TensorId::Weights => place,
                TensorId::Scratch(i) => scratch.get(i).copied(),
                id => callers.iter().find(|(other, ..)| *other == id).map(|&(.., spot)| spot),
            })?;
        }
        let clip = plan.size.t > 1;
        let listed = |written: bool| {
            let tensors = callers.iter().filter(|caller| caller.2 == written);
            let dtype = plan.options.precision.activations;
            tensors.map(|&(id, dims, _, spot)| tensor(id.name().into(), dims, clip, dtype, spot)).collect()
        };
        let (inputs, outputs) = (listed(false), listed(true));
        Ok(builder.finish("layer".into(), inputs, outputs, None, options))
    }
}

//! Runs a network on the device and on the reference, and compares what is kept and the answer.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::bounds::NodeBounds;
use super::{NetworkCase, NetworkOutcome};
use crate::context::Context;
#[cfg(feature = "export")]
use crate::context::{decode, encode};
use crate::device::{DeviceFacts, DeviceIdentity};
use crate::dims::{Dims, InputSize};
use crate::error::Error;
#[cfg(feature = "export")]
use crate::export::{Bundle, BundleOptions, ElementType};
use crate::network::{Checkpoint, Graph, Model, NetworkOptions, NetworkPlan, ValueShape, random_input};
use crate::plan::{Plan, Tuned};
use crate::precision::{Accuracy, Dtype};
use crate::reference::Tensor;
use crate::reference::network::{Value, node};
use crate::verify::Values;

impl NetworkCase {
    /// Plans the network for a device with these facts. `graph` is that of its network.
    ///
    /// # Errors
    ///
    /// Those of [`NetworkPlan::new`].
    pub fn plan(&self, graph: &Graph, facts: &DeviceFacts) -> Result<NetworkPlan, Error> {
        let (keep, one_buffer) = (self.keep.clone(), self.one_buffer);
        let accuracy = if self.strange { Accuracy::Exact } else { Accuracy::Fast };
        let options = NetworkOptions { accuracy, keep, one_buffer, ..NetworkOptions::default() };
        let planned = NetworkPlan::new(graph, self.size, &options, facts)?;
        if !self.any_variant {
            return Ok(planned);
        }
        let mut rng = Pcg64Mcg::seed_from_u64(self.seed);
        let (device, mut tuned) = (DeviceIdentity(String::new()), Tuned::default());
        for layer in planned.layers() {
            let mut candidates = Plan::candidates(layer.spec, layer.size, &layer.options, facts);
            candidates.retain(|plan| !self.strange || plan.variant().transformed_outputs().is_none());
            if !candidates.is_empty() {
                tuned.insert(&device, &candidates.swap_remove(rng.random_range(0..candidates.len())));
            }
        }
        let choices = tuned.choices(&device).cloned().unwrap_or_default();
        NetworkPlan::with_choices(graph, self.size, &options, facts, &choices)
    }

    /// Runs the network on the device and on the reference, and compares them.
    ///
    /// # Errors
    ///
    /// If the library or the device refuses the network. A wrong value is no error but [`NetworkOutcome::failure`].
    pub async fn run_async(&self, context: &Context) -> Result<NetworkOutcome, Error> {
        let graph = Graph::new(&self.network)?;
        let checkpoint = Checkpoint::random(&graph, self.seed);
        let model = Model::new(context.engine(), graph, checkpoint)?;
        let plan = self.plan(model.graph(), context.engine().facts())?;
        let compiled = model.compile(plan, |_| {});
        context.engine().settled().await?;
        let inference = compiled?;
        let (dims, input) = self.input();
        // All ones is a NaN in either type.
        for buffer in inference.activations() {
            context.write_bytes(buffer, 0, &vec![0xff; buffer.size() as usize])?;
        }
        let answer = inference.run_async(context, &input).await?;

        let mut kept = Vec::new();
        for node in &self.network.nodes {
            kept.push(match inference.value(&node.name) {
                Some(view) => Some(view.read_async(context).await?),
                None => None,
            });
        }
        let (checkpoint, plan) = (model.checkpoint(), inference.plan());
        let mut outcome = self.compare(model.graph(), checkpoint, plan, &kept, Tensor::new(dims, &input))?;
        // The input is not written again: a kernel may have overwritten it.
        context.run_pass_async(|pass| inference.record(pass)).await?;
        let again = match inference.output() {
            Some(value) => value.read_async(context).await?,
            None => Vec::new(),
        };
        let same = answer.iter().zip(&again).all(|(a, b)| a.to_bits() == b.to_bits());
        if outcome.failure.is_none() && !same {
            outcome.failure = Some("the answer of a second run differs".into());
        }
        Ok(outcome)
    }

    /// [`NetworkCase::run_async`], which it blocks on.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn run(&self, context: &Context) -> Result<NetworkOutcome, Error> {
        pollster::block_on(self.run_async(context))
    }

    /// Runs the network without a device, and compares it with the reference. `play` is given its bundle for a device with
    /// these facts, and what the bundle's buffers hold. It leaves there what the dispatches write. Not part of the public
    /// interface.
    ///
    /// # Errors
    ///
    /// If the library refuses the network.
    #[cfg(feature = "export")]
    #[doc(hidden)]
    pub fn play(
        &self,
        facts: &DeviceFacts,
        play: impl FnOnce(&Bundle, &mut [Vec<u8>]),
    ) -> Result<NetworkOutcome, Error> {
        let graph = Graph::new(&self.network)?;
        let checkpoint = Checkpoint::random(&graph, self.seed);
        let plan = self.plan(&graph, facts)?;
        let bundle = Bundle::of_network(&plan, &checkpoint, BundleOptions::default())?;
        let mut buffers = bundle.buffers();
        let manifest = bundle.manifest();
        let dtype = plan.options.precision.activations;
        let (dims, input) = self.input();
        for tensor in &manifest.inputs {
            buffers[tensor.buffer][tensor.offset as usize..][..tensor.bytes as usize]
                .copy_from_slice(&encode(&input, dtype));
        }
        play(&bundle, &mut buffers);
        let part = |name: &str| {
            let tensor = manifest.outputs.iter().find(|tensor| tensor.name == name)?;
            let bytes = &buffers[tensor.buffer][tensor.offset as usize..][..tensor.bytes as usize];
            let mut values = decode(bytes, if tensor.dtype == ElementType::F16 { Dtype::F16 } else { Dtype::F32 });
            values.truncate(tensor.shape.iter().product::<u32>() as usize);
            Some(values)
        };
        let kept = self.network.nodes.iter().map(|node| {
            let name = &node.name;
            let parts = [name.clone(), format!("{name}.h"), format!("{name}.l")];
            parts.iter().filter_map(|name| part(name)).reduce(|high, low| [high, low].concat())
        });
        self.compare(&graph, &checkpoint, &plan, &kept.collect::<Vec<_>>(), Tensor::new(dims, &input))
    }

    fn input(&self) -> (Dims, Vec<f32>) {
        let InputSize { n, t, h, w } = self.size;
        let dims = Dims { n, c: self.network.input.channels, t, h, w };
        let input = match self.strange {
            true => Values::Infinite.draw("input", self.seed, dims.elements(), Dtype::F32),
            false => random_input(dims.elements() as usize, self.seed),
        };
        (dims, input)
    }

    /// Compares the values that were kept, of each node in order, with the reference.
    fn compare(
        &self,
        graph: &Graph,
        checkpoint: &Checkpoint,
        plan: &NetworkPlan,
        kept: &[Option<Vec<f32>>],
        input: Tensor,
    ) -> Result<NetworkOutcome, Error> {
        let facts = &plan.facts;
        let dispatches = plan.trace().into_iter().map(|(node, kernel)| (node.to_owned(), kernel)).collect();
        let mut outcome = NetworkOutcome { dispatches, worst: 0.0, failure: None };
        let exact = Value::Map { high: Some(Tensor { data: vec![0.0; input.data.len()], ..input }), low: None };
        let mut values = vec![Some(Value::Map { high: Some(input), low: None })];
        let mut errors = vec![Some(exact)];
        for (index, described) in self.network.nodes.iter().enumerate() {
            let expected = node(graph, checkpoint, plan.shapes(), &values, index)?;
            let bounds = NodeBounds { graph, checkpoint, plan, facts, values: &values, errors: &errors };
            let bound = bounds.of(index, &expected)?;
            let Some(found) = &kept[index] else {
                values.push(Some(expected));
                errors.push(Some(bound));
                continue;
            };
            outcome.compare(&described.name, found, &expected, &bound);
            let (value, exact) = of_device(plan.shapes()[index + 1], found);
            values.push(Some(value));
            errors.push(Some(exact));
        }
        Ok(outcome)
    }
}

impl NetworkOutcome {
    fn compare(&mut self, name: &str, found: &[f32], expected: &Value, bound: &Value) {
        let (expected, bound) = (elements(expected), elements(bound));
        if found.len() != expected.len() {
            let lengths = (found.len(), expected.len());
            self.failure.get_or_insert(format!("{name} has {} elements, the reference {}", lengths.0, lengths.1));
            return;
        }
        for (i, &found) in found.iter().enumerate() {
            let bound = allowed(expected[i], bound[i]);
            let ratio = share_of_bound(f64::from(found), expected[i], bound);
            self.worst = self.worst.max(ratio);
            if ratio > 1.0 && self.failure.is_none() {
                let expected = expected[i];
                self.failure = Some(format!(
                    "{name} is {found} at element {i}, the reference {expected}, more than {bound:.3e} apart"
                ));
            }
        }
    }
}

/// The bound, or else one for what a node makes of an infinity, of which no finite bound is known.
fn allowed(expected: f64, bound: f64) -> f64 {
    if bound.is_finite() { bound } else { 1e-3 * (1.0 + expected.abs()) }
}

/// How much of its bound an error takes: more than 1 if `found` is wrong. What is not finite must be the same.
fn share_of_bound(found: f64, expected: f64, bound: f64) -> f64 {
    if found == expected || (found.is_nan() && expected.is_nan()) {
        return 0.0;
    }
    let ratio = (found - expected).abs() / bound.max(f64::MIN_POSITIVE);
    // A NaN on either side counts as an infinite error.
    if ratio.is_nan() { f64::INFINITY } else { ratio }
}

/// The elements of a vector; or those of a map's high frequency, then those of its low frequency.
fn elements(value: &Value) -> Vec<f64> {
    match value {
        Value::Map { high, low } => [high, low].into_iter().flatten().flat_map(|x| x.data.iter().copied()).collect(),
        Value::Vector { data, .. } => data.clone(),
    }
}

/// A value that the device has made, and bounds of 0.
fn of_device(shape: ValueShape, found: &[f32]) -> (Value, Value) {
    let make = |found: &[f32]| match shape {
        ValueShape::Map { high, low, .. } => {
            let (first, rest) = found.split_at(high.map_or(0, |dims| dims.elements() as usize));
            let part = |dims: Option<Dims>, data: &[f32]| dims.map(|dims| Tensor::new(dims, data));
            Value::Map { high: part(high, first), low: part(low, rest) }
        }
        ValueShape::Vector { n, c } => Value::Vector { n, c, data: found.iter().map(|&v| f64::from(v)).collect() },
    };
    (make(found), make(&vec![0.0; found.len()]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_exceeds_its_bound_is_a_failure() {
        let vector = |data: &[f64]| Value::Vector { n: 1, c: data.len() as u32, data: data.to_vec() };
        let (expected, bound) = (vector(&[1.0, -2.0, 0.0]), vector(&[0.5, 0.25, 0.0]));
        for (found, worst, wanted) in [
            (vec![1.25, -2.0, 0.0], 0.5, None),
            (vec![1.0, -2.5, 0.0], 2.0, Some("n is -2.5 at element 1, the reference -2, more than 2.500e-1 apart")),
            (vec![f32::NAN, -2.0, 0.0], f64::INFINITY, Some("n is NaN at element 0, the reference 1")),
            (vec![1.0, -2.0], 0.0, Some("n has 2 elements, the reference 3")),
        ] {
            let mut outcome = NetworkOutcome { dispatches: Vec::new(), worst: 0.0, failure: None };
            outcome.compare("n", &found, &expected, &bound);
            assert_eq!(outcome.worst, worst);
            let failure = outcome.failure.unwrap_or_default();
            assert!(
                failure.starts_with(wanted.unwrap_or_default()) && failure.is_empty() == wanted.is_none(),
                "{failure}"
            );
        }
        let mut outcome = NetworkOutcome { dispatches: Vec::new(), worst: 0.0, failure: None };
        outcome.compare("n", &[1.0, -2.0, 1e-6], &expected, &bound);
        assert!(outcome.failure.is_some() && outcome.worst > 1.0);
    }
}

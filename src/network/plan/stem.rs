//! The stem: a plain convolution and the pool behind it, in bands of rows.

use super::lower::{Lowering, PlannedLayer, operand};
use super::roles::Role;
use super::step::{Params, Part, Place, PlannedStep, Span};
use crate::dims::Dims;
use crate::error::Error;
use crate::kernels::job::{Operand, TensorId};
use crate::kernels::window_pool;
use crate::layer::Rows;
use crate::network::description::PoolKind;
use crate::network::graph::{Task, ValueShape};
use crate::plan::{Family, Options, Plan, Strategy, Variant};

/// The most bands of a stem. Each band is two dispatches, and repeats a row or two of the convolution.
const MAX_BANDS: u32 = 4;

impl Lowering<'_> {
    /// Plans a plain convolution and the pool behind it as bands of rows, one after another, if the map between them is
    /// larger than all others. Then only a band of that map needs memory. Returns the number of nodes it has planned: 0
    /// or 2.
    pub(super) fn stem(&mut self, index: usize) -> Result<usize, Error> {
        let graph = self.placement.graph;
        let (Some(conv), Some(pool)) = (graph.nodes.get(index), graph.nodes.get(index + 1)) else { return Ok(0) };
        let (Task::Conv { spec, .. }, Task::Pool { kind, window }) = (&conv.task, &pool.task) else { return Ok(0) };
        if !self.placement.roles[index..index + 2].iter().all(|role| matches!(role, Role::Itself)) {
            return Ok(0);
        }
        let id = index + 1;
        let readers = graph.nodes.iter().flat_map(|node| node.inputs.iter().chain(&node.residual));
        let alone = readers.filter(|&&read| read == id).count() == 1 && pool.inputs[0] == id;
        let (x, between, y) =
            (self.placement.places[conv.inputs[0]], self.placement.places[id], self.placement.places[id + 1]);
        let (Some(map), Some(to), None) = (between.high.filter(Part::is_whole), y.high, between.low) else {
            return Ok(0);
        };
        let ValueShape::Map { size, .. } = self.placement.shapes[conv.inputs[0]] else { return Ok(0) };
        if !alone || self.placement.kept[id] || conv.residual.is_some() || between.pooled.is_some() || x.low.is_some() {
            return Ok(0);
        }
        let others = self.placement.tensors.iter().enumerate().filter(|&(tensor, _)| tensor != map.span.tensor);
        let largest = others.map(|(_, &bytes)| bytes).max().unwrap_or(0);
        let rows_bytes = |rows: u32| map.span.bytes / u64::from(map.dims.h) * u64::from(rows);
        let bands = |count: u32| {
            let height = to.dims.h.div_ceil(count);
            let from = (0..count).map(move |i| i * height).filter(|&first| first < to.dims.h);
            from.map(|first| Rows { first, count: height.min(to.dims.h - first) }).collect::<Vec<_>>()
        };
        let most = |count: u32| bands(count).into_iter().map(|band| window.rows_under(band, map.dims.h).count).max();
        let few = |count: &u32| most(*count).is_some_and(|rows| rows_bytes(rows) <= largest);
        let Some(count) = (1..=MAX_BANDS).find(few).filter(|&count| count > 1) else { return Ok(0) };

        let options = self.placement.options.layer();
        let Ok(mut plan) = self.choices.plan(spec, size, &options, self.placement.facts) else { return Ok(0) };
        if !plan.makes_bands() {
            let Some(family) = Family::all().find(|family| family.kernels().makes_bands()) else { return Ok(0) };
            let direct = Variant { strategy: Strategy::Fused, family, tile: None };
            let Ok(direct) = Plan::new(spec, size, &Options { variant: Some(direct), ..options }, self.placement.facts)
            else {
                return Ok(0);
            };
            // Tuning the layer again would find the same.
            plan = Plan { tuning: plan.tuning(), ..direct };
        }
        let (variant, tuning) = (plan.variant(), plan.tuning());
        let spec = spec.clone();
        self.layers.push(PlannedLayer {
            node: index,
            #[cfg(feature = "verify")]
            weights_of: index,
            spec,
            size,
            options,
            variant,
            tuning,
        });
        self.largest = largest;
        self.placement.check_sizes(y, "a map")?;
        let average = *kind == PoolKind::Average;
        let rows = most(count).unwrap_or(map.dims.h);
        let Part { span, dims, .. } = map;
        // The tensor holds only a band, not the whole map.
        let span = Span { bytes: rows_bytes(rows).next_multiple_of(4), ..span };
        self.placement.tensors[span.tensor] = span.bytes;
        self.placement.places[id] = Place::default();
        for band in bands(count) {
            let under = window.rows_under(band, dims.h);
            let step = plan.band(under.first, Dims { h: under.count, ..dims }, self.placement.facts)?;
            let input = x.high.map(|part| (TensorId::XH, part.span));
            let tensors = [input, Some((TensorId::YH, span))].into_iter().flatten().collect();
            let params = step.packing.clone().map(Params::Conv);
            self.steps.push(PlannedStep { node: index + 1, step, params, params_of: index, tensors });
            let (from, into) = (Operand { id: TensorId::XH, dims }, operand(TensorId::YH, to));
            let job = window_pool::Job { average, window: *window, slice: to.slice, band: Some(band) };
            let step = window_pool::step(
                self.placement.facts,
                self.placement.options.types(self.placement.facts),
                &job,
                from,
                into,
            )?;
            self.push(index + 1, step, None, vec![(TensorId::XH, span), (TensorId::YH, to.span)]);
        }
        self.pool(index + 1, y)?;
        Ok(2)
    }
}

#[cfg(test)]
mod tests {
    use crate::network::{Graph, Network, NetworkOptions, NetworkPlan};
    use crate::plan::{Choices, Plan, Tuned, Tuning};
    use crate::{DeviceFacts, DeviceIdentity, InputSize};

    /// Or the command would ask for ever to tune it.
    #[test]
    fn a_stem_whose_tuned_variant_makes_no_bands_is_tuned() {
        let description = r#"{"name": "n", "input": {"channels": 3}, "output": "pool", "nodes": [
            {"name": "stem", "op": "conv", "input": "input", "channels": 24, "kernel": [7, 7], "stride": 2,
                "padding": [3, 3], "downsample": "strided"},
            {"name": "pool", "op": "pool", "input": "stem", "kind": "max", "kernel": [3, 3], "stride": [2, 2],
                "padding": [1, 1]}]}"#;
        let network: Network = serde_json::from_str(description).unwrap();
        let graph = Graph::new(&network).unwrap();
        let (size, facts) = (InputSize::image(2, 64, 48), DeviceFacts::default());
        let options = NetworkOptions::default();
        let with = |choices: &Choices| NetworkPlan::with_choices(&graph, size, &options, &facts, choices).unwrap();
        let untuned = with(&Choices::default());
        assert!(untuned.dispatches() >= 4, "{:?}", untuned.trace());
        let layer = untuned.layers().next().unwrap();
        assert_eq!(layer.tuning, Tuning::UnknownDevice);

        let all = Plan::candidates(layer.spec, size, &layer.options, &facts);
        let without = all.iter().find(|plan| !plan.makes_bands()).unwrap();
        let (device, mut tuned) = (DeviceIdentity("a device".into()), Tuned::default());
        tuned.insert(&device, without);
        let plan = with(tuned.choices(&device).unwrap());
        let layer = plan.layers().next().unwrap();
        assert_eq!(layer.tuning, Tuning::Used);
        assert_ne!(layer.variant, without.variant());
        assert_eq!(plan.dispatches(), untuned.dispatches());
    }
}

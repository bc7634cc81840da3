//! The bundle of a network.

use super::builder::{Builder, Spot, shaped, tensor};
use super::bundle::{Bundle, BundleOptions};
use super::manifest::{PictureRule, ResizeRule, Tensor};
use crate::error::Error;
use crate::kernels::job::TensorId;
use crate::network::{Checkpoint, Invert, NetworkPlan, Params, Part, Picture, Resize, pack};
use crate::precision::Dtype;

impl Bundle {
    /// The bundle of a network at the size of its plan, with weights in any dialect that `docs/networks.md` lists. Its outputs
    /// are the answer and what [`NetworkOptions::keep`](crate::network::NetworkOptions::keep) names.
    ///
    /// # Errors
    ///
    /// [`Error::Checkpoint`] for weights that do not fit; [`Error::Node`] for those that cannot be folded, for kernels that the
    /// language cannot express, and in WGSL with [`NetworkOptions::one_buffer`](crate::network::NetworkOptions::one_buffer) if a
    /// node reads one map twice; [`Error::OutOfMemory`].
    pub fn of_network(plan: &NetworkPlan, checkpoint: &Checkpoint, options: BundleOptions) -> Result<Self, Error> {
        let checkpoint = &*checkpoint.fitted(&plan.graph)?;
        let (graph, facts) = (&plan.graph, &plan.facts);
        let mut builder = Builder::new(options.language, facts);
        let bytes = plan.memory.bytes.iter().enumerate();
        let buffers: Vec<usize> = bytes.map(|(i, &bytes)| builder.buffer(format!("activations-{i}"), bytes)).collect();
        let tensors = plan.memory.spots.iter().zip(&plan.tensor_bytes);
        let tensors = tensors.map(|(spot, &bytes)| builder.region(buffers[spot.buffer], spot.offset, bytes));
        let tensors: Vec<Spot> = tensors.collect();
        let within = |part: &Part| {
            let whole = tensors[part.span.tensor];
            Spot { offset: whole.offset + part.span.offset, bytes: part.span.bytes, ..whole }
        };

        let mut packed: Vec<(usize, &Params, Spot)> = Vec::new();
        for planned in &plan.steps {
            let at =
                |node: usize| move |error| Error::Node { node: graph.nodes[node].name.clone(), error: Box::new(error) };
            let node = planned.params_of;
            let weights = match &planned.params {
                None => None,
                Some(params) => match packed.iter().find(|(of, known, _)| (*of, *known) == (node, params)) {
                    Some(&(.., spot)) => Some(spot),
                    None => {
                        let bytes = pack(graph, checkpoint, node, params).map_err(at(node))?;
                        let spot = builder.weights(&bytes).map_err(at(node))?;
                        packed.push((node, params, spot));
                        Some(spot)
                    }
                },
            };
            let spot = |id: TensorId| match id {
                TensorId::Weights => weights,
                id => planned.tensors.iter().find(|(other, _)| *other == id).map(|(_, span)| {
                    let whole = tensors[span.tensor];
                    Spot { offset: whole.offset + span.offset, bytes: span.bytes, ..whole }
                }),
            };
            builder.dispatch(&graph.nodes[planned.node].name, &planned.step, spot).map_err(at(planned.node))?;
        }

        let clip = plan.size.t > 1;
        let dtype = plan.options.precision.activations;
        let named = |name: String, part: &Part| tensor(name, part.dims, clip, dtype, within(part));
        let input = plan.places[0].high.iter().map(|part| named(crate::network::INPUT.into(), part)).collect();
        let mut outputs: Vec<(Tensor, Spot)> = Vec::new();
        let mut names = vec![&graph.network.output];
        for name in &plan.options.keep {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        for name in names {
            let Some(place) = graph.find(name).and_then(|id| plan.places.get(id)) else { continue };
            outputs.extend(place.high.iter().map(|part| named(format!("{name}.h"), part)));
            outputs.extend(place.low.iter().map(|part| named(format!("{name}.l"), part)));
            // Vectors are always f32.
            let vector = |part: &Part| shaped(name.clone(), vec![part.dims.n, part.dims.c], Dtype::F32, within(part));
            outputs.extend(place.vector.iter().map(vector));
        }
        let picture = graph.network.picture.as_ref().map(|picture| rule(picture, plan.size.h, plan.size.w));
        Ok(builder.finish(graph.network.name.clone(), input, outputs, picture, options))
    }
}

/// How a picture becomes an input of this size.
fn rule(picture: &Picture, height: u32, width: u32) -> PictureRule {
    let Picture { channels, resize, ref mean, ref std, invert, .. } = *picture;
    let resize = match resize {
        Resize::Fit => ResizeRule::Fit,
        Resize::Crop => ResizeRule::Cover,
        Resize::Shorter(side) => ResizeRule::Shorter(side),
    };
    let invert_if_light = invert == Invert::Auto;
    PictureRule { channels, height, width, resize, mean: mean.clone(), std: std.clone(), invert_if_light }
}

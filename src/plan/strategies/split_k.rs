//! Cuts the input channels into slices, for small maps on large devices.
//!
//! First come pooled maps, one dispatch each. Then each slice has workgroups of its own, which make its partial sums in
//! f32, into scratch. A last dispatch adds them up.

use super::planner::{Planner, Pools};
use crate::device::Rates;
use crate::error::Error;
use crate::kernels::job::{Operand, OutputJob, Slice};
use crate::kernels::{Step, reduce};
use crate::layer::Activation;

pub(super) fn steps(planner: &mut Planner) -> Result<Vec<Step>, Error> {
    if !planner.variant.family.kernels().slices_input_channels() {
        return Err(planner.refuse("its kernel takes all input channels"));
    }
    let mut pools = Pools::default();
    let mut job = planner.job(planner.given_pool());
    for path in job.paths.iter_mut().flatten() {
        path.source = planner.pooled(&mut pools, path.source, path.sampling.level)?;
        path.sampling.level = 0;
    }
    let threads: u64 = planner.convolve(&job)?.work.parts.iter().map(|part| part.threads).sum();
    let channels = job.paths.iter().flatten().map(|path| planner.layer.spec.weight_shape(path.weights)[1]).min();
    let facts = planner.layer.facts;
    // A few cores are always full. What runs there is what a GPU would run, to be tested.
    let full = if facts.software { Rates::NOMINAL.threads } else { facts.rates.threads };
    let slices = slices(full / threads.max(1), channels.unwrap_or(0));
    if slices < 2 {
        return Err(planner.refuse("there are threads enough, or too few input channels"));
    }
    let outputs = [job.high, job.low];
    job.slices = Some(slices);
    job.activation = Activation::None;
    for output in [&mut job.high, &mut job.low].into_iter().flatten() {
        let dims = output.y.dims;
        // Partial sums are f32.
        let id = planner.allocate_words(dims.elements().saturating_mul(u64::from(slices)))?;
        *output = OutputJob {
            y: Operand { id, dims },
            slice: Slice::whole(dims.c),
            bias: None,
            residual: None,
            pooled: None,
            ..*output
        };
    }
    let mut steps = pools.steps;
    steps.push(planner.convolve(&job)?);
    let partial = [job.high, job.low].map(|output| output.map(|output| output.y.id));
    steps.push(reduce::step(planner.layer.facts, planner.layer.spec, planner.layer.types, slices, outputs, partial)?);
    Ok(steps)
}

/// The most slices that input channels are cut into.
const MAX_SLICES: u64 = 16;

/// The fewest input channels of a slice. No kernel that reads slices has a larger slab.
const MIN_SLICE_CHANNELS: u32 = 16;

/// The number of slices, a power of two: as many as fill the device, and no more than the channels allow.
fn slices(wanted: u64, channels: u32) -> u32 {
    let slices = wanted.min(u64::from(channels / MIN_SLICE_CHANNELS)).clamp(1, MAX_SLICES);
    1 << slices.ilog2()
}

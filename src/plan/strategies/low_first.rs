//! First everything at low resolution: Y_L, and the sums of L->H into scratch. Then Y_H, which starts from those sums.
//!
//! A thread can then use each weight for as many positions as in a convolution without octaves.

use super::planner::{Planner, Pools};
use crate::error::Error;
use crate::kernels::Step;
use crate::kernels::job::{Job, OutputJob, PathJob, Slice};
use crate::layer::{Path, Sampling};

pub(super) fn steps(planner: &mut Planner) -> Result<Vec<Step>, Error> {
    if !planner.variant.family.kernels().adds_given_sums() {
        return Err(planner.refuse("its kernel does not add to sums that are given"));
    }
    let mut high = planner.job(planner.given_pool());
    let Some((output, from_low)) = high.high.zip(high.path(Path::LH).copied()) else {
        return Err(planner.refuse("there is no L->H to do first"));
    };
    if !from_low.sampling.upsample {
        return Err(planner.refuse("L->H has the resolution of Y_H"));
    }
    let mut pools = Pools::default();
    if let Some(path) = high.paths[Path::HL as usize].as_mut() {
        path.source = planner.pooled(&mut pools, path.source, path.sampling.level)?;
        path.sampling.level = 0;
    }
    let sums = planner.allocate(output.y.dims.pooled(planner.layer.spec.rounding()));
    let [_, hl, _, ll] = high.paths;
    let sampling = Sampling { upsample: false, ..from_low.sampling };
    // This job makes the sums of L->H in the place of Y_H, with L->H in the place of H->H.
    let low = Job {
        paths: [Some(PathJob { sampling, ..from_low }), hl, None, ll],
        high: Some(OutputJob {
            y: sums,
            slice: Slice::whole(sums.dims.c),
            first_row: 0,
            groups: output.groups,
            bias: None,
            residual: None,
            pooled: None,
        }),
        low: high.low.take(),
        activation: high.activation,
        low_extent: None,
        low_sums: None,
        at_low_resolution: true,
        slices: None,
    };
    high.paths = [high.paths[Path::HH as usize], None, None, None];
    high.low_sums = Some(sums);
    let mut steps = pools.steps;
    steps.push(planner.convolve(&low)?);
    steps.push(planner.convolve(&high)?);
    Ok(steps)
}

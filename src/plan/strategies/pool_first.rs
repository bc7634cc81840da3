//! First one dispatch per pooled map, into scratch. Then one dispatch that reads them, or one per output if the device
//! cannot bind so many buffers.

use super::planner::{Planner, Pools};
use super::split;
use crate::error::Error;
use crate::kernels::Step;
use crate::layer::Path;

pub(super) fn steps(planner: &mut Planner) -> Result<Vec<Step>, Error> {
    let mut pools = Pools::default();
    let mut job = planner.job(planner.given_pool());
    let spared = planner.variant.family.kernels().free_poolings();
    for path in [Path::HH, Path::HL, Path::LL] {
        let Some(mut path_job) = job.paths[path as usize] else { continue };
        let own = if path == Path::HH { 0 } else { spared };
        let levels = path_job.sampling.level.saturating_sub(own);
        path_job.source = planner.pooled(&mut pools, path_job.source, levels)?;
        path_job.sampling.level -= levels;
        job.paths[path as usize] = Some(path_job);
    }
    let mut steps = pools.steps;
    if steps.is_empty() {
        return Err(planner.refuse("nothing that its kernel reads is to be pooled"));
    }
    let fused = planner.convolve(&job)?;
    if fused.tensors.len() as u32 <= planner.layer.facts.limits.max_storage_buffers_per_shader_stage {
        steps.push(fused);
    } else {
        steps.extend(split::outputs_apart(planner, job)?);
    }
    Ok(steps)
}

//! Dispatches for the inputs at the points of a transform, for the products at those points, and for the outputs from
//! the products, with scratch between them.
//!
//! The first can pool only for H->L, and only once. At stride 2 pooled maps therefore come first, one dispatch each.

use super::planner::{Planner, Pools};
use crate::error::Error;
use crate::kernels::Step;
use crate::layer::Path;
use crate::precision::Accuracy;

pub(super) fn steps(planner: &mut Planner) -> Result<Vec<Step>, Error> {
    if planner.layer.options.accuracy == Accuracy::Exact && planner.layer.options.variant.is_none() {
        return Err(
            planner.refuse("only fast layers run it, because its error depends on inputs that an output does not see")
        );
    }
    let family = planner.variant.family.kernels();
    let mut job = planner.job(planner.given_pool());
    family.check_transform(&planner.request(&job)).map_err(|refusal| planner.refusal(refusal))?;
    let mut pools = Pools::default();
    for path in job.paths.iter_mut().flatten() {
        let spared = u32::from(path.weights == Path::HL);
        let levels = path.sampling.level.saturating_sub(spared);
        path.source = planner.pooled(&mut pools, path.source, levels)?;
        path.sampling.level -= levels;
    }
    let request = planner.request(&job);
    let mut scratch = Vec::new();
    let made = family.transform(&request, planner.scratch.len(), &mut scratch);
    let made = made.map_err(|refusal| planner.refusal(refusal))?;
    for words in scratch {
        planner.allocate_words(words)?;
    }
    let mut steps = pools.steps;
    steps.extend(made);
    Ok(steps)
}

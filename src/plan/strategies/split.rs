//! One dispatch per output.

use super::planner::Planner;
use crate::error::Error;
use crate::kernels::Step;
use crate::kernels::job::Job;
use crate::layer::{Frequency, Path};

pub(super) fn steps(planner: &Planner) -> Result<Vec<Step>, Error> {
    outputs_apart(planner, planner.job(planner.given_pool()))
}

/// One dispatch for each output of `job`.
pub(super) fn outputs_apart(planner: &Planner, job: Job) -> Result<Vec<Step>, Error> {
    if job.high.is_none() || job.low.is_none() {
        return Err(planner.refuse("a split needs two outputs"));
    }
    let part = |frequency: Frequency| {
        let mut part = job.clone();
        for path in Path::ALL.into_iter().filter(|path| path.output() != frequency) {
            part.paths[path as usize] = None;
        }
        match frequency {
            Frequency::High => part.low = None,
            Frequency::Low => part.high = None,
        }
        part
    };
    Ok(vec![planner.convolve(&part(Frequency::High))?, planner.convolve(&part(Frequency::Low))?])
}

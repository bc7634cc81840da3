//! All paths and the epilogue of both outputs in one dispatch.

use super::planner::Planner;
use crate::error::Error;
use crate::kernels::Step;

pub(super) fn steps(planner: &Planner) -> Result<Vec<Step>, Error> {
    let job = planner.job(planner.given_pool());
    Ok(vec![planner.convolve(&job)?])
}

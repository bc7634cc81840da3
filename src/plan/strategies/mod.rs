//! How a layer is cut into dispatches. There is one file per strategy, and `planner.rs` for what they share.

mod fused;
mod low_first;
mod planner;
mod pool_first;
mod split;
mod split_k;
mod transform;
mod unfused;

pub(super) use planner::Planner;

use super::variant::Strategy;
use crate::error::Error;
use crate::kernels::Step;
use crate::precision::Dtype;

/// The dispatches of the planner's variant.
pub(super) fn steps(planner: &mut Planner) -> Result<Vec<Step>, Error> {
    let family = planner.variant.family.kernels();
    if family.products() == Dtype::F16 && planner.layer.options.precision.sums != Dtype::F16 {
        return Err(planner.refuse("the options do not allow sums of f16"));
    }
    match planner.variant.strategy {
        Strategy::Fused => fused::steps(planner),
        Strategy::Split => split::steps(planner),
        Strategy::PoolFirst => pool_first::steps(planner),
        Strategy::LowFirst => low_first::steps(planner),
        Strategy::SplitK => split_k::steps(planner),
        Strategy::Transform => transform::steps(planner),
        Strategy::Unfused => unfused::steps(planner),
    }
}

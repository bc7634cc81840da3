//! One dispatch, ready to be bound.

use super::job::TensorId;
pub(crate) use super::kernel::Kernel;
use super::packing::Packing;
use crate::device::{DeviceFacts, Work};
use crate::error::Error;

/// Workgroups in two dimensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grid {
    pub(crate) x: u32,
    pub(crate) y: u32,
}

impl Grid {
    /// The most workgroups of which sixteen times as many can be counted in 32 bits, as `shaders/common/turns.wgsl` does.
    const MOST: u64 = (1 << 28) - 1;

    /// As few rows as fit: kernels count workgroups as x + y * grid_x, and skip those beyond the last.
    pub(crate) fn fold(workgroups: u64, facts: &DeviceFacts) -> Result<Self, Error> {
        let most = u64::from(facts.limits.max_compute_workgroups_per_dimension.max(1));
        let y = workgroups.div_ceil(most).max(1);
        let x = workgroups.div_ceil(y).max(1);
        if y > most || x * y > Self::MOST {
            let (limit, allowed) = match most * most {
                squared if squared <= Self::MOST => ("max_compute_workgroups_per_dimension squared", squared),
                _ => ("what kernels can count", Self::MOST),
            };
            let what = "the layer's output, in workgroups,".into();
            return Err(Error::Limit { what, needs: workgroups, limit, allowed });
        }
        Ok(Self { x: x as u32, y: y as u32 })
    }
}

/// One dispatch. What tells two of them apart soonest comes first: a planner compares many.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Step {
    pub(crate) grid: Grid,
    /// The bytes of its uniform.
    pub(crate) shape: Vec<u8>,
    /// What is bound, in binding order behind the uniform.
    pub(crate) tensors: Vec<TensorId>,
    /// How it wants its weights, where it has any.
    pub(crate) packing: Option<Packing>,
    /// The most products that it adds up in f16; 0 if it adds none.
    pub(crate) f16_terms: u32,
    /// What it asks of a device.
    pub(crate) work: Work,
    pub(crate) kernel: Kernel,
}

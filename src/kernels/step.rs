//! One dispatch, ready to be bound.

use std::borrow::Cow;
use std::ops::Range;

use super::access::Access;
use super::job::TensorId;
pub(crate) use super::kernel::Kernel;
use super::packing::Packing;
use super::types::ELEMENTWISE_WORKGROUP;
use crate::device::{DeviceFacts, Work};
use crate::error::Error;

/// The workgroups of a dispatch, in two dimensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grid {
    pub(crate) x: u32,
    pub(crate) y: u32,
}

impl Grid {
    /// The most workgroups: `shaders/common/turns.wgsl` multiplies their number by sixteen, in 32 bits.
    const MOST: u64 = (1 << 28) - 1;

    /// Folds workgroups into as few rows as the device allows. Kernels number workgroups as x + y * grid_x, and skip
    /// those beyond the last.
    ///
    /// # Errors
    ///
    /// The device has no compute shaders, or there are more workgroups than the device or the kernels can number.
    pub(crate) fn fold(workgroups: u64, facts: &DeviceFacts) -> Result<Self, Error> {
        // A device without compute shaders, such as WebGL's, allows no thread.
        within_workgroup("a workgroup, in threads,", 1, facts)?;
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

    /// The same for so many threads in workgroups of [`ELEMENTWISE_WORKGROUP`].
    ///
    /// # Errors
    ///
    /// The device allows no such workgroups, or not so many.
    pub(crate) fn of_threads(threads: u64, facts: &DeviceFacts) -> Result<Self, Error> {
        within_workgroup("a workgroup, in threads,", ELEMENTWISE_WORKGROUP, facts)?;
        Self::fold(threads.div_ceil(u64::from(ELEMENTWISE_WORKGROUP)), facts)
    }
}

/// Refuses a workgroup of so many threads along x unless the device allows it. `what` is the subject of the error.
pub(super) fn within_workgroup(what: &str, threads: u32, facts: &DeviceFacts) -> Result<(), Error> {
    let limits = &facts.limits;
    within(what, threads, "max_compute_invocations_per_workgroup", limits.max_compute_invocations_per_workgroup)?;
    within(what, threads, "max_compute_workgroup_size_x", limits.max_compute_workgroup_size_x)
}

/// What a workgroup needs of a limit of the device.
pub(super) fn within(what: &str, needs: u32, limit: &'static str, allowed: u32) -> Result<(), Error> {
    match needs <= allowed {
        true => Ok(()),
        false => Err(Error::Limit { what: what.into(), needs: needs.into(), limit, allowed: allowed.into() }),
    }
}

/// One dispatch. The fields that most often differ come first, because a planner compares many steps.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Step {
    pub(crate) grid: Grid,
    /// The bytes of its uniform.
    pub(crate) shape: Vec<u8>,
    /// What is bound, in binding order, after the uniform at binding 0.
    pub(crate) tensors: Vec<TensorId>,
    /// The layout of its weights, if it has any.
    pub(crate) packing: Option<Packing>,
    /// The most products that it adds up in f16; 0 if it adds none.
    pub(crate) f16_terms: u32,
    /// Its work on a device, for the estimate.
    pub(crate) work: Work,
    pub(crate) kernel: Kernel,
}

impl Step {
    /// A dispatch that has no packed weights, no sums of f16, and no estimate of its work. `shape` is its uniform, and `tensors`
    /// are in the order of their bindings.
    pub(crate) fn new(kernel: Kernel, shape: &impl bytemuck::NoUninit, tensors: Vec<TensorId>, grid: Grid) -> Self {
        let shape = bytemuck::bytes_of(shape).to_vec();
        Self { grid, shape, tensors, packing: None, f16_terms: 0, work: Work::default(), kernel }
    }
    /// Its kernel if its tensors lie in these buffers, in the order of their bindings: what it reads may lie in one with what
    /// it writes, and is then bound as if it were written. With `read_write` everything is, whatever its buffer. But not the
    /// weights, which drivers load faster if they know that nobody writes them.
    pub(crate) fn kernel_in<B: PartialEq>(&self, buffers: &[Option<B>], read_write: bool) -> Cow<'_, Kernel> {
        let written: Vec<_> = self.kernel.accesses().iter().map(|&access| access == Access::Write).collect();
        let with_written = |i: usize| {
            let same = |other: usize| written[other] && buffers[other].is_some() && buffers[other] == buffers[i];
            read_write || (0..buffers.len()).any(same)
        };
        if !(0..buffers.len()).any(|i| !written[i] && with_written(i)) {
            return Cow::Borrowed(&self.kernel);
        }
        Cow::Owned(self.kernel.sharing(|i| self.tensors[i] != TensorId::Weights && with_written(i)))
    }

    /// Two of its tensors that share bytes, of which this kernel, one of [`Step::kernel_in`], binds at least one as written.
    /// `places` are the buffers and their bytes, in the order of the bindings. WebGPU refuses to dispatch that, even if nothing
    /// writes those bytes. wgpu's own backends and other languages than WGSL take it.
    pub(crate) fn alias<B: PartialEq>(
        &self,
        kernel: &Kernel,
        places: &[Option<(B, Range<u64>)>],
    ) -> Option<[TensorId; 2]> {
        let accesses = kernel.accesses();
        let share = |i: usize, other: usize| {
            let read = [i, other].into_iter().all(|i| accesses[i] == Access::Read);
            let both = places[i].as_ref().zip(places[other].as_ref());
            !read && both.is_some_and(|((a, x), (b, y))| a == b && x.start < y.end && y.start < x.end)
        };
        (0..places.len()).find_map(|i| {
            let other = (0..i).find(|&other| share(i, other))?;
            Some([self.tensors[other], self.tensors[i]])
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dims::InputSize;
    use crate::layer::Spec;
    use crate::plan::{Options, Plan};

    #[test]
    fn workgroups_that_a_device_does_not_allow_are_refused() {
        let with = |threads| {
            let limits = wgpu::Limits { max_compute_invocations_per_workgroup: threads, ..wgpu::Limits::default() };
            DeviceFacts { limits, ..DeviceFacts::default() }
        };
        assert_eq!(Grid::of_threads(65, &with(64)).unwrap(), Grid { x: 2, y: 1 });
        assert_eq!(
            Grid::of_threads(1, &with(32)).unwrap_err().to_string(),
            "a workgroup, in threads, needs 64, but max_compute_invocations_per_workgroup is 32"
        );
        assert_eq!(Grid::fold(3, &with(1)).unwrap(), Grid { x: 3, y: 1 });
        assert!(Grid::fold(3, &with(0)).is_err());
    }

    #[test]
    fn an_alias_is_bytes_that_are_bound_twice_and_once_as_written() {
        let spec = Spec::builder(4, 4).kernel([1, 1]).residual(true, false).build().unwrap();
        let options = Options { variant: Some("fused/direct".parse().unwrap()), ..Options::default() };
        let plan = Plan::new(&spec, InputSize::image(1, 4, 4), &options, &DeviceFacts::default()).unwrap();
        let [step] = plan.steps.as_slice() else { panic!("{:?}", plan.steps) };
        let alias = |of: &dyn Fn(TensorId) -> Option<(u32, Range<u64>)>, read_write| {
            let places: Vec<_> = step.tensors.iter().map(|&id| of(id)).collect();
            let buffers: Vec<_> = places.iter().map(|place| place.as_ref().map(|(buffer, _)| buffer)).collect();
            step.alias(&step.kernel_in(&buffers, read_write), &places)
        };
        // A residual from a byte of buffer 0 on, an input of 256 bytes there, and an output.
        let place = |residual: u64, y: u32| {
            move |id| match id {
                TensorId::XH => Some((0, 0..256)),
                TensorId::ResidualH => Some((0, residual..residual + 256)),
                TensorId::YH => Some((y, 512..768)),
                // Bound twice, but only to be read.
                TensorId::Weights => Some((2, 0..64)),
                _ => None,
            }
        };
        let mut both = alias(&place(0, 0), false).unwrap();
        both.sort_unstable();
        assert_eq!(both, [TensorId::XH, TensorId::ResidualH]);
        for residual in [0, 252] {
            assert!(alias(&place(residual, 0), false).is_some() && alias(&place(residual, 1), true).is_some());
            assert_eq!(alias(&place(residual, 1), false), None);
        }
        assert_eq!(alias(&place(256, 0), false), None);
        assert_eq!(alias(&place(256, 1), true), None);
    }
}

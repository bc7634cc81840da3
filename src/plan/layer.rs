//! A layer at a size on a device, validated once for all of its variants.

use super::interface::check_interface;
use super::options::{Options, validate_options};
use crate::device::DeviceFacts;
use crate::dims::InputSize;
use crate::error::Error;
use crate::kernels::Types;
use crate::kernels::job::{Operand, TensorId};
use crate::layer::{Frequency, Path, Shapes, Spec};

/// A layer with everything that its plans depend on, except the variant.
pub(super) struct LayerOnDevice<'a> {
    pub(super) spec: &'a Spec,
    pub(super) size: InputSize,
    pub(super) options: &'a Options,
    pub(super) facts: &'a DeviceFacts,
    pub(super) shapes: Shapes,
    pub(super) types: Types,
}

impl<'a> LayerOnDevice<'a> {
    pub(super) fn new(
        spec: &'a Spec,
        size: InputSize,
        options: &'a Options,
        facts: &'a DeviceFacts,
    ) -> Result<Self, Error> {
        let shapes = spec.shapes(size)?;
        validate_options(spec, &shapes, options, facts)?;
        check_interface(spec, &shapes, options, facts)?;
        facts.check_iterations("an output of the layer", iterations(spec))?;
        let types = Types::new(options.precision, facts);
        Ok(Self { spec, size, options, facts, shapes, types })
    }

    /// pool(X_H), if the caller gives it.
    pub(super) fn given_pool(&self) -> Option<Operand> {
        let dims = self.shapes.x_p.filter(|_| self.options.pooled_input)?;
        Some(Operand { id: TensorId::XP, dims })
    }
}

/// Iterations of loops that no kernel needs more of per tap of a path, besides one for each input channel.
const ITERATIONS_A_TAP: u64 = 16;

/// More iterations of loops than a thread of any kernel makes for an output: those over taps and input channels.
fn iterations(spec: &Spec) -> u64 {
    let of_path = |path: Path| {
        let [_, channels, t, h, w] = spec.weight_shape(path).map(u64::from);
        t.saturating_mul(h * w).saturating_mul(channels + ITERATIONS_A_TAP)
    };
    let of_output = |low: bool| {
        let paths = Path::ALL.into_iter().filter(|&path| spec.has(path) && (path.output() == Frequency::Low) == low);
        paths.map(of_path).fold(0, u64::saturating_add)
    };
    of_output(false).max(of_output(true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Plan;

    #[test]
    fn layers_keep_within_what_a_driver_runs() {
        let plan = |channels: u32, kernel: [u32; 2], loop_iterations| {
            let facts = DeviceFacts { software: true, loop_iterations, ..DeviceFacts::default() };
            let spec = Spec::builder(channels, 1).kernel(kernel).same_padding().build().unwrap();
            Plan::new(&spec, InputSize::image(1, 9, 9), &Options::default(), &facts).map(drop)
        };
        for (channels, kernel) in [(66_001, [1, 1]), (8_000, [3, 3]), (1, [301, 301]), (1, [32_001, 1])] {
            assert_eq!(plan(channels, kernel, None), Ok(()), "{channels} {kernel:?}");
            let refused = plan(channels, kernel, Some(65_535));
            assert!(matches!(refused, Err(Error::Limit { allowed: 65_535, .. })), "{channels} {kernel:?}: {refused:?}");
        }
        // As many as known networks have, and more.
        for (channels, kernel) in [(25_088, [1, 1]), (4_096, [3, 3]), (512, [7, 7]), (1, [31, 31])] {
            assert_eq!(plan(channels, kernel, Some(65_535)), Ok(()), "{channels} {kernel:?}");
        }
    }
}

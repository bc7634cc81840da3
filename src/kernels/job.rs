//! What a dispatch has to do, before a kernel is chosen for it.

use crate::dims::{Dims, Extent};
use crate::layer::{Activation, Frequency, Path, Sampling};
use crate::precision::Dtype;

/// Adjacent channels of a larger tensor, starting at `first`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slice {
    /// Channels in front of the slice.
    pub first: u32,
    /// Channels of the whole tensor.
    pub of: u32,
}

impl Slice {
    /// All channels of a tensor.
    pub(crate) fn whole(channels: u32) -> Self {
        Self { first: 0, of: channels }
    }
}

/// A tensor of a layer, a buffer of its plan, or a texture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum TensorId {
    Weights,
    XH,
    XL,
    XP,
    ResidualH,
    ResidualL,
    YH,
    YL,
    YP,
    Scratch(usize),
    Texture,
}

impl TensorId {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Weights => "weights",
            Self::XH => "x_h",
            Self::XL => "x_l",
            Self::XP => "x_p",
            Self::ResidualH => "residual_h",
            Self::ResidualL => "residual_l",
            Self::YH => "y_h",
            Self::YL => "y_l",
            Self::YP => "y_p",
            Self::Scratch(_) => "scratch",
            Self::Texture => "texture",
        }
    }
}

/// A tensor with its shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Operand {
    pub(crate) id: TensorId,
    pub(crate) dims: Dims,
}

/// What one convolving dispatch has to do. `paths` has a slot for each path of a kernel, in the order of [`Path::ALL`].
/// A slot may have the work of another path: the unfused strategy runs every path in the slot of H->H.
#[derive(Clone, Debug, Default)]
pub(crate) struct Job {
    pub(crate) paths: [Option<PathJob>; 4],
    pub(crate) high: Option<OutputJob>,
    pub(crate) low: Option<OutputJob>,
    pub(crate) activation: Activation,
    /// Rows and columns of the L->H convolution before it is replicated.
    pub(crate) low_extent: Option<Extent>,
    /// The sums of L->H, if an earlier dispatch has made them. The path itself is then absent.
    pub(crate) low_sums: Option<Operand>,
    /// Both outputs are at low resolution: Y_L, and the sums of L->H in place of Y_H.
    pub(crate) at_low_resolution: bool,
    /// Number of slices into which the input channels are cut. The outputs are then the partial sums of each slice, one
    /// slice after the other.
    pub(crate) slices: Option<u32>,
}

impl Job {
    pub(crate) fn path(&self, path: Path) -> Option<&PathJob> {
        self.paths[path as usize].as_ref()
    }

    /// Y_H, or Y_L.
    pub(crate) fn output(&self, frequency: Frequency) -> Option<&OutputJob> {
        match frequency {
            Frequency::High => self.high.as_ref(),
            Frequency::Low => self.low.as_ref(),
        }
    }

    /// The outputs that are present: Y_H, then Y_L.
    pub(crate) fn outputs(&self) -> impl Iterator<Item = &OutputJob> {
        [&self.high, &self.low].into_iter().flatten()
    }

    /// The paths that are present, in the order of [`Path::ALL`], each with the output that it adds to.
    pub(crate) fn paths_into_outputs(&self) -> impl Iterator<Item = (Path, &PathJob, &OutputJob)> {
        Path::ALL.into_iter().filter_map(|path| Some((path, self.path(path)?, self.output(path.output())?)))
    }

    /// Bytes of all tensors except the weights. A tensor that several paths read counts once.
    pub(crate) fn bytes(&self, dtype: Dtype) -> u64 {
        let mut tensors: Vec<Operand> = self.paths.iter().flatten().map(|path| path.source).collect();
        // Partial sums of slices are f32.
        let times = self.slices.map_or(1, |slices| slices * (4 / dtype.bytes()) as u32);
        for output in [&self.high, &self.low].into_iter().flatten() {
            let dims = output.y.dims;
            tensors.push(Operand { dims: Dims { n: dims.n.saturating_mul(times), ..dims }, ..output.y });
            tensors.extend(output.residual.map(|id| Operand { id, ..output.y }));
            tensors.extend(output.pooled);
        }
        tensors.extend(self.low_sums);
        tensors.sort_by_key(|operand| operand.id);
        tensors.dedup_by_key(|operand| operand.id);
        tensors.iter().map(|operand| operand.dims.elements().saturating_mul(dtype.bytes())).sum()
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct PathJob {
    pub(crate) source: Operand,
    pub(crate) sampling: Sampling,
    /// The path whose weights it uses.
    pub(crate) weights: Path,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct OutputJob {
    pub(crate) y: Operand,
    pub(crate) groups: u32,
    /// Where its channels lie in the tensor `y`.
    pub(crate) slice: Slice,
    /// The row of the output that is the first row of `y`. Rows beyond the last row of `y` are not made.
    pub(crate) first_row: u32,
    /// The output whose bias it adds; `None` for a partial sum.
    pub(crate) bias: Option<Frequency>,
    pub(crate) residual: Option<TensorId>,
    /// pool(y), if it is written too.
    pub(crate) pooled: Option<Operand>,
}

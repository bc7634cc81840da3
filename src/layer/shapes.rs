//! The shapes of a layer's tensors, and how each path samples its input.

use super::axes::Downsample;
use super::spec::{MAX_AXIS, Spec};
use super::split::{Frequency, Path};
use crate::dims::{Dims, Extent, InputSize};
use crate::error::Error;

/// The shapes of all tensors of a layer. `None` if the layer has no such tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shapes {
    /// X_H `[n, c_high, t, h, w]`.
    pub x_h: Option<Dims>,
    /// X_L `[n, c_low, t, h/2, w/2]`, halves rounded as the specification says.
    pub x_l: Option<Dims>,
    /// pool(X_H) `[n, c_high, t, h/2, w/2]`, if the layer can read it instead of pooling X_H itself
    /// ([`Spec::pools_input`]).
    pub x_p: Option<Dims>,
    /// Y_H, and the residual that is added to it.
    pub y_h: Option<Dims>,
    /// Y_L, and the residual that is added to it.
    pub y_l: Option<Dims>,
    /// pool(Y_H), which a layer can write in addition to Y_H.
    pub y_p: Option<Dims>,
}

/// How a path gets to the resolution at which it convolves, and from there to that of its output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Sampling {
    /// 2x2 averages before the convolution: 0, 1 or 2. If there are any, the convolution has stride 1.
    pub level: u32,
    /// The stride of the convolution: 1; or 2 or 4 with `Downsample::StridedConv`.
    pub step: u32,
    /// Whether the result is replicated 2x2 after the convolution.
    pub upsample: bool,
}

impl Sampling {
    /// The same sampling with one halving less: H->L as far as the resolution of Y_H.
    pub(crate) fn before_half(self) -> Self {
        Self { level: self.level.saturating_sub(1), step: (self.step / 2).max(1), upsample: false }
    }
}

impl Spec {
    /// Whether a path of the layer averages X_H over 2x2 positions. Then the layer can read pool(X_H) in place of doing so
    /// itself: [`Options::pooled_input`](crate::Options::pooled_input).
    pub fn pools_input(&self) -> bool {
        [Path::HH, Path::HL].into_iter().any(|path| self.has(path) && self.sampling(path).level > 0)
    }

    pub(crate) fn sampling(&self, path: Path) -> Sampling {
        let (level, upsample) = match (path, self.stride) {
            (Path::HH | Path::LL, 1) => (0, false),
            (Path::HH | Path::LL, _) => (1, false),
            (Path::HL, 1) => (1, false),
            (Path::HL, _) => (2, false),
            (Path::LH, 1) => (0, true),
            (Path::LH, _) => (0, false),
        };
        match self.downsample {
            Downsample::AveragePool => Sampling { level, step: 1, upsample },
            Downsample::StridedConv => Sampling { level: 0, step: 1 << level, upsample },
        }
    }

    /// Rows and columns of the result of a path's convolution, before it is replicated.
    fn path_extent(&self, path: Path, source: Dims) -> Result<Extent, Error> {
        let Sampling { level, step, .. } = self.sampling(path);
        let mut map = source;
        for _ in 0..level {
            map = map.pooled(self.rounding);
        }
        if map.h == 0 || map.w == 0 {
            let allowed = format!("must be large enough for {} to pool it {level} times", path.arrow());
            return Err(Error::argument("h x w", source.extent(), allowed));
        }
        let h = conv_size(path.arrow(), "height", map.h, self.kernel[0], step, self.padding[0], self.dilation[0])?;
        let w = conv_size(path.arrow(), "width", map.w, self.kernel[1], step, self.padding[1], self.dilation[1])?;
        Ok(Extent { h, w })
    }

    fn half_extent(&self, extent: Extent) -> Extent {
        Extent { h: self.rounding.half(extent.h), w: self.rounding.half(extent.w) }
    }

    /// The shapes of all tensors for an input of `size`.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] if `size` is out of range, or too small for the layer's pools or kernel, or if the padding makes an
    /// axis of an output longer than that of an input may be. [`Error::Resolutions`] or [`Error::Paths`] if the padding
    /// makes the two resolutions or two paths disagree.
    pub fn shapes(&self, size: InputSize) -> Result<Shapes, Error> {
        for (name, value) in [("n", size.n), ("t", size.t), ("h", size.h), ("w", size.w)] {
            if value == 0 || value > MAX_AXIS {
                return Err(Error::argument(name, value, format!("must be 1 to {MAX_AXIS}")));
            }
        }
        let InputSize { n, t, h, w } = size;
        let full = Dims { n, c: self.input.high, t, h, w };
        let half = full.pooled(self.rounding).with_channels(self.input.low);
        let has_low = self.input.low > 0 || self.output.low > 0;
        if has_low && (half.h == 0 || half.w == 0) {
            return Err(Error::argument("h x w", full.extent(), "must be at least 2x2 where odd sizes are floored"));
        }
        let t_out = conv_size(
            "the layer",
            "number of frames",
            t,
            self.time.kernel,
            self.time.stride,
            self.time.padding,
            self.time.dilation,
        )?;

        let extent = |path: Path| -> Result<Option<(&'static str, Extent)>, Error> {
            if !self.has(path) {
                return Ok(None);
            }
            let source = if path.input() == Frequency::High { full } else { half };
            Ok(Some((path.arrow(), self.path_extent(path, source)?)))
        };
        let (hh, hl, lh, ll) = (extent(Path::HH)?, extent(Path::HL)?, extent(Path::LH)?, extent(Path::LL)?);

        // Y_H has the size that H->H gives. If there is only L->H, it has the size that H->H would give.
        let high = match (hh, lh) {
            (Some(hh), _) => Some(hh),
            (None, Some(_)) => Some(("the input's size", self.path_extent(Path::HH, full)?)),
            (None, None) => None,
        };
        if let (Some((high_from, high)), Some((low_from, low))) = (high, lh) {
            if self.stride == 1 && low != self.half_extent(high) {
                return Err(Error::Resolutions { high_from, high, low_from, low, expected: self.half_extent(high) });
            }
            if self.stride == 2 && low != high {
                let (first_from, first, second_from, second) = (high_from, high, low_from, low);
                return Err(Error::Paths { output: "Y_H", first_from, first, second_from, second });
            }
        }
        let low = ll.or(hl);
        if let (Some((first_from, first)), Some((second_from, second))) = (ll, hl)
            && first != second
        {
            return Err(Error::Paths { output: "Y_L", first_from, first, second_from, second });
        }
        if let Some((low_from, low)) = low {
            // Y_L must fit Y_H. If this layer has no Y_H, it must fit the one that H->H would give.
            let beside = match high {
                Some(high) => Some(high),
                None if self.input.high > 0 => Some(("the input's size", self.path_extent(Path::HH, full)?)),
                None => None,
            };
            if let Some((high_from, high)) = beside
                && low != self.half_extent(high)
            {
                return Err(Error::Resolutions { high_from, high, low_from, low, expected: self.half_extent(high) });
            }
        }

        let output = |e: Option<(&str, Extent)>, c: u32| e.map(|(_, Extent { h, w })| Dims { n, c, t: t_out, h, w });
        let y_h = output(high, self.output.high);
        let y_l = output(low, self.output.low);
        let pooled = |map: Dims| map.pooled_if_any(self.rounding);
        let x_h = (self.input.high > 0).then_some(full);
        Ok(Shapes {
            x_h,
            x_l: (self.input.low > 0).then_some(half),
            x_p: x_h.filter(|_| self.pools_input()).and_then(pooled),
            y_h,
            y_l,
            y_p: y_h.and_then(pooled),
        })
    }

    /// The size of the output at full resolution, even if the layer has no Y_H. It is the `size` of a layer that reads
    /// this one's outputs.
    ///
    /// # Errors
    ///
    /// Those of [`Spec::shapes`]. [`Error::Resolutions`] if Y_L is the only output, and no output of full resolution
    /// would fit it: its padding changes the size too much.
    pub fn output_size(&self, size: InputSize) -> Result<InputSize, Error> {
        let shapes = self.shapes(size)?;
        let (any, extent) = match (shapes.y_h, shapes.y_l) {
            (Some(y_h), _) => (y_h, y_h.extent()),
            (None, Some(y_l)) => {
                let full = Dims { n: size.n, c: 1, t: size.t, h: size.h, w: size.w };
                let (high, low) = (self.path_extent(Path::HH, full)?, y_l.extent());
                let expected = self.half_extent(high);
                if low != expected {
                    // Any path from X_H has been compared with it before.
                    let (high_from, low_from) = ("the input's size", Path::LL.arrow());
                    return Err(Error::Resolutions { high_from, high, low_from, low, expected });
                }
                (y_l, high)
            }
            (None, None) => return Err(Error::argument("out_channels", 0, "must be at least 1")),
        };
        Ok(InputSize { n: any.n, t: any.t, h: extent.h, w: extent.w })
    }
}

/// floor((size + 2 * padding - dilation * (kernel - 1) - 1) / stride) + 1, or an error if the kernel does not fit.
fn conv_size(
    of: &'static str,
    axis: &'static str,
    size: u32,
    kernel: u32,
    stride: u32,
    padding: u32,
    dilation: u32,
) -> Result<u32, Error> {
    let reach = u64::from(dilation) * u64::from(kernel - 1) + 1;
    let padded = u64::from(size) + 2 * u64::from(padding);
    if padded < reach {
        let allowed = format!(
            "must reach no further than the {axis} that {of} reads, {size} with padding {padding} on both sides"
        );
        return Err(Error::argument("kernel", format!("{kernel} with dilation {dilation}, {reach} in all"), allowed));
    }
    let outputs = (padded - reach) / u64::from(stride) + 1;
    if outputs > u64::from(MAX_AXIS) {
        let allowed = format!("must leave the {axis} that {of} makes at most {MAX_AXIS}, not {outputs}");
        return Err(Error::argument("padding", padding, allowed));
    }
    Ok(outputs as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_has_no_longer_axis_than_an_input_may_have() {
        let shapes = |padding: [u32; 2], stride: u32| {
            let spec = Spec::builder(1, 1).kernel([1, 1]).padding(padding).stride(stride).build().unwrap();
            let size = InputSize::image(1, 1, 1);
            spec.output_size(size).map(|size| spec.shapes(size).err())
        };
        for stride in [1, 2] {
            let refused = shapes([0, MAX_AXIS], stride).unwrap_err();
            assert!(matches!(refused, Error::Argument { name: "padding", .. }), "{refused}");
        }
        let longest = shapes([0, MAX_AXIS / 2 - 1], 1).unwrap();
        assert!(matches!(longest, Some(Error::Argument { name: "padding", .. })), "{longest:?}");
    }
}

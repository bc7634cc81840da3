//! A feature map of two frequencies.

use burn::tensor::{DType, Device, Tensor};

/// A feature map `[n, c, h, w]` whose channels are split by frequency: high channels at full resolution, low channels at half of
/// it. One of the two may be absent.
#[derive(Clone, Debug)]
pub struct OctTensor {
    high: Option<Tensor<4>>,
    low: Option<Tensor<4>>,
    /// Rows and columns at full resolution, also if there are no high channels.
    size: [usize; 2],
}

impl OctTensor {
    /// A map without low channels, such as the input of a network.
    pub fn plain(high: Tensor<4>) -> Self {
        let [_, _, h, w] = high.dims();
        Self { high: Some(high), low: None, size: [h, w] }
    }

    /// A map with both frequencies.
    ///
    /// # Panics
    ///
    /// If the tensors differ in samples, device or type, or if `low` has not half of the rows and columns of `high`. Halves of odd
    /// numbers may be rounded up or down.
    pub fn new(high: Tensor<4>, low: Tensor<4>) -> Self {
        let ([n, _, h, w], [low_n, _, low_h, low_w]) = (high.dims(), low.dims());
        assert_eq!(low_n, n, "OctTensor: high has {n} samples and low has {low_n}: they must have the same");
        assert_eq!(low.dtype(), high.dtype(), "OctTensor: high and low must have the same type");
        assert_eq!(low.device(), high.device(), "OctTensor: high and low must be on the same device");
        for (axis, high, low) in [("rows", h, low_h), ("columns", w, low_w)] {
            assert!(
                low == high / 2 || low == high.div_ceil(2),
                "OctTensor: high has {high} {axis} and low has {low}: low must have half of them"
            );
        }
        Self { high: Some(high), low: Some(low), size: [h, w] }
    }

    /// A map without high channels. `size` is its rows and columns at full resolution.
    ///
    /// # Panics
    ///
    /// If `low` has not half of the rows and columns of `size`.
    pub fn low_only(low: Tensor<4>, size: [usize; 2]) -> Self {
        let [_, _, h, w] = low.dims();
        for (axis, full, low) in [("rows", size[0], h), ("columns", size[1], w)] {
            assert!(
                low == full / 2 || low == full.div_ceil(2),
                "OctTensor: the full resolution has {full} {axis} and low has {low}: low must have half of them"
            );
        }
        Self { high: None, low: Some(low), size }
    }

    pub(crate) fn of_parts(high: Option<Tensor<4>>, low: Option<Tensor<4>>, size: [usize; 2]) -> Self {
        Self { high, low, size }
    }

    /// The high channels `[n, c, h, w]`, if there are any.
    pub fn high(&self) -> Option<&Tensor<4>> {
        self.high.as_ref()
    }

    /// The low channels `[n, c, h / 2, w / 2]`, if there are any.
    pub fn low(&self) -> Option<&Tensor<4>> {
        self.low.as_ref()
    }

    /// Both frequencies.
    pub fn into_parts(self) -> (Option<Tensor<4>>, Option<Tensor<4>>) {
        (self.high, self.low)
    }

    /// The only tensor of a map without low channels, such as the output of a last octave layer.
    ///
    /// # Panics
    ///
    /// If the map has low channels, or no high ones.
    pub fn into_plain(self) -> Tensor<4> {
        match (self.high, self.low) {
            (Some(high), None) => high,
            (high, _) => {
                let high = if high.is_some() { "high and low" } else { "low" };
                panic!("OctTensor: a plain map has high channels alone, and this one has {high} ones")
            }
        }
    }

    /// The number of samples.
    pub fn samples(&self) -> usize {
        self.any().dims()[0]
    }

    /// Rows and columns at full resolution.
    pub fn size(&self) -> [usize; 2] {
        self.size
    }

    /// The number of high and of low channels.
    pub fn channels(&self) -> [usize; 2] {
        [&self.high, &self.low].map(|part| part.as_ref().map_or(0, |part| part.dims()[1]))
    }

    /// The device.
    pub fn device(&self) -> Device {
        self.any().device()
    }

    /// Whether a frequency takes part in autodiff. Burn's operators can make such a map of which the other does not.
    pub(crate) fn is_autodiff(&self) -> bool {
        [&self.high, &self.low].into_iter().flatten().any(|part| part.device().is_autodiff())
    }

    /// The type of the elements.
    pub fn dtype(&self) -> DType {
        self.any().dtype()
    }

    /// Applies a function to both frequencies. It must keep the shape, except for the number of channels.
    pub fn map(self, mut function: impl FnMut(Tensor<4>) -> Tensor<4>) -> Self {
        Self { high: self.high.map(&mut function), low: self.low.map(&mut function), size: self.size }
    }

    fn any(&self) -> &Tensor<4> {
        self.high.as_ref().or(self.low.as_ref()).expect("each constructor sets one of them")
    }
}

//! Sizes of tensors. Nothing here knows what a layer is.

/// The size of an input at full resolution, which is that of X_H even if the layer has no X_H.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "network", derive(serde::Serialize))]
pub struct InputSize {
    /// Batch.
    pub n: u32,
    /// Frames; 1 for images.
    pub t: u32,
    /// Rows at full resolution.
    pub h: u32,
    /// Columns at full resolution.
    pub w: u32,
}

impl InputSize {
    /// `n` images of h x w at full resolution.
    pub fn image(n: u32, h: u32, w: u32) -> Self {
        Self { n, t: 1, h, w }
    }

    /// `n` clips of t frames of h x w at full resolution.
    pub fn video(n: u32, t: u32, h: u32, w: u32) -> Self {
        Self { n, t, h, w }
    }
}

/// The shape of a contiguous NCTHW tensor, which is NCHW if t = 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Dims {
    /// Batch.
    pub n: u32,
    /// Channels.
    pub c: u32,
    /// Frames.
    pub t: u32,
    /// Rows.
    pub h: u32,
    /// Columns.
    pub w: u32,
}

impl Dims {
    /// Number of elements. It saturates, so that absurd sizes are refused as too large.
    pub fn elements(self) -> u64 {
        [self.n, self.c, self.t, self.h, self.w].iter().fold(1u64, |all, &d| all.saturating_mul(u64::from(d)))
    }

    /// Number of positions of a channel. It saturates.
    #[cfg(feature = "network")]
    pub(crate) fn positions(self) -> u64 {
        Self { n: 1, c: 1, ..self }.elements()
    }

    /// The same map with other channels.
    pub(crate) fn with_channels(self, c: u32) -> Self {
        Self { c, ..self }
    }

    pub(crate) fn extent(self) -> Extent {
        Extent { h: self.h, w: self.w }
    }
}

impl std::fmt::Display for Dims {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { n, c, t, h, w } = self;
        if *t == 1 { write!(f, "{n}x{c}x{h}x{w}") } else { write!(f, "{n}x{c}x{t}x{h}x{w}") }
    }
}

/// Height and width, as error messages show them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Extent {
    /// Rows.
    pub h: u32,
    /// Columns.
    pub w: u32,
}

impl std::fmt::Display for Extent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}", self.h, self.w)
    }
}

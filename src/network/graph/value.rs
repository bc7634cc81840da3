//! What the values of a network are.

use crate::dims::{Dims, InputSize};
use crate::layer::{Rounding, Split};

/// The index of a value: 0 is the network's input, i + 1 what node i makes.
pub(crate) type ValueId = usize;

/// The network's input.
pub(crate) const INPUT_ID: ValueId = 0;

/// What a value is, whatever the size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Map(Split),
    Vector(u32),
}

/// What a value is at a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ValueShape {
    /// A map.
    Map {
        /// Batch, frames, and the size at full resolution, whether or not there is a part of high frequency.
        size: InputSize,
        /// The part of high frequency.
        high: Option<Dims>,
        /// The part of low frequency.
        low: Option<Dims>,
    },
    /// `c` numbers for each of a batch of `n`.
    Vector {
        /// Batch.
        n: u32,
        /// Elements.
        c: u32,
    },
}

impl ValueShape {
    pub(super) fn map(split: Split, size: InputSize, rounding: Rounding) -> Self {
        let InputSize { n, t, h, w } = size;
        let full = Dims { n, c: split.high, t, h, w };
        let half = full.pooled(rounding).with_channels(split.low);
        Self::Map { size, high: (split.high > 0).then_some(full), low: (split.low > 0).then_some(half) }
    }

    /// Elements of both frequencies, or of the vector.
    pub fn elements(&self) -> u64 {
        match *self {
            Self::Map { high, low, .. } => [high, low].into_iter().flatten().map(Dims::elements).sum(),
            Self::Vector { n, c } => u64::from(n) * u64::from(c),
        }
    }
}

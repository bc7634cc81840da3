//! The values of a network: maps and vectors.

use crate::dims::{Dims, InputSize};
use crate::layer::{Rounding, Split};

/// The index of a value. 0 is the network's input, and i + 1 the value of node i.
pub(crate) type ValueId = usize;

/// The index of the network's input.
pub(crate) const INPUT_ID: ValueId = 0;

/// What a value is, as far as it does not depend on the size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Map(Split),
    Vector(u32),
}

/// The shape of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ValueShape {
    /// A map.
    Map {
        /// Batch, frames, and the size at full resolution, even if there is no high frequency.
        size: InputSize,
        /// The shape of the high frequency. `None` if it has no channels.
        high: Option<Dims>,
        /// The shape of the low frequency. `None` if it has no channels.
        low: Option<Dims>,
    },
    /// One vector of `c` elements per sample.
    Vector {
        /// Batch.
        n: u32,
        /// Elements of each vector.
        c: u32,
    },
}

impl ValueShape {
    /// The size of a map at full resolution.
    pub(crate) fn size(&self) -> Option<InputSize> {
        match self {
            Self::Map { size, .. } => Some(*size),
            Self::Vector { .. } => None,
        }
    }

    pub(crate) fn map(split: Split, size: InputSize, rounding: Rounding) -> Self {
        let InputSize { n, t, h, w } = size;
        let full = Dims { n, c: split.high, t, h, w };
        let half = full.pooled(rounding).with_channels(split.low);
        Self::Map { size, high: (split.high > 0).then_some(full), low: (split.low > 0).then_some(half) }
    }

    /// Both frequencies of a map.
    pub(crate) fn parts(&self) -> [Option<Dims>; 2] {
        match *self {
            Self::Map { high, low, .. } => [high, low],
            Self::Vector { .. } => [None, None],
        }
    }

    /// Number of elements, of both frequencies or of all vectors. It saturates, as [`Dims::elements`] does.
    pub fn elements(&self) -> u64 {
        match *self {
            Self::Map { high, low, .. } => {
                [high, low].into_iter().flatten().map(Dims::elements).fold(0, u64::saturating_add)
            }
            Self::Vector { n, c } => u64::from(n) * u64::from(c),
        }
    }
}

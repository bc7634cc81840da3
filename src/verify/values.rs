//! What the inputs of a case are like: most are of one size, and others are what users' data have at its ends.

use crate::noise::Noise;
use crate::precision::Dtype;

/// What the inputs of a case are like. Weights are always of one size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Values {
    /// Between -1 and 1.
    #[default]
    Even,
    /// Of very different sizes: from 2^-40 to 2^40, or from 2^-12 to 2^6 in f16.
    Wide,
    /// Between -1 and 1, with a few infinities and NaNs.
    Infinite,
    /// Mostly zeros of both signs.
    Zeros,
    /// Mostly subnormal in their type.
    Subnormal,
    /// Between -1 and 1, with some of the largest finite values of f16, of both signs.
    Largest,
}

/// The largest finite value of f16.
pub(super) const LARGEST_F16: f32 = 65504.0;

impl Values {
    /// All kinds.
    pub fn all() -> impl ExactSizeIterator<Item = Self> {
        [Self::Even, Self::Wide, Self::Infinite, Self::Zeros, Self::Subnormal, Self::Largest].into_iter()
    }

    /// `count` values of the tensor `name`, rounded to `dtype`.
    pub(super) fn draw(self, name: &str, seed: u64, count: u64, dtype: Dtype) -> Vec<f32> {
        let (size, kind) = (Noise::new(name, seed), Noise::new(&format!("{name} kinds"), seed));
        let value = |i| self.value(size.number(i) as f32, (kind.number(i) + 1.0) / 2.0, dtype);
        (0..count).map(|i| rounded(value(i), dtype)).collect()
    }

    /// A value out of `size` in [-1, 1) and `kind` in [0, 1), which are random.
    fn value(self, size: f32, kind: f64, dtype: Dtype) -> f32 {
        match self {
            Self::Even => size,
            Self::Wide => {
                let (least, most) = if dtype == Dtype::F16 { (-12.0, 6.0) } else { (-40.0, 40.0) };
                size * (least + kind * (most - least)).round().exp2() as f32
            }
            Self::Infinite => match kind {
                ..0.004 => f32::INFINITY,
                ..0.008 => f32::NEG_INFINITY,
                ..0.01 => f32::NAN,
                _ => size,
            },
            Self::Zeros => match kind {
                ..0.4 => 0.0,
                ..0.8 => -0.0,
                _ => size,
            },
            Self::Subnormal if kind < 0.8 => size * if dtype == Dtype::F16 { 2f32.powi(-15) } else { 2f32.powi(-127) },
            Self::Subnormal => size,
            Self::Largest if kind < 0.1 => LARGEST_F16.copysign(size),
            Self::Largest => size,
        }
    }

    /// A bound on the finite values.
    pub(super) fn largest(self, dtype: Dtype) -> f64 {
        match self {
            Self::Even | Self::Infinite | Self::Zeros | Self::Subnormal => 1.0,
            Self::Wide if dtype == Dtype::F16 => 2f64.powi(6),
            Self::Wide => 2f64.powi(40),
            Self::Largest => LARGEST_F16.into(),
        }
    }
}

/// The value as the type stores it.
pub(super) fn rounded(value: f32, dtype: Dtype) -> f32 {
    match dtype {
        Dtype::F32 => value,
        Dtype::F16 => half::f16::from_f32(value).to_f32(),
    }
}

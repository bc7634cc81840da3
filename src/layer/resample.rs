//! How a network resamples maps: the factors, and the places that elements of one map have in another.

use super::spec::MAX_AXIS;
use crate::error::Error;

/// The largest number in the fraction that a factor is.
const MOST: u32 = 1024;

/// A fraction of whole numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Fraction {
    pub(crate) above: u32,
    pub(crate) below: u32,
}

impl Fraction {
    /// The fraction of small numbers that `factor` is, up to the precision of f32. There is at most one.
    pub(crate) fn of_factor(factor: f64) -> Result<Self, Error> {
        let fraction = |below: u32| {
            let above = (factor * f64::from(below)).round();
            let apart = (above / f64::from(below) - factor).abs();
            let fits = above >= 1.0 && above <= f64::from(MOST) && apart <= factor * f64::from(f32::EPSILON);
            fits.then_some(Self { above: above as u32, below })
        };
        let allowed = "must be a fraction of whole numbers from 1 to 1024, such as 2, 1.5 or 0.25";
        (1..=MOST).find_map(fraction).ok_or_else(|| Error::argument("factor", factor, allowed))
    }

    /// `size` times this, rounded down.
    fn of(self, size: u32) -> u64 {
        u64::from(size) * u64::from(self.above) / u64::from(self.below)
    }
}

/// How a map is resampled, over frames, rows and columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Resample {
    /// Whether rows and columns are interpolated. If not, the nearest element is taken, as it always is of frames.
    pub(crate) bilinear: bool,
    /// Whether the first and the last element of an axis that is interpolated keep their places.
    pub(crate) align_corners: bool,
    /// How many times as large each axis becomes. If not given, the two sizes of the axis say it.
    pub(crate) factor: Option<[Fraction; 3]>,
}

impl Resample {
    /// Whether elements of an axis (frames, rows, columns) are interpolated.
    pub(crate) fn interpolates(&self, axis: usize) -> bool {
        self.bilinear && axis > 0
    }

    /// The size that the factor makes of an axis of `size`.
    pub(crate) fn scaled(&self, axis: usize, size: u32) -> Result<u32, Error> {
        let Some(factor) = self.factor.map(|factor| factor[axis]) else { return Ok(size) };
        let scaled = factor.of(size);
        if scaled > u64::from(MAX_AXIS) {
            let (value, name) =
                (f64::from(factor.above) / f64::from(factor.below), ["frames", "rows", "columns"][axis]);
            let allowed = format!("must make at most {MAX_AXIS} of the {size} {name}");
            return Err(Error::argument("factor", value, allowed));
        }
        Ok(scaled as u32)
    }

    /// How far apart adjacent elements of an axis of `to` elements lie, in elements of the axis of `from` elements. As
    /// PyTorch mostly does, an axis whose size stays is copied, even if a factor would move its elements a little.
    pub(crate) fn distance(&self, axis: usize, from: u32, to: u32) -> Fraction {
        if self.align_corners && self.interpolates(axis) {
            return if to > 1 { Fraction { above: from - 1, below: to - 1 } } else { Fraction { above: 0, below: 1 } };
        }
        match self.factor.map(|factor| factor[axis]).filter(|_| from != to) {
            Some(Fraction { above, below }) => Fraction { above: below, below: above },
            None => Fraction { above: from, below: to },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_are_small_fractions() {
        for (factor, above, below) in [
            (2.0, 2, 1),
            (1.5, 3, 2),
            (0.25, 1, 4),
            (1.1, 11, 10),
            (2.0 / 3.0, 2, 3),
            // As f32 writes them.
            (f64::from(2.0f32 / 3.0), 2, 3),
            (0.6666667, 2, 3),
            (f64::from(1023.0f32 / 1024.0), 1023, 1024),
            (1024.0, 1024, 1),
            (1.0 / 1024.0, 1, 1024),
        ] {
            assert_eq!(Fraction::of_factor(factor).unwrap(), Fraction { above, below }, "{factor}");
        }
        for factor in [0.0, -2.0, 1025.0, 1.0 / 1025.0, std::f64::consts::E, f64::NAN, f64::INFINITY] {
            let refusal = Fraction::of_factor(factor).unwrap_err().to_string();
            assert!(refusal.starts_with(&format!("factor is {factor}: must be a fraction")), "{refusal}");
        }
    }

    #[test]
    fn sizes_are_rounded_down() {
        let resample = |factor| Resample {
            bilinear: false,
            align_corners: false,
            factor: Some([1.0, factor, 1.0].map(|factor| Fraction::of_factor(factor).unwrap())),
        };
        for (factor, size, scaled) in [(1.5, 5, 7), (0.5, 1, 0), (0.57, 100, 57), (2.0 / 3.0, 3, 2), (1.1, 30, 33)] {
            assert_eq!(resample(factor).scaled(1, size).unwrap(), scaled, "{factor} of {size}");
        }
        let refusal = resample(3.0).scaled(1, 500_000).unwrap_err().to_string();
        assert_eq!(refusal, "factor is 3: must make at most 1048576 of the 500000 rows");
    }
}

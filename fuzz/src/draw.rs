//! Numbers and choices out of the bytes of a fuzzer. When they are used up, every number is the least one.

use std::ops::RangeInclusive;

use arbitrary::Unstructured;
use octconv::{Accuracy, Activation, Dtype, InputSize, Options, Precision};

pub(crate) struct Draw<'a>(Unstructured<'a>);

impl<'a> Draw<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self(Unstructured::new(data))
    }

    /// Whether no bytes are left.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn within(&mut self, range: RangeInclusive<u32>) -> u32 {
        let least = *range.start();
        self.0.int_in_range(range).unwrap_or(least)
    }

    /// True once in `times`.
    pub(crate) fn once_in(&mut self, times: u32) -> bool {
        self.within(1..=times) == times
    }

    pub(crate) fn flag(&mut self) -> bool {
        self.once_in(2)
    }

    pub(crate) fn choose<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.within(0..=from.len() as u32 - 1) as usize].clone()
    }

    /// A number of the range, and sometimes any number.
    pub(crate) fn number(&mut self, range: RangeInclusive<u32>) -> u32 {
        if self.once_in(24) { self.wild() } else { self.within(range) }
    }

    /// Numbers of every length.
    fn wild(&mut self) -> u32 {
        let most = u32::MAX >> self.within(0..=31);
        if self.flag() { most } else { self.within(0..=most) }
    }

    pub(crate) fn numbers<const N: usize>(&mut self, range: RangeInclusive<u32>) -> [u32; N] {
        std::array::from_fn(|_| self.number(range.clone()))
    }

    pub(crate) fn size(&mut self) -> InputSize {
        let frames = if self.once_in(4) { self.number(1..=5) } else { 1 };
        let n = self.number(1..=3);
        let most = self.choose(&[3, 9, 40, 300]);
        let [h, w] = self.numbers(1..=most);
        InputSize::video(n, frames, h, w)
    }

    pub(crate) fn activation(&mut self) -> Activation {
        let activation = self.choose(&Activation::all().collect::<Vec<_>>());
        match activation {
            Activation::LeakyRelu { .. } => Activation::LeakyRelu { slope: self.float() },
            other => other,
        }
    }

    /// Any float, with NaNs and infinities.
    pub(crate) fn float(&mut self) -> f32 {
        f32::from_bits(self.within(0..=u32::MAX))
    }

    /// A share from 0 to 1, and sometimes something else.
    pub(crate) fn share(&mut self) -> f64 {
        if self.once_in(24) { self.float().into() } else { f64::from(self.within(0..=8)) / 8.0 }
    }

    /// Types, and which kernels may run.
    pub(crate) fn options(&mut self) -> Options {
        let dtype = |draw: &mut Self| draw.choose(&[Dtype::F32, Dtype::F16]);
        let precision = match self.within(0..=3) {
            0 => Precision::of(Dtype::F32),
            1 => Precision::of(Dtype::F16),
            2 => Precision { sums: Dtype::F16, ..Precision::of(Dtype::F16) },
            _ => Precision { activations: dtype(self), weights: dtype(self), sums: dtype(self) },
        };
        let accuracy = self.choose(&[Accuracy::Fast, Accuracy::Exact]);
        Options { precision, accuracy, ..Options::default() }
    }
}

//! A tensor of the reference.

use std::fmt;

use crate::dims::Dims;

/// A contiguous NCTHW tensor in f64.
#[derive(Clone, PartialEq)]
pub struct Tensor {
    /// Its shape.
    pub dims: Dims,
    /// Its elements.
    pub data: Vec<f64>,
}

/// Without the elements, which may be millions.
impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { dims, data } = self;
        f.debug_struct("Tensor").field("dims", dims).field("elements", &data.len()).finish_non_exhaustive()
    }
}

impl Tensor {
    pub(crate) fn new(dims: Dims, data: &[f32]) -> Self {
        Self { dims, data: data.iter().map(|&v| f64::from(v)).collect() }
    }

    /// The elements in f32.
    pub fn to_f32(&self) -> Vec<f32> {
        self.data.iter().map(|&v| v as f32).collect()
    }

    /// The plane of frame `t` of channel `c` of sample `n`.
    pub(crate) fn plane(&self, n: usize, c: usize, t: usize) -> &[f64] {
        let Dims { c: channels, t: frames, h, w, .. } = self.dims;
        let size = h as usize * w as usize;
        let index = (n * channels as usize + c) * frames as usize + t;
        &self.data[index * size..(index + 1) * size]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_has_no_elements() {
        let text = format!("{:?}", Tensor::new(Dims { n: 1, c: 1, t: 1, h: 2, w: 3 }, &[0.5; 6]));
        assert!(text.ends_with("elements: 6, .. }") && !text.contains("0.5"), "{text}");
    }
}

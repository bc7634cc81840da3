//! The windows of a network's pools.

/// A pool's windows over frames, rows, columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Window {
    pub(crate) kernel: [u32; 3],
    pub(crate) stride: [u32; 3],
    pub(crate) padding: [u32; 3],
}

/// Rows of a map: from which, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rows {
    pub(crate) first: u32,
    pub(crate) count: u32,
}

impl Window {
    /// The rows of a map of `h` rows that these rows of its pooled map read.
    pub(crate) fn rows_under(&self, rows: Rows, h: u32) -> Rows {
        let [kernel, stride, padding] = [self.kernel[1], self.stride[1], self.padding[1]];
        let first = (rows.first * stride).saturating_sub(padding);
        let end = ((rows.first + rows.count - 1) * stride + kernel - padding).min(h);
        Rows { first, count: end - first }
    }
}

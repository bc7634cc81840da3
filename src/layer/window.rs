//! The pool windows of a network.

/// The pool windows of a node, over frames, rows and columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Window {
    pub(crate) kernel: [u32; 3],
    pub(crate) stride: [u32; 3],
    /// How far the first pool window begins before the map.
    pub(crate) padding: [u32; 3],
    /// How far pool windows may reach behind the map. If sizes are rounded up, the last one may reach further.
    pub(crate) behind: [u32; 3],
    /// Whether the number of pool windows is rounded up.
    pub(crate) ceil: bool,
    /// Whether a mean divides by the padding too.
    pub(crate) counts_padding: bool,
}

/// `count` rows of a map from row `first` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rows {
    pub(crate) first: u32,
    pub(crate) count: u32,
}

impl Window {
    /// How many elements before the map, and behind it, count in a mean.
    pub(crate) fn counted(&self) -> [[u32; 3]; 2] {
        if self.counts_padding { [self.padding, self.behind] } else { [[0; 3]; 2] }
    }

    /// The rows of a map of `h` rows that are read for `rows` of its pooled map.
    pub(crate) fn rows_under(&self, rows: Rows, h: u32) -> Rows {
        let [kernel, stride, padding] = [self.kernel[1], self.stride[1], self.padding[1]];
        let first = (rows.first * stride).saturating_sub(padding);
        let end = ((rows.first + rows.count - 1) * stride + kernel - padding).min(h);
        Rows { first, count: end - first }
    }
}

//! The layout of weights in the buffer that a kernel reads, and the packing of a checkpoint's tensors into it.
//!
//! A packed buffer has the biases of Y_H, then of Y_L, in f32, `[block][oc]`; then the weights of each path
//! (`paths.rs`); then weights at the points of a Winograd transform (`points.rs`). A block is a number of output
//! channels of one group. The last block of a group is padded with zeros.

mod blocks;
mod element;
mod layout;
mod paths;
mod points;

pub(crate) use blocks::Blocks;
#[cfg(feature = "network")]
pub(crate) use element::check_range;
pub(crate) use layout::{BiasPacking, Offsets, Packing};
pub(crate) use paths::PathPacking;
pub(crate) use points::PointsPacking;

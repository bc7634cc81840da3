//! How weights lie in the buffer that a kernel reads, and the packing of a checkpoint's tensors into it.
//!
//! A packed buffer holds the biases of Y_H, then of Y_L, in f32, `[block][oc]`; then the kernel of each path (`paths.rs`);
//! then kernels at the points of a Winograd transform (`points.rs`). A block is `vectors * lanes` output channels of one
//! group; the last block of a group is padded with zeros.

mod blocks;
mod element;
mod layout;
mod paths;
mod points;

pub(crate) use blocks::Blocks;
pub(crate) use layout::{BiasPacking, Offsets, Packing};
pub(crate) use paths::PathPacking;
pub(crate) use points::PointsPacking;

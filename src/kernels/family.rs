//! What every family of convolution kernels implements. `registry.rs` lists the families.

use std::borrow::Cow;
use std::fmt::Display;

use super::job::{Job, TensorId};
use super::step::Step;
use super::types::Types;
use crate::device::DeviceFacts;
use crate::error::Error;
use crate::layer::Spec;
use crate::precision::Dtype;

/// What a family is asked to do: one job of a layer, on a device, with one of its tiles.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) facts: &'a DeviceFacts,
    pub(crate) spec: &'a Spec,
    pub(crate) types: Types,
    pub(crate) job: &'a Job,
    /// One of [`Family::tiles`].
    pub(crate) tile: &'static str,
}

/// Why a family does not do a job.
pub(crate) enum Refusal {
    /// The family cannot do such a job, or cannot do it with this tile.
    Reason(Cow<'static, str>),
    /// The job exceeds a limit of the device.
    Error(Error),
}

impl From<&'static str> for Refusal {
    fn from(reason: &'static str) -> Self {
        Self::Reason(reason.into())
    }
}

impl From<String> for Refusal {
    fn from(reason: String) -> Self {
        Self::Reason(reason.into())
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// A family of convolution kernels: one shader, or a few that run one after the other, with tiles of several sizes.
///
/// The methods say what a family can do besides a whole layer in one dispatch. That decides which strategies use it.
pub(crate) trait Family: Sync {
    /// Its name in variants: short, lower case.
    fn name(&self) -> &'static str;

    /// The names of its tiles, in the grammar of `docs/vocabulary.md`.
    fn tiles(&self) -> &'static [&'static str];

    /// The dispatch that does a job, or why the family does not do it.
    fn step(&self, request: &Request) -> Result<Step, Refusal>;

    /// The type of products and of the short sums that they go into first.
    fn products(&self) -> Dtype {
        Dtype::F32
    }

    /// Whether it would read pool(X_H) if the caller has it.
    fn wants_pooled_input(&self, _spec: &Spec) -> bool {
        true
    }

    /// How many poolings of its inputs it can do on load at almost no cost, so that no earlier dispatch does them.
    fn free_poolings(&self) -> u32 {
        0
    }

    /// Whether it can start Y_H from sums of L->H that an earlier dispatch has made.
    fn adds_given_sums(&self) -> bool {
        false
    }

    /// Whether it can cut the input channels into slices, each of which makes partial sums.
    fn slices_input_channels(&self) -> bool {
        false
    }

    /// Whether it can make only a band of the rows of Y_H.
    #[cfg_attr(not(feature = "network"), allow(dead_code, reason = "stems of networks ask"))]
    fn makes_bands(&self) -> bool {
        false
    }

    /// The outputs along an axis of a Winograd tile, if the family uses a Winograd transform. Its error bound then
    /// depends on this number.
    #[cfg_attr(not(feature = "context"), allow(dead_code, reason = "error bounds ask"))]
    fn transformed_outputs(&self, _tile: &str) -> Option<u32> {
        None
    }

    /// Checks that the family can do a job by a transform. The planner asks this before it plans a pooling for the job.
    fn check_transform(&self, _request: &Request) -> Result<(), Refusal> {
        Err("only the Winograd kernels have a transform".into())
    }

    /// The dispatches that do a job by a transform. Appends the sizes of the intermediate buffers, in words of 32 bits,
    /// to `scratch`. The buffer of the first entry of `scratch` is [`TensorId::Scratch`] of `first_scratch`.
    fn transform(
        &self,
        request: &Request,
        _first_scratch: usize,
        _scratch: &mut Vec<u64>,
    ) -> Result<Vec<Step>, Refusal> {
        self.check_transform(request).map(|()| Vec::new())
    }
}

/// Adds an intermediate buffer of this many words of 32 bits, and returns its id.
pub(crate) fn next_scratch(first: usize, scratch: &mut Vec<u64>, words: u64) -> TensorId {
    scratch.push(words);
    TensorId::Scratch(first + scratch.len() - 1)
}

/// The tiles of a family, found by the names that their `Display` gives. Made once per program, because it leaks the
/// names.
pub(crate) struct TileTable<T> {
    tiles: Vec<T>,
    names: Vec<&'static str>,
}

impl<T: Copy + Display> TileTable<T> {
    pub(crate) fn new(tiles: Vec<T>) -> Self {
        let names = tiles.iter().map(|tile| &*tile.to_string().leak()).collect();
        Self { tiles, names }
    }

    pub(crate) fn names(&self) -> &[&'static str] {
        &self.names
    }

    pub(crate) fn find(&self, name: &str) -> Option<T> {
        self.names.iter().position(|&other| other == name).map(|place| self.tiles[place])
    }
}

//! What all strategies share: they take the layer as one job, change it, and turn jobs into dispatches.

use crate::dims::Dims;
use crate::error::Error;
use crate::kernels::job::{Job, Operand, OutputJob, PathJob, Slice, TensorId};
use crate::kernels::{Refusal, Request, Step, pool};
use crate::layer::{Frequency, Groups, Path};
use crate::plan::layer::LayerOnDevice;
use crate::plan::variant::Variant;

/// Pooled maps in scratch, each with its source, and the dispatches that make them.
#[derive(Default)]
pub(super) struct Pools {
    maps: Vec<(Operand, Operand)>,
    pub(super) steps: Vec<Step>,
}

/// Plans one variant of a layer.
pub(in crate::plan) struct Planner<'a> {
    pub(in crate::plan) layer: &'a LayerOnDevice<'a>,
    pub(in crate::plan) variant: Variant,
    /// The scratch that has been allocated so far.
    pub(in crate::plan) scratch: Vec<Dims>,
}

impl Planner<'_> {
    /// pool(X_H), if the caller gives it and the family has a use for it.
    pub(super) fn given_pool(&self) -> Option<Operand> {
        let wanted = self.variant.family.kernels().wants_pooled_input(self.layer.spec);
        self.layer.given_pool().filter(|_| wanted)
    }

    pub(in crate::plan) fn refuse(&self, reason: impl ToString) -> Error {
        Error::Variant { variant: self.variant.untiled().to_string(), reason: reason.to_string() }
    }

    /// The whole layer as one job. If `pooled` is given, every path that pools X_H reads it instead.
    pub(in crate::plan) fn job(&self, pooled: Option<Operand>) -> Job {
        let (spec, shapes) = (self.layer.spec, &self.layer.shapes);
        let mut job = Job { activation: spec.activation(), ..Job::default() };
        for path in Path::ALL.into_iter().filter(|&path| spec.has(path)) {
            let mut sampling = spec.sampling(path);
            let source = match (path.input(), pooled) {
                (Frequency::High, Some(pooled)) if sampling.level > 0 => {
                    sampling.level -= 1;
                    Some(pooled)
                }
                (Frequency::High, _) => shapes.x_h.map(|dims| Operand { id: TensorId::XH, dims }),
                (Frequency::Low, _) => shapes.x_l.map(|dims| Operand { id: TensorId::XL, dims }),
            };
            job.paths[path as usize] = source.map(|source| PathJob { source, sampling, weights: path });
        }
        let groups = |frequency| match spec.groups() {
            Groups::Count(count) => count,
            Groups::Depthwise => spec.input().of(frequency),
        };
        let residual = |frequency, id| spec.has_residual(frequency).then_some(id);
        job.high = shapes.y_h.map(|dims| OutputJob {
            y: Operand { id: TensorId::YH, dims },
            slice: self.layer.options.high_slice.unwrap_or(Slice::whole(dims.c)),
            first_row: 0,
            groups: groups(Frequency::High),
            bias: Some(Frequency::High),
            residual: residual(Frequency::High, TensorId::ResidualH),
            pooled: shapes
                .y_p
                .filter(|_| self.layer.options.pooled_output)
                .map(|dims| Operand { id: TensorId::YP, dims }),
        });
        job.low = shapes.y_l.map(|dims| OutputJob {
            y: Operand { id: TensorId::YL, dims },
            slice: self.layer.options.low_slice.unwrap_or(Slice::whole(dims.c)),
            first_row: 0,
            groups: groups(Frequency::Low),
            bias: Some(Frequency::Low),
            residual: residual(Frequency::Low, TensorId::ResidualL),
            pooled: None,
        });
        job.low_extent = shapes.y_h.map(|dims| dims.pooled(spec.rounding()).extent());
        job
    }

    /// The request for a family to run `job` with the variant's tile.
    pub(super) fn request<'b>(&'b self, job: &'b Job) -> Request<'b> {
        let LayerOnDevice { spec, facts, types, .. } = *self.layer;
        Request { facts, spec, types, job, tile: self.variant.tile.unwrap_or_default() }
    }

    pub(super) fn refusal(&self, refusal: Refusal) -> Error {
        match refusal {
            Refusal::Reason(reason) => self.refuse(reason),
            Refusal::Error(error) => error,
        }
    }

    /// The dispatch for a job.
    pub(in crate::plan) fn convolve(&self, job: &Job) -> Result<Step, Error> {
        self.variant.family.kernels().step(&self.request(job)).map_err(|refusal| self.refusal(refusal))
    }

    /// `source` after `levels` poolings. Each is a dispatch into scratch, which all paths with the same source share.
    pub(super) fn pooled(&mut self, pools: &mut Pools, mut source: Operand, levels: u32) -> Result<Operand, Error> {
        for _ in 0..levels {
            let known = pools.maps.iter().find(|(from, _)| *from == source).map(|&(_, to)| to);
            source = match known {
                Some(to) => to,
                None => {
                    let to = self.allocate(source.dims.pooled(self.layer.spec.rounding()));
                    pools.steps.push(pool::step(self.layer.facts, self.layer.types, source, to)?);
                    pools.maps.push((source, to));
                    to
                }
            };
        }
        Ok(source)
    }

    /// Allocates scratch of `words` times 32 bits. Scratch is counted in activations. The caller checks that the device has
    /// room for it.
    pub(super) fn allocate_words(&mut self, words: u64) -> Result<TensorId, Error> {
        let elements = words.saturating_mul(4 / self.layer.options.precision.activations.bytes());
        let w = u32::try_from(elements).map_err(|_| Error::Limit {
            what: "the scratch of a plan".into(),
            needs: elements,
            limit: "the number of elements of a tensor",
            allowed: u32::MAX.into(),
        })?;
        Ok(self.allocate(Dims { n: 1, c: 1, t: 1, h: 1, w }).id)
    }

    pub(super) fn allocate(&mut self, dims: Dims) -> Operand {
        self.scratch.push(dims);
        Operand { id: TensorId::Scratch(self.scratch.len() - 1), dims }
    }
}

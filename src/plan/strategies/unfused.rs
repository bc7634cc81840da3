//! One dispatch per operation: pool, four convolutions, upsample and adds. Engines without a fused octave convolution
//! run it so. It is there for comparisons.

use super::planner::{Planner, Pools};
use crate::error::Error;
use crate::kernels::job::{Job, Operand, OutputJob, PathJob, Slice};
use crate::kernels::{Step, add, pool, upsample};
use crate::layer::{Activation, Frequency, Path, Sampling};

pub(super) fn steps(planner: &mut Planner) -> Result<Vec<Step>, Error> {
    if planner.layer.options.high_slice.is_some() || planner.layer.options.low_slice.is_some() {
        return Err(planner.refuse("its adds write whole tensors, not slices"));
    }
    let activations = planner.layer.options.precision.activations;
    let job = planner.job(planner.layer.given_pool());
    let mut steps = Vec::new();
    let mut pools = Pools::default();
    for (frequency, output) in [(Frequency::High, job.high), (Frequency::Low, job.low)] {
        let Some(output) = output else { continue };
        let paths: Vec<_> = Path::ALL
            .into_iter()
            .filter(|path| path.output() == frequency)
            .filter_map(|path| job.path(path).copied())
            .collect();
        let mut parts: Vec<Operand> = Vec::new();
        for (i, path) in paths.iter().enumerate() {
            let source = planner.pooled(&mut pools, path.source, path.sampling.level)?;
            steps.append(&mut pools.steps);
            let dims = match path.sampling.upsample {
                true => output.y.dims.pooled(planner.layer.spec.rounding()),
                false => output.y.dims,
            };
            let alone = paths.len() == 1 && !path.sampling.upsample;
            let y = if alone { output.y } else { planner.allocate(dims) };
            let sampling = Sampling { level: 0, step: path.sampling.step, upsample: false };
            let conv = Job {
                paths: [Some(PathJob { source, sampling, weights: path.weights }), None, None, None],
                high: Some(OutputJob {
                    y,
                    slice: Slice::whole(y.dims.c),
                    first_row: 0,
                    groups: output.groups,
                    bias: output.bias.filter(|_| i == 0),
                    residual: output.residual.filter(|_| alone),
                    pooled: None,
                }),
                low: None,
                activation: if alone { planner.layer.spec.activation() } else { Activation::None },
                ..Job::default()
            };
            steps.push(planner.convolve(&conv)?);
            let mut part = y;
            if path.sampling.upsample {
                part = planner.allocate(output.y.dims);
                steps.push(upsample::step(planner.layer.facts, activations, y, part)?);
            }
            parts.push(part);
        }
        let parts: Vec<_> = parts.into_iter().map(|part| part.id).filter(|&id| id != output.y.id).collect();
        if let Some((&a, rest)) = parts.split_first() {
            let b = rest.first().copied();
            let (residual, activation) = (output.residual, planner.layer.spec.activation());
            steps.push(add::step(planner.layer.facts, activations, a, b, residual, activation, output.y)?);
        }
        if let Some(y_p) = output.pooled {
            steps.push(pool::step(planner.layer.facts, planner.layer.types, output.y, y_p)?);
        }
    }
    Ok(steps)
}

//! The pointwise family: layers of 1x1, without padding, in one group, as one matrix product over the cells of both
//! resolutions. `shaders/pointwise/pointwise.wgsl` says how.

mod lowering;
mod recipe;
mod tile;
mod uniform;
mod work;

use super::family::{Family, Refusal, Request};
use super::step::Step;
use crate::kernels::job::{Job, TensorId};
use crate::layer::{Path, Spec};
use tile::TILES;

/// The family `pointwise`.
pub(crate) struct Pointwise;

impl Family for Pointwise {
    fn name(&self) -> &'static str {
        "pointwise"
    }

    fn tiles(&self) -> &'static [&'static str] {
        TILES.names()
    }

    /// At stride 1 with H->H it reads X_H anyway, and pools it with three additions.
    fn wants_pooled_input(&self, spec: &Spec) -> bool {
        spec.stride() == 2 || !spec.has(Path::HH)
    }

    /// One mean of what it reads costs only three additions.
    fn free_poolings(&self) -> u32 {
        1
    }

    fn step(&self, request: &Request) -> Result<Step, Refusal> {
        if let Some(reason) = refusal(request.spec, request.job) {
            return Err(reason.into());
        }
        let tile = TILES.find(request.tile).ok_or("it has no such tile")?;
        Ok(lowering::step(request, tile.fitted(request.job))?)
    }
}

/// Why this kernel cannot do `job`, or nothing.
fn refusal(spec: &Spec, job: &Job) -> Option<&'static str> {
    let dense = job.paths.iter().flatten().all(|path| spec.path_groups(path.weights) == 1);
    let pooled_only = job.path(Path::HH).is_none()
        && spec.stride() == 1
        && job.path(Path::HL).is_some_and(|path| path.source.id == TensorId::XP);
    if spec.kernel() != [1, 1] || spec.time().kernel != 1 {
        Some("the pointwise kernel needs a kernel of 1x1 (and 1 in time)")
    } else if spec.padding() != [0, 0] || spec.time().padding != 0 {
        Some("the pointwise kernel needs a padding of 0")
    } else if !dense {
        Some("the pointwise kernel needs one group")
    } else if job.high.is_none() && job.path(Path::HL).is_none() {
        Some("the pointwise kernel needs a high-frequency input or output")
    } else if pooled_only {
        Some("the pointwise kernel pools X_H itself, which this layer does not bind")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::recipe::{Constants, Paired};
    use super::tile::TILES;
    use super::uniform::Shape;
    use crate::device::Words;
    use crate::kernels::types::Types;
    use crate::kernels::uniform;
    use crate::layer::Activation;
    use crate::precision::Dtype;

    #[test]
    fn the_uniform_is_the_shaders() {
        for dtype in [Dtype::F32, Dtype::F16] {
            for [first, second] in [[false, false], [true, false], [false, true], [true, true]] {
                let constants = Constants {
                    types: Types { activations: dtype, weights: dtype, words: Words::Vectors },
                    workgroup: 64,
                    tile: TILES.find("t8c2h4w+t8c1h2w").unwrap(),
                    paths: [first, second, true, second],
                    unroll: [2, 1],
                    high_level: 0,
                    high_stride: 1,
                    low_is_fine: first,
                    strided: second,
                    residual_high: first,
                    residual_low: second,
                    writes_high: true,
                    writes_low: second,
                    writes_pooled: first,
                    activation: Activation::Relu,
                    paired: Paired { x_h: first, x_l: second, y_h: first, y_l: second, y_p: second },
                };
                uniform::check::<Shape>(&constants.recipe());
            }
        }
    }
}

//! Host code of `shaders/network/excite.wgsl`: the two small matrices of a squeeze-and-excitation block.

use super::job::TensorId;
use super::source::{Form, Recipe};
use super::step::{Grid, Kernel, Step};
use super::types::reduction_workgroup;
use super::uniform::uniform;
use crate::device::DeviceFacts;
use crate::error::Error;
use crate::precision::Dtype;

uniform! {
    struct Shape {
        n: u32,
        grid_x: u32,
        channels: u32,
        unused: u32,
    }
}

fn recipe(workgroup: u32, reduced: u32, parts: u32) -> Recipe {
    Recipe::new("network/excite")
        .constant("WORKGROUP", workgroup)
        .constant("REDUCED", reduced)
        .constant("PARTS", parts)
        .input("x", Form::Elements(Dtype::F32))
        .input("weights", Form::Elements(Dtype::F32))
        .output("y", Form::Elements(Dtype::F32))
}

/// Makes the factors (`YH`, `[n][channels]`) from the means (`XH`, of the same shape), with weights that [`pack`] has
/// packed (`Weights`). All f32.
pub(crate) fn step(facts: &DeviceFacts, n: u32, channels: u32, reduced: u32) -> Result<Step, Error> {
    let needs = u64::from(reduced) * 4;
    let allowed = u64::from(facts.limits.max_compute_workgroup_storage_size);
    if needs > allowed {
        let what = format!("an excitation with {reduced} reduced channels, in bytes of workgroup memory,");
        return Err(Error::Limit { what, needs, limit: "max_compute_workgroup_storage_size", allowed });
    }
    let workgroup = reduction_workgroup(facts, 256, 4);
    let parts = (workgroup / reduced).max(1);
    let [threads, of_thread] = [workgroup, parts].map(u64::from);
    let [inputs, hidden] = [channels, reduced].map(u64::from);
    let iterations = (hidden * of_thread).div_ceil(threads) * (1 + inputs.div_ceil(of_thread))
        + hidden.div_ceil(threads) * (1 + of_thread)
        + inputs.div_ceil(threads) * (1 + hidden);
    facts.check_iterations("an excitation", iterations)?;
    let grid = Grid::fold(u64::from(n), facts)?;
    let shape = Shape { n, grid_x: grid.x, channels, unused: 0 };
    Ok(Step::new(
        Kernel::recipe(format!("excite {reduced}"), recipe(workgroup, reduced, parts)),
        &shape,
        vec![TensorId::XH, TensorId::Weights, TensorId::YH],
        grid,
    ))
}

/// A matrix `[outputs][inputs]` and its bias `[outputs]`.
pub(crate) type Affine<'a> = (&'a [f32], &'a [f32]);

/// Number of elements that [`pack`] makes.
pub(crate) fn packed_elements(channels: u32, reduced: u32) -> u64 {
    let (channels, reduced) = (u64::from(channels), u64::from(reduced));
    (2 * channels).saturating_mul(reduced).saturating_add(channels + reduced)
}

/// Packs both matrices, transposed, each followed by its bias. The rows of `excite` may come in parts: those of the
/// high channels, then those of the low channels.
pub(crate) fn pack(squeeze: Affine<'_>, excite: &[Affine<'_>]) -> Vec<u8> {
    let reduced = squeeze.1.len();
    let channels = squeeze.0.len() / reduced.max(1);
    let columns = |i: usize| squeeze.0.chunks_exact(channels).map(move |row| row[i]);
    let rows = || excite.iter().flat_map(|(weight, _)| weight.chunks_exact(reduced));
    (0..channels)
        .flat_map(columns)
        .chain(squeeze.1.iter().copied())
        .chain((0..reduced).flat_map(|k| rows().map(move |row| row[k])))
        .chain(excite.iter().flat_map(|(_, bias)| bias.iter().copied()))
        .flat_map(f32::to_le_bytes)
        .collect()
}

#[cfg(all(test, feature = "context"))]
mod tests {
    use super::super::testing::{Wanted, check, contexts, facts, values};
    use super::*;
    use crate::context::encode;

    #[test]
    fn the_uniform_is_the_shaders() {
        crate::kernels::uniform::check::<Shape>(&recipe(64, 4, 16));
    }

    #[test]
    fn excites() {
        for (n, [high, low], reduced) in [
            (1, [1, 0], 1),
            (3, [40, 24], 4),
            (1, [0, 5], 1),
            (2, [9, 5], 7),
            (1, [1024, 1024], 128),
            (2, [10, 3], 300),
            (71, [3, 2], 2),
            (1, [3, 2], 4096),
        ] {
            let channels = high + low;
            let floats = |seed, elements: u32| values(seed, u64::from(elements), Dtype::F32);
            // Makes sums about as large as those of a trained network, however many terms they have.
            let scaled = |seed, outputs: u32, inputs: u32| -> Vec<f32> {
                floats(seed, outputs * inputs).iter().map(|v| v * 4.0 / (inputs as f32).sqrt()).collect()
            };
            let (squeeze, squeeze_bias) = (scaled(1, reduced, channels), floats(2, reduced));
            let (excite, excite_bias) = (scaled(3, channels, reduced), floats(4, channels));
            let mut x = floats(5, n * channels);
            if n == 2 {
                x[0] = f32::NAN;
            }
            let product = |weight: &[f32], bias: &[f32], x: &[f64]| -> Vec<f64> {
                let rows = weight.chunks_exact(x.len()).zip(bias);
                rows.map(|(row, &bias)| {
                    row.iter().zip(x).map(|(&w, x)| f64::from(w) * x).sum::<f64>() + f64::from(bias)
                })
                .collect()
            };
            let wanted = x.chunks_exact(channels as usize).flat_map(|x| {
                let x: Vec<f64> = x.iter().copied().map(f64::from).collect();
                let hidden: Vec<f64> =
                    product(&squeeze, &squeeze_bias, &x).into_iter().map(|r| if r < 0.0 { 0.0 } else { r }).collect();
                product(&excite, &excite_bias, &hidden).into_iter().map(|e| 1.0 / (1.0 + (-e).exp()))
            });
            let wanted = Wanted::whole(wanted, 2e-5);
            let (weight_h, weight_l) = excite.split_at(high as usize * reduced as usize);
            let (bias_h, bias_l) = excite_bias.split_at(high as usize);
            let weights = pack((&squeeze, &squeeze_bias), &[(weight_h, bias_h), (weight_l, bias_l)]);
            assert_eq!(weights.len() as u64, 4 * packed_elements(channels, reduced));
            let inputs = [(TensorId::XH, encode(&x, Dtype::F32)), (TensorId::Weights, weights)];
            for context in contexts() {
                for facts in facts(context) {
                    match step(&facts, n, channels, reduced) {
                        Ok(step) => {
                            check(&format!("{n}x{channels} to {reduced}"), context, &step, &inputs, &wanted);
                        }
                        Err(error) => {
                            assert!(matches!(error, Error::Limit { .. }), "{error}");
                            assert!(reduced * 4 > facts.limits.max_compute_workgroup_storage_size);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn refuses_what_workgroup_memory_does_not_hold() {
        let error = step(&DeviceFacts::default(), 1, 8, 4097).unwrap_err();
        assert!(matches!(error, Error::Limit { needs: 16388, allowed: 16384, .. }), "{error}");
    }
}

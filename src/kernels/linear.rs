//! Host code of `shaders/network/linear.wgsl`: fully connected layers.

use half::f16;

use super::job::TensorId;
use super::source::{Form, Recipe};
use super::step::{Grid, Kernel, Step};
use super::types::{activation_number, reduction_workgroup, slope};
use super::uniform::uniform;
use crate::device::{DeviceFacts, Words};
use crate::error::Error;
use crate::layer::Activation;
use crate::memory::with_room;
use crate::precision::Dtype;

/// Outputs of a vector.
const LANES: u32 = 4;

/// Vectors of outputs that lie side by side in the weights: one for each thread that a software device runs at once.
const BLOCK: u32 = 8;

/// Workgroups that are enough to fill a large GPU.
const ENOUGH_WORKGROUPS: u64 = 128;

/// More iterations than a thread makes to add up the sums of others, and to store.
const MORE: u64 = 64;

uniform! {
    struct Shape {
        n: u32,
        grid_x: u32,
        inputs: u32,
        outputs: u32,
        lanes: u32,
        column_blocks: u32,
        weights_first: u32,
        slope: f32,
    }
}

/// How the work is cut into workgroups.
#[derive(Clone, Copy, Debug)]
struct Cut {
    workgroup: u32,
    /// Vectors of outputs of a workgroup.
    columns: u32,
    /// Samples of a workgroup.
    samples: u32,
}

fn recipe(weights: Dtype, words: Words, cut: Cut, activation: Activation) -> Recipe {
    Recipe::new("network/linear")
        .constant("WORKGROUP", cut.workgroup)
        .constant("ACTIVATION", activation_number(activation))
        .constant("BLOCK", BLOCK)
        .constant("COLUMNS", cut.columns)
        .constant("SAMPLES", cut.samples)
        .weights(weights, words, LANES)
        .input("x", Form::Elements(Dtype::F32))
        .output("y", Form::Elements(Dtype::F32))
}

/// The cut for `n` samples of `lanes` vectors of outputs.
fn cut(facts: &DeviceFacts, weights: Dtype, n: u32, lanes: u32, inputs: u32) -> Cut {
    // 16 bytes of workgroup memory per thread. On a software device a workgroup is one vector of threads, one per
    // column, so that threads share no sums, unless the driver would end the loop of one.
    let narrow = facts.software && facts.runs_all(inputs);
    let workgroup = reduction_workgroup(facts, if narrow { BLOCK } else { 256 }, 16);
    let samples = if n == 1 { 1 } else { 4 };
    // A GPU fetches at least two adjacent vectors of f32 at once, or four of f16.
    let least = if weights == Dtype::F16 { 4 } else { 2 };
    let enough = |&columns: &u32| workgroups(n, lanes, columns, samples) >= ENOUGH_WORKGROUPS;
    let columns = [16, 8, 4, 2].into_iter().filter(|&columns| columns >= least).find(enough).unwrap_or(least);
    let columns = if facts.software { BLOCK } else { columns }.min(workgroup);
    Cut { workgroup, columns, samples }
}

fn workgroups(n: u32, lanes: u32, columns: u32, samples: u32) -> u64 {
    u64::from(lanes.div_ceil(columns)) * u64::from(n.div_ceil(samples))
}

/// What a matrix makes of the vectors of a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job {
    /// The type of the weights.
    pub(crate) weights: Dtype,
    /// Vectors.
    pub(crate) n: u32,
    pub(crate) outputs: u32,
    pub(crate) inputs: u32,
    pub(crate) activation: Activation,
}

/// Makes Y (`YH`, `[n][outputs]`) from X (`XH`, `[n][inputs]`), both f32, with weights that [`pack`] has packed
/// (`Weights`).
pub(crate) fn step(facts: &DeviceFacts, job: &Job) -> Result<Step, Error> {
    let Job { weights, n, outputs, inputs, activation } = *job;
    let lanes = outputs.div_ceil(LANES);
    let cut = cut(facts, weights, n, lanes, inputs);
    let Cut { workgroup, columns, samples } = cut;
    facts.check_iterations("a linear layer", u64::from(inputs.div_ceil(workgroup / columns)) + MORE)?;
    let grid = Grid::fold(workgroups(n, lanes, columns, samples), facts)?;
    let bias_bytes = padded(u64::from(outputs)) * 4;
    let shape = Shape {
        n,
        grid_x: grid.x,
        inputs,
        outputs,
        lanes,
        column_blocks: lanes.div_ceil(columns),
        weights_first: (bias_bytes / (u64::from(LANES) * weights.bytes())) as u32,
        slope: slope(activation),
    };
    Ok(Step::new(
        Kernel::recipe(
            format!("linear {samples}x{}", LANES * columns),
            recipe(weights, facts.words(), cut, activation),
        ),
        &shape,
        vec![TensorId::Weights, TensorId::XH, TensorId::YH],
        grid,
    ))
}

/// Number of outputs with their padding.
pub(crate) fn padded(outputs: u64) -> u64 {
    outputs.next_multiple_of(u64::from(LANES * BLOCK))
}

/// Number of bytes that [`pack`] makes.
pub(crate) fn packed_bytes(outputs: u32, inputs: u32, dtype: Dtype) -> u64 {
    padded(u64::from(outputs)).saturating_mul(4 + u64::from(inputs) * dtype.bytes())
}

/// Packs `weight` `[outputs][inputs]` as the kernel reads it: the bias in f32 (zeros if there is none), then the
/// weights `[block][inputs][outputs of the block]` as `dtype`, both padded with zeros to whole blocks.
pub(crate) fn pack(
    weight: &[f32],
    bias: Option<&[f32]>,
    outputs: usize,
    inputs: usize,
    dtype: Dtype,
) -> Result<Vec<u8>, Error> {
    let (block, row) = ((LANES * BLOCK) as usize, padded(outputs as u64) as usize);
    let mut bytes = with_room(row as u64 * (4 + inputs as u64 * dtype.bytes()), "packing weights")?;
    for o in 0..row {
        let value = bias.and_then(|bias| bias.get(o)).copied().unwrap_or(0.0);
        bytes.extend(value.to_le_bytes());
    }
    for first in (0..row).step_by(block) {
        for i in 0..inputs {
            for o in first..first + block {
                let value = if o < outputs { weight[o * inputs + i] } else { 0.0 };
                match dtype {
                    Dtype::F32 => bytes.extend(value.to_le_bytes()),
                    Dtype::F16 => bytes.extend(f16::from_f32(value).to_le_bytes()),
                }
            }
        }
    }
    Ok(bytes)
}

#[cfg(all(test, feature = "context"))]
mod tests {
    use super::super::testing::{Wanted, check, contexts, facts, round, values};
    use super::*;
    use crate::context::encode;

    #[test]
    fn the_uniform_is_the_shaders() {
        for weights in [Dtype::F32, Dtype::F16] {
            for words in [Words::Elements, Words::Vectors, Words::Integers] {
                let cut = Cut { workgroup: 64, columns: 8, samples: 4 };
                crate::kernels::uniform::check::<Shape>(&recipe(weights, words, cut, Activation::Relu));
            }
        }
    }

    #[test]
    fn multiplies() {
        for (n, outputs, inputs) in [
            (1u32, 1u32, 1u32),
            (3, 1, 1),
            (1, 7, 1),
            (1, 1, 5000),
            (3, 5, 7),
            (1, 3, 1000),
            (5, 10, 64),
            (2, 401, 33),
            (9, 130, 259),
            (70, 600, 20),
            (1, 1000, 2048),
            // More inputs than a thread may loop over where `loop_iterations` is limited.
            (1, 3, 102_400),
            (5, 3, 70_000),
        ] {
            let floats = |seed, elements: u32| values(seed, u64::from(elements), Dtype::F32);
            for (dtype, biased, activation) in [
                (Dtype::F32, true, Activation::None),
                (Dtype::F16, true, Activation::Relu),
                (Dtype::F32, false, Activation::LeakyRelu { slope: 0.25 }),
            ] {
                let weight = floats(1, outputs * inputs);
                let bias = biased.then(|| floats(2, outputs));
                let x = floats(3, n * inputs);
                let packed = pack(&weight, bias.as_deref(), outputs as usize, inputs as usize, dtype).unwrap();
                assert_eq!(packed.len() as u64, packed_bytes(outputs, inputs, dtype));
                let rounded = round(&weight, dtype);
                let wanted = x.chunks_exact(inputs as usize).flat_map(|x| {
                    let rows = rounded.chunks_exact(inputs as usize).enumerate();
                    let bias = |o: usize| bias.as_ref().map_or(0.0, |bias| f64::from(bias[o]));
                    rows.map(move |(o, row)| {
                        let sum = row.iter().zip(x).map(|(&w, &x)| f64::from(w) * f64::from(x)).sum::<f64>();
                        activation.apply(sum + bias(o))
                    })
                    .collect::<Vec<_>>()
                });
                let wanted = Wanted::whole(wanted, 1e-6 * (16.0 + 8.0 * f64::from(inputs).sqrt()));
                let inputs_of = [(TensorId::XH, encode(&x, Dtype::F32)), (TensorId::Weights, packed)];
                for context in contexts() {
                    for facts in facts(context) {
                        let job = Job { weights: dtype, n, outputs, inputs, activation };
                        let step = step(&facts, &job).unwrap();
                        let case =
                            format!("{n}: {inputs} to {outputs}, {dtype}, {activation:?}, {}", step.kernel.name());
                        check(&case, context, &step, &inputs_of, &wanted);
                    }
                }
            }
        }
    }

    #[test]
    fn cuts_keep_within_what_a_driver_runs() {
        let cut = |inputs, loop_iterations| {
            let facts = DeviceFacts { software: true, loop_iterations, ..DeviceFacts::default() };
            let job = Job { weights: Dtype::F32, n: 1, outputs: 1, inputs, activation: Activation::None };
            let Cut { workgroup, columns, .. } = cut(&facts, job.weights, 1, 1, inputs);
            step(&facts, &job).map(|_| workgroup / columns)
        };
        assert_eq!(cut(102_400, None), Ok(1));
        assert_eq!(cut(25_088, Some(65_535)), Ok(1));
        assert_eq!(cut(102_400, Some(65_535)), Ok(32));
        assert!(matches!(cut(2_200_000, Some(65_535)), Err(Error::Limit { allowed: 65_535, .. })));
    }

    #[test]
    fn fills_a_device_at_one_sample() {
        let facts = DeviceFacts::default();
        let job = |n, outputs| Job { weights: Dtype::F32, n, outputs, inputs: 2048, activation: Activation::None };
        let grid = |n, outputs| step(&facts, &job(n, outputs)).unwrap().grid;
        assert_eq!(grid(1, 1000), Grid { x: 125, y: 1 });
        assert_eq!(grid(64, 1000), Grid { x: 256, y: 1 });
    }
}

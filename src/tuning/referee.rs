//! Finds the candidates whose outputs differ from those of the others.

use super::random_layer::RandomLayer;
use crate::dims::Dims;
use crate::error_bounds::Bounds;
use crate::kernels::job::{Slice, TensorId};
use crate::layer::Frequency;
use crate::plan::Plan;

/// An element of an output in which a candidate differs from the others.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Difference {
    /// `y_h`, `y_l` or `y_p`.
    pub tensor: &'static str,
    /// The index of the element in the tensor.
    pub element: usize,
    /// The candidate's value.
    pub found: f32,
    /// The value of most others, or NaN if nothing may be written there.
    pub expected: f32,
    /// The largest difference that rounding can explain.
    pub allowed: f64,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { tensor, element, found, expected, allowed } = self;
        write!(f, "{tensor}[{element}] is {found}, and {expected} by the others, more than {allowed:.3e} apart")
    }
}

/// The outputs of a candidate, or `None` if it did not run.
type Outputs = Option<Vec<Vec<f32>>>;

/// The difference of each candidate, if it has one, from the candidate with which most others agree. If two have as
/// many that agree, the first counts.
pub(super) fn judge(plans: &[Plan], data: &RandomLayer, outputs: &[Outputs]) -> Vec<Option<Difference>> {
    let Some(mut best) = differences(plans, data, outputs, 0) else {
        // The first did not run, so start with the next.
        return match outputs.len() {
            0 | 1 => vec![None; outputs.len()],
            _ => std::iter::once(None).chain(judge(&plans[1..], data, &outputs[1..])).collect(),
        };
    };
    let wrong = |differences: &[Option<Difference>]| differences.iter().flatten().count();
    // Usually all agree with the first, and the loop ends at once.
    for reference in 1..outputs.len() {
        if wrong(&best) == 0 {
            break;
        }
        if let Some(found) = differences(plans, data, outputs, reference)
            && wrong(&found) < wrong(&best)
        {
            best = found;
        }
    }
    best
}

/// The difference of each candidate, if it has one, from the candidate `reference`. That one is compared with itself
/// too, because a NaN is always wrong. `None` if it did not run.
fn differences(
    plans: &[Plan],
    data: &RandomLayer,
    outputs: &[Outputs],
    reference: usize,
) -> Option<Vec<Option<Difference>>> {
    let expected = outputs[reference].as_ref()?;
    let spec = plans[reference].spec();
    let magnitudes = [Frequency::High, Frequency::Low].map(|frequency| data.magnitude(frequency));
    let largest = |id: TensorId| {
        let at = data.output_dims().iter().position(|&(other, _)| other == id);
        at.map_or(0.0, |at| expected[at].iter().fold(0.0, |most: f32, v| most.max(v.abs()))).into()
    };
    let y_h: f64 = largest(TensorId::YH);
    let compare = |plan: &Plan, found: &[Vec<f32>]| {
        let pair = [&plans[reference], plan].map(|plan| Bounds::new(plan, 1.0));
        for (i, (id, dims)) in data.output_dims().into_iter().enumerate() {
            let (slice, own) = match id {
                TensorId::YH => (plan.options().high_slice, spec.output().high),
                TensorId::YL => (plan.options().low_slice, spec.output().low),
                _ => (None, dims.c),
            };
            let magnitude = magnitudes[usize::from(id == TensorId::YL)];
            let allowed = |y: f64| {
                let bound = |bounds: &Bounds| match id {
                    // The mean of four stored elements is stored again.
                    TensorId::YP => bounds.stored(y, bounds.stored(y_h, bounds.of_output(y_h, magnitude))),
                    _ => bounds.stored(y, bounds.of_output(y, magnitude)),
                };
                pair.iter().map(bound).sum::<f64>()
            };
            let differs = |(element, (&found, &expected)): (usize, (&f32, &f32))| {
                let difference =
                    |expected, allowed| Some(Difference { tensor: id.name(), element, found, expected, allowed });
                if !is_own(dims, slice.unwrap_or(Slice::whole(dims.c)), own, element) {
                    // The layer must not write this element, so it is still NaN.
                    return if found.is_nan() { None } else { difference(f32::NAN, 0.0) };
                }
                let allowed = allowed(f64::from(expected));
                // False if either is NaN.
                let close = (f64::from(found) - f64::from(expected)).abs() <= allowed;
                if close { None } else { difference(expected, allowed) }
            };
            if let Some(difference) = found[i].iter().zip(&expected[i]).enumerate().find_map(differs) {
                return Some(difference);
            }
        }
        None
    };
    let each = plans.iter().zip(outputs).map(|(plan, found)| compare(plan, found.as_ref()?));
    Some(each.collect())
}

/// Whether an element of the tensor `whole` lies in the `own` channels of a slice.
fn is_own(whole: Dims, slice: Slice, own: u32, element: usize) -> bool {
    let plane = (whole.t * whole.h * whole.w) as usize;
    let channel = (element / plane) as u32 % whole.c;
    channel.checked_sub(slice.first).is_some_and(|channel| channel < own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::{Context, ContextOptions};
    use crate::dims::InputSize;
    use crate::layer::Spec;
    use crate::plan::Options;

    /// Three plans of a layer that writes a slice for Y_H, and Y_L, and their outputs.
    fn ran() -> (Vec<Plan>, RandomLayer, Vec<Outputs>) {
        let context = Context::new(&ContextOptions::default()).unwrap_or_else(|error| panic!("{error}"));
        let spec = Spec::builder(16, 16).alpha(0.5, 0.5).kernel([3, 3]).same_padding().bias(true).build().unwrap();
        let options = Options { high_slice: Some(Slice { first: 3, of: 12 }), ..Options::default() };
        let facts = context.engine().facts();
        let mut plans = Plan::candidates(&spec, InputSize::image(2, 9, 7), &options, facts);
        plans.truncate(3);
        let data = RandomLayer::new(&context, &plans[0]).unwrap();
        let run = |plan: &Plan| {
            let layer = data.bind(&context, plan).unwrap();
            data.poison(&context).unwrap();
            context.run(&[&layer]).unwrap();
            Some(pollster::block_on(data.outputs(&context)).unwrap())
        };
        let outputs = plans.iter().map(run).collect();
        (plans, data, outputs)
    }

    #[test]
    fn a_candidate_that_differs_is_found_whichever_it_is() {
        let (plans, data, right) = ran();
        assert_eq!(judge(&plans, &data, &right), [const { None }; 3]);
        let (y_h, y_l) = (right[0].as_ref().unwrap()[0].len(), right[0].as_ref().unwrap()[1].len());
        let plane = 9 * 7;
        // A value with an error of a thousandth, an element that was not written, and one written outside of the slice.
        type Spoil = fn(f32) -> f32;
        let off: Spoil = |v| v + 2e-3 * v.abs().max(0.5);
        for wrong in 0..3 {
            for (output, element, spoil) in [
                (0, 3 * plane, off),
                (1, y_l - 1, off),
                (0, 5 * plane + 4, |_| f32::NAN),
                (0, 3 * plane - 1, |_| 0.0),
                (0, y_h - 1, |_| 0.0),
            ] {
                let mut outputs = right.clone();
                let value = &mut outputs[wrong].as_mut().unwrap()[output][element];
                *value = spoil(*value);
                let found = judge(&plans, &data, &outputs);
                let names: Vec<_> = found.iter().map(|d| d.as_ref().map(|d| (d.tensor, d.element))).collect();
                let mut expected = vec![None; 3];
                expected[wrong] = Some((["y_h", "y_l"][output], element));
                assert_eq!(names, expected);
            }
        }
    }

    #[test]
    fn what_has_not_run_is_no_measure() {
        let (plans, data, mut outputs) = ran();
        outputs[0] = None;
        assert_eq!(judge(&plans, &data, &outputs), [const { None }; 3]);
        outputs[1].as_mut().unwrap()[1][0] = f32::NAN;
        let found = judge(&plans, &data, &outputs);
        assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true, false]);
        assert_eq!(judge(&plans, &data, &[None, None, None]), [const { None }; 3]);
    }
}

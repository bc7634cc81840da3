//! Finds the candidates whose outputs are wrong.

use super::random_layer::RandomLayer;
use crate::dims::Dims;
use crate::error::Error;
use crate::error_bounds::Bounds;
use crate::kernels::job::{Slice, TensorId};
use crate::layer::Frequency;
use crate::plan::Plan;

/// An element of an output in which a candidate differs from the reference.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Difference {
    /// `y_h`, `y_l` or `y_p`.
    pub tensor: &'static str,
    /// The index of the element in the tensor.
    pub element: usize,
    /// The candidate's value.
    pub found: f32,
    /// The reference's value, or NaN if nothing may be written there.
    pub expected: f32,
    /// The largest difference that rounding can explain.
    pub allowed: f64,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { tensor, element, found, expected, allowed } = self;
        if expected.is_nan() {
            return write!(f, "{tensor}[{element}] is {found}, where nothing may be written");
        }
        write!(f, "{tensor}[{element}] is {found}, and {expected} by the reference, more than {allowed:.3e} apart")
    }
}

/// Why a candidate has no time.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Dropped {
    /// The device refused it.
    Refused(Error),
    /// Its outputs are wrong.
    Wrong(Difference),
    /// The clock cannot tell its time from noise.
    Untimed,
}

impl std::fmt::Display for Dropped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(error) => error.fmt(f),
            Self::Wrong(difference) => difference.fmt(f),
            Self::Untimed => f.write_str("too short for the clock"),
        }
    }
}

/// The outputs of a candidate, in the order of the plan's tensors.
type Outputs = Vec<Vec<f32>>;

/// Why each candidate is dropped, if it is. `run` runs one, again and again if need be, and returns its outputs.
///
/// Each is compared with the first that is not dropped. If they differ, the reference computes the element, and says which of them
/// is wrong. So the outputs of two candidates are in memory at once, and nothing is computed where all agree.
pub(super) async fn judge(
    plans: &[Plan],
    data: &RandomLayer,
    mut run: impl AsyncFnMut(usize) -> Result<Outputs, Error>,
) -> Result<Vec<Option<Dropped>>, Error> {
    let mut dropped: Vec<Option<Dropped>> = vec![None; plans.len()];
    // A sum over all weights.
    let magnitudes = [data.magnitude(Frequency::High), data.magnitude(Frequency::Low)];
    'first: loop {
        let mut first: Option<(Judge<'_>, usize, Outputs)> = None;
        for (i, plan) in plans.iter().enumerate() {
            if dropped[i].is_some() {
                continue;
            }
            let found = match run(i).await {
                Ok(found) => found,
                Err(error) => {
                    dropped[i] = Some(Dropped::Refused(error));
                    continue;
                }
            };
            let judge = Judge { plan, data, magnitudes };
            if let Some(place) = judge.spoiled(&found) {
                dropped[i] = Some(Dropped::Wrong(judge.difference(place, &found)?.0));
                continue;
            }
            let Some((other, index, expected)) = &first else {
                first = Some((judge, i, found));
                continue;
            };
            let mut from = (0, 0);
            for _ in 0..DISPUTES {
                let Some(place) = judge.apart(other, &found, expected, from) else { break };
                let (of_other, other_is_wrong) = other.difference(place, expected)?;
                let (own, is_wrong) = judge.difference(place, &found)?;
                if is_wrong {
                    dropped[i] = Some(Dropped::Wrong(own));
                }
                if other_is_wrong {
                    dropped[*index] = Some(Dropped::Wrong(of_other));
                    // Those that agree with it may be wrong too.
                    continue 'first;
                }
                if is_wrong {
                    break;
                }
                // Both are within their bounds of the reference here, and yet a little further apart.
                from = (place.0, place.1 + 1);
            }
        }
        return Ok(dropped);
    }
}

/// The most elements of two candidates that the reference looks at, because each costs a channel.
const DISPUTES: usize = 16;

/// The number of an output, and of an element in it.
type Place = (usize, usize);

/// Judges the outputs of a plan.
struct Judge<'a> {
    plan: &'a Plan,
    data: &'a RandomLayer,
    /// Of an output of the high frequency, and of one of the low frequency.
    magnitudes: [f64; 2],
}

impl Judge<'_> {
    /// The channel of an element in its output, and its sample. `None` if the layer must not write there.
    fn channel(&self, id: TensorId, dims: Dims, element: usize) -> Option<(u32, u32)> {
        let (slice, own) = match id {
            TensorId::YH => (self.plan.options().high_slice, self.plan.spec().output().high),
            TensorId::YL => (self.plan.options().low_slice, self.plan.spec().output().low),
            _ => (None, dims.c),
        };
        let index = element as u64 / (dims.with_channels(1).elements() / u64::from(dims.n));
        let (sample, channel) = (index / u64::from(dims.c), index % u64::from(dims.c));
        let channel = (channel as u32).checked_sub(slice.unwrap_or(Slice::whole(dims.c)).first)?;
        (channel < own).then_some((channel, sample as u32))
    }

    /// An element that is wrong whatever the others have: no number, or written where nothing may be.
    fn spoiled(&self, found: &Outputs) -> Option<Place> {
        self.data.output_dims().into_iter().enumerate().find_map(|(i, (id, dims))| {
            let spoiled = |(element, value): (usize, &f32)| match self.channel(id, dims, element) {
                Some(_) => !value.is_finite(),
                None => !value.is_nan(),
            };
            found[i].iter().enumerate().position(spoiled).map(|element| (i, element))
        })
    }

    /// The first element, from one on, in which the outputs differ by more than rounding of both explains.
    fn apart(&self, other: &Self, found: &Outputs, expected: &Outputs, from: Place) -> Option<Place> {
        let outputs = self.data.output_dims();
        let largest = |id| outputs.iter().position(|(other, _)| *other == id).map(|at| &expected[at]);
        let y_h = largest(TensorId::YH).into_iter().flatten().fold(0.0, |most: f32, v| most.max(v.abs()));
        outputs.iter().enumerate().skip(from.0).find_map(|(i, &(id, _))| {
            let skipped = if i == from.0 { from.1 } else { 0 };
            let bounds = [self, other].map(|judge| judge.bounds(id));
            let differs = |(&found, &expected): (&f32, &f32)| {
                let (found, expected) = (f64::from(found), f64::from(expected));
                let allowed: f64 = bounds.iter().map(|bounds| self.allowed(bounds, id, expected, y_h.into())).sum();
                // Both are numbers, or none is to be one.
                (found - expected).abs() > allowed
            };
            let both = found[i].iter().zip(&expected[i]).skip(skipped);
            both.map(differs).position(|differs| differs).map(|element| (i, skipped + element))
        })
    }

    fn bounds(&self, id: TensorId) -> Bounds {
        Bounds::new(self.plan, frequency(id), 1.0)
    }

    /// The bound of a value `y`. `y_h` is the largest of those whose mean it may be.
    fn allowed(&self, bounds: &Bounds, id: TensorId, y: f64, y_h: f64) -> f64 {
        let magnitude = self.magnitudes[frequency(id) as usize];
        match id {
            // The mean of four stored elements is stored again.
            TensorId::YP => bounds.stored(y, bounds.stored(y_h, bounds.of_output(y_h, magnitude))),
            _ => bounds.stored(y, bounds.of_output(y, magnitude)),
        }
    }

    /// What is found at a place and what the reference has there, and whether the bound forbids that.
    fn difference(&self, (i, element): Place, found: &Outputs) -> Result<(Difference, bool), Error> {
        let (id, dims) = self.data.output_dims()[i];
        let found = found[i][element];
        let difference = |expected, allowed| Difference { tensor: id.name(), element, found, expected, allowed };
        let Some((channel, sample)) = self.channel(id, dims, element) else {
            return Ok((difference(f32::NAN, 0.0), true));
        };
        let exact = self.data.exact(frequency(id), sample, channel)?;
        let output = match id {
            TensorId::YP => &exact.y_p,
            TensorId::YL => &exact.y_l,
            _ => &exact.y_h,
        };
        let volume = (dims.with_channels(1).elements() / u64::from(dims.n)) as usize;
        let y = output.as_ref().and_then(|output| output.data.get(element % volume)).copied().unwrap_or(f64::NAN);
        let y_h = exact.y_h.iter().flat_map(|y_h| &y_h.data).fold(0.0, |most: f64, v| most.max(v.abs()));
        let allowed = self.allowed(&self.bounds(id), id, y, y_h);
        // False if either is no number.
        let is_right = (f64::from(found) - y).abs() <= allowed;
        Ok((difference(y as f32, allowed), !is_right))
    }
}

/// The frequency of an output. pool(Y_H) is made of Y_H.
fn frequency(id: TensorId) -> Frequency {
    if id == TensorId::YL { Frequency::Low } else { Frequency::High }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::{Context, ContextOptions};
    use crate::dims::InputSize;
    use crate::layer::Spec;
    use crate::plan::Options;

    /// Three plans of a layer that writes a slice for Y_H, and Y_L, and their outputs.
    fn ran() -> (Vec<Plan>, RandomLayer, Vec<Option<Outputs>>) {
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

    /// The tensor and element of each candidate's difference.
    fn judged(plans: &[Plan], data: &RandomLayer, outputs: &[Option<Outputs>]) -> Vec<Option<(&'static str, usize)>> {
        let refused = Error::Tune { problem: "it did not run".into() };
        let run = async |i: usize| outputs[i].clone().ok_or(refused.clone());
        let dropped = pollster::block_on(judge(plans, data, run)).unwrap();
        let places = dropped.iter().zip(outputs).map(|(dropped, outputs)| match dropped {
            Some(Dropped::Wrong(Difference { tensor, element, .. })) => Some((*tensor, *element)),
            Some(other) => {
                assert!(outputs.is_none() && *other == Dropped::Refused(refused.clone()), "{other:?}");
                None
            }
            None => None,
        });
        places.collect()
    }

    /// A value with an error of a thousandth.
    fn off(v: f32) -> f32 {
        v + 2e-3 * v.abs().max(0.5)
    }

    #[test]
    fn a_candidate_that_differs_is_found_whichever_it_is() {
        let (plans, data, right) = ran();
        assert_eq!(judged(&plans, &data, &right), [None; 3]);
        let (y_h, y_l) = (right[0].as_ref().unwrap()[0].len(), right[0].as_ref().unwrap()[1].len());
        let plane = 9 * 7;
        // A value with an error, an element that was not written, and one written outside of the slice.
        type Spoil = fn(f32) -> f32;
        let cases: [(usize, usize, Spoil); 6] = [
            (0, 3 * plane, off),
            (1, y_l - 1, off),
            (0, 5 * plane + 4, |_| f32::NAN),
            (0, 5 * plane + 4, |_| f32::INFINITY),
            (0, 3 * plane - 1, |_| 0.0),
            (0, y_h - 1, |_| 0.0),
        ];
        for (output, element, spoil) in cases {
            let place = Some((["y_h", "y_l"][output], element));
            // Even if only one is right.
            for wrong in [&[0][..], &[1], &[2], &[0, 1], &[0, 2], &[1, 2], &[0, 1, 2]] {
                let mut outputs = right.clone();
                let mut expected = [None; 3];
                for &wrong in wrong {
                    let value = &mut outputs[wrong].as_mut().unwrap()[output][element];
                    *value = spoil(*value);
                    expected[wrong] = place;
                }
                // Nothing shows what all agree on, but for what is no number or out of place.
                if wrong.len() == 3 && spoil(1.0) == off(1.0) {
                    expected = [None; 3];
                }
                assert_eq!(judged(&plans, &data, &outputs), expected);
            }
        }
    }

    #[test]
    fn what_has_not_run_is_no_measure() {
        let (plans, data, mut outputs) = ran();
        outputs[0] = None;
        assert_eq!(judged(&plans, &data, &outputs), [None; 3]);
        outputs[1].as_mut().unwrap()[1][0] = f32::NAN;
        assert_eq!(judged(&plans, &data, &outputs), [None, Some(("y_l", 0)), None]);
        assert_eq!(judged(&plans, &data, &[None, None, None]), [None; 3]);
    }

    /// Those that agree with the first are run only once, and so is what is compared with them.
    #[test]
    fn each_runs_once_unless_the_first_is_wrong() {
        let (plans, data, mut outputs) = ran();
        for (wrong, expected) in [(None, vec![0, 1, 2]), (Some(2), vec![0, 1, 2]), (Some(0), vec![0, 1, 1, 2])] {
            let right = outputs.clone();
            if let Some(wrong) = wrong {
                let value = &mut outputs[wrong].as_mut().unwrap()[1][0];
                *value = off(*value);
            }
            let mut ran = Vec::new();
            let run = async |i: usize| {
                ran.push(i);
                Ok(outputs[i].clone().unwrap())
            };
            let dropped = pollster::block_on(judge(&plans, &data, run)).unwrap();
            assert_eq!(dropped.iter().position(Option::is_some), wrong);
            assert_eq!(ran, expected);
            outputs = right;
        }
    }
}

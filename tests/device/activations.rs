//! Each activation at many values, in one layer that changes nothing else.

use octconv::{Activation, Dtype, InputSize, Options, Spec, Tensors, Weights};

use crate::common::{all_activations, context};

/// Small and large values, some beyond what exp can take, the values where functions have a corner, and what is no number.
fn values() -> Vec<f32> {
    let steps = (-2000..=2000).map(|i| i as f32 / 50.0);
    let powers = (-140..=120).map(|exponent| 2f32.powi(exponent));
    let not_finite = [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
    steps.chain(powers.clone()).chain(powers.map(|x| -x)).chain(not_finite).collect()
}

fn run(activation: Activation, x: &[f32]) -> Vec<f32> {
    let context = context();
    let engine = context.engine();
    let spec = Spec::builder(1, 1).activation(activation).build().unwrap();
    let plan = engine.plan(&spec, InputSize::image(1, 1, x.len() as u32), &Options::default()).unwrap();
    let packed = engine.pack(&plan, &Weights { w_hh: Some(&[1.0]), ..Weights::default() }).unwrap();
    let elements = x.len() as u64;
    let (input, output) = (context.upload(x, Dtype::F32).unwrap(), context.tensor(elements, Dtype::F32).unwrap());
    let tensors = Tensors { x_h: Some((&input).into()), y_h: Some((&output).into()), ..Tensors::default() };
    let layer = engine.bind(&plan, &packed, &tensors).unwrap();
    context.run(&[&layer]).unwrap();
    context.read(&output, 0, elements, Dtype::F32).unwrap()
}

#[test]
fn all_values() {
    let values = values();
    for activation in all_activations() {
        for (&x, y) in values.iter().zip(run(activation, &values)) {
            let expected = activation.apply(x.into());
            if f64::from(y) == expected || y.is_nan() && expected.is_nan() {
                continue;
            }
            // Functions with exp are less exact for large |x|, but there their results are large too, or next to 0 or 1.
            let scale = expected.abs().max(f64::from(x).abs().clamp(1.0, 40.0));
            let allowed = 30.0 * f64::from(f32::EPSILON) * scale;
            let error = (f64::from(y) - expected).abs();
            assert!(expected.is_finite() && error <= allowed, "{activation:?} of {x}: {y}, not {expected}");
        }
    }
}

/// Where exp(x) lies below 2^-126, which a device may take for zero, and x times it does not.
#[test]
fn silu_far_below_zero() {
    let values: Vec<f32> = (0..35).map(|i| -87.3 - 0.1 * i as f32).collect();
    for (&x, y) in values.iter().zip(run(Activation::Silu, &values)) {
        let expected = Activation::Silu.apply(x.into());
        assert!((f64::from(y) - expected).abs() <= 1e-4 * expected.abs(), "{x}: {y}, not {expected}");
    }
}

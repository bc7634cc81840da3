//! The networks of assets/cifar on a device, against PyTorch.

use crate::cifar_fixture::{OCTAVE, PLAIN, Trained};
use crate::common::{context_as, runs_f16};
use octconv::network::{Model, NetworkOptions};
use octconv::{Dtype, Precision};

/// Relative to the largest |logit|, of maps in f32 and in f16.
const TOLERANCE: f64 = 1e-4;
const HALF_TOLERANCE: f64 = 2e-3;

fn logits(trained: &Trained, dtype: Dtype) -> Option<Vec<f64>> {
    let context = context_as(false, dtype);
    if dtype == Dtype::F16 && !runs_f16(context) {
        return None;
    }
    let model = Model::new(context.engine(), trained.graph.clone(), trained.weights.clone()).unwrap();
    let options = NetworkOptions { precision: Precision::of(dtype), ..Default::default() };
    let inference = model.compile(model.plan(trained.size, &options).unwrap(), |_| {}).unwrap();
    Some(inference.run(context, &trained.input).unwrap().into_iter().map(f64::from).collect())
}

#[test]
fn devices_give_pytorchs_logits() {
    for name in [PLAIN].iter().chain(&OCTAVE) {
        let trained = Trained::new(name);
        let expected = trained.answers(trained.logits.iter().copied());
        let found = logits(&trained, Dtype::F32).unwrap();
        let error = trained.error(&found);
        assert!(error < TOLERANCE, "{name}: {error:e}");
        assert_eq!(trained.answers(found), expected, "{name}");
        if let Some(halves) = logits(&trained, Dtype::F16) {
            let error = trained.error(&halves);
            assert!(error < HALF_TOLERANCE, "{name} in f16: {error:e}");
            assert_eq!(trained.answers(halves), expected, "{name} in f16");
        }
    }
}

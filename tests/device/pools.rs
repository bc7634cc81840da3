//! Pools of both frequencies on a device against PyTorch: what `tests/pools/make_fixtures.py` writes.

use octconv::network::{Model, NetworkOptions, ValueView};
use octconv::{Dtype, Precision};

use crate::common::{context_as, runs_f16};
use crate::pool_fixture;

#[test]
fn agree_with_pytorch() {
    // Maxima are exact. Means are rounded to f16 up or down.
    for (dtype, tolerance) in [(Dtype::F32, 1e-6), (Dtype::F16, 1.0 / 1024.0)] {
        for gpu in [false, true] {
            let context = context_as(gpu, dtype);
            if dtype == Dtype::F16 && !runs_f16(context) {
                continue;
            }
            for case in pool_fixture::all() {
                let model = Model::new(context.engine(), case.graph(), case.checkpoint()).unwrap();
                let options = NetworkOptions { precision: Precision::of(dtype), ..Default::default() };
                let plan = model.plan(case.size(), &options).unwrap();
                let inference = model.compile(plan, |_| {}).unwrap();
                inference.run(context, &case.input()).unwrap();
                let Some(ValueView::Map { high: Some(high), low: Some(low) }) = inference.output() else { panic!() };
                for (part, view) in [(&case.high, high), (&case.low, low)] {
                    let found = context.read(view.buffer, view.offset, view.dims.elements(), dtype).unwrap();
                    let found: Vec<f64> = found.into_iter().map(f64::from).collect();
                    case.check(part, view.dims, &found, tolerance);
                }
            }
        }
    }
}

//! Operations on both frequencies and on vectors on a device against PyTorch: what `tests/operations/make_fixtures.py` and
//! `tests/pools/make_fixtures.py` write.

use octconv::network::{Model, NetworkOptions, TensorView, ValueView};
use octconv::{Dtype, Precision};

use crate::common::{context_as, runs_f16};
use crate::operation_fixture::{Case, operations, pools};

fn check(cases: &[Case]) {
    // What is stored in f16 is rounded up or down.
    for (dtype, tolerance) in [(Dtype::F32, 1e-6), (Dtype::F16, 1.0 / 1024.0)] {
        for gpu in [false, true] {
            let context = context_as(gpu, dtype);
            if dtype == Dtype::F16 && !runs_f16(context) {
                continue;
            }
            let read = |view: TensorView| -> Vec<f64> {
                let found = context.read(view.buffer, view.offset, view.dims.elements(), view.dtype).unwrap();
                found.into_iter().map(f64::from).collect()
            };
            for case in cases {
                let model = Model::new(context.engine(), case.graph(), case.checkpoint()).unwrap();
                let options = NetworkOptions { precision: Precision::of(dtype), ..Default::default() };
                let plan = model.plan(case.size(), &options).unwrap();
                let inference = model.compile(plan, |_| {}).unwrap();
                inference.run(context, &case.input()).unwrap();
                match inference.output() {
                    Some(ValueView::Map { high: Some(high), low: Some(low) }) => {
                        for (part, view) in [(&case.high, high), (&case.low, low)] {
                            case.check(part.as_ref(), view.dims, &read(view), tolerance);
                        }
                    }
                    Some(ValueView::Vector(view)) => case.check_vector(&read(view), tolerance),
                    other => panic!("{}: {other:?}", case.name),
                }
            }
        }
    }
}

#[test]
fn pools_agree_with_pytorch() {
    check(&pools());
}

#[test]
fn others_agree_with_pytorch() {
    check(&operations());
}

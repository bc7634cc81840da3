//! How many dispatches pool, add, replicate and add up slices, by plans alone. The table of layers runs them.

use octconv::{DeviceFacts, InputSize, Options, Plan, SpecBuilder};

use crate::common::split;

/// How many dispatches of the plan are of this kernel.
fn dispatches(kernel: &str, variant: &str, spec: SpecBuilder, pooled_output: bool) -> usize {
    let options = Options { variant: Some(variant.parse().unwrap()), pooled_output, ..Options::default() };
    let spec = spec.build().unwrap();
    let plan = Plan::new(&spec, InputSize::image(1, 8, 6), &options, &DeviceFacts::default()).unwrap();
    plan.kernels().iter().filter(|name| *name == kernel).count()
}

#[test]
fn pools() {
    let pools = |variant, spec, pooled_output| dispatches("pool", variant, spec, pooled_output);
    assert_eq!(pools("pool-first/direct", split((3, 0), (2, 2)), false), 1);
    // X_H for H->H, its means again for H->L, and X_L for L->L.
    for variant in ["pool-first/direct", "unfused/direct"] {
        assert_eq!(pools(variant, split((3, 2), (2, 2)).stride(2), false), 3);
    }
    assert_eq!(pools("unfused/direct", split((3, 0), (2, 0)), true), 1);
}

#[test]
fn adds() {
    let adds = |spec| dispatches("add", "unfused/direct", spec, false);
    let both = || split((3, 2), (3, 2));
    assert_eq!(adds(both().bias(true)), 2);
    assert_eq!(adds(both().stride(2)), 2);
    for (high, low) in [(true, false), (false, true), (true, true)] {
        assert_eq!(adds(both().residual(high, low)), 2);
    }
    // L->H is replicated after its convolution, which so cannot finish Y_H.
    assert_eq!(adds(split((0, 2), (3, 0)).bias(true)), 1);
    assert_eq!(adds(split((0, 2), (3, 0)).residual(true, false)), 1);
    // A convolution that gives the output itself needs no addition.
    assert_eq!(adds(split((3, 0), (2, 0)).residual(true, false)), 0);
}

#[test]
fn upsamples() {
    let upsamples = |spec| dispatches("upsample", "unfused/direct", spec, false);
    assert_eq!(upsamples(split((0, 2), (3, 0))), 1);
    assert_eq!(upsamples(split((3, 2), (3, 2))), 1);
    assert_eq!(upsamples(split((0, 2), (3, 0)).stride(2)), 0);
}

#[test]
fn reduces() {
    for family in ["direct", "staged"] {
        let spec = split((37, 50), (12, 11)).kernel([3, 3]).same_padding();
        assert_eq!(dispatches("reduce", &format!("split-k/{family}"), spec, false), 1);
    }
}

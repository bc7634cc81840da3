//! The adding kernel, through the unfused variant: the one that has it.

use crate::common::{all_activations, case, check_one, check_types, context, image, split};
use octconv::verify::Case;
use octconv::{InputSize, Options, Strategy};

/// Runs the case unfused, and returns how many of its dispatches add.
fn adds(case: &Case) -> usize {
    let variant = Some("unfused/direct".parse().unwrap());
    let case = Case { options: Options { variant, ..case.options }, ..case.clone() };
    check_one(context(), &case).iter().filter(|kernel| *kernel == "add").count()
}

#[test]
fn two_paths_into_both_outputs() {
    assert_eq!(adds(&image(split((3, 2), (3, 2)).bias(true), 9, 6)), 2);
    assert_eq!(adds(&image(split((3, 2), (3, 2)).stride(2), 9, 6)), 2);
}

#[test]
fn one_path_alone() {
    // L->H is replicated after its convolution, which so cannot finish Y_H.
    assert_eq!(adds(&image(split((0, 2), (3, 0)).bias(true), 9, 6)), 1);
    // A convolution that gives the output itself needs no addition.
    assert_eq!(adds(&image(split((3, 0), (2, 0)).residual(true, false), 9, 6)), 0);
}

#[test]
fn residuals() {
    for (high, low) in [(true, false), (false, true), (true, true)] {
        assert_eq!(adds(&image(split((3, 2), (3, 2)).residual(high, low), 9, 6)), 2);
    }
    assert_eq!(adds(&image(split((0, 2), (3, 0)).residual(true, false), 9, 6)), 1);
}

#[test]
fn activations() {
    for activation in all_activations() {
        let spec = split((3, 2), (3, 2)).residual(true, false).activation(activation);
        assert_eq!(adds(&image(spec, 6, 9)), 2);
    }
}

#[test]
fn every_plane() {
    assert_eq!(adds(&case(split((3, 2), (3, 2)), InputSize::video(3, 2, 9, 8))), 2);
}

#[test]
fn in_either_type() {
    check_types(&image(split((3, 2), (2, 2)).residual(true, true), 9, 7), |variant| {
        variant.strategy == Strategy::Unfused
    });
}

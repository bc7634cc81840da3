//! The replicating kernel, through the unfused variant: the one that has it.

use crate::common::{case, check_one, check_types, context, image, split};
use octconv::verify::Case;
use octconv::{InputSize, Options, Rounding, SpecBuilder, Strategy};

/// Runs the case unfused, and returns how many of its dispatches replicate.
fn upsamples(case: &Case) -> usize {
    let variant = Some("unfused/direct".parse().unwrap());
    let case = Case { options: Options { variant, ..case.options }, ..case.clone() };
    check_one(context(), &case).iter().filter(|kernel| *kernel == "upsample").count()
}

/// One tap an output, so that a wrong neighbour is a wrong output.
fn spec() -> SpecBuilder {
    split((0, 2), (3, 0))
}

#[test]
fn to_every_size() {
    for (h, w) in [(8, 6), (9, 6), (8, 7), (5, 5), (1, 1), (1, 8), (7, 1)] {
        assert_eq!(upsamples(&image(spec(), h, w)), 1);
    }
    // A last row or column without one of its own below it takes its neighbour's.
    for (h, w) in [(8, 6), (9, 6), (8, 7), (5, 5), (2, 3), (3, 2)] {
        assert_eq!(upsamples(&image(spec().rounding(Rounding::Floor), h, w)), 1);
    }
}

#[test]
fn of_every_plane() {
    assert_eq!(upsamples(&case(spec(), InputSize::video(3, 2, 9, 8))), 1);
}

#[test]
fn beside_the_other_path() {
    assert_eq!(upsamples(&image(split((3, 2), (3, 2)), 9, 6)), 1);
}

#[test]
fn not_at_stride_two() {
    assert_eq!(upsamples(&image(spec().stride(2), 8, 6)), 0);
}

#[test]
fn in_either_type() {
    check_types(&image(spec(), 9, 7), |variant| variant.strategy == Strategy::Unfused);
}

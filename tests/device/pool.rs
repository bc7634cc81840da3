//! The pooling kernel, through the variants that have it.

use crate::common::{case, check_one, check_types, context, image, split};
use octconv::verify::Case;
use octconv::{InputSize, Options, Rounding, SpecBuilder, Strategy, Variant};

/// Runs the case as `variant`, and returns how many of its dispatches pool.
fn pools(variant: &str, case: &Case) -> usize {
    let variant: Variant = variant.parse().unwrap();
    let case = Case { options: Options { variant: Some(variant), ..case.options }, ..case.clone() };
    check_one(context(), &case).iter().filter(|kernel| *kernel == "pool").count()
}

/// One tap an output, so that a wrong mean is a wrong output.
fn spec() -> SpecBuilder {
    split((3, 0), (2, 2))
}

#[test]
fn of_the_input() {
    for rounding in [Rounding::Ceil, Rounding::Floor] {
        for (h, w) in [(8, 6), (9, 6), (8, 7), (5, 5), (2, 2), (2, 3)] {
            assert_eq!(pools("pool-first/direct", &image(spec().rounding(rounding), h, w)), 1);
        }
    }
    for (h, w) in [(1, 1), (1, 8), (7, 1)] {
        assert_eq!(pools("pool-first/direct", &image(spec(), h, w)), 1);
    }
}

#[test]
fn twice() {
    for rounding in [Rounding::Ceil, Rounding::Floor] {
        for (h, w) in [(8, 12), (9, 11), (7, 6)] {
            // X_H for H->H, its means again for H->L, and X_L for L->L.
            let case = image(split((3, 2), (2, 2)).rounding(rounding).stride(2), h, w);
            assert_eq!(pools("pool-first/direct", &case), 3);
            assert_eq!(pools("unfused/direct", &case), 3);
        }
    }
}

#[test]
fn of_the_output() {
    let options = Options { pooled_output: true, ..Options::default() };
    for rounding in [Rounding::Ceil, Rounding::Floor] {
        for (h, w) in [(8, 6), (9, 7)] {
            let case = Case { options, ..image(split((3, 0), (2, 0)).rounding(rounding), h, w) };
            assert_eq!(pools("unfused/direct", &case), 1);
        }
    }
}

#[test]
fn of_every_plane() {
    // More than one workgroup, and more than one of everything that a plane counts.
    assert_eq!(pools("pool-first/direct", &case(spec(), InputSize::video(3, 2, 9, 8))), 1);
}

#[test]
fn in_either_type() {
    check_types(&image(spec(), 9, 7), |variant| variant.strategy == Strategy::Unfused);
}

//! What a specification costs, and what is refused: every message names the argument and its value.

use std::fmt::Debug;

use octconv::reference::{Inputs, Outputs, magnitude, octave_conv};
use octconv::{
    Activation, BatchNorm, DeviceFacts, Downsample, Dtype, Error, InputSize, Options, Plan, Precision, Rounding, Spec,
    SpecBuilder, Split, TimeAxis, Weights, wgpu,
};

/// Fails unless `result` is an error whose text contains all of `parts`.
#[track_caller]
fn refused<T: Debug>(result: Result<T, Error>, parts: &[&str]) {
    let message = result.expect_err("must be refused").to_string();
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
}

/// A dense 3x3 layer with "same" padding.
fn k3(channels: u32, alpha_in: f64, alpha_out: f64) -> SpecBuilder {
    Spec::builder(channels, channels).alpha(alpha_in, alpha_out).kernel([3, 3]).padding([1, 1])
}

fn macs(builder: SpecBuilder, size: InputSize) -> u64 {
    builder.build().unwrap().cost(size).unwrap().macs
}

/// A list that nothing derives from the library's.
#[cfg(feature = "network")]
#[test]
fn the_types_for_browsers_name_each_activation() {
    let types = include_str!("../../crates/octconv-web/src/types.rs");
    let (_, list) = types.split_once("export type Activation =").unwrap();
    let (list, _) = list.split_once(";\n").unwrap();
    for activation in Activation::all() {
        let name = match serde_json::to_value(activation).unwrap() {
            serde_json::Value::String(name) => format!("{name:?}"),
            parameters => format!("{{ {}: {{", parameters.as_object().unwrap().keys().next().unwrap()),
        };
        assert!(list.contains(&name), "{name} is not in {list}");
    }
    assert_eq!(list.matches(" | ").count() + list.matches(" |\n").count() + 1, Activation::all().count(), "{list}");
}

mod cost {
    use super::*;

    const SIZE: InputSize = InputSize { n: 1, t: 1, h: 8, w: 8 };

    #[test]
    fn by_hand_at_one_half() {
        // H->H 4 * 4 * 9 at 64 positions; H->L, L->H and L->L each 4 * 4 * 9 at 16.
        let spec = k3(8, 0.5, 0.5).bias(true).residual(true, false).build().unwrap();
        let cost = spec.cost(SIZE).unwrap();
        assert_eq!((cost.macs, cost.params), (9216 + 3 * 2304, 8 * 8 * 9 + 8));
        let elements = [cost.input_elements, cost.output_elements, cost.residual_elements];
        assert_eq!(elements, [4 * 64 + 4 * 16, 4 * 64 + 4 * 16, 4 * 64]);
        assert_eq!(cost.min_bytes(2, 4), (320 + 320 + 256) * 2 + 584 * 4);
        // The same layer at stride 2: H->H and L->H at 16 positions, H->L and L->L at 4.
        let spec = k3(8, 0.5, 0.5).stride(2).build().unwrap();
        assert_eq!(spec.cost(SIZE).unwrap().macs, 2 * 2304 + 2 * 576);
        assert_eq!(spec.cost(SIZE).unwrap().output_elements, 4 * 16 + 4 * 4);
    }

    #[test]
    fn by_hand_at_odd_sizes() {
        // One channel per path, 1x1: 5x7 at high resolution, 3x4 at low with ceil, 2x3 with floor.
        let layer = || Spec::builder(2, 2).alpha(0.5, 0.5);
        assert_eq!(macs(layer(), InputSize::image(1, 5, 7)), 35 + 3 * 12);
        assert_eq!(macs(layer().rounding(Rounding::Floor), InputSize::image(1, 5, 7)), 35 + 3 * 6);
        // Stride 2: Y_H 3x4, Y_L 2x2.
        assert_eq!(macs(layer().stride(2), InputSize::image(3, 5, 7)), 3 * (2 * 12 + 2 * 4));
    }

    #[test]
    fn by_hand_for_clips() {
        // Time is not halved: 5 frames with kernel 3, stride 2 and padding 1 give 3 in both frequencies.
        let layer = k3(2, 0.5, 0.5).time(TimeAxis { kernel: 3, stride: 2, padding: 1, dilation: 1 });
        assert_eq!(macs(layer, InputSize::video(1, 5, 4, 4)), 27 * 3 * (16 + 3 * 4));
    }

    /// The multiply-adds of a layer with the same alpha on both sides are exactly 1 - 3/4 * alpha * (2 - alpha) of
    /// plain. Alpha is in eighths.
    #[test]
    fn factor_of_equal_shares() {
        let plain = macs(k3(16, 0.0, 0.0), SIZE);
        for (eighths, percent) in [(0, 100), (1, 82), (2, 67), (4, 44), (6, 30), (7, 26), (8, 25)] {
            let alpha = eighths as f64 / 8.0;
            for groups in [1, 2] {
                let octave = macs(k3(16, alpha, alpha).groups(groups), SIZE);
                assert_eq!(octave * groups as u64 * 256, plain * (256 - 3 * eighths * (16 - eighths)), "alpha {alpha}");
                // The paper's table.
                assert_eq!((100.0 * (octave * groups as u64) as f64 / plain as f64).round(), f64::from(percent));
            }
        }
    }

    /// The multiply-adds of first, last, depthwise and stride-2 layers are 1 - 3/4 * alpha of plain.
    #[test]
    fn factor_of_other_layers() {
        for eighths in 0..=8u64 {
            let alpha = eighths as f64 / 8.0;
            for (kind, octave, plain) in [
                ("first", k3(16, 0.0, alpha), k3(16, 0.0, 0.0)),
                ("last", k3(16, alpha, 0.0), k3(16, 0.0, 0.0)),
                ("depthwise", k3(16, alpha, alpha).depthwise(), k3(16, 0.0, 0.0).depthwise()),
                ("stride 2", k3(16, alpha, alpha).stride(2), k3(16, 0.0, 0.0).stride(2)),
            ] {
                assert_eq!(macs(octave, SIZE) * 32, macs(plain, SIZE) * (32 - 3 * eighths), "{kind}, alpha {alpha}");
            }
        }
    }

    /// Activations shrink to 1 - 3/4 * alpha.
    #[test]
    fn factor_of_activations() {
        for eighths in 0..=8u64 {
            let alpha = eighths as f64 / 8.0;
            let cost = k3(16, alpha, alpha).residual(eighths < 8, eighths > 0).build().unwrap().cost(SIZE).unwrap();
            for elements in [cost.input_elements, cost.output_elements, cost.residual_elements] {
                assert_eq!(elements * 32, 16 * 64 * (32 - 3 * eighths), "alpha {alpha}");
            }
        }
    }

    #[test]
    fn parameters_do_not_depend_on_alpha() {
        for (alpha_in, alpha_out) in
            [(0.0, 0.0), (0.0, 0.5), (0.5, 0.0), (0.25, 0.75), (0.5, 0.5), (1.0, 0.5), (1.0, 1.0)]
        {
            let params = |builder: SpecBuilder| builder.build().unwrap().cost(SIZE).unwrap().params;
            assert_eq!(params(k3(16, alpha_in, alpha_out)), 16 * 16 * 9, "{alpha_in} to {alpha_out}");
            assert_eq!(params(k3(16, alpha_in, alpha_out).stride(2).bias(true)), 16 * 16 * 9 + 16);
            assert_eq!(params(k3(16, alpha_in, alpha_out).groups(4)), 16 * 4 * 9);
            if alpha_in == alpha_out {
                assert_eq!(params(k3(16, alpha_in, alpha_out).depthwise()), 16 * 9);
            }
        }
    }

    #[test]
    fn plain_is_alpha_zero() {
        let spec = k3(8, 0.5, 0.25).residual(false, true).build().unwrap();
        assert_eq!(spec.plain(), k3(8, 0.0, 0.0).residual(true, false).build().unwrap());
    }
}

mod split {
    use super::*;

    #[test]
    fn is_the_official_one() {
        // int(alpha * c) low channels.
        for (channels, alpha, high, low) in
            [(64, 0.25, 48, 16), (10, 0.33, 7, 3), (3, 0.5, 2, 1), (1, 0.5, 1, 0), (5, 0.0, 5, 0), (5, 1.0, 0, 5)]
        {
            assert_eq!(Split::from_alpha(channels, alpha).unwrap(), Split { high, low }, "{channels} at {alpha}");
        }
    }

    #[test]
    fn alpha_out_of_range() {
        refused(Split::from_alpha(8, -0.25), &["alpha is -0.25", "[0, 1]"]);
        refused(Split::from_alpha(8, 1.5), &["alpha is 1.5", "[0, 1]"]);
        refused(Split::from_alpha(8, f64::NAN), &["alpha is NaN", "[0, 1]"]);
        refused(Spec::builder(8, 8).alpha(2.0, 0.5).build(), &["alpha_in is 2", "[0, 1]"]);
        refused(Spec::builder(8, 8).alpha(0.5, -1.0).build(), &["alpha_out is -1", "[0, 1]"]);
    }

    #[test]
    fn sum_is_not_the_channels() {
        let (good, bad) = (Split { high: 5, low: 3 }, Split { high: 5, low: 4 });
        refused(Spec::builder(8, 8).split(bad, good).build(), &["input split is 5 high and 4 low", "8 channels"]);
        refused(Spec::builder(8, 8).split(good, bad).build(), &["output split is 5 high and 4 low", "8 channels"]);
        // The sum does not fit 32 bits, and wraps to 8.
        let wraps = Split { high: u32::MAX, low: 9 };
        refused(Spec::builder(8, 8).split(wraps, good).build(), &["input split is 4294967295 high and 9 low"]);
    }
}

mod build {
    use super::*;

    const TOO_LARGE: u32 = (1 << 20) + 1;

    #[test]
    fn channels() {
        refused(Spec::builder(0, 8).build(), &["in_channels is 0", "1 to 1048576"]);
        refused(Spec::builder(8, 0).build(), &["out_channels is 0", "1 to 1048576"]);
        refused(Spec::builder(TOO_LARGE, 8).build(), &["in_channels is 1048577", "1 to 1048576"]);
        refused(Spec::builder(8, TOO_LARGE).build(), &["out_channels is 1048577", "1 to 1048576"]);
    }

    #[test]
    fn kernel() {
        refused(k3(8, 0.5, 0.5).kernel([0, 3]).build(), &["kernel height is 0", "1 to 1048576"]);
        refused(k3(8, 0.5, 0.5).kernel([3, TOO_LARGE]).build(), &["kernel width is 1048577", "1 to 1048576"]);
    }

    #[test]
    fn dilation() {
        refused(k3(8, 0.5, 0.5).dilation([0, 1]).build(), &["dilation height is 0", "1 to 1048576"]);
        refused(k3(8, 0.5, 0.5).dilation([1, TOO_LARGE]).build(), &["dilation width is 1048577", "1 to 1048576"]);
    }

    #[test]
    fn padding() {
        refused(k3(8, 0.5, 0.5).padding([TOO_LARGE, 0]).build(), &["padding height is 1048577", "0 to 1048576"]);
        refused(k3(8, 0.5, 0.5).padding([0, u32::MAX]).build(), &["padding width is 4294967295", "0 to 1048576"]);
    }

    #[test]
    fn time_axis() {
        let with = |time: TimeAxis| k3(8, 0.5, 0.5).time(time).build();
        refused(with(TimeAxis { kernel: 0, ..TimeAxis::IMAGE }), &["time kernel is 0", "1 to 1048576"]);
        refused(with(TimeAxis { stride: 0, ..TimeAxis::IMAGE }), &["time stride is 0", "1 to 1048576"]);
        refused(with(TimeAxis { dilation: 0, ..TimeAxis::IMAGE }), &["time dilation is 0", "1 to 1048576"]);
        refused(with(TimeAxis { padding: TOO_LARGE, ..TimeAxis::IMAGE }), &["time padding is 1048577", "0 to 1048576"]);
    }

    #[test]
    fn reach_of_the_kernel() {
        let d = 1 << 19;
        let rows = k3(8, 0.5, 0.5).dilation([d, 1]);
        refused(rows.build(), &["kernel is 3 with dilation 524288", "1048576 rows"]);
        let columns = k3(8, 0.5, 0.5).dilation([1, d]);
        refused(columns.build(), &["kernel is 3 with dilation 524288", "1048576 columns"]);
        let frames = k3(8, 0.5, 0.5).time(TimeAxis { kernel: 3, dilation: d, ..TimeAxis::IMAGE });
        refused(frames.build(), &["kernel is 3 with dilation 524288", "1048576 frames"]);
        // One less is just allowed.
        assert!(k3(8, 0.5, 0.5).dilation([d - 1, 1]).build().is_ok());
    }

    #[test]
    fn stride() {
        refused(k3(8, 0.5, 0.5).stride(0).build(), &["stride is 0", "1 or 2"]);
        refused(k3(8, 0.5, 0.5).stride(3).build(), &["stride is 3", "1 or 2"]);
    }

    #[test]
    fn slope() {
        let with = |slope| k3(8, 0.5, 0.5).activation(Activation::LeakyRelu { slope }).build();
        refused(with(f32::NAN), &["slope is NaN", "finite"]);
        refused(with(f32::INFINITY), &["slope is inf", "finite"]);
    }

    #[test]
    fn groups() {
        let with = |input: [u32; 2], output: [u32; 2], groups| {
            let [input, output] = [input, output].map(|[high, low]| Split { high, low });
            Spec::builder(input.channels(), output.channels()).split(input, output).groups(groups).build()
        };
        refused(with([4, 4], [4, 4], 0), &["groups is 0"]);
        refused(with([5, 4], [4, 4], 4), &["groups is 4", "5 high input channels"]);
        refused(with([4, 6], [4, 4], 4), &["groups is 4", "6 low input channels"]);
        refused(with([4, 4], [7, 4], 4), &["groups is 4", "7 high output channels"]);
        refused(with([4, 4], [4, 2], 4), &["groups is 4", "2 low output channels"]);
        // A frequency without channels is allowed.
        assert!(with([0, 4], [4, 0], 4).is_ok());
    }

    #[test]
    fn depthwise_output() {
        let with = |input: [u32; 2], output: [u32; 2]| {
            let [input, output] = [input, output].map(|[high, low]| Split { high, low });
            Spec::builder(input.channels(), output.channels()).split(input, output).depthwise().build()
        };
        refused(with([4, 2], [4, 3]), &["output split is 4 high and 3 low", "4 high and 2 low", "depthwise"]);
        refused(with([4, 2], [8, 2]), &["output split is 8 high and 2 low", "4 high and 2 low", "depthwise"]);
        refused(with([4, 2], [2, 1]), &["output split is 2 high and 1 low", "4 high and 2 low", "depthwise"]);
        refused(with([4, 0], [2, 2]), &["output split is 2 high and 2 low", "4 high and 0 low", "depthwise"]);
        assert!(with([4, 2], [12, 6]).is_ok());
    }

    #[test]
    fn exchange_switched_off() {
        refused(k3(8, 1.0, 0.5).low_to_high(false).build(), &["low_to_high is off", "must be on", "High"]);
        refused(k3(8, 0.0, 0.5).high_to_low(false).build(), &["high_to_low is off", "must be on", "Low"]);
        // A path may be off if another one leads into the output.
        assert!(k3(8, 0.5, 0.5).low_to_high(false).high_to_low(false).build().is_ok());
    }

    #[test]
    fn residual_without_an_output() {
        refused(k3(8, 0.5, 1.0).residual(true, false).build(), &["residual is on", "High output", "must be off"]);
        refused(k3(8, 0.5, 0.0).residual(false, true).build(), &["residual is on", "Low output", "must be off"]);
    }
}

mod shapes {
    use super::*;

    fn at(builder: SpecBuilder, h: u32, w: u32) -> Result<octconv::Shapes, Error> {
        builder.build().unwrap().shapes(InputSize::image(1, h, w))
    }

    /// 3x3 without padding: the two resolutions lose different shares of their rows and columns.
    fn valid(alpha_in: f64, alpha_out: f64) -> SpecBuilder {
        k3(8, alpha_in, alpha_out).padding([0, 0])
    }

    #[test]
    fn size_out_of_range() {
        let spec = k3(8, 0.5, 0.5).build().unwrap();
        let size = InputSize { n: 1, t: 1, h: 8, w: 8 };
        for value in [0, (1 << 20) + 1] {
            refused(spec.shapes(InputSize { n: value, ..size }), &[&format!("n is {value}"), "1 to 1048576"]);
            refused(spec.shapes(InputSize { t: value, ..size }), &[&format!("t is {value}"), "1 to 1048576"]);
            refused(spec.shapes(InputSize { h: value, ..size }), &[&format!("h is {value}"), "1 to 1048576"]);
            refused(spec.shapes(InputSize { w: value, ..size }), &[&format!("w is {value}"), "1 to 1048576"]);
        }
        refused(spec.cost(InputSize { h: 0, ..size }), &["h is 0"]);
    }

    #[test]
    fn floored_to_nothing() {
        let floor = |a, b| k3(8, a, b).rounding(Rounding::Floor);
        refused(at(floor(0.5, 0.5), 1, 9), &["h x w is 1x9", "at least 2x2"]);
        refused(at(floor(0.0, 0.5), 9, 1), &["h x w is 9x1", "at least 2x2"]);
        refused(at(floor(1.0, 0.0), 1, 1), &["h x w is 1x1", "at least 2x2"]);
        assert!(at(floor(0.0, 0.0), 1, 1).is_ok());
        assert!(at(k3(8, 0.5, 0.5), 1, 1).is_ok());
    }

    #[test]
    fn kernel_does_not_fit() {
        refused(at(valid(0.0, 0.0), 2, 9), &["kernel is 3 with dilation 1", "the height that", ", 2 with padding 0"]);
        refused(at(valid(0.0, 0.0), 9, 2), &["kernel is 3 with dilation 1", "the width that", ", 2 with padding 0"]);
        refused(
            at(k3(8, 0.0, 0.0).dilation([1, 4]), 9, 6),
            &["kernel is 3 with dilation 4, 9 in all", "the width that", ", 6 with padding 1", "on both sides"],
        );
        // Only the low resolution is too small.
        refused(at(valid(0.5, 0.5), 4, 9), &["kernel is 3 with dilation 1", "the height that", ", 2 with padding 0"]);
        let clip = k3(8, 0.5, 0.5).time(TimeAxis { kernel: 3, ..TimeAxis::IMAGE }).build().unwrap();
        refused(
            clip.shapes(InputSize::video(1, 2, 8, 8)),
            &["kernel is 3 with dilation 1", "number of frames that the layer reads, 2 with padding 0"],
        );
    }

    #[test]
    fn resolutions_disagree() {
        // Y_H is 6x6, so L->H must be 3x3.
        refused(at(valid(0.5, 0.5), 8, 8), &["H->H gives 6x6", "is 3x3", "L->H gives 2x2", "padding"]);
        refused(at(valid(1.0, 0.0), 8, 8), &["the input's size gives 6x6", "is 3x3", "L->H gives 2x2", "padding"]);
        // The same of Y_L, with a Y_H and without.
        refused(at(valid(0.0, 0.5), 8, 8), &["H->H gives 6x6", "is 3x3", "H->L gives 2x2", "padding"]);
        refused(at(valid(0.0, 1.0), 8, 8), &["the input's size gives 6x6", "is 3x3", "H->L gives 2x2", "padding"]);
        refused(
            at(valid(0.5, 0.5).low_to_high(false).high_to_low(false), 8, 8),
            &["H->H gives 6x6", "is 3x3", "L->L gives 2x2", "padding"],
        );
        // Too much padding.
        refused(at(k3(8, 0.5, 0.5).padding([2, 1]), 8, 8), &["H->H gives 10x8", "is 5x4", "L->H gives 6x4", "padding"]);
        // With one resolution alone nothing can disagree.
        assert!(at(valid(0.0, 0.0), 8, 8).is_ok());
        assert!(at(valid(1.0, 1.0), 8, 8).is_ok());
        // But the next layer of a network has a size at full resolution, of which this output must be half.
        let size = |spec: SpecBuilder| spec.build().unwrap().output_size(InputSize::image(1, 8, 8));
        refused(size(valid(1.0, 1.0)), &["the input's size gives 6x6", "is 3x3", "L->L gives 2x2", "padding"]);
        assert_eq!(size(k3(8, 1.0, 1.0)), Ok(InputSize::image(1, 8, 8)));
    }

    #[test]
    fn paths_disagree() {
        let strided = |a, b| valid(a, b).downsample(Downsample::StridedConv);
        // H->H with stride 2 over 8, L->H with stride 1 over 4.
        refused(at(strided(0.5, 0.5).stride(2), 8, 8), &["Y_H", "H->H gives 3x3", "L->H gives 2x2"]);
        // H->L with stride 2 over 8, L->L with stride 1 over 4.
        refused(at(strided(0.5, 1.0), 8, 8), &["Y_L", "L->L gives 2x2", "H->L gives 3x3"]);
    }
}

/// A layer that has everything, with the tensors that it needs.
mod tensors {
    use super::*;

    const SIZE: InputSize = InputSize { n: 1, t: 1, h: 4, w: 4 };
    static ONES: [f32; 64] = [1.0; 64];

    fn ones(len: usize) -> Option<&'static [f32]> {
        Some(&ONES[..len])
    }

    /// 1x1, 2 high and 3 low to 4 high and 2 low channels, with biases and residuals.
    fn full() -> Spec {
        let (input, output) = (Split { high: 2, low: 3 }, Split { high: 4, low: 2 });
        Spec::builder(5, 6).split(input, output).bias(true).residual(true, true).build().unwrap()
    }

    fn norm(len: usize) -> BatchNorm<'static> {
        let slice = &ONES[..len];
        BatchNorm { gamma: slice, beta: slice, mean: slice, var: slice, eps: 1e-5 }
    }

    fn weights() -> Weights<'static> {
        Weights {
            w_hh: ones(8),
            w_hl: ones(4),
            w_lh: ones(12),
            w_ll: ones(6),
            bias_h: ones(4),
            bias_l: ones(2),
            norm_h: Some(norm(4)),
            norm_l: Some(norm(2)),
        }
    }

    fn inputs() -> Inputs<'static> {
        Inputs { x_h: ones(32), x_l: ones(12), x_p: None, residual_h: ones(64), residual_l: ones(8) }
    }

    /// A plain 1x1 layer of 2 channels: no low frequency, bias or residual.
    fn plain() -> (Spec, Weights<'static>, Inputs<'static>) {
        let spec = Spec::builder(2, 2).build().unwrap();
        let weights = Weights { w_hh: ones(4), ..Weights::default() };
        (spec, weights, Inputs { x_h: ones(32), ..Inputs::default() })
    }

    fn run(spec: &Spec, inputs: Inputs) -> Result<Outputs, Error> {
        let weights = weights();
        let result = octave_conv(spec, SIZE, &weights, &inputs);
        // `magnitude` refuses the same.
        assert_eq!(magnitude(spec, SIZE, &weights, &inputs).err(), result.clone().err());
        result
    }

    #[test]
    fn all_is_well() {
        weights().validate(&full()).unwrap();
        run(&full(), inputs()).unwrap();
        let (spec, weights, inputs) = plain();
        octave_conv(&spec, SIZE, &weights, &inputs).unwrap();
    }

    type Set<T> = fn(&mut T, Option<&'static [f32]>);
    type SetNorm = fn(&mut BatchNorm<'static>);

    #[test]
    fn weights_missing_or_of_another_length() {
        let cases: [(&str, Set<Weights<'static>>, &str, usize); 6] = [
            ("w_hh", |w, v| w.w_hh = v, "4x2x1x1", 8),
            ("w_hl", |w, v| w.w_hl = v, "2x2x1x1", 4),
            ("w_lh", |w, v| w.w_lh = v, "4x3x1x1", 12),
            ("w_ll", |w, v| w.w_ll = v, "2x3x1x1", 6),
            ("bias_h", |w, v| w.bias_h = v, "1x4x1x1", 4),
            ("bias_l", |w, v| w.bias_l = v, "1x2x1x1", 2),
        ];
        for (name, set, shape, len) in cases {
            let mut bad = weights();
            set(&mut bad, None);
            refused(bad.validate(&full()), &[&format!("tensor {name} is missing"), "needs"]);
            for found in [len - 1, len + 1] {
                set(&mut bad, ones(found));
                let parts = [&format!("tensor {name} has {found} elements"), &format!("shape {shape} has {len}")];
                refused(bad.validate(&full()), &parts.map(String::as_str));
            }
            refused(octave_conv(&full(), SIZE, &bad, &inputs()), &[name]);
            refused(magnitude(&full(), SIZE, &bad, &inputs()), &[name]);
        }
    }

    #[test]
    fn weights_that_are_not_used() {
        let cases: [(&str, Set<Weights<'static>>); 5] = [
            ("w_hl", |w, v| w.w_hl = v),
            ("w_lh", |w, v| w.w_lh = v),
            ("w_ll", |w, v| w.w_ll = v),
            ("bias_h", |w, v| w.bias_h = v),
            ("bias_l", |w, v| w.bias_l = v),
        ];
        for (name, set) in cases {
            let (spec, mut weights, _) = plain();
            set(&mut weights, ones(2));
            refused(weights.validate(&spec), &[&format!("tensor {name} is given"), "does not use"]);
        }
        let low = Spec::builder(2, 2).alpha(1.0, 1.0).build().unwrap();
        let weights = Weights { w_hh: ones(4), w_ll: ones(4), ..Weights::default() };
        refused(weights.validate(&low), &["tensor w_hh is given", "does not use"]);
    }

    #[test]
    fn norm_of_another_length() {
        let cases: [(&str, SetNorm); 4] = [
            ("gamma", |bn| bn.gamma = &ONES[..1]),
            ("beta", |bn| bn.beta = &ONES[..1]),
            ("mean", |bn| bn.mean = &ONES[..1]),
            ("var", |bn| bn.var = &ONES[..1]),
        ];
        for (name, set) in cases {
            let (mut high, mut low) = (weights(), weights());
            set(high.norm_h.as_mut().unwrap());
            let parts = [&format!("tensor {name}_h has 1 elements"), "shape 1x4x1x1 has 4"];
            refused(high.validate(&full()), &parts.map(|p| p as &str));
            set(low.norm_l.as_mut().unwrap());
            let parts = [&format!("tensor {name}_l has 1 elements"), "shape 1x2x1x1 has 2"];
            refused(low.validate(&full()), &parts.map(|p| p as &str));
        }
    }

    #[test]
    fn norm_without_an_output() {
        let (spec, weights, _) = plain();
        let weights = Weights { norm_l: Some(norm(2)), ..weights };
        refused(weights.validate(&spec), &["tensor gamma_l is given", "does not use"]);
        let low = Spec::builder(2, 2).alpha(1.0, 1.0).build().unwrap();
        let weights = Weights { w_ll: ones(4), norm_h: Some(norm(2)), ..Weights::default() };
        refused(weights.validate(&low), &["tensor gamma_h is given", "does not use"]);
    }

    #[test]
    fn variance_that_has_no_root() {
        for (var, shown) in [(-0.5, "-0.5"), (f32::NAN, "NaN"), (-1e-5, "-0.00001")] {
            let values = [1.0, var, 1.0, 1.0];
            let norm_h = Some(BatchNorm { var: &values, ..norm(4) });
            refused(Weights { norm_h, ..weights() }.validate(&full()), &[&format!("var_h is {shown} + eps 0.00001")]);
            let norm_l = Some(BatchNorm { var: &values[..2], ..norm(2) });
            refused(Weights { norm_l, ..weights() }.validate(&full()), &[&format!("var_l is {shown} + eps 0.00001")]);
        }
        let zero = [0.0; 4];
        let norm_h = Some(BatchNorm { var: &zero, ..norm(4) });
        Weights { norm_h, ..weights() }.validate(&full()).unwrap();
    }

    #[test]
    fn inputs_missing_or_of_another_length() {
        let cases: [(&str, Set<Inputs<'static>>, &str, usize); 4] = [
            ("x_h", |i, v| i.x_h = v, "1x2x4x4", 32),
            ("x_l", |i, v| i.x_l = v, "1x3x2x2", 12),
            ("residual_h", |i, v| i.residual_h = v, "1x4x4x4", 64),
            ("residual_l", |i, v| i.residual_l = v, "1x2x2x2", 8),
        ];
        for (name, set, shape, len) in cases {
            let mut bad = inputs();
            set(&mut bad, None);
            refused(run(&full(), bad), &[&format!("tensor {name} is missing"), "needs"]);
            set(&mut bad, ones(len - 1));
            let parts = [&format!("tensor {name} has {} elements", len - 1), &format!("shape {shape} has {len}")];
            refused(run(&full(), bad), &parts.map(String::as_str));
        }
        let bad = Inputs { x_p: ones(7), ..inputs() };
        refused(run(&full(), bad), &["tensor x_p has 7 elements", "shape 1x2x2x2 has 8"]);
    }

    #[test]
    fn inputs_that_are_not_used() {
        let (spec, weights, good) = plain();
        let cases: [(&str, Set<Inputs<'static>>); 3] = [
            ("x_l", |i, v| i.x_l = v),
            ("residual_h", |i, v| i.residual_h = v),
            ("residual_l", |i, v| i.residual_l = v),
        ];
        for (name, set) in cases {
            let mut bad = good;
            set(&mut bad, ones(32));
            let parts = [&format!("tensor {name} is given"), "does not use"];
            refused(octave_conv(&spec, SIZE, &weights, &bad), &parts.map(|p| p as &str));
        }
        let low = Spec::builder(2, 2).alpha(1.0, 1.0).build().unwrap();
        let weights = Weights { w_ll: ones(4), ..Weights::default() };
        for (name, bad) in [
            ("x_h", Inputs { x_h: ones(32), x_l: ones(8), ..Inputs::default() }),
            ("x_p", Inputs { x_p: ones(8), x_l: ones(8), ..Inputs::default() }),
        ] {
            let parts = [&format!("tensor {name} is given"), "does not use"];
            refused(octave_conv(&low, SIZE, &weights, &bad), &parts.map(|p| p as &str));
        }
    }

    #[test]
    fn pooled_input_of_a_strided_layer() {
        let (input, output) = (Split { high: 2, low: 3 }, Split { high: 4, low: 2 });
        let builder = Spec::builder(5, 6).split(input, output).bias(true).residual(true, true);
        let strided = builder.downsample(Downsample::StridedConv).build().unwrap();
        run(&strided, inputs()).unwrap();
        refused(run(&strided, Inputs { x_p: ones(8), ..inputs() }), &["tensor x_p is given", "does not use"]);
    }

    #[test]
    fn pooled_input_stands_in() {
        // Ones pooled are ones, so nothing changes. H->H still reads X_H.
        let pooled = Inputs { x_p: ones(8), ..inputs() };
        assert_eq!(run(&full(), pooled).unwrap(), run(&full(), inputs()).unwrap());
        refused(run(&full(), Inputs { x_h: None, ..pooled }), &["tensor x_h is missing"]);
        // A first layer with only low outputs, or with stride 2, reads only the pooled map.
        for (alpha_out, stride) in [(1.0, 1), (0.0, 2)] {
            let spec = Spec::builder(2, 2).alpha(0.0, alpha_out).stride(stride).build().unwrap();
            let weights = match stride {
                1 => Weights { w_hl: ones(4), ..Weights::default() },
                _ => Weights { w_hh: ones(4), ..Weights::default() },
            };
            let whole = Inputs { x_h: ones(32), ..Inputs::default() };
            let pooled = Inputs { x_p: ones(8), ..Inputs::default() };
            let expected = octave_conv(&spec, SIZE, &weights, &whole).unwrap();
            assert_eq!(octave_conv(&spec, SIZE, &weights, &pooled).unwrap(), expected);
            let parts = ["tensor x_h is missing", "needs"];
            refused(octave_conv(&spec, SIZE, &weights, &Inputs::default()), &parts);
        }
    }

    #[test]
    fn size_is_checked_first() {
        let size = InputSize { w: 0, ..SIZE };
        refused(octave_conv(&full(), size, &weights(), &inputs()), &["w is 0"]);
        refused(magnitude(&full(), size, &weights(), &inputs()), &["w is 0"]);
    }
}

/// pool(X_H) is a tensor of those layers alone that average X_H.
#[test]
fn layers_that_pool_can_be_given_the_pooled_input() {
    let size = InputSize::image(1, 7, 6);
    let build = |alpha_in, alpha_out| Spec::builder(8, 8).alpha(alpha_in, alpha_out);
    for (spec, pools) in [
        (build(0.5, 0.5), true),
        (build(0.0, 0.5), true),
        (build(0.5, 0.0), false),
        (build(0.0, 0.0), false),
        (build(0.0, 0.0).stride(2), true),
        (build(0.0, 0.0).stride(2).downsample(Downsample::StridedConv), false),
        (build(0.5, 0.5).high_to_low(false), false),
        (build(1.0, 1.0), false),
    ] {
        let spec = spec.build().unwrap();
        let x_p = spec.shapes(size).unwrap().x_p;
        assert_eq!((spec.pools_input(), x_p.is_some()), (pools, pools), "{spec:?}");
        let options = Options { pooled_input: true, ..Options::default() };
        let plan = Plan::new(&spec, size, &options, &DeviceFacts::default());
        assert_eq!(plan.is_ok(), pools, "{spec:?}");
    }
}

/// Buffers are bound in words of four bytes.
#[test]
fn an_odd_number_of_halves_takes_two_bytes_more() {
    let spec = Spec::builder(3, 3).build().unwrap();
    let facts = DeviceFacts { features: wgpu::Features::SHADER_F16, ..DeviceFacts::default() };
    for (dtype, bytes) in [(Dtype::F32, 4 * 3 * 35), (Dtype::F16, 2 * 3 * 35 + 2)] {
        let options = Options { precision: Precision::of(dtype), ..Options::default() };
        let plan = Plan::new(&spec, InputSize::image(1, 7, 5), &options, &facts).unwrap();
        let tensors: Vec<_> = plan.tensors().iter().map(|tensor| (tensor.name, tensor.dtype, tensor.bytes)).collect();
        assert_eq!(tensors, [("x_h", dtype, bytes), ("y_h", dtype, bytes)]);
    }
}

/// Each strategy with each family says what it would take, or why it cannot run.
#[test]
fn alternatives_say_why() {
    let spec = Spec::builder(64, 64).alpha(0.5, 0.5).kernel([3, 3]).same_padding().build().unwrap();
    let (size, facts) = (InputSize::image(1, 28, 28), DeviceFacts::default());
    let alternatives = Plan::alternatives(&spec, size, &Options::default(), &facts).unwrap();
    let plan = Plan::new(&spec, size, &Options::default(), &facts).unwrap();
    let fused = alternatives.iter().find(|other| other.variant.strategy != octconv::Strategy::Unfused).unwrap();
    assert_eq!((fused.variant, fused.estimate.clone()), (plan.variant().untiled(), Ok(plan.estimate(&facts))));
    let costs: Vec<f64> = alternatives.iter().map_while(|other| other.estimate.clone().ok()).collect();
    assert!(costs.is_sorted() && costs.len() >= 5, "{costs:?}");
    assert!(alternatives[costs.len()..].iter().all(|other| other.estimate.is_err()));
    let why = |variant: &str| {
        let found = alternatives.iter().find(|other| other.variant.to_string() == variant).unwrap();
        found.estimate.as_ref().unwrap_err().to_string()
    };
    // What a feature would bring.
    assert!(why("fused/matrix").contains("f16"), "{}", why("fused/matrix"));
    assert!(why("fused/pointwise").contains("1x1"), "{}", why("fused/pointwise"));
    let too_small = Plan::alternatives(&spec, InputSize::image(0, 1, 1), &Options::default(), &facts);
    assert!(too_small.is_err());
}

/// Scratch is counted in 64 bits until it is known to have no more elements than a tensor may.
#[test]
fn scratch_beyond_32_bits_is_refused() {
    let mut facts = DeviceFacts::default();
    facts.rates.threads = u64::MAX;
    facts.limits.max_buffer_size = u64::MAX;
    facts.limits.max_storage_buffer_binding_size = u64::MAX;
    facts.features |= wgpu::Features::SHADER_F16;
    let spec = Spec::builder(256, 512).alpha(0.0, 0.0).kernel([3, 3]).same_padding().build().unwrap();
    for strategy in ["split-k/direct", "split-k/staged"] {
        let variant = Some(strategy.parse().unwrap());
        let options = Options { variant, precision: Precision::of(Dtype::F16), ..Options::default() };
        match Plan::new(&spec, InputSize::image(1, 512, 525), &options, &facts) {
            Err(Error::Limit { needs, .. }) => assert!(needs > u64::from(u32::MAX), "{needs}"),
            other => panic!("{strategy}: {other:?}"),
        }
    }
}

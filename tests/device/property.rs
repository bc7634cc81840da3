//! Properties of random layers: on the device against the reference, and of plans and costs without one.
//!
//! The draws are the same every time; `PROPTEST_RNG_SEED` gives others, and `PROPTEST_CASES` more.

use crate::common::{context, has_f16, split};
use octconv::verify::{Case, Values};
use octconv::{
    Accuracy, Activation, DeviceFacts, Downsample, Dtype, Error, Frequency, InputSize, Options, Path, Plan, Precision,
    Rounding,
};
use octconv::{Spec, SpecBuilder, TimeAxis, Variant};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::RngSeed;

fn config(cases: u32, max_shrink_iters: u32) -> ProptestConfig {
    let mut config = ProptestConfig { failure_persistence: None, max_shrink_iters, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = cases;
    }
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(1904);
    }
    config
}

/// Which layers to draw.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Dense,
    Grouped,
    Depthwise,
    Pointwise,
    Clip,
}

/// The numbers of a layer before anything has looked at them. All of them shrink to the plainest layer.
fn builder(kind: Kind) -> impl Strategy<Value = SpecBuilder> {
    let groups = if kind == Kind::Grouped { 2..=4u32 } else { 1..=1 };
    let most = if kind == Kind::Grouped { 3u32 } else { 18 };
    let half = (0..=most, 0..=most);
    let channels = (groups, half.clone(), half, 1..=3u32);
    let axis = || prop_oneof![3 => Just(3u32), 2 => Just(1), 2 => 2..=7u32];
    let kernel = (axis(), axis(), prop::bool::weighted(0.3));
    let padding = prop::option::weighted(0.2, (0..=4u32, 0..=4u32));
    let geometry = (kernel, padding, 1..=2u32, prop::option::weighted(0.3, (1..=3u32, 1..=3u32)));
    let frames = (1..=3u32, 1..=3u32, 0..=2u32, 1..=2u32);
    let off = || prop::bool::weighted(0.15);
    let switches = (off(), off(), off(), any::<bool>(), any::<bool>(), off(), off());
    let activation = select(Activation::all().collect::<Vec<_>>());
    (channels, geometry, frames, switches, activation).prop_map(
        move |(channels, geometry, frames, switches, activation)| {
            let (groups, input, output, multiple) = channels;
            let (kernel, padding, stride, dilation) = geometry;
            let (no_hl, no_lh, strided, floor, bias, residual_high, residual_low) = switches;
            let times = |by: u32, (high, low): (u32, u32)| (by * high, by * low);
            let output = if kind == Kind::Depthwise { times(multiple, input) } else { times(groups, output) };
            let kernel = match (kind, kernel) {
                (Kind::Pointwise, _) => [1, 1],
                (_, (h, w, true)) => [h, w],
                (_, (h, _, false)) => [h, h],
            };
            let (dilation, padding) = match kind {
                Kind::Pointwise => (None, None),
                _ => (dilation, padding),
            };
            let spec = split(times(groups, input), output).kernel(kernel).stride(stride);
            let spec = spec.dilation(dilation.map_or([1, 1], |(h, w)| [h, w])).groups(groups).bias(bias);
            let spec = match padding {
                None => spec.same_padding(),
                Some((h, w)) => spec.padding([h, w]),
            };
            let (kt, stride_t, padding_t, dilation_t) = frames;
            let time = TimeAxis { kernel: kt, stride: stride_t, padding: padding_t, dilation: dilation_t };
            let spec = if kind == Kind::Clip { spec.time(time) } else { spec };
            let spec = if kind == Kind::Depthwise { spec.depthwise() } else { spec };
            spec.high_to_low(!no_hl)
                .low_to_high(!no_lh)
                .downsample(if strided { Downsample::StridedConv } else { Downsample::AveragePool })
                .rounding(if floor { Rounding::Floor } else { Rounding::Ceil })
                .activation(activation)
                .residual(residual_high, residual_low)
        },
    )
}

fn size(kind: Kind) -> impl Strategy<Value = InputSize> {
    let side = || prop_oneof![2 => 1..=5u32, 3 => 1..=14u32, 2 => 1..=30u32];
    let frames = if kind == Kind::Clip { 1..=5u32 } else { 1..=1 };
    (1..=3u32, frames, side(), side()).prop_map(|(n, t, h, w)| InputSize::video(n, t, h, w))
}

/// Layers that are some: valid, and small.
fn layer(kind: Kind) -> impl Strategy<Value = (Spec, InputSize)> {
    (builder(kind), size(kind)).prop_filter_map("no such layer", |(builder, size)| {
        let spec = builder.build().ok()?;
        let cost = spec.cost(size).ok()?;
        let small = cost.macs <= 1_000_000 && cost.input_elements + cost.output_elements <= 100_000;
        small.then_some((spec, size))
    })
}

fn options(f16: bool) -> impl Strategy<Value = Options> {
    let dtype = |wide: bool| prop::bool::weighted(if wide { 0.3 } else { 0.0 }).prop_map(half_if);
    (dtype(f16), dtype(true), prop::bool::weighted(0.25), prop::bool::weighted(0.25)).prop_map(
        |(activations, weights, pooled_input, pooled_output)| Options {
            precision: Precision { activations, weights, ..Precision::default() },
            pooled_input,
            pooled_output,
            accuracy: Accuracy::Fast,
            ..Options::default()
        },
    )
}

fn half_if(half: bool) -> Dtype {
    if half { Dtype::F16 } else { Dtype::F32 }
}

/// Layers in one of the variants that this device runs them in.
fn on_device(kind: Kind) -> impl Strategy<Value = Case> {
    let facts = context().engine().facts();
    let values = select(Values::all().collect::<Vec<_>>());
    (layer(kind), options(has_f16(context())), any::<Index>(), any::<bool>(), values, 0..1000u64).prop_filter_map(
        "no plan",
        |((spec, size), options, variant, batch_norm, values, seed)| {
            let plans = Plan::candidates(&spec, size, &options, facts);
            let variant = Some(plans.get(variant.index(plans.len().max(1)))?.variant());
            Some(Case {
                spec,
                size,
                options: Options { variant, ..options },
                batch_norm,
                one_buffer: false,
                values,
                seed,
            })
        },
    )
}

fn agrees(case: &Case) -> Result<(), TestCaseError> {
    for context in
        [Some(context()), crate::common::on_gpus_too(case).then(crate::common::as_a_gpu)].into_iter().flatten()
    {
        let outcome = case.run(context).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(Some(outcome.variant), case.options.variant);
        prop_assert!(outcome.failure.is_none(), "{:?}", outcome);
    }
    Ok(())
}

mod on_the_device {
    use super::*;

    proptest! {
        #![proptest_config(config(8, 150))]
        #[test]
        fn dense_layers_agree(case in on_device(Kind::Dense)) {
            agrees(&case)?;
        }

        #[test]
        fn pointwise_layers_agree(case in on_device(Kind::Pointwise)) {
            agrees(&case)?;
        }
    }

    proptest! {
        #![proptest_config(config(6, 150))]
        #[test]
        fn grouped_layers_agree(case in on_device(Kind::Grouped)) {
            agrees(&case)?;
        }

        #[test]
        fn depthwise_layers_agree(case in on_device(Kind::Depthwise)) {
            agrees(&case)?;
        }

        #[test]
        fn clips_agree(case in on_device(Kind::Clip)) {
            agrees(&case)?;
        }
    }
}

fn any_kind() -> impl Strategy<Value = (Spec, InputSize)> {
    prop_oneof![
        layer(Kind::Dense),
        layer(Kind::Pointwise),
        layer(Kind::Grouped),
        layer(Kind::Depthwise),
        layer(Kind::Clip)
    ]
}

/// Numbers of any size, small ones more often.
fn wild() -> impl Strategy<Value = u32> {
    prop_oneof![4 => 0..=4u32, 2 => 0..=70u32, 1 => 0..=(1u32 << 20) + 1, 1 => (0..=31u32).prop_map(|bits| u32::MAX >> bits)]
}

fn wild_builder() -> impl Strategy<Value = SpecBuilder> {
    let pair = || (wild(), wild());
    let geometry = (pair(), pair(), pair(), wild(), wild());
    let frames = (wild(), wild(), wild(), wild());
    (pair(), pair(), geometry, frames, any::<[bool; 6]>()).prop_map(|(input, output, geometry, frames, switches)| {
        let (kernel, padding, dilation, stride, groups) = geometry;
        let [same, image, depthwise, strided, floor, dense] = switches;
        let (in_channels, out_channels) = (input.0.saturating_add(input.1), output.0.saturating_add(output.1));
        let [input, output] = [input, output].map(|(high, low)| octconv::Split { high, low });
        let spec = Spec::builder(in_channels, out_channels).split(input, output).kernel([kernel.0, kernel.1]);
        let spec = spec.padding([padding.0, padding.1]).dilation([dilation.0, dilation.1]).stride(stride);
        let time = TimeAxis { kernel: frames.0, stride: frames.1, padding: frames.2, dilation: frames.3 };
        let spec = if image { spec } else { spec.time(time) };
        let spec = if same { spec.same_padding() } else { spec };
        let spec = match (depthwise, dense) {
            (true, _) => spec.depthwise(),
            (false, true) => spec,
            (false, false) => spec.groups(groups),
        };
        spec.downsample(if strided { Downsample::StridedConv } else { Downsample::AveragePool }).rounding(if floor {
            Rounding::Floor
        } else {
            Rounding::Ceil
        })
    })
}

/// The MACs of a layer with a kernel of odd taps and the padding that keeps sizes, whose `h` and `w` all halvings divide.
fn macs_by_hand(spec: &Spec, size: InputSize) -> u64 {
    let [kh, kw] = spec.kernel().map(u64::from);
    let (h, w) = (u64::from(size.h / spec.stride()), u64::from(size.w / spec.stride()));
    let frames = u64::from(size.n * size.t);
    let channels = |frequency, split: octconv::Split| u64::from(split.of(frequency));
    let pairs = |from, to| channels(from, spec.input()) * channels(to, spec.output());
    let (fine, coarse) = (frames * h * w, frames * (h / 2) * (w / 2));
    // At stride 2 what comes from X_L is already at the resolution of Y_H.
    let from_low = if spec.stride() == 2 { fine } else { coarse };
    let low_to_high = if spec.has(Path::LH) { pairs(Frequency::Low, Frequency::High) * from_low } else { 0 };
    let high_to_low = if spec.has(Path::HL) { pairs(Frequency::High, Frequency::Low) * coarse } else { 0 };
    let straight = pairs(Frequency::High, Frequency::High) * fine + pairs(Frequency::Low, Frequency::Low) * coarse;
    kh * kw * (straight + low_to_high + high_to_low)
}

proptest! {
    #![proptest_config(config(300, 2000))]

    /// What a device with wgpu's defaults can be asked: every valid layer, within its limits.
    #[test]
    fn plans_fit_the_default_device((spec, size) in any_kind(), options in options(false)) {
        let facts = DeviceFacts::default();
        let plan = match Plan::new(&spec, size, &options, &facts) {
            Ok(plan) => plan,
            Err(Error::Argument { name: "pooled_input", .. }) if options.pooled_input => return Ok(()),
            Err(Error::Argument { name: "pooled_output", .. }) if options.pooled_output => return Ok(()),
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        };
        let plans = Plan::candidates(&spec, size, &options, &facts);
        prop_assert_eq!(plans.first().map(Plan::variant), Some(plan.variant()));
        prop_assert_eq!(plans.first().map(Plan::sources), Some(plan.sources()));
        for plan in &plans {
            let sources = plan.sources();
            prop_assert_eq!(sources.len(), plan.dispatches());
            prop_assert_eq!(plan.kernels().len(), plan.dispatches());
            for source in sources {
                let buffers = source.matches("var<storage").count() as u32;
                prop_assert!(buffers <= facts.limits.max_storage_buffers_per_shader_stage, "{buffers} in {source}");
            }
            let forced = Options { variant: Some(plan.variant()), ..options };
            let forced = Plan::new(&spec, size, &forced, &facts).map_err(|e| TestCaseError::fail(e.to_string()))?;
            prop_assert_eq!(forced.sources(), plan.sources());
            prop_assert_eq!(forced.scratch_bytes(), plan.scratch_bytes());
        }
        for variant in Variant::all().filter(|v| plans.iter().all(|plan| plan.variant().untiled() != *v)) {
            let forced = Options { variant: Some(variant), ..options };
            let refused = Plan::new(&spec, size, &forced, &facts);
            let named = matches!(&refused, Err(Error::Variant { variant: name, .. }) if *name == variant.to_string());
            let limited = matches!(&refused, Err(Error::Limit { .. }));
            prop_assert!(named || limited, "{variant}: {:?}", refused);
        }
    }

    /// Sizes without sense are refused in words: nothing overflows, and nothing is planned that cannot be bound.
    #[test]
    fn nonsense_is_refused(builder in wild_builder(), n in wild(), t in wild(), h in wild(), w in wild()) {
        let Ok(spec) = builder.build() else { return Ok(()) };
        let size = InputSize::video(n, t, h, w);
        let shapes = spec.shapes(size);
        prop_assert_eq!(shapes.is_ok(), spec.cost(size).is_ok());
        let facts = DeviceFacts::default();
        for plan in Plan::candidates(&spec, size, &Options::default(), &facts) {
            for tensor in plan.tensors() {
                prop_assert!(4 * tensor.dims.elements() <= facts.limits.max_storage_buffer_binding_size, "{:?}", tensor);
            }
        }
    }

    #[test]
    fn cost_is_counted_by_hand(
        input in (0..=40u32, 0..=40u32),
        output in (0..=40u32, 0..=40u32),
        half_kernel in (0..=3u32, 0..=3u32),
        quarter in (1..=20u32, 1..=20u32),
        n in 1..=3u32,
        t in 1..=3u32,
        stride in 1..=2u32,
        exchange in any::<(bool, bool)>(),
    ) {
        let kernel = [2 * half_kernel.0 + 1, 2 * half_kernel.1 + 1];
        let spec = split(input, output).kernel(kernel).same_padding().stride(stride);
        let spec = spec.high_to_low(exchange.0).low_to_high(exchange.1).build();
        prop_assume!(spec.is_ok());
        let spec = spec.unwrap();
        let size = InputSize::video(n, t, 4 * quarter.0, 4 * quarter.1);
        let cost = spec.cost(size).unwrap();
        prop_assert_eq!(cost.macs, macs_by_hand(&spec, size));
        let shapes = spec.shapes(size).unwrap();
        let frames = u64::from(n * t);
        let (h, w) = (u64::from(size.h / stride), u64::from(size.w / stride));
        let [high, low] = [spec.output().high, spec.output().low].map(u64::from);
        prop_assert_eq!(cost.output_elements, frames * h * w * high + frames * (h / 2) * (w / 2) * low);
        prop_assert_eq!(shapes.y_l.map(|y| (u64::from(y.h), u64::from(y.w))), (low > 0).then_some((h / 2, w / 2)));
    }
}

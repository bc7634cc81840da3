//! Properties of plans and costs of random layers, without a device.

use octconv::{
    DeviceFacts, Downsample, Error, Frequency, InputSize, Options, Path, Plan, Rounding, Spec, SpecBuilder, TimeAxis,
    Variant,
};
use proptest::prelude::*;

use crate::cases::split;
use crate::draw::{Kind, config, layer, options};

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
    #![proptest_config(config(600, 2000))]

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

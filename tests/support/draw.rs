//! Random layers for proptest. The draws are the same every time; `PROPTEST_RNG_SEED` gives others, and `PROPTEST_CASES`
//! more.

use octconv::{Activation, Downsample, Dtype, InputSize, Options, Precision, Rounding, Spec, SpecBuilder, TimeAxis};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::RngSeed;

use crate::cases::split;

pub fn config(cases: u32, max_shrink_iters: u32) -> ProptestConfig {
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
pub enum Kind {
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
    let activation = select(vec![
        Activation::None,
        Activation::Relu,
        Activation::Relu6,
        Activation::Silu,
        Activation::HardSwish,
        Activation::LeakyRelu { slope: 0.1 },
    ]);
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
pub fn layer(kind: Kind) -> impl Strategy<Value = (Spec, InputSize)> {
    (builder(kind), size(kind)).prop_filter_map("no such layer", |(builder, size)| {
        let spec = builder.build().ok()?;
        let cost = spec.cost(size).ok()?;
        let small = cost.macs <= 1_000_000 && cost.input_elements + cost.output_elements <= 100_000;
        small.then_some((spec, size))
    })
}

pub fn options(f16: bool) -> impl Strategy<Value = Options> {
    let dtype = |wide: bool| prop::bool::weighted(if wide { 0.3 } else { 0.0 }).prop_map(half_if);
    (dtype(f16), dtype(true), prop::bool::weighted(0.25), prop::bool::weighted(0.25)).prop_map(
        |(activations, weights, pooled_input, pooled_output)| Options {
            precision: Precision { activations, weights, ..Precision::default() },
            pooled_input,
            pooled_output,
            ..Options::default()
        },
    )
}

fn half_if(half: bool) -> Dtype {
    if half { Dtype::F16 } else { Dtype::F32 }
}

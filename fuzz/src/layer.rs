use octconv::{
    DeviceFacts, Downsample, Error, Family, InputSize, Options, Plan, Rounding, Slice, Spec, Split, Strategy, TimeAxis,
    Variant,
};

use crate::draw::Draw;
use crate::{check, facts};

/// A layer with options, on a device: all of its plans.
pub fn layer(data: &[u8]) {
    let mut draw = Draw::new(data);
    let Ok(Drawn { spec, size, options, facts }) = Drawn::new(&mut draw) else { return };
    let candidates = check::plans(&spec, size, &options, &facts);
    if !candidates.is_empty() {
        check::is_made_again(&draw.choose(&candidates), &facts);
    }
    // Any pair of strategy and family runs as it was asked for, or the error says why not.
    let variant = variant(&mut draw);
    match Plan::new(&spec, size, &Options { variant: Some(variant), ..options }, &facts) {
        Ok(plan) => {
            assert_eq!(plan.variant().untiled(), variant);
            check::plan(&plan, &facts);
        }
        Err(error) => check::refused(&error),
    }
}

fn variant(draw: &mut Draw) -> Variant {
    let strategy = draw.choose(&Strategy::all().collect::<Vec<_>>());
    let family = draw.choose(&Family::all().collect::<Vec<_>>());
    Variant { strategy, family, tile: None }
}

/// Everything that decides the plans of a layer.
pub(crate) struct Drawn {
    pub(crate) spec: Spec,
    pub(crate) size: InputSize,
    pub(crate) options: Options,
    pub(crate) facts: DeviceFacts,
}

impl Drawn {
    pub(crate) fn new(draw: &mut Draw) -> Result<Self, Error> {
        let facts = draw.choose(&facts::devices());
        let size = draw.size();
        let options = draw.options();
        let spec = spec(draw).inspect_err(check::refused)?;
        let options = with_pools_and_slices(draw, &spec, options);
        spec.shapes(size).inspect_err(check::refused)?;
        Ok(Self { spec, size, options, facts })
    }
}

fn spec(draw: &mut Draw) -> Result<Spec, Error> {
    let depthwise = draw.once_in(6);
    let groups = if draw.once_in(4) { draw.number(2..=9) } else { 1 };
    let most = draw.choose(&[1, 4, 12, 80]);
    let multiple = draw.within(1..=2);
    let mut channels = || draw.number(0..=most).saturating_mul(groups);
    let input = Split { high: channels(), low: channels() };
    let output = match depthwise {
        true => Split { high: input.high.saturating_mul(multiple), low: input.low.saturating_mul(multiple) },
        false => Split { high: channels(), low: channels() },
    };
    let sum = |split: Split| split.high.saturating_add(split.low);
    let kernel = match draw.choose(&[1, 3, 3, 5, 7]) {
        7 => draw.numbers(1..=7),
        side => [side; 2],
    };
    let mut builder = Spec::builder(sum(input), sum(output)).kernel(kernel).stride(draw.number(1..=2));
    builder = match draw.once_in(4) {
        true => builder.alpha(draw.share(), draw.share()),
        false => builder.split(input, output),
    };
    if draw.once_in(4) {
        builder = builder.dilation(draw.numbers(1..=3));
    }
    builder = if draw.once_in(4) { builder.padding(draw.numbers(0..=4)) } else { builder.same_padding() };
    if draw.once_in(4) {
        let [kernel, stride, dilation] = draw.numbers(1..=3);
        builder = builder.time(TimeAxis { kernel, stride, padding: draw.number(0..=2), dilation });
    }
    builder = if depthwise { builder.depthwise() } else { builder.groups(groups) };
    builder
        .high_to_low(!draw.once_in(8))
        .low_to_high(!draw.once_in(8))
        .downsample(if draw.once_in(5) { Downsample::StridedConv } else { Downsample::AveragePool })
        .rounding(draw.choose(&[Rounding::Ceil, Rounding::Floor]))
        .bias(draw.flag())
        .activation(draw.activation())
        .residual(draw.once_in(4) && output.high > 0, draw.once_in(4) && output.low > 0)
        .build()
}

fn with_pools_and_slices(draw: &mut Draw, spec: &Spec, options: Options) -> Options {
    let mut slice = |channels: u32| {
        let (first, behind) = (draw.number(0..=9), draw.within(0..=9));
        let slice = Slice { first, of: first.saturating_add(channels).saturating_add(behind) };
        draw.once_in(6).then_some(slice)
    };
    let (high_slice, low_slice) = (slice(spec.output().high), slice(spec.output().low));
    let (pooled_input, pooled_output) = (draw.once_in(4), draw.once_in(4));
    let scratch_limit = draw.once_in(8).then(|| draw.number(0..=1 << 16).into());
    Options { pooled_input, pooled_output, high_slice, low_slice, scratch_limit, ..options }
}

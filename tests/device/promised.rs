//! The strategies and families that every layer of the table must have, by plans alone.

use octconv::{
    DeviceFacts, Downsample, Dtype, Frequency, Groups, Options, Path, Plan, Precision, Rounding, Spec, TimeAxis, wgpu,
};

use crate::cases;

#[test]
fn every_layer_has_what_documentation_promises() {
    let limits = wgpu::Limits { max_storage_buffers_per_shader_stage: 16, ..wgpu::Limits::default() };
    let facts = DeviceFacts { limits, features: wgpu::Features::SHADER_F16, ..DeviceFacts::default() };
    let half = Dtype::F16;
    let types = [Precision::default(), Precision { activations: half, weights: half, sums: half }];
    // Layers in a row differ in little: one has the one type, the next the other.
    for (row, precision) in cases::themes().iter().flat_map(|theme| &theme.rows).zip(types.into_iter().cycle()) {
        let options = Options { precision, ..row.options };
        for name in promised(&row.spec, &options) {
            let options = Options { variant: Some(name.parse().unwrap()), ..options };
            if let Err(error) = Plan::new(&row.spec, row.size, &options, &facts) {
                panic!("{error}, for {row:?}");
            }
        }
    }
}

fn groups_of(spec: &Spec) -> u32 {
    if let Groups::Count(count) = spec.groups() { count } else { 1 }
}

/// The variants that a layer must have where the device binds enough buffers.
fn promised(spec: &Spec, options: &Options) -> Vec<String> {
    let pooled = spec.downsample() == Downsample::AveragePool;
    let two = spec.stride() == 2;
    // Where the layer, and not its caller, pools what the direct kernel reads.
    let pools = pooled
        && ((spec.has(Path::HH) && two && !options.pooled_input)
            || (spec.has(Path::HL) && (two || !options.pooled_input))
            || (spec.has(Path::LL) && two));
    // The pointwise kernel takes the last mean on its own.
    let pools_for_cells = pooled && two && !options.pooled_input && spec.reads(Frequency::High);
    let has = |frequency| spec.output().of(frequency) > 0;
    let both = has(Frequency::High) && has(Frequency::Low);

    let dense = spec.groups() == Groups::Count(1);
    let mut strategies = vec!["fused"];
    let unfused = options.high_slice.is_none() && options.low_slice.is_none();
    if unfused {
        strategies.push("unfused");
    }
    if both {
        strategies.push("split");
    }
    if pools {
        strategies.push("pool-first");
    }
    if spec.has(Path::LH) && !two {
        strategies.push("low-first");
    }
    let mut names: Vec<_> = strategies.iter().map(|strategy| format!("{strategy}/direct")).collect();
    if dense {
        names.extend(strategies.iter().map(|strategy| format!("{strategy}/staged")));
    }
    if options.precision.sums == Dtype::F16 {
        // An output channel alone has no pair. The other strategies have outputs or paths apart.
        let has_pairs = |path: Path| {
            let [c_out, ..] = spec.weight_shape(path);
            spec.groups() != Groups::Depthwise && c_out / groups_of(spec) > 1
        };
        let mut paths = Path::ALL.into_iter().filter(|&path| spec.has(path));
        if paths.clone().all(has_pairs) {
            names.extend(strategies.iter().map(|strategy| format!("{strategy}/direct-f16")));
        } else if paths.any(has_pairs) {
            names.push("fused/direct-f16".into());
        }
    }
    if options.precision.sums == Dtype::F16 && dense {
        names.extend(strategies.iter().map(|strategy| format!("{strategy}/staged-f16")));
    }
    let time = spec.time();
    let one_tap = spec.kernel() == [1, 1] && spec.padding() == [0, 0] && time.kernel == 1 && time.padding == 0;
    if dense && one_tap {
        if unfused {
            names.push("unfused/pointwise".into());
        }
        let means_given = options.pooled_input && !two && !spec.has(Path::HH);
        if (has(Frequency::High) || spec.has(Path::HL)) && !means_given {
            names.push("fused/pointwise".into());
            if pools_for_cells {
                names.push("pool-first/pointwise".into());
            }
            if both && spec.has(Path::HL) {
                names.push("split/pointwise".into());
            }
        }
    }
    let winograd = spec.kernel() == [3, 3]
        && dense
        && spec.dilation() == [1, 1]
        && TimeAxis { dilation: 1, ..time } == TimeAxis::IMAGE
        && (pooled || (!two && !spec.has(Path::HL)));
    // Where odd sizes are floored, it depends on the size whether L->H can be replicated.
    if winograd && (two || spec.rounding() == Rounding::Ceil || !spec.has(Path::LH)) {
        names.push("transform/winograd".into());
    }
    names
}

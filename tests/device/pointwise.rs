//! What the pointwise kernel alone has.

use octconv::{
    ContextOptions, DeviceFacts, Downsample, Dtype, InputSize, Options, Plan, Precision, Rounding, SpecBuilder, wgpu,
};

use crate::cases::{at, octave1, split};
use crate::harness::{self, case, compare, forced, open, tile};

pub fn folded_grids() {
    let limits = wgpu::Limits { max_compute_workgroups_per_dimension: 3, ..wgpu::Limits::default() };
    let context = open(&ContextOptions { limits: Some(limits), ..ContextOptions::default() });
    let variant = format!("fused/pointwise/{}", tile::POINTWISE_SMALL);
    let case = forced(case(at(split((3, 2), (40, 9)).bias(true), [4, 3])), &variant);
    assert!(harness::workgroups(&case) > 3);
    compare(&context, &case);
    for strategy in ["split", "unfused"] {
        compare(&context, &forced(case.clone(), &format!("{strategy}/pointwise/{}", tile::POINTWISE_SMALL)));
    }
}

/// The tensors of a fused layer that are bound as words of two elements, of which a device has the type `word`.
fn paired(
    spec: SpecBuilder,
    options: Options,
    [h, w]: [u32; 2],
    tile: &str,
    facts: &DeviceFacts,
    word: Word,
) -> String {
    let spec = spec.build().unwrap();
    let options = Options { variant: Some(format!("fused/pointwise/{tile}").parse().unwrap()), ..options };
    let plan = Plan::new(&spec, InputSize::image(1, h, w), &options, facts).unwrap();
    let source = plan.sources().concat();
    let module = naga::front::wgsl::parse_str(&source).unwrap();
    let storage = module.global_variables.iter().map(|(_, variable)| variable);
    let storage = storage.filter(|variable| matches!(variable.space, naga::AddressSpace::Storage { .. }));
    let is_paired = |variable: &&naga::GlobalVariable| {
        let naga::TypeInner::Array { base, .. } = module.types[variable.ty].inner else { return false };
        let scalar = |kind, width| naga::Scalar { kind, width };
        match (word, &module.types[base].inner) {
            (Word::U64, naga::TypeInner::Scalar(found)) => *found == scalar(naga::ScalarKind::Uint, 8),
            (Word::U32, naga::TypeInner::Scalar(found)) => *found == scalar(naga::ScalarKind::Uint, 4),
            (Word::Floats(width), naga::TypeInner::Vector { size: naga::VectorSize::Bi, scalar: found }) => {
                *found == scalar(naga::ScalarKind::Float, width)
            }
            _ => false,
        }
    };
    let names = storage.filter(is_paired).filter_map(|variable| variable.name.clone());
    // Whether X_H or its means: what the layer reads at high resolution.
    let mut names: Vec<_> = names.filter(|name| !name.contains("weights")).collect();
    names.sort();
    names.join(" ")
}

#[derive(Clone, Copy, Debug)]
enum Word {
    U64,
    U32,
    /// Two floats of so many bytes.
    Floats(u8),
}

/// Pairs are for tensors whose rows are whole numbers of them: integers on software devices that have those of 64 bits,
/// nothing on others, and vectors on GPUs.
pub fn what_is_paired() {
    let features = wgpu::Features::SHADER_INT64 | wgpu::Features::SHADER_F16;
    let software = DeviceFacts { software: true, features, ..DeviceFacts::default() };
    let simple = DeviceFacts { features: wgpu::Features::SHADER_F16, ..software.clone() };
    let gpu = DeviceFacts { software: false, ..software.clone() };
    let options = Options { pooled_output: true, ..Options::default() };
    let both = || octave1().residual(true, true);
    let floor = || both().rounding(Rounding::Floor);
    let (small, wide) = (tile::POINTWISE_SMALL, tile::POINTWISE_WIDE);
    for (spec, size, tile, expected) in [
        (both(), [6, 12], wide, "high residual_h residual_l x_l y_h y_l y_p"),
        (both(), [6, 12], small, "high residual_h y_h"),
        (both(), [6, 10], wide, "high residual_h y_h"),
        (both(), [6, 11], wide, "residual_l x_l y_l y_p"),
        (both(), [6, 9], wide, ""),
        (floor(), [6, 9], wide, "residual_l y_l y_p"),
        (both().stride(2), [6, 20], small, "high residual_h x_l y_h"),
        (both().stride(2), [6, 24], wide, "high residual_h residual_l x_l y_h y_l y_p"),
        (both().stride(2), [6, 23], wide, "residual_h residual_l x_l y_h y_l y_p"),
    ] {
        let halves = Options { precision: Precision { activations: Dtype::F16, ..options.precision }, ..options };
        for (options, facts, word) in [
            (options, &software, Word::U64),
            (halves, &software, Word::U32),
            (options, &gpu, Word::Floats(4)),
            (halves, &gpu, Word::Floats(2)),
        ] {
            let found = paired(spec.clone(), options, size, tile, facts, word);
            assert_eq!(found, expected, "{size:?} {tile} {word:?}");
        }
        for word in [Word::U64, Word::U32, Word::Floats(4), Word::Floats(2)] {
            assert_eq!(paired(spec.clone(), options, size, tile, &simple, word), "");
        }
    }
    let strided = octave1().stride(2).downsample(Downsample::StridedConv);
    assert_eq!(paired(strided, Options::default(), [6, 12], small, &software, Word::U64), "x_l y_h");
}

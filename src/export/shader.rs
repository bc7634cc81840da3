//! Kernels in all languages, through naga's writers.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use naga::back::{glsl, hlsl, msl, spv};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module, ResourceBinding, ShaderStage};

use super::language::ShaderLanguage;
use super::manifest::{Access, Feature};
use crate::error::Error;
use crate::kernels::source::without_aliases;

/// A kernel in a language.
pub(super) struct Shader {
    pub(super) code: Vec<u8>,
    pub(super) entry_point: String,
    pub(super) version: &'static str,
    pub(super) workgroup_size: [u32; 3],
    /// Bytes of each variable in workgroup memory.
    pub(super) workgroup_memory: Vec<u32>,
    pub(super) features: Vec<Feature>,
}

/// What a source needs of a device, as its text says, and what naga calls it.
const MARKS: [(&str, &[Feature], Capabilities); 3] = [
    ("enable f16;", &[Feature::ShaderF16], Capabilities::SHADER_FLOAT16),
    ("u64", &[Feature::ShaderInt64], Capabilities::SHADER_INT64),
    (
        "enable wgpu_cooperative_matrix;",
        &[Feature::Subgroups, Feature::CooperativeMatrix],
        Capabilities::COOPERATIVE_MATRIX.union(Capabilities::SUBGROUP),
    ),
];

/// The number that each binding of a kernel has in a language, in the order of the bindings of WGSL.
pub(super) fn numbers(accesses: &[Access], language: ShaderLanguage) -> Vec<u32> {
    let is_uniform = |access: &&Access| **access == Access::Uniform;
    let uniforms = |list: &[Access]| list.iter().filter(is_uniform).count();
    let number = |(i, access): (usize, &Access)| match language {
        ShaderLanguage::Wgsl | ShaderLanguage::Spirv | ShaderLanguage::Msl => i,
        // Each letter by itself: Direct3D 11.0 has only u0 to u7.
        ShaderLanguage::Hlsl => accesses[..i].iter().filter(|other| *other == access).count(),
        // OpenGL may have only 8 bindings of storage buffers, so these are the first ones. The uniform does not begin at 0
        // too, because Vulkan and Godot number all buffers together.
        ShaderLanguage::Glsl if *access == Access::Uniform => {
            accesses.len() - uniforms(accesses) + uniforms(&accesses[..i])
        }
        ShaderLanguage::Glsl => i - uniforms(&accesses[..i]),
    };
    accesses.iter().enumerate().map(number).map(|number| number as u32).collect()
}

/// Writes the WGSL of a kernel in another language, with these [`numbers`]. Like the library's own, the code checks no
/// bounds.
pub(super) fn write(name: &str, source: &str, numbers: &[u32], language: ShaderLanguage) -> Result<Shader, Error> {
    let source = &*match language {
        ShaderLanguage::Hlsl => Cow::Owned(without_aliases(source)),
        _ => Cow::Borrowed(source),
    };
    let refuse = |problem: String| Error::Shader { kernel: name.to_owned(), language: language.name(), problem };
    let marks = MARKS.iter().filter(|(mark, ..)| source.contains(mark));
    // Halves as bits need no feature.
    let allowed = marks.clone().fold(Capabilities::SHADER_FLOAT16_IN_FLOAT32, |all, (.., more)| all | *more);
    let features: Vec<Feature> = marks.flat_map(|(_, features, _)| features.iter().copied()).collect();
    let module = naga::front::wgsl::parse_str(source).map_err(|error| refuse(error.emit_to_string(source)))?;
    let info = Validator::new(ValidationFlags::all(), allowed).validate(&module);
    let info = info.map_err(|error| refuse(error.emit_to_string(source)))?;
    let entry = module.entry_points.first().ok_or_else(|| refuse("it has no entry point".into()))?;
    let memory = module.global_variables.iter().filter(|(handle, variable)| {
        variable.space == AddressSpace::WorkGroup && !info.get_entry_point(0)[*handle].is_empty()
    });
    let memory = memory.map(|(_, variable)| module.types[variable.ty].inner.size(module.to_ctx()));
    let matrices = features.contains(&Feature::CooperativeMatrix);
    let (code, entry_point, version) = match language {
        ShaderLanguage::Wgsl => (source.as_bytes().to_vec(), entry.name.clone(), ""),
        ShaderLanguage::Spirv => (spirv(&module, &info).map_err(refuse)?, entry.name.clone(), "1.3"),
        ShaderLanguage::Msl => {
            if source.contains("coop_mat16x16") {
                return Err(refuse("Metal multiplies matrices of 8x8 alone".into()));
            }
            // From 2.1 on, kernels say how many threads they need. Without that, Metal may not run them, and says nothing.
            let (version, name) = if matrices { ((2, 3), "2.3") } else { ((2, 1), "2.1") };
            let (text, entry_point) = msl(&module, &info, numbers, version).map_err(refuse)?;
            (text.into_bytes(), entry_point, name)
        }
        ShaderLanguage::Hlsl => {
            // Direct3D's older compiler, which Unity has, ends at 5.1.
            let wide = features.iter().any(|feature| matches!(feature, Feature::ShaderF16 | Feature::ShaderInt64));
            let (model, name) = if wide { (hlsl::ShaderModel::V6_2, "6.2") } else { (hlsl::ShaderModel::V5_1, "5.1") };
            let (text, entry_point) = hlsl(&module, &info, numbers, model).map_err(refuse)?;
            (text.into_bytes(), entry_point, name)
        }
        ShaderLanguage::Glsl => {
            (glsl(&module, &info, numbers, &entry.name).map_err(refuse)?.into_bytes(), "main".into(), "450")
        }
    };
    Ok(Shader {
        code,
        entry_point,
        version,
        workgroup_size: entry.workgroup_size,
        workgroup_memory: memory.collect(),
        features,
    })
}

const UNCHECKED: BoundsCheckPolicies = BoundsCheckPolicies {
    index: BoundsCheckPolicy::Unchecked,
    buffer: BoundsCheckPolicy::Unchecked,
    image_load: BoundsCheckPolicy::Unchecked,
    binding_array: BoundsCheckPolicy::Unchecked,
};

fn spirv(module: &Module, info: &ModuleInfo) -> Result<Vec<u8>, String> {
    let options = spv::Options {
        lang_version: (1, 3),
        flags: spv::WriterFlags::empty(),
        bounds_check_policies: UNCHECKED,
        zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
        force_loop_bounding: false,
        emit_int_div_checks: false,
        // Kernels have no inputs and outputs between stages, and many devices lack the feature.
        use_storage_input_output_16: false,
        ..spv::Options::default()
    };
    let words = spv::write_vec(module, info, &options, None).map_err(|error| error.to_string())?;
    Ok(words.into_iter().flat_map(u32::to_le_bytes).collect())
}

/// The bindings of a kernel, all of them in group 0, with their numbers in the language.
fn bound(module: &Module, numbers: &[u32]) -> impl Iterator<Item = (ResourceBinding, AddressSpace, u32)> {
    module.global_variables.iter().filter_map(|(_, variable)| {
        let binding = variable.binding?;
        Some((binding, variable.space, *numbers.get(binding.binding as usize)?))
    })
}

fn msl(
    module: &Module,
    info: &ModuleInfo,
    numbers: &[u32],
    lang_version: (u8, u8),
) -> Result<(String, String), String> {
    let target = |(binding, space, number): (ResourceBinding, AddressSpace, u32)| {
        let buffer = Some(number as u8);
        (binding, msl::BindTarget { buffer, mutable: writes(space), ..msl::BindTarget::default() })
    };
    let resources: msl::BindingMap = bound(module, numbers).map(target).collect();
    // naga wants it for each array without a length, although nothing reads it.
    let sizes_buffer = Some(resources.len() as u8);
    let resources = msl::EntryPointResources { resources, sizes_buffer, ..Default::default() };
    let options = msl::Options {
        lang_version,
        per_entry_point_map: module.entry_points.iter().map(|entry| (entry.name.clone(), resources.clone())).collect(),
        fake_missing_bindings: false,
        bounds_check_policies: UNCHECKED,
        zero_initialize_workgroup_memory: false,
        force_loop_bounding: false,
        emit_int_div_checks: false,
        ..msl::Options::default()
    };
    let written = msl::write_string(module, info, &options, &msl::PipelineOptions::default());
    let (text, translation) = written.map_err(|error| error.to_string())?;
    Ok((text, entry_point(translation.entry_point_names)?))
}

fn hlsl(
    module: &Module,
    info: &ModuleInfo,
    numbers: &[u32],
    shader_model: hlsl::ShaderModel,
) -> Result<(String, String), String> {
    let target = |(binding, _, register): (ResourceBinding, AddressSpace, u32)| {
        (binding, hlsl::BindTarget { space: 0, register, ..hlsl::BindTarget::default() })
    };
    let options = hlsl::Options {
        shader_model,
        binding_map: bound(module, numbers).map(target).collect(),
        fake_missing_bindings: false,
        zero_initialize_workgroup_memory: false,
        restrict_indexing: false,
        force_loop_bounding: false,
        ..hlsl::Options::default()
    };
    let mut text = String::new();
    let written = hlsl::Writer::new(&mut text, &options, &hlsl::PipelineOptions::default()).write(module, info, None);
    let name = entry_point(written.map_err(|error| error.to_string())?.entry_point_names)?;
    Ok((text, name))
}

/// The name that a writer has given the entry point.
fn entry_point<E: fmt::Display>(names: Vec<Result<String, E>>) -> Result<String, String> {
    names.into_iter().next().ok_or("it has no entry point")?.map_err(|error| error.to_string())
}

fn glsl(module: &Module, info: &ModuleInfo, numbers: &[u32], entry_point: &str) -> Result<String, String> {
    let options = glsl::Options {
        version: glsl::Version::Desktop(450),
        writer_flags: glsl::WriterFlags::empty(),
        binding_map: bound(module, numbers)
            .map(|(binding, _, number)| (binding, number as u8))
            .collect::<BTreeMap<_, _>>(),
        zero_initialize_workgroup_memory: false,
    };
    let (shader_stage, entry_point) = (ShaderStage::Compute, entry_point.to_owned());
    let pipeline = glsl::PipelineOptions { shader_stage, entry_point, multiview: None };
    let mut text = String::new();
    let writer = glsl::Writer::new(&mut text, module, info, &options, &pipeline, BoundsCheckPolicies::default());
    writer.and_then(|mut writer| writer.write()).map_err(|error| error.to_string())?;
    Ok(text)
}

fn writes(space: AddressSpace) -> bool {
    matches!(space, AddressSpace::Storage { access } if access.contains(naga::StorageAccess::STORE))
}

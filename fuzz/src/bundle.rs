//! What `octconv export` reads: the device that a bundle is for, and the manifest of a bundle that is there.

use std::iter;

use octconv::export::{Bundle, BundleOptions, Manifest, ShaderLanguage};
use octconv::{DeviceFacts, Dtype, InputSize, Options, Path, Plan, Precision, Spec, Weights, wgpu};
use octconv_cli::fuzzing;

use crate::check;
use crate::layer_list::printed;

/// The bytes are a device, or a manifest.json. A layer is exported for the device.
pub fn bundle(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    for language in [ShaderLanguage::Wgsl, ShaderLanguage::Spirv, ShaderLanguage::Msl] {
        match fuzzing::device(text, language.matrix_sides()) {
            Ok(facts) => exported(language, &facts),
            Err(error) => printed(&error),
        }
    }
    if let Ok(manifest) = serde_json::from_str::<Manifest>(text)
        && let Ok(text) = serde_json::to_string(&manifest)
    {
        // A tolerance of 1e999 is written as no number at all.
        let is_number = manifest.example.as_ref().is_none_or(|example| example.tolerance.is_finite());
        assert!(!is_number || serde_json::from_str::<Manifest>(&text).is_ok(), "{text}");
    }
    files(text);
}

/// The files of a manifest are those of its bundle, and so are their folders.
fn files(text: &str) {
    if let Err(error) = fuzzing::in_bundle(text, &[]) {
        return printed(&error);
    }
    let manifest: Manifest = serde_json::from_str(text).unwrap();
    let paths: Vec<&str> = manifest.files.iter().map(|file| file.path.as_str()).take(100).collect();
    let folders = paths.iter().filter_map(|path| path.rfind('/').map(|end| &path[..=end]));
    let own: Vec<&str> = paths.iter().copied().chain(folders).chain([Bundle::MANIFEST]).collect();
    assert_eq!(fuzzing::in_bundle(text, &own).unwrap(), vec![true; own.len()], "{own:?}");
    let is_path = |name: &str| manifest.files.iter().any(|file| file.path == name);
    for other in paths.iter().map(|path| format!("{path}x")).filter(|other| !is_path(other)) {
        assert_eq!(fuzzing::in_bundle(text, &[&other]).unwrap(), [false], "{other}");
    }
}

/// Bundles of a small layer keep within the limits of the device.
fn exported(language: ShaderLanguage, facts: &DeviceFacts) {
    let spec = Spec::builder(16, 16).alpha(0.5, 0.5).kernel([3, 3]).same_padding().build().unwrap();
    let zeros = |path| vec![0.0; spec.weight_shape(path).map(|d| d as usize).iter().product()];
    let [w_hh, w_hl, w_lh, w_ll] = Path::ALL.map(zeros);
    let weights =
        Weights { w_hh: Some(&w_hh), w_hl: Some(&w_hl), w_lh: Some(&w_lh), w_ll: Some(&w_ll), ..Weights::default() };
    let half = facts.features.contains(wgpu::Features::SHADER_F16).then_some(Dtype::F16);
    for dtype in iter::once(Dtype::F32).chain(half) {
        let options = Options { precision: Precision::of(dtype), ..Options::default() };
        let plan = match Plan::new(&spec, InputSize::image(1, 12, 10), &options, facts) {
            Ok(plan) => plan,
            Err(error) => {
                check::refused(&error);
                continue;
            }
        };
        let options = BundleOptions { language, ..BundleOptions::default() };
        match Bundle::of_layer(&plan, &weights, facts, options) {
            Ok(bundle) => keeps_within(bundle.manifest(), facts),
            Err(error) => check::refused(&error),
        }
    }
}

fn keeps_within(manifest: &Manifest, facts: &DeviceFacts) {
    let (needed, limits) = (manifest.requires.limits, &facts.limits);
    assert!(needed.max_buffer_size <= limits.max_buffer_size);
    assert!(needed.max_storage_buffer_binding_size <= limits.max_storage_buffer_binding_size);
    assert!(needed.max_storage_buffers_per_shader_stage <= limits.max_storage_buffers_per_shader_stage);
    assert!(needed.max_compute_workgroup_storage_size <= limits.max_compute_workgroup_storage_size);
    assert!(needed.max_compute_invocations_per_workgroup <= limits.max_compute_invocations_per_workgroup);
    assert!(needed.max_compute_workgroup_size_x <= limits.max_compute_workgroup_size_x);
    assert!(needed.max_compute_workgroups_per_dimension <= limits.max_compute_workgroups_per_dimension);
    for buffer in &manifest.buffers {
        assert!(buffer.bytes <= needed.max_buffer_size, "{}", buffer.name);
    }
    for (dispatch, range) in manifest.dispatches.iter().flat_map(|d| d.bindings.iter().map(move |range| (d, range))) {
        assert!(dispatch.kernel < manifest.kernels.len());
        assert!(range.offset % u64::from(needed.offset_alignment) == 0, "{}", range.offset);
        assert!(range.offset + range.bytes <= manifest.buffers[range.buffer].bytes);
    }
}

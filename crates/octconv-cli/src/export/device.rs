//! The device that a bundle is for: WebGPU's defaults, or what a file says.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use octconv::DeviceFacts;
use octconv::wgpu::{Features, Limits as DeviceLimits};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::info::Matrix;
use crate::limits::Limits;
use crate::output::shown_path;

/// The name of a device with WebGPU's default limits, and without features.
pub const DEFAULT: &str = "default";

/// Every WebGPU device can bind at multiples of this.
const ALIGNMENT: u32 = 256;

/// What `octconv info --json` prints, or one adapter of it. What is left out is WebGPU's default.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Described {
    adapters: Option<Vec<Described>>,
    device_type: String,
    limits: Allowed,
    features: Abilities,
    #[serde(rename = "name")]
    _name: IgnoredAny,
    #[serde(rename = "backend")]
    _backend: IgnoredAny,
    #[serde(rename = "driver")]
    _driver: IgnoredAny,
    #[serde(rename = "layers")]
    _layers: IgnoredAny,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Allowed {
    max_storage_buffer_binding_size: Option<u64>,
    max_buffer_size: Option<u64>,
    max_storage_buffers_per_shader_stage: Option<u32>,
    max_compute_workgroup_storage_size: Option<u32>,
    max_compute_invocations_per_workgroup: Option<u32>,
    max_compute_workgroups_per_dimension: Option<u32>,
    min_storage_buffer_offset_alignment: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Abilities {
    shader_f16: bool,
    shader_int64: bool,
    subgroups: bool,
    subgroup_min_size: Option<u32>,
    subgroup_max_size: Option<u32>,
    cooperative_matrices: Vec<Matrix>,
    #[serde(rename = "timestamp_query")]
    _timestamp_query: bool,
}

/// The facts of a device. `sides`: those of matrices that kernels may have.
pub fn facts(device: &str, sides: &[u32], limits: Limits) -> Result<DeviceFacts> {
    if device == DEFAULT {
        return Ok(DeviceFacts::default());
    }
    let path = Path::new(device);
    let text = limits.read_text(path).context("--device takes \"default\" or a file")?;
    parse(&text, sides).with_context(|| format!("reading {}", shown_path(path)))
}

/// The facts in the text of a file.
pub fn parse(text: &str, sides: &[u32]) -> Result<DeviceFacts> {
    let mut described: Described = serde_json::from_str(text)?;
    if let Some(mut adapters) = described.adapters.take() {
        let count = adapters.len();
        ensure!(count == 1, "it lists {count} adapters: must be one");
        described = adapters.pop().unwrap_or_default();
    }
    let Described { device_type, limits, features, .. } = described;

    let alignment = limits.min_storage_buffer_offset_alignment.unwrap_or(ALIGNMENT);
    ensure!(
        alignment.is_power_of_two() && alignment <= ALIGNMENT,
        "min_storage_buffer_offset_alignment is {alignment}: must be a power of two up to {ALIGNMENT}"
    );
    let usual = DeviceLimits::default();
    let invocations =
        limits.max_compute_invocations_per_workgroup.unwrap_or(usual.max_compute_invocations_per_workgroup);
    let limits = DeviceLimits {
        max_storage_buffer_binding_size: limits
            .max_storage_buffer_binding_size
            .unwrap_or(usual.max_storage_buffer_binding_size),
        max_buffer_size: limits.max_buffer_size.unwrap_or(usual.max_buffer_size),
        max_storage_buffers_per_shader_stage: limits
            .max_storage_buffers_per_shader_stage
            .unwrap_or(usual.max_storage_buffers_per_shader_stage),
        max_compute_workgroup_storage_size: limits
            .max_compute_workgroup_storage_size
            .unwrap_or(usual.max_compute_workgroup_storage_size),
        max_compute_invocations_per_workgroup: invocations,
        max_compute_workgroup_size_x: invocations,
        max_compute_workgroups_per_dimension: limits
            .max_compute_workgroups_per_dimension
            .unwrap_or(usual.max_compute_workgroups_per_dimension),
        // Bundles move to devices that want more than this one.
        min_storage_buffer_offset_alignment: ALIGNMENT,
        ..usual
    };
    let matrix =
        features.cooperative_matrices.iter().filter_map(Matrix::side).filter(|side| sides.contains(side)).max();
    let matrix = matrix.filter(|_| features.shader_f16 && features.subgroups);
    let all = [
        (features.shader_f16, Features::SHADER_F16),
        (features.shader_int64, Features::SHADER_INT64),
        (features.subgroups, Features::SUBGROUP),
        (matrix.is_some(), Features::EXPERIMENTAL_COOPERATIVE_MATRIX),
    ];
    let usual = DeviceFacts::default();
    let sizes = [features.subgroup_min_size, features.subgroup_max_size];
    let subgroup_sizes @ [least, most] = [0, 1].map(|i: usize| sizes[i].unwrap_or(usual.subgroup_sizes[i]));
    ensure!(
        least.is_power_of_two() && most.is_power_of_two() && least <= most && most <= 1024,
        "subgroups have {least} to {most} threads: must be powers of two up to 1024, the smaller first"
    );
    Ok(DeviceFacts {
        limits,
        features: all.into_iter().filter(|(has, _)| *has).fold(Features::empty(), |all, (_, feature)| all | feature),
        software: device_type == "Cpu",
        matrix,
        subgroup_sizes,
        ..usual
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_webgpus_default() {
        assert_eq!(parse("{}", &[8]).unwrap(), DeviceFacts::default());
        let facts = parse(r#"{"features": {"shader_f16": true}, "limits": {"max_buffer_size": 1024}}"#, &[8]).unwrap();
        assert_eq!((facts.features, facts.limits.max_buffer_size), (Features::SHADER_F16, 1024));
        assert_eq!(facts.limits, DeviceLimits { max_buffer_size: 1024, ..DeviceLimits::default() });
    }

    #[test]
    fn an_adapter_of_info_is_read_and_its_matrices_where_they_can_be_written() {
        let text = r#"{"adapters": [{"name": "g", "device_type": "DiscreteGpu", "limits":
            {"min_storage_buffer_offset_alignment": 16}, "features": {"shader_f16": true, "subgroups": true, "timestamp_query":
            true, "subgroup_min_size": 32, "subgroup_max_size": 32, "cooperative_matrices":
            [{"m": 16, "n": 16, "k": 16, "ab": "f16", "c": "f32"}, {"m": 16, "n": 8, "k": 16, "ab": "f16", "c": "f32"}]}, "layers": []}]}"#;
        let with = parse(text, &[8, 16]).unwrap();
        assert_eq!((with.matrix, with.subgroup_sizes), (Some(16), [32, 32]));
        assert!(with.features.contains(Features::EXPERIMENTAL_COOPERATIVE_MATRIX));
        // Bundles move to devices that want more.
        assert_eq!(with.limits.min_storage_buffer_offset_alignment, 256);
        for sides in [[].as_slice(), &[8]] {
            let without = parse(text, sides).unwrap();
            assert_eq!((without.matrix, without.features), (None, Features::SHADER_F16 | Features::SUBGROUP));
        }
    }

    #[test]
    fn what_it_does_not_know_is_refused() {
        for (text, wanted) in [
            (r#"{"features": {"f16": true}}"#, "unknown field `f16`"),
            (r#"{"limits": {"max_buffers": 1}}"#, "unknown field `max_buffers`"),
            (r#"{"limits": {"min_storage_buffer_offset_alignment": 48}}"#, "is 48: must be a power of two up to 256"),
            (r#"{"limits": {"min_storage_buffer_offset_alignment": 512}}"#, "is 512: must be a power of two up to 256"),
            (r#"{"feature": {"shader_f16": true}}"#, "unknown field `feature`"),
            (r#"{"features": {"subgroup_min_size": 0}}"#, "subgroups have 0 to 128 threads"),
            (r#"{"adapters": [{}, {}]}"#, "it lists 2 adapters: must be one"),
            (r#"{"adapters": []}"#, "it lists 0 adapters: must be one"),
        ] {
            let refusal = format!("{:#}", parse(text, &[]).unwrap_err());
            assert!(refusal.contains(wanted), "{refusal}");
        }
    }
}

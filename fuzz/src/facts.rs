//! The devices that targets plan for. None of them exists.

use octconv::{DeviceFacts, wgpu};

/// A GPU and a software device, each with wgpu's default limits and no features, and with all that octconv can use. Then
/// one that is too small for much, and one without limits, as `octconv cost` has it.
pub(crate) fn devices() -> [DeviceFacts; 6] {
    let limits = wgpu::Limits { max_storage_buffers_per_shader_stage: 16, ..wgpu::Limits::default() };
    let features = wgpu::Features::SHADER_F16
        | wgpu::Features::SUBGROUP
        | wgpu::Features::SHADER_INT64
        | wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
    let plain = |software| DeviceFacts { software, ..DeviceFacts::default() };
    let full = |software, side, subgroup_sizes| DeviceFacts {
        limits: limits.clone(),
        features,
        software,
        matrix: Some(side),
        subgroup_sizes,
        ..DeviceFacts::default()
    };
    let with = |limits| DeviceFacts { limits, ..DeviceFacts::default() };
    let small = wgpu::Limits {
        max_buffer_size: 1 << 16,
        // Kernels that work element by element have workgroups of 64.
        max_compute_invocations_per_workgroup: 64,
        max_compute_workgroup_storage_size: 512,
        max_compute_workgroups_per_dimension: 3,
        max_storage_buffer_binding_size: 1 << 14,
        max_storage_buffers_per_shader_stage: 4,
        ..wgpu::Limits::default()
    };
    let ample = wgpu::Limits { max_buffer_size: u64::MAX, max_storage_buffer_binding_size: u64::MAX, ..limits.clone() };
    [plain(false), full(false, 16, [32; 2]), plain(true), full(true, 8, [8; 2]), with(small), with(ample)]
}

//! Pipelines, and the only place that makes shader modules.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::scope::Scopes;
use crate::error::Error;
use crate::kernels::source::without_aliases;
use crate::kernels::{Access, Kernel};

/// The pipelines of a device, each made when it is first needed.
#[derive(Debug)]
pub(super) struct Pipelines {
    device: wgpu::Device,
    checked: bool,
    cache: Option<wgpu::PipelineCache>,
    /// Direct3D's compilers refuse what naga makes of aliases.
    without_aliases: bool,
    /// Makes what the device gets out of a kernel's source.
    translate: fn(String) -> String,
    made: Mutex<HashMap<Kernel, Pipeline>>,
}

#[derive(Clone, Debug)]
pub(super) struct Pipeline {
    pub(super) pipeline: wgpu::ComputePipeline,
    pub(super) layout: wgpu::BindGroupLayout,
}

impl Pipelines {
    /// Starts without pipelines. Kernels keep wgpu's bounds checks if `checked`.
    pub(super) fn new(device: &wgpu::Device, checked: bool, cache: Option<wgpu::PipelineCache>) -> Self {
        let without_aliases = device.adapter_info().backend == wgpu::Backend::Dx12;
        let device = device.clone();
        Self { device, checked, cache, without_aliases, translate: |source| source, made: Mutex::default() }
    }

    /// Gives the device what `translate` makes of each source.
    ///
    /// # Safety
    ///
    /// What it makes must keep within its bindings, and end, as the kernel does that it is made of.
    #[cfg(feature = "verify")]
    pub(super) unsafe fn translated(self, translate: fn(String) -> String) -> Self {
        Self { translate, ..self }
    }

    pub(super) fn is_checked(&self) -> bool {
        self.checked
    }

    pub(super) fn count(&self) -> usize {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    pub(super) fn forget(&self) {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The pipeline of a kernel, which is made if it does not exist yet.
    pub(super) fn pipeline(&self, kernel: &Kernel, scopes: &Scopes) -> Result<Pipeline, Error> {
        let lock = || self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pipeline) = lock().get(kernel) {
            return Ok(pipeline.clone());
        }
        // Compiled outside of the lock, so that threads can compile at the same time. If two make the same pipeline,
        // both use the first one.
        let pipeline = self.create_pipeline(kernel, scopes)?;
        Ok(lock().entry(kernel.clone()).or_insert(pipeline).clone())
    }

    fn create_pipeline(&self, kernel: &Kernel, scopes: &Scopes) -> Result<Pipeline, Error> {
        let device = &self.device;
        let name = kernel.name();
        let label = format!("octconv {name}");
        let label = Some(label.as_str());
        let entry = |(binding, ty)| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty,
            count: None,
        };
        let uniform = buffer(wgpu::BufferBindingType::Uniform);
        let bound = std::iter::once(uniform).chain(kernel.accesses().into_iter().map(binding_type));
        let entries: Vec<_> = (0..).zip(bound).map(entry).collect();
        scopes.scoped_with_shader(&format!("compiling {name}"), || {
            let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label, entries: &entries });
            let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label,
                bind_group_layouts: &[Some(&layout)],
                ..Default::default()
            });
            let source = if self.without_aliases { without_aliases(&kernel.source()) } else { kernel.source() };
            let module = self.create_module(label, (self.translate)(source));
            let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label,
                layout: Some(&pipeline_layout),
                module: &module,
                entry_point: Some("main"),
                compilation_options: wgpu::PipelineCompilationOptions {
                    zero_initialize_workgroup_memory: false,
                    ..Default::default()
                },
                cache: self.cache.as_ref(),
            });
            (Pipeline { pipeline, layout }, Some(module))
        })
    }

    /// Makes a shader module. This is the only place that does so, and all sources are this crate's own shaders, or what
    /// tests make of them.
    ///
    /// Unless the engine is checked, kernels run without bounds checks. Their loops are bounded by sizes in their
    /// uniform, and their indices stay inside their tensors for every uniform that a plan holds:
    /// - Of a layer, `Spec::shapes` and the plan's `check_limits` bound all sizes, `Packing::offsets` places the
    ///   weights, and `validate_tensors` checks that each binding is as large as its tensor.
    /// - Of a network, `NetworkPlan::new` checks every map, vector and matrix in the same way. `Model::compile` accepts
    ///   only plans of its own network and device, and binds as many bytes as were checked.
    /// - Of a texture, `Engine::texture_input` and `texture_output` check that the region is in it, and bind as many bytes of
    ///   the tensor as they have checked.
    ///
    /// The test suite also runs with checks on (`OCTCONV_CHECKED=1`), and guards every output with sentinels.
    fn create_module(&self, label: Option<&str>, source: String) -> wgpu::ShaderModule {
        let descriptor = wgpu::ShaderModuleDescriptor { label, source: wgpu::ShaderSource::Wgsl(source.into()) };
        if self.checked {
            return self.device.create_shader_module(descriptor);
        }
        // SAFETY: all sources are this crate's, or keep within the same bounds (`translated`). `Spec::shapes`, the plan's
        // `check_limits` and `NetworkPlan::new` bound their loops and indices. `validate_tensors` and `Model::compile`
        // bind as many bytes. `Engine::texture_input` and `texture_output` check regions and tensors. `roofline.rs` makes its buffers as large as its probes need.
        unsafe { self.device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) }
    }
}

fn buffer(ty: wgpu::BufferBindingType) -> wgpu::BindingType {
    wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None }
}

fn binding_type(access: Access) -> wgpu::BindingType {
    let view_dimension = wgpu::TextureViewDimension::D2;
    match access {
        Access::Read => buffer(wgpu::BufferBindingType::Storage { read_only: true }),
        Access::Write | Access::Shared => buffer(wgpu::BufferBindingType::Storage { read_only: false }),
        Access::Texture => {
            // Kernels load texels without a sampler, so formats that cannot be filtered will do.
            let sample_type = wgpu::TextureSampleType::Float { filterable: false };
            wgpu::BindingType::Texture { sample_type, view_dimension, multisampled: false }
        }
        Access::StorageTexture(format) => {
            let access = wgpu::StorageTextureAccess::WriteOnly;
            wgpu::BindingType::StorageTexture { access, format: format.wgpu(), view_dimension }
        }
    }
}

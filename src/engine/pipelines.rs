//! Pipelines, and the only place that makes shader modules.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

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
    slots: Mutex<HashMap<Kernel, Arc<Slot>>>,
}

/// A pipeline that is there, or that one thread makes while others wait for it.
#[derive(Debug, Default)]
struct Slot {
    made: OnceLock<Pipeline>,
    making: Mutex<()>,
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
        Self { device, checked, cache, without_aliases, translate: |source| source, slots: Mutex::default() }
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
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.values().filter(|slot| slot.made.get().is_some()).count()
    }

    pub(super) fn forget(&self) {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The pipeline of a kernel, which is made if it does not exist yet.
    pub(super) fn pipeline(&self, kernel: &Kernel, scopes: &Scopes) -> Result<Pipeline, Error> {
        let slot = self.slot(kernel);
        if let Some(pipeline) = slot.made.get() {
            return Ok(pipeline.clone());
        }
        // Threads make different pipelines at the same time, and wait for one that another thread makes. If that fails, the
        // next one tries. In browsers an engine has one thread, which finds nobody to wait for.
        let _making = slot.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pipeline) = slot.made.get() {
            return Ok(pipeline.clone());
        }
        let pipeline = self.create_pipeline(kernel, scopes)?;
        Ok(slot.made.get_or_init(|| pipeline).clone())
    }

    fn slot(&self, kernel: &Kernel) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        match slots.get(kernel) {
            Some(slot) => slot.clone(),
            None => slots.entry(kernel.clone()).or_default().clone(),
        }
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

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::{DeviceFacts, InputSize, Options, Plan, Spec};

    /// How many sources went to the device.
    static TRANSLATED: AtomicUsize = AtomicUsize::new(0);

    /// Is slow, so that others ask meanwhile. The first of all sources becomes a wrong one.
    fn translate(source: String) -> String {
        let first = TRANSLATED.fetch_add(1, Ordering::SeqCst) == 0;
        std::thread::sleep(Duration::from_millis(100));
        if first { "no shader".into() } else { source }
    }

    #[test]
    fn threads_make_a_pipeline_once_and_again_if_it_fails() {
        const THREADS: usize = 4;
        let spec = Spec::builder(4, 4).build().unwrap();
        let facts = DeviceFacts::default();
        let plan = Plan::new(&spec, InputSize::image(1, 8, 8), &Options::default(), &facts).unwrap();
        let kernel = &plan.steps[0].kernel;
        let (device, _queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
        let pipelines = Pipelines { translate, ..Pipelines::new(&device, true, None) };
        let (scopes, barrier) = (Scopes::new(&device), Barrier::new(THREADS));
        let ask = || {
            barrier.wait();
            pipelines.pipeline(kernel, &scopes).map(drop)
        };
        let answers: Vec<_> = std::thread::scope(|scope| {
            let threads = [(); THREADS].map(|()| scope.spawn(ask));
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let failed = answers.iter().filter(|answer| matches!(answer, Err(Error::Gpu { .. }))).count();
        assert_eq!((failed, answers.iter().filter(|answer| answer.is_ok()).count()), (1, THREADS - 1));
        assert_eq!((TRANSLATED.load(Ordering::SeqCst), pipelines.count()), (2, 1));
        pipelines.forget();
        assert_eq!(pipelines.count(), 0);
    }
}

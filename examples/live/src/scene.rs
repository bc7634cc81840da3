//! The application's own picture.

use eframe::wgpu;

use crate::filter::SIZE;

/// Draws the picture of a moment into a texture.
pub struct Scene {
    pipeline: wgpu::ComputePipeline,
    group: wgpu::BindGroup,
    seconds: wgpu::Buffer,
}

impl Scene {
    /// `picture`: rgba8unorm, with usage `STORAGE_BINDING`.
    pub fn new(device: &wgpu::Device, picture: &wgpu::Texture) -> Self {
        let module = device.create_shader_module(wgpu::include_wgsl!("scene.wgsl"));
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some("scene"),
            layout: None,
            module: &module,
            entry_point: None,
            compilation_options: Default::default(),
            cache: None,
        });
        let seconds = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("seconds"),
            size: 16,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let view = picture.create_view(&Default::default());
        let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("scene"),
            layout: &pipeline.get_bind_group_layout(0),
            entries: &[
                wgpu::BindGroupEntry { binding: 0, resource: wgpu::BindingResource::TextureView(&view) },
                wgpu::BindGroupEntry { binding: 1, resource: seconds.as_entire_binding() },
            ],
        });
        Self { pipeline, group, seconds }
    }

    /// Call before the frame is submitted.
    pub fn set_time(&self, queue: &wgpu::Queue, seconds: f32) {
        let bytes: Vec<u8> = [seconds, 0.0, 0.0, 0.0].iter().flat_map(|value: &f32| value.to_le_bytes()).collect();
        queue.write_buffer(&self.seconds, 0, &bytes);
    }

    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.group, &[]);
        pass.dispatch_workgroups(SIZE.w.div_ceil(8), SIZE.h.div_ceil(8), 1);
    }
}

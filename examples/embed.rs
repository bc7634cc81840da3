//! An octave layer in an engine that has its own device, buffers, encoder and submission.
//!
//!     cargo run --release --example embed --features context
//!
//! With the kernels that were measured to be the fastest here:
//!
//!     cargo run --release -- tune --layers examples/embed.json --out target/tuned.bin
//!     cargo run --release --example embed --features context -- target/tuned.bin

use std::sync::Arc;

use octconv::wgpu::{self, util::DeviceExt};
use octconv::{
    Activation, AdapterFacts, DeviceFacts, Engine, EngineOptions, InputSize, Options, Spec, Tensors, Tuned, Weights,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // What every engine has.
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let adapter = pollster::block_on(instance.request_adapter(&Default::default()))?;
    // octconv needs no features, but is faster with these. Matrix units would be one more. wgpu calls that feature
    // experimental, and enables it only in unsafe code.
    let useful = DeviceFacts::of_adapter(&adapter).features;
    let required_features = useful - wgpu::Features::all_experimental_mask();
    // Nor does it need more than wgpu's default limits. An adapter may have less of what no kernel uses, such as textures.
    let required_limits = wgpu::Limits::default().or_worse_values_from(&adapter.limits());
    let descriptor = wgpu::DeviceDescriptor { required_features, required_limits, ..Default::default() };
    let (device, queue) = pollster::block_on(adapter.request_device(&descriptor))?;
    let x = vec![0.5f32; 64 * 56 * 56];
    let (contents, usage) = (bytemuck::cast_slice(&x), wgpu::BufferUsages::STORAGE);
    let x_h = device.create_buffer_init(&wgpu::util::BufferInitDescriptor { label: Some("x_h"), contents, usage });
    let output = |label, size| {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
        device.create_buffer(&wgpu::BufferDescriptor { label: Some(label), size, usage, mapped_at_creation: false })
    };
    let (y_h, y_l) = (output("y_h", 4 * 32 * 56 * 56), output("y_l", 4 * 32 * 28 * 28));

    // The first layer of an octave network: 64 high channels in, 32 high and 32 low channels out.
    // A program that is shipped has the file inside (`include_bytes!`). One of another version, or of other devices, is as
    // if it were not there.
    let file = std::env::args_os().nth(1).map(std::fs::read).transpose()?;
    let tuned = file.as_deref().and_then(Tuned::from_bytes).map(Arc::new);
    let options = EngineOptions { adapter: AdapterFacts::of(&adapter), tuned, ..Default::default() };
    let engine = Engine::new(&device, options);
    let same = Spec::builder(64, 64).alpha(0.0, 0.5).kernel([3, 3]).same_padding();
    let spec = same.activation(Activation::Relu).build()?;
    let plan = engine.plan(&spec, InputSize::image(1, 56, 56), &Options::default())?;
    let w = vec![0.01f32; 32 * 64 * 9];
    let weights = engine.pack(&plan, &Weights { w_hh: Some(&w), w_hl: Some(&w), ..Default::default() })?;
    let x_h = Some((&x_h).into());
    let tensors = Tensors { x_h, y_h: Some((&y_h).into()), y_l: Some((&y_l).into()), ..Default::default() };
    let layer = engine.bind(&plan, &weights, &tensors)?;

    // The engine records a frame and submits it.
    let mut encoder = device.create_command_encoder(&Default::default());
    let mut pass = encoder.begin_compute_pass(&Default::default());
    layer.record(&mut pass);
    drop(pass);
    queue.submit([encoder.finish()]);
    device.poll(wgpu::PollType::wait_indefinitely())?;
    println!("{}: {} in {} dispatches", plan.variant(), plan.kernels().join(", "), layer.dispatches());
    println!("tuning: {}", plan.tuning());
    Ok(())
}

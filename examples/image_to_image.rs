//! A network from image to image in an engine that has its images in textures: every frame goes from a texture to a texture, and
//! nothing of it through the host. `image_to_image.json` describes the network, a small octave network of your own. Its weights
//! are random. It runs at two sizes, which share weights and pipelines, and the last frame is compared with the CPU
//! reference.
//!
//!     cargo run --release --example image_to_image --all-features

use octconv::network::{Checkpoint, Graph, Inference, Model, Network, NetworkOptions, ValueView};
use octconv::reference::{network as reference, texture_input, texture_output};
use octconv::wgpu::{self, TextureFormat, TextureUsages};
use octconv::{
    Context, ContextOptions, Dtype, Engine, Extent, InputSize, TextureDispatch, TextureInput, TextureOutput,
    TexturePlace,
};

/// The textures of the engine, and how many frames it has.
const SIZE: Extent = Extent { h: 96, w: 64 };
const FRAMES: u32 = 6;

/// Texels from 0 to 255 become numbers from -1 to 1, and back.
const INPUT: TextureInput = TextureInput {
    filter: wgpu::FilterMode::Linear,
    encode_srgb: false,
    mean: [0.5; 4],
    std: [0.5; 4],
    sample: 0,
    frame: 0,
};
const OUTPUT: TextureOutput =
    TextureOutput { filter: wgpu::FilterMode::Linear, scale: [0.5; 4], offset: [0.5; 4], sample: 0, frame: 0 };

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let network: Network = serde_json::from_str(include_str!("image_to_image.json"))?;
    let graph = Graph::new(&network)?;
    let context = Context::new(&ContextOptions::default())?;
    let engine = context.engine();
    let model = Model::new(engine, graph.clone(), Checkpoint::random(&graph, 1))?;

    // What the engine has: frames that are in memory of the GPU already, and a texture that it shows.
    let usage = TextureUsages::TEXTURE_BINDING | TextureUsages::COPY_DST;
    let frames = texture(context.device(), TextureFormat::Rgba8Unorm, FRAMES, usage);
    let usage = TextureUsages::STORAGE_BINDING | TextureUsages::COPY_SRC;
    let shown = texture(context.device(), TextureFormat::Rgba8Unorm, 1, usage);
    let pictures: Vec<Vec<u8>> = (0..FRAMES).map(picture).collect();
    pictures.iter().zip(0..).for_each(|(picture, layer)| upload(context.queue(), &frames, layer, picture));

    for (h, w) in [(96, 64), (51, 37)] {
        // Once: all that is compiled and bound.
        let inference = model.compile(model.plan(InputSize::image(1, h, w), &NetworkOptions::default())?, |_| {})?;
        let inputs = (0..FRAMES).map(|layer| read_frame(engine, &frames, layer, &inference));
        let inputs: Vec<TextureDispatch> = inputs.collect::<Result<_, _>>()?;
        let Some(ValueView::Map { high: Some(answer), .. }) = inference.output() else {
            return Err("the network gives no image".into());
        };
        let output = engine.texture_output(answer, &OUTPUT, &shown)?;

        // Every frame: recorded into the engine's own encoder, and submitted with the rest of it.
        for input in &inputs {
            let mut encoder = context.device().create_command_encoder(&Default::default());
            let mut pass = encoder.begin_compute_pass(&Default::default());
            input.record(&mut pass);
            inference.record(&mut pass);
            output.record(&mut pass);
            drop(pass);
            context.queue().submit([encoder.finish()]);
        }

        // For this example alone: what is in the texture after the last frame.
        let found = download(&context, &shown)?;
        let checksum = found.iter().fold(0u32, |sum, &byte| sum.rotate_left(5) ^ u32::from(byte));
        let dispatches = inference.plan().dispatches() + 2;
        println!("{h}x{w}: {FRAMES} frames of {dispatches} dispatches; the checksum of the last is {checksum:08x}");
        let wanted = expected(&model, (h, w), &pictures[FRAMES as usize - 1])?;
        let apart = |(&found, wanted): (&u8, f64)| (f64::from(found) - 255.0 * wanted).abs();
        let apart = found.iter().zip(wanted.into_iter().flatten()).map(apart);
        // A NaN is the largest.
        let apart = apart.max_by(f64::total_cmp).ok_or("there is no frame")?;
        println!("  at most {apart:.2} of 255 steps from the reference, which is not rounded");
        if apart.is_nan() || apart > 0.6 {
            return Err("the frame is not the reference's".into());
        }
    }
    println!("{} pipelines and {} bytes of weights for both sizes", engine.pipelines(), model.weight_bytes());
    Ok(())
}

/// A frame, as the input of the network, in its size.
fn read_frame(
    engine: &Engine,
    frames: &wgpu::Texture,
    layer: u32,
    inference: &Inference,
) -> Result<TextureDispatch, Box<dyn std::error::Error>> {
    let input = inference.input().ok_or("the network has no input")?;
    Ok(engine.texture_input(TexturePlace { layer, ..TexturePlace::from(frames) }, &INPUT, input)?)
}

fn texture(device: &wgpu::Device, format: TextureFormat, layers: u32, usage: TextureUsages) -> wgpu::Texture {
    device.create_texture(&wgpu::TextureDescriptor {
        label: None,
        size: wgpu::Extent3d { width: SIZE.w, height: SIZE.h, depth_or_array_layers: layers },
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format,
        usage,
        view_formats: &[],
    })
}

/// Rings that move from frame to frame.
fn picture(frame: u32) -> Vec<u8> {
    let texel = |i: u32| {
        let (row, col) = (f64::from(i / SIZE.w) - 48.0, f64::from(i % SIZE.w) - 32.0);
        let wave = |speed: f64| (0.4 * row.hypot(col) - speed * f64::from(frame)).sin();
        [wave(0.5), wave(1.0), wave(2.0), 1.0].map(|value| (127.5 + 127.5 * value) as u8)
    };
    (0..SIZE.h * SIZE.w).flat_map(texel).collect()
}

fn upload(queue: &wgpu::Queue, texture: &wgpu::Texture, layer: u32, bytes: &[u8]) {
    let origin = wgpu::Origin3d { z: layer, ..wgpu::Origin3d::ZERO };
    let place = wgpu::TexelCopyTextureInfo { origin, ..texture.as_image_copy() };
    let layout = wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(4 * SIZE.w), rows_per_image: None };
    let size = wgpu::Extent3d { depth_or_array_layers: 1, ..texture.size() };
    queue.write_texture(place, bytes, layout, size);
}

/// The bytes of a texture, whose rows are as long as copies want: 256 bytes.
fn download(context: &Context, texture: &wgpu::Texture) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let buffer = context.tensor(u64::from(SIZE.h * SIZE.w), Dtype::F32)?;
    let layout = wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(4 * SIZE.w), rows_per_image: None };
    let mut encoder = context.device().create_command_encoder(&Default::default());
    let copy = wgpu::TexelCopyBufferInfo { buffer: &buffer, layout };
    encoder.copy_texture_to_buffer(texture.as_image_copy(), copy, texture.size());
    context.queue().submit([encoder.finish()]);
    Ok(context.read_bytes(&buffer, 0, buffer.size())?)
}

/// The texels that the reference makes of a picture.
fn expected(model: &Model, (h, w): (u32, u32), bytes: &[u8]) -> Result<Vec<[f64; 4]>, Box<dyn std::error::Error>> {
    let texels: Vec<[f32; 4]> =
        bytes.chunks(4).map(|t| [t[0], t[1], t[2], t[3]].map(|v| f32::from(v) / 255.0)).collect();
    let x = texture_input(&texels, SIZE, &INPUT, 3, Extent { h, w })?;
    let size = InputSize::image(1, h, w);
    let y = reference::run(model.graph(), model.checkpoint(), size, &x.to_f32(), &mut |_, _| {})?;
    Ok(texture_output(&y.to_f32(), x.dims, &OUTPUT, TextureFormat::Rgba8Unorm, SIZE)?)
}

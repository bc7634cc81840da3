//! The application without a window, on this machine's device: its own renderer draws it, and what the filter writes is
//! compared with octconv's reference.

use eframe::egui::accesskit::Role;
use eframe::egui_wgpu::{RenderState, RendererOptions, ScreenDescriptor, WgpuSetup};
use eframe::wgpu;
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable as _;
use egui_kittest::wgpu::{WgpuTestRenderer, create_render_state, default_wgpu_setup};
use image::RgbaImage;
use octconv::reference::{network, texture_input, texture_output};
use octconv::{InputSize, Marks, TextureInput, TextureOutput};
use octconv_live::{App, SIZE, with_timestamps};

fn device() -> RenderState {
    let mut setup = default_wgpu_setup();
    if let WgpuSetup::CreateNew(new) = &mut setup {
        with_timestamps(new);
    }
    create_render_state(setup, RendererOptions::PREDICTABLE)
}

fn harness(device: &RenderState) -> Harness<'static, App> {
    Harness::builder()
        .with_size([1000.0, 560.0])
        .renderer(WgpuTestRenderer::from_render_state(device.clone()))
        .build_eframe(|cc| App::new(cc).expect("the application does not start"))
}

/// The window after some frames, each of which runs the filter.
fn frames(device: &RenderState, harness: &mut Harness<'_, App>, count: usize) -> RgbaImage {
    // A software device compiles when something runs for the first time. The renderer does not wait for as long as that
    // may take.
    harness.step();
    harness.state().with_filter(|filter| {
        let mut encoder = device.device.create_command_encoder(&Default::default());
        filter.record(&mut encoder.begin_compute_pass(&Default::default()), Marks::default()).expect("it has no marks");
        device.queue.submit([encoder.finish()]);
    });
    device.device.poll(wgpu::PollType::wait_indefinitely()).expect("the device is lost");
    let mut window = RgbaImage::new(1, 1);
    for _ in 0..count {
        harness.step();
        window = harness.render().expect("the window cannot be drawn");
    }
    window
}

/// Records a frame that is never submitted, as egui does if the window has nothing to draw it to.
fn drop_frame(device: &RenderState, harness: &mut Harness<'_, App>) {
    harness.step();
    let shapes = harness.ctx.tessellate(harness.output().shapes.clone(), 1.0);
    let screen = ScreenDescriptor { size_in_pixels: [1000, 560], pixels_per_point: 1.0 };
    let mut encoder = device.device.create_command_encoder(&Default::default());
    device.renderer.write().update_buffers(&device.device, &device.queue, &mut encoder, &shapes, &screen);
    device.queue.submit([]);
}

/// The texels of a texture, row by row.
fn texels(device: &RenderState, texture: &wgpu::Texture) -> Vec<u8> {
    let buffer = device.device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: u64::from(4 * SIZE.h * SIZE.w),
        usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
        mapped_at_creation: false,
    });
    let layout = wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(4 * SIZE.w), rows_per_image: None };
    let mut encoder = device.device.create_command_encoder(&Default::default());
    let to = wgpu::TexelCopyBufferInfo { buffer: &buffer, layout };
    encoder.copy_texture_to_buffer(texture.as_image_copy(), to, texture.size());
    encoder.map_buffer_on_submit(&buffer, wgpu::MapMode::Read, .., |result| result.expect("it cannot be read"));
    device.queue.submit([encoder.finish()]);
    device.device.poll(wgpu::PollType::wait_indefinitely()).expect("the device is lost");
    buffer.get_mapped_range(..).expect("it is not mapped").to_vec()
}

/// The texels that the reference makes of a picture.
fn expected(app: &App, picture: &[u8]) -> Vec<f64> {
    let values: Vec<[f32; 4]> =
        picture.chunks_exact(4).map(|t| [t[0], t[1], t[2], t[3]].map(|v| f32::from(v) / 255.0)).collect();
    let x = texture_input(&values, SIZE, &TextureInput::default(), 3, SIZE).unwrap();
    let size = InputSize::image(1, SIZE.h, SIZE.w);
    let y = app.with_filter(|filter| {
        let model = filter.model();
        network::run(model.graph(), model.checkpoint(), size, &x.to_f32(), &mut |_, _| {}).unwrap()
    });
    let format = wgpu::TextureFormat::Rgba8Unorm;
    texture_output(&y.to_f32(), x.dims, &TextureOutput::default(), format, SIZE)
        .unwrap()
        .into_iter()
        .flatten()
        .collect()
}

/// How much neighbours in a row differ: grain.
fn roughness(picture: &[u8]) -> f64 {
    let rows = picture.chunks_exact(4 * SIZE.w as usize);
    let row = |row: &[u8]| row.iter().zip(&row[4..]).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>();
    rows.map(row).sum::<f64>() / picture.len() as f64
}

#[test]
fn every_frame_runs_the_filter_on_the_applications_device() {
    let device = device();
    let mut harness = harness(&device);
    let mut smoothness = Vec::new();
    for low in [12.0, 21.0, 0.0] {
        harness.get_by_role(Role::Slider).set_value_accesskit(low);
        let window = frames(&device, &mut harness, 3);
        let app = harness.state();
        let [before, after] = app.textures().each_ref().map(|texture| texels(&device, texture));
        let wanted = expected(app, &before);
        let apart = after.iter().zip(&wanted).map(|(&found, wanted)| (f64::from(found) - 255.0 * wanted).abs());
        // Half a step is rounding.
        let apart = apart.max_by(f64::total_cmp).unwrap();
        assert!(apart <= 0.51, "{apart} steps from the reference at {low} channels");
        smoothness.push(roughness(&after) / roughness(&before));

        if device.device.features().contains(wgpu::Features::TIMESTAMP_QUERY_INSIDE_PASSES) {
            let times = app.times();
            let names: Vec<_> = times.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, ["copy", "blur.1", "blur.2", "add"]);
            assert!(times.iter().all(|(_, ms)| *ms > 0.0), "{times:?}");
        } else {
            assert_eq!(app.times(), []);
        }
        if let (12.0, Some(path)) = (low, std::env::var_os("OCTCONV_SCREENSHOT")) {
            window.save(path).unwrap();
        }
        // The window shows more than one colour on both sides.
        let colours = |from: u32, to: u32| {
            (from..to).map(|x| window.get_pixel(x, 250).0).collect::<std::collections::HashSet<_>>().len()
        };
        assert!(colours(100, 400) > 20 && colours(600, 900) > 20);
    }
    let [half, most, none] = smoothness[..] else { unreachable!() };
    assert!(most < half && half < none && none < 0.5, "{smoothness:?}");
}

#[test]
fn the_picture_moves_only_if_it_shall() {
    let device = device();
    let mut harness = harness(&device);
    let first = |harness: &mut Harness<'_, App>| {
        frames(&device, harness, 2);
        texels(&device, &harness.state().textures()[0])
    };
    let (a, b) = (first(&mut harness), first(&mut harness));
    assert!(a != b);
    harness.get_by_label("move").click();
    let (a, b) = (first(&mut harness), first(&mut harness));
    assert!(a == b);
}

#[test]
fn a_frame_that_is_dropped_does_not_stop_the_times() {
    let device = device();
    let mut harness = harness(&device);
    drop_frame(&device, &mut harness);
    assert_eq!(harness.state().times(), []);
    frames(&device, &mut harness, 2);
    let timestamps = device.device.features().contains(wgpu::Features::TIMESTAMP_QUERY_INSIDE_PASSES);
    assert_eq!(harness.state().times().is_empty(), !timestamps);
}

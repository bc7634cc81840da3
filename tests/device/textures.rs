//! From textures to tensors and back: every format, size, channel and type against the reference, and what is refused.

use crate::common::{context, open, runs_f16, values};
use octconv::reference::{texture_input, texture_output};
use octconv::wgpu::{self, FilterMode, TextureFormat, TextureUsages};
use octconv::{
    Context, ContextOptions, Dims, Dtype, Engine, EngineOptions, Error, Extent, Region, TensorBinding, TensorView,
    TextureInput, TextureOutput, TexturePlace,
};

/// NaN as f32 and as f16; and texels that nobody has written.
const POISON: u8 = 0xff;
/// Bytes before and behind a tensor, which nothing may write.
const GUARD: u64 = 256;

const FILTERS: [FilterMode; 2] = [FilterMode::Nearest, FilterMode::Linear];

/// A texture of one mip level, for whatever kernels do with textures of this format.
fn texture(context: &Context, format: TextureFormat, size: Extent, bytes: &[u8]) -> wgpu::Texture {
    let written = matches!(
        format,
        TextureFormat::Rgba8Unorm | TextureFormat::Rgba16Float | TextureFormat::R32Float | TextureFormat::Rgba32Float
    );
    let usage = TextureUsages::TEXTURE_BINDING | TextureUsages::COPY_SRC | TextureUsages::COPY_DST;
    let usage = if written { usage | TextureUsages::STORAGE_BINDING } else { usage };
    let texture = context.device().create_texture(&descriptor(format, size, usage));
    write(context, &texture, 0, size, bytes);
    texture
}

fn descriptor(format: TextureFormat, size: Extent, usage: TextureUsages) -> wgpu::TextureDescriptor<'static> {
    wgpu::TextureDescriptor {
        label: None,
        size: wgpu::Extent3d { width: size.w, height: size.h, depth_or_array_layers: 1 },
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format,
        usage,
        view_formats: &[],
    }
}

fn write(context: &Context, texture: &wgpu::Texture, mip_level: u32, size: Extent, bytes: &[u8]) {
    let extent = wgpu::Extent3d { width: size.w, height: size.h, depth_or_array_layers: 1 };
    let layout = wgpu::TexelCopyBufferLayout {
        offset: 0,
        bytes_per_row: Some(bytes.len() as u32 / size.h),
        rows_per_image: None,
    };
    let place = wgpu::TexelCopyTextureInfo { mip_level, ..texture.as_image_copy() };
    context.queue().write_texture(place, bytes, layout, extent);
}

/// The bytes of a texture, row by row.
fn read(context: &Context, texture: &wgpu::Texture) -> Vec<u8> {
    let row = texture.width() * texture.format().block_copy_size(None).unwrap();
    let (padded, rows) = (row.next_multiple_of(256), texture.height());
    let buffer = context.tensor(u64::from(padded / 4 * rows), Dtype::F32).unwrap();
    let mut encoder = context.device().create_command_encoder(&Default::default());
    let layout = wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(padded), rows_per_image: None };
    let copy = wgpu::TexelCopyBufferInfo { buffer: &buffer, layout };
    encoder.copy_texture_to_buffer(texture.as_image_copy(), copy, texture.size());
    context.queue().submit([encoder.finish()]);
    let bytes = context.read_bytes(&buffer, 0, u64::from(padded) * u64::from(rows)).unwrap();
    bytes.chunks_exact(padded as usize).flat_map(|padded| padded[..row as usize].to_vec()).collect()
}

fn halves(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

/// The texels of these bytes, as shaders load them.
fn texels(format: TextureFormat, bytes: &[u8]) -> Vec<[f32; 4]> {
    let linear = |v: f32| if v <= 0.04045 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) };
    let fours = |values: Vec<f32>| values.chunks_exact(4).map(|v| [v[0], v[1], v[2], v[3]]).collect::<Vec<_>>();
    let unorm = || fours(bytes.iter().map(|&byte| f32::from(byte) / 255.0).collect());
    match format {
        TextureFormat::Rgba8Unorm => unorm(),
        TextureFormat::Bgra8Unorm => unorm().into_iter().map(|[b, g, r, a]| [r, g, b, a]).collect(),
        TextureFormat::Rgba8UnormSrgb => {
            unorm().into_iter().map(|[r, g, b, a]| [linear(r), linear(g), linear(b), a]).collect()
        }
        TextureFormat::Rgba16Float => fours(halves(bytes)),
        TextureFormat::Rgba32Float => fours(floats(bytes)),
        TextureFormat::R32Float => floats(bytes).into_iter().map(|r| [r, 0.0, 0.0, 1.0]).collect(),
        TextureFormat::R8Unorm => bytes.iter().map(|&r| [f32::from(r) / 255.0, 0.0, 0.0, 1.0]).collect(),
        _ => panic!("{format:?}"),
    }
}

/// Bytes of numbers from -1 to 1, or of any texels of a normalised format.
fn random_bytes(format: TextureFormat, size: Extent, seed: u64) -> Vec<u8> {
    let count = u64::from(size.h * size.w) * u64::from(format.components());
    let values = values(seed, count);
    match format {
        TextureFormat::Rgba16Float => values.iter().flat_map(|&v| half::f16::from_f32(v).to_le_bytes()).collect(),
        TextureFormat::Rgba32Float | TextureFormat::R32Float => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        _ => values.iter().map(|v| ((v + 1.0) * 128.0) as u8).collect(),
    }
}

/// A tensor of these values between two guard bands, or of poison.
fn tensor(context: &Context, dims: Dims, dtype: Dtype, values: Option<&[f32]>) -> wgpu::Buffer {
    let bytes = (dims.elements() * dtype.bytes()).next_multiple_of(4) + 2 * GUARD;
    let buffer = context.tensor(bytes / 4, Dtype::F32).unwrap();
    let mut contents = vec![POISON; bytes as usize];
    for (i, &value) in values.unwrap_or_default().iter().enumerate() {
        let at = GUARD as usize + i * dtype.bytes() as usize;
        match dtype {
            Dtype::F32 => contents[at..at + 4].copy_from_slice(&value.to_le_bytes()),
            Dtype::F16 => contents[at..at + 2].copy_from_slice(&half::f16::from_f32(value).to_le_bytes()),
        }
    }
    context.queue().write_buffer(&buffer, 0, &contents);
    buffer
}

fn view(buffer: &wgpu::Buffer, dims: Dims, dtype: Dtype) -> TensorView<'_> {
    TensorView::new(TensorBinding { buffer, offset: GUARD }, dims, dtype)
}

/// The texels of a region.
fn part(all: &[[f32; 4]], size: Extent, Region { x, y, h, w }: Region) -> Vec<[f32; 4]> {
    (y..y + h).flat_map(|row| (x..x + w).map(move |col| all[(row * size.w + col) as usize])).collect()
}

/// Whether a value is right within an absolute error, or within the steps of f16.
fn is_near(found: f64, wanted: f64, error: f64, f16: bool) -> bool {
    let storing = if f16 { wanted.abs() / 1024.0 + 1.0 / 16384.0 } else { wanted.abs() * 4e-6 };
    // An infinity is near to nothing: its bound would be infinite.
    let near = wanted.is_finite() && (found - wanted).abs() <= error + storing;
    found == wanted || found.is_nan() && wanted.is_nan() || near
}

/// A texture that is read into a tensor.
#[derive(Clone, Debug)]
struct Reading {
    format: TextureFormat,
    size: Extent,
    region: Option<Region>,
    dims: Dims,
    dtype: Dtype,
    input: TextureInput,
}

impl Reading {
    fn new(format: TextureFormat, [h, w]: [u32; 2], dims: Dims) -> Self {
        let size = Extent { h, w };
        Self { format, size, region: None, dims, dtype: Dtype::F32, input: TextureInput::default() }
    }

    /// Compares the frame with the reference, and everything else with poison.
    fn check(&self, context: &Context) {
        let bytes = random_bytes(self.format, self.size, 3);
        self.check_bytes(context, &bytes);
    }

    fn check_bytes(&self, context: &Context, bytes: &[u8]) {
        let &Self { format, size, region, dims, dtype, input } = self;
        let texture = texture(context, format, size, bytes);
        let buffer = tensor(context, dims, dtype, None);
        let place = TexturePlace { region, ..TexturePlace::from(&texture) };
        let dispatch = context.engine().texture_input(place, &input, view(&buffer, dims, dtype));
        let dispatch = dispatch.unwrap_or_else(|error| panic!("{error}: {self:?}"));
        context.run_pass(|pass| dispatch.record(pass)).unwrap();

        let region = region.unwrap_or(Region { x: 0, y: 0, h: size.h, w: size.w });
        let read = part(&texels(format, bytes), size, region);
        let (from, to) = (Extent { h: region.h, w: region.w }, Extent { h: dims.h, w: dims.w });
        let wanted = texture_input(&read, from, &input, dims.c, to).unwrap();
        // Devices may be off by half of a step of 8 bits where they decode the sRGB curve, which is 12.92 times as steep.
        let steps = if format.is_srgb() { 1.0 / 510.0 } else { 0.0 };
        let steepest = if input.encode_srgb { 12.92 } else { 1.0 };
        let smallest = input.std.iter().fold(f32::INFINITY, |least, std| least.min(std.abs()));
        let error = (steps * steepest + 3e-6 * steepest) / f64::from(smallest);

        let found = context.read_bytes(&buffer, 0, buffer.size()).unwrap();
        let element = dtype.bytes() as usize;
        let decoded = if dtype == Dtype::F16 { halves(&found) } else { floats(&found) };
        let frame = (dims.h * dims.w) as usize;
        let mut compared = 0;
        for (i, raw) in found.chunks_exact(element).enumerate() {
            let of_tensor = i.checked_sub(GUARD as usize / element).filter(|&i| (i as u64) < dims.elements());
            let wanted = of_tensor.and_then(|i| {
                let (plane, at) = (i / frame, i % frame);
                let (t, c) = (plane % dims.t as usize, plane / dims.t as usize % dims.c as usize);
                let n = plane / (dims.t * dims.c) as usize;
                let is_written = n == input.sample as usize && t == input.frame as usize;
                is_written.then(|| wanted.data[c * frame + at])
            });
            match wanted {
                None => assert!(raw.iter().all(|&byte| byte == POISON), "wrote element {i} of the buffer: {self:?}"),
                Some(wanted) => {
                    compared += 1;
                    let right = is_near(decoded[i].into(), wanted, error, dtype == Dtype::F16);
                    assert!(right, "element {i} is {}, not {wanted}: {self:?}", decoded[i]);
                }
            }
        }
        assert_eq!(compared, frame * dims.c as usize);
    }
}

fn map(c: u32, h: u32, w: u32) -> Dims {
    Dims { n: 1, c, t: 1, h, w }
}

const READ: [TextureFormat; 7] = [
    TextureFormat::Rgba8Unorm,
    TextureFormat::Rgba8UnormSrgb,
    TextureFormat::Bgra8Unorm,
    TextureFormat::Rgba16Float,
    TextureFormat::Rgba32Float,
    TextureFormat::R32Float,
    TextureFormat::R8Unorm,
];

#[test]
fn reads_every_format() {
    // A device with default limits and without features cannot filter formats of 32 bits, and need not.
    let plain = open(&ContextOptions { default_device: true, ..ContextOptions::default() });
    for context in [context(), &plain] {
        for format in READ {
            let channels = if format.components() == 1 { 1 } else { 3 };
            for encode_srgb in [false, true] {
                let input = TextureInput { encode_srgb, ..TextureInput::default() };
                Reading { input, ..Reading::new(format, [7, 9], map(channels, 7, 9)) }.check(context);
            }
        }
    }
}

#[test]
fn reads_every_size_and_region() {
    let region = |x, y, h, w| Some(Region { x, y, h, w });
    for (size, region, [h, w]) in [
        ([1, 1], None, [1, 1]),
        ([1, 1], None, [4, 3]),
        ([5, 7], None, [5, 7]),
        ([5, 7], None, [11, 13]),
        ([5, 7], None, [2, 3]),
        ([30, 41], region(7, 3, 9, 11), [9, 11]),
        ([30, 41], region(40, 29, 1, 1), [3, 5]),
        ([30, 41], region(1, 2, 28, 40), [10, 17]),
        ([16, 16], region(4, 4, 8, 8), [16, 16]),
        ([70, 90], None, [70, 90]),
    ] {
        for filter in FILTERS {
            for channels in [1, 3, 4] {
                let input = TextureInput { filter, ..TextureInput::default() };
                let reading = Reading::new(TextureFormat::Rgba8Unorm, size, map(channels, h, w));
                Reading { region, input, ..reading }.check(context());
            }
        }
    }
}

#[test]
fn normalises_into_the_batch_in_both_types() {
    let (mean, std) = ([0.485, 0.456, 0.406, 0.5], [0.229, 0.224, 0.225, -2.0]);
    for dtype in [Dtype::F32, Dtype::F16] {
        if dtype == Dtype::F16 && !runs_f16(context()) {
            continue;
        }
        for (sample, frame) in [(0, 0), (1, 1), (2, 0)] {
            // An odd number of elements, so that f16 ends within a word.
            let dims = Dims { n: 3, c: 3, t: if frame > 0 { 2 } else { 1 }, h: 5, w: 7 };
            for filter in FILTERS {
                for (c, encode_srgb) in [(1, true), (3, false), (4, true)] {
                    let input = TextureInput { filter, encode_srgb, mean, std, sample, frame };
                    let dims = Dims { c, ..dims };
                    Reading { dtype, input, ..Reading::new(TextureFormat::Rgba16Float, [6, 9], dims) }.check(context());
                }
            }
        }
    }
}

/// NaN, infinities and the largest numbers go where the reference has them.
#[test]
fn reads_numbers_that_are_none() {
    let strange = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 65504.0, -65504.0, 6e-8, 0.0, 1.0];
    let bytes: Vec<u8> = (0..3 * 5 * 4).flat_map(|i| half::f16::from_f32(strange[i * 5 % 8]).to_le_bytes()).collect();
    for filter in FILTERS {
        for encode_srgb in [false, true] {
            let input = TextureInput { filter, encode_srgb, ..TextureInput::default() };
            for [h, w] in [[3, 5], [6, 7]] {
                let reading = Reading::new(TextureFormat::Rgba16Float, [3, 5], map(4, h, w));
                Reading { input, ..reading }.check_bytes(context(), &bytes);
            }
        }
    }
}

/// A mip level, a layer and a view format are read instead of the first and of the texture's own.
#[test]
fn reads_mip_levels_layers_and_views() {
    let context = context();
    let (format, size) = (TextureFormat::Rgba8UnormSrgb, Extent { h: 4, w: 6 });
    let texture = context.device().create_texture(&wgpu::TextureDescriptor {
        size: wgpu::Extent3d { width: 12, height: 9, depth_or_array_layers: 3 },
        mip_level_count: 2,
        view_formats: &[TextureFormat::Rgba8Unorm],
        ..descriptor(format, size, TextureUsages::TEXTURE_BINDING | TextureUsages::COPY_DST)
    });
    let bytes = random_bytes(format, size, 9);
    let mut place = wgpu::TexelCopyTextureInfo { mip_level: 1, ..texture.as_image_copy() };
    place.origin.z = 2;
    let layout = wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(24), rows_per_image: None };
    let extent = wgpu::Extent3d { width: 6, height: 4, depth_or_array_layers: 1 };
    context.queue().write_texture(place, &bytes, layout, extent);

    let dims = map(4, 4, 6);
    let buffer = tensor(context, dims, Dtype::F32, None);
    let place = TexturePlace {
        format: Some(TextureFormat::Rgba8Unorm),
        mip_level: 1,
        layer: 2,
        ..TexturePlace::from(&texture)
    };
    let input = TextureInput::default();
    let dispatch = context.engine().texture_input(place, &input, view(&buffer, dims, Dtype::F32)).unwrap();
    context.run_pass(|pass| dispatch.record(pass)).unwrap();
    let found = context.read(&buffer, GUARD, dims.elements(), Dtype::F32).unwrap();
    let wanted = texture_input(&texels(TextureFormat::Rgba8Unorm, &bytes), size, &input, 4, size).unwrap();
    for (found, wanted) in found.iter().zip(&wanted.data) {
        assert!((f64::from(*found) - wanted).abs() < 1e-6, "{found}, not {wanted}");
    }
}

/// A tensor that is written into a texture.
#[derive(Clone, Debug)]
struct Writing {
    format: TextureFormat,
    size: Extent,
    region: Option<Region>,
    dims: Dims,
    dtype: Dtype,
    output: TextureOutput,
}

impl Writing {
    fn new(format: TextureFormat, [h, w]: [u32; 2], dims: Dims) -> Self {
        let size = Extent { h, w };
        Self { format, size, region: None, dims, dtype: Dtype::F32, output: TextureOutput::default() }
    }

    fn check(&self, context: &Context) {
        self.check_values(context, &values(5, self.dims.elements()));
    }

    /// Compares the region with the reference, and all else with what the texture had.
    fn check_values(&self, context: &Context, values: &[f32]) {
        let &Self { format, size, region, dims, dtype, output } = self;
        let before = vec![POISON; (size.h * size.w * format.block_copy_size(None).unwrap()) as usize];
        let texture = texture(context, format, size, &before);
        let buffer = tensor(context, dims, dtype, Some(values));
        let place = TexturePlace { region, ..TexturePlace::from(&texture) };
        let dispatch = context.engine().texture_output(view(&buffer, dims, dtype), &output, place);
        let dispatch = dispatch.unwrap_or_else(|error| panic!("{error}: {self:?}"));
        context.run_pass(|pass| dispatch.record(pass)).unwrap();

        let region = region.unwrap_or(Region { x: 0, y: 0, h: size.h, w: size.w });
        let rounded: Vec<f32> = match dtype {
            Dtype::F32 => values.to_vec(),
            Dtype::F16 => values.iter().map(|&value| half::f16::from_f32(value).to_f32()).collect(),
        };
        let to = Extent { h: region.h, w: region.w };
        let wanted = texture_output(&rounded, dims, &output, format, to).unwrap();
        let bytes = read(context, &texture);
        let found = texels(format, &bytes);
        // Formats of 8 bits are rounded to the nearest step, or almost.
        let error = if format == TextureFormat::Rgba8Unorm { 0.6 / 255.0 } else { 2e-6 };
        let f16 = format == TextureFormat::Rgba16Float;
        let texel_bytes = format.block_copy_size(None).unwrap() as usize;
        for (i, (found, raw)) in found.iter().zip(bytes.chunks_exact(texel_bytes)).enumerate() {
            let (row, col) = (i as u32 / size.w, i as u32 % size.w);
            let inside =
                (region.y..region.y + region.h).contains(&row) && (region.x..region.x + region.w).contains(&col);
            if !inside {
                assert!(raw.iter().all(|&byte| byte == POISON), "wrote texel {i}: {self:?}");
                continue;
            }
            let wanted = wanted[((row - region.y) * region.w + col - region.x) as usize];
            for c in 0..usize::from(format.components()) {
                let right = is_near(found[c].into(), wanted[c], error, f16);
                assert!(right, "channel {c} of texel {i} is {}, not {}: {self:?}", found[c], wanted[c]);
            }
        }
    }
}

const WRITTEN: [TextureFormat; 4] =
    [TextureFormat::Rgba8Unorm, TextureFormat::Rgba16Float, TextureFormat::R32Float, TextureFormat::Rgba32Float];

#[test]
fn writes_every_format_and_type() {
    let plain = open(&ContextOptions { default_device: true, ..ContextOptions::default() });
    for context in [context(), &plain] {
        for format in WRITTEN {
            for channels in [1, 3, 4].into_iter().filter(|&c| c <= u32::from(format.components())) {
                Writing::new(format, [7, 9], map(channels, 7, 9)).check(context);
            }
        }
    }
    if runs_f16(context()) {
        for format in WRITTEN {
            let writing = Writing::new(format, [5, 7], map(1, 5, 7));
            Writing { dtype: Dtype::F16, ..writing }.check(context());
        }
    }
}

#[test]
fn writes_every_size_and_region_of_any_sample() {
    let region = |x, y, h, w| Some(Region { x, y, h, w });
    for (size, region, [h, w]) in [
        ([1, 1], None, [1, 1]),
        ([4, 3], None, [1, 1]),
        ([11, 13], None, [5, 7]),
        ([2, 3], None, [5, 7]),
        ([30, 41], region(7, 3, 9, 11), [9, 11]),
        ([30, 41], region(40, 29, 1, 1), [3, 5]),
        ([30, 41], region(1, 2, 28, 40), [10, 17]),
        ([70, 90], None, [35, 45]),
    ] {
        for filter in FILTERS {
            for (sample, frame) in [(0, 0), (1, 1)] {
                let (scale, offset) = ([0.5, 0.25, -0.5, 1.0], [0.5, 0.75, 0.5, 0.0]);
                let output = TextureOutput { filter, scale, offset, sample, frame };
                let dims = Dims { n: 2, c: 3, t: 2, h, w };
                let writing = Writing::new(TextureFormat::Rgba16Float, size, dims);
                Writing { region, output, ..writing }.check(context());
            }
        }
    }
}

/// Numbers beyond a format become the nearest that it holds, and a NaN what the documentation says.
#[test]
fn writes_what_formats_do_not_hold() {
    let strange = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 65519.9, -7e4, 3e38, -0.25, 1.5, 0.5, 1e-30, 0.0, 1.0];
    let strange: Vec<f32> = strange.iter().cycle().take(3 * 4 * 3).copied().collect();
    for format in WRITTEN {
        let channels = if format.components() == 1 { 1 } else { 3 };
        let strange = &strange[..(12 * channels) as usize];
        let writing = Writing::new(format, [4, 3], map(channels, 4, 3));
        let output = TextureOutput { filter: FilterMode::Nearest, ..TextureOutput::default() };
        Writing { output, ..writing }.check_values(context(), strange);
    }
}

/// An engine that binds all as written has the same answers.
#[test]
fn reads_and_writes_in_engines_that_bind_everything_as_written() {
    let context = context();
    let engine = Engine::new(context.device(), EngineOptions { read_write: true, ..EngineOptions::default() });
    let bytes = random_bytes(TextureFormat::Rgba8Unorm, Extent { h: 5, w: 7 }, 1);
    let from = texture(context, TextureFormat::Rgba8Unorm, Extent { h: 5, w: 7 }, &bytes);
    let to = texture(context, TextureFormat::Rgba8Unorm, Extent { h: 5, w: 7 }, &[0; 4 * 35]);
    let dims = map(4, 5, 7);
    let buffer = tensor(context, dims, Dtype::F32, None);
    let view = view(&buffer, dims, Dtype::F32);
    let input = engine.texture_input(&from, &TextureInput::default(), view).unwrap();
    let output = engine.texture_output(view, &TextureOutput::default(), &to).unwrap();
    // One pass: what the first dispatch writes, the second reads.
    context
        .run_pass(|pass| {
            input.record(pass);
            output.record(pass);
        })
        .unwrap();
    assert_eq!(read(context, &to), bytes);
}

#[test]
fn refuses_in_words_before_anything_is_made() {
    let context = context();
    let engine = context.engine();
    let size = Extent { h: 8, w: 6 };
    let dims = map(3, 4, 4);
    let buffer = tensor(context, dims, Dtype::F32, None);
    let good = texture(context, TextureFormat::Rgba8Unorm, size, &[0; 4 * 48]);
    let read_of = |place: TexturePlace, input: TextureInput, tensor: TensorView| {
        engine.texture_input(place, &input, tensor).unwrap_err().to_string()
    };
    let written_of = |tensor: TensorView, output: TextureOutput, place: TexturePlace| {
        engine.texture_output(tensor, &output, place).unwrap_err().to_string()
    };
    let (input, output) = (TextureInput::default(), TextureOutput::default());
    let place = TexturePlace::from(&good);
    let tensor_of = |dims| view(&buffer, dims, Dtype::F32);
    let whole = tensor_of(dims);

    // The texture.
    let made = |descriptor: &wgpu::TextureDescriptor| context.device().create_texture(descriptor);
    let usage = TextureUsages::COPY_DST;
    let useless = made(&descriptor(TextureFormat::Rgba8Unorm, size, usage));
    let message = read_of((&useless).into(), input, whole);
    assert!(message.starts_with("texture.usage is ") && message.contains("COPY_DST"), "{message}");
    assert!(message.contains("must include") && message.contains("TEXTURE_BINDING"), "{message}");
    let message = written_of(whole, output, (&useless).into());
    assert!(message.starts_with("texture.usage is ") && message.contains("STORAGE_BINDING"), "{message}");
    let both = TextureUsages::TEXTURE_BINDING | TextureUsages::STORAGE_BINDING;
    let line = made(&wgpu::TextureDescriptor {
        dimension: wgpu::TextureDimension::D1,
        size: wgpu::Extent3d { width: 6, height: 1, depth_or_array_layers: 1 },
        ..descriptor(TextureFormat::Rgba8Unorm, size, both)
    });
    assert_eq!(read_of((&line).into(), input, whole), "texture.dimension is D1: must be D2");
    assert_eq!(written_of(whole, output, (&line).into()), "texture.dimension is D1: must be D2");
    let several = made(&wgpu::TextureDescriptor {
        sample_count: 4,
        ..descriptor(TextureFormat::Rgba8Unorm, size, TextureUsages::TEXTURE_BINDING | TextureUsages::RENDER_ATTACHMENT)
    });
    assert_eq!(read_of((&several).into(), input, whole), "texture.sample_count is 4: must be 1");
    for format in [TextureFormat::Rgba8Uint, TextureFormat::Depth32Float] {
        let texture = made(&descriptor(format, size, TextureUsages::TEXTURE_BINDING));
        let allowed = "must be a format of normalised numbers or floats, such as Rgba8Unorm or Rgba16Float";
        assert_eq!(read_of((&texture).into(), input, whole), format!("texture.format is {format:?}: {allowed}"));
    }
    let integers = made(&descriptor(TextureFormat::R32Uint, size, TextureUsages::STORAGE_BINDING));
    let allowed = "must be one of Rgba8Unorm, Rgba16Float, R32Float, Rgba32Float";
    assert_eq!(written_of(whole, output, (&integers).into()), format!("texture.format is R32Uint: {allowed}"));
    let one = made(&descriptor(TextureFormat::R32Float, size, both));
    let message = "tensor.dims.c is 3: must be at most 1, as R32Float has";
    assert_eq!(read_of((&one).into(), input, whole), message);
    assert_eq!(written_of(whole, output, (&one).into()), message);

    // The place.
    assert_eq!(read_of(TexturePlace { mip_level: 1, ..place }, input, whole), "mip_level is 1: must be 0");
    assert_eq!(written_of(whole, output, TexturePlace { layer: 2, ..place }), "layer is 2: must be 0");
    for (x, y, h, w) in [(0, 0, 0, 1), (0, 0, 1, 0), (0, 0, 9, 6), (3, 0, 8, 4), (6, 0, 1, 1), (1, 1, 1, u32::MAX)] {
        let place = TexturePlace { region: Some(Region { x, y, h, w }), ..place };
        let wanted = format!(
            "region is {h} rows from {y} on and {w} columns from {x} on: must have texels, all of them in the 8 rows and 6 \
             columns of mip level 0"
        );
        assert_eq!(read_of(place, input, whole), wanted);
        assert_eq!(written_of(whole, output, place), wanted);
    }

    // The tensor.
    for c in [2, 5] {
        let dims = Dims { c, ..dims };
        let wanted = format!("tensor.dims.c is {c}: must be 1, 3 or 4");
        assert_eq!(read_of(place, input, tensor_of(dims)), wanted);
        assert_eq!(written_of(tensor_of(dims), output, place), wanted);
    }
    let empty = read_of(place, input, tensor_of(Dims { w: 0, ..dims }));
    assert_eq!(empty, "tensor.dims is 1x3x4x0: must have no empty axis");
    let late = TextureInput { sample: 1, ..input };
    assert_eq!(read_of(place, late, whole), "sample is 1: must be less than 1, as the tensor is 1x3x4x4");
    let late = TextureOutput { frame: 7, ..output };
    assert_eq!(written_of(whole, late, place), "frame is 7: must be less than 1, as the tensor is 1x3x4x4");
    let message = read_of(place, input, tensor_of(Dims { h: 40, ..dims }));
    assert!(message.starts_with("tensor tensor: its 1920 bytes from offset 256 on exceed a buffer of "), "{message}");
    let odd = TensorView::new(TensorBinding { buffer: &buffer, offset: 4 }, dims, Dtype::F32);
    if engine.facts().limits.min_storage_buffer_offset_alignment > 4 {
        assert!(read_of(place, input, odd).contains("its offset is 4, which must be a multiple of "));
    }
    let huge = engine.texture_input(place, &input, tensor_of(Dims { n: u32::MAX, h: u32::MAX, ..dims }));
    assert!(matches!(huge, Err(Error::Limit { .. })), "{huge:?}");
    if !engine.facts().features.contains(wgpu::Features::SHADER_F16) {
        let refused = engine.texture_input(place, &input, view(&buffer, dims, Dtype::F16)).unwrap_err();
        assert_eq!(refused, Error::Feature { what: "f16 activations", feature: "SHADER_F16" });
    }

    // The numbers.
    let nan = [0.0, f32::NAN, 0.0, 0.0];
    assert_eq!(
        read_of(place, TextureInput { mean: nan, ..input }, whole),
        "mean is [0.0, NaN, 0.0, 0.0]: must be finite"
    );
    let zero = TextureInput { std: [1.0, 0.0, 1.0, 1.0], ..input };
    assert_eq!(read_of(place, zero, whole), "std is [1.0, 0.0, 1.0, 1.0]: must be finite and not 0");
    let infinite = TextureOutput { scale: [f32::INFINITY; 4], ..output };
    assert_eq!(written_of(whole, infinite, place), "scale is [inf, inf, inf, inf]: must be finite");

    // What wgpu alone knows.
    let refused = TexturePlace { format: Some(TextureFormat::Bgra8Unorm), ..place };
    assert!(read_of(refused, input, whole).starts_with("viewing a texture failed: "));
}

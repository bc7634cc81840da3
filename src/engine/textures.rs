//! From a texture to a tensor, and from a tensor to a texture.

use std::num::NonZeroU64;

use super::engine::Engine;
use super::layer::Dispatch;
use super::tensors::{TensorView, check_place};
use crate::device::check_size;
use crate::error::Error;
use crate::kernels::{Step, TexelFormat, texture_input, texture_output};
use crate::precision::Dtype;
use crate::texture::{Region, TextureInput, TextureOutput};

/// A region of a texture: of one mip level of one layer of a 2D texture with one sample per texel.
#[derive(Clone, Copy, Debug)]
pub struct TexturePlace<'a> {
    /// A texture of the engine's device. To be read, with the usage `TEXTURE_BINDING` and a format of normalised numbers or
    /// floats; to be written, with the usage `STORAGE_BINDING` and the format `Rgba8Unorm`, `Rgba16Float`, `R32Float` or
    /// `Rgba32Float`.
    pub texture: &'a wgpu::Texture,
    /// The format in which its bytes are read or written: its own, or one of the view formats that it was made with. `None`:
    /// its own.
    pub format: Option<wgpu::TextureFormat>,
    /// The mip level.
    pub mip_level: u32,
    /// The layer, of a texture with several.
    pub layer: u32,
    /// The texels of that mip level. `None`: all.
    pub region: Option<Region>,
}

impl<'a> From<&'a wgpu::Texture> for TexturePlace<'a> {
    fn from(texture: &'a wgpu::Texture) -> Self {
        Self { texture, format: None, mip_level: 0, layer: 0, region: None }
    }
}

/// A dispatch between a texture and a tensor, ready to be recorded any number of times. It keeps both alive.
#[derive(Clone, Debug)]
pub struct TextureDispatch {
    dispatch: Dispatch,
}

impl TextureDispatch {
    /// Records the dispatch into the caller's pass. Changes the pass's pipeline and bind group 0.
    ///
    /// The pass must be of the engine's device. wgpu reports another one where the caller finishes the encoder.
    pub fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        self.dispatch.record(pass);
    }
}

impl Engine {
    /// Binds a texture and a tensor, so that a dispatch makes a frame of the tensor of the texture's region, in the size of the
    /// tensor's rows and columns. The tensor has 1, 3 or 4 channels, and the texture's format as many or more. The other
    /// samples and frames keep what they have: several textures can fill a batch.
    ///
    /// May compile a kernel, for milliseconds. Makes a small uniform buffer and a view of the texture.
    ///
    /// ```no_run
    /// use octconv::{Dims, Dtype, Engine, Error, TensorView, TextureDispatch, TextureInput, wgpu};
    ///
    /// /// Once, when the application loads.
    /// fn load(engine: &Engine, camera: &wgpu::Texture, buffer: &wgpu::Buffer) -> Result<TextureDispatch, Error> {
    ///     let x = TensorView::new(buffer, Dims { n: 1, c: 3, t: 1, h: 224, w: 224 }, Dtype::F32);
    ///     let input = TextureInput { encode_srgb: camera.format().is_srgb(), ..TextureInput::default() };
    ///     engine.texture_input(camera, &input, x)
    /// }
    ///
    /// /// For each frame.
    /// fn frame(from_camera: &TextureDispatch, pass: &mut wgpu::ComputePass) {
    ///     from_camera.record(pass);
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for a texture, a region or settings that are not as documented, [`Error::Binding`] for a tensor that
    /// does not fit its buffer, [`Error::Feature`] for f16 on a device without it, [`Error::Limit`] for sizes beyond the
    /// device's limits; [`Error::Gpu`] if the device refuses something, [`Error::OutOfMemory`] and [`Error::DeviceLost`].
    pub fn texture_input<'a>(
        &self,
        texture: impl Into<TexturePlace<'a>>,
        input: &TextureInput,
        tensor: TensorView<'_>,
    ) -> Result<TextureDispatch, Error> {
        let texture = texture.into();
        let region = texture.region_for(wgpu::TextureUsages::TEXTURE_BINDING)?;
        self.check_tensor("the input", tensor, input.sample, input.frame)?;
        texture.check_readable(self.facts().features, tensor.dims.c)?;
        let finite = |values: [f32; 4]| values.iter().all(|value| value.is_finite());
        if !finite(input.mean) {
            return Err(Error::argument("mean", format!("{:?}", input.mean), "must be finite"));
        }
        if !finite(input.std) || input.std.contains(&0.0) {
            return Err(Error::argument("std", format!("{:?}", input.std), "must be finite and not 0"));
        }
        let step = texture_input::step(self.facts(), input, region, tensor.dims, tensor.dtype)?;
        self.bind_texture(&step, texture, wgpu::TextureUsages::TEXTURE_BINDING, tensor)
    }

    /// Binds a tensor and a texture, so that a dispatch makes the texture's region of a frame of the tensor, in the size of the
    /// region. The tensor has 1, 3 or 4 channels; 1 for a texture of one channel. Texels outside of the region keep what
    /// they have.
    ///
    /// A texture of an sRGB format cannot be written by kernels. Make it as `Rgba8Unorm` with the view format
    /// `Rgba8UnormSrgb`: what is written are the numbers in the sRGB curve, which the sRGB view then shows as light.
    ///
    /// May compile a kernel, for milliseconds. Makes a small uniform buffer and a view of the texture.
    ///
    /// # Errors
    ///
    /// Those of [`Engine::texture_input`].
    pub fn texture_output<'a>(
        &self,
        tensor: TensorView<'_>,
        output: &TextureOutput,
        texture: impl Into<TexturePlace<'a>>,
    ) -> Result<TextureDispatch, Error> {
        let texture = texture.into();
        let region = texture.region_for(wgpu::TextureUsages::STORAGE_BINDING)?;
        self.check_tensor("the output", tensor, output.sample, output.frame)?;
        let format = texture.writable_format(tensor.dims.c)?;
        for (name, values) in [("scale", output.scale), ("offset", output.offset)] {
            if !values.iter().all(|value| value.is_finite()) {
                return Err(Error::argument(name, format!("{values:?}"), "must be finite"));
            }
        }
        let step = texture_output::step(self.facts(), output, tensor.dims, tensor.dtype, region, format)?;
        self.bind_texture(&step, texture, wgpu::TextureUsages::STORAGE_BINDING, tensor)
    }

    /// Refuses a tensor that kernels cannot index or bind, or without such a frame.
    fn check_tensor(&self, what: &str, tensor: TensorView<'_>, sample: u32, frame: u32) -> Result<(), Error> {
        let TensorView { dims, dtype, .. } = tensor;
        if dims.elements() == 0 {
            return Err(Error::argument("tensor.dims", dims, "must have no empty axis"));
        }
        if !matches!(dims.c, 1 | 3 | 4) {
            return Err(Error::argument("tensor.dims.c", dims.c, "must be 1, 3 or 4"));
        }
        for (name, value, count) in [("sample", sample, dims.n), ("frame", frame, dims.t)] {
            if value >= count {
                return Err(Error::argument(
                    name,
                    value,
                    format!("must be less than {count}, as the tensor is {dims}"),
                ));
            }
        }
        let feature = wgpu::Features::SHADER_F16;
        if dtype == Dtype::F16 && !self.facts().features.contains(feature) {
            return Err(Error::Feature { what: "f16 activations", feature: "SHADER_F16" });
        }
        let bytes = dims.elements().saturating_mul(dtype.bytes());
        check_size(format_args!("{what} of {dims}"), dims.elements(), bytes, self.facts())?;
        check_place("tensor", tensor.binding(), tensor.bytes(), self.alignment())
    }

    fn bind_texture(
        &self,
        step: &Step,
        texture: TexturePlace<'_>,
        usage: wgpu::TextureUsages,
        tensor: TensorView<'_>,
    ) -> Result<TextureDispatch, Error> {
        let descriptor = wgpu::TextureViewDescriptor {
            label: Some("octconv texture"),
            format: Some(texture.format()),
            dimension: Some(wgpu::TextureViewDimension::D2),
            usage: Some(usage),
            base_mip_level: texture.mip_level,
            mip_level_count: Some(1),
            base_array_layer: texture.layer,
            array_layer_count: Some(1),
            ..Default::default()
        };
        let view = self.scoped("viewing a texture", || texture.texture.create_view(&descriptor))?;
        let view = wgpu::BindingResource::TextureView(&view);
        let TensorView { buffer, offset, .. } = tensor;
        let binding = wgpu::BufferBinding { buffer, offset, size: NonZeroU64::new(tensor.bytes()) };
        let map = wgpu::BindingResource::Buffer(binding);
        let reads_texture = usage == wgpu::TextureUsages::TEXTURE_BINDING;
        let bound = if reads_texture { vec![view, map] } else { vec![map, view] };
        let (uniform, _) = self.uniforms(std::iter::once(step))?;
        let binding = wgpu::BufferBinding { buffer: &uniform, offset: 0, size: None };
        let dispatch = self.dispatch_with(step, binding, bound).inspect_err(|_| uniform.destroy())?;
        Ok(TextureDispatch { dispatch })
    }
}

impl TexturePlace<'_> {
    fn format(&self) -> wgpu::TextureFormat {
        self.format.unwrap_or(self.texture.format())
    }

    /// The region. Refuses a texture that kernels cannot use in this way, and a region that is not in it.
    fn region_for(&self, usage: wgpu::TextureUsages) -> Result<Region, Error> {
        let &Self { texture, mip_level, layer, .. } = self;
        if !texture.usage().contains(usage) {
            let value = format!("{:?}", texture.usage());
            return Err(Error::argument("texture.usage", value, format!("must include {usage:?}")));
        }
        if texture.dimension() != wgpu::TextureDimension::D2 {
            return Err(Error::argument("texture.dimension", format!("{:?}", texture.dimension()), "must be D2"));
        }
        for (name, value, least, most) in [
            ("texture.sample_count", texture.sample_count(), 1, 1),
            ("mip_level", mip_level, 0, texture.mip_level_count() - 1),
            ("layer", layer, 0, texture.depth_or_array_layers() - 1),
        ] {
            if value < least || value > most {
                let allowed = if least == most { format!("must be {most}") } else { format!("must be at most {most}") };
                return Err(Error::argument(name, value, allowed));
            }
        }
        let [h, w] = [texture.height(), texture.width()].map(|size| (size >> mip_level).max(1));
        let region = self.region.unwrap_or(Region { x: 0, y: 0, h, w });
        let inside =
            |from: u32, count: u32, size: u32| count > 0 && from.checked_add(count).is_some_and(|end| end <= size);
        if !inside(region.y, region.h, h) || !inside(region.x, region.w, w) {
            let Region { x, y, h: rows, w: cols } = region;
            let value = format!("{rows} rows from {y} on and {cols} columns from {x} on");
            let allowed =
                format!("must have texels, all of them in the {h} rows and {w} columns of mip level {mip_level}");
            return Err(Error::argument("region", value, allowed));
        }
        Ok(region)
    }

    /// Refuses a format that gives no floats, or fewer channels than a map has.
    fn check_readable(&self, features: wgpu::Features, channels: u32) -> Result<(), Error> {
        let format = self.format();
        let kind = format.sample_type(None, Some(features));
        if !matches!(kind, Some(wgpu::TextureSampleType::Float { .. })) {
            let allowed = "must be a format of normalised numbers or floats, such as Rgba8Unorm or Rgba16Float";
            return Err(Error::argument("texture.format", format!("{format:?}"), allowed));
        }
        self.check_channels(channels)
    }

    fn check_channels(&self, channels: u32) -> Result<(), Error> {
        let has = u32::from(self.format().components());
        if channels > has {
            let allowed = format!("must be at most {has}, as {:?} has", self.format());
            return Err(Error::argument("tensor.dims.c", channels, allowed));
        }
        Ok(())
    }

    /// The format, if kernels can write it on every device, and it has a place for these channels.
    fn writable_format(&self, channels: u32) -> Result<TexelFormat, Error> {
        let format = self.format();
        let Some(writable) = TexelFormat::of(format) else {
            let all: Vec<_> = TexelFormat::ALL.iter().map(|format| format!("{:?}", format.wgpu())).collect();
            let allowed = format!("must be one of {}", all.join(", "));
            return Err(Error::argument("texture.format", format!("{format:?}"), allowed));
        };
        self.check_channels(channels)?;
        Ok(writable)
    }
}

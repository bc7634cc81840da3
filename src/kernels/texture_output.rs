//! Host code of `shaders/textures/output.wgsl`: a map as a region of a storage texture.

use super::access::{Access, TexelFormat};
use super::axis::Axis;
use super::job::TensorId;
use super::source::{Form, Recipe};
use super::step::{Grid, Kernel, Step};
use super::types::ELEMENTWISE_WORKGROUP;
use super::uniform::uniform;
use crate::device::DeviceFacts;
use crate::dims::Dims;
use crate::error::Error;
use crate::precision::Dtype;
use crate::texture::{Region, TextureOutput};

uniform! {
    struct Shape {
        threads: u32,
        grid_x: u32,
        w: u32,
        first: u32,
        channel: u32,
        left: u32,
        top: u32,
        h_in: u32,
        w_in: u32,
        unused_a: u32,
        unused_b: u32,
        unused_c: u32,
        rows: Axis,
        cols: Axis,
        scale: [f32; 4],
        offset: [f32; 4],
    }
}

/// The kernel for a map of this many channels.
fn kernel(dtype: Dtype, channels: u32, bilinear: bool, format: TexelFormat) -> Kernel {
    let holds = match format {
        TexelFormat::R32Float | TexelFormat::Rgba32Float => 0,
        TexelFormat::Rgba16Float => 1,
        TexelFormat::Rgba8Unorm => 2,
    };
    let recipe = Recipe::new("textures/output")
        .constant("WORKGROUP", ELEMENTWISE_WORKGROUP)
        .constant("CHANNELS", channels)
        .constant("HOLDS", holds)
        .flag("BILINEAR", bilinear)
        .input("x", Form::Elements(dtype))
        .binding("texels", Access::StorageTexture(format));
    Kernel::recipe("texture output", recipe)
}

/// Every kernel that there is.
pub(crate) fn kernels() -> impl Iterator<Item = Kernel> {
    let types = [Dtype::F32, Dtype::F16].into_iter();
    let channels = types.flat_map(|dtype| [1, 3, 4].map(|channels| (dtype, channels)));
    let formats = channels.flat_map(|(dtype, channels)| TexelFormat::ALL.map(|format| (dtype, channels, format)));
    formats
        .flat_map(|(dtype, channels, format)| [false, true].map(|bilinear| kernel(dtype, channels, bilinear, format)))
}

/// Writes a frame of a tensor of these dims, bound as [`TensorId::XH`], into a region of a texture.
pub(crate) fn step(
    facts: &DeviceFacts,
    output: &TextureOutput,
    dims: Dims,
    dtype: Dtype,
    region: Region,
    format: TexelFormat,
) -> Result<Step, Error> {
    let bilinear = output.filter == wgpu::FilterMode::Linear;
    let frame = dims.h * dims.w;
    let threads = region.h * region.w;
    let grid = Grid::of_threads(u64::from(threads), facts)?;
    let axis = |name, from, to| Axis::new(name, [from, to], [from, to], bilinear);
    let shape = Shape {
        threads,
        grid_x: grid.x,
        w: region.w,
        first: (output.sample * dims.c * dims.t + output.frame) * frame,
        channel: dims.t * frame,
        left: region.x,
        top: region.y,
        h_in: dims.h,
        w_in: dims.w,
        unused_a: 0,
        unused_b: 0,
        unused_c: 0,
        rows: axis("rows", dims.h, region.h)?,
        cols: axis("columns", dims.w, region.w)?,
        scale: output.scale,
        offset: output.offset,
    };
    let kernel = kernel(dtype, dims.c, bilinear, format);
    Ok(Step::new(kernel, &shape, vec![TensorId::XH, TensorId::Texture], grid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uniform_is_the_shaders() {
        kernels().for_each(|kernel| crate::kernels::uniform::check::<Shape>(kernel.data()));
    }
}

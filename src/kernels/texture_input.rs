//! Host code of `shaders/textures/input.wgsl`: a region of a texture as a map.

use super::access::Access;
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
use crate::texture::{Region, TextureInput};

uniform! {
    struct Shape {
        threads: u32,
        grid_x: u32,
        w: u32,
        first: u32,
        channel: u32,
        left: u32,
        top: u32,
        region_h: u32,
        region_w: u32,
        unused_a: u32,
        unused_b: u32,
        unused_c: u32,
        rows: Axis,
        cols: Axis,
        mean: [f32; 4],
        deviation: [f32; 4],
    }
}

/// The kernel for a map of this many channels.
fn kernel(dtype: Dtype, channels: u32, bilinear: bool, encodes_srgb: bool) -> Kernel {
    let recipe = Recipe::new("textures/input")
        .constant("WORKGROUP", ELEMENTWISE_WORKGROUP)
        .constant("CHANNELS", channels)
        .flag("BILINEAR", bilinear)
        .flag("ENCODES_SRGB", encodes_srgb)
        .binding("texels", Access::Texture)
        .output("y", Form::Elements(dtype));
    Kernel::recipe("texture input", recipe)
}

/// Every kernel that there is.
pub(crate) fn kernels() -> impl Iterator<Item = Kernel> {
    let types = [Dtype::F32, Dtype::F16].into_iter();
    let channels = types.flat_map(|dtype| [1, 3, 4].map(|channels| (dtype, channels)));
    let flags = [(false, false), (false, true), (true, false), (true, true)];
    channels.flat_map(move |(dtype, channels)| flags.map(|(bilinear, srgb)| kernel(dtype, channels, bilinear, srgb)))
}

/// Reads a region of a texture into a frame of a tensor of these dims, bound as [`TensorId::YH`].
pub(crate) fn step(
    facts: &DeviceFacts,
    input: &TextureInput,
    region: Region,
    dims: Dims,
    dtype: Dtype,
) -> Result<Step, Error> {
    let bilinear = input.filter == wgpu::FilterMode::Linear;
    let frame = dims.h * dims.w;
    let grid = Grid::of_threads(u64::from(frame), facts)?;
    let axis = |name, from, to| Axis::new(name, [from, to], [from, to], bilinear);
    let shape = Shape {
        threads: frame,
        grid_x: grid.x,
        w: dims.w,
        first: (input.sample * dims.c * dims.t + input.frame) * frame,
        channel: dims.t * frame,
        left: region.x,
        top: region.y,
        region_h: region.h,
        region_w: region.w,
        unused_a: 0,
        unused_b: 0,
        unused_c: 0,
        rows: axis("rows", region.h, dims.h)?,
        cols: axis("columns", region.w, dims.w)?,
        mean: input.mean,
        deviation: input.std,
    };
    let kernel = kernel(dtype, dims.c, bilinear, input.encode_srgb);
    Ok(Step::new(kernel, &shape, vec![TensorId::Texture, TensorId::YH], grid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uniform_is_the_shaders() {
        kernels().for_each(|kernel| crate::kernels::uniform::check::<Shape>(kernel.data()));
    }
}

//! What becomes of texels in a map, and of a map in texels.

use super::tensor::Tensor;
use crate::dims::{Dims, Extent};
use crate::error::Error;
use crate::texture::{TextureInput, TextureOutput};

/// The largest finite number of f16.
const LARGEST_F16: f64 = 65504.0;

/// The map `[1, channels, 1, to.h, to.w]` that the texels of a region become: what
/// [`Engine::texture_input`](crate::Engine::texture_input) writes as a frame of a sample. `texels` are the region's, row by row, as
/// shaders load them: red, green, blue and alpha, of sRGB formats as linear light.
///
/// # Errors
///
/// [`Error::Length`] if there are more or fewer texels; [`Error::Argument`] for an empty region or map, and other channels
/// than 1, 3 or 4.
pub fn texture_input(
    texels: &[[f32; 4]],
    region: Extent,
    input: &TextureInput,
    channels: u32,
    to: Extent,
) -> Result<Tensor, Error> {
    let dims = Dims { n: 1, c: channels, t: 1, h: to.h, w: to.w };
    check(texels.len(), "texels", Dims { c: 1, h: region.h, w: region.w, ..dims }, [region, to], channels)?;
    let value = |c: usize, [row, col]: [usize; 2]| {
        let texel = f64::from(texels[row * region.w as usize + col][c]);
        if input.encode_srgb && c < 3 { encoded(texel) } else { texel }
    };
    let mut data = Vec::new();
    for c in 0..channels as usize {
        let [mean, std] = [input.mean[c], input.std[c]].map(f64::from);
        let values = resized(region, to, input.filter, |at| value(c, at));
        data.extend(values.into_iter().map(|value| (value - mean) / std));
    }
    Ok(Tensor { dims, data })
}

/// The texels that a frame of a tensor becomes, row by row: what [`Engine::texture_output`](crate::Engine::texture_output)
/// writes into a region of this size. They are not rounded to the format.
///
/// # Errors
///
/// [`Error::Length`] if there are more or fewer elements; [`Error::Argument`] for an empty region or map, other channels than 1,
/// 3 or 4, and a sample or frame that does not exist.
pub fn texture_output(
    tensor: &[f32],
    dims: Dims,
    output: &TextureOutput,
    format: wgpu::TextureFormat,
    to: Extent,
) -> Result<Vec<[f64; 4]>, Error> {
    check(tensor.len(), "tensor", dims, [dims.extent(), to], dims.c)?;
    for (name, value, count) in [("sample", output.sample, dims.n), ("frame", output.frame, dims.t)] {
        if value >= count {
            return Err(Error::argument(name, value, format!("must be less than {count}")));
        }
    }
    let x = Tensor::new(dims, tensor);
    let mut texels = vec![[0.0, 0.0, 0.0, 1.0]; to.h as usize * to.w as usize];
    for c in 0..dims.c as usize {
        let plane = x.plane(output.sample as usize, c, output.frame as usize);
        let [scale, offset] = [output.scale[c], output.offset[c]].map(f64::from);
        let values = resized(dims.extent(), to, output.filter, |[row, col]| plane[row * dims.w as usize + col]);
        for (texel, value) in texels.iter_mut().zip(values) {
            texel[c] = fitting(value * scale + offset, format);
        }
    }
    if dims.c == 1 {
        texels.iter_mut().for_each(|texel| *texel = [texel[0], texel[0], texel[0], 1.0]);
    }
    Ok(texels)
}

fn check(found: usize, name: &'static str, shape: Dims, extents: [Extent; 2], channels: u32) -> Result<(), Error> {
    if !matches!(channels, 1 | 3 | 4) {
        return Err(Error::argument("channels", channels, "must be 1, 3 or 4"));
    }
    if let Some(empty) = extents.into_iter().find(|extent| extent.h == 0 || extent.w == 0) {
        return Err(Error::argument("size", empty, "must not be empty"));
    }
    if found as u64 != shape.elements() {
        return Err(Error::Length { tensor: name, found: found as u64, shape });
    }
    Ok(())
}

/// The values of a plane in another size, row by row.
fn resized(from: Extent, to: Extent, filter: wgpu::FilterMode, at: impl Fn([usize; 2]) -> f64) -> Vec<f64> {
    let mut values = Vec::new();
    for row in 0..to.h {
        let rows = around(row, from.h, to.h, filter);
        for col in 0..to.w {
            let cols = around(col, from.w, to.w, filter);
            let weighted = rows.iter().flat_map(|&(y, by_y)| cols.iter().map(move |&(x, by_x)| (y, x, by_y * by_x)));
            values.push(weighted.map(|(y, x, weight)| weight * at([y, x])).sum());
        }
    }
    values
}

/// The elements of an axis of `from` around the place of element `i` of one of `to`, and the weight of each, as PyTorch's
/// `interpolate` has them without `align_corners`.
fn around(i: u32, from: u32, to: u32, filter: wgpu::FilterMode) -> Vec<(usize, f64)> {
    let [i, from, to] = [i, from, to].map(u64::from);
    if filter == wgpu::FilterMode::Nearest {
        return vec![((i * from / to) as usize, 1.0)];
    }
    // ((i + 1/2) from / to - 1/2), times 2 to.
    let place = ((2 * i + 1) * from).saturating_sub(to);
    let first = place / (2 * to);
    let weight = (place % (2 * to)) as f64 / (2 * to) as f64;
    vec![(first as usize, 1.0 - weight), ((first + 1).min(from - 1) as usize, weight)]
}

/// Linear light in the sRGB curve of IEC 61966-2-1.
fn encoded(v: f64) -> f64 {
    if v <= 0.0031308 { 12.92 * v } else { 1.055 * libm::pow(v, 1.0 / 2.4) - 0.055 }
}

/// The nearest number that a format holds, not rounded to its steps.
fn fitting(v: f64, format: wgpu::TextureFormat) -> f64 {
    match format {
        wgpu::TextureFormat::Rgba8Unorm if v.is_nan() => 0.0,
        wgpu::TextureFormat::Rgba8Unorm => v.clamp(0.0, 1.0),
        wgpu::TextureFormat::Rgba16Float => v.clamp(-LARGEST_F16, LARGEST_F16),
        _ => v,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// torch.nn.functional.interpolate of [[0, 1, 2, 3]], to 3 and to 6 columns.
    #[test]
    fn places_are_those_of_pytorch() {
        let (from, filters) = (Extent { h: 1, w: 4 }, [wgpu::FilterMode::Nearest, wgpu::FilterMode::Linear]);
        let row = |w, filter| resized(from, Extent { h: 1, w }, filter, |[_, col]| col as f64);
        let wanted: [[&[f64]; 2]; 2] = [
            [&[0.0, 1.0, 2.0], &[1.0 / 6.0, 1.5, 2.0 + 5.0 / 6.0]],
            [&[0.0, 0.0, 1.0, 2.0, 2.0, 3.0], &[0.0, 0.5, 1.0 + 1.0 / 6.0, 1.0 + 5.0 / 6.0, 2.5, 3.0]],
        ];
        for (w, wanted) in [3, 6].into_iter().zip(wanted) {
            for (filter, wanted) in filters.into_iter().zip(wanted) {
                let found = row(w, filter);
                let apart = found.iter().zip(wanted).map(|(a, b)| (a - b).abs()).max_by(f64::total_cmp).unwrap();
                assert!(found.len() == wanted.len() && apart < 1e-12, "{w} {filter:?}: {found:?}");
            }
        }
    }

    #[test]
    fn maps_have_the_values_of_texels() {
        let size = Extent { h: 1, w: 1 };
        let input = TextureInput { mean: [0.5; 4], std: [0.25; 4], ..TextureInput::default() };
        let map =
            |input: &TextureInput, c| texture_input(&[[0.25, 0.5, 1.0, 0.75]], size, input, c, size).unwrap().data;
        assert_eq!(map(&input, 1), [-1.0]);
        assert_eq!(map(&input, 3), [-1.0, 0.0, 2.0]);
        assert_eq!(map(&input, 4), [-1.0, 0.0, 2.0, 1.0]);
        // Linear 0.214041 is 0.5 in the curve, and alpha stays.
        let srgb = TextureInput { encode_srgb: true, ..TextureInput::default() };
        let encoded = texture_input(&[[0.214041, 0.001, 1.0, 0.214041]], size, &srgb, 4, size).unwrap().data;
        for (found, wanted) in encoded.iter().zip([0.5, 0.01292, 1.0, 0.214041]) {
            assert!((found - wanted).abs() < 1e-6, "{found}, not {wanted}");
        }
    }

    #[test]
    fn texels_have_the_values_of_maps() {
        let (dims, size) = (Dims { n: 1, c: 1, t: 2, h: 1, w: 1 }, Extent { h: 1, w: 1 });
        let output = TextureOutput { scale: [2.0; 4], offset: [1.0; 4], frame: 1, ..TextureOutput::default() };
        let texel = |value, format| texture_output(&[0.0, value], dims, &output, format, size).unwrap()[0];
        assert_eq!(texel(-0.25, wgpu::TextureFormat::Rgba8Unorm), [0.5, 0.5, 0.5, 1.0]);
        assert_eq!(texel(1.0, wgpu::TextureFormat::Rgba8Unorm), [1.0; 4]);
        assert_eq!(texel(f32::NAN, wgpu::TextureFormat::Rgba8Unorm), [0.0, 0.0, 0.0, 1.0]);
        assert_eq!(texel(-1e6, wgpu::TextureFormat::Rgba16Float), [-65504.0, -65504.0, -65504.0, 1.0]);
        assert_eq!(texel(1e6, wgpu::TextureFormat::R32Float)[0], 2e6 + 1.0);
    }

    #[test]
    fn refuses_in_words() {
        let (one, none) = (Extent { h: 1, w: 1 }, Extent { h: 0, w: 1 });
        let input = |texels: usize, channels, to| {
            let texels = vec![[0.0; 4]; texels];
            texture_input(&texels, one, &TextureInput::default(), channels, to).unwrap_err().to_string()
        };
        assert_eq!(input(1, 2, one), "channels is 2: must be 1, 3 or 4");
        assert_eq!(input(1, 3, none), "size is 0x1: must not be empty");
        assert_eq!(input(2, 3, one), "tensor texels has 2 elements, but its shape 1x1x1x1 has 1");
        let output = TextureOutput { sample: 1, ..TextureOutput::default() };
        let dims = Dims { n: 1, c: 1, t: 1, h: 1, w: 1 };
        let refusal = texture_output(&[0.0], dims, &output, wgpu::TextureFormat::R32Float, one).unwrap_err();
        assert_eq!(refusal.to_string(), "sample is 1: must be less than 1");
    }
}

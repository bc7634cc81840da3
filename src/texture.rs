//! How texels become elements of a map, and elements of a map texels.

/// A rectangle of texels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Region {
    /// The first column. Columns count from the left.
    pub x: u32,
    /// The first row. Rows count from the top.
    pub y: u32,
    /// Rows.
    pub h: u32,
    /// Columns.
    pub w: u32,
}

/// How the texels of a texture become a map: `(texel - mean) / std`, channel by channel.
///
/// A map of one channel takes the red one, of three red, green and blue, of four also alpha.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TextureInput {
    /// How the region becomes as large as the map, if it is not: the nearest texel, or the four around each place (bilinear).
    /// Places are those of PyTorch's `interpolate` without `align_corners`. Nothing is blurred before: if the map has less
    /// than half of the rows or columns, read a smaller mip level, or texels between the places are left out.
    pub filter: wgpu::FilterMode,
    /// Whether red, green and blue are put into the sRGB curve, texel by texel, before all else. A texture of an sRGB format
    /// gives linear light; most networks were trained on the numbers that a PNG or JPEG has, which are in the sRGB curve.
    /// For them, read such a texture with this, or through a plain view ([`TexturePlace::format`](field@crate::TexturePlace::format)).
    pub encode_srgb: bool,
    /// Per channel: subtracted from the texel. Texels of normalised formats are from 0 to 1.
    pub mean: [f32; 4],
    /// Per channel: divides the result.
    pub std: [f32; 4],
    /// The sample of the batch that is written.
    pub sample: u32,
    /// The frame of that sample; 0 for images.
    pub frame: u32,
}

impl Default for TextureInput {
    /// Bilinear, into the first sample, with the numbers that the texture has.
    fn default() -> Self {
        let filter = wgpu::FilterMode::Linear;
        Self { filter, encode_srgb: false, mean: [0.0; 4], std: [1.0; 4], sample: 0, frame: 0 }
    }
}

/// How a map becomes texels: `value * scale + offset`, channel by channel.
///
/// A map of one channel makes red, green and blue alike. Alpha is 1 if the map has no fourth channel.
///
/// Values beyond what the format holds become the nearest that it holds: 0 or 1 in `Rgba8Unorm`, ±65504 in `Rgba16Float`. A NaN is
/// stored as 0 in `Rgba8Unorm`, and as a NaN in the others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TextureOutput {
    /// How the map becomes as large as the region, if it is not, as [`TextureInput::filter`] has it.
    pub filter: wgpu::FilterMode,
    /// Per channel: multiplies the value. What the input was divided by, for a network that gives what it takes.
    pub scale: [f32; 4],
    /// Per channel: added to the product. What was subtracted from the input, for a network that gives what it takes.
    pub offset: [f32; 4],
    /// The sample of the batch that is read.
    pub sample: u32,
    /// The frame of that sample; 0 for images.
    pub frame: u32,
}

impl Default for TextureOutput {
    /// Bilinear, of the first sample, with the values that the map has.
    fn default() -> Self {
        Self { filter: wgpu::FilterMode::Linear, scale: [1.0; 4], offset: [0.0; 4], sample: 0, frame: 0 }
    }
}

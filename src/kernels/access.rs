//! How a kernel uses what it binds.

/// How a kernel uses a storage buffer or a texture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Access {
    Read,
    Write,
    /// It reads it, and the buffer is bound as if it wrote it too.
    Shared,
    /// It loads texels of a 2D texture as floats.
    Texture,
    /// It stores texels of a 2D texture of this format.
    StorageTexture(TexelFormat),
}

/// A format that a kernel can write on every WebGPU device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum TexelFormat {
    Rgba8Unorm,
    Rgba16Float,
    R32Float,
    Rgba32Float,
}

impl TexelFormat {
    pub(crate) const ALL: [Self; 4] = [Self::Rgba8Unorm, Self::Rgba16Float, Self::R32Float, Self::Rgba32Float];

    pub(crate) fn of(format: wgpu::TextureFormat) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.wgpu() == format)
    }

    pub(crate) fn wgpu(self) -> wgpu::TextureFormat {
        match self {
            Self::Rgba8Unorm => wgpu::TextureFormat::Rgba8Unorm,
            Self::Rgba16Float => wgpu::TextureFormat::Rgba16Float,
            Self::R32Float => wgpu::TextureFormat::R32Float,
            Self::Rgba32Float => wgpu::TextureFormat::Rgba32Float,
        }
    }

    pub(crate) fn wgsl(self) -> &'static str {
        match self {
            Self::Rgba8Unorm => "rgba8unorm",
            Self::Rgba16Float => "rgba16float",
            Self::R32Float => "r32float",
            Self::Rgba32Float => "rgba32float",
        }
    }
}

//! The languages that kernels can be written in.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// A language of shaders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ShaderLanguage {
    /// WebGPU's.
    #[default]
    Wgsl,
    /// Vulkan's, of version 1.3, which Vulkan 1.1 takes.
    Spirv,
    /// Metal's.
    Msl,
    /// Direct3D's: shader model 5.1, or 6.2 for f16 and integers of 64 bits.
    Hlsl,
    /// OpenGL's and Godot's, of version 450. It has no f16.
    Glsl,
}

impl ShaderLanguage {
    const ALL: [Self; 5] = [Self::Wgsl, Self::Spirv, Self::Msl, Self::Hlsl, Self::Glsl];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Wgsl => "wgsl",
            Self::Spirv => "spirv",
            Self::Msl => "msl",
            Self::Hlsl => "hlsl",
            Self::Glsl => "glsl",
        }
    }

    /// How names of its files end.
    pub(super) fn extension(self) -> &'static str {
        match self {
            Self::Wgsl => "wgsl",
            Self::Spirv => "spv",
            Self::Msl => "metal",
            Self::Hlsl => "hlsl",
            Self::Glsl => "comp",
        }
    }

    /// The sides of the matrices that kernels for matrix units can have in it. Empty if such kernels cannot be written in it.
    pub fn matrix_sides(self) -> &'static [u32] {
        match self {
            Self::Spirv => &[8, 16],
            // Metal has no larger ones.
            Self::Msl => &[8],
            Self::Wgsl | Self::Hlsl | Self::Glsl => &[],
        }
    }
}

impl fmt::Display for ShaderLanguage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ShaderLanguage {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self, Error> {
        let names = Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|language| language.name() == s);
        found.ok_or_else(|| Error::argument("language", s, format!("must be one of {names}")))
    }
}

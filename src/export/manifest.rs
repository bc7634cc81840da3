//! What `manifest.json` says. These types are the format: the schema `docs/bundle.schema.json` and the tables of
//! `docs/bundle.md` are made from them and from their comments.

use serde::{Deserialize, Serialize};

use super::language::ShaderLanguage;

/// The version of the format. A change that a player must know about makes a new one.
pub const VERSION: u32 = 1;

/// The file manifest.json of a bundle: all that a program needs to run the kernels in the folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The version of this format: 1. A player refuses a version that it does not know.
    #[cfg_attr(test, schemars(range(min = 1, max = 1)))]
    pub octconv_bundle: u32,
    /// The program that wrote the bundle, and its version.
    pub generator: String,
    /// The name of the network, or "layer".
    pub name: String,
    /// The language of the kernels.
    pub language: ShaderLanguage,
    /// What the device must have.
    pub requires: Requires,
    /// The other files of the folder.
    pub files: Vec<File>,
    /// The buffers that the player makes. Others name them by their place in this list, from 0 on.
    pub buffers: Vec<Buffer>,
    /// What the player writes before the dispatches.
    pub inputs: Vec<Tensor>,
    /// What the player reads after the dispatches.
    pub outputs: Vec<Tensor>,
    /// The kernels. Dispatches name them by their place in this list, from 0 on.
    pub kernels: Vec<Kernel>,
    /// The dispatches, in order. Each must see all that those before it have written.
    pub dispatches: Vec<Dispatch>,
    /// Which bytes of the buffers without a file hold what, and how long. Only for a player that wants to place them itself.
    pub regions: Vec<Region>,
    /// How a picture becomes the input. Absent if the input is no picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picture: Option<PictureRule>,
    /// The names of the classes, in the order of the output's elements. Empty if they have none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// The licences of what the bundle contains.
    pub licences: Vec<Licence>,
    /// An input and the right answer, to test a player with. Absent unless it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub example: Option<Example>,
}

/// What a device must have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Requires {
    /// The features. Empty for kernels that every WebGPU device runs.
    pub features: Vec<Feature>,
    /// The limits.
    pub limits: Limits,
    /// The fewest and the most threads of a subgroup that the kernels were made for. They are wrong on a device with larger
    /// subgroups. Absent unless a feature is cooperative_matrix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subgroup_sizes: Option<[u32; 2]>,
    /// The matrices that a subgroup must multiply. Absent unless a feature is cooperative_matrix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matrix: Option<Matrix>,
}

/// Square matrices of which a subgroup multiplies two, and adds a third one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Matrix {
    /// Their rows and columns: 8 or 16.
    pub side: u32,
    /// The type of the elements that are multiplied.
    pub factors: ElementType,
    /// The type of the elements of sums.
    pub sums: ElementType,
}

/// A feature of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Feature {
    /// Numbers of 16 bits in buffers and in arithmetic. WebGPU: `shader-f16`.
    ShaderF16,
    /// Integers of 64 bits.
    ShaderInt64,
    /// Subgroup operations.
    Subgroups,
    /// Products of matrices by subgroups.
    CooperativeMatrix,
}

/// The least that a device must allow, by the names of WebGPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Bytes of the largest buffer.
    pub max_buffer_size: u64,
    /// Bytes of the largest range that is bound with access read or read_write.
    pub max_storage_buffer_binding_size: u64,
    /// Bytes of the largest range that is bound with access uniform.
    pub max_uniform_buffer_binding_size: u64,
    /// The most buffers of a kernel that are bound with access read or read_write.
    pub max_storage_buffers_per_shader_stage: u32,
    /// The most bytes of workgroup memory of a kernel.
    pub max_compute_workgroup_storage_size: u32,
    /// The most threads of a workgroup.
    pub max_compute_invocations_per_workgroup: u32,
    /// The most threads of a workgroup along x.
    pub max_compute_workgroup_size_x: u32,
    /// The most workgroups of a dispatch, in x or in y.
    pub max_compute_workgroups_per_dimension: u32,
    /// All offsets of bindings are multiples of this: the device's own alignment of storage buffers must divide it. Offsets
    /// in the uniform buffer are multiples of 256 too, which every device takes.
    pub offset_alignment: u32,
}

/// A file of the folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Its path, from the folder on. Folders are parted by /.
    pub path: String,
    /// Its bytes.
    pub bytes: u64,
}

/// A buffer that the player makes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Buffer {
    /// Its name, for tools.
    pub name: String,
    /// Its bytes, a multiple of 4.
    pub bytes: u64,
    /// How kernels use it.
    pub usage: Usage,
    /// The file that has its contents, all of them from the file's first byte on. If it is absent, its contents do not matter
    /// at the beginning, except those that inputs name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

/// How kernels use a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Usage {
    /// As a uniform buffer. A file has its contents.
    Uniform,
    /// As a storage buffer that nobody writes. A file has its contents.
    Constant,
    /// As a storage buffer that kernels write.
    Storage,
}

/// A tensor that the player writes or reads. Its elements are contiguous, the last axis fastest, with the lowest byte first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Tensor {
    /// Its name. A map of a network is NODE.h and NODE.l, or one of them; its input is `input`. A layer has x_h, x_l, x_p,
    /// residual_h, residual_l, y_h and y_l.
    pub name: String,
    /// The type of its elements.
    pub dtype: ElementType,
    /// [batch, channels, rows, columns]; [batch, channels, frames, rows, columns] for clips; [batch, elements] for vectors.
    pub shape: Vec<u32>,
    /// The buffer that it lies in.
    pub buffer: usize,
    /// Bytes in front of its first element.
    pub offset: u64,
    /// Its bytes, a multiple of 4: with an odd number of f16 elements there are two bytes more, which do not matter.
    pub bytes: u64,
}

/// The type of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ElementType {
    /// IEEE 754 of 32 bits.
    F32,
    /// IEEE 754 of 16 bits.
    F16,
}

/// A kernel: a compute shader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Kernel {
    /// Its name, for tools.
    pub name: String,
    /// The file that has its code.
    pub file: String,
    /// The name of its entry point in the file.
    pub entry_point: String,
    /// The version of the language that it needs: 1.3 for SPIR-V, 2.1 and so on for MSL, a shader model such as 5.1 for HLSL,
    /// 450 for GLSL. Empty for WGSL.
    pub language_version: String,
    /// Threads of a workgroup in x, y and z. SPIR-V, HLSL and GLSL have it in the code too; Metal needs it for each dispatch.
    pub workgroup_size: [u32; 3],
    /// Bytes of each variable in workgroup memory, in order. Metal needs them: the nth is the length of threadgroup memory n.
    pub workgroup_memory: Vec<u32>,
    /// The index of one more buffer in MSL. It has 4 bytes for each binding with access read or read_write, and no kernel reads
    /// them. Absent in other languages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sizes_index: Option<u32>,
    /// What it binds, in order.
    pub bindings: Vec<Binding>,
}

/// Something that a kernel binds: a range of a buffer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Binding {
    /// The bind group of WGSL, descriptor set of SPIR-V, and register space of HLSL: 0.
    pub group: u32,
    /// The binding of WGSL, SPIR-V and GLSL. In GLSL storage buffers are numbered from 0 on, and the uniform buffer behind them;
    /// in other languages the uniform buffer is 0.
    pub binding: u32,
    /// How the kernel uses it.
    pub access: Access,
    /// The register of HLSL, such as b0, t1 or u0: each letter is numbered from 0 on. Absent in other languages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub register: Option<String>,
    /// The index of MSL, as in `[[buffer(2)]]`. Absent in other languages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
}

/// How a kernel uses what it binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// A uniform buffer: `cbuffer` in HLSL, `constant` in MSL.
    Uniform,
    /// A storage buffer that it reads: `ByteAddressBuffer` in HLSL, `device const` in MSL.
    Read,
    /// A storage buffer that it writes, or that is bound as if it did: `RWByteAddressBuffer` in HLSL, `device` in MSL.
    ReadWrite,
}

/// A run of a kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Dispatch {
    /// The name of the network's node whose work it does, for tools.
    pub node: String,
    /// The kernel.
    pub kernel: usize,
    /// Workgroups in x, y and z.
    pub workgroups: [u32; 3],
    /// The ranges that are bound: one for each of the kernel's bindings, in their order.
    pub bindings: Vec<Range>,
}

/// A range of a buffer that is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// The binding, as in the kernel's.
    pub binding: u32,
    /// The buffer.
    pub buffer: usize,
    /// Its first byte: a multiple of the limit offset_alignment, and in a uniform buffer of 256 too.
    pub offset: u64,
    /// Its bytes. A kernel stays within them.
    pub bytes: u64,
}

/// Bytes of a buffer without a file, and how long they are needed. Regions that share bytes are never needed together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Region {
    /// The buffer.
    pub buffer: usize,
    /// The first byte.
    pub offset: u64,
    /// The bytes.
    pub bytes: u64,
    /// The first dispatch that uses it, from 0 on. 0 for an input.
    pub first: usize,
    /// The last dispatch that uses it. For inputs and outputs it is the number of dispatches: the bundle may then run again
    /// without a new input.
    pub last: usize,
}

/// How a picture becomes the input: it is resized, and each value v of a channel, from 0 to 255, becomes
/// (v / 255 - mean) / std. The channels are red, green and blue, or grey alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PictureRule {
    /// 1 for grey, 3 for red, green and blue.
    pub channels: u32,
    /// Rows of the input.
    pub height: u32,
    /// Columns of the input.
    pub width: u32,
    /// How the picture is resized.
    pub resize: ResizeRule,
    /// For each channel.
    pub mean: Vec<f32>,
    /// For each channel.
    pub std: Vec<f32>,
    /// Whether dark and light are swapped if the picture's border is light.
    pub invert_if_light: bool,
}

/// How a picture is resized to rows and columns of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ResizeRule {
    /// The whole picture is scaled.
    Fit,
    /// "crop" in a description. It is scaled evenly until it covers 256/224 of the input's rows and columns, and the middle is taken.
    Cover,
    /// It is scaled evenly until its shorter side has so many pixels, and the middle is taken.
    Shorter(u32),
}

/// The licence of a part of the bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Licence {
    /// What it is of: "kernels" or "weights".
    pub of: String,
    /// An expression of SPDX, or other words.
    pub licence: String,
}

/// An input, and the answer of the CPU reference, which computes in f64.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Example {
    /// The contents of each input, in the order of inputs, ready to be written.
    pub inputs: Vec<Contents>,
    /// The right contents of each output, in the order of outputs, as f32 whatever the output's own type.
    pub outputs: Vec<Contents>,
    /// How far an element of an output may be from the right one.
    pub tolerance: f64,
}

/// Bytes of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Contents {
    /// The file.
    pub file: String,
    /// The first byte.
    pub offset: u64,
    /// The bytes.
    pub bytes: u64,
}

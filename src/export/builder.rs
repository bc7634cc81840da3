//! Puts a bundle together, dispatch by dispatch.

use std::collections::HashMap;

use super::bundle::{Bundle, BundleOptions, json};
use super::language::ShaderLanguage;
use super::manifest::*;
use super::shader;
use crate::device::DeviceFacts;
use crate::dims::Dims;
use crate::error::{Error, Presence};
use crate::kernels;
use crate::kernels::Step;
use crate::kernels::job::TensorId;
use crate::memory;
use crate::precision::Dtype;

/// The least alignment of uniforms and weights: every WebGPU device takes its multiples.
const ALIGNMENT: u64 = 256;
/// The buffer of uniforms.
const UNIFORMS: usize = 0;

/// Where a tensor lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    pub(super) buffer: usize,
    pub(super) offset: u64,
    pub(super) bytes: u64,
    /// The region of a tensor that is no weight.
    pub(super) region: Option<usize>,
}

/// A bundle that is being made.
pub(super) struct Builder {
    language: ShaderLanguage,
    /// Offsets of uniforms and weights are multiples of it.
    alignment: u64,
    max_buffer_size: u64,
    /// The side of the matrices of kernels for matrix units.
    matrix: Option<u32>,
    subgroup_sizes: [u32; 2],
    features: Vec<Feature>,
    buffers: Vec<Buffer>,
    regions: Vec<Region>,
    kernels: Vec<Kernel>,
    /// The index of each kernel.
    known: HashMap<kernels::Kernel, usize>,
    dispatches: Vec<Dispatch>,
    files: Vec<File>,
    contents: Vec<Vec<u8>>,
    uniforms: Vec<u8>,
    /// The buffers of weights, the last one of which grows.
    weights: Vec<(usize, Vec<u8>)>,
}

impl Builder {
    pub(super) fn new(language: ShaderLanguage, facts: &DeviceFacts) -> Self {
        let uniforms =
            Buffer { name: "uniforms".into(), bytes: 0, usage: Usage::Uniform, file: Some("uniforms.bin".into()) };
        Self {
            language,
            alignment: ALIGNMENT.max(facts.limits.min_storage_buffer_offset_alignment.into()),
            max_buffer_size: facts.limits.max_buffer_size,
            matrix: facts.matrix,
            subgroup_sizes: facts.subgroup_sizes,
            features: Vec::new(),
            buffers: vec![uniforms],
            regions: Vec::new(),
            kernels: Vec::new(),
            known: HashMap::new(),
            dispatches: Vec::new(),
            files: Vec::new(),
            contents: Vec::new(),
            uniforms: Vec::new(),
            weights: Vec::new(),
        }
    }

    /// A buffer that kernels write, and whose contents do not matter at the beginning.
    pub(super) fn buffer(&mut self, name: String, bytes: u64) -> usize {
        self.buffers.push(Buffer { name, bytes, usage: Usage::Storage, file: None });
        self.buffers.len() - 1
    }

    /// A region of such a buffer. Dispatches that use it follow.
    pub(super) fn region(&mut self, buffer: usize, offset: u64, bytes: u64) -> Spot {
        self.regions.push(Region { buffer, offset, bytes, first: usize::MAX, last: 0 });
        Spot { buffer, offset, bytes, region: Some(self.regions.len() - 1) }
    }

    /// A place for weights.
    pub(super) fn weights(&mut self, bytes: &[u8]) -> Result<Spot, Error> {
        let size = (bytes.len() as u64).next_multiple_of(4);
        let (alignment, most) = (self.alignment, self.max_buffer_size);
        let end = |held: &Vec<u8>| (held.len() as u64).next_multiple_of(alignment);
        let full = |(_, held): &(usize, Vec<u8>)| end(held) + size > most;
        if self.weights.last().is_none_or(full) {
            let name = format!("weights-{}", self.weights.len());
            let file = Some(format!("{name}.bin"));
            self.buffers.push(Buffer { name, bytes: 0, usage: Usage::Constant, file });
            self.weights.push((self.buffers.len() - 1, Vec::new()));
        }
        let Some((buffer, held)) = self.weights.last_mut() else {
            return Err(Error::argument("weights", "none", "must be in a buffer"));
        };
        let offset = end(held);
        memory::grow(held, offset - held.len() as u64 + size, "packing weights")?;
        held.resize(offset as usize, 0);
        held.extend_from_slice(bytes);
        held.resize((offset + size) as usize, 0);
        self.buffers[*buffer].bytes = offset + size;
        Ok(Spot { buffer: *buffer, offset, bytes: size, region: None })
    }

    /// Adds a dispatch, whose tensors lie where `spot` says.
    pub(super) fn dispatch(
        &mut self,
        node: &str,
        step: &Step,
        spot: impl Fn(TensorId) -> Option<Spot>,
    ) -> Result<(), Error> {
        let spots = step
            .tensors
            .iter()
            .map(|&id| spot(id).ok_or(Error::Presence { tensor: id.name(), presence: Presence::Missing }));
        let spots: Vec<Spot> = spots.collect::<Result<_, _>>()?;
        let at = self.dispatches.len();
        for region in spots.iter().filter_map(|spot| spot.region) {
            let region = &mut self.regions[region];
            (region.first, region.last) = (region.first.min(at), at);
        }
        let buffers: Vec<_> = spots.iter().map(|spot| Some(spot.buffer)).collect();
        let kernel = step.kernel_in(&buffers, false);
        let places: Vec<_> =
            spots.iter().map(|spot| Some((spot.buffer, spot.offset..spot.offset + spot.bytes))).collect();
        // Other languages allow it.
        if self.language == ShaderLanguage::Wgsl
            && let Some([a, b]) = step.alias(&kernel, &places)
        {
            let [a, b] = [a.name(), b.name()];
            let why =
                format!("must be false in WGSL: {a} and {b} share bytes, which WebGPU forbids if one is read_write");
            return Err(Error::argument("one_buffer", true, why));
        }
        let kernel = self.kernel(&kernel)?;
        let offset = (self.uniforms.len() as u64).next_multiple_of(self.alignment);
        self.uniforms.resize(offset as usize, 0);
        self.uniforms.extend_from_slice(&step.shape);
        let uniform = Spot { buffer: UNIFORMS, offset, bytes: step.shape.len() as u64, region: None };
        let range = |(at, Spot { buffer, offset, bytes, .. }): (&Binding, _)| Range {
            binding: at.binding,
            buffer,
            offset,
            bytes,
        };
        let bindings =
            self.kernels[kernel].bindings.iter().zip([uniform].into_iter().chain(spots)).map(range).collect();
        let workgroups = [step.grid.x, step.grid.y, 1];
        self.dispatches.push(Dispatch { node: node.to_owned(), kernel, workgroups, bindings });
        Ok(())
    }

    /// The index of a kernel, which is written if it is new.
    fn kernel(&mut self, kernel: &kernels::Kernel) -> Result<usize, Error> {
        if let Some(&index) = self.known.get(kernel) {
            return Ok(index);
        }
        let index = self.kernels.len();
        let name = kernel.name();
        let plain: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let file = format!("shaders/{index:03}-{plain}.{}", self.language.extension());
        let accesses = kernel.accesses().into_iter().map(|access| match access {
            kernels::Access::Read => Ok(Access::Read),
            kernels::Access::Write | kernels::Access::Shared => Ok(Access::ReadWrite),
            kernels::Access::Texture | kernels::Access::StorageTexture(_) => {
                Err(Error::argument("kernel", &name, "must bind no textures"))
            }
        });
        let accesses = [Ok(Access::Uniform)].into_iter().chain(accesses).collect::<Result<Vec<_>, _>>()?;
        let numbers = shader::numbers(&accesses, self.language);
        let shader = shader::write(&name, &kernel.source(), &numbers, self.language)?;
        let binding = |(i, (access, number)): (u32, (Access, u32))| {
            let letter = match access {
                Access::Uniform => 'b',
                Access::Read => 't',
                Access::ReadWrite => 'u',
            };
            let register = (self.language == ShaderLanguage::Hlsl).then(|| format!("{letter}{number}"));
            let index = (self.language == ShaderLanguage::Msl).then_some(number);
            let binding = if self.language == ShaderLanguage::Glsl { number } else { i };
            Binding { group: 0, binding, access, register, index }
        };
        let bindings: Vec<_> = (0..).zip(accesses.into_iter().zip(numbers)).map(binding).collect();
        let sizes_index = (self.language == ShaderLanguage::Msl).then_some(bindings.len() as u32);
        self.features.extend(shader.features);
        self.kernels.push(Kernel {
            name,
            file: file.clone(),
            entry_point: shader.entry_point,
            language_version: shader.version.into(),
            workgroup_size: shader.workgroup_size,
            workgroup_memory: shader.workgroup_memory,
            sizes_index,
            bindings,
        });
        self.file(file, shader.code);
        self.known.insert(kernel.clone(), index);
        Ok(index)
    }

    fn file(&mut self, path: String, bytes: Vec<u8>) {
        self.files.push(File { path, bytes: bytes.len() as u64 });
        self.contents.push(bytes);
    }

    /// The bundle of what was added. The contents of inputs and outputs are kept to the end.
    pub(super) fn finish(
        mut self,
        name: String,
        inputs: Vec<(Tensor, Spot)>,
        outputs: Vec<(Tensor, Spot)>,
        picture: Option<PictureRule>,
        options: BundleOptions,
    ) -> Bundle {
        for region in &mut self.regions {
            // One that no dispatch uses, such as the input of a network that does not read it.
            region.first = region.first.min(region.last);
        }
        for (i, (_, spot)) in inputs.iter().chain(&outputs).enumerate() {
            let Some(region) = spot.region.and_then(|region| self.regions.get_mut(region)) else { continue };
            region.last = self.dispatches.len();
            if i < inputs.len() {
                region.first = 0;
            }
        }
        // Some devices bind uniforms in multiples of the alignment.
        let bytes = (self.uniforms.len() as u64).next_multiple_of(self.alignment);
        self.uniforms.resize(bytes as usize, 0);
        self.buffers[UNIFORMS].bytes = bytes;
        let uniforms = std::mem::take(&mut self.uniforms);
        self.file("uniforms.bin".into(), uniforms);
        for (buffer, bytes) in std::mem::take(&mut self.weights) {
            self.file(format!("{}.bin", self.buffers[buffer].name), bytes);
        }
        self.file("LICENSE-MIT".into(), include_bytes!("../../LICENSE-MIT").to_vec());
        self.file("LICENSE-APACHE".into(), include_bytes!("../../LICENSE-APACHE").to_vec());
        self.features.sort_unstable();
        self.features.dedup();
        let tensors = |list: Vec<(Tensor, Spot)>| list.into_iter().map(|(tensor, _)| tensor).collect();
        let licence = |of: &str, licence: String| Licence { of: of.into(), licence };
        let weights = options.weights_licence.unwrap_or_else(|| "not stated".into());
        let matrices = self.features.contains(&Feature::CooperativeMatrix);
        let manifest = Manifest {
            octconv_bundle: VERSION,
            generator: concat!("octconv ", env!("CARGO_PKG_VERSION")).into(),
            name,
            language: self.language,
            requires: Requires {
                limits: self.limits(),
                features: self.features,
                subgroup_sizes: matrices.then_some(self.subgroup_sizes),
                matrix: self.matrix.filter(|_| matrices).map(|side| Matrix {
                    side,
                    factors: ElementType::F16,
                    sums: ElementType::F32,
                }),
            },
            files: self.files,
            buffers: self.buffers,
            inputs: tensors(inputs),
            outputs: tensors(outputs),
            kernels: self.kernels,
            dispatches: self.dispatches,
            regions: self.regions,
            picture,
            labels: options.labels,
            licences: vec![licence("kernels", env!("CARGO_PKG_LICENSE").into()), licence("weights", weights)],
            example: None,
        };
        Bundle { json: json(&manifest), manifest, contents: self.contents }
    }

    /// The least that a device must allow.
    fn limits(&self) -> Limits {
        let ranges = |uniform: bool| {
            let of_dispatch = |dispatch: &Dispatch| {
                let all = self.kernels[dispatch.kernel].bindings.iter().zip(dispatch.bindings.clone());
                all.filter(move |(binding, _)| (binding.access == Access::Uniform) == uniform)
                    .map(|(_, range)| range.bytes)
                    .max()
            };
            self.dispatches.iter().filter_map(of_dispatch).max().unwrap_or(0)
        };
        let kernels = |count: &dyn Fn(&Kernel) -> u32| self.kernels.iter().map(count).max().unwrap_or(0);
        let offsets = self.dispatches.iter().flat_map(|dispatch| &dispatch.bindings).fold(0, |all, at| all | at.offset);
        Limits {
            max_buffer_size: self.buffers.iter().map(|buffer| buffer.bytes).max().unwrap_or(0),
            max_storage_buffer_binding_size: ranges(false),
            max_uniform_buffer_binding_size: ranges(true),
            // All bindings but the uniform.
            max_storage_buffers_per_shader_stage: kernels(&|kernel| kernel.bindings.len() as u32 - 1),
            max_compute_workgroup_storage_size: kernels(&|kernel| {
                // WebGPU counts each variable in multiples of 16.
                kernel.workgroup_memory.iter().map(|bytes| bytes.next_multiple_of(16)).sum()
            }),
            max_compute_invocations_per_workgroup: kernels(&|kernel| kernel.workgroup_size.iter().product()),
            max_compute_workgroup_size_x: kernels(&|kernel| kernel.workgroup_size[0]),
            max_compute_workgroups_per_dimension: self
                .dispatches
                .iter()
                .flat_map(|dispatch| dispatch.workgroups)
                .max()
                .unwrap_or(0),
            offset_alignment: 1 << offsets.trailing_zeros().min(self.alignment.trailing_zeros()),
        }
    }
}

/// A tensor as the manifest lists it. `clip`: whether it has an axis of frames.
pub(super) fn tensor(name: String, dims: Dims, clip: bool, dtype: Dtype, spot: Spot) -> (Tensor, Spot) {
    let Dims { n, c, t, h, w } = dims;
    let shape = if clip { vec![n, c, t, h, w] } else { vec![n, c, h, w] };
    shaped(name, shape, dtype, spot)
}

/// The same with any shape.
pub(super) fn shaped(name: String, shape: Vec<u32>, dtype: Dtype, spot: Spot) -> (Tensor, Spot) {
    let dtype = match dtype {
        Dtype::F32 => ElementType::F32,
        Dtype::F16 => ElementType::F16,
    };
    let Spot { buffer, offset, bytes, .. } = spot;
    (Tensor { name, dtype, shape, buffer, offset, bytes }, spot)
}

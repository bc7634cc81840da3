//! Runs single steps for the tests of kernels, and lets naga translate them for every backend.
//!
//! Every tensor lies between two guard bands of NaN, and outputs start as NaN. A read outside of a tensor shows in the
//! result, and a write outside shows in a band.

use std::sync::OnceLock;

use naga::back::{hlsl, msl, spv};
use naga::valid::{Capabilities, ValidationFlags, Validator};

use crate::context::{Context, ContextOptions, decode, encode};
use crate::device::DeviceFacts;
use crate::engine::Layer;
use crate::kernels::Step;
use crate::kernels::job::TensorId;
use crate::kernels::types::ELEMENTWISE_WORKGROUP;
use crate::noise::Noise;
use crate::precision::Dtype;

/// The bytes of guard bands, and of outputs before a step: NaN as f32 and as f16.
const POISON: u8 = 0xff;

/// A device with wgpu's default limits and no features, and a device with all limits and features of the adapter.
pub(crate) fn contexts() -> &'static [Context; 2] {
    static CONTEXTS: OnceLock<[Context; 2]> = OnceLock::new();
    CONTEXTS.get_or_init(|| {
        [true, false].map(|default_device| {
            let options = ContextOptions { default_device, ..ContextOptions::default() };
            Context::new(&options).unwrap_or_else(|error| panic!("{error}"))
        })
    })
}

/// The facts of a device as a GPU, as a software device, and as a GPU with small workgroups and grids that fold.
pub(crate) fn facts(context: &Context) -> [DeviceFacts; 3] {
    let [gpu, software] = [false, true].map(|software| DeviceFacts { software, ..context.engine().facts().clone() });
    let mut small = gpu.clone();
    small.limits.max_compute_invocations_per_workgroup = ELEMENTWISE_WORKGROUP;
    small.limits.max_compute_workgroup_storage_size = 2048;
    small.limits.max_compute_workgroups_per_dimension = 61;
    [gpu, software, small]
}

/// Numbers in [-1, 1), rounded to `dtype`.
pub(crate) fn values(seed: u64, elements: u64, dtype: Dtype) -> Vec<f32> {
    let values = Noise::new("values", seed).values(elements, 1.0);
    round(&values, dtype)
}

/// `values`, rounded to `dtype`.
pub(crate) fn round(values: &[f32], dtype: Dtype) -> Vec<f32> {
    let mut rounded = decode(&encode(values, dtype), dtype);
    rounded.truncate(values.len());
    rounded
}

/// What a step should write into `YH`.
pub(crate) struct Wanted {
    pub(crate) dtype: Dtype,
    /// `None` for an element that must not be written.
    pub(crate) values: Vec<Option<f64>>,
    /// The largest error of sums in f32. Rounding to `dtype` may add to it.
    pub(crate) error: f64,
}

impl Wanted {
    pub(crate) fn whole(values: impl IntoIterator<Item = f64>, error: f64) -> Self {
        Self { dtype: Dtype::F32, values: values.into_iter().map(Some).collect(), error }
    }
}

/// Runs a step and compares `YH`. A failure names `case`. A step that needs f16 is only translated if the device has
/// none.
pub(crate) fn check(case: &str, context: &Context, step: &Step, inputs: &[(TensorId, Vec<u8>)], wanted: &Wanted) {
    check_all(case, context, step, inputs, &[(TensorId::YH, wanted)]);
}

/// Like [`check`], with several outputs.
pub(crate) fn check_all(
    case: &str,
    context: &Context,
    step: &Step,
    inputs: &[(TensorId, Vec<u8>)],
    wanted: &[(TensorId, &Wanted)],
) {
    let source = translate(step);
    if source.starts_with("enable f16;") && !context.device().features().contains(wgpu::Features::SHADER_F16) {
        return;
    }
    let guard = u64::from(context.device().limits().min_storage_buffer_offset_alignment);
    let place = |contents: &[u8]| {
        let size = contents.len() as u64 + 2 * guard;
        let buffer = context.tensor(size / 4, Dtype::F32).unwrap_or_else(|error| panic!("{case}: {error}"));
        context.queue().write_buffer(&buffer, 0, &vec![POISON; size as usize]);
        context.queue().write_buffer(&buffer, guard, contents);
        buffer
    };
    let outputs = wanted.iter().map(|(id, wanted)| (*id, place(&vec![POISON; wanted.bytes() as usize])));
    let buffers: Vec<_> = outputs.chain(inputs.iter().map(|(id, contents)| (*id, place(contents)))).collect();
    let buffer = |id: TensorId| buffers.iter().find(|(other, _)| *other == id).map(|(_, buffer)| buffer);
    let (uniform, _) = context.engine().uniforms(std::iter::once(step)).unwrap();
    let dispatch = context.engine().dispatch(step, uniform.as_entire_buffer_binding(), |id| {
        // The band after the tensor is bound too, because drivers drop writes beyond a binding, and read zeros there.
        Some(wgpu::BufferBinding { buffer: buffer(id)?, offset: guard, size: None })
    });
    let features = context.engine().facts().features;
    let dispatches = vec![dispatch.unwrap_or_else(|error| panic!("{case}: {error}"))];
    let layer = Layer { features, dispatches, own: Vec::new() };
    context.run(&[&layer]).unwrap_or_else(|error| panic!("{case}: {error}"));
    for &(id, wanted) in wanted {
        let read = context.read_bytes(buffer(id).unwrap(), 0, wanted.bytes() + 2 * guard);
        let read = read.unwrap_or_else(|error| panic!("{case}: {error}"));
        wanted.compare(&format!("{case}: {id:?}"), &read, guard as usize);
    }
}

impl Wanted {
    fn bytes(&self) -> u64 {
        (self.values.len() as u64 * self.dtype.bytes()).next_multiple_of(4)
    }

    /// Compares this with `read`: the bytes of the output between two guard bands of `guard` bytes.
    fn compare(&self, case: &str, read: &[u8], guard: usize) {
        let (before, rest) = read.split_at(guard);
        let (inside, behind) = rest.split_at(self.bytes() as usize);
        assert!(before.iter().chain(behind).all(|&byte| byte == POISON), "{case}: wrote outside of its output");
        let element = self.dtype.bytes() as usize;
        let found = decode(inside, self.dtype);
        for (i, (wanted_value, raw)) in self.values.iter().zip(inside.chunks_exact(element)).enumerate() {
            match *wanted_value {
                None => {
                    assert!(raw.iter().all(|&byte| byte == POISON), "{case}: wrote element {i}, outside of its slice");
                }
                Some(value) => {
                    // As in src/verify/mod.rs: a value may be rounded up or down, and subnormals may become zero.
                    let storing = if self.dtype == Dtype::F16 { value.abs() / 1024.0 + 1.0 / 16384.0 } else { 0.0 };
                    // Infinities of the same sign are equal, and a NaN is expected as a NaN.
                    let found_value = f64::from(found[i]);
                    if found_value == value || found_value.is_nan() && value.is_nan() {
                        continue;
                    }
                    let error = (found_value - value).abs();
                    assert!(error <= self.error + storing, "{case}: element {i} is {}, not {value}", found[i]);
                }
            }
        }
    }
}

/// Lets naga parse and validate a step's source, and translate it to SPIR-V, MSL and HLSL. Compares what host and
/// shader must agree on. Returns the source.
pub(crate) fn translate(step: &Step) -> String {
    let source = step.kernel.source();
    let module = naga::front::wgsl::parse_str(&source);
    let module = module.unwrap_or_else(|error| panic!("{}\n{source}", error.emit_to_string(&source)));
    let mut capabilities = Capabilities::SHADER_FLOAT16_IN_FLOAT32;
    if source.starts_with("enable f16;") {
        capabilities |= Capabilities::SHADER_FLOAT16;
    }
    if source.contains("u64") {
        capabilities |= Capabilities::SHADER_INT64;
    }
    let info = Validator::new(ValidationFlags::all(), capabilities).validate(&module);
    let info = info.unwrap_or_else(|error| panic!("{}\n{source}", error.emit_to_string(&source)));

    let size = |space: naga::AddressSpace| {
        let variables = module.global_variables.iter().filter(move |(_, variable)| variable.space == space);
        variables.map(|(_, variable)| module.types[variable.ty].inner.size(module.to_ctx())).sum::<u32>()
    };
    assert_eq!(size(naga::AddressSpace::Uniform), step.shape.len() as u32, "{source}");
    assert!(step.shape.len().is_multiple_of(16), "{source}");
    assert!(size(naga::AddressSpace::WorkGroup) <= wgpu::Limits::default().max_compute_workgroup_storage_size);
    assert_eq!(step.kernel.accesses().len(), step.tensors.len(), "{source}");

    spv::write_vec(&module, &info, &spv::Options::default(), None).unwrap_or_else(|error| panic!("{error}\n{source}"));
    let options = msl::Options { lang_version: (2, 0), ..msl::Options::default() };
    let written = msl::write_string(&module, &info, &options, &msl::PipelineOptions::default());
    written.unwrap_or_else(|error| panic!("{error}\n{source}"));
    let f16 = source.starts_with("enable f16;");
    let shader_model = if f16 { hlsl::ShaderModel::V6_2 } else { hlsl::ShaderModel::V5_1 };
    let options = hlsl::Options { shader_model, ..hlsl::Options::default() };
    let mut text = String::new();
    let pipeline = hlsl::PipelineOptions::default();
    let written = hlsl::Writer::new(&mut text, &options, &pipeline).write(&module, &info, None);
    written.unwrap_or_else(|error| panic!("{error}\n{source}"));
    source
}

//! `octconv info`: the adapters of this machine, and the kernels that layers get on them.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use octconv::context::adapters;
use octconv::wgpu::{Adapter, CooperativeMatrixProperties, Features};
use octconv::{
    AdapterFacts, ContextOptions, DeviceFacts, Downsample, Dtype, InputSize, Options, Plan, Precision, Spec, TimeAxis,
};
use serde::{Deserialize, Serialize};

use crate::device::Device;
use crate::output::{one_line, print, print_json, thousands};

/// List adapters with the limits and features that matter to octconv, and the kernels that typical layers get.
///
/// Sizes are in bytes. Other limits count invocations, workgroups or buffers. Layers are planned for a device with all
/// limits of the adapter. Each dispatch has one kernel, named with its tile.
#[derive(clap::Args)]
pub struct Args {
    /// Print one JSON object: {"adapters": [...]}
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    adapters: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    #[serde(flatten)]
    about: About,
    layers: Vec<Choice>,
}

/// An adapter, with the limits and features that matter to octconv.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct About {
    /// Its name, as the driver gives it.
    pub name: String,
    /// vulkan, metal, dx12 or gl; webgpu in a browser.
    pub backend: String,
    /// DiscreteGpu, IntegratedGpu, VirtualGpu, Cpu or Other.
    pub device_type: String,
    /// The driver and its version.
    pub driver: String,
    pub limits: Limits,
    pub features: Abilities,
}

/// Limits of an adapter, named as in wgpu.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Limits {
    /// Bytes.
    pub max_storage_buffer_binding_size: u64,
    /// Bytes.
    pub max_buffer_size: u64,
    /// Buffers.
    pub max_storage_buffers_per_shader_stage: u32,
    /// Bytes.
    pub max_compute_workgroup_storage_size: u32,
    /// Threads.
    pub max_compute_invocations_per_workgroup: u32,
    /// Workgroups.
    pub max_compute_workgroups_per_dimension: u32,
    /// Bytes.
    pub min_storage_buffer_offset_alignment: u32,
}

/// What an adapter can do that octconv uses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Abilities {
    /// Whether it computes in f16.
    pub shader_f16: bool,
    /// Whether it has a clock of its own. If not, times are the host's.
    pub timestamp_query: bool,
    /// Whether shaders can use subgroups.
    pub subgroups: bool,
    /// Threads of its smallest subgroup.
    pub subgroup_min_size: u32,
    /// Threads of its largest subgroup.
    pub subgroup_max_size: u32,
    /// What its matrix units multiply.
    pub cooperative_matrices: Vec<Matrix>,
}

/// A cooperative matrix multiplication C += A * B.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Matrix {
    /// Rows of A and C.
    pub m: u32,
    /// Columns of B and C.
    pub n: u32,
    /// Columns of A, rows of B.
    pub k: u32,
    /// The type of A and B.
    pub ab: String,
    /// The type of C.
    pub c: String,
}

impl Matrix {
    /// The side of the matrices, if kernels can use them: square, of 8 or 16, with f16 factors and f32 sums.
    pub fn side(&self) -> Option<u32> {
        let square = self.m == self.n && self.n == self.k && matches!(self.m, 8 | 16);
        (square && self.ab == "f16" && self.c == "f32").then_some(self.m)
    }
}

/// What a layer gets.
#[derive(Serialize)]
struct Choice {
    layer: String,
    dtype: String,
    /// `None` if the layer cannot run.
    variant: Option<String>,
    kernels: Vec<String>,
    /// Why it cannot run.
    refused: Option<String>,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let adapters = adapters();
    if adapters.is_empty() {
        // Opening one fails with the library's own error.
        Device::require(&ContextOptions::default())?;
    }
    let report = Report { adapters: adapters.iter().map(Entry::of).collect::<Result<_>>()? };
    if args.json {
        print_json(&report)?;
    } else {
        print(&report.adapters.iter().map(Entry::text).collect::<Vec<_>>().join("\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Layers as networks have them, each with its name.
fn typical_layers() -> Result<Vec<(&'static str, Spec, InputSize)>> {
    let time = TimeAxis { kernel: 3, stride: 1, padding: 1, dilation: 1 };
    let image = |h| InputSize::image(1, h, h);
    let octave = |c_in, c_out| Spec::builder(c_in, c_out).alpha(0.5, 0.5);
    let spatial = |c_in, c_out| octave(c_in, c_out).kernel([3, 3]).same_padding();
    let stem = Spec::builder(3, 64).kernel([7, 7]).padding([3, 3]).stride(2).downsample(Downsample::StridedConv);
    Ok(vec![
        ("1x1, 256 to 64, alpha 0.5, 56x56", octave(256, 64).build()?, image(56)),
        ("3x3, 64 to 64, alpha 0.5, 56x56", spatial(64, 64).build()?, image(56)),
        ("3x3 stride 2, 128 to 128, alpha 0.5, 56x56", spatial(128, 128).stride(2).build()?, image(56)),
        ("depthwise 3x3, 256, alpha 0.5, 28x28", spatial(256, 256).depthwise().build()?, image(28)),
        ("3x3 in 32 groups, 256 to 256, alpha 0.5, 28x28", spatial(256, 256).groups(32).build()?, image(28)),
        ("7x7 stride 2, 3 to 64, plain, 224x224", stem.build()?, image(224)),
        ("3x1x1, 256 to 64, alpha 0.5, 8 x 28x28", octave(256, 64).time(time).build()?, InputSize::video(1, 8, 28, 28)),
    ])
}

impl Entry {
    fn of(adapter: &Adapter) -> Result<Self> {
        let facts = DeviceFacts::of_adapter(adapter);
        let shader_f16 = adapter.features().contains(Features::SHADER_F16);
        let dtypes = [Some(Dtype::F32), shader_f16.then_some(Dtype::F16)];
        let mut layers = Vec::new();
        for dtype in dtypes.into_iter().flatten() {
            let options = Options { precision: Precision::of(dtype), ..Options::default() };
            for (name, spec, size) in typical_layers()? {
                let plan = Plan::new(&spec, size, &options, &facts);
                layers.push(Choice {
                    layer: name.into(),
                    dtype: dtype.to_string(),
                    variant: plan.as_ref().ok().map(|plan| plan.variant().to_string()),
                    kernels: plan.as_ref().map(Plan::kernels).unwrap_or_default(),
                    refused: plan.err().map(|error| one_line(&error.to_string())),
                });
            }
        }
        Ok(Self { about: About::of(adapter), layers })
    }

    fn text(&self) -> String {
        let Self { about: About { name, backend, device_type, driver, limits, features }, layers } = self;
        let mut out = format!("{name}\n");
        let mut line = |key: &str, value: String| {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "  {key:<38} {value}");
        };
        let count = |value: u64| thousands(value.into());
        let yes = |ability: bool| String::from(if ability { "yes" } else { "no" });
        line("backend", backend.clone());
        line("device type", device_type.clone());
        line("driver", driver.clone());
        line("max_storage_buffer_binding_size", format!("{} bytes", count(limits.max_storage_buffer_binding_size)));
        line("max_buffer_size", format!("{} bytes", count(limits.max_buffer_size)));
        line("max_storage_buffers_per_shader_stage", count(limits.max_storage_buffers_per_shader_stage.into()));
        line(
            "max_compute_workgroup_storage_size",
            format!("{} bytes", count(limits.max_compute_workgroup_storage_size.into())),
        );
        line("max_compute_invocations_per_workgroup", count(limits.max_compute_invocations_per_workgroup.into()));
        line("max_compute_workgroups_per_dimension", count(limits.max_compute_workgroups_per_dimension.into()));
        line(
            "min_storage_buffer_offset_alignment",
            format!("{} bytes", count(limits.min_storage_buffer_offset_alignment.into())),
        );
        line("SHADER_F16", yes(features.shader_f16));
        line("TIMESTAMP_QUERY", yes(features.timestamp_query));
        let (min, max) = (features.subgroup_min_size, features.subgroup_max_size);
        let sizes = if min == max { format!(", of {min}") } else { format!(", of {min} to {max}") };
        line("SUBGROUP", yes(features.subgroups) + if features.subgroups { &sizes } else { "" });
        let matrices: Vec<String> = features.cooperative_matrices.iter().map(Matrix::to_string).collect();
        line("cooperative matrices", if matrices.is_empty() { "none".into() } else { matrices.join("; ") });
        for dtype in [Dtype::F32, Dtype::F16].map(|dtype| dtype.to_string()) {
            for (i, choice) in layers.iter().filter(|choice| choice.dtype == dtype).enumerate() {
                if i == 0 {
                    let _ = writeln!(out, "  layers in {dtype}");
                }
                let runs = match (&choice.variant, &choice.refused) {
                    (Some(variant), _) => format!("{variant}: {}", choice.kernels.join(", ")),
                    (None, refused) => format!("refused: {}", refused.as_deref().unwrap_or_default()),
                };
                let _ = writeln!(out, "    {:<48} {runs}", choice.layer);
            }
        }
        out
    }
}

impl About {
    pub fn of(adapter: &Adapter) -> Self {
        let (info, limits, features) = (adapter.get_info(), adapter.limits(), adapter.features());
        let [subgroup_min_size, subgroup_max_size] = DeviceFacts::of_adapter(adapter).subgroup_sizes;
        let mut matrices: Vec<Matrix> = Vec::new();
        for matrix in AdapterFacts::of(adapter).cooperative_matrices.iter().map(Matrix::of) {
            // Drivers list a shape several times, for properties that octconv ignores, such as saturation.
            if !matrices.contains(&matrix) {
                matrices.push(matrix);
            }
        }
        Self {
            name: one_line(&info.name),
            backend: info.backend.to_string(),
            device_type: format!("{:?}", info.device_type),
            driver: one_line(&format!("{} {}", info.driver, info.driver_info)),
            limits: Limits {
                max_storage_buffer_binding_size: limits.max_storage_buffer_binding_size,
                max_buffer_size: limits.max_buffer_size,
                max_storage_buffers_per_shader_stage: limits.max_storage_buffers_per_shader_stage,
                max_compute_workgroup_storage_size: limits.max_compute_workgroup_storage_size,
                max_compute_invocations_per_workgroup: limits.max_compute_invocations_per_workgroup,
                max_compute_workgroups_per_dimension: limits.max_compute_workgroups_per_dimension,
                min_storage_buffer_offset_alignment: limits.min_storage_buffer_offset_alignment,
            },
            features: Abilities {
                shader_f16: features.contains(Features::SHADER_F16),
                timestamp_query: features.contains(Features::TIMESTAMP_QUERY),
                subgroups: features.contains(Features::SUBGROUP),
                subgroup_min_size,
                subgroup_max_size,
                cooperative_matrices: matrices,
            },
        }
    }
}

impl Matrix {
    fn of(properties: &CooperativeMatrixProperties) -> Self {
        let CooperativeMatrixProperties { m_size, n_size, k_size, ab_type, cr_type, .. } = *properties;
        let scalar = |scalar| format!("{scalar:?}").to_lowercase();
        Self { m: m_size, n: n_size, k: k_size, ab: scalar(ab_type), c: scalar(cr_type) }
    }
}

impl std::fmt::Display for Matrix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { m, n, k, ab, c } = self;
        write!(f, "{m}x{n}x{k} {ab} into {c}")
    }
}

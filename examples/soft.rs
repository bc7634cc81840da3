//! Writes the WGSL of every kernel that some typical layers and networks get, and of the roofline's probes, as it goes to
//! the device: for reading, and for compilers that take WGSL (naga, tint, or a driver's own statistics).
//!
//! cargo run --example shaders -- FOLDER

use std::collections::HashSet;
use std::path::PathBuf;

use octconv::network::{Graph, NetworkOptions, NetworkPlan, zoo};
use octconv::wgpu::{Features, Limits};
use octconv::{DeviceFacts, Dtype, InputSize, Options, Plan, Precision, Spec};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("usage: shaders FOLDER")?);
    std::fs::create_dir_all(&folder)?;
    // A GPU with wgpu's default limits, but for workgroup memory; f16 on top, to see both types, and matrix units as AMD's have them.
    let features = Features::SHADER_F16 | Features::SUBGROUP | Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
    let limits = Limits { max_compute_workgroup_storage_size: 32768, ..Limits::default() };
    let features = Features::SHADER_INT64 | Features::SHADER_F16;
    let facts = DeviceFacts { features, limits, software: true, ..DeviceFacts::default() };
    let k3 = |c: u32, alpha: f64| Spec::builder(c, c).alpha(alpha, alpha).kernel([3, 3]).same_padding();
    let k1 = |c_in: u32, c_out: u32, alpha: f64| Spec::builder(c_in, c_out).alpha(alpha, alpha);
    let layers = [
        ("3x3", k3(64, 0.5), 56),
        ("3x3-small", k3(256, 0.5), 7),
        ("3x3-plain", k3(64, 0.0), 56),
        ("3x3-stride2", k3(128, 0.5).stride(2), 56),
        ("1x1", k1(256, 64, 0.5), 56),
        ("1x1-plain", k1(256, 64, 0.0), 56),
        ("1x1-quarter", k1(256, 64, 0.25), 56),
        ("1x1-stride2", k1(256, 512, 0.5).stride(2), 56),
        ("groups-of-2", k3(128, 0.5).groups(32), 56),
        ("depthwise", k3(128, 0.5).depthwise(), 56),
        ("7x7", k3(64, 0.5).kernel([7, 7]), 56),
    ];
    let mut seen = HashSet::new();
    for (name, builder, side) in layers {
        let spec = builder.build()?;
        for dtype in [Dtype::F32, Dtype::F16] {
            let options = Options {
                precision: Precision { activations: dtype, weights: dtype, sums: dtype },
                pooled_output: true,
                ..Options::default()
            };
            for plan in Plan::candidates(&spec, InputSize::image(1, side, side), &options, &facts) {
                let variant = plan.variant().to_string().replace('/', "-");
                for (i, source) in plan.sources().into_iter().enumerate() {
                    if seen.insert(source.clone()) {
                        std::fs::write(folder.join(format!("{name}-{dtype}-{variant}-{i}.wgsl")), source)?;
                    }
                }
            }
        }
    }
    for (name, alpha) in [("resnet50", 0.5), ("se-resnet50", 0.5), ("densenet121", 0.25), ("mobilenet-v2", 0.375)] {
        let graph = Graph::new(&zoo::build(name, &zoo::Settings { alpha, ..Default::default() })?)?;
        for dtype in [Dtype::F32, Dtype::F16] {
            let options = NetworkOptions { precision: Precision::of(dtype), ..Default::default() };
            let plan = NetworkPlan::new(&graph, InputSize::image(1, 224, 224), &options, &facts)?;
            for (kernel, source) in plan.sources() {
                if seen.insert(source.clone()) {
                    let kernel = kernel.replace(' ', "-");
                    std::fs::write(folder.join(format!("{name}-{dtype}-{kernel}-{}.wgsl", seen.len())), source)?;
                }
            }
        }
    }
    for (name, source) in octconv::roofline::sources() {
        std::fs::write(folder.join(format!("{}.wgsl", name.replace(", ", "-").replace(' ', "-"))), source)?;
    }
    println!("{} kernels in {}", seen.len(), folder.display());
    Ok(())
}

//! `octconv cost NETWORK`: what a network costs, compared with the plain network.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use octconv::network::{Graph, Network, NetworkOptions, NetworkPlan, TensorSpec};
use octconv::{DeviceFacts, Dtype, InputSize, Precision};
use serde::Serialize;

use crate::network_source::Source;
use crate::output::{print, print_json, shown, thousands};
use crate::size::Size;

#[derive(Serialize)]
struct Counts {
    macs: u64,
    params: u64,
    /// Bytes of all buffers.
    activation_bytes_peak: u64,
    /// Bytes if all values lie in one buffer.
    activation_bytes_in_one_buffer: u64,
    /// The most bytes that hold values at the same time.
    activation_bytes_live: u64,
}

impl Counts {
    fn of(network: &Network, size: InputSize, dtype: Dtype) -> Result<Self> {
        let graph = Graph::new(network)?;
        let cost = graph.cost(size)?;
        let options = NetworkOptions { precision: Precision::of(dtype), ..Default::default() };
        // A device without limits: the cost does not depend on what this machine can hold.
        let limits = ample_limits();
        let facts = DeviceFacts { limits, features: octconv::wgpu::Features::all(), ..DeviceFacts::default() };
        let plan = NetworkPlan::new(&graph, size, &options, &facts)?;
        let in_one = NetworkPlan::new(&graph, size, &NetworkOptions { one_buffer: true, ..options }, &facts)?;
        Ok(Self {
            macs: cost.macs,
            params: cost.params,
            activation_bytes_peak: plan.activation_bytes(),
            activation_bytes_in_one_buffer: in_one.activation_bytes(),
            activation_bytes_live: plan.live_bytes(),
        })
    }
}

fn ample_limits() -> octconv::wgpu::Limits {
    octconv::wgpu::Limits {
        max_buffer_size: u64::MAX,
        max_storage_buffer_binding_size: u64::MAX,
        max_storage_buffers_per_shader_stage: 16,
        ..Default::default()
    }
}

/// A tensor that a network wants.
#[derive(Serialize)]
struct Wanted {
    name: String,
    shape: Vec<usize>,
}

/// Prints the tensors that a network wants, in the order of its nodes.
pub fn list_tensors(network: &Network, json: bool) -> Result<ExitCode> {
    let tensors = Graph::new(network)?.tensors();
    let wanted: Vec<_> = tensors.into_iter().map(|TensorSpec { name, shape, .. }| Wanted { name, shape }).collect();
    if json {
        print_json(&wanted)?;
        return Ok(ExitCode::SUCCESS);
    }
    let width = wanted.iter().map(|tensor| shown(&tensor.name).chars().count()).max().unwrap_or(0);
    let line = |Wanted { name, shape }: &Wanted| format!("{:<width$}  {shape:?}\n", shown(name));
    print(&wanted.iter().map(line).collect::<String>())?;
    Ok(ExitCode::SUCCESS)
}

pub fn run(
    source: Source,
    size: Option<Size>,
    frames: Option<u32>,
    batch: u32,
    dtype: Dtype,
    json: bool,
) -> Result<ExitCode> {
    let InputSize { t, h, w, .. } = source.size;
    let (h, w) = size.map_or((h, w), |size| (size.h, size.w));
    let size = InputSize::video(batch, frames.unwrap_or(t), h, w);
    let counts = Counts::of(&source.network, size, dtype)?;
    if json {
        print_json(&counts)?;
        return Ok(ExitCode::SUCCESS);
    }
    let plain = Counts::of(&source.network.plain(), size, dtype)?;
    let clip = if size.t == 1 { String::new() } else { format!("{} frames of ", size.t) };
    let mut out = format!("{}: {batch} x {clip}{h}x{w}, {dtype}\n", shown(&source.network.name));
    let rows = [
        ("multiply-adds", counts.macs, plain.macs),
        ("parameters", counts.params, plain.params),
        ("bytes of activations", counts.activation_bytes_peak, plain.activation_bytes_peak),
        ("in one buffer", counts.activation_bytes_in_one_buffer, plain.activation_bytes_in_one_buffer),
        ("alive at once", counts.activation_bytes_live, plain.activation_bytes_live),
    ];
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{:<21} {:>18} {:>18} {:>8}", "", "octave", "plain", "ratio");
    for (name, count, plain) in rows {
        let ratio = count as f64 / plain as f64;
        let _ =
            writeln!(out, "{name:<21} {:>18} {:>18} {ratio:>8.3}", thousands(count.into()), thousands(plain.into()));
    }
    print(&out)?;
    Ok(ExitCode::SUCCESS)
}

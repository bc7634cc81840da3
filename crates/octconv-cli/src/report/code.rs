//! Which code a figure is of: a checksum of the kernels that octconv chooses.

use anyhow::{Context as _, Result};
use octconv::network::{Graph, Network, NetworkPlan};
use octconv::wgpu::Features;
use octconv::{DeviceFacts, Dtype, InputSize, Plan, Spec};

use super::data::{self, Report};
use super::subjects::Subjects;
use crate::info::{About, Matrix};

/// The facts of a device, as far as a report has them. So the checksum of a report can be made again without the device.
fn facts(adapter: &About) -> DeviceFacts {
    let (limits, abilities) = (&adapter.limits, &adapter.features);
    let mut facts = DeviceFacts { software: adapter.device_type == "Cpu", ..DeviceFacts::default() };
    facts.limits.max_storage_buffer_binding_size = limits.max_storage_buffer_binding_size;
    facts.limits.max_buffer_size = limits.max_buffer_size;
    facts.limits.max_storage_buffers_per_shader_stage = limits.max_storage_buffers_per_shader_stage;
    facts.limits.max_compute_workgroup_storage_size = limits.max_compute_workgroup_storage_size;
    facts.limits.max_compute_invocations_per_workgroup = limits.max_compute_invocations_per_workgroup;
    facts.limits.max_compute_workgroups_per_dimension = limits.max_compute_workgroups_per_dimension;
    facts.limits.min_storage_buffer_offset_alignment = limits.min_storage_buffer_offset_alignment;
    facts.features.set(Features::SHADER_F16, abilities.shader_f16);
    facts.features.set(Features::SUBGROUP, abilities.subgroups);
    if abilities.subgroups {
        facts.subgroup_sizes = [abilities.subgroup_min_size, abilities.subgroup_max_size];
    }
    facts.matrix = abilities.cooperative_matrices.iter().filter_map(Matrix::side).max();
    facts.features.set(Features::EXPERIMENTAL_COOPERATIVE_MATRIX, facts.matrix.is_some());
    facts
}

/// The kernels of a layer's octave and plain form.
pub fn of_layer(adapter: &About, subjects: &Subjects, spec: &Spec, size: InputSize, dtype: Dtype) -> Result<String> {
    let (facts, options) = (facts(adapter), subjects.layer_options(dtype));
    let mut checksum = crc32fast::Hasher::new();
    for spec in [spec.clone(), spec.plain()] {
        let plan = Plan::new(&spec, size, &options, &facts)?;
        checksum.update(plan.variant().to_string().as_bytes());
        plan.sources().iter().for_each(|source| checksum.update(source.as_bytes()));
    }
    Ok(format!("{:08x}", checksum.finalize()))
}

/// The kernels of a network and of its plain form.
pub fn of_network(
    adapter: &About,
    subjects: &Subjects,
    network: &Network,
    size: InputSize,
    dtype: Dtype,
) -> Result<String> {
    let (facts, options) = (facts(adapter), subjects.network_options(dtype));
    let mut checksum = crc32fast::Hasher::new();
    for network in [network.clone(), network.plain()] {
        let plan = NetworkPlan::new(&Graph::new(&network)?, size, &options, &facts)?;
        plan.sources().iter().for_each(|(_, source)| checksum.update(source.as_bytes()));
    }
    Ok(format!("{:08x}", checksum.finalize()))
}

/// How many layers and networks of a report do not say which kernels they had.
pub fn unknown(report: &Report) -> usize {
    let codes = report.layers.iter().map(|row| &row.code).chain(report.networks.iter().map(|row| &row.code));
    codes.filter(|code| code.is_none()).count()
}

/// The layers and networks of a report that octconv runs with other kernels than when they were timed. `subjects`: those
/// of the report.
pub fn outdated(report: &Report, subjects: &Subjects) -> Result<Vec<String>> {
    let mut outdated = Vec::new();
    let mut compare = |title: String, timed: &Option<String>, code: Result<String>| -> Result<()> {
        let code = code.with_context(|| title.clone())?;
        if timed.as_ref().is_some_and(|timed| *timed != code) {
            outdated.push(title);
        }
        Ok(())
    };
    for row in &report.layers {
        let entry = subjects.layers.iter().find(|entry| entry.name == row.layer);
        let entry = entry.with_context(|| format!("layer {} is not known", row.layer))?;
        let code = of_layer(&report.adapter, subjects, &entry.layer.spec()?, input(row.size), row.dtype.parse()?);
        compare(row.title(), &row.code, code)?;
    }
    for row in &report.networks {
        let source = subjects.networks.iter().find(|source| source.network.name == row.network);
        let source = source.with_context(|| format!("network {} is not known", row.network))?;
        let code = of_network(&report.adapter, subjects, &source.network, input(row.size), row.dtype.parse()?);
        compare(row.title(), &row.code, code)?;
    }
    Ok(outdated)
}

fn input(size: data::Size) -> InputSize {
    InputSize::video(size.batch, size.frames, size.height, size.width)
}

//! Host twin of `shaders/probes/`: kernels that do one thing as fast as the device can.

use super::wgsl::Source;
use super::{Access, Kernel};
use crate::device::Work;
use crate::kernels::job::TensorId;
use crate::kernels::{Grid, Step};
use crate::precision::Dtype;

/// Threads of a workgroup: whole subgroups on every device.
pub(crate) const WORKGROUP: u32 = 64;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Constants {
    /// Multiply-adds of f32, or of two f16 at once.
    MultiplyAdd { dtype: Dtype, chains: u32 },
    /// Products of f16 matrices.
    Matrices { side: u32, sums: Dtype, chains: u32 },
    /// Reads a buffer.
    Read,
    /// Copies a buffer.
    Copy,
}

/// The uniform of multiply_add.wgsl.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Chains {
    rounds: u32,
    start: f32,
    factor: f32,
    offset: f32,
}

/// The uniform of read.wgsl and copy.wgsl; multiply_matrices.wgsl has the rounds alone.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct Walk {
    pub(crate) rounds: u32,
    pub(crate) workgroup_step: u32,
    pub(crate) thread_step: u32,
    pub(crate) step: u32,
}

impl Constants {
    pub(crate) fn name(&self) -> String {
        match self {
            Self::MultiplyAdd { dtype, chains } => format!("probe of multiply-adds, {chains} chains of {dtype}"),
            Self::Matrices { side, sums, chains } => {
                format!("probe of {side}x{side} matrices, {chains} chains into {sums}")
            }
            Self::Read => "probe of reading".into(),
            Self::Copy => "probe of copying".into(),
        }
    }

    pub(crate) fn assemble(&self) -> Source {
        match *self {
            Self::MultiplyAdd { dtype, chains } => {
                let mut source = Source::new(dtype, WORKGROUP);
                source.constant("CHAINS", chains);
                source.binding(Access::Write, "y", "f32");
                let (number, total) = match dtype {
                    Dtype::F32 => ("f32", "v"),
                    Dtype::F16 => ("vec2<f16>", "f32(v.x + v.y)"),
                };
                source.line(&format!("alias Number = {number};"));
                source.line(&format!("fn number(x: f32) -> Number {{ return Number({dtype}(x)); }}"));
                source.line(&format!("fn total(v: Number) -> f32 {{ return {total}; }}"));
                source.file(include_str!("../../shaders/probes/multiply_add.wgsl"));
                source
            }
            Self::Matrices { side, sums, chains } => {
                let mut source = Source::for_matrices(WORKGROUP);
                source.constant("CHAINS", chains);
                source.constant("SIDE", side);
                source.binding(Access::Read, "a", "f16");
                source.binding(Access::Read, "b", "f16");
                source.binding(Access::Write, "y", sums.wgsl());
                source.binding(Access::Write, "subgroups", "u32");
                source.matrices(side, sums);
                source.file(include_str!("../../shaders/probes/multiply_matrices.wgsl"));
                source
            }
            Self::Read => {
                let mut source = Source::new(Dtype::F32, WORKGROUP);
                source.binding(Access::Read, "x", "vec4<f32>");
                source.binding(Access::Write, "y", "f32");
                source.file(include_str!("../../shaders/probes/read.wgsl"));
                source
            }
            Self::Copy => {
                let mut source = Source::new(Dtype::F32, WORKGROUP);
                source.binding(Access::Read, "x", "vec4<f32>");
                source.binding(Access::Write, "y", "vec4<f32>");
                source.file(include_str!("../../shaders/probes/copy.wgsl"));
                source
            }
        }
    }

    /// So many workgroups of it. What is bound are the tensors X_H, X_L, Y_H, Y_L, as far as it has any: x or a, b, y,
    /// subgroups.
    pub(crate) fn step(self, walk: Walk, workgroups: u32) -> Step {
        let (shape, tensors) = match self {
            Self::MultiplyAdd { .. } => {
                let chains = Chains { rounds: walk.rounds, start: 1.0, factor: 0.75, offset: 0.5 };
                (bytemuck::bytes_of(&chains).to_vec(), vec![TensorId::YH])
            }
            Self::Matrices { .. } => {
                let tensors = vec![TensorId::XH, TensorId::XL, TensorId::YH, TensorId::YL];
                (bytemuck::bytes_of(&walk).to_vec(), tensors)
            }
            Self::Read | Self::Copy => (bytemuck::bytes_of(&walk).to_vec(), vec![TensorId::XH, TensorId::YH]),
        };
        let grid = Grid { x: workgroups, y: 1 };
        Step { kernel: Kernel::Probe(self), shape, tensors, grid, packing: None, f16_terms: 0, work: Work::default() }
    }
}

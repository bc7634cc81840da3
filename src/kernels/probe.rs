//! Host code of `shaders/probes/`: kernels that do one thing as fast as the device can.

use super::access::Access;
use super::job::TensorId;
use super::source::Recipe;
use super::step::{Grid, Kernel, Step};
use super::uniform::uniform;
use crate::precision::Dtype;

/// Threads of a workgroup: whole subgroups on every device.
pub(crate) const WORKGROUP: u32 = 64;

/// What a probe does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Probe {
    /// Multiply-adds of f32, or of two f16 at once.
    MultiplyAdd { dtype: Dtype, chains: u32 },
    /// Products of f16 matrices.
    Matrices { side: u32, sums: Dtype, chains: u32 },
    /// Reads a buffer.
    Read,
    /// Copies a buffer.
    Copy,
    /// Loads that each wait for the one before.
    Follow,
}

uniform! {
    /// The uniform of multiply_add.wgsl.
    struct Chains {
        rounds: u32,
        start: f32,
        factor: f32,
        offset: f32,
    }
}

uniform! {
    /// The uniform of multiply_matrices.wgsl and follow.wgsl.
    struct Rounds {
        rounds: u32,
        unused_a: u32,
        unused_b: u32,
        unused_c: u32,
    }
}

uniform! {
    /// The uniform of read.wgsl and copy.wgsl.
    pub(crate) struct Walk {
        pub(crate) rounds: u32,
        pub(crate) workgroup_distance: u32,
        pub(crate) thread_distance: u32,
        pub(crate) distance: u32,
        pub(crate) mask: u32,
        pub(crate) unused_a: u32,
        pub(crate) unused_b: u32,
        pub(crate) unused_c: u32,
    }
}

impl Default for Walk {
    fn default() -> Self {
        let mask = u32::MAX;
        let (rounds, distance) = (0, 0);
        let [workgroup_distance, thread_distance] = [0; 2];
        let [unused_a, unused_b, unused_c] = [0; 3];
        Self { rounds, workgroup_distance, thread_distance, distance, mask, unused_a, unused_b, unused_c }
    }
}

/// The WGSL types of `side` x `side` matrices: left factors of f16, right factors of f16, and sums.
fn matrices(side: u32, sums: Dtype) -> [&'static str; 3] {
    match (side, sums) {
        (8, Dtype::F32) => ["coop_mat8x8<f16, A>", "coop_mat8x8<f16, B>", "coop_mat8x8<f32, C>"],
        (8, Dtype::F16) => ["coop_mat8x8<f16, A>", "coop_mat8x8<f16, B>", "coop_mat8x8<f16, C>"],
        (_, Dtype::F32) => ["coop_mat16x16<f16, A>", "coop_mat16x16<f16, B>", "coop_mat16x16<f32, C>"],
        (_, Dtype::F16) => ["coop_mat16x16<f16, A>", "coop_mat16x16<f16, B>", "coop_mat16x16<f16, C>"],
    }
}

impl Probe {
    fn name(self) -> String {
        match self {
            Self::MultiplyAdd { dtype, chains } => format!("probe of multiply-adds, {chains} chains of {dtype}"),
            Self::Matrices { side, sums, chains } => {
                format!("probe of {side}x{side} matrices, {chains} chains into {sums}")
            }
            Self::Read => "probe of reading".into(),
            Self::Copy => "probe of copying".into(),
            Self::Follow => "probe of loads that wait".into(),
        }
    }

    fn recipe(self) -> Recipe {
        let recipe = |root| Recipe::new(root).constant("WORKGROUP", WORKGROUP);
        match self {
            Self::MultiplyAdd { dtype, chains } => recipe("probes/multiply_add")
                .constant("CHAINS", chains)
                .when(dtype == Dtype::F16, |r| r.file("probes/number", "probes/number_f16"))
                .binding("y", Access::Write),
            Self::Matrices { side, sums, chains } => {
                let [left, right, sum] = matrices(side, sums);
                recipe("probes/multiply_matrices")
                    .constant("CHAINS", chains)
                    .constant("SIDE", side)
                    .alias("Number", sums.wgsl())
                    .alias("Left", left)
                    .alias("Right", right)
                    .alias("Sum", sum)
                    .binding("a", Access::Read)
                    .binding("b", Access::Read)
                    .binding("y", Access::Write)
                    .binding("subgroups", Access::Write)
            }
            Self::Read => recipe("probes/read").binding("x", Access::Read).binding("y", Access::Write),
            Self::Copy => recipe("probes/copy").binding("x", Access::Read).binding("y", Access::Write),
            Self::Follow => recipe("probes/follow").binding("x", Access::Read).binding("y", Access::Write),
        }
    }

    pub(crate) fn kernel(self) -> Kernel {
        Kernel::recipe(self.name(), self.recipe())
    }

    /// A dispatch of this many workgroups. The probe's buffers are bound under the ids of tensors of a layer: `x` or
    /// `a` as X_H, `b` as X_L, `y` as Y_H, `subgroups` as Y_L.
    pub(crate) fn step(self, walk: Walk, workgroups: u32) -> Step {
        let (kernel, rounds, grid) = (self.kernel(), walk.rounds, Grid { x: workgroups, y: 1 });
        match self {
            Self::MultiplyAdd { .. } => {
                let chains = Chains { rounds, start: 1.0, factor: 0.75, offset: 0.5 };
                Step::new(kernel, &chains, vec![TensorId::YH], grid)
            }
            Self::Matrices { .. } => {
                let rounds = Rounds { rounds, unused_a: 0, unused_b: 0, unused_c: 0 };
                let tensors = vec![TensorId::XH, TensorId::XL, TensorId::YH, TensorId::YL];
                Step::new(kernel, &rounds, tensors, grid)
            }
            Self::Follow => {
                let rounds = Rounds { rounds, unused_a: 0, unused_b: 0, unused_c: 0 };
                Step::new(kernel, &rounds, vec![TensorId::XH, TensorId::YH], grid)
            }
            Self::Read | Self::Copy => Step::new(kernel, &walk, vec![TensorId::XH, TensorId::YH], grid),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::uniform::check;

    #[test]
    fn the_uniforms_are_the_shaders() {
        for dtype in [Dtype::F32, Dtype::F16] {
            check::<Chains>(&Probe::MultiplyAdd { dtype, chains: 10 }.recipe());
            for side in [8, 16] {
                check::<Rounds>(&Probe::Matrices { side, sums: dtype, chains: 4 }.recipe());
            }
        }
        check::<Walk>(&Probe::Read.recipe());
        check::<Walk>(&Probe::Copy.recipe());
        check::<Rounds>(&Probe::Follow.recipe());
    }
}

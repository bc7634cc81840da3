//! All families of convolution kernels. A new family has a folder and a line here: CONTRIBUTING.md lists the steps.

use super::family::Family;
use super::{direct, matrix, pointwise, staged, winograd};

/// All families, in the order in which the planner tries them: of candidates with equal estimates, the first wins.
pub(crate) static FAMILIES: &[&dyn Family] = &[
    &direct::DIRECT,
    &direct::DIRECT_F16,
    &pointwise::Pointwise,
    &staged::STAGED,
    &staged::STAGED_F16,
    &matrix::Matrix,
    &winograd::Winograd,
];

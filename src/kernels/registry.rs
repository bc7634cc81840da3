//! All families of convolution kernels. A new one is a folder, and a line here.

use super::family::Family;
use super::{direct, matrix, pointwise, staged, winograd};

/// In the order in which the planner tries them: of equal estimates the first wins.
pub(crate) static FAMILIES: &[&dyn Family] = &[
    &direct::DIRECT,
    &direct::DIRECT_F16,
    &pointwise::Pointwise,
    &staged::STAGED,
    &staged::STAGED_F16,
    &matrix::Matrix,
    &winograd::Winograd,
];

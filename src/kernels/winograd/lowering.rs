//! Lowers a job to its dispatches.

use super::layout::Layout;
use super::tile::Tile;
use super::{input, multiply, output};
use crate::error::Error;
use crate::kernels::family::Request;
use crate::kernels::step::Step;

/// The dispatches that do a job, which `refusal` has accepted. Adds their intermediate buffers to `scratch`.
pub(super) fn steps(
    request: &Request,
    tile: Tile,
    first_scratch: usize,
    scratch: &mut Vec<u64>,
) -> Result<Vec<Step>, Error> {
    let layout = Layout::new(request, tile, first_scratch, scratch)?;
    let mut steps = vec![input::step(request, &layout)?];
    for products in layout.groups() {
        steps.push(multiply::step(request, &layout, &products)?);
    }
    steps.push(output::step(request, &layout)?);
    Ok(steps)
}

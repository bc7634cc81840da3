//! Host twin of `shaders/pool.wgsl`.

use super::wgsl::Source;
use super::{ELEMENTWISE_WORKGROUP, Kernel, Types};
use crate::device::DeviceFacts;
use crate::device::Words;
use crate::device::{Part, Work};
use crate::dims::Dims;
use crate::error::Error;
use crate::kernels::job::Operand;
use crate::kernels::{Grid, Step};
use crate::precision::Dtype;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Constants {
    activations: Dtype,
    words: Words,
    /// Whether X and the means are read and written two columns at a time.
    paired: [bool; 2],
    /// Means of a thread along h.
    rows: u32,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Shape {
    threads: u32,
    grid_x: u32,
    rows: u32,
    cols: u32,
    h: u32,
    w: u32,
    pooled_h: u32,
    pooled_w: u32,
}

/// Means of a thread along w.
const COLS: u32 = 2;

impl Constants {
    pub(crate) fn assemble(&self) -> Source {
        let mut source = Source::new(self.activations, ELEMENTWISE_WORKGROUP).with_words(self.words);
        let [x, y] = self.paired;
        source.constant("ROWS", self.rows);
        source.constant("COLS", COLS);
        source.flag("X_PAIRED", x);
        source.flag("Y_PAIRED", y);
        source.paired_input("x", true, x);
        source.paired_output("y", true, y);
        source.file(include_str!("../../shaders/pool.wgsl"));
        source
    }
}

/// Pools `x` into `y`.
pub(crate) fn step(facts: &DeviceFacts, types: Types, x: Operand, y: Operand) -> Result<Step, Error> {
    // What a thread begins with costs a software device as much as a dozen elements.
    let means = if facts.software { 8 } else { 2 };
    let (rows, cols) = (y.dims.h.div_ceil(means), y.dims.w.div_ceil(COLS));
    let threads = Dims { h: rows, w: cols, ..y.dims }.elements();
    let grid = Grid::fold(threads.div_ceil(u64::from(ELEMENTWISE_WORKGROUP)), facts)?;
    let shape = Shape {
        threads: threads as u32,
        grid_x: grid.x,
        rows,
        cols,
        h: x.dims.h,
        w: x.dims.w,
        pooled_h: y.dims.h,
        pooled_w: y.dims.w,
    };
    let paired = [x, y].map(|operand| types.paired(operand.dims));
    let [loads, stores] = paired.map(|paired| types.elements_a_load(paired));
    let each = u64::from(y.dims.h.div_ceil(rows) * COLS);
    let part =
        Part { threads, multiplies: 4 * each, loads: 4 * each / loads, stores: each / stores, ..Part::default() };
    let bytes = [x, y].map(|operand| operand.dims.elements().saturating_mul(types.activations.bytes()));
    Ok(Step {
        kernel: Kernel::Pool(Constants { activations: types.activations, words: types.words, paired, rows: means }),
        shape: bytemuck::bytes_of(&shape).to_vec(),
        tensors: vec![x.id, y.id],
        grid,
        packing: None,
        f16_terms: 0,
        work: Work { parts: vec![part], bytes: bytes[0].saturating_add(bytes[1]) },
    })
}

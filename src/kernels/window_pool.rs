//! Host twin of `shaders/window_pool.wgsl`: maxima and means over windows.

use super::wgsl::Source;
use super::{ELEMENTWISE_WORKGROUP, Kernel, Types};
use crate::device::DeviceFacts;
use crate::device::Words;
use crate::device::Work;
use crate::error::Error;
use crate::kernels::job::{Operand, Slice};
use crate::kernels::{Grid, Step};
use crate::layer::{Rows, Window};
use crate::precision::Dtype;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Constants {
    activations: Dtype,
    words: Words,
    average: bool,
    /// Of a small window the kernel and the stride along h and w: a thread then makes 2x2 elements.
    small: Option<[[u32; 2]; 2]>,
    /// Whether Y is written two columns at a time.
    paired: bool,
}

/// The most elements of a small window.
const SMALL: u32 = 9;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Shape {
    threads: u32,
    grid_x: u32,
    blocks: [u32; 2],
    channels: u32,
    first: u32,
    of: u32,
    size: [u32; 3],
    size_out: [u32; 3],
    kernel: [u32; 3],
    stride: [u32; 3],
    padding: [u32; 3],
    x_rows: [u32; 2],
    y_rows: [u32; 2],
    unused: [u32; 2],
}

impl Constants {
    pub(crate) fn name(&self) -> String {
        if self.average { "average pool".into() } else { "max pool".into() }
    }

    /// Elements of a thread along each axis.
    fn side(&self) -> u32 {
        if self.small.is_some() { 2 } else { 1 }
    }

    pub(crate) fn assemble(&self) -> Source {
        let mut source = Source::new(self.activations, ELEMENTWISE_WORKGROUP).with_words(self.words);
        source.flag("AVERAGE", self.average);
        source.flag("PAIRED", self.paired);
        source.flag("SMALL", self.small.is_some());
        source.constant("ROWS", self.side());
        source.constant("COLS", self.side());
        for (i, axis) in ["h", "w"].into_iter().enumerate() {
            let known = |value: u32| format!("{value}u");
            let [kernel, stride] = match self.small {
                Some([kernel, stride]) => [known(kernel[i]), known(stride[i])],
                None => [format!("shape.kernel_{axis}"), format!("shape.stride_{axis}")],
            };
            source.line(&format!("fn kernel_{axis}() -> u32 {{ return {kernel}; }}"));
            source.line(&format!("fn stride_{axis}() -> u32 {{ return {stride}; }}"));
        }
        source.input("x");
        source.paired_output("y", true, self.paired);
        source.file(include_str!("../../shaders/window_pool.wgsl"));
        source
    }
}

/// What is pooled, and where it goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job {
    /// Means, or maxima.
    pub(crate) average: bool,
    pub(crate) window: Window,
    /// Where in the tensor `y` its channels lie.
    pub(crate) slice: Slice,
    /// Only these rows of `y` are made, and of `x` only the rows under them are there.
    pub(crate) band: Option<Rows>,
}

/// Pools `x` into the slice of the tensor `y`, whose dims are those of the slice; dims are those of whole maps, whatever
/// the band. Every window must have an element.
pub(crate) fn step(facts: &DeviceFacts, types: Types, job: &Job, x: Operand, y: Operand) -> Result<Step, Error> {
    let Job { average, window, slice, band } = *job;
    let y_rows = band.unwrap_or(Rows { first: 0, count: y.dims.h });
    let x_rows = band.map_or(Rows { first: 0, count: x.dims.h }, |rows| window.rows_under(rows, x.dims.h));
    let [_, kernel_h, kernel_w] = window.kernel;
    let small = kernel_h.saturating_mul(kernel_w) <= SMALL;
    let small = small.then_some([[kernel_h, kernel_w], [window.stride[1], window.stride[2]]]);
    let mut constants = Constants { activations: types.activations, words: types.words, average, small, paired: false };
    constants.paired = constants.side() == 2 && types.paired(y.dims);
    let blocks = [y_rows.count, y.dims.w].map(|size| size.div_ceil(constants.side()));
    let planes = u64::from(y.dims.n) * u64::from(y.dims.c) * u64::from(y.dims.t);
    let threads = planes * u64::from(blocks[0]) * u64::from(blocks[1]);
    let grid = Grid::fold(threads.div_ceil(u64::from(ELEMENTWISE_WORKGROUP)), facts)?;
    let shape = Shape {
        threads: threads as u32,
        grid_x: grid.x,
        blocks,
        channels: y.dims.c,
        first: slice.first,
        of: slice.of,
        size: [x.dims.t, x.dims.h, x.dims.w],
        size_out: [y.dims.t, y.dims.h, y.dims.w],
        kernel: window.kernel,
        stride: window.stride,
        padding: window.padding,
        x_rows: [x_rows.first, x_rows.count],
        y_rows: [y_rows.first, y_rows.count],
        unused: [0; 2],
    };
    Ok(Step {
        kernel: Kernel::WindowPool(constants),
        shape: bytemuck::bytes_of(&shape).to_vec(),
        tensors: vec![x.id, y.id],
        grid,
        packing: None,
        f16_terms: 0,
        work: Work::default(),
    })
}

#[cfg(all(test, feature = "verify"))]
mod tests {
    use super::super::testing::{Wanted, check, contexts, facts, values};
    use super::*;
    use crate::context::encode;
    use crate::dims::Dims;
    use crate::kernels::job::TensorId;

    /// Over the elements that exist, in f64.
    fn pooled(window: Window, average: bool, x: &[f32], from: Dims, to: Dims, slice: Slice) -> Vec<Option<f64>> {
        let (size, out) = ([from.t, from.h, from.w], [to.t, to.h, to.w]);
        let mut y = vec![None; to.with_channels(slice.of).elements() as usize];
        let mut each = |n: u32, c: u32, at: [u32; 3]| {
            let ranges: Vec<_> = (0..3)
                .map(|i| {
                    let begin = i64::from(at[i] * window.stride[i]) - i64::from(window.padding[i]);
                    (begin..begin + i64::from(window.kernel[i])).filter(move |&k| 0 <= k && k < i64::from(size[i]))
                })
                .collect();
            let mut elements = Vec::new();
            for t in ranges[0].clone() {
                for h in ranges[1].clone() {
                    for w in ranges[2].clone() {
                        let plane = i64::from(n * from.c + c) * i64::from(from.t) + t;
                        let index = (plane * i64::from(from.h) + h) * i64::from(from.w) + w;
                        elements.push(f64::from(x[index as usize]));
                    }
                }
            }
            assert!(!elements.is_empty());
            let value = match average {
                true => elements.iter().sum::<f64>() / elements.len() as f64,
                false => elements.into_iter().fold(f64::NEG_INFINITY, f64::max),
            };
            let plane = (n * slice.of + slice.first + c) * out[0] + at[0];
            y[((plane * out[1] + at[1]) * out[2] + at[2]) as usize] = Some(value);
        };
        for n in 0..to.n {
            for c in 0..to.c {
                for t in 0..to.t {
                    (0..to.h).for_each(|h| (0..to.w).for_each(|w| each(n, c, [t, h, w])));
                }
            }
        }
        y
    }

    #[test]
    fn agrees_with_the_definition() {
        let square = |kernel: u32, stride: u32, padding: u32| Window {
            kernel: [1, kernel, kernel],
            stride: [1, stride, stride],
            padding: [0, padding, padding],
        };
        // Window, batch, channels, sizes of X and of Y, and the slice.
        let clips = Window { kernel: [2, 1, 1], stride: [2, 1, 1], padding: [0; 3] };
        let all = Window { kernel: [3, 2, 5], stride: [2, 3, 1], padding: [1, 1, 4] };
        for (window, [n, c], from, to, [first, of]) in [
            (square(3, 2, 1), [1, 3], [1, 8, 10], [1, 4, 5], [0, 3]),
            (square(3, 2, 1), [3, 2], [1, 7, 5], [1, 4, 3], [3, 7]),
            (square(2, 2, 0), [1, 5], [1, 7, 5], [1, 3, 2], [1, 6]),
            (square(2, 2, 0), [2, 1], [1, 7, 5], [1, 4, 3], [0, 2]),
            (square(3, 1, 1), [3, 1], [1, 1, 1], [1, 1, 1], [2, 5]),
            (square(3, 1, 2), [1, 1], [1, 1, 1], [1, 3, 3], [0, 1]),
            (square(1, 3, 0), [1, 2], [1, 4, 4], [1, 2, 2], [0, 2]),
            (square(1024, 1, 1023), [1, 1], [1, 3, 2], [1, 3, 2], [0, 1]),
            (square(3, 2, 0), [1, 2], [2, 9, 9], [2, 4, 4], [0, 2]),
            (clips, [1, 2], [5, 3, 3], [3, 3, 3], [1, 3]),
            (all, [3, 2], [5, 6, 4], [3, 3, 8], [1, 4]),
        ] {
            let dims = |[t, h, w]: [u32; 3]| Dims { n, c, t, h, w };
            let (from, to, slice) = (dims(from), dims(to), Slice { first, of });
            for (average, activations) in
                [(false, Dtype::F32), (true, Dtype::F32), (false, Dtype::F16), (true, Dtype::F16)]
            {
                // Without a zero among them, a zero from outside shows.
                let x: Vec<f32> = values(1, from.elements(), activations).iter().map(|v| v.abs() - 2.0).collect();
                let x = super::super::testing::round(&x, activations);
                let values = pooled(window, average, &x, from, to, slice);
                let error = if average { 1e-5 } else { 0.0 };
                for context in contexts() {
                    for facts in facts(context) {
                        let (x_h, y_h) =
                            (Operand { id: TensorId::XH, dims: from }, Operand { id: TensorId::YH, dims: to });
                        let types = Types { activations, weights: Dtype::F32, words: facts.words() };
                        let job = Job { average, window, slice, band: None };
                        let step = step(&facts, types, &job, x_h, y_h).unwrap();
                        let wanted = Wanted { dtype: activations, values: values.clone(), error };
                        let case = format!("{window:?} from {from} to {to}, average {average}, {activations}");
                        check(&case, context, &step, &[(TensorId::XH, encode(&x, activations))], &wanted);
                    }
                }
            }
        }
    }
}

//! The table of layers that every family of kernels runs. A row is one layer; a theme is a list of rows that are about
//! one thing. `table.rs` runs them.

use octconv::{
    Activation, Downsample, Dtype, Family, InputSize, Options, Precision, Rounding, Slice, Spec, SpecBuilder, Strategy,
    TimeAxis,
};

use crate::common::{all_activations, split};

/// One layer of the table.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub spec: Spec,
    pub size: InputSize,
    pub options: Options,
    pub batch_norm: bool,
}

/// Rows about one thing.
pub struct Theme {
    pub name: &'static str,
    pub rows: Vec<Row>,
    /// The strategies that it is for; none stands for all.
    pub strategies: &'static [Strategy],
    /// The families that it is for; none stands for all.
    pub families: &'static [&'static str],
    /// Whether its rows say their types. Otherwise types take turns.
    pub typed: bool,
    /// Whether every tile of a family has one of its rows. Otherwise every row has one of a family's cheap tiles.
    pub every_tile: bool,
}

const F32: Precision = Precision { activations: Dtype::F32, weights: Dtype::F32, sums: Dtype::F32 };
/// Sums of f16 are allowed, not asked for: kernels with sums of f32 run too.
const F16: Precision = Precision { activations: Dtype::F16, weights: Dtype::F16, sums: Dtype::F16 };

/// All that a layer can be told about types.
pub const TYPES: [Precision; 4] =
    [F32, Precision { weights: Dtype::F16, ..F32 }, Precision { activations: Dtype::F16, ..F32 }, F16];

/// A layer for one image.
fn at(spec: SpecBuilder, [h, w]: [u32; 2]) -> Row {
    sized(spec, InputSize::image(1, h, w))
}

/// A layer at any size.
fn sized(spec: SpecBuilder, size: InputSize) -> Row {
    let built = spec.clone().build().unwrap_or_else(|error| panic!("{error}: {spec:?}"));
    Row { spec: built, size, options: Options::default(), batch_norm: false }
}

impl Theme {
    pub fn is_for(&self, family: Family) -> bool {
        self.families.is_empty() || self.families.contains(&family.name())
    }
}

impl Row {
    fn normed(self) -> Self {
        Self { batch_norm: true, ..self }
    }

    /// Reads pool(X_H), and writes pool(Y_H).
    fn pooled(self, pooled_input: bool, pooled_output: bool) -> Self {
        Self { options: Options { pooled_input, pooled_output, ..self.options }, ..self }
    }

    /// Writes slices of larger tensors: first channel, and channels in all.
    fn slices(self, high: Option<[u32; 2]>, low: Option<[u32; 2]>) -> Self {
        let slice = |[first, of]: [u32; 2]| Slice { first, of };
        let options = Options { high_slice: high.map(slice), low_slice: low.map(slice), ..self.options };
        Self { options, ..self }
    }

    fn typed(self, precision: Precision) -> Self {
        Self { options: Options { precision, ..self.options }, ..self }
    }
}

/// 3x3 with the padding that keeps sizes.
fn k3(input: (u32, u32), output: (u32, u32)) -> SpecBuilder {
    split(input, output).kernel([3, 3]).same_padding()
}

/// 3x3 with few channels, none of them a whole vector.
fn octave() -> SpecBuilder {
    k3((5, 4), (6, 3))
}

/// 1x1 with few channels.
fn octave1() -> SpecBuilder {
    split((5, 4), (6, 3))
}

/// 3x3 with channels that fill no slab of a staged kernel, and more than one matrix of a matrix kernel.
fn wide() -> SpecBuilder {
    k3((10, 17), (12, 35))
}

/// 3x3 with more input channels than one slice takes, in slices that differ.
fn deep() -> SpecBuilder {
    k3((37, 50), (12, 11))
}

const ROUNDINGS: [Rounding; 2] = [Rounding::Ceil, Rounding::Floor];

/// The shares of low-frequency channels that a layer can have on both sides.
const ALPHAS: [[f64; 2]; 9] =
    [[0.0, 0.0], [0.0, 0.5], [0.5, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0, 0.0], [0.5, 1.0], [1.0, 0.5], [0.5, 0.5]];

const fn time(kernel: u32, stride: u32, padding: u32, dilation: u32) -> TimeAxis {
    TimeAxis { kernel, stride, padding, dilation }
}

/// A theme for all families and all strategies.
fn theme(name: &'static str, rows: Vec<Row>) -> Theme {
    Theme { name, rows, strategies: &[], families: &[], typed: false, every_tile: false }
}

/// A theme of the small kernels, which work in the same way for all families.
fn small(name: &'static str, rows: Vec<Row>, strategies: &'static [Strategy]) -> Theme {
    Theme { strategies, families: &["direct"], ..theme(name, rows) }
}

/// The whole table.
pub fn themes() -> Vec<Theme> {
    vec![
        theme("alpha", alpha()),
        theme("sizes", sizes()),
        theme("stride_two", stride_two()),
        theme("one_pixel", one_pixel()),
        theme("one_sided", one_sided()),
        theme("channels", channels()),
        theme("groups", groups()),
        theme("depthwise", depthwise()),
        theme("dilation", dilation()),
        theme("kernels", kernels()),
        theme("padding", padding()),
        theme("clips", clips()),
        theme("batches", batches()),
        theme("activations", activations()),
        theme("residuals", residuals()),
        theme("batch_norm", batch_norm()),
        theme("pooled_input", pooled_input()),
        theme("pooled_output", pooled_output()),
        theme("strided", strided()),
        theme("exchange", exchange()),
        Theme { typed: true, ..theme("types", types()) },
        theme("slices", slices()),
        theme("pairs", pairs()),
        Theme { every_tile: true, ..theme("tiles", tiles()) },
        Theme { strategies: &[Strategy::SplitK], ..theme("split_k", split_k()) },
        small("pools", pools(), &[Strategy::PoolFirst, Strategy::Unfused]),
        small("adds", adds(), &[Strategy::Unfused]),
        small("upsamples", upsamples(), &[Strategy::Unfused]),
    ]
}

fn alpha() -> Vec<Row> {
    let mut rows = Vec::new();
    for [alpha_in, alpha_out] in ALPHAS {
        let split = |c_in, c_out| Spec::builder(c_in, c_out).alpha(alpha_in, alpha_out);
        rows.push(at(split(20, 22).kernel([3, 3]).same_padding().bias(true), [10, 12]));
        rows.push(at(split(10, 12).bias(true), [10, 12]));
        rows.push(at(split(10, 12).kernel([3, 3]).same_padding().bias(true).stride(2), [13, 10]));
        rows.push(at(split(8, 10).stride(2), [12, 8]));
    }
    rows
}

fn sizes() -> Vec<Row> {
    let mut rows = Vec::new();
    for rounding in ROUNDINGS {
        for size in [[9, 11], [7, 10], [10, 7], [2, 3], [2, 9], [10, 12], [20, 24]] {
            rows.push(at(wide().rounding(rounding), size));
            rows.push(at(octave1().rounding(rounding), size));
        }
        for size in [[4, 4], [5, 8], [14, 15], [8, 10]] {
            rows.push(at(octave().rounding(rounding), size));
        }
    }
    rows.push(at(octave(), [9, 17]));
    rows.push(at(octave(), [7, 7]));
    // Where odd sizes are floored, the last column of Y_H repeats the last of L->H's sums, also where an earlier
    // dispatch made them and their rows have an even length.
    for size in [[9, 9], [5, 13]] {
        rows.push(at(octave().rounding(Rounding::Floor), size));
    }
    // 1x1: single columns, pairs, and fours of them.
    for size in [[9, 6], [4, 12], [9, 16], [2, 8]] {
        rows.push(at(split((10, 9), (12, 11)), size));
    }
    rows
}

fn stride_two() -> Vec<Row> {
    let mut rows = Vec::new();
    for rounding in ROUNDINGS {
        for size in [[9, 11], [10, 13], [6, 7], [5, 5], [16, 16]] {
            rows.push(at(wide().rounding(rounding).stride(2), size));
        }
        for size in [[9, 11], [7, 10], [10, 7], [6, 13]] {
            rows.push(at(octave1().rounding(rounding).stride(2), size));
        }
    }
    for size in [[4, 6], [14, 15], [18, 20]] {
        rows.push(at(octave().stride(2), size));
    }
    rows
}

fn one_pixel() -> Vec<Row> {
    let mut rows = Vec::new();
    for size in [[1, 1], [1, 9], [9, 1], [2, 1], [1, 2], [3, 1]] {
        for spec in [octave(), octave1()] {
            rows.push(at(spec.clone(), size));
            rows.push(at(spec.stride(2), size));
        }
    }
    for size in [[2, 2], [3, 2], [2, 9]] {
        rows.push(at(octave().rounding(Rounding::Floor), size));
        rows.push(at(octave1().rounding(Rounding::Floor), size));
    }
    rows
}

fn one_sided() -> Vec<Row> {
    let mut rows = Vec::new();
    for rounding in ROUNDINGS {
        for (input, output) in [((4, 0), (3, 2)), ((2, 3), (4, 0)), ((0, 3), (4, 2)), ((4, 0), (0, 3))] {
            rows.push(at(k3(input, output).rounding(rounding), [9, 7]));
            rows.push(at(split(input, output).rounding(rounding), [9, 7]));
        }
    }
    rows
}

fn channels() -> Vec<Row> {
    let mut rows = Vec::new();
    for (input, output) in
        [((1, 2), (3, 5)), ((7, 1), (2, 7)), ((5, 3), (1, 1)), ((3, 7), (7, 3)), ((2, 5), (5, 2)), ((13, 6), (9, 17))]
    {
        rows.push(at(k3(input, output).bias(true), [8, 6]));
        rows.push(at(split(input, output).bias(true), [8, 6]));
    }
    rows.push(at(k3((1, 1), (2, 1)).bias(true), [8, 6]));
    // One path; slabs and matrices that are not full, and one more channel than fills them.
    for (input, output) in [(1, 1), (7, 2), (9, 33), (17, 16), (20, 40)] {
        rows.push(at(k3((input, 0), (output, 0)).bias(true), [7, 9]));
    }
    for (input, output) in [((1, 17), (33, 2)), ((17, 1), (1, 34))] {
        rows.push(at(k3(input, output), [8, 6]));
    }
    // Many more blocks on one side than on the other.
    for output in [(70, 2), (2, 70), (35, 35)] {
        rows.push(at(split((9, 3), output), [6, 6]));
    }
    // Blocks of channels and of positions.
    rows.push(at(Spec::builder(24, 40).alpha(0.5, 0.25).kernel([3, 3]).same_padding(), [28, 28]));
    rows.push(at(Spec::builder(6, 70).alpha(0.5, 0.5).kernel([3, 3]).same_padding(), [4, 4]));
    rows.push(at(Spec::builder(24, 70).alpha(0.5, 0.5), [14, 14]));
    // Channels a turn: eight, four, two and one.
    for channels in [16, 5] {
        rows.push(at(split((channels, channels), (6, 4)), [7, 6]));
        rows.push(at(k3((channels, 0), (6, 4)), [7, 6]));
    }
    rows
}

fn groups() -> Vec<Row> {
    let mut rows = Vec::new();
    for (groups, input, output) in [
        (2, (1, 1), (1, 1)),
        (3, (1, 2), (2, 1)),
        (2, (2, 3), (3, 2)),
        (4, (3, 1), (1, 3)),
        (3, (3, 3), (5, 6)),
        (2, (2, 0), (2, 0)),
        (4, (2, 2), (2, 2)),
        (2, (3, 6), (6, 3)),
    ] {
        let all = |(high, low): (u32, u32)| (groups * high, groups * low);
        rows.push(at(k3(all(input), all(output)).groups(groups), [7, 8]));
    }
    for (input, output) in [((4, 2), (2, 4)), ((6, 4), (4, 10))] {
        rows.push(at(k3(input, output).groups(2).stride(2), [9, 8]));
    }
    rows
}

fn depthwise() -> Vec<Row> {
    let mut rows = Vec::new();
    for multiple in [1, 2, 5] {
        for (high, low) in [(5, 3), (4, 0), (0, 3)] {
            let spec = k3((high, low), (multiple * high, multiple * low)).depthwise();
            rows.push(at(spec.clone(), [9, 10]));
            if multiple < 3 {
                rows.push(at(spec.stride(2), [9, 10]));
            }
        }
    }
    rows
}

fn dilation() -> Vec<Row> {
    let mut rows = Vec::new();
    for dilation in [[2, 2], [1, 2], [3, 1], [4, 3], [2, 3]] {
        rows.push(at(octave().dilation(dilation).same_padding(), [11, 14]));
    }
    rows.push(at(octave().dilation([2, 2]).same_padding().stride(2), [12, 9]));
    rows.push(at(octave().dilation([2, 1]).same_padding().downsample(Downsample::StridedConv), [12, 9]));
    for dilation in [[2, 2], [1, 3]] {
        rows.push(at(split((9, 0), (10, 0)).kernel([3, 3]).dilation(dilation).same_padding(), [11, 9]));
    }
    rows
}

fn kernels() -> Vec<Row> {
    let mut rows = Vec::new();
    for kernel in [[1, 3], [3, 1], [5, 3]] {
        rows.push(at(octave().kernel(kernel).same_padding(), [8, 10]));
    }
    for kernel in [[1, 7], [7, 1], [2, 5]] {
        rows.push(at(split((9, 0), (6, 0)).kernel(kernel).same_padding(), [8, 10]));
    }
    rows.push(at(octave().kernel([5, 1]).same_padding().stride(2), [8, 10]));
    for kernel in [[5, 3], [1, 7]] {
        for dilation in [[1, 1], [2, 3]] {
            rows.push(at(wide().kernel(kernel).dilation(dilation).same_padding(), [11, 14]));
        }
    }
    for kernel in [[1, 1], [4, 3], [2, 2], [4, 6]] {
        let spec = split((9, 0), (6, 0)).kernel(kernel).dilation([1, 2]).padding([3, 2]);
        rows.push(at(spec, [11, 14]));
    }
    // An even kernel takes a row: odd sizes rounded up and even sizes rounded down agree in both resolutions.
    for (rounding, size) in [(Rounding::Ceil, [9, 11]), (Rounding::Floor, [10, 8])] {
        for (kernel, padding) in [([2, 2], [0, 0]), ([4, 4], [1, 1]), ([2, 3], [0, 1])] {
            rows.push(at(octave().kernel(kernel).padding(padding).rounding(rounding), size));
        }
    }
    rows.push(at(split((3, 0), (5, 0)).kernel([4, 2]), [9, 8]));
    // Large ones, in windows of a whole kernel, a row of it, a tap.
    for kernel in [[5, 5], [7, 7]] {
        rows.push(at(octave().kernel(kernel).same_padding(), [12, 14]));
    }
    for kernel in [[9, 9], [1, 11], [11, 1]] {
        rows.push(at(split((5, 0), (6, 0)).kernel(kernel).same_padding(), [12, 14]));
    }
    rows.push(at(octave().kernel([1, 11]).same_padding(), [12, 14]));
    // The ResNet stem, whose kernel reaches beyond the whole map at low resolution.
    rows.push(at(split((3, 0), (6, 2)).kernel([7, 7]).same_padding().stride(2), [10, 6]));
    // One tap, though not of 1x1 without padding and in one group.
    rows.push(at(split((4, 2), (6, 2)).kernel([1, 1]).groups(2), [8, 5]));
    rows.push(at(split((5, 0), (6, 0)).kernel([1, 1]).padding([1, 2]), [8, 5]));
    rows
}

fn padding() -> Vec<Row> {
    let mut rows = Vec::new();
    for padding in [[0, 0], [2, 0], [3, 4], [1, 0], [2, 2]] {
        rows.push(at(split((9, 0), (10, 0)).kernel([3, 3]).padding(padding), [9, 11]));
        rows.push(at(split((0, 9), (0, 10)).kernel([3, 3]).padding(padding), [14, 16]));
    }
    rows.push(at(split((5, 0), (6, 0)).kernel([3, 3]).padding([0, 2]).stride(2), [15, 12]));
    // No padding: no tap lies outside.
    rows.push(at(split((9, 0), (6, 0)).kernel([3, 2]), [9, 8]));
    rows.push(at(split((9, 0), (6, 0)).kernel([3, 2]).dilation([2, 3]), [9, 8]));
    for (kernel, padding) in [([2, 2], [0, 0]), ([5, 3], [2, 1]), ([1, 7], [0, 3])] {
        rows.push(at(split((9, 0), (10, 0)).kernel(kernel).padding(padding).bias(true), [8, 9]));
    }
    for (padding, w) in [([0, 0], 4), ([0, 1], 6), ([1, 2], 11), ([0, 1], 14), ([1, 2], 6), ([0, 0], 14)] {
        let spec = split((5, 0), (7, 0)).kernel([3, 3]).padding(padding);
        rows.push(sized(spec, InputSize::video(3, 2, 5, w)));
    }
    rows
}

fn clips() -> Vec<Row> {
    let mut rows = Vec::new();
    for time in [
        time(3, 1, 1, 1),
        time(3, 2, 1, 1),
        time(3, 1, 2, 2),
        time(2, 1, 0, 1),
        time(1, 3, 0, 1),
        time(5, 2, 4, 2),
        time(1, 1, 2, 1),
        time(2, 2, 0, 2),
    ] {
        rows.push(sized(octave().time(time), InputSize::video(1, 6, 7, 8)));
    }
    let middle = time(3, 2, 1, 1);
    rows.push(sized(octave().time(middle).stride(2), InputSize::video(2, 5, 8, 9)));
    rows.push(sized(wide().time(middle), InputSize::video(2, 5, 5, 6)));
    rows.push(sized(octave1().time(time(3, 1, 1, 1)), InputSize::video(1, 4, 5, 6)));
    // Padding in time is not for the pointwise kernel.
    rows.push(sized(octave1().time(time(1, 1, 1, 1)), InputSize::video(1, 3, 4, 6)));
    rows.push(sized(octave1().time(time(1, 2, 0, 1)), InputSize::video(2, 5, 5, 6)));
    rows.push(sized(octave1().time(time(1, 2, 0, 1)).stride(2), InputSize::video(2, 4, 6, 5)));
    let depthwise = k3((4, 2), (4, 2)).depthwise();
    rows.push(sized(depthwise.time(time(3, 1, 1, 1)), InputSize::video(2, 3, 6, 5)));
    for (time, size) in [
        (middle, InputSize::video(2, 5, 5, 6)),
        (TimeAxis { dilation: 2, padding: 2, ..middle }, InputSize::video(1, 6, 4, 7)),
    ] {
        rows.push(sized(k3((10, 0), (9, 0)).time(time), size));
    }
    rows
}

fn batches() -> Vec<Row> {
    vec![
        sized(octave(), InputSize::video(2, 3, 6, 7)),
        sized(wide(), InputSize::image(3, 9, 6)),
        sized(octave().stride(2), InputSize::image(3, 8, 7)),
        sized(octave().stride(2).bias(true), InputSize::video(2, 3, 9, 12)),
        sized(k3((4, 2), (8, 4)).groups(2), InputSize::image(3, 5, 6)),
        sized(octave1(), InputSize::image(3, 7, 6)),
        sized(octave1(), InputSize::video(2, 3, 5, 6)),
        sized(k3((4, 0), (5, 0)), InputSize::video(3, 2, 6, 9)),
        // Of maps of 4x4 most of a window is padding.
        sized(k3((9, 0), (18, 0)), InputSize::image(5, 4, 4)),
    ]
}

fn activations() -> Vec<Row> {
    let mut rows = Vec::new();
    for activation in all_activations() {
        let depthwise = split((2, 1), (2, 1)).kernel([1, 3]).same_padding().depthwise();
        rows.push(at(depthwise.bias(true).activation(activation), [8, 8]).normed());
        rows.push(at(split((2, 1), (2, 1)).bias(true).activation(activation), [8, 8]).normed());
        rows.push(at(octave().bias(true).residual(true, true).activation(activation), [9, 10]).normed());
        let sliced = deep().bias(true).residual(true, true).activation(activation);
        rows.push(at(sliced, [7, 6]).normed());
    }
    rows.push(at(wide().activation(Activation::Relu), [8, 8]).normed());
    rows.push(at(octave1().activation(Activation::Relu), [8, 8]).normed());
    rows
}

fn residuals() -> Vec<Row> {
    let mut rows = Vec::new();
    for (high, low) in [(true, false), (false, true), (true, true)] {
        for spec in [octave(), octave1()] {
            let spec = spec.residual(high, low).activation(Activation::Relu);
            rows.push(at(spec.clone(), [7, 9]).pooled(false, high));
            rows.push(at(spec.stride(2), [8, 9]).pooled(false, high));
        }
    }
    for rounding in ROUNDINGS {
        for size in [[7, 9], [8, 6]] {
            let spec = wide().residual(true, true).activation(Activation::Relu).rounding(rounding);
            rows.push(at(spec, size).pooled(false, true));
        }
    }
    rows.push(at(k3((3, 0), (4, 0)).residual(true, false), [6, 6]));
    rows.push(at(octave().residual(false, true), [9, 10]).normed());
    rows
}

fn batch_norm() -> Vec<Row> {
    let mut rows = Vec::new();
    for bias in [false, true] {
        for spec in [octave(), octave().stride(2), k3((4, 2), (8, 4)).groups(2)] {
            rows.push(at(spec.bias(bias), [6, 9]).normed());
        }
    }
    rows
}

fn pooled_input() -> Vec<Row> {
    let mut rows = Vec::new();
    for rounding in ROUNDINGS {
        for (input, output) in [((5, 4), (6, 3)), ((5, 0), (6, 3)), ((5, 4), (0, 3))] {
            for size in [[8, 10], [9, 7]] {
                rows.push(at(k3(input, output).rounding(rounding), size).pooled(true, false));
                rows.push(at(k3(input, output).rounding(rounding).stride(2), size).pooled(true, false));
            }
            rows.push(at(split(input, output).rounding(rounding), [9, 6]).pooled(true, false));
            rows.push(at(split(input, output).rounding(rounding).stride(2), [9, 6]).pooled(true, false));
        }
        rows.push(at(wide().rounding(rounding), [9, 6]).pooled(true, false));
        rows.push(at(wide().rounding(rounding).stride(2), [9, 6]).pooled(true, false));
    }
    // With the whole map given, matrix units need no dispatch before.
    for size in [[9, 11], [7, 10], [1, 1], [1, 6], [3, 1], [10, 12]] {
        rows.push(at(wide(), size).pooled(true, false));
    }
    for size in [[9, 6], [4, 12], [9, 16], [2, 8]] {
        rows.push(at(split((10, 9), (12, 11)), size).pooled(true, false));
    }
    for (input, output) in [((1, 17), (33, 2)), ((17, 1), (1, 34))] {
        rows.push(at(k3(input, output), [8, 6]).pooled(true, false));
    }
    rows.push(sized(wide(), InputSize::image(3, 9, 6)).pooled(true, false));
    rows.push(sized(wide().time(time(3, 2, 1, 1)), InputSize::video(2, 5, 6, 7)).pooled(true, false));
    let slices = sized(wide(), InputSize::image(2, 9, 6)).slices(Some([3, 16]), Some([0, 37]));
    rows.push(slices.pooled(true, false));
    rows
}

fn pooled_output() -> Vec<Row> {
    let mut rows = Vec::new();
    for rounding in ROUNDINGS {
        for (spec, high) in [(octave(), k3((3, 2), (5, 0))), (octave1(), split((3, 2), (5, 0)))] {
            let [spec, high] = [spec, high].map(|spec| spec.rounding(rounding));
            let relu = spec.clone().activation(Activation::Relu);
            for size in [[8, 12], [9, 13], [2, 3]] {
                rows.push(at(relu.clone(), size).pooled(false, true));
            }
            rows.push(at(spec.stride(2), [13, 10]).pooled(false, true));
            rows.push(at(high, [7, 7]).pooled(false, true));
        }
    }
    rows.push(at(octave(), [9, 8]).pooled(true, true));
    for size in [[8, 12], [9, 13]] {
        rows.push(at(octave().activation(Activation::Relu), size).pooled(true, true));
    }
    for (pooled_input, pooled_output) in [(true, false), (false, true), (true, true)] {
        let spec = || octave().stride(2).residual(true, true).activation(Activation::Relu);
        rows.push(at(spec(), [17, 24]).pooled(pooled_input, pooled_output));
        rows.push(at(spec().rounding(Rounding::Floor), [17, 11]).pooled(pooled_input, pooled_output));
    }
    rows.push(at(k3((3, 0), (5, 0)).rounding(Rounding::Floor), [7, 7]).pooled(false, true));
    // All that an output is made of.
    let all = || wide().residual(true, true).activation(Activation::HardSwish).bias(true);
    for (rounding, size) in [(Rounding::Ceil, [9, 12]), (Rounding::Ceil, [7, 7]), (Rounding::Floor, [7, 9])] {
        rows.push(at(all().rounding(rounding), size).normed().pooled(true, true));
    }
    rows
}

fn strided() -> Vec<Row> {
    let mut rows = Vec::new();
    // A stride gives ceil(size / 2), so odd sizes do not go with rounding down.
    for (rounding, size) in [(Rounding::Ceil, [8, 12]), (Rounding::Ceil, [9, 11]), (Rounding::Floor, [8, 12])] {
        for spec in [octave(), octave1()] {
            let spec = spec.rounding(rounding).downsample(Downsample::StridedConv);
            rows.push(at(spec.clone(), size));
            rows.push(at(spec.stride(2), size));
        }
    }
    let wide = wide().downsample(Downsample::StridedConv);
    rows.push(at(wide.clone(), [9, 11]));
    rows.push(at(wide.clone().stride(2).bias(true), [9, 11]));
    rows.push(sized(wide.stride(2), InputSize::image(2, 8, 6)));
    // As released networks have their stem: without pooling, a row of taps a window.
    let stem = split((3, 0), (11, 0)).kernel([7, 7]).same_padding().stride(2).downsample(Downsample::StridedConv);
    rows.push(at(stem, [21, 26]));
    rows
}

fn exchange() -> Vec<Row> {
    let mut rows = Vec::new();
    for (high_to_low, low_to_high) in [(false, true), (true, false), (false, false)] {
        for spec in [octave(), octave1()] {
            let spec = spec.high_to_low(high_to_low).low_to_high(low_to_high);
            rows.push(at(spec.clone(), [9, 6]));
            rows.push(at(spec.stride(2), [8, 7]));
        }
    }
    rows.push(at(octave().rounding(Rounding::Floor).low_to_high(false), [9, 11]));
    rows
}

/// Each layer in all types.
fn types() -> Vec<Row> {
    let everything = |spec: SpecBuilder| spec.residual(true, true).activation(Activation::Relu);
    let rows = [
        at(octave().bias(true), [9, 8]),
        at(octave().bias(true).stride(2), [9, 8]),
        at(octave1().bias(true), [9, 8]),
        // Vectors of one and of two channels hold halves in words of their own.
        at(k3((3, 0), (1, 0)).bias(true), [7, 8]),
        at(split((3, 0), (2, 0)).kernel([3, 1]).same_padding().bias(true), [7, 8]),
        at(everything(octave().stride(2)), [9, 7]).normed().pooled(true, true),
        at(everything(octave1().stride(2)), [9, 7]).normed().pooled(true, true),
        at(wide().bias(true).residual(true, true), [9, 8]).pooled(false, true),
        at(deep().bias(true), [7, 6]),
    ];
    let typed = |row: Row| TYPES.map(|precision| row.clone().typed(precision));
    rows.into_iter().flat_map(typed).collect()
}

fn slices() -> Vec<Row> {
    let mut rows = Vec::new();
    for spec in [k3((3, 2), (6, 5)), split((3, 2), (6, 5))] {
        let spec = spec.bias(true);
        for sliced in [
            |row: Row| row.slices(Some([3, 12]), Some([0, 5])),
            |row: Row| row.slices(None, Some([0, 5])).pooled(false, true),
        ] {
            rows.push(sliced(sized(spec.clone(), InputSize::image(2, 9, 6))));
            rows.push(sliced(sized(spec.clone().stride(2), InputSize::image(2, 8, 7))));
        }
    }
    rows.push(sized(wide(), InputSize::image(2, 9, 6)).slices(Some([3, 16]), Some([0, 38])));
    rows.push(sized(octave().bias(true), InputSize::video(2, 3, 9, 6)).slices(Some([3, 12]), Some([1, 5])));
    rows
}

/// Widths at which a tensor is read or written by pairs of columns and the one beside it is not, and at which threads
/// have cells beyond the edge; with all that an output is made of.
fn pairs() -> Vec<Row> {
    let both = || octave1().bias(true).residual(true, true).activation(Activation::Relu);
    let two = || both().stride(2);
    let floor = Rounding::Floor;
    let batch = |spec: SpecBuilder, [h, w]: [u32; 2]| sized(spec, InputSize::image(2, h, w));
    let sliced = |row: Row| row.slices(Some([1, 11]), Some([2, 7]));
    let mut rows = vec![
        // Everything; the high resolution, with a column of cells beyond the edge; the low one.
        batch(both(), [6, 12]).pooled(false, true),
        batch(both(), [5, 10]).pooled(true, true),
        batch(both(), [3, 11]).pooled(false, true),
        // Y_H has more columns than cells of X_L, which is even.
        batch(both().rounding(floor), [5, 9]).pooled(true, true),
        // Even and odd widths above a width of 10, 12, and 6.
        batch(two(), [9, 20]).pooled(false, true),
        batch(two(), [6, 23]).pooled(true, true),
        batch(two().rounding(floor), [7, 13]).pooled(false, true),
        batch(two().downsample(Downsample::StridedConv), [6, 12]),
        sliced(batch(octave1(), [5, 12])),
        sliced(batch(octave1().stride(2), [5, 16])),
        at(split((4, 4), (18, 17)).bias(true), [4, 10]),
    ];
    // Of Winograd's transforms, against odd numbers of tiles and channels, and images that follow one another within
    // what a thread makes.
    let activation = Activation::LeakyRelu { slope: 0.1 };
    let odd = || k3((3, 5), (5, 3)).bias(true).residual(true, true).activation(activation);
    for [h, w] in [[3, 4], [5, 8], [8, 12], [9, 18]] {
        for pooled_input in [false, true] {
            rows.push(sized(odd(), InputSize::image(3, h, w)).pooled(pooled_input, true));
        }
        rows.push(sized(octave(), InputSize::video(1, 3, h, w)).slices(Some([3, 12]), Some([1, 5])));
    }
    rows
}

/// For every tile, on maps that none of them divides, with channels for wide tiles and all that unroll differently.
fn tiles() -> Vec<Row> {
    let all = |spec, size| at(spec, size).pooled(false, true);
    vec![
        all(k3((6, 8), (21, 19)).bias(true).residual(true, true), [11, 20]),
        all(split((8, 4), (36, 20)), [11, 16]),
        all(k3((4, 4), (12, 4)).groups(2), [11, 13]),
        all(split((4, 2), (20, 6)).kernel([5, 5]).stride(2).same_padding(), [11, 24]),
        all(split((8, 4), (40, 36)).bias(true).residual(true, true), [11, 13]),
        all(split((6, 3), (40, 9)), [11, 13]),
        at(split((4, 8), (9, 40)).stride(2), [11, 13]),
        at(split((7, 0), (33, 0)), [11, 13]),
        // More blocks than one of channels and of cells, and some that stand idle.
        at(k3((11, 5), (140, 70)), [19, 15]),
        at(split((16, 16), (24, 17)), [11, 13]),
        at(k3((8, 8), (24, 17)), [11, 13]),
        at(k3((9, 6), (70, 36)).bias(true), [30, 27]),
        at(split((35, 48), (40, 36)), [9, 7]),
        // Blocks, slabs and matrices unfilled; and filled. Rows of pairs and of fours.
        at(k3((20, 0), (69, 0)), [13, 11]),
        at(k3((32, 0), (64, 0)), [13, 11]),
        at(k3((20, 0), (69, 0)), [9, 6]),
        at(split((32, 0), (69, 0)), [9, 12]),
        at(split((32, 0), (69, 0)), [9, 14]),
        at(k3((32, 0), (69, 0)).stride(2).downsample(Downsample::StridedConv), [9, 12]),
    ]
}

/// Slices of the input channels, which differ in their slabs, and the kernel that adds their sums up.
fn split_k() -> Vec<Row> {
    let mut rows = Vec::new();
    for rounding in ROUNDINGS {
        for [h, w] in [[7, 7], [8, 6], [5, 9]] {
            rows.push(at(deep().rounding(rounding), [h, w]));
            rows.push(at(deep().rounding(rounding).stride(2), [h + 2, w + 2]));
        }
    }
    rows.push(at(deep().bias(true), [12, 10]));
    rows.push(at(deep().downsample(Downsample::StridedConv).stride(2), [9, 11]));
    rows.push(at(split((64, 64), (16, 16)), [7, 7]));
    rows.push(at(split((64, 40), (16, 16)), [7, 8]));
    rows.push(sized(deep(), InputSize::image(3, 5, 6)));
    rows.push(sized(deep().time(time(3, 2, 1, 1)), InputSize::video(2, 5, 6, 6)));
    for (input, output) in [
        ((33, 0), (6, 0)),
        ((0, 35), (0, 9)),
        ((33, 0), (0, 9)),
        ((0, 40), (6, 9)),
        ((48, 32), (6, 0)),
        ((40, 0), (12, 0)),
        ((0, 40), (12, 11)),
    ] {
        rows.push(at(k3(input, output).bias(true), [8, 8]));
    }
    rows.push(at(k3((64, 96), (8, 6)).groups(2), [7, 6]));
    rows.push(at(split((36, 33), (6, 5)).kernel([5, 5]).same_padding(), [7, 6]));
    rows.push(at(split((36, 33), (6, 5)).kernel([3, 3]).dilation([2, 1]).same_padding(), [7, 6]));
    for rounding in ROUNDINGS {
        let spec = deep().rounding(rounding).residual(true, false).activation(Activation::Relu);
        rows.push(at(spec, [7, 6]).pooled(false, true));
    }
    let sliced = sized(deep(), InputSize::image(2, 6, 7)).slices(Some([3, 16]), Some([0, 13]));
    rows.push(sliced.pooled(true, false));
    let spec = deep().residual(true, true).activation(Activation::Relu).bias(true);
    rows.push(at(spec, [7, 8]).pooled(true, true));
    rows
}

/// One tap an output, so that a wrong mean is a wrong output.
fn pools() -> Vec<Row> {
    let spec = || split((3, 0), (2, 2));
    let mut rows = Vec::new();
    for rounding in ROUNDINGS {
        for size in [[8, 6], [9, 6], [8, 7], [5, 5], [2, 2], [2, 3]] {
            rows.push(at(spec().rounding(rounding), size));
        }
        // X_H for H->H, its means again for H->L, and X_L for L->L.
        for size in [[8, 12], [9, 11], [7, 6]] {
            rows.push(at(split((3, 2), (2, 2)).rounding(rounding).stride(2), size));
        }
        for size in [[8, 6], [9, 7]] {
            rows.push(at(split((3, 0), (2, 0)).rounding(rounding), size).pooled(false, true));
        }
    }
    for size in [[1, 1], [1, 8], [7, 1]] {
        rows.push(at(spec(), size));
    }
    // More than one workgroup, and more than one of everything that a plane counts.
    rows.push(sized(spec(), InputSize::video(3, 2, 9, 8)));
    rows
}

fn adds() -> Vec<Row> {
    let both = || split((3, 2), (3, 2));
    let mut rows = vec![
        at(both().bias(true), [9, 6]),
        at(both().stride(2), [9, 6]),
        // L->H is replicated after its convolution, which so cannot finish Y_H.
        at(split((0, 2), (3, 0)).bias(true), [9, 6]),
        // A convolution that gives the output itself needs no addition.
        at(split((3, 0), (2, 0)).residual(true, false), [9, 6]),
        at(split((0, 2), (3, 0)).residual(true, false), [9, 6]),
        sized(both(), InputSize::video(3, 2, 9, 8)),
    ];
    for (high, low) in [(true, false), (false, true), (true, true)] {
        rows.push(at(both().residual(high, low), [9, 6]));
    }
    for activation in all_activations() {
        rows.push(at(both().residual(true, false).activation(activation), [6, 9]));
    }
    rows
}

/// One tap an output, so that a wrong neighbour is a wrong output.
fn upsamples() -> Vec<Row> {
    let spec = || split((0, 2), (3, 0));
    let mut rows = Vec::new();
    for size in [[8, 6], [9, 6], [8, 7], [5, 5], [1, 1], [1, 8], [7, 1]] {
        rows.push(at(spec(), size));
    }
    // A last row or column without one of its own below it takes its neighbour's.
    for size in [[8, 6], [9, 6], [8, 7], [5, 5], [2, 3], [3, 2]] {
        rows.push(at(spec().rounding(Rounding::Floor), size));
    }
    rows.push(sized(spec(), InputSize::video(3, 2, 9, 8)));
    rows.push(at(split((3, 2), (3, 2)), [9, 6]));
    rows.push(at(spec().stride(2), [8, 6]));
    rows
}

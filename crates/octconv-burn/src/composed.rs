//! The octave convolution out of Burn's own operators, which every backend has and autodiff differentiates.

use burn::tensor::Tensor;
use burn::tensor::activation;
use burn::tensor::module::{avg_pool2d, conv2d, interpolate};
use burn::tensor::ops::{AvgPoolOptions, ConvOptions, InterpolateMode, InterpolateOptions};
use octconv::{Activation, Downsample, Frequency, Path, Rounding, Shapes, Spec};

use crate::maps::OctTensor;

/// The values of a layer's parameters.
pub(crate) struct Values {
    /// In the order of [`Path::ALL`]. Those of paths that the layer does not have are absent.
    pub(crate) weights: [Option<Tensor<4>>; 4],
    /// Of Y_H and of Y_L.
    pub(crate) bias: [Option<Tensor<1>>; 2],
}

/// Both frequencies of the output, before residual and activation.
pub(crate) fn convolve(spec: &Spec, shapes: &Shapes, values: Values, input: OctTensor) -> [Option<Tensor<4>>; 2] {
    let (high, low) = input.into_parts();
    let [mut bias_h, mut bias_l] = values.bias;
    let (mut y_h, mut y_l) = (None, None);
    for (path, weight) in Path::ALL.into_iter().zip(values.weights) {
        let Some(weight) = weight else { continue };
        let source = if path.input() == Frequency::High { &high } else { &low };
        let source = source.clone().expect("the caller has checked the inputs");
        // The first path into an output brings its bias.
        let (sum, bias) =
            if path.output() == Frequency::High { (&mut y_h, bias_h.take()) } else { (&mut y_l, bias_l.take()) };
        let mut term = path_of(spec, path, source, weight, bias);
        if path == Path::LH && spec.stride() == 1 {
            let to = shapes.y_h.map(|dims| [dims.h as usize, dims.w as usize]);
            term = replicate(term, to.expect("L->H has an output"));
        }
        *sum = Some(match sum.take() {
            Some(sum) => sum + term,
            None => term,
        });
    }
    [y_h, y_l]
}

/// A path's convolution, at the resolution at which it convolves.
fn path_of(spec: &Spec, path: Path, mut x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>) -> Tensor<4> {
    // Halvings before or in the convolution. At stride 2 each path but L->H has one more.
    let halvings = match (path.input(), path.output()) {
        (Frequency::High, Frequency::Low) => spec.stride(),
        (Frequency::Low, Frequency::High) => 0,
        _ => spec.stride() - 1,
    };
    let mut step = 1;
    match spec.downsample() {
        Downsample::AveragePool => (0..halvings).for_each(|_| x = halve(x.clone(), spec.rounding())),
        Downsample::StridedConv => step = 1 << halvings,
        other => panic!("octave layer: no operators for {other:?}"),
    }
    let [padding, dilation] = [spec.padding(), spec.dilation()].map(|axes| axes.map(|axis| axis as usize));
    let groups = spec.path_groups(path) as usize;
    let y = conv2d(x, weight, bias, ConvOptions::new([step; 2], padding, dilation, groups));
    match y.dims() {
        // Burn 0.22.1 fuses an operator with a reduction, such as that of a loss, and then reads a convolution's output of one channel
        // at wrong places, unless it was reshaped.
        dims @ [_, 1, _, _] => y.flatten::<1>(0, 3).reshape(dims),
        _ => y,
    }
}

/// The means of 2x2 positions. At an odd edge that is rounded up, a mean is over the positions that exist.
pub(crate) fn halve(x: Tensor<4>, rounding: Rounding) -> Tensor<4> {
    let options = AvgPoolOptions::new([2, 2]).with_count_include_pad(false);
    avg_pool2d(x, options.with_ceil_mode(rounding == Rounding::Ceil))
}

/// Each element 2x2, cropped to this size. A last row or column beyond that repeats the one before it.
fn replicate(x: Tensor<4>, to: [usize; 2]) -> Tensor<4> {
    let [n, c, h, w] = x.dims();
    let options = InterpolateOptions::new(InterpolateMode::Nearest).with_align_corners(false);
    let mut y = interpolate(x, options.with_output_size([2 * h, 2 * w]));
    for (dim, (have, want)) in [(2, (2 * h, to[0])), (3, (2 * w, to[1]))] {
        if want > have {
            let last = y.clone().narrow(dim, have - 1, 1);
            y = Tensor::cat(vec![y, last], dim);
        }
    }
    y.slice([0..n, 0..c, 0..to[0], 0..to[1]])
}

/// Adds the residual, if there is one, and applies the activation.
pub(crate) fn finish(y: Tensor<4>, residual: Option<Tensor<4>>, activation: Activation) -> Tensor<4> {
    let sum = match residual {
        Some(residual) => y + residual,
        None => y,
    };
    activate(sum, activation)
}

/// Applies an activation.
pub(crate) fn activate<const D: usize>(x: Tensor<D>, activation: Activation) -> Tensor<D> {
    let hard_sigmoid = |x: Tensor<D>| (x + 3.0).clamp(0.0, 6.0) / 6.0;
    match activation {
        Activation::None => x,
        Activation::Relu => activation::relu(x),
        Activation::Relu6 => x.clamp(0.0, 6.0),
        Activation::Silu => activation::silu(x),
        Activation::HardSwish => x.clone() * hard_sigmoid(x),
        Activation::LeakyRelu { slope } => activation::leaky_relu(x, f64::from(slope)),
        Activation::Sigmoid => activation::sigmoid(x),
        Activation::Tanh => activation::tanh(x),
        Activation::Gelu => activation::gelu(x),
        Activation::GeluTanh => {
            let cubic = x.clone() * x.clone() * x.clone() * 0.044_715;
            let argument = (x.clone() + cubic) * (2.0 * std::f64::consts::FRAC_1_PI).sqrt();
            x * (argument.tanh() + 1.0) / 2.0
        }
        Activation::HardSigmoid => hard_sigmoid(x),
        other => panic!("octave layer: no operators for the activation {other:?}"),
    }
}

//! The octave convolution as a module.

use std::fmt;
use std::sync::Arc;

use burn::config::Config;
use burn::module::{Content, DisplaySettings, Module, ModuleDisplay, Param};
use burn::nn::{Initializer, PaddingConfig2d};
use burn::tensor::{DType, Device, Tensor};
use octconv::{Dtype, Frequency, InputSize, Options, Path, Precision, Shapes, Spec, TimeAxis, Weights};

use crate::accelerator::Accelerator;
use crate::composed::{self, Values};
use crate::maps::OctTensor;
#[cfg(feature = "networks")]
use crate::network::loaded;
use crate::op::{self, Prepared};
use crate::packed::{Key, Packed};

/// Configuration to create an [`OctConv2d`], with [`OctConv2dConfig::init`].
#[derive(Config, Debug)]
pub struct OctConv2dConfig {
    /// The number of channels of the input and of the output, high and low together.
    pub channels: [usize; 2],
    /// The shares of low channels of the input and of the output, each from 0 to 1. Low channels are alpha times all channels,
    /// rounded down. A first layer has `[0.0, alpha]`, and a last one `[alpha, 0.0]`.
    pub alpha: [f64; 2],
    /// The size of the kernel.
    pub kernel_size: [usize; 2],
    /// 1, or 2 to halve the resolution: by a mean of 2x2 positions before the convolution, as the paper has it.
    #[config(default = "1")]
    pub stride: usize,
    /// Spacing between kernel elements.
    #[config(default = "[1, 1]")]
    pub dilation: [usize; 2],
    /// The number of groups, the same from each frequency to each. As many as the input has channels make a depthwise
    /// convolution, in which no channel goes to the other frequency.
    #[config(default = "1")]
    pub groups: usize,
    /// The padding, the same at both resolutions. It must be the same at both ends of an axis. Unless it keeps the size, most layers
    /// with both frequencies are refused, because their sizes would not fit each other.
    #[config(default = "PaddingConfig2d::Same")]
    pub padding: PaddingConfig2d,
    /// Whether a bias is added to each frequency of the output.
    #[config(default = true)]
    pub bias: bool,
    /// How weights and biases are initialised. The fan in is that of an output over both frequencies of the input, as in a plain
    /// convolution.
    #[config(default = "default_initializer()")]
    pub initializer: Initializer,
}

/// That of Burn's convolutions.
pub(crate) fn default_initializer() -> Initializer {
    Initializer::KaimingUniform { gain: 1.0 / 3.0f64.sqrt(), fan_out_only: false }
}

impl OctConv2dConfig {
    /// Initialises an octave convolution.
    ///
    /// # Panics
    ///
    /// If the configuration is not that of a layer. The message names the field.
    pub fn init(&self, device: &Device) -> OctConv2d {
        OctConv2d::of_spec(self.spec(), &self.initializer, device)
    }

    /// The layer's specification.
    ///
    /// # Panics
    ///
    /// If the configuration is not that of a layer. The message names the field.
    pub fn spec(&self) -> Spec {
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let [c_in, c_out] = self.channels.map(number);
        let mut builder = Spec::builder(c_in, c_out)
            .alpha(self.alpha[0], self.alpha[1])
            .kernel(self.kernel_size.map(number))
            .stride(number(self.stride))
            .dilation(self.dilation.map(number))
            .bias(self.bias);
        builder = match self.padding {
            PaddingConfig2d::Valid => builder.padding([0, 0]),
            PaddingConfig2d::Same => {
                let whole =
                    |axis: usize| (self.dilation[axis] * self.kernel_size[axis].saturating_sub(1)).is_multiple_of(2);
                assert!(
                    whole(0) && whole(1),
                    "OctConv2dConfig: padding Same with kernel_size {:?} and dilation {:?} differs at the two ends of an axis: \
                     use an odd kernel, or Explicit",
                    self.kernel_size,
                    self.dilation
                );
                builder.same_padding()
            }
            PaddingConfig2d::Explicit(top, left, bottom, right) => {
                assert!(
                    (top, left) == (bottom, right),
                    "OctConv2dConfig: padding {:?} must be the same at both ends of an axis",
                    self.padding
                );
                builder.padding([top, left].map(number))
            }
        };
        builder = match self.groups {
            1 => builder,
            groups if groups == self.channels[0] => builder.depthwise(),
            groups => builder.groups(number(groups)),
        };
        builder.build().unwrap_or_else(|error| panic!("OctConv2dConfig: {error}"))
    }
}

/// An octave convolution of an image. Create it with [`OctConv2dConfig`], or with [`OctConv2d::of_spec`].
///
/// On a device that is [accelerated](crate::accelerate), a forward pass runs octconv's kernels on Burn's own tensors, if they are
/// f32 or f16 and autodiff is not on. Everywhere else it runs Burn's own operators. [`OctConv2d::acceleration`] tells which.
///
/// The first accelerated pass reads the weights from the device and packs them, and so does the first after parameters have changed,
/// or for a size whose kernels want them otherwise. The first for each size compiles kernels. The last 16 sizes are kept. If octconv
/// refuses one, that is kept too, and Burn's operators run. They also run if the device fails then, for example for want of memory,
/// and the next pass tries octconv's kernels again.
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct OctConv2d {
    w_hh: Option<Param<Tensor<4>>>,
    w_hl: Option<Param<Tensor<4>>>,
    w_lh: Option<Param<Tensor<4>>>,
    w_ll: Option<Param<Tensor<4>>>,
    bias_h: Option<Param<Tensor<1>>>,
    bias_l: Option<Param<Tensor<1>>>,
    packed: Packed,
    #[module(skip)]
    spec: Spec,
}

/// Why a forward pass does not run octconv's kernels, but Burn's operators.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotAccelerated {
    /// The input, or the residual, is on a device with autodiff.
    #[error("the input, or the residual, is on a device with autodiff: use Module::valid and a device without")]
    Autodiff,
    /// The device is not accelerated.
    #[error("the device is not accelerated: call octconv_burn::accelerate")]
    Device,
    /// A parameter, or the residual, is on another device, or has another type, than the input.
    #[error("a parameter, or the residual, is on another device, or has another type, than the input")]
    Parameters,
    /// octconv has no kernels for the type.
    #[error("the input is of type {0:?}: must be f32, or f16")]
    Dtype(DType),
    /// octconv refuses the layer at this size on this device.
    #[error(transparent)]
    Refused(#[from] octconv::Error),
}

impl OctConv2d {
    /// A layer of any specification for images: with other splits than those of alpha, without one of its paths, with another way to
    /// halve, with an activation, or with residuals.
    ///
    /// # Panics
    ///
    /// If the specification has a time axis.
    pub fn of_spec(spec: Spec, initializer: &Initializer, device: &Device) -> Self {
        assert!(spec.time() == TimeAxis::IMAGE, "OctConv2d: the layer has a time axis: must be a layer for images");
        let [hh, hl, lh, ll] = Path::ALL.map(|path| weight_shape(&spec, path));
        let taps = spec.kernel().iter().product::<u32>() as usize;
        let fan_in = |output: Frequency| -> usize {
            let into = Path::ALL.into_iter().filter(|path| path.output() == output && spec.has(*path));
            into.map(|path| spec.weight_shape(path)[1] as usize * taps).sum()
        };
        let fan_out = |input: Frequency| -> usize {
            let from = Path::ALL.into_iter().filter(|path| path.input() == input && spec.has(*path));
            from.map(|path| (spec.weight_shape(path)[0] / spec.path_groups(path).max(1)) as usize * taps).sum()
        };
        let weight = |path: Path, shape: [usize; 4]| {
            let fans = (fan_in(path.output()), fan_out(path.input()));
            spec.has(path).then(|| initializer.init_with(shape, Some(fans.0), Some(fans.1), device))
        };
        let bias = |frequency: Frequency| {
            let channels = spec.output().of(frequency) as usize;
            let fans = (fan_in(frequency), channels * taps);
            (spec.has_bias() && channels > 0)
                .then(|| initializer.init_with([channels], Some(fans.0), Some(fans.1), device))
        };
        Self {
            w_hh: weight(Path::HH, hh),
            w_hl: weight(Path::HL, hl),
            w_lh: weight(Path::LH, lh),
            w_ll: weight(Path::LL, ll),
            bias_h: bias(Frequency::High),
            bias_l: bias(Frequency::Low),
            packed: Packed::default(),
            spec,
        }
    }

    /// What the layer computes.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// The weights of a path `[c_out, c_in / groups, kh, kw]`, if the layer has the path.
    pub fn weight(&self, path: Path) -> Option<&Param<Tensor<4>>> {
        let weights = [&self.w_hh, &self.w_hl, &self.w_lh, &self.w_ll];
        Path::ALL.into_iter().zip(weights).find(|(of, _)| *of == path).and_then(|(_, weight)| weight.as_ref())
    }

    /// The bias of a frequency of the output, if the layer has it.
    pub fn bias(&self, frequency: Frequency) -> Option<&Param<Tensor<1>>> {
        if frequency == Frequency::High { self.bias_h.as_ref() } else { self.bias_l.as_ref() }
    }

    /// Applies the layer.
    ///
    /// # Shapes
    /// - input: high `[n, c_in_high, h, w]` and low `[n, c_in_low, h / 2, w / 2]`, halves rounded up
    /// - output: the same with the channels of the output, at half of the size with stride 2
    ///
    /// # Panics
    ///
    /// If the input does not fit the layer, or the layer adds a residual. Also if Burn has no memory for the outputs, or if the
    /// device fails where the layer is bound to its tensors: it is lost, or has too little memory. With Burn's operator fusion that is
    /// when the fused stream comes to the layer.
    pub fn forward(&self, input: OctTensor) -> OctTensor {
        self.forward_with(input, None)
    }

    /// As [`OctConv2d::forward`], for a layer that adds a residual if its specification says so.
    ///
    /// # Panics
    ///
    /// As [`OctConv2d::forward`], and if the residual does not fit the layer.
    pub fn forward_with(&self, input: OctTensor, residual: Option<OctTensor>) -> OctTensor {
        let (size, shapes) = self.check(&input, residual.as_ref());
        match self.prepared(&input, residual.as_ref(), size) {
            Ok(layer) => self.output(size, op::run(&layer, input, residual)),
            Err(_) => self.compose(size, &shapes, input, residual),
        }
    }

    /// As [`OctConv2d::forward_with`], but always by Burn's operators, to compare with.
    ///
    /// # Panics
    ///
    /// If the input or the residual does not fit the layer.
    pub fn forward_composed(&self, input: OctTensor, residual: Option<OctTensor>) -> OctTensor {
        let (size, shapes) = self.check(&input, residual.as_ref());
        self.compose(size, &shapes, input, residual)
    }

    /// Whether a forward pass of this input would run octconv's kernels: the name of the variant, or why not. The first call for a
    /// size packs weights and compiles kernels, as a forward pass does.
    ///
    /// # Errors
    ///
    /// Why it would run Burn's operators.
    ///
    /// # Panics
    ///
    /// If the input does not fit the layer.
    pub fn acceleration(&self, input: &OctTensor) -> Result<String, NotAccelerated> {
        self.acceleration_with(input, None)
    }

    pub(crate) fn acceleration_with(
        &self,
        input: &OctTensor,
        residual: Option<&OctTensor>,
    ) -> Result<String, NotAccelerated> {
        let (size, _) = self.check_input(input);
        self.prepared(input, residual, size).map(|layer| layer.plan().variant().to_string())
    }

    #[cfg(test)]
    pub(crate) fn packed(&self) -> &Packed {
        &self.packed
    }

    fn compose(&self, size: InputSize, shapes: &Shapes, input: OctTensor, residual: Option<OctTensor>) -> OctTensor {
        let (residual_h, residual_l) = residual.map_or((None, None), OctTensor::into_parts);
        let [y_h, y_l] = composed::convolve(&self.spec, shapes, self.values(), input);
        let finish = |y: Option<Tensor<4>>, residual| y.map(|y| composed::finish(y, residual, self.spec.activation()));
        self.output(size, [finish(y_h, residual_h), finish(y_l, residual_l)])
    }

    fn output(&self, size: InputSize, [high, low]: [Option<Tensor<4>>; 2]) -> OctTensor {
        let full = self.spec.output_size(size).unwrap_or_else(|error| panic!("OctConv2d: {error}"));
        OctTensor::of_parts(high, low, [full.h as usize, full.w as usize])
    }

    /// The layer with tensors by octconv's names. It keeps those that there are none for.
    #[cfg(feature = "networks")]
    pub(crate) fn with_tensors<'a>(self, find: &dyn Fn(&str) -> Option<&'a octconv::network::HostTensor>) -> Self {
        let weight = |param: Option<Param<Tensor<4>>>, name| param.map(|param| loaded(param, find(name)));
        let bias = |param: Option<Param<Tensor<1>>>, name| param.map(|param| loaded(param, find(name)));
        Self {
            w_hh: weight(self.w_hh, "w_hh"),
            w_hl: weight(self.w_hl, "w_hl"),
            w_lh: weight(self.w_lh, "w_lh"),
            w_ll: weight(self.w_ll, "w_ll"),
            bias_h: bias(self.bias_h, "bias_h"),
            bias_l: bias(self.bias_l, "bias_l"),
            packed: Packed::default(),
            spec: self.spec,
        }
    }

    fn values(&self) -> Values {
        Values {
            weights: Path::ALL.map(|path| self.weight(path).map(Param::val)),
            bias: [Frequency::High, Frequency::Low].map(|frequency| self.bias(frequency).map(Param::val)),
        }
    }

    fn check_input(&self, input: &OctTensor) -> (InputSize, Shapes) {
        let split = self.spec.input();
        let (found, expected) = (input.channels(), [split.high, split.low].map(|c| c as usize));
        assert!(
            found == expected,
            "OctConv2d: the input has {} high and {} low channels, and the layer reads {} and {}",
            found[0],
            found[1],
            expected[0],
            expected[1]
        );
        let [h, w] = input.size();
        let [n, h, w] = [input.samples(), h, w].map(|axis| u32::try_from(axis).unwrap_or(u32::MAX));
        let size = InputSize::image(n, h, w);
        let shapes = self.spec.shapes(size).unwrap_or_else(|error| panic!("OctConv2d: {error}"));
        for (name, part, dims) in [("high", input.high(), shapes.x_h), ("low", input.low(), shapes.x_l)] {
            let Some((part, dims)) = part.zip(dims) else { continue };
            let expected = [dims.n, dims.c, dims.h, dims.w].map(|axis| axis as usize);
            assert!(
                part.dims() == expected,
                "OctConv2d: the {name} channels of the input are {:?}, and must be {expected:?}",
                part.dims()
            );
        }
        (size, shapes)
    }

    /// The size of the input and the shapes, if the input and the residual fit the layer.
    fn check(&self, input: &OctTensor, residual: Option<&OctTensor>) -> (InputSize, Shapes) {
        let (size, shapes) = self.check_input(input);
        let parts = residual.map_or([None, None], |residual| [residual.high(), residual.low()]);
        let outputs = [("high", Frequency::High, shapes.y_h), ("low", Frequency::Low, shapes.y_l)];
        for ((name, frequency, dims), part) in outputs.into_iter().zip(parts) {
            let wanted = dims.filter(|_| self.spec.has_residual(frequency));
            let wanted = wanted.map(|dims| [dims.n, dims.c, dims.h, dims.w].map(|axis| axis as usize));
            let found = part.map(Tensor::dims);
            assert!(
                found == wanted,
                "OctConv2d: the {name} channels of the residual are {found:?}, and must be {wanted:?}"
            );
        }
        (size, shapes)
    }

    /// The layer for an input of this size on its device, or why there is none.
    fn prepared(
        &self,
        input: &OctTensor,
        residual: Option<&OctTensor>,
        size: InputSize,
    ) -> Result<Prepared, NotAccelerated> {
        let (device, dtype) = (input.device(), input.dtype());
        if input.is_autodiff() || residual.is_some_and(OctTensor::is_autodiff) {
            return Err(NotAccelerated::Autodiff);
        }
        let accelerator = Accelerator::of(&device).ok_or(NotAccelerated::Device)?;
        if residual.is_some_and(|residual| residual.dtype() != dtype || residual.device() != device) {
            return Err(NotAccelerated::Parameters);
        }
        let precision = match dtype {
            DType::F32 => Precision::of(Dtype::F32),
            DType::F16 => Precision::of(Dtype::F16),
            dtype => return Err(NotAccelerated::Dtype(dtype)),
        };
        let key = Key { size, dtype, accelerator };
        if let Some(answer) = self.packed.get(&key) {
            return Ok(answer?);
        }
        let values = self.values();
        if !values.are(&device, dtype) {
            return Err(NotAccelerated::Parameters);
        }
        let answer = self.prepare(&key, precision, values);
        Ok(self.packed.keep(key, answer)?)
    }

    fn prepare(&self, key: &Key, precision: Precision, values: Values) -> Result<Prepared, octconv::Error> {
        let engine = &key.accelerator.engine;
        let plan = engine.plan(&self.spec, key.size, &Options { precision, ..Options::default() })?;
        // Before the weights are read, because it may fail, and reading them waits for the device.
        engine.compile(&plan)?;
        let weights = match self.packed.weights(key, &plan) {
            Some(weights) => weights,
            None => Arc::new(engine.pack(&plan, &values.read().borrow())?),
        };
        Ok(Prepared::new(key.accelerator.clone(), plan, weights, key.dtype, self.packed.last()))
    }
}

impl Values {
    /// Whether all are on this device, without autodiff, and of this type.
    fn are(&self, device: &Device, dtype: DType) -> bool {
        let is = |at: Device, of: DType| at == *device && !at.is_autodiff() && of == dtype;
        self.weights.iter().flatten().all(|weight| is(weight.device(), weight.dtype()))
            && self.bias.iter().flatten().all(|bias| is(bias.device(), bias.dtype()))
    }

    /// Reads them from the device.
    fn read(self) -> HostValues {
        HostValues { weights: self.weights.map(|weight| weight.map(read)), bias: self.bias.map(|bias| bias.map(read)) }
    }
}

pub(crate) fn read<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    let data = tensor.into_data().convert::<f32>();
    data.try_into_vec().expect("the data was converted to f32")
}

/// The values of a layer's parameters on the host.
struct HostValues {
    weights: [Option<Vec<f32>>; 4],
    bias: [Option<Vec<f32>>; 2],
}

impl HostValues {
    fn borrow(&self) -> Weights<'_> {
        let [w_hh, w_hl, w_lh, w_ll] = self.weights.each_ref().map(Option::as_deref);
        let [bias_h, bias_l] = self.bias.each_ref().map(Option::as_deref);
        Weights { w_hh, w_hl, w_lh, w_ll, bias_h, bias_l, norm_h: None, norm_l: None }
    }
}

/// The shape of a path's weights in Burn: `[c_out, c_in / groups, kh, kw]`.
fn weight_shape(spec: &Spec, path: Path) -> [usize; 4] {
    let [c_out, c_in, _, kh, kw] = spec.weight_shape(path).map(|axis| axis as usize);
    [c_out, c_in, kh, kw]
}

impl ModuleDisplay for OctConv2d {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        DisplaySettings::new().with_new_line_after_attribute(false).optional()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        let debug = |value: &dyn fmt::Debug| format!("{value:?}");
        let split = |split: octconv::Split| format!("{} high, {} low", split.high, split.low);
        let spec = &self.spec;
        content
            .add("ch_in", &split(spec.input()))
            .add("ch_out", &split(spec.output()))
            .add("stride", &(spec.stride() as usize))
            .add("kernel_size", &debug(&spec.kernel()))
            .add("dilation", &debug(&spec.dilation()))
            .add("groups", &debug(&spec.groups()))
            .add("padding", &debug(&spec.padding()))
            .optional()
    }
}

//! Octave layers by Burn's operators, on a backend without octconv's kernels, and with autodiff.

mod common;

use burn::config::Config;
use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::nn::PaddingConfig2d;
use burn::optim::{GradientsParams, SgdConfig};
use burn::store::ModuleRecord;
use burn::tensor::{Bytes, Device, Tensor, TensorData};
use common::{assert_close, device, difference, random_map, values};
use octconv_burn::octconv::reference::{Inputs, octave_conv};
use octconv_burn::octconv::{Activation, Dims, Downsample, Frequency, InputSize, Path, Rounding, Spec, Weights};
use octconv_burn::{OctConv2d, OctConv2dConfig, OctTensor};

/// Compares a layer with octconv's reference, on the CPU.
fn check(spec: &Spec, n: u32, size: [u32; 2]) {
    let device = Device::flex();
    let initializer = OctConv2dConfig::new([1, 1], [0.0, 0.0], [1, 1]).initializer;
    let layer = OctConv2d::of_spec(spec.clone(), &initializer, &device);
    let at = InputSize::image(n, size[0], size[1]);
    let shapes = spec.shapes(at).unwrap_or_else(|error| panic!("{spec:?} at {at:?}: {error}"));
    let map =
        |dims: Option<Dims>| dims.map(|d| common::random([d.n, d.c, d.h, d.w].map(|axis| axis as usize), &device));
    let full = size.map(|axis| axis as usize);
    let of = |high: Option<Tensor<4>>, low: Option<Tensor<4>>, full| match (high, low) {
        (Some(high), Some(low)) => OctTensor::new(high, low),
        (Some(high), None) => OctTensor::plain(high),
        (None, Some(low)) => OctTensor::low_only(low, full),
        (None, None) => panic!("a map has channels"),
    };
    let x = of(map(shapes.x_h), map(shapes.x_l), full);
    let residual_h = shapes.y_h.filter(|_| spec.has_residual(Frequency::High));
    let residual_l = shapes.y_l.filter(|_| spec.has_residual(Frequency::Low));
    let out = spec.output_size(at).unwrap();
    let residual =
        residual_h.or(residual_l).map(|_| of(map(residual_h), map(residual_l), [out.h as usize, out.w as usize]));

    let weights = Path::ALL.map(|path| layer.weight(path).map(|weight| values(&weight.val())));
    let bias = [Frequency::High, Frequency::Low].map(|f| layer.bias(f).map(|bias| values(&bias.val())));
    let [w_hh, w_hl, w_lh, w_ll] = weights.each_ref().map(Option::as_deref);
    let [bias_h, bias_l] = bias.each_ref().map(Option::as_deref);
    let weights = Weights { w_hh, w_hl, w_lh, w_ll, bias_h, bias_l, ..Weights::default() };
    let read = |map: &OctTensor| [map.high(), map.low()].map(|part| part.map(values));
    let [x_h, x_l] = read(&x);
    let [residual_h, residual_l] = residual.as_ref().map_or([None, None], read);
    let inputs = Inputs {
        x_h: x_h.as_deref().filter(|_| spec.reads(Frequency::High)),
        x_l: x_l.as_deref().filter(|_| spec.reads(Frequency::Low)),
        x_p: None,
        residual_h: residual_h.as_deref(),
        residual_l: residual_l.as_deref(),
    };
    let wanted = octave_conv(spec, at, &weights, &inputs).unwrap();
    let found = layer.forward_with(x, residual);
    for (found, wanted) in [(found.high(), wanted.y_h), (found.low(), wanted.y_l)] {
        assert_eq!(found.is_some(), wanted.is_some());
        let Some((found, wanted)) = found.zip(wanted) else { continue };
        let difference = difference(&values(found), &wanted.to_f32());
        assert!(difference < 1e-5, "{spec:?} at {at:?}: differs by {difference}");
    }
}

#[test]
fn burns_operators_compute_what_the_reference_does() {
    for [alpha_in, alpha_out] in [[0.0, 0.0], [0.0, 0.5], [0.5, 0.0], [0.5, 0.5], [0.25, 0.75], [1.0, 1.0], [1.0, 0.5]]
    {
        for stride in [1, 2] {
            for size in [[8, 8], [9, 7], [13, 10]] {
                let builder = Spec::builder(8, 16).alpha(alpha_in, alpha_out).stride(stride).bias(true);
                check(&builder.clone().build().unwrap(), 1, size);
                check(&builder.kernel([3, 3]).same_padding().build().unwrap(), 2, size);
            }
        }
    }
    let builder = || Spec::builder(8, 8).alpha(0.5, 0.5).kernel([3, 3]).same_padding();
    for builder in [
        builder().groups(2),
        builder().groups(2).stride(2),
        builder().depthwise(),
        builder().depthwise().stride(2),
        builder().dilation([2, 1]),
        builder().high_to_low(false),
        builder().low_to_high(false),
        builder().residual(true, true).activation(Activation::Relu),
    ] {
        check(&builder.build().unwrap(), 2, [13, 10]);
    }
    for stride in [1, 2] {
        check(&builder().rounding(Rounding::Floor).stride(stride).build().unwrap(), 1, [13, 11]);
        check(&builder().downsample(Downsample::StridedConv).stride(stride).build().unwrap(), 1, [16, 12]);
    }
    for activation in Activation::all() {
        check(&builder().activation(activation).build().unwrap(), 1, [8, 8]);
    }
}

/// A weighted sum of all elements of a map with both frequencies.
fn weighted_sum(y: OctTensor, factors: OctTensor) -> Tensor<1> {
    let ((y_h, y_l), (f_h, f_l)) = (y.into_parts(), factors.into_parts());
    (y_h.unwrap() * f_h.unwrap()).sum() + (y_l.unwrap() * f_l.unwrap()).sum()
}

#[test]
fn gradients_are_slopes() {
    gradients(&Device::flex());
}

#[test]
fn gradients_on_the_device_are_slopes() {
    gradients(&device());
}

fn gradients(device: &Device) {
    for (stride, size) in [(1, [7, 6]), (2, [7, 5])] {
        let config = OctConv2dConfig::new([4, 4], [0.5, 0.5], [3, 3]).with_stride(stride);
        let layer = config.init(&device.clone().autodiff());
        let x = random_map(1, [2, 2], size, device);
        let factors = random_map(1, [2, 2], size.map(|axis: usize| axis.div_ceil(stride)), device);
        let tracked = x.clone().map(|x| x.autodiff().require_grad());
        let loss = weighted_sum(layer.forward(tracked.clone()), factors.clone().map(Tensor::autodiff));
        let gradients = loss.backward();

        // The layer is linear in each part of its input and in each of its weights: a step of 1 makes no error but rounding.
        let plain = layer.valid();
        let loss_of =
            |layer: &OctConv2d, x: &OctTensor| values(&weighted_sum(layer.forward(x.clone()), factors.clone()))[0];
        let before = loss_of(&plain, &x);
        let moved = |tensor: &Tensor<4>, index: usize| {
            let (dims, mut data) = (tensor.dims(), values(tensor));
            data[index] += 1.0;
            Tensor::<4>::from_data(TensorData::new(data, dims), device)
        };
        let (high, low) = (x.high().unwrap(), x.low().unwrap());
        let of_high = values(&tracked.high().unwrap().grad(&gradients).unwrap());
        let of_low = values(&tracked.low().unwrap().grad(&gradients).unwrap());
        for index in (0..of_high.len()).step_by(3) {
            let slope = loss_of(&plain, &OctTensor::new(moved(high, index), low.clone())) - before;
            assert!((slope - of_high[index]).abs() < 1e-4, "high {index}: {slope} and {}", of_high[index]);
        }
        for (index, &gradient) in of_low.iter().enumerate() {
            let slope = loss_of(&plain, &OctTensor::new(high.clone(), moved(low, index))) - before;
            assert!((slope - gradient).abs() < 1e-4, "low {index}: {slope} and {gradient}");
        }
        for path in Path::ALL {
            let weight = layer.weight(path).unwrap().val();
            let gradient = values(&weight.grad(&gradients).unwrap());
            for index in (0..gradient.len()).step_by(7) {
                let step = Step { id: layer.weight(path).unwrap().id, index };
                let slope = loss_of(&plain.clone().map(&mut { step }), &x) - before;
                assert!((slope - gradient[index]).abs() < 2e-4, "{path:?} {index}: {slope} and {}", gradient[index]);
            }
        }
    }
}

/// Adds 1 to an element of a parameter.
struct Step {
    id: ParamId,
    index: usize,
}

impl ModuleMapper for Step {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if param.id != self.id {
            return param;
        }
        param.map(|tensor| {
            let (dims, mut data) = (tensor.dims(), values(&tensor));
            data[self.index] += 1.0;
            Tensor::from_data(TensorData::new(data, dims), &tensor.device())
        })
    }
}

/// Two octave layers.
#[derive(Module, Debug)]
struct Model {
    first: OctConv2d,
    last: OctConv2d,
}

impl Model {
    fn new(device: &Device) -> Self {
        let layer = |channels, alpha| OctConv2dConfig::new(channels, alpha, [3, 3]).init(device);
        Self { first: layer([2, 8], [0.0, 0.5]), last: layer([8, 1], [0.5, 0.0]) }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let hidden = self.first.forward(OctTensor::plain(x)).map(burn::tensor::activation::relu);
        self.last.forward(hidden).into_plain()
    }
}

/// Trains a model from a record. Returns it, and the loss before each step. The output has one channel, which Burn's fusion would
/// read at wrong places if the layer let it.
fn trained(record: &Bytes, x: &TensorData, device: &Device) -> (Model, Vec<f32>) {
    let record = ModuleRecord::from_bytes(record.clone()).unwrap();
    let mut model = Model::new(&device.clone().autodiff()).load_record(record);
    let mut optimizer = SgdConfig::new().init();
    let x = Tensor::<4>::from_data(x.clone(), device);
    // The mean of the channels.
    let wanted = x.clone().mean_dim(1) * 0.5;
    let mut losses = Vec::new();
    for _ in 0..20 {
        let off = model.forward(x.clone().autodiff()) - wanted.clone().autodiff();
        let loss = (off.clone() * off).mean();
        losses.push(values(&loss)[0]);
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(0.1, model, gradients);
    }
    (model, losses)
}

#[test]
fn a_model_trains_alike_everywhere_and_then_runs_accelerated() {
    let flex = Device::flex();
    let record = Model::new(&flex).into_record().into_bytes().unwrap();
    let x = common::random([4, 2, 8, 8], &flex).to_data();
    let (model, losses) = trained(&record, &x, &flex);
    assert!(losses[19] < losses[0], "{losses:?}");
    let (on_device, found) = trained(&record, &x, &device());
    assert!(difference(&found, &losses) < 1e-5, "{found:?} and {losses:?}");

    let answer = values(&model.valid().forward(Tensor::from_data(x.clone(), &flex)));
    let x = Tensor::from_data(x, &device());
    for model in [model.valid().to_device(&device()), on_device.valid()] {
        model.first.acceleration(&OctTensor::plain(x.clone())).unwrap();
        assert!(difference(&values(&model.forward(x.clone())), &answer) < 1e-4);
    }
}

#[test]
fn a_step_between_forward_passes_is_seen() {
    let device = device();
    let mut model = Model::new(&device.clone().autodiff());
    let mut optimizer = SgdConfig::new().init();
    let x = common::random([2, 2, 8, 8], &device);
    let mut answers = Vec::new();
    for _ in 0..3 {
        // It packs weights, which must not outlive the step.
        let plain = model.valid();
        let hidden = OctTensor::plain(x.clone());
        plain.first.acceleration(&hidden).unwrap();
        let found = plain.first.forward(hidden.clone());
        assert_close("between steps", &found, &plain.first.forward_composed(hidden, None), 2e-5);
        answers.push(values(&plain.forward(x.clone())));
        let gradients = GradientsParams::from_grads(model.forward(x.clone().autodiff()).sum().backward(), &model);
        model = optimizer.step(0.01, model, gradients);
    }
    assert_ne!(answers[0], answers[1]);
    assert_ne!(answers[1], answers[2]);
}

#[test]
fn records_go_from_one_device_to_another() {
    let flex = Device::flex();
    let model = Model::new(&flex);
    let x = common::random([1, 2, 9, 7], &flex);
    let wanted = values(&model.forward(x.clone()));
    let bytes = model.into_record().into_bytes().unwrap();
    let loaded = Model::new(&device()).load_record(ModuleRecord::from_bytes(bytes).unwrap());
    let x = Tensor::from_data(x.into_data(), &device());
    loaded.first.acceleration(&OctTensor::plain(x.clone())).unwrap();
    assert!(difference(&values(&loaded.forward(x)), &wanted) < 2e-5);
}

#[test]
fn configurations_are_files() {
    let config = OctConv2dConfig::new([8, 16], [0.25, 0.5], [3, 3]).with_stride(2);
    let config = config.with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1));
    let read = OctConv2dConfig::load_binary(config.to_string().as_bytes()).unwrap();
    assert_eq!(read.spec(), config.spec());
}

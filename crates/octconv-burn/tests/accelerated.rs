//! Octave layers by octconv's kernels against the same layers by Burn's operators, on the same device.

mod common;

use burn::module::{Module, ModuleMapper, Param};
use burn::nn::PaddingConfig2d;
use burn::store::ModuleRecord;
use burn::tensor::{DType, Tensor};
use common::{assert_close, device, difference, random, random_map, values};
use octconv_burn::octconv::{Activation, Downsample, Frequency, Path, Rounding, Spec};
use octconv_burn::{NotAccelerated, OctConv2d, OctConv2dConfig, OctTensor};

const CLOSE: f32 = 2e-5;

/// A random input of the layer.
fn input(layer: &OctConv2d, n: usize, size: [usize; 2]) -> OctTensor {
    let split = layer.spec().input();
    random_map(n, [split.high as usize, split.low as usize], size, &device())
}

/// Fails unless the layer runs octconv's kernels, and gives what Burn's operators give.
#[track_caller]
fn check(what: &str, layer: &OctConv2d, input: &OctTensor) -> OctTensor {
    if let Err(error) = layer.acceleration(input) {
        panic!("{what}: {error}");
    }
    let found = layer.forward(input.clone());
    assert_close(what, &found, &layer.forward_composed(input.clone(), None), CLOSE);
    found
}

#[test]
fn all_kinds_of_layers() {
    let splits = [[0.0, 0.0], [0.0, 0.5], [0.5, 0.0], [0.5, 0.5], [0.25, 0.75], [1.0, 1.0], [1.0, 0.5], [0.0, 1.0]];
    for alpha in splits {
        for (stride, size) in [(1, [8, 8]), (1, [9, 7]), (2, [8, 8]), (2, [13, 10]), (2, [11, 7])] {
            for kernel in [1, 3] {
                let config = OctConv2dConfig::new([8, 16], alpha, [kernel, kernel]).with_stride(stride);
                let layer = config.init(&device());
                check(&format!("{config:?} at {size:?}"), &layer, &input(&layer, 1, size));
            }
        }
    }
}

#[test]
fn groups_kernels_biases_and_batches() {
    let config = |channels| OctConv2dConfig::new(channels, [0.5, 0.5], [3, 3]);
    let layers = [
        ("groups", config([16, 32]).with_groups(4), 1, [10, 10]),
        ("groups at stride 2", config([16, 32]).with_groups(4).with_stride(2), 2, [11, 10]),
        ("depthwise", config([16, 16]).with_groups(16), 3, [9, 12]),
        ("depthwise at stride 2", config([16, 16]).with_groups(16).with_stride(2), 1, [9, 12]),
        ("depthwise with a multiplier", config([8, 16]).with_groups(8), 1, [8, 8]),
        ("7x7", OctConv2dConfig::new([3, 8], [0.0, 0.5], [7, 7]).with_stride(2), 2, [22, 17]),
        ("dilation", config([8, 8]).with_dilation([2, 2]), 1, [12, 12]),
        ("1x3", OctConv2dConfig::new([8, 8], [0.5, 0.5], [1, 3]), 1, [8, 9]),
        ("no bias", config([8, 8]).with_bias(false), 1, [8, 8]),
        ("explicit padding", config([8, 8]).with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1)), 1, [8, 8]),
        (
            "valid padding",
            OctConv2dConfig::new([8, 8], [0.5, 0.5], [1, 1]).with_padding(PaddingConfig2d::Valid),
            1,
            [6, 6],
        ),
        ("a batch of 3", config([8, 12]), 3, [14, 14]),
        ("many channels", config([128, 128]), 1, [14, 14]),
    ];
    for (what, config, n, size) in layers {
        let layer = config.init(&device());
        check(what, &layer, &input(&layer, n, size));
    }
}

#[test]
fn other_specifications() {
    let builder = || Spec::builder(8, 8).alpha(0.5, 0.5).kernel([3, 3]).same_padding().bias(true);
    let initializer = OctConv2dConfig::new([1, 1], [0.0, 0.0], [1, 1]).initializer;
    let mut specs = vec![
        ("floor", builder().rounding(Rounding::Floor)),
        ("floor at stride 2", builder().rounding(Rounding::Floor).stride(2)),
        ("strided", builder().downsample(Downsample::StridedConv)),
        ("strided at stride 2", builder().downsample(Downsample::StridedConv).stride(2)),
        ("without H->L", builder().high_to_low(false)),
        ("without L->H", builder().low_to_high(false)),
    ];
    specs.extend(Activation::all().map(|activation| ("an activation", builder().activation(activation))));
    for (what, builder) in specs {
        let spec = builder.build().unwrap();
        let size = if spec.rounding() == Rounding::Floor { [9, 11] } else { [8, 12] };
        let half = size.map(|axis| spec.rounding().half(axis) as usize);
        let size = size.map(|axis| axis as usize);
        let layer = OctConv2d::of_spec(spec, &initializer, &device());
        let x =
            OctTensor::new(random([2, 4, size[0], size[1]], &device()), random([2, 4, half[0], half[1]], &device()));
        check(&format!("{what}: {:?}", layer.spec()), &layer, &x);
    }
}

#[test]
fn residuals() {
    let spec = Spec::builder(8, 8).alpha(0.5, 0.5).kernel([3, 3]).same_padding().residual(true, true);
    let spec = spec.activation(Activation::Relu).build().unwrap();
    let layer = OctConv2d::of_spec(spec, &OctConv2dConfig::new([1, 1], [0.0, 0.0], [1, 1]).initializer, &device());
    let (x, residual) = (input(&layer, 2, [9, 8]), input(&layer, 2, [9, 8]));
    layer.acceleration(&x).unwrap();
    let found = layer.forward_with(x.clone(), Some(residual.clone()));
    assert_close("a residual", &found, &layer.forward_composed(x.clone(), Some(residual)), CLOSE);
    // The input as the residual, so that the layer reads one memory twice.
    let found = layer.forward_with(x.clone(), Some(x.clone()));
    assert_close("itself", &found, &layer.forward_composed(x.clone(), Some(x)), CLOSE);
}

#[test]
fn inputs_that_are_not_contiguous() {
    let device = device();
    let layer = OctConv2dConfig::new([8, 8], [0.5, 0.5], [3, 3]).init(&device);
    let low = random([3, 4, 5, 5], &device);
    let channels_last = random([3, 9, 9, 4], &device).permute([0, 3, 1, 2]);
    check("channels last", &layer, &OctTensor::new(channels_last, low.clone()));
    let of_more = random([3, 9, 9, 9], &device).narrow(1, 2, 4);
    check("some of the channels", &layer, &OctTensor::new(of_more, low.clone()));
    // An offset of 3 * 4 * 81 elements, which no device can bind.
    let samples = random([7, 4, 9, 9], &device).narrow(0, 3, 3);
    check("some of the samples", &layer, &OctTensor::new(samples, low.clone()));
    let repeated = random([1, 4, 9, 9], &device).expand([3, 4, 9, 9]);
    check("one sample repeated", &layer, &OctTensor::new(repeated, low.clone()));
    let flipped = random([3, 4, 9, 9], &device).flip([2]);
    check("flipped", &layer, &OctTensor::new(flipped, low));
    // Both frequencies out of one tensor.
    let all = random([1, 500, 1, 1], &device);
    let part = |from, n, h: usize| all.clone().narrow(1, from, n).reshape([1, 4, h, h]);
    check("two parts of one tensor", &layer, &OctTensor::new(part(0, 324, 9), part(64, 100, 5)));
}

#[test]
fn before_and_behind_other_operators() {
    let device = device();
    let layer = OctConv2dConfig::new([8, 8], [0.5, 0.5], [3, 3]).init(&device);
    let x = input(&layer, 2, [12, 12]);
    let chain = |forward: &dyn Fn(OctTensor) -> OctTensor| {
        let y = forward(x.clone().map(|x| x * 2.0 + 1.0)).map(|y| y.clamp_min(0.0) * 0.5);
        forward(forward(y).map(|y| y.clone() + y.exp().log())).map(|y| y - 3.0)
    };
    let found = chain(&|x| layer.forward(x));
    assert_close("a chain", &found, &chain(&|x| layer.forward_composed(x, None)), 1e-4);
}

#[test]
fn other_tensors_stay_as_they_are() {
    let device = device();
    let layer = OctConv2dConfig::new([8, 8], [0.5, 0.5], [3, 3]).init(&device);
    let mut guards = Vec::new();
    for round in 0..12 {
        let size = [7 + round % 3, 6 + round % 2];
        let mut guard = |c| guards.push(random([1, c, size[0], size[1]], &device));
        guard(4);
        let x = input(&layer, 1, size);
        guard(3);
        let before: Vec<_> = guards.iter().map(values).collect();
        let kept = x.clone();
        let of_input = [x.high(), x.low()].map(|part| values(part.unwrap()));
        let y = check("between guards", &layer, &x);
        drop(y);
        assert_eq!(guards.iter().map(values).collect::<Vec<_>>(), before);
        assert_eq!([kept.high(), kept.low()].map(|part| values(part.unwrap())), of_input);
    }
}

#[test]
fn threads_share_a_module() {
    let layer = OctConv2dConfig::new([8, 8], [0.5, 0.5], [3, 3]).init(&device());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let layer = &layer;
            scope.spawn(move || {
                for round in 0..3 {
                    check("in a thread", layer, &input(layer, 1 + thread % 2, [8, 8 + round]));
                }
            });
        }
    });
    // Tensors of another thread.
    let x = std::thread::spawn(|| random_map(1, [4, 4], [8, 8], &device()).map(|x| x + 1.0)).join().unwrap();
    check("from a thread", &layer, &x);
}

/// Multiplies every parameter.
struct Times(f32);

impl ModuleMapper for Times {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|tensor| tensor * self.0)
    }
}

#[test]
fn changed_weights_are_used() {
    let device = device();
    let config = OctConv2dConfig::new([8, 8], [0.5, 0.5], [3, 3]);
    let layer = config.init(&device);
    let x = input(&layer, 1, [8, 8]);
    let first = check("at first", &layer, &x);

    let kept = layer.clone();
    let doubled = layer.map(&mut Times(2.0));
    let found = check("mapped", &doubled, &x);
    assert_close("doubled", &found, &first.clone().map(|y| y * 2.0), CLOSE);
    assert_close("a clone keeps its weights", &check("kept", &kept, &x), &first, CLOSE);

    let other = config.init(&device);
    let second = check("another", &other, &x);
    let bytes = other.into_record().into_bytes().unwrap();
    let loaded = kept.load_record(ModuleRecord::from_bytes(bytes).unwrap());
    assert_close("loaded", &check("loaded", &loaded, &x), &second, CLOSE);
    let forked = loaded.fork(&device);
    assert_close("forked", &check("forked", &forked, &x), &second, CLOSE);
}

#[test]
fn many_sizes() {
    let layer = OctConv2dConfig::new([8, 8], [0.5, 0.5], [3, 3]).init(&device());
    for _ in 0..2 {
        for h in 4..11 {
            check("a size", &layer, &input(&layer, 1, [h, 6]));
        }
    }
}

#[test]
fn says_why_not() {
    let config = OctConv2dConfig::new([8, 8], [0.5, 0.5], [3, 3]);
    let x = |device: &burn::tensor::Device| random_map(1, [4, 4], [8, 8], device);
    let flex = burn::tensor::Device::flex();
    let why = |device: &burn::tensor::Device, x: &OctTensor| config.init(device).acceleration(x).unwrap_err();
    assert!(matches!(why(&flex, &x(&flex)), NotAccelerated::Device));
    let autodiff = device().autodiff();
    assert!(matches!(why(&autodiff, &x(&autodiff)), NotAccelerated::Autodiff));
    assert!(matches!(why(&autodiff, &x(&device())), NotAccelerated::Parameters));
    // A type that Burn has, and octconv has no kernels for.
    let bf16 = |h| Tensor::<4>::empty([1, 4, h, h], (&device(), DType::BF16));
    assert!(matches!(why(&device(), &OctTensor::new(bf16(8), bf16(4))), NotAccelerated::Dtype(DType::BF16)));
    // One element that looks as large as no binding may be.
    let huge = |n| random([1, 1, 1, 1], &device()).expand([1, 4, n, n]);
    let refused = why(&device(), &OctTensor::new(huge(60_000), huge(30_000)));
    assert!(matches!(refused, NotAccelerated::Refused(_)), "{refused}");
}

/// The gradients of the tracked ones of high and low, for the sum of a layer's output.
fn gradients(layer: &OctConv2d, x: &OctTensor, tracked: [bool; 2]) -> [Option<Vec<f32>>; 2] {
    let [high, low] = [x.high(), x.low()].map(|part| part.unwrap().clone());
    let track = |part: Tensor<4>, tracked| if tracked { part.autodiff().require_grad() } else { part };
    let x = OctTensor::new(track(high, tracked[0]), track(low, tracked[1]));
    assert!(matches!(layer.acceleration(&x), Err(NotAccelerated::Autodiff)), "{tracked:?}");
    let (y_h, y_l) = layer.forward(x.clone()).into_parts();
    let gradients = (y_h.unwrap().sum() + y_l.unwrap().sum()).backward();
    let of =
        |part: Option<&Tensor<4>>, tracked: bool| tracked.then(|| values(&part.unwrap().grad(&gradients).unwrap()));
    [of(x.high(), tracked[0]), of(x.low(), tracked[1])]
}

#[test]
fn one_frequency_may_be_tracked() {
    let layer = OctConv2dConfig::new([8, 8], [0.5, 0.5], [3, 3]).init(&device());
    let x = input(&layer, 1, [8, 6]);
    let both = gradients(&layer, &x, [true, true]);
    for (index, tracked) in [[true, false], [false, true]].into_iter().enumerate() {
        let one = gradients(&layer, &x, tracked);
        let [found, wanted] = [&one, &both].map(|gradients| gradients[index].as_ref().unwrap());
        assert!(difference(found, wanted) < CLOSE, "{tracked:?}");
    }

    // And of a residual, whose map the input's kernels would read.
    let spec = Spec::builder(8, 8).alpha(0.5, 0.5).kernel([3, 3]).same_padding().residual(true, true).build().unwrap();
    let layer = OctConv2d::of_spec(spec, &OctConv2dConfig::new([1, 1], [0.0, 0.0], [1, 1]).initializer, &device());
    let low = x.low().unwrap().clone().autodiff().require_grad();
    let residual = OctTensor::new(x.high().unwrap().clone(), low.clone());
    let (_, y_l) = layer.forward_with(x, Some(residual)).into_parts();
    let gradient = values(&low.grad(&y_l.unwrap().sum().backward()).unwrap());
    assert!(gradient.iter().all(|gradient| *gradient == 1.0), "{gradient:?}");
}

#[test]
fn half_precision() {
    let has_f16 = device().supports_dtype(DType::F16);
    common::report(has_f16, "f16");
    if !has_f16 {
        return;
    }
    struct ToF16;
    impl ModuleMapper for ToF16 {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|tensor| tensor.cast(DType::F16))
        }
    }
    // Outputs of 3 * 7 * 5 elements: their last word is half full.
    let config = OctConv2dConfig::new([6, 6], [0.5, 0.5], [3, 3]);
    let exact = config.init(&device());
    let x = random_map(1, [3, 3], [7, 5], &device());
    let wanted = exact.forward(x.clone());
    let layer = exact.map(&mut ToF16);
    let x = x.map(|x| x.cast(DType::F16));
    layer.acceleration(&x).unwrap();
    let found = layer.forward(x);
    assert_eq!(found.dtype(), DType::F16);
    assert_close("f16", &found, &wanted, 4e-3);
}

#[test]
fn parameters_have_burns_shapes() {
    let layer = OctConv2dConfig::new([8, 16], [0.25, 0.5], [3, 3]).init(&device());
    let shapes = Path::ALL.map(|path| layer.weight(path).unwrap().dims());
    assert_eq!(shapes, [[8, 6, 3, 3], [8, 6, 3, 3], [8, 2, 3, 3], [8, 2, 3, 3]]);
    assert_eq!(layer.bias(Frequency::High).unwrap().dims(), [8]);
    // As many as a plain convolution has, and a bias per output.
    assert_eq!(layer.num_params(), 16 * 8 * 9 + 16);
    // The bound of Kaiming's uniform distribution for all inputs of an output.
    let bound = (1.0 / (8.0f32 * 9.0)).sqrt();
    let largest = values(&layer.weight(Path::HH).unwrap().val()).iter().fold(0.0f32, |max, v| max.max(v.abs()));
    assert!(largest <= bound && largest > 0.9 * bound, "{largest} and {bound}");
    let first = OctConv2dConfig::new([8, 16], [0.0, 0.5], [3, 3]).init(&device());
    assert!(first.weight(Path::LH).is_none() && first.weight(Path::LL).is_none());
    assert_eq!(
        format!("{first}"),
        "OctConv2d {ch_in: 8 high, 0 low, ch_out: 8 high, 8 low, stride: 1, kernel_size: [3, 3], dilation: [1, 1], \
         groups: Count(1), padding: [1, 1], params: 1168}"
    );
}

#[test]
#[should_panic = "the input has 3 high and 4 low channels, and the layer reads 4 and 4"]
fn wrong_channels() {
    let layer = OctConv2dConfig::new([8, 8], [0.5, 0.5], [3, 3]).init(&device());
    layer.forward(random_map(1, [3, 4], [8, 8], &device()));
}

#[test]
#[should_panic = "the low channels of the input are [1, 4, 4, 4], and must be [1, 4, 5, 5]"]
fn halves_that_are_rounded_down() {
    let layer = OctConv2dConfig::new([8, 8], [0.5, 0.5], [3, 3]).init(&device());
    layer.forward(OctTensor::new(random([1, 4, 9, 9], &device()), random([1, 4, 4, 4], &device())));
}

#[test]
#[should_panic = "low must have half of them"]
fn frequencies_that_do_not_fit() {
    OctTensor::new(random([1, 4, 9, 9], &device()), random([1, 4, 9, 9], &device()));
}

#[test]
#[should_panic = "OctConv2dConfig: groups is 3: must divide the 4 high input channels"]
fn wrong_groups() {
    OctConv2dConfig::new([8, 8], [0.5, 0.5], [3, 3]).with_groups(3).init(&device());
}

#[test]
#[should_panic = "use an odd kernel"]
fn an_even_kernel() {
    OctConv2dConfig::new([8, 8], [0.5, 0.5], [2, 2]).init(&device());
}

//! Times octave layers by octconv's kernels against the same layers by Burn's operators, on the same device, in turn.
//!
//! It prints the middle time of each and their ratio. A pass ends when the device is done, so small layers show what a pass costs the
//! host too.

use std::time::Instant;

use burn::tensor::{DeviceKind, Distribution, Tensor};
use octconv_burn::{OctConv2dConfig, OctTensor};

/// How long each layer is timed, at least.
const SECONDS: f64 = 2.0;
/// How many passes of each, at least.
const LEAST: usize = 5;

fn main() {
    let device = octconv_burn::init(DeviceKind::DefaultDevice).expect("a wgpu device opens");
    println!("{:<48} {:>12} {:>12} {:>7}", "layer", "octconv, ms", "Burn, ms", "ratio");
    let config = |channels, alpha, kernel: usize| OctConv2dConfig::new(channels, alpha, [kernel, kernel]);
    for (name, config, size) in [
        ("3x3, 64 to 64, alpha .5, 56x56", config([64, 64], [0.5, 0.5], 3), 56),
        ("3x3, 64 to 64, alpha .25, 56x56", config([64, 64], [0.25, 0.25], 3), 56),
        ("3x3, 64 to 64, plain, 56x56", config([64, 64], [0.0, 0.0], 3), 56),
        ("3x3, 128 to 128, alpha .5, stride 2, 56x56", config([128, 128], [0.5, 0.5], 3).with_stride(2), 56),
        ("3x3, 256 to 256, alpha .5, 14x14", config([256, 256], [0.5, 0.5], 3), 14),
        ("1x1, 256 to 64, alpha .5, 56x56", config([256, 64], [0.5, 0.5], 1), 56),
        ("1x1, 64 to 256, alpha 0 to .5, 56x56", config([64, 256], [0.0, 0.5], 1), 56),
        ("3x3 depthwise, 128, alpha .5, 56x56", config([128, 128], [0.5, 0.5], 3).with_groups(128), 56),
        ("7x7, 3 to 64, stride 2, alpha 0 to .5, 224x224", config([3, 64], [0.0, 0.5], 7).with_stride(2), 224),
    ] {
        let layer = config.init(&device);
        let split = layer.spec().input();
        let part = |c: u32, size: usize| {
            Tensor::<4>::random([1, c as usize, size, size], Distribution::Uniform(-1.0, 1.0), &device)
        };
        let x = match split.low {
            0 => OctTensor::plain(part(split.high, size)),
            low => OctTensor::new(part(split.high, size), part(low, size / 2)),
        };
        layer.acceleration(&x).expect("the layer runs octconv's kernels");
        let time = |run: &dyn Fn() -> OctTensor| {
            let start = Instant::now();
            let y = run();
            device.sync().expect("the device has not failed");
            drop(y);
            start.elapsed().as_secs_f64()
        };
        let kernels = || layer.forward(x.clone());
        let operators = || layer.forward_composed(x.clone(), None);
        // The first passes compile.
        for _ in 0..2 {
            time(&kernels);
            time(&operators);
        }
        let (mut of_kernels, mut of_operators) = (Vec::new(), Vec::new());
        let start = Instant::now();
        while of_kernels.len() < LEAST || start.elapsed().as_secs_f64() < SECONDS {
            of_kernels.push(time(&kernels));
            of_operators.push(time(&operators));
        }
        let [ours, burns] = [of_kernels, of_operators].map(|mut times| {
            times.sort_by(f64::total_cmp);
            times[times.len() / 2] * 1e3
        });
        println!("{name:<48} {ours:>12.3} {burns:>12.3} {:>7.2}", burns / ours);
    }
}

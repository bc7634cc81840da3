// The activation of a layer.

#import common/nan

// 0 none, 1 ReLU, 2 ReLU6, 3 SiLU, 4 hard-swish, 5 leaky ReLU with `slope`, 6 sigmoid, 7 tanh, 8 GELU, 9 GELU by tanh,
// 10 hard-sigmoid.
const ACTIVATION: u32 = 0u;

// A NaN stays one, also where its comparisons or its exponential make a number of it.
fn activate(x: f32, slope: f32) -> f32 {
    if ACTIVATION == 0u {
        return x;
    }
    return select(activated(x, slope), x, is_nan(x));
}

fn activated(x: f32, slope: f32) -> f32 {
    switch ACTIVATION {
        case 1u: {
            return max(x, 0.0);
        }
        case 2u: {
            return clamp(x, 0.0, 6.0);
        }
        case 3u: {
            // exp(-x) would overflow if x is far below zero, and exp(x) lies below 2^-126, which a device may take for zero,
            // before the product with x does.
            let h = exp(-0.5 * abs(x));
            return select(x * h * h, x, x >= 0.0) / (1.0 + h * h);
        }
        case 4u: {
            return x * clamp(x + 3.0, 0.0, 6.0) / 6.0;
        }
        case 5u: {
            return select(slope * x, x, x >= 0.0);
        }
        case 6u: {
            // exp(-x) would overflow if x is far below zero.
            let e = exp(-abs(x));
            return select(e, 1.0, x >= 0.0) / (1.0 + e);
        }
        case 7u: {
            // The tanh of some devices overflows.
            let e = exp(-2.0 * abs(x));
            let y = (1.0 - e) / (1.0 + e);
            return select(-y, y, x >= 0.0);
        }
        case 8u: {
            // Abramowitz and Stegun, 7.1.26: the share of the normal distribution beyond |x|.
            let z = min(abs(x), 20.0);
            let t = 1.0 / (1.0 + 0.231641888 * z);
            let series = t * (0.127414796 + t * (-0.142248368 + t * (0.7107068705 + t * (-0.7265760135 + t * 0.5307027145))));
            let beyond = series * exp(-0.5 * z * z);
            return x * select(beyond, 1.0 - beyond, x >= 0.0);
        }
        case 9u: {
            // (1 + tanh(a)) / 2 = 1 / (1 + exp(-2 a)), which is 0 or 1 beyond |a| = 40.
            // The cube of a large x would overflow.
            let z = clamp(x, -100.0, 100.0);
            let a = clamp(0.7978845608 * (z + 0.044715 * z * z * z), -40.0, 40.0);
            return x * select(1.0 / (1.0 + exp(-2.0 * a)), 0.0, a <= -40.0);
        }
        case 10u: {
            return clamp(x + 3.0, 0.0, 6.0) / 6.0;
        }
        default: {
            return x;
        }
    }
}

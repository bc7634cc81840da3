// The activation of a layer.

// 0 none, 1 ReLU, 2 ReLU6, 3 SiLU, 4 hard-swish, 5 leaky ReLU with `slope`.
const ACTIVATION: u32 = 0u;

fn activate(x: f32, slope: f32) -> f32 {
    switch ACTIVATION {
        case 1u: {
            return max(x, 0.0);
        }
        case 2u: {
            return clamp(x, 0.0, 6.0);
        }
        case 3u: {
            return x / (1.0 + exp(-x));
        }
        case 4u: {
            return x * clamp(x + 3.0, 0.0, 6.0) / 6.0;
        }
        case 5u: {
            return select(slope * x, x, x >= 0.0);
        }
        default: {
            return x;
        }
    }
}

//! The function that a layer applies to each output after the sum.
//!
//! `CONTRIBUTING.md` says how to add one.

use crate::error::Error;

/// The function applied to each output after the sum.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "network", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "network", serde(rename_all = "snake_case", deny_unknown_fields))]
#[non_exhaustive]
pub enum Activation {
    /// y = x.
    #[default]
    None,
    /// y = max(x, 0).
    Relu,
    /// y = min(max(x, 0), 6).
    Relu6,
    /// y = x / (1 + exp(-x)).
    Silu,
    /// y = x * min(max(x + 3, 0), 6) / 6.
    HardSwish,
    /// y = x if x >= 0, else slope * x.
    LeakyRelu {
        /// The factor of negative values. Must be finite.
        slope: f32,
    },
    /// y = 1 / (1 + exp(-x)).
    Sigmoid,
    /// y = tanh(x).
    Tanh,
    /// y = x * (1 + erf(x / sqrt(2))) / 2.
    Gelu,
    /// GELU approximated by tanh: y = x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))) / 2.
    GeluTanh,
    /// y = min(max(x + 3, 0), 6) / 6.
    HardSigmoid,
}

/// All activations, in the order of their numbers.
const ALL: [Activation; 11] = [
    Activation::None,
    Activation::Relu,
    Activation::Relu6,
    Activation::Silu,
    Activation::HardSwish,
    Activation::LeakyRelu { slope: 0.1 },
    Activation::Sigmoid,
    Activation::Tanh,
    Activation::Gelu,
    Activation::GeluTanh,
    Activation::HardSigmoid,
];

/// Everything about an activation.
struct Row {
    /// Name and value of its parameter, if it has one.
    parameter: Option<(&'static str, f32)>,
    /// Its value for x and the parameter.
    function: fn(f64, f64) -> f64,
    /// A bound on |d function / dx| for the parameter.
    lipschitz: fn(f64) -> f64,
    /// How far the shader's result y may be off for an exact x, in units of f32's epsilon. Arguments: a bound on |x|,
    /// and |y|. 0 if it rounds as a multiplication does.
    #[cfg_attr(not(feature = "context"), allow(dead_code, reason = "error bounds ask"))]
    error: fn(f64, f64) -> f64,
    /// Its case in `shaders/common/activate.wgsl`.
    number: u32,
}

impl Activation {
    const fn row(self) -> Row {
        const PLAIN: Row =
            Row { parameter: None, function: |x, _| x, lipschitz: |_| 1.0, error: |_, _| 0.0, number: 0 };
        match self {
            Self::None => PLAIN,
            // Not f64::max, which would turn a NaN into 0.
            Self::Relu => Row { function: |x, _| x.clamp(0.0, f64::INFINITY), number: 1, ..PLAIN },
            Self::Relu6 => Row { function: |x, _| x.clamp(0.0, 6.0), number: 2, ..PLAIN },
            Self::Silu => Row {
                function: |x, _| x / (1.0 + libm::exp(-x)),
                // The maximum of the derivative is 1.0998, at x = 2.3994.
                lipschitz: |_| 1.1,
                // WGSL's exp(x) is off by up to 3 + 2 |x| ulp.
                error: |x, y| (8.0 + 3.0 * x) * y,
                number: 3,
                ..PLAIN
            },
            Self::HardSwish => Row {
                function: |x, _| x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
                // The maximum of the derivative is (2x + 3) / 6 at x = 3.
                lipschitz: |_| 1.5,
                number: 4,
                ..PLAIN
            },
            Self::LeakyRelu { slope } => Row {
                parameter: Some(("slope", slope)),
                function: |x, slope| if x >= 0.0 { x } else { slope * x },
                lipschitz: |slope| slope.abs().max(1.0),
                number: 5,
                ..PLAIN
            },
            Self::Sigmoid => Row {
                function: |x, _| 1.0 / (1.0 + libm::exp(-x)),
                lipschitz: |_| 0.25,
                error: |x, y| (8.0 + 3.0 * x) * y,
                number: 6,
                ..PLAIN
            },
            Self::Tanh => Row {
                function: |x, _| libm::tanh(x),
                // 1 - exp(-2 |x|) keeps the absolute error of exp, which is largest at 0.
                error: |_, _| 12.0,
                number: 7,
                ..PLAIN
            },
            Self::Gelu => Row {
                function: |x, _| x * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2)) / 2.0,
                // The maximum of the derivative is 1.1290, at x = sqrt(2).
                lipschitz: |_| 1.13,
                // The shader's normal distribution is off by 7.5e-8, and by rounding.
                error: |x, _| 10.0 * x,
                number: 8,
                ..PLAIN
            },
            Self::GeluTanh => Row {
                function: |x, _| {
                    let argument = (2.0 * std::f64::consts::FRAC_1_PI).sqrt() * (x + 0.044_715 * x * x * x);
                    x * (1.0 + libm::tanh(argument)) / 2.0
                },
                // The maximum of the derivative is 1.1290, at x = 1.42.
                lipschitz: |_| 1.13,
                // The rounding of tanh's argument counts most where tanh is far from -1 and 1.
                error: |x, _| 10.0 * x,
                number: 9,
                ..PLAIN
            },
            Self::HardSigmoid => {
                Row { function: |x, _| (x + 3.0).clamp(0.0, 6.0) / 6.0, lipschitz: |_| 1.0 / 6.0, number: 10, ..PLAIN }
            }
        }
    }

    /// All activations. Parameters have a usual value.
    pub fn all() -> impl ExactSizeIterator<Item = Self> {
        ALL.into_iter()
    }

    /// The value at `x`, in f64. It has the same bits on every machine.
    pub fn apply(self, x: f64) -> f64 {
        let row = self.row();
        (row.function)(x, f64::from(self.slope()))
    }

    /// A bound on |d apply / dx|.
    pub fn lipschitz(self) -> f64 {
        (self.row().lipschitz)(f64::from(self.slope()))
    }

    /// How far a shader's result `y` may be off for an exact x, if |x| is at most `magnitude`.
    #[cfg(feature = "context")]
    pub(crate) fn own_error(self, magnitude: f64, y: f64) -> f64 {
        (self.row().error)(magnitude, y.abs()) * f64::from(f32::EPSILON)
    }

    /// The number of its case in `shaders/common/activate.wgsl`, where it is the constant ACTIVATION.
    pub(crate) fn number(self) -> u32 {
        self.row().number
    }

    /// The parameter, or 0 if it has none.
    pub(crate) fn slope(self) -> f32 {
        self.row().parameter.map_or(0.0, |(_, value)| value)
    }

    /// Refuses a parameter that is NaN or infinite.
    pub(crate) fn check(self) -> Result<(), Error> {
        match self.row().parameter {
            Some((name, value)) if !value.is_finite() => Err(Error::argument(name, value, "must be finite")),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shader_has_a_case_for_each() {
        let shader = include_str!("../../shaders/common/activate.wgsl");
        for (i, activation) in Activation::all().enumerate() {
            assert_eq!(activation.number() as usize, i, "{activation:?}");
            // The default case is that of number 0.
            assert_eq!(shader.contains(&format!("case {i}u:")), i > 0, "{activation:?}");
        }
        assert_eq!(shader.matches("case ").count(), ALL.len() - 1);
    }

    #[test]
    fn bounds_are_bounds() {
        for activation in Activation::all() {
            for i in -4000..4000 {
                let (x, step) = (f64::from(i) / 200.0, 1e-6);
                let slope = (activation.apply(x + step) - activation.apply(x)) / step;
                assert!(slope.abs() <= activation.lipschitz() + 1e-5, "{activation:?} at {x}: {slope}");
            }
            assert!(activation.apply(f64::NAN).is_nan(), "{activation:?}");
        }
    }

    #[cfg(feature = "network")]
    #[test]
    fn files_name_each() {
        let text = |activation: &Activation| serde_json::to_string(activation).unwrap();
        let texts: Vec<_> = ALL.iter().map(text).collect();
        let wanted = [
            r#""none""#,
            r#""relu""#,
            r#""relu6""#,
            r#""silu""#,
            r#""hard_swish""#,
            r#"{"leaky_relu":{"slope":0.1}}"#,
            r#""sigmoid""#,
            r#""tanh""#,
            r#""gelu""#,
            r#""gelu_tanh""#,
            r#""hard_sigmoid""#,
        ];
        assert_eq!(texts, wanted);
        for (activation, text) in ALL.into_iter().zip(&texts) {
            assert_eq!(serde_json::from_str::<Activation>(text).unwrap(), activation);
        }
        let error = |text: &str| serde_json::from_str::<Activation>(text).unwrap_err().to_string();
        assert!(error(r#""swish""#).starts_with("unknown variant `swish`, expected one of `none`, `relu`,"));
        assert!(error(r#"{"leaky_relu": {}}"#).starts_with("missing field `slope`"));
        assert!(error(r#"{"leaky_relu": {"slope": 1, "slope": 2}}"#).starts_with("duplicate field `slope`"));
        assert!(!error(r#""leaky_relu""#).is_empty());
        assert!(!error(r#"{"relu": {"slope": 1}}"#).is_empty());
    }
}

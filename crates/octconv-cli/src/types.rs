//! The number types that a command computes in.

use octconv::network::NetworkOptions;
use octconv::{Accuracy, Dtype, Options, Precision};

/// Types of stored numbers and of sums.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct TypeArgs {
    /// Type of activations and weights on the adapter
    #[arg(long, value_name = "f32|f16", default_value = "f32")]
    pub dtype: Dtype,
    /// The narrowest type for sums. With --dtype f16 and --sums f16, kernels that add up in f16 may be chosen
    #[arg(long, value_name = "f32|f16", default_value = "f32")]
    pub sums: Dtype,
    #[command(flatten)]
    pub accuracy: AccuracyArgs,
}

/// Which kernels may run.
#[derive(clap::Args, Clone, Copy, Debug, Default)]
pub struct AccuracyArgs {
    /// Allow Winograd kernels. They are faster, but where inputs near each other differ much in size their errors are
    /// larger, and an infinity or a NaN spreads
    #[arg(long)]
    fast: bool,
    /// Allow only kernels whose errors are bounded by the sum of |w x| of each output. This is the default
    #[arg(long, conflicts_with = "fast")]
    exact: bool,
}

impl AccuracyArgs {
    /// As with `--fast`.
    pub const FAST: Self = Self { fast: true, exact: false };

    pub fn accuracy(self) -> Accuracy {
        if self.fast { Accuracy::Fast } else { Accuracy::Exact }
    }
}

impl TypeArgs {
    fn precision(self) -> Precision {
        Precision { sums: self.sums, ..Precision::of(self.dtype) }
    }

    /// The arguments of a command that computes in the same types.
    pub fn flags(self) -> String {
        let mut flags = String::new();
        for (flag, dtype) in [("--dtype", self.dtype), ("--sums", self.sums)] {
            if dtype == Dtype::F16 {
                flags += &format!(" {flag} {dtype}");
            }
        }
        if self.accuracy.fast { flags + " --fast" } else { flags }
    }

    pub fn options(self) -> Options {
        Options { precision: self.precision(), accuracy: self.accuracy.accuracy(), ..Options::default() }
    }

    pub fn network_options(self, keep: Vec<String>) -> NetworkOptions {
        NetworkOptions {
            precision: self.precision(),
            accuracy: self.accuracy.accuracy(),
            keep,
            ..NetworkOptions::default()
        }
    }
}

impl std::fmt::Display for TypeArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.dtype)?;
        if self.sums == Dtype::F16 {
            f.write_str(" with sums of f16")?;
        }
        if self.accuracy.fast { f.write_str(", fast") } else { Ok(()) }
    }
}

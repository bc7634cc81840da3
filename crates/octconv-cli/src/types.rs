//! The number types that a command computes in.

use octconv::network::NetworkOptions;
use octconv::{Dtype, Options, Precision};

/// Types of stored numbers and of sums.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct TypeArgs {
    /// Type of activations and weights on the adapter
    #[arg(long, value_name = "f32|f16", default_value = "f32")]
    pub dtype: Dtype,
    /// The narrowest type for sums. With --dtype f16 and --sums f16, kernels that add up in f16 may be chosen
    #[arg(long, value_name = "f32|f16", default_value = "f32")]
    pub sums: Dtype,
}

impl TypeArgs {
    fn precision(self) -> Precision {
        Precision { sums: self.sums, ..Precision::of(self.dtype) }
    }

    pub fn options(self) -> Options {
        Options { precision: self.precision(), ..Options::default() }
    }

    pub fn network_options(self, keep: Vec<String>) -> NetworkOptions {
        NetworkOptions { precision: self.precision(), keep }
    }
}

impl std::fmt::Display for TypeArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { dtype, sums } = self;
        write!(f, "{dtype}")?;
        if *sums == Dtype::F16 { f.write_str(" with sums of f16") } else { Ok(()) }
    }
}

//! The fuzz targets: a module for each, with a function of the same name.
//!
//! A target takes any bytes. It must come back soon, without a panic, and take little memory. Beyond that it asserts what
//! holds for whatever the library accepts: what is written is read back, and plans keep within the limits of the device.
//! An error is always an answer.
//!
//! `fuzz/libfuzzer/` runs the targets with cargo-fuzz. `fuzz/tests/corpora.rs` runs them with the files of `fuzz/corpus/`,
//! as any other test. `CONTRIBUTING.md` says how to add one.

mod apply;
mod bundle;
mod checkpoint;
mod fit;
mod foreign;
mod grammar;
mod labelled;
mod layer;
mod layer_json;
mod layer_list;
mod network;
mod network_json;
mod octave;
mod onnx;
mod picture;
mod report;
mod shader;
mod tensors;
mod tuned;

mod check;
mod draw;
mod facts;
mod file;

pub use self::apply::apply;
pub use self::bundle::bundle;
pub use self::checkpoint::checkpoint;
pub use self::fit::fit;
pub use self::foreign::foreign;
pub use self::grammar::grammar;
pub use self::labelled::labelled;
pub use self::layer::layer;
pub use self::layer_json::layer_json;
pub use self::layer_list::layer_list;
pub use self::network::network;
pub use self::network_json::network_json;
pub use self::octave::octave;
pub use self::onnx::onnx;
pub use self::picture::picture;
pub use self::report::report;
pub use self::shader::shader;
pub use self::tensors::tensors;
pub use self::tuned::tuned;

macro_rules! named {
    ($($name:ident,)*) => { &[$((stringify!($name), $name)),*] };
}

/// What a target does with bytes.
pub type Target = fn(&[u8]);

/// Every target with its name, which is that of its corpus.
pub const TARGETS: &[(&str, Target)] = named![
    apply,
    bundle,
    checkpoint,
    fit,
    foreign,
    grammar,
    labelled,
    layer,
    layer_json,
    layer_list,
    network,
    network_json,
    octave,
    onnx,
    picture,
    report,
    shader,
    tensors,
    tuned,
];

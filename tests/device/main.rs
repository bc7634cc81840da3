//! Everything that runs on a device, in one program: devices and pipelines are shared. Tests fail, and say what to install,
//! if there is no adapter.

mod activations;
mod cases;
mod cifar;
mod common;
mod direct;
mod embedding;
mod emulated;
mod emulation;
mod errors;
mod exhausted;
mod export;
mod matrix;
mod network_plan;
mod networks;
mod networks_random;
mod operations;
mod pointwise;
mod promised;
mod property;
mod reduce;
mod report;
mod small_kernels;
mod staged;
mod sums_f16;
mod table;
mod textures;
mod tune;
mod winograd;

#[path = "../cifar/fixture.rs"]
mod cifar_fixture;

#[path = "../networks/fixture.rs"]
mod fixture;

#[path = "../operations/fixture.rs"]
mod operation_fixture;

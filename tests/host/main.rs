//! Tests that need no device: specifications, costs, the reference, networks as data, sources of shaders.

mod checkpoint;
mod cifar;
mod export;
mod interpreter;
#[cfg(target_os = "linux")]
mod memory;
mod networks_random;
mod networks_reference;
mod operations;
mod races;
mod reference;
mod snapshots;
mod spec;
mod structure;
mod translation;
mod tuned;
mod zoo;

#[path = "../cifar/fixture.rs"]
mod cifar_fixture;

#[path = "../networks/fixture.rs"]
mod fixture;

#[path = "../operations/fixture.rs"]
mod operation_fixture;

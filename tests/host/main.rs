//! Everything that needs no device: what is specified, planned, refused, translated, read and written.

#[path = "../device/cases.rs"]
#[allow(dead_code, reason = "the device's tests use all of it")]
mod cases;
mod checkpoint;
#[path = "../support/draw.rs"]
mod draw;
mod errors;
#[path = "../support/fixture.rs"]
mod fixture;
mod legal;
mod network_plan;
mod networks_reference;
mod property;
mod reference;
mod snapshots;
mod spec;
mod structure;
mod translation;
mod tuned;
mod zoo;

//! An egui application with an octave network in its own frame: a moving picture, a filter that is an octave network,
//! and a slider for the share of its channels that have half of the resolution.
//!
//! - `scene`: the moving picture of the application, drawn into a texture
//! - `filter`: the network, from that texture to another one
//! - `profiler`: times of each part, on the device's clock
//! - `app`: the window, and what is recorded into its frame

mod app;
mod filter;
mod profiler;
mod scene;

pub use app::{App, with_timestamps};
pub use filter::{Filter, SIZE};

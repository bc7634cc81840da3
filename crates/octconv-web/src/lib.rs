//! octconv in browsers: what the npm package `octconv` and the page are made of. `npm/README.md` is its documentation
//! for users; `docs/web.md` says what works in browsers.
//!
//! Everything but the way from pictures to inputs needs a browser, so elsewhere there is nothing else.

mod picture;

#[cfg(target_arch = "wasm32")]
mod bench;
#[cfg(target_arch = "wasm32")]
mod clock;
#[cfg(target_arch = "wasm32")]
mod engine;
#[cfg(target_arch = "wasm32")]
mod js;
#[cfg(target_arch = "wasm32")]
mod kept;
#[cfg(target_arch = "wasm32")]
mod layer;
#[cfg(target_arch = "wasm32")]
mod network;
#[cfg(target_arch = "wasm32")]
mod report;
#[cfg(target_arch = "wasm32")]
mod shim;
#[cfg(target_arch = "wasm32")]
mod types;
#[cfg(target_arch = "wasm32")]
mod verify;

pub use picture::to_input;

//! Mends browsers' WebGPU for wgpu: `shim.js` says what and why.

use wasm_bindgen::prelude::wasm_bindgen;

#[wasm_bindgen(module = "/src/shim.js")]
extern "C" {
    /// Call it before wgpu is used.
    #[wasm_bindgen(js_name = mendWebGPU)]
    pub fn mend_webgpu();
}

//! What a browser says about the device, and what it keeps for this origin.

use js_sys::{Function, Promise, Reflect};
use octconv::{DeviceIdentity, Tuned};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

/// What the browser says about the adapter that wgpu will get. `None` if there is no WebGPU or no adapter.
pub async fn about_device() -> Option<String> {
    let get = |from: &JsValue, name: &str| Reflect::get(from, &name.into()).ok().filter(|value| !value.is_falsy());
    let gpu = get(&get(&js_sys::global(), "navigator")?, "gpu")?;
    let options = js_sys::Object::new();
    Reflect::set(&options, &"powerPreference".into(), &"high-performance".into()).ok()?;
    let request = get(&gpu, "requestAdapter")?.dyn_into::<Function>().ok()?;
    let adapter = request.call1(&gpu, &options).ok()?.dyn_into::<Promise>().ok()?;
    let adapter = JsFuture::from(adapter).await.ok().filter(|adapter| !adapter.is_falsy())?;
    let info = get(&adapter, "info").unwrap_or(JsValue::UNDEFINED);
    let said = ["vendor", "architecture", "device", "description"].map(|name| {
        let text = if info.is_undefined() { None } else { get(&info, name).and_then(|text| text.as_string()) };
        text.unwrap_or_default()
    });
    let mut words: Vec<&str> = Vec::new();
    for text in said.iter().map(|text| text.trim()).filter(|text| !text.is_empty()) {
        if !words.contains(&text) {
            words.push(text);
        }
    }
    Some(words.join(" "))
}

/// Whether the page came in a way in which browsers offer no WebGPU.
pub fn is_insecure() -> bool {
    Reflect::get(&js_sys::global(), &"isSecureContext".into()).is_ok_and(|secure| secure == JsValue::FALSE)
}

/// The browser and its version, which decide how fast a device is.
pub fn browser() -> String {
    let navigator = Reflect::get(&js_sys::global(), &"navigator".into()).unwrap_or(JsValue::UNDEFINED);
    if navigator.is_undefined() {
        return String::new();
    }
    Reflect::get(&navigator, &"userAgent".into()).ok().and_then(|text| text.as_string()).unwrap_or_default()
}

/// The name under which what was tuned on a device is kept.
fn key(device: &DeviceIdentity) -> String {
    format!("octconv tuned {device}")
}

/// The variants that were tuned on a device from this origin; none if there are none, or the browser keeps nothing.
pub fn tuned(device: &DeviceIdentity) -> Tuned {
    let kept = storage().and_then(|storage| storage.get_item(&key(device)).ok().flatten());
    let bytes = kept.map(|text| text.chars().map(|c| c as u32 as u8).collect::<Vec<_>>());
    bytes.and_then(|bytes| Tuned::from_bytes(&bytes)).unwrap_or_default()
}

/// Keeps them. A browser that keeps nothing, or has no room, is no error: the next visit tunes again.
pub fn keep_tuned(device: &DeviceIdentity, tuned: &Tuned) {
    let text: String = tuned.to_bytes().into_iter().map(char::from).collect();
    if let Some(storage) = storage() {
        let _ = storage.set_item(&key(device), &text);
    }
}

/// Workers and private windows may have none.
fn storage() -> Option<web_sys::Storage> {
    web_sys::window()?.local_storage().ok().flatten()
}

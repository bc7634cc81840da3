//! Values that go to JavaScript and come from there.

use js_sys::{ArrayBuffer, Float32Array, Object, Uint8Array};
use octconv::{Error, InputSize};
use serde::Serialize;
use serde::de::DeserializeOwned;
use wasm_bindgen::prelude::*;

/// The error that JavaScript catches. Its `name` says what a program may do about it.
pub fn failure(error: Error) -> JsValue {
    let name = match error.cause() {
        Error::DeviceLost { .. } => "DeviceLostError",
        Error::OutOfMemory { .. } => "OutOfMemoryError",
        Error::Gpu { .. } => "GpuError",
        Error::NoAdapter { .. } => "NoAdapterError",
        Error::Limit { .. } | Error::Feature { .. } => "LimitError",
        _ => "OctconvError",
    };
    named(name, &error.to_string())
}

/// An error about an argument.
pub fn refusal(message: impl ToString) -> JsValue {
    named("OctconvError", &message.to_string())
}

fn named(name: &str, message: &str) -> JsValue {
    let error = js_sys::Error::new(message);
    error.set_name(name);
    error.into()
}

/// What JavaScript gave, an object or its JSON. `what` names it in errors.
pub fn from_js<T: DeserializeOwned>(value: &JsValue, what: &str) -> Result<T, JsValue> {
    // JSON would make null of an infinity, which often means that nothing is said.
    let finite = |_: JsValue, value: JsValue| match value.as_f64() {
        Some(number) if !number.is_finite() => JsValue::from(number.to_string()),
        _ => value,
    };
    let finite = Closure::<dyn Fn(JsValue, JsValue) -> JsValue>::new(finite);
    let text = match value.as_string() {
        Some(text) => text,
        None => js_sys::JSON::stringify_with_replacer(value, finite.as_ref())
            .ok()
            .and_then(|text| text.as_string())
            .ok_or_else(|| refusal(format!("{what} must be an object, or its JSON")))?,
    };
    serde_json::from_str(&text).map_err(|error| refusal(format!("{what}: {error}")))
}

/// The same, with defaults for what is absent.
pub fn options<T: DeserializeOwned + Default>(value: &JsValue, what: &str) -> Result<T, JsValue> {
    if value.is_undefined() || value.is_null() { Ok(T::default()) } else { from_js(value, what) }
}

/// Refuses what has no members. An exception there would stop the WebAssembly code, and its promise would never settle.
pub fn object(value: &JsValue, what: &str) -> Result<Object, JsValue> {
    if value.is_object() {
        Ok(value.clone().unchecked_into())
    } else {
        Err(refusal(format!("{what} must be an object")))
    }
}

/// A copy of the numbers that JavaScript gave.
pub fn floats(value: &JsValue, what: &str) -> Result<Vec<f32>, JsValue> {
    let array = value.dyn_ref::<Float32Array>().ok_or_else(|| refusal(format!("{what} must be a Float32Array")))?;
    Ok(array.to_vec())
}

/// A copy of the bytes that JavaScript gave, as `Uint8Array` or `ArrayBuffer`.
pub fn bytes(value: &JsValue, what: &str) -> Result<Vec<u8>, JsValue> {
    match (value.dyn_ref::<Uint8Array>(), value.dyn_ref::<ArrayBuffer>()) {
        (Some(array), _) => Ok(array.to_vec()),
        (_, Some(buffer)) => Ok(Uint8Array::new(buffer).to_vec()),
        _ => Err(refusal(format!("{what} must be a Uint8Array or an ArrayBuffer"))),
    }
}

/// An object for JavaScript.
pub fn to_js(value: &impl Serialize) -> Result<JsValue, JsValue> {
    let text = serde_json::to_string(value).map_err(refusal)?;
    js_sys::JSON::parse(&text)
}

/// Calls JavaScript's `progress`, if there is one. Returns whether to go on: a call that returns false ends the work, and
/// so does one that throws.
pub fn goes_on(progress: Option<&js_sys::Function>, value: &impl Serialize) -> Result<bool, JsValue> {
    let Some(progress) = progress else { return Ok(true) };
    let answer = progress.call1(&JsValue::NULL, &to_js(value)?)?;
    Ok(answer != JsValue::FALSE)
}

/// Height and width of an input, and how many run together.
#[derive(Clone, Copy, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Size {
    pub h: u32,
    pub w: u32,
    #[serde(default = "one")]
    pub n: u32,
    #[serde(default = "one")]
    pub t: u32,
}

fn one() -> u32 {
    1
}

impl From<Size> for InputSize {
    fn from(size: Size) -> Self {
        Self::video(size.n, size.t, size.h, size.w)
    }
}

/// Lets the browser draw. Where nothing is drawn, it only lets others run.
pub async fn next_frame() {
    let promise = js_sys::Promise::new(&mut |resolve, _| {
        let later = js_sys::Reflect::get(&js_sys::global(), &"setTimeout".into());
        match later.ok().and_then(|later| later.dyn_into::<js_sys::Function>().ok()) {
            Some(later) => drop(later.call2(&JsValue::NULL, &resolve, &JsValue::from(20))),
            None => drop(resolve.call0(&JsValue::NULL)),
        }
    });
    let _ = wasm_bindgen_futures::JsFuture::from(promise).await;
}

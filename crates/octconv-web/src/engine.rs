//! An engine: this browser's GPU, or the CPU reference in WebAssembly.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::ops::Deref;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use js_sys::Promise;
use octconv::network::zoo;
use octconv::roofline::{Effort, Roofline};
use octconv::{Context, ContextOptions, DeviceIdentity, Dtype, Error, LayerDescription, Tuned};
use serde::{Deserialize, Serialize};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::future_to_promise;

use crate::js::{bytes, failure, from_js, goes_on, next_frame, options, refusal, to_js};
use crate::report::Report;
use crate::shim::mend_webgpu;
use crate::{bench, kept, layer, network, verify};

/// This browser's GPU, or the CPU reference in WebAssembly if the browser has no WebGPU.
#[wasm_bindgen]
pub struct Engine {
    pub(crate) shared: Rc<Shared>,
}

/// A device that goes with its last user. Browsers free what is on a GPU when they collect garbage, and do not count its
/// memory as such.
pub(crate) struct Device(Context);

impl Device {
    async fn open(options: &ContextOptions) -> Result<Rc<Self>, Error> {
        Ok(Rc::new(Self(Context::open(options).await?)))
    }
}

impl Deref for Device {
    type Target = Context;

    fn deref(&self) -> &Context {
        &self.0
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.0.device().destroy();
    }
}

pub(crate) struct Shared {
    /// `None`: the CPU reference. Measuring the device opens it again, and what was made before keeps its own.
    context: RefCell<Option<Rc<Device>>>,
    /// How it was opened.
    options: RefCell<ContextOptions>,
    measured: Cell<bool>,
    /// Why it is the CPU.
    why: Option<String>,
    /// What the browser says about the device.
    pub(crate) about: String,
    pub(crate) report: RefCell<Report>,
}

impl Shared {
    pub(crate) fn context(&self) -> Option<Rc<Device>> {
        self.context.borrow().clone()
    }

    /// The device, for what the reference cannot do.
    pub(crate) fn device(&self, what: &str) -> Result<Rc<Device>, JsValue> {
        let why = || self.why.clone().unwrap_or_else(|| "as asked".to_owned());
        self.context().ok_or_else(|| refusal(format!("{what} needs WebGPU, and this engine is the CPU ({})", why())))
    }

    /// Another device with the same options, for what takes much of its memory for a while.
    pub(crate) async fn another_device(&self) -> Result<Rc<Device>, Error> {
        let options = self.options.borrow().clone();
        Device::open(&options).await
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct OpenOptions {
    cpu: bool,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ZooSettings {
    alpha: f64,
    width: f64,
    classes: Option<u32>,
    channels: Option<u32>,
    stem: Option<String>,
}

impl Default for ZooSettings {
    fn default() -> Self {
        Self { alpha: 0.5, width: 1.0, classes: None, channels: None, stem: None }
    }
}

/// The result of `work`, or `None` if `progress` ends it before.
async fn until_stopped<T>(
    work: impl Future<Output = T>,
    progress: Option<&js_sys::Function>,
    told: &impl Serialize,
) -> Result<Option<T>, JsValue> {
    let stopped = async {
        loop {
            next_frame().await;
            match goes_on(progress, told) {
                Ok(true) => {}
                Ok(false) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    };
    let (mut work, mut stopped) = (pin!(work), pin!(stopped));
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(result) => Poll::Ready(Ok(Some(result))),
        Poll::Pending => stopped.as_mut().poll(context),
    })
    .await
}

/// Microseconds that a sample takes at least when layers are tuned: clocks of browsers have steps of a tenth of a millisecond.
const SAMPLE_US: u32 = 20_000;

/// Panics go to the browser's console with their message.
#[wasm_bindgen(start)]
pub fn start() {
    console_error_panic_hook::set_once();
}

/// The version of octconv.
#[wasm_bindgen]
pub fn version() -> String {
    env!("CARGO_PKG_VERSION").into()
}

/// The description of a built-in network, such as `resnet50` or `mobilenet-v2`: docs/networks.md lists them.
#[wasm_bindgen(unchecked_return_type = "Exclude<NetworkDescription, string>")]
pub fn describe(
    name: &str,
    #[wasm_bindgen(unchecked_optional_param_type = "ZooSettings")] settings: JsValue,
) -> Result<JsValue, JsValue> {
    let settings: ZooSettings = options(&settings, "settings")?;
    let stem = settings.stem.map(|stem| stem.parse()).transpose().map_err(failure)?;
    let settings = zoo::Settings {
        alpha: settings.alpha,
        width: settings.width,
        stem,
        input_channels: settings.channels,
        classes: settings.classes,
    };
    to_js(&zoo::build(name, &settings).map_err(failure)?)
}

#[wasm_bindgen]
impl Engine {
    /// Opens this browser's GPU. If that cannot be, or with `{cpu: true}`, the engine is the CPU reference, which gives the same
    /// answers slowly: `kind` and `why` say so.
    pub async fn open(
        #[wasm_bindgen(unchecked_optional_param_type = "EngineOptions")] options: JsValue,
    ) -> Result<Engine, JsValue> {
        let OpenOptions { cpu } = crate::js::options(&options, "options")?;
        if !cpu {
            mend_webgpu();
        }
        let about = if cpu { None } else { kept::about_device().await };
        let (context, why) = match cpu {
            true => (None, Some("as asked".to_owned())),
            false => match Device::open(&ContextOptions::default()).await {
                Ok(context) => (Some(context), None),
                Err(_) if kept::is_insecure() => (
                    None,
                    Some("this page is not from https or localhost, and browsers have WebGPU only there".to_owned()),
                ),
                Err(error) => (None, Some(error.to_string())),
            },
        };
        let about =
            about.filter(|about| !about.is_empty()).unwrap_or_else(|| "a GPU that the browser does not name".into());
        let software = context.as_ref().is_some_and(|context| context.engine().facts().software);
        let about = if software { format!("{about}, which is software") } else { about };
        let report = Report::new(&about, context.as_deref().map(Deref::deref));
        let shared = Shared {
            context: RefCell::new(context),
            options: RefCell::default(),
            measured: Cell::new(false),
            why,
            about,
            report: RefCell::new(report),
        };
        Ok(Self { shared: Rc::new(shared) })
    }

    /// `webgpu` or `cpu`.
    #[wasm_bindgen(getter, unchecked_return_type = "\"webgpu\" | \"cpu\"")]
    pub fn kind(&self) -> String {
        if self.shared.context.borrow().is_some() { "webgpu" } else { "cpu" }.into()
    }

    /// Why the engine is the CPU; undefined on a GPU.
    #[wasm_bindgen(getter)]
    pub fn why(&self) -> Option<String> {
        self.shared.why.clone()
    }

    /// What the browser says about the GPU: often its vendor and its architecture.
    #[wasm_bindgen(getter)]
    pub fn device(&self) -> String {
        match self.shared.context.borrow().is_some() {
            true => self.shared.about.clone(),
            false => "the CPU, in WebAssembly".into(),
        }
    }

    /// Whether the GPU computes in f16.
    #[wasm_bindgen(getter, js_name = hasF16)]
    pub fn has_f16(&self) -> bool {
        let f16 = octconv::wgpu::Features::SHADER_F16;
        self.shared.context().is_some_and(|context| context.device().features().contains(f16))
    }

    /// Whether `measure` has measured the GPU.
    #[wasm_bindgen(getter)]
    pub fn measured(&self) -> bool {
        self.shared.measured.get()
    }

    /// Makes an octave layer of this size, with its weights, which it copies before it returns.
    #[wasm_bindgen(unchecked_return_type = "Promise<Layer>")]
    pub fn layer(
        &self,
        #[wasm_bindgen(unchecked_param_type = "LayerDescription")] description: &JsValue,
        #[wasm_bindgen(unchecked_param_type = "Size")] size: &JsValue,
        #[wasm_bindgen(unchecked_param_type = "LayerWeights")] weights: &JsValue,
    ) -> Promise {
        let given = (|| {
            let description: LayerDescription = from_js(description, "description")?;
            let weights = layer::Owned::of(weights, description.norm_eps)?;
            Ok::<_, JsValue>((description, from_js(size, "size")?, weights))
        })();
        let context = self.shared.context();
        future_to_promise(async move {
            let (description, size, weights) = given?;
            Ok(layer::Layer::new(context, description, size, weights).await?.into())
        })
    }

    /// Makes a network from its description and the bytes of a safetensors file with its weights; without them, with
    /// random ones. Copies them before it returns.
    #[wasm_bindgen(unchecked_return_type = "Promise<Network>")]
    pub fn network(
        &self,
        #[wasm_bindgen(unchecked_param_type = "NetworkDescription")] description: &JsValue,
        #[wasm_bindgen(unchecked_optional_param_type = "Uint8Array | ArrayBuffer")] weights: &JsValue,
        #[wasm_bindgen(unchecked_optional_param_type = "NetworkOptions")] options: &JsValue,
    ) -> Promise {
        let given = (|| {
            let description = from_js(description, "description")?;
            let none = weights.is_undefined() || weights.is_null();
            let weights = if none { None } else { Some(bytes(weights, "weights")?) };
            Ok::<_, JsValue>((description, weights, crate::js::options(options, "options")?))
        })();
        let context = self.shared.context();
        future_to_promise(async move {
            let (description, weights, options) = given?;
            Ok(network::Network::new(context, description, weights, options).await?.into())
        })
    }

    /// Compares random layers on this GPU with the reference. `progress` is called after each, and stops the work if it
    /// returns false.
    #[wasm_bindgen(unchecked_return_type = "Verified")]
    pub async fn verify(
        &self,
        #[wasm_bindgen(unchecked_optional_param_type = "VerifyOptions")] options: JsValue,
        #[wasm_bindgen(unchecked_optional_param_type = "((progress: Verified) => boolean | void)")] progress: Option<
            js_sys::Function,
        >,
    ) -> Result<JsValue, JsValue> {
        let options = crate::js::options(&options, "options")?;
        to_js(&verify::run(&self.shared, &options, progress.as_ref()).await?)
    }

    /// Times a built-in network with random weights against the network without octaves, whole and stage by stage.
    /// `progress` is called often, and stops the work if it returns false.
    #[wasm_bindgen(unchecked_return_type = "Benched")]
    pub async fn bench(
        &self,
        #[wasm_bindgen(unchecked_optional_param_type = "BenchOptions")] options: JsValue,
        #[wasm_bindgen(unchecked_optional_param_type = "((progress: Benched) => boolean | void)")] progress: Option<
            js_sys::Function,
        >,
    ) -> Result<JsValue, JsValue> {
        let options = crate::js::options(&options, "options")?;
        to_js(&bench::run(&self.shared, &options, progress.as_ref()).await?)
    }

    /// Measures how fast the GPU is, in a second or two; where the GPU has no clock, in up to half a minute. The planner then
    /// chooses kernels for this GPU, and for layers and networks that are made afterwards, what `tune` found here is known
    /// again: browsers do not say which GPU they run on, so speed, limits and features tell it from others. `progress` is called
    /// often, and stops the work if it returns false. Returns whether it was measured.
    pub async fn measure(
        &self,
        #[wasm_bindgen(unchecked_optional_param_type = "(() => boolean | void)")] progress: Option<js_sys::Function>,
    ) -> Result<bool, JsValue> {
        self.measured_by(progress.as_ref(), &()).await
    }

    /// Finds the fastest kernels for the layers of a network, and keeps them for this origin in the browser's local storage.
    /// Networks that are made afterwards have them. Measures the GPU first if that was not done. `progress` is called often,
    /// and stops the work if it returns false: what was found by then is kept. Returns how many layers were tuned.
    #[wasm_bindgen(unchecked_return_type = "Promise<number>")]
    pub fn tune(
        &self,
        network: &network::Network,
        #[wasm_bindgen(unchecked_optional_param_type = "((progress: {done: number; of: number}) => boolean | void)")]
        progress: Option<js_sys::Function>,
    ) -> Promise {
        // Both may be freed meanwhile.
        let (engine, network) = (Self { shared: self.shared.clone() }, network.again());
        future_to_promise(async move { Ok((engine.tuned(&network, progress).await? as f64).into()) })
    }

    /// What was verified, measured and timed so far, as `octconv report` writes it: the text of a report.json. `device` is
    /// what the user calls the device, because browsers say little about it.
    pub fn report(&self, device: Option<String>) -> Result<String, JsValue> {
        let mut report = self.shared.report.borrow_mut();
        report.name(device.as_deref().unwrap_or_default());
        serde_json::to_string_pretty(&*report).map_err(refusal)
    }
}

impl Engine {
    /// `told` is what `progress` is called with.
    async fn measured_by(&self, progress: Option<&js_sys::Function>, told: &impl Serialize) -> Result<bool, JsValue> {
        self.shared.device("measuring")?;
        let effort = Effort::Brief { factors: Dtype::F32, sums: Dtype::F32 };
        let measured = self.shared.report.borrow_mut().start("roofline");
        // On another device, so that no error of it meets what runs on that of the networks.
        let probe = async || {
            let context = self.shared.another_device().await?;
            Ok::<_, Error>((Roofline::measure_async(&context, effort).await?, context))
        };
        let found = match until_stopped(probe(), progress, told).await {
            Ok(found) => found.transpose().map_err(failure),
            Err(error) => Err(error),
        };
        let (roofline, context) = match found {
            Ok(Some(found)) => found,
            Ok(None) => {
                self.shared.report.borrow_mut().end(measured, None);
                return Ok(false);
            }
            Err(error) => {
                self.shared.report.borrow_mut().end(measured, Some(&error));
                return Err(error);
            }
        };
        self.shared.report.borrow_mut().add_roofline(&roofline, measured);
        let facts = context.engine().facts();
        let rates = roofline.rates(&facts.rates, facts.matrix);
        let measured = octconv::DeviceFacts { rates, ..facts.clone() };
        let also = format!("{}; {}", self.shared.about, kept::browser());
        let identity = DeviceIdentity::of_measured(&measured, &also);
        let tuned = kept::tuned(&identity);
        self.reopen(ContextOptions {
            rates: Some(rates),
            identity: Some(identity),
            tuned: Some(Arc::new(tuned)),
            ..ContextOptions::default()
        })
        .await?;
        self.shared.measured.set(true);
        Ok(true)
    }

    async fn tuned(&self, network: &network::Network, progress: Option<js_sys::Function>) -> Result<usize, JsValue> {
        self.shared.device("tuning")?;
        if !self.shared.measured.get() {
            let of = network.tunable(&*self.shared.device("tuning")?)?.len();
            if !self.measured_by(progress.as_ref(), &serde_json::json!({ "done": 0, "of": of })).await? {
                return Ok(0);
            }
        }
        let context = self.shared.device("tuning")?;
        let identity = context.identity().ok_or_else(|| refusal("the device has no identity"))?;
        let (mut tuned, mut failed) = (Tuned::default(), None);
        let layers = network.tunable(&context)?;
        let of = layers.len();
        let effort = octconv::tuning::Effort { sample_us: SAMPLE_US, ..Default::default() };
        for (done, (spec, size, options)) in layers.iter().enumerate() {
            // One for each, because what a layer takes on the GPU goes with its device alone.
            let own = match self.shared.another_device().await {
                Ok(own) => own,
                Err(error) => {
                    failed = Some(failure(error));
                    break;
                }
            };
            let told = serde_json::json!({ "done": done, "of": of });
            let tuning = octconv::tuning::tune_async(&own, spec, *size, options, &effort, |_| ());
            let outcome = match until_stopped(tuning, progress.as_ref(), &told).await {
                Ok(Some(outcome)) => outcome,
                Ok(None) => break,
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            };
            match outcome {
                // If no clock could time it, there is nothing to keep.
                Ok(outcome) if outcome.winner().seconds.is_ok() => tuned.insert(&identity, &outcome.winner().plan),
                Ok(_) => {}
                // No candidate of this layer runs here, or its device is lost. The others may run.
                Err(Error::Tune { .. } | Error::OutOfMemory { .. } | Error::Gpu { .. } | Error::DeviceLost { .. }) => {}
                // What was found is kept all the same.
                Err(error) => {
                    failed = Some(failure(error));
                    break;
                }
            }
        }
        let found = tuned.len();
        let mut all = kept::tuned(&identity);
        all.merge(tuned);
        kept::keep_tuned(&identity, &all);
        if let Some(error) = failed {
            return Err(error);
        }
        let rates = context.engine().facts().rates;
        self.reopen(ContextOptions {
            rates: Some(rates),
            identity: Some(identity),
            tuned: Some(Arc::new(all)),
            ..ContextOptions::default()
        })
        .await?;
        Ok(found)
    }

    async fn reopen(&self, options: ContextOptions) -> Result<(), JsValue> {
        let context = Device::open(&options).await.map_err(failure)?;
        *self.shared.context.borrow_mut() = Some(context);
        *self.shared.options.borrow_mut() = options;
        Ok(())
    }
}

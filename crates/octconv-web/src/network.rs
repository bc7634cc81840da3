//! A network with its weights, on the GPU or on the reference.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use js_sys::{Float32Array, Object, Promise, Reflect};
use octconv::network::{
    Checkpoint, Graph, Inference, Model, Network as Description, NetworkOptions, NetworkPlan, ValueShape, ValueView,
    random_input,
};
use octconv::reference::network::{self as reference, Value};
use octconv::{Accuracy, Context, DeviceFacts, Dims, Dtype, Engine, Error, InputSize, Options, Precision, Spec, wgpu};
use serde::Deserialize;
use serde_json::json;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::future_to_promise;
use web_time::Instant;

use crate::clock::Clock;
use crate::engine::Device;
use crate::js::{self, Size, failure, next_frame, refusal, to_js};

/// How a network is made.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MakeOptions {
    size: Option<Size>,
    keep: Vec<String>,
    fast: bool,
    f16: bool,
    seed: u64,
}

/// A network of one size, with its weights.
#[wasm_bindgen]
pub struct Network {
    // Shared with calls under way.
    shared: Rc<Shared>,
}

struct Shared {
    graph: Graph,
    size: InputSize,
    shapes: Vec<ValueShape>,
    stages: Vec<String>,
    options: NetworkOptions,
    form: Form,
    /// Whether there are maps to be read.
    ran: Cell<bool>,
}

/// The high and the low part of a map, with their shapes.
type Parts = [Option<(Dims, Vec<f32>)>; 2];

enum Form {
    Device(Box<OnDevice>),
    /// With the values of the nodes that are kept, after each run.
    Reference {
        checkpoint: Checkpoint,
        kept: RefCell<Vec<(String, Parts)>>,
    },
}

struct OnDevice {
    context: Rc<Device>,
    model: Model,
    inference: Inference,
}

/// Browsers free the memory of a GPU only when they collect garbage, and do not count it as such.
impl Drop for OnDevice {
    fn drop(&mut self) {
        self.inference.destroy();
        self.model.destroy();
    }
}

/// How long compiling keeps the page waiting at a time.
const BUSY_SECONDS: f64 = 0.1;

/// Compiles a plan, and lets the browser draw now and then. `goes_on` is told how many dispatches of how many are ready, and
/// may end it: then there is no inference.
pub(crate) async fn compile(
    engine: &Engine,
    model: &Model,
    plan: NetworkPlan,
    mut goes_on: impl FnMut(usize, usize) -> bool,
) -> Result<Option<Inference>, Error> {
    let (mut shown, mut refused) = (Instant::now(), None);
    let made = model.compile_async(plan, async |progress| {
        if shown.elapsed().as_secs_f64() < BUSY_SECONDS {
            return true;
        }
        // What the browser's compiler is still at is not ready.
        refused = engine.settled().await.err();
        let goes_on = refused.is_none() && goes_on(progress.done, progress.of);
        next_frame().await;
        shown = Instant::now();
        goes_on
    });
    let made = made.await;
    // The browser's message says more than an error that follows from it.
    match refused.or(engine.settled().await.err()) {
        Some(error) => Err(error),
        None => made,
    }
}

impl Network {
    pub(crate) async fn new(
        context: Option<Rc<Device>>,
        description: Description,
        weights: Option<Vec<u8>>,
        options: MakeOptions,
    ) -> Result<Self, JsValue> {
        let (h, w) = description.picture.as_ref().map_or((224, 224), |picture| (picture.height, picture.width));
        let size = options.size.map_or(InputSize::image(1, h, w), InputSize::from);
        let graph = Graph::new(&description).map_err(failure)?;
        let shapes = graph.shapes(size).map_err(failure)?;
        let accuracy = if options.fast { Accuracy::Fast } else { Accuracy::Exact };
        let precision = Precision::of(if options.f16 { Dtype::F16 } else { Dtype::F32 });
        let own = NetworkOptions { precision, accuracy, keep: options.keep, ..NetworkOptions::default() };
        // Stages have names on the reference too.
        let facts = context.as_ref().map_or_else(DeviceFacts::default, |context| context.engine().facts().clone());
        if options.f16 && !facts.features.contains(wgpu::Features::SHADER_F16) {
            return Err(refusal("options.f16 is true: must be false where Engine.hasF16 is"));
        }
        let stages = NetworkPlan::new(&graph, size, &own, &facts).map_err(failure)?.stages();
        // What cannot be planned may be too large to have weights.
        let checkpoint = match weights {
            Some(bytes) => Checkpoint::from_safetensors(&bytes).map_err(|error| match error {
                Error::File { .. } => refusal(format!("weights: {error}")),
                error => failure(error),
            })?,
            None => Checkpoint::try_random(&graph, options.seed).map_err(failure)?,
        };
        let is_map = |name: &str| {
            let at = description.nodes.iter().position(|node| node.name == name);
            at.is_some_and(|at| matches!(shapes[at + 1], ValueShape::Map { .. }))
        };
        let stages = stages.into_iter().map(|stage| stage.name).filter(|name| is_map(name)).collect();
        let form = match context {
            Some(context) => {
                let model = Model::new(context.engine(), graph.clone(), checkpoint).map_err(failure)?;
                let plan = model.plan(size, &own).map_err(failure)?;
                let inference = compile(context.engine(), &model, plan, |_, _| true).await.map_err(failure);
                let inference = inference.and_then(|made| made.ok_or_else(|| refusal("compiling was stopped")));
                // Nobody else can free what it has packed so far.
                let inference = inference.inspect_err(|_| model.destroy())?;
                Form::Device(Box::new(OnDevice { context, model, inference }))
            }
            None => {
                let checkpoint = checkpoint.fit(&graph).map_err(failure)?;
                Form::Reference { checkpoint, kept: RefCell::default() }
            }
        };
        Ok(Self { shared: Rc::new(Shared { graph, size, shapes, stages, options: own, form, ran: Cell::default() }) })
    }

    /// The same network, for a call that outlives what JavaScript has.
    pub(crate) fn again(&self) -> Self {
        Self { shared: self.shared.clone() }
    }

    /// The different layers, with their sizes and options.
    pub(crate) fn tunable(&self, context: &Context) -> Result<Vec<(Spec, InputSize, Options)>, JsValue> {
        let (facts, Shared { graph, size, options, .. }) = (context.engine().facts(), &*self.shared);
        let plan = NetworkPlan::new(graph, *size, options, facts).map_err(failure)?;
        let mut layers: Vec<(Spec, InputSize, Options)> = Vec::new();
        for layer in plan.layers() {
            let layer = (layer.spec.clone(), layer.size, layer.options);
            if !layers.contains(&layer) {
                layers.push(layer);
            }
        }
        Ok(layers)
    }
}

/// The most runs in a pass that is timed.
const MOST_RUNS: usize = 100;

/// The two parts of a map.
fn parts(value: &Value) -> Parts {
    match value {
        Value::Map { high, low } => [high, low].map(|part| part.as_ref().map(|tensor| (tensor.dims, tensor.to_f32()))),
        _ => [None, None],
    }
}

#[wasm_bindgen]
impl Network {
    /// Its name.
    #[wasm_bindgen(getter)]
    pub fn name(&self) -> String {
        self.shared.graph.network().name.clone()
    }

    /// The shape of its input, as [batch, channels, frames, rows, columns].
    #[wasm_bindgen(getter, js_name = inputShape, unchecked_return_type = "number[]")]
    pub fn input_shape(&self) -> Result<JsValue, JsValue> {
        let InputSize { n, t, h, w } = self.shared.size;
        to_js(&[n, self.shared.graph.network().input.channels, t, h, w])
    }

    /// The names of the nodes that end its stages.
    #[wasm_bindgen(getter)]
    pub fn stages(&self) -> Vec<String> {
        self.shared.stages.clone()
    }

    /// The input that the network's description makes of a picture: its pixels as `ImageData` has them.
    pub fn picture(
        &self,
        #[wasm_bindgen(unchecked_param_type = "Uint8Array | Uint8ClampedArray | number[]")] rgba: &[u8],
        width: u32,
        height: u32,
    ) -> Result<Float32Array, JsValue> {
        let rule = self.shared.graph.network().picture.as_ref();
        let rule = rule.ok_or_else(|| refusal("the network does not say how a picture becomes its input"))?;
        let InputSize { h, w, .. } = self.shared.size;
        if (rule.height, rule.width) != (h, w) {
            return Err(refusal(format!(
                "the description makes inputs of {}x{} of pictures, and this network's are of {h}x{w}",
                rule.height, rule.width
            )));
        }
        let (pixels, rest) = rgba.as_chunks();
        if !rest.is_empty() || pixels.len() as u64 != u64::from(width) * u64::from(height) {
            return Err(refusal(format!("the picture must have {width}x{height} pixels of 4 bytes")));
        }
        let input = crate::to_input(pixels, width, height, rule).map_err(failure)?;
        Ok(Float32Array::from(input.as_slice()))
    }

    /// An input of random numbers.
    #[wasm_bindgen(js_name = randomInput)]
    pub fn random_input(&self, seed: u32) -> Float32Array {
        Float32Array::from(random_input(self.shared.shapes[0].elements() as usize, seed.into()).as_slice())
    }

    /// Runs it once, and gives its answer. Copies the input before it returns, so that it may be changed.
    #[wasm_bindgen(unchecked_return_type = "Promise<Float32Array>")]
    pub fn run(&self, #[wasm_bindgen(unchecked_param_type = "Float32Array")] input: &JsValue) -> Promise {
        let (shared, input) = (self.shared.clone(), js::floats(input, "input"));
        future_to_promise(async move { Ok(Float32Array::from(shared.run(&input?).await?.as_slice()).into()) })
    }

    /// The maps of a node after a run. The option `keep` must have named the node when the network was made.
    #[wasm_bindgen(unchecked_return_type = "Promise<{ high?: FeatureMap; low?: FeatureMap }>")]
    pub fn maps(&self, #[wasm_bindgen(unchecked_param_type = "string")] node: &JsValue) -> Promise {
        let (shared, node) = (self.shared.clone(), node.as_string().ok_or_else(|| refusal("node must be a string")));
        future_to_promise(async move {
            let object = Object::new();
            for (name, part) in ["high", "low"].into_iter().zip(shared.maps(&node?).await?) {
                let Some((dims, values)) = part else { continue };
                let Dims { n, c, t, h, w } = dims;
                let map = to_js(&json!({ "batch": n, "channels": c, "frames": t, "height": h, "width": w }))?;
                Reflect::set(&map, &"values".into(), &Float32Array::from(values.as_slice()))?;
                Reflect::set(&object, &name.into(), &map)?;
            }
            Ok(object.into())
        })
    }

    /// Milliseconds of a run on the device, the median of some; null if no clock here shows any. `device` says whether the device's own clock measured
    /// them; if not, the way there and back is measured by itself and taken off.
    #[wasm_bindgen(unchecked_return_type = "Promise<{ ms: number | null; device: boolean }>")]
    pub fn time(&self) -> Promise {
        let shared = self.shared.clone();
        future_to_promise(async move {
            let (ms, device) = shared.time().await?;
            to_js(&json!({ "ms": ms, "device": device }))
        })
    }
}

impl Shared {
    async fn run(&self, input: &[f32]) -> Result<Vec<f32>, JsValue> {
        let answer = match &self.form {
            Form::Device(on) => on.inference.run_async(&on.context, input).await.map_err(failure)?,
            Form::Reference { checkpoint, kept } => {
                let mut seen = Vec::new();
                let answer = reference::run(&self.graph, checkpoint, self.size, input, &mut |name, value| {
                    if self.options.keep.iter().any(|kept| kept == name) {
                        seen.push((name.to_owned(), parts(value)));
                    }
                });
                let answer = answer.map_err(failure)?.to_f32();
                *kept.borrow_mut() = seen;
                answer
            }
        };
        self.ran.set(true);
        Ok(answer)
    }

    async fn maps(&self, node: &str) -> Result<Parts, JsValue> {
        let unknown = || refusal(format!("node is {node}: must be a map that the option keep names"));
        let is_kept = self.options.keep.iter().any(|kept| kept == node);
        if is_kept && !self.ran.get() {
            return Err(refusal(format!("node {node} has no maps yet: run the network first")));
        }
        match &self.form {
            Form::Device(on) => {
                let Some(ValueView::Map { high, low }) = on.inference.value(node) else { return Err(unknown()) };
                let views = [high, low];
                let reads: Vec<_> = views
                    .iter()
                    .flatten()
                    .map(|view| (view.buffer, view.offset, view.dims.elements(), view.dtype))
                    .collect();
                // Both in one go, because some browsers answer slowly.
                let read = on.context.run_and_read_async(|_| (), &reads).await.map_err(failure)?;
                let mut read = read.into_iter();
                Ok(views.map(|view| Some((view?.dims, read.next()?))))
            }
            Form::Reference { kept, .. } => match kept.borrow().iter().find(|(name, _)| name == node) {
                Some((_, parts)) => Ok(parts.clone()),
                None => Err(unknown()),
            },
        }
    }

    /// Milliseconds, and whether the device's own clock measured them.
    async fn time(&self) -> Result<(Option<f64>, bool), JsValue> {
        let (mut times, mut device) = (Vec::new(), false);
        match &self.form {
            Form::Device(on) => {
                let OnDevice { context, inference, .. } = &**on;
                let clock = Clock::new(context).await.map_err(failure)?;
                let pass = async |runs: usize| {
                    let record = |pass: &mut wgpu::ComputePass<'_>| (0..runs).for_each(|_| inference.record(pass));
                    let timing = context.time_pass_async(record).await.map_err(failure)?;
                    Ok::<_, JsValue>(clock.seconds(&[timing]))
                };
                let mut runs = 1;
                while let Some(more) = clock.more(runs, &pass(runs).await?, MOST_RUNS) {
                    runs = more;
                }
                for _ in 0..5 {
                    if let Some(([seconds], own)) = pass(runs).await? {
                        device = own;
                        times.push(1e3 * seconds / runs as f64);
                    }
                }
            }
            Form::Reference { checkpoint, .. } => {
                let input = random_input(self.shapes[0].elements() as usize, 1);
                let start = Instant::now();
                // What is kept stays that of the last run.
                reference::run(&self.graph, checkpoint, self.size, &input, &mut |_, _| ()).map_err(failure)?;
                times.push(1e3 * start.elapsed().as_secs_f64());
            }
        }
        times.sort_by(f64::total_cmp);
        let median = times.get(times.len() / 2).copied();
        Ok((median, device))
    }
}

//! A layer with its weights, on the GPU or on the reference.

use std::collections::BTreeMap;
use std::rc::Rc;

use js_sys::{Float32Array, Object, Promise, Reflect};
use octconv::reference::{self, Inputs};
use octconv::{
    BatchNorm, Dims, Dtype, Frequency, InputSize, LayerDescription, Options, PackedWeights, Path, Spec, Tensors,
    Weights, wgpu,
};
use serde_json::json;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::future_to_promise;

use crate::engine::Device;
use crate::js::{self, Size, failure, object, refusal, to_js};

const BIASES: [&str; 2] = ["bias_h", "bias_l"];
const NORMS: [[&str; 4]; 2] = [["gamma_h", "beta_h", "mean_h", "var_h"], ["gamma_l", "beta_l", "mean_l", "var_l"]];

/// An octave layer of one size, with its weights.
#[wasm_bindgen]
pub struct Layer {
    // Shared with calls under way.
    shared: Rc<Shared>,
}

struct Shared {
    spec: Spec,
    size: InputSize,
    weights: Owned,
    device: Option<OnDevice>,
}

struct OnDevice {
    context: Rc<Device>,
    memory: Memory,
}

/// What a layer has on the GPU, as far as it is made.
#[derive(Default)]
struct Memory {
    packed: Option<PackedWeights>,
    /// Name, shape, whether the layer writes it, and its buffer.
    tensors: Vec<(&'static str, Dims, bool, wgpu::Buffer)>,
    layer: Option<octconv::Layer>,
}

/// Browsers free the memory of a GPU only when they collect garbage, and do not count it as such.
impl Drop for Memory {
    fn drop(&mut self) {
        self.packed.iter().for_each(PackedWeights::destroy);
        self.tensors.iter().for_each(|(.., buffer)| buffer.destroy());
        self.layer.iter().for_each(octconv::Layer::destroy);
    }
}

/// Weights by their names.
pub(crate) struct Owned {
    tensors: BTreeMap<&'static str, Vec<f32>>,
    norm_eps: f32,
}

impl Owned {
    /// Takes what has a name of the layer's, and refuses other names.
    pub(crate) fn of(weights: &JsValue, norm_eps: f32) -> Result<Self, JsValue> {
        let object = object(weights, "weights")?;
        let names: Vec<&'static str> =
            Path::ALL.map(Path::weight_name).into_iter().chain(BIASES).chain(NORMS.into_iter().flatten()).collect();
        let mut tensors = BTreeMap::new();
        for given in Object::keys(&object).iter().filter_map(|name| name.as_string()) {
            let Some(name) = names.iter().find(|name| **name == given) else {
                return Err(refusal(format!("weights.{given}: must be one of {}", names.join(", "))));
            };
            tensors.insert(*name, floats(&object, name, "weights")?);
        }
        Ok(Self { tensors, norm_eps })
    }

    /// Batch norms are whole, those that the description wants are there, and each has an output.
    fn check_norms(&self, spec: &Spec, wanted: bool) -> Result<(), JsValue> {
        let any = wanted || NORMS.iter().flatten().any(|name| self.get(name).is_some());
        for (names, frequency) in NORMS.iter().zip([Frequency::High, Frequency::Low]) {
            let has_output = spec.output().of(frequency) > 0;
            for name in names {
                match (any && has_output, self.get(name).is_some()) {
                    (true, false) => {
                        return Err(refusal(format!(
                            "weights.{name} is missing: a batch norm has {}",
                            names.join(", ")
                        )));
                    }
                    (false, true) => return Err(refusal(format!("weights.{name}: the layer has no such output"))),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn get(&self, name: &str) -> Option<&[f32]> {
        self.tensors.get(name).map(Vec::as_slice)
    }

    fn weights(&self) -> Weights<'_> {
        let [w_hh, w_hl, w_lh, w_ll] = Path::ALL.map(|path| self.get(path.weight_name()));
        let [bias_h, bias_l] = BIASES.map(|name| self.get(name));
        let [norm_h, norm_l] = NORMS.map(|[gamma, beta, mean, var]| {
            let [gamma, beta, mean, var] = [gamma, beta, mean, var].map(|name| self.get(name));
            Some(BatchNorm { gamma: gamma?, beta: beta?, mean: mean?, var: var?, eps: self.norm_eps })
        });
        Weights { w_hh, w_hl, w_lh, w_ll, bias_h, bias_l, norm_h, norm_l }
    }
}

/// The numbers of an object's member.
fn floats(object: &Object, name: &str, what: &str) -> Result<Vec<f32>, JsValue> {
    js::floats(&Reflect::get(object, &name.into())?, &format!("{what}.{name}"))
}

impl Layer {
    pub(crate) async fn new(
        context: Option<Rc<Device>>,
        description: LayerDescription,
        size: Size,
        weights: Owned,
    ) -> Result<Self, JsValue> {
        let bias = BIASES.iter().any(|name| weights.get(name).is_some());
        let output = description.spec().map_err(failure)?.output();
        let residual = |frequency| description.fields.residual && output.of(frequency) > 0;
        let builder = description.builder().map_err(failure)?.bias(description.fields.bias || bias);
        let builder = builder.residual(residual(Frequency::High), residual(Frequency::Low));
        let spec = builder.build().map_err(failure)?;
        weights.check_norms(&spec, description.fields.norm)?;
        let size = InputSize::from(size);
        // What the reference would refuse later is refused here.
        spec.shapes(size).map_err(failure)?;
        weights.weights().validate(&spec).map_err(failure)?;
        let device = match context {
            Some(context) => Some(OnDevice::new(context, &spec, size, &weights).await.map_err(failure)?),
            None => None,
        };
        Ok(Self { shared: Rc::new(Shared { spec, size, weights, device }) })
    }
}

impl OnDevice {
    async fn new(context: Rc<Device>, spec: &Spec, size: InputSize, weights: &Owned) -> Result<Self, octconv::Error> {
        let engine = context.engine();
        let plan = engine.plan(spec, size, &Options::default())?;
        let mut memory = Memory::default();
        let mut make = || {
            let packed = memory.packed.insert(engine.pack(&plan, &weights.weights())?);
            for tensor in plan.tensors() {
                let buffer = context.tensor(tensor.dims.elements(), Dtype::F32)?;
                memory.tensors.push((tensor.name, tensor.dims, tensor.written, buffer));
            }
            let mut tensors = Tensors::default();
            for (name, _, _, buffer) in &memory.tensors {
                tensors.set(name, buffer.into())?;
            }
            memory.layer = Some(engine.bind(&plan, packed, &tensors)?);
            Ok(())
        };
        let made = make();
        // The browser's message says more than an error that follows from it.
        engine.settled().await?;
        made?;
        Ok(Self { context, memory })
    }

    async fn run(&self, inputs: &BTreeMap<&str, Vec<f32>>) -> Result<Vec<(&'static str, Vec<f32>)>, octconv::Error> {
        let Memory { tensors, layer, .. } = &self.memory;
        for (name, dims, _, buffer) in tensors.iter().filter(|(_, _, written, _)| !written) {
            let values = inputs.get(name).map(Vec::as_slice).unwrap_or_default();
            if values.len() as u64 != dims.elements() {
                return Err(octconv::Error::Length { tensor: name, found: values.len() as u64, shape: *dims });
            }
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            self.context.queue().write_buffer(buffer, 0, &bytes);
        }
        let outputs: Vec<_> = tensors.iter().filter(|(_, _, written, _)| *written).collect();
        let reads: Vec<_> =
            outputs.iter().map(|(_, dims, _, buffer)| (buffer, 0, dims.elements(), Dtype::F32)).collect();
        let values =
            self.context.run_and_read_async(|pass| layer.iter().for_each(|layer| layer.record(pass)), &reads).await?;
        Ok(outputs.iter().map(|(name, ..)| *name).zip(values).collect())
    }
}

const INPUTS: [&str; 4] = ["x_h", "x_l", "residual_h", "residual_l"];

impl Shared {
    /// Names and shapes of the tensors: those that the layer reads, then those that it writes. The input may have a frequency
    /// that no path reads.
    fn shapes(&self) -> Result<[Vec<(&'static str, Dims)>; 2], JsValue> {
        let shapes = self.spec.shapes(self.size).map_err(failure)?;
        let residual = |frequency, dims: Option<Dims>| dims.filter(|_| self.spec.has_residual(frequency));
        let residuals = [residual(Frequency::High, shapes.y_h), residual(Frequency::Low, shapes.y_l)];
        let input = |frequency, dims: Option<Dims>| dims.filter(|_| self.spec.reads(frequency));
        let inputs = [input(Frequency::High, shapes.x_h), input(Frequency::Low, shapes.x_l)];
        let read = INPUTS.into_iter().zip(inputs.into_iter().chain(residuals));
        let written = [("y_h", shapes.y_h), ("y_l", shapes.y_l)];
        let there = |(name, dims): (_, Option<Dims>)| Some((name, dims?));
        Ok([read.filter_map(there).collect(), written.into_iter().filter_map(there).collect()])
    }

    /// Copies the inputs. Refuses what the layer does not read, which may be a name that is misspelt.
    fn inputs(&self, inputs: &JsValue) -> Result<BTreeMap<&'static str, Vec<f32>>, JsValue> {
        let object = object(inputs, "inputs")?;
        let [read, _] = self.shapes()?;
        let mut given = BTreeMap::new();
        for own in Object::keys(&object).iter().filter_map(|name| name.as_string()) {
            let Some((name, _)) = read.iter().find(|(name, _)| *name == own) else {
                let names: Vec<_> = read.iter().map(|(name, _)| *name).collect();
                return Err(refusal(format!("inputs.{own}: this layer reads {}", names.join(", "))));
            };
            given.insert(*name, floats(&object, name, "inputs")?);
        }
        Ok(given)
    }

    async fn run(&self, given: &BTreeMap<&'static str, Vec<f32>>) -> Result<JsValue, JsValue> {
        let outputs = match &self.device {
            Some(device) => device.run(given).await.map_err(failure)?,
            None => {
                let [x_h, x_l, residual_h, residual_l] = INPUTS.map(|name| given.get(name).map(Vec::as_slice));
                let inputs = Inputs { x_h, x_l, x_p: None, residual_h, residual_l };
                let outputs = reference::octave_conv(&self.spec, self.size, &self.weights.weights(), &inputs);
                let outputs = outputs.map_err(failure)?;
                let named = [("y_h", outputs.y_h), ("y_l", outputs.y_l)];
                named.into_iter().filter_map(|(name, tensor)| Some((name, tensor?.to_f32()))).collect()
            }
        };
        let object = Object::new();
        for (name, values) in outputs {
            Reflect::set(&object, &name.into(), &Float32Array::from(values.as_slice()))?;
        }
        Ok(object.into())
    }
}

#[wasm_bindgen]
impl Layer {
    /// The shapes of its tensors by name, as [batch, channels, frames, rows, columns].
    #[wasm_bindgen(getter, unchecked_return_type = "Record<string, number[] | undefined>")]
    pub fn shapes(&self) -> Result<JsValue, JsValue> {
        let shape = |dims: Dims| json!([dims.n, dims.c, dims.t, dims.h, dims.w]);
        let all = self.shared.shapes()?.into_iter().flatten().map(|(name, dims)| (name.to_owned(), shape(dims)));
        to_js(&serde_json::Value::Object(all.collect()))
    }

    /// Runs it once: `{x_h, x_l}`, those that it reads, and residuals if it has them. Gives `{y_h, y_l}`. Copies the inputs
    /// before it returns, so that they may be changed.
    #[wasm_bindgen(unchecked_return_type = "Promise<LayerOutputs>")]
    pub fn run(&self, #[wasm_bindgen(unchecked_param_type = "LayerInputs")] inputs: &JsValue) -> Promise {
        let (shared, given) = (self.shared.clone(), self.shared.inputs(inputs));
        future_to_promise(async move { shared.run(&given?).await })
    }
}

//! What was found on this device, in the format of `octconv report` (docs/report.md, version 2). `scripts/test-web.sh` has
//! the command read it.

use octconv::roofline::{Rate, Roofline};
use octconv::{Context, Variant, wgpu};
use serde::Serialize;
use serde_json::{Value, json};
use wasm_bindgen::JsValue;
use web_time::Instant;

use crate::bench::Benched;

/// The version of the format.
const VERSION: u32 = 2;

/// All of `report.json`.
#[derive(Serialize)]
pub struct Report {
    /// What the browser says about the device.
    #[serde(skip)]
    about: String,
    octconv_report: u32,
    started: String,
    build: Value,
    options: Value,
    adapter: Value,
    done: Vec<Value>,
    begun: Option<String>,
    left: usize,
    verify: Vec<Verified>,
    roofline: Option<Value>,
    layers: Vec<Value>,
    networks: Vec<Value>,
    tune: Vec<Value>,
    refused: Vec<Value>,
    problems: Vec<Value>,
}

/// A row of what was compared with the reference.
#[derive(Serialize)]
struct Verified {
    family: String,
    tile: Option<String>,
    checked: bool,
    as_gpu: bool,
    cases: u64,
    worst: f64,
    wrong: u64,
    examples: Vec<Value>,
    refused: u64,
    refusal: Option<String>,
}

/// A step that has begun.
pub struct Step {
    name: String,
    start: Instant,
}

/// What a report says about a network that was timed.
pub struct NetworkReport {
    pub name: String,
    pub side: u32,
    pub fast: bool,
    pub forms: [FormReport; 2],
}

/// What it says about one of its forms.
pub struct FormReport {
    pub macs: u64,
    pub dispatches: usize,
    pub layers: usize,
    pub as_wanted: usize,
    pub activation_bytes: u64,
    pub weight_bytes: u64,
    pub ready: [f64; 3],
}

/// The most examples of a row.
const EXAMPLES: usize = 3;

impl Report {
    /// Nothing yet. `about` is what the browser says about the device.
    pub fn new(about: &str, context: Option<&Context>) -> Self {
        let facts = context.map(|context| context.engine().facts().clone()).unwrap_or_default();
        let info = context.map(|context| context.adapter().get_info());
        let (device_type, [smallest, largest]) = match &info {
            Some(info) => (info.device_type, [info.subgroup_min_size, info.subgroup_max_size]),
            None => (wgpu::DeviceType::Cpu, [0; 2]),
        };
        let limits = &facts.limits;
        let features = |feature| facts.features.contains(feature);
        let about = if context.is_some() { about } else { "the CPU reference" };
        let adapter = json!({
            "name": about,
            "backend": if context.is_some() { "webgpu" } else { "cpu" },
            "device_type": format!("{device_type:?}"),
            "driver": crate::kept::browser(),
            "limits": {
                "max_storage_buffer_binding_size": limits.max_storage_buffer_binding_size,
                "max_buffer_size": limits.max_buffer_size,
                "max_storage_buffers_per_shader_stage": limits.max_storage_buffers_per_shader_stage,
                "max_compute_workgroup_storage_size": limits.max_compute_workgroup_storage_size,
                "max_compute_invocations_per_workgroup": limits.max_compute_invocations_per_workgroup,
                "max_compute_workgroups_per_dimension": limits.max_compute_workgroups_per_dimension,
                "min_storage_buffer_offset_alignment": limits.min_storage_buffer_offset_alignment,
            },
            "features": {
                "shader_f16": features(wgpu::Features::SHADER_F16),
                "timestamp_query": features(wgpu::Features::TIMESTAMP_QUERY),
                "subgroups": features(wgpu::Features::SUBGROUP),
                "subgroup_min_size": smallest,
                "subgroup_max_size": largest,
                "cooperative_matrices": [],
            },
        });
        Self {
            about: about.to_owned(),
            octconv_report: VERSION,
            started: js_sys::Date::new_0().to_iso_string().into(),
            build: json!({
                "version": env!("CARGO_PKG_VERSION"),
                "commit": option_env!("OCTCONV_COMMIT"),
                "optimised": !cfg!(debug_assertions),
            }),
            options: json!({ "networks": [], "layers": [], "contents": "", "dtypes": ["f32"], "fast": false }),
            adapter,
            done: Vec::new(),
            begun: None,
            left: 0,
            verify: Vec::new(),
            roofline: None,
            layers: Vec::new(),
            networks: Vec::new(),
            tune: Vec::new(),
            refused: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// Names the device as the user does, if it does, beside what the browser says about it.
    pub fn name(&mut self, device: &str) {
        let (device, about) = (device.trim(), &self.about);
        self.adapter["name"] = if device.is_empty() { json!(about) } else { json!(format!("{device} ({about})")) };
    }

    pub fn start(&mut self, name: &str) -> Step {
        self.begun = Some(name.to_owned());
        Step { name: name.to_owned(), start: Instant::now() }
    }

    /// Ends a step, which may have failed.
    pub fn end(&mut self, step: Step, error: Option<&JsValue>) {
        self.begun = None;
        if let Some(error) = error {
            let problem = js_sys::Reflect::get(error, &"message".into()).ok().and_then(|message| message.as_string());
            self.problems.push(json!({ "step": step.name, "problem": problem.unwrap_or_else(|| "it failed".into()) }));
        }
        self.done.push(json!({ "step": step.name, "seconds": step.start.elapsed().as_secs_f64() }));
    }

    fn row(&mut self, family: &str, tile: Option<&str>) -> &mut Verified {
        let at = self.verify.iter().position(|row| row.family == family && row.tile.as_deref() == tile);
        let at = at.unwrap_or_else(|| {
            self.verify.push(Verified {
                family: family.to_owned(),
                tile: tile.map(str::to_owned),
                checked: false,
                as_gpu: false,
                cases: 0,
                worst: 0.0,
                wrong: 0,
                examples: Vec::new(),
                refused: 0,
                refusal: None,
            });
            self.verify.len() - 1
        });
        &mut self.verify[at]
    }

    /// A case that ran; `wrong` has the case, what is wrong, and how to repeat it.
    pub fn add_case(&mut self, variant: &Variant, worst: f64, wrong: Option<&(String, String, String)>) {
        let row = self.row(variant.family.name(), variant.tile);
        row.cases += 1;
        match wrong {
            None => row.worst = row.worst.max(worst),
            Some((case, problem, place)) => {
                row.wrong += 1;
                if row.examples.len() < EXAMPLES {
                    let repeat = format!("octconv verify in a browser, {place}");
                    row.examples.push(json!({ "case": case, "problem": problem, "repeat": repeat }));
                }
            }
        }
    }

    /// Something failed that others may not need.
    pub fn add_problem(&mut self, step: &Step, problem: &str) {
        self.problems.push(json!({ "step": step.name, "problem": problem }));
    }

    pub fn add_refusal(&mut self) {
        let row = self.row("any", None);
        row.refused += 1;
        row.refusal.get_or_insert_with(|| "the device has no room or no features".to_owned());
    }

    pub fn add_roofline(&mut self, roofline: &Roofline, step: Step) {
        let memory = |rate: &Rate| json!({ "gb_per_s": rate.per_second * 1e-9, "configuration": rate.configuration });
        let arithmetic = roofline.arithmetic.iter().map(|arithmetic| {
            json!({
                "factors": arithmetic.factors.to_string(),
                "sums": arithmetic.sums.to_string(),
                "matrix": arithmetic.matrix,
                "gflops": arithmetic.rate.per_second * 1e-9,
                "configuration": arithmetic.rate.configuration,
            })
        });
        self.roofline = Some(json!({
            "arithmetic": arithmetic.collect::<Vec<_>>(),
            "read": memory(&roofline.read),
            "copy": memory(&roofline.copy),
            "buffer_bytes": roofline.buffer_bytes,
            "launch_us": roofline.launch * 1e6,
            "fabric": null,
        }));
        self.end(step, None);
    }

    /// A network that was timed, unless it was stopped before the first round was over.
    pub fn add_network(&mut self, network: &NetworkReport, benched: &Benched) {
        let Some((whole, stages)) = benched.parts.split_last() else { return };
        let rounds = whole.octave_ms.len().min(whole.plain_ms.len());
        if rounds == 0 {
            return;
        }
        if let Some(Value::Array(names)) = self.options.get_mut("networks") {
            names.push(json!(network.name));
        }
        self.options["fast"] = json!(network.fast);
        let form = |form: &FormReport, ms: &[f64]| {
            let [plan_ms, compile_ms, first_ms] = form.ready.map(|seconds| 1e3 * seconds);
            json!({
                "ms": quartiles(ms),
                "macs": form.macs,
                "dispatches": form.dispatches,
                "layers": form.layers,
                "as_wanted": form.as_wanted,
                "activation_bytes": form.activation_bytes,
                "weight_bytes": form.weight_bytes,
                "plan_ms": plan_ms,
                "compile_ms": compile_ms,
                "first_ms": first_ms,
            })
        };
        let ratios: Vec<f64> =
            whole.plain_ms.iter().zip(&whole.octave_ms).map(|(plain, octave)| plain / octave).collect();
        let stages: Vec<_> = stages
            .iter()
            .filter(|part| part.octave_ms.len().min(part.plain_ms.len()) >= rounds)
            .map(|part| {
                json!({
                    "stage": part.name,
                    "octave_ms": quartiles(&part.octave_ms),
                    "plain_ms": quartiles(&part.plain_ms),
                    "macs_ratio": part.macs_ratio,
                })
            })
            .collect();
        self.networks.push(json!({
            "network": network.name,
            "size": { "batch": 1, "frames": 1, "height": network.side, "width": network.side },
            "dtype": "f32",
            "tuned": network.forms.iter().any(|form| form.as_wanted > 0),
            "rounds": rounds,
            "octave": form(&network.forms[0], &whole.octave_ms),
            "plain": form(&network.forms[1], &whole.plain_ms),
            "unfused": null,
            "over_plain": quartiles(&ratios),
            "over_unfused": null,
            "stages": stages,
        }));
    }
}

/// The median and the quartiles. There is at least one number.
fn quartiles(values: &[f64]) -> Value {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let place = share * (sorted.len() - 1) as f64;
        let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
        below + (above - below) * place.fract()
    };
    json!({ "median": at(0.5), "lower": at(0.25), "upper": at(0.75) })
}

//! What a report holds: `report.json`. The comments of the fields are their documentation in docs/report.md.

use std::fmt;

use octconv::InputSize;
use serde::{Deserialize, Serialize};

use crate::info::About;
use crate::roofline::Measured;
use crate::timing::{quartiles, ratios};
use crate::tune::Tried;

/// The version of the format. A report of another one is neither continued nor merged.
pub const VERSION: u32 = 2;

/// All of `report.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Report {
    /// The version of this format: 2.
    pub octconv_report: u32,
    /// When the first step began, in UTC.
    pub started: String,
    pub build: Build,
    pub options: Options,
    pub adapter: About,
    /// The steps that have ended, in order. Some of them failed or were refused.
    pub done: Vec<Done>,
    /// The step that is being done; null between steps. If the process ends in it, the next one skips it.
    pub begun: Option<String>,
    /// Steps that are left, for want of time. Some of them may turn out to tell nothing.
    pub left: usize,
    /// Random layers and networks that were compared with the reference.
    pub verify: Vec<Verified>,
    /// The most that the device can do.
    pub roofline: Option<Measured>,
    /// Layers: octave, unfused and plain.
    pub layers: Vec<Layer>,
    /// Whole networks: octave, plain and unfused.
    pub networks: Vec<Network>,
    /// What tuning found for a layer.
    pub tune: Vec<Tuned>,
    /// Steps that the device has no room or no features for.
    pub refused: Vec<Problem>,
    /// Steps that failed, or in which the process ended.
    pub problems: Vec<Problem>,
}

/// The program that made a report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Build {
    /// The version of octconv.
    pub version: String,
    /// The commit that it was built from; null outside of its repository.
    pub commit: Option<String>,
    /// Whether the compiler optimised it. If not, times of the host are too long.
    pub optimised: bool,
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Options {
    /// The names of the networks.
    pub networks: Vec<String>,
    /// The names of the layers.
    pub layers: Vec<String>,
    /// A checksum of what the networks and layers are.
    pub contents: String,
    /// The types of activations and weights.
    pub dtypes: Vec<String>,
    /// Whether Winograd kernels were allowed.
    pub fast: bool,
}

/// A step that has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Done {
    /// The name of the step.
    pub step: String,
    /// Seconds that it took.
    pub seconds: f64,
}

/// A step that failed or was refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Problem {
    /// The name of the step.
    pub step: String,
    /// Why.
    pub problem: String,
}

/// Random layers with one family and tile of kernels, or random networks, compared with the reference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Verified {
    /// The family of kernels, or "networks".
    pub family: String,
    /// The tile; null for networks.
    pub tile: Option<String>,
    /// Whether kernels had wgpu's bounds checks.
    pub checked: bool,
    /// Whether a software device ran what a GPU would.
    pub as_gpu: bool,
    /// Cases that ran. 0 if no layer was found that the device runs so.
    pub cases: u64,
    /// The largest error over its bound, of cases that agree. At most 1.
    pub worst: f64,
    /// How many cases disagree.
    pub wrong: u64,
    /// The first of them.
    pub examples: Vec<Wrong>,
    /// Cases that did not run, because the device has no room or no features for them.
    pub refused: u64,
    /// Why the first of them did not run.
    pub refusal: Option<String>,
}

/// A case that disagrees with the reference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Wrong {
    /// The layer, its size and options.
    pub case: String,
    /// What is wrong.
    pub problem: String,
    /// The command that repeats it on this device.
    pub repeat: String,
}

/// A number that was found in several rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Quartiles {
    /// The median.
    pub median: f64,
    /// The lower quartile.
    pub lower: f64,
    /// The upper quartile.
    pub upper: f64,
}

impl Quartiles {
    fn of(values: &[f64]) -> Self {
        let [lower, median, upper] = quartiles(values);
        Self { median, lower, upper }
    }

    /// Milliseconds, of seconds.
    pub fn ms(seconds: &[f64]) -> Self {
        Self::of(&seconds.iter().map(|seconds| 1e3 * seconds).collect::<Vec<_>>())
    }

    /// How many times as fast a form is as another one, both in seconds, round by round.
    pub fn speedup(form: &[f64], other: &[f64]) -> Self {
        Self::of(&ratios(other, form))
    }
}

/// The size of an input.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Size {
    /// Pictures or clips that run together.
    pub batch: u32,
    /// Frames.
    pub frames: u32,
    /// Rows at full resolution.
    pub height: u32,
    /// Columns at full resolution.
    pub width: u32,
}

impl From<InputSize> for Size {
    fn from(size: InputSize) -> Self {
        Self { batch: size.n, frames: size.t, height: size.h, width: size.w }
    }
}

/// A layer, as the planner chose its kernels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Layer {
    /// Its name.
    pub layer: String,
    pub size: Size,
    /// The type of activations and weights.
    pub dtype: String,
    /// Whether it ran at a batch that fills the device, or at the largest that there is room for; if not, at its own.
    pub filled: bool,
    /// Rounds. Each times all forms.
    pub rounds: usize,
    /// The fused octave layer.
    pub octave: LayerForm,
    /// The same with one dispatch per operation.
    pub unfused: LayerForm,
    /// The convolution without octaves.
    pub plain: LayerForm,
    /// How many times as fast octave is as unfused.
    pub over_unfused: Quartiles,
    /// How many times as fast octave is as plain.
    pub over_plain: Quartiles,
    /// A checksum of the kernels that the planner chooses for the octave and the plain form, as far as a report tells it
    /// about the device. A build that has another one runs other code. Null in a report of an older build.
    pub code: Option<String>,
}

/// A form of a layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LayerForm {
    /// Milliseconds of a run.
    pub ms: Quartiles,
    /// Multiply-adds. A Winograd kernel needs fewer than it is counted with.
    pub macs: u64,
    /// Bytes, if each tensor and weight is moved once.
    pub bytes: u64,
    /// Dispatches.
    pub dispatches: usize,
    /// The variant that ran.
    pub variant: String,
    /// Milliseconds from the plan to the end of the first run: compiling, packing weights, running.
    pub ready_ms: f64,
}

/// A whole network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Network {
    /// Its name.
    pub network: String,
    pub size: Size,
    /// The type of activations and weights.
    pub dtype: String,
    /// Whether layers ran the kernels that tuning found. If not, those that the planner chose.
    pub tuned: bool,
    /// Rounds. Each times all forms.
    pub rounds: usize,
    /// The octave network.
    pub octave: NetworkForm,
    /// The network without octaves.
    pub plain: NetworkForm,
    /// The octave network with one dispatch per operation, at batch 1.
    pub unfused: Option<NetworkForm>,
    /// How many times as fast octave is as plain.
    pub over_plain: Quartiles,
    /// How many times as fast octave is as unfused.
    pub over_unfused: Option<Quartiles>,
    /// Its stages, in order.
    pub stages: Vec<Stage>,
    /// As for a layer.
    pub code: Option<String>,
}

/// A form of a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct NetworkForm {
    /// Milliseconds of a run.
    pub ms: Quartiles,
    /// Multiply-adds.
    pub macs: u64,
    /// Dispatches, all in one pass.
    pub dispatches: usize,
    /// Layers.
    pub layers: usize,
    /// Layers that ran as tuned; for unfused, layers that ran unfused.
    pub as_wanted: usize,
    /// Bytes of all activations, pooled copies and scratch on the device.
    pub activation_bytes: u64,
    /// Bytes of the weights on the device.
    pub weight_bytes: u64,
    /// Milliseconds of planning.
    pub plan_ms: f64,
    /// Milliseconds of compiling and packing weights.
    pub compile_ms: f64,
    /// Milliseconds of the first run. Some drivers compile only then.
    pub first_ms: f64,
}

/// A stage of a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Stage {
    /// The name of its last node.
    pub stage: String,
    /// Milliseconds in the octave network.
    pub octave_ms: Quartiles,
    /// Milliseconds in the plain network.
    pub plain_ms: Quartiles,
    /// The octave network's multiply-adds over the plain one's.
    pub macs_ratio: f64,
}

/// What tuning found for a layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Tuned {
    /// The network that it is in; null for a layer of the list.
    pub network: Option<String>,
    /// Its name. In a network, that of the first of the layers that are alike.
    pub layer: String,
    /// How many layers of the network are alike. 1 for a layer of the list.
    pub alike: usize,
    /// Whether it is the form without octaves.
    pub plain: bool,
    /// The type of activations and weights.
    pub dtype: String,
    #[serde(flatten)]
    pub tried: Tried,
}

impl Report {
    /// What was compared with the reference.
    pub fn cases(&self) -> Cases {
        Cases::of(&self.verify)
    }

    /// Candidates whose results differ from those of the reference.
    pub fn wrong_candidates(&self) -> usize {
        self.tune.iter().map(|row| row.tried.wrong.len()).sum()
    }

    /// Whether results are wrong, or steps failed.
    pub fn has_faults(&self) -> bool {
        self.cases().wrong > 0 || self.wrong_candidates() > 0 || !self.problems.is_empty()
    }

    /// Whether a step is over: done, refused or failed.
    pub fn has_ended(&self, step: &str) -> bool {
        self.done.iter().any(|done| done.step == step) || self.problems.iter().any(|row| row.step == step)
    }

    /// Seconds of all steps.
    pub fn seconds(&self) -> f64 {
        // The sum of none would be -0.
        self.done.iter().map(|done| done.seconds).fold(0.0, |sum, seconds| sum + seconds)
    }

    /// The most operations per second and bytes per second for a type, both times 10^9.
    pub fn roofs(&self, dtype: &str) -> Option<(f64, f64)> {
        let roofline = self.roofline.as_ref()?;
        // Sums are f32 in every layer here.
        let fits = |factors: &str, sums: &str| sums == "f32" && (factors == "f32" || dtype == "f16");
        let arithmetic = roofline.arithmetic.iter().filter(|a| fits(&a.factors, &a.sums));
        let gflops = arithmetic.map(|a| a.gflops).fold(0.0, f64::max);
        Some((gflops, roofline.read.gb_per_s.max(roofline.copy.gb_per_s)))
    }

    /// The least time that the device allows, as a percentage of a form's time.
    pub fn percent_of_roofline(&self, form: &LayerForm, dtype: &str) -> Option<f64> {
        let (gflops, gb_per_s) = self.roofs(dtype)?;
        let least_ms = (2e-6 * form.macs as f64 / gflops).max(1e-6 * form.bytes as f64 / gb_per_s);
        Some(100.0 * least_ms / form.ms.median)
    }

    /// What was timed first of the networks; as tuned, if that was timed too.
    pub fn headline(&self) -> Option<&Network> {
        let first = self.networks.first()?;
        let same = |row: &&Network| row.network == first.network && row.dtype == first.dtype && row.size == first.size;
        self.networks.iter().filter(same).max_by_key(|row| row.tuned)
    }

    /// Layers of one kind.
    pub fn layers_of<'a>(&'a self, dtype: &'a str, filled: bool) -> impl Iterator<Item = &'a Layer> {
        self.layers.iter().filter(move |layer| layer.dtype == dtype && layer.filled == filled)
    }
}

/// How many cases were compared with the reference.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cases {
    /// Those that ran.
    pub ran: u64,
    /// Those of them that disagree.
    pub wrong: u64,
    /// Those that did not run.
    pub refused: u64,
}

impl Cases {
    pub fn of<'a>(rows: impl IntoIterator<Item = &'a Verified>) -> Self {
        // Files that others wrote may have any numbers.
        rows.into_iter().fold(Self::default(), |sums, row| Self {
            ran: sums.ran.saturating_add(row.cases),
            wrong: sums.wrong.saturating_add(row.wrong),
            refused: sums.refused.saturating_add(row.refused),
        })
    }
}

impl fmt::Display for Size {
    /// Without the batch.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.frames > 1 {
            write!(f, "{}×", self.frames)?;
        }
        write!(f, "{}×{}", self.height, self.width)
    }
}

impl fmt::Display for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "octconv {}", self.version)?;
        if let Some(commit) = &self.commit {
            write!(f, ", commit {commit}")?;
        }
        if self.optimised { Ok(()) } else { f.write_str(", not optimised") }
    }
}

impl Layer {
    pub fn title(&self) -> String {
        format!("{}, {}, batch {}", self.layer, self.dtype, self.size.batch)
    }
}

impl Tuned {
    pub fn title(&self) -> String {
        let network = self.network.as_ref().map_or(String::new(), |network| format!("{network}: "));
        let others = if self.alike > 1 { format!(" and {} more", self.alike - 1) } else { String::new() };
        let plain = if self.plain { ", plain" } else { "" };
        format!("{network}{}{others}{plain}, {}", self.layer, self.dtype)
    }
}

impl Network {
    pub fn title(&self) -> String {
        let tuned = if self.tuned { ", tuned" } else { "" };
        format!("{}, {}, batch {}{tuned}", self.network, self.dtype, self.size.batch)
    }

    /// Pictures or clips a second of the octave network.
    pub fn pictures_a_second(&self) -> f64 {
        1e3 * f64::from(self.size.batch) / self.octave.ms.median
    }
}

#[cfg(test)]
impl Report {
    /// A report that was made by hand.
    pub fn example() -> Self {
        serde_json::from_str(include_str!("../../tests/report/example.json")).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::path::Path;

    use serde_json::Value;

    use super::*;

    /// The fields of every object, as docs/report.md lists them.
    fn fields() -> String {
        let schema = serde_json::to_value(schemars::schema_for!(Report)).unwrap();
        let definitions = schema["$defs"].as_object().unwrap();
        let mut text = String::new();
        for (name, object) in
            std::iter::once(("Report", &schema)).chain(definitions.iter().map(|(k, v)| (k.as_str(), v)))
        {
            let of = object["description"].as_str().unwrap_or_else(|| panic!("{name} has no comment"));
            write!(text, "\n### {name}\n\n{}\n\n| field | type | |\n|---|---|---|\n", of.replace('\n', " ")).unwrap();
            for (field, value) in object["properties"].as_object().unwrap() {
                let what = value["description"].as_str().unwrap_or("").replace('\n', " ");
                writeln!(text, "| `{field}` | {} | {what} |", kind(value)).unwrap();
            }
        }
        text
    }

    /// The type of a field, with a link if it is an object.
    fn kind(value: &Value) -> String {
        if let Some(path) = value["$ref"].as_str() {
            let name = path.rsplit('/').next().unwrap();
            return format!("[{name}](#{})", name.to_lowercase());
        }
        if let Some(items) = value.get("items") {
            return format!("list of {}", kind(items));
        }
        if let Some(any) = value["anyOf"].as_array() {
            return any.iter().map(kind).collect::<Vec<_>>().join(" or ");
        }
        match &value["type"] {
            Value::String(name) => name.clone(),
            Value::Array(names) => names.iter().map(|name| name.as_str().unwrap()).collect::<Vec<_>>().join(" or "),
            other => panic!("{other} in {value}"),
        }
    }

    #[test]
    fn the_documentation_lists_every_field() {
        const MARK: &str = "<!-- fields -->\n";
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/report.md");
        let text = std::fs::read_to_string(&path).unwrap();
        let (before, listed) = text.split_once(MARK).unwrap();
        let right = fields();
        if std::env::var_os("OCTCONV_WRITE_DOCS").is_some() {
            std::fs::write(&path, format!("{before}{MARK}{right}")).unwrap();
        } else {
            assert_eq!(listed, right, "run this test with OCTCONV_WRITE_DOCS=1, and it writes docs/report.md");
        }
    }
}

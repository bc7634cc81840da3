//! What a report measures: layers, networks, and their types.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use octconv::network::NetworkOptions;
use octconv::{DeviceFacts, Dtype, ListedLayer, Options as LayerOptions, Precision, wgpu};

use crate::layer_file;
use crate::limits::Limits;
use crate::network_source::{self, Settings, Source};
use crate::output::{self, one_line};
use crate::tune::{Job, Jobs};
use crate::types::AccuracyArgs;

use super::data::{Options, Report};
use super::refusal;

/// About forty layers of many kinds of networks, the most telling first.
const LAYERS: &str = include_str!("../../assets/layers/various.json");

/// Networks of a report if none are named. The first one is in its headline.
const NETWORKS: [&str; 3] = ["resnet50", "mobilenet-v1", "resnext50"];

/// What is measured.
pub struct Subjects {
    pub layers: Vec<ListedLayer>,
    pub networks: Vec<Source>,
    /// At least one. The first is measured first.
    pub dtypes: Vec<Dtype>,
    pub accuracy: AccuracyArgs,
    pub limits: Limits,
    pub software: bool,
    /// Why the device cannot run the first network, if it cannot.
    pub unplanned: Option<String>,
    /// The layers of the first network, octave and plain.
    jobs: Vec<LayerJob>,
}

/// A layer of the first network, and those like it.
pub struct LayerJob {
    pub job: Job,
    /// Whether it is in the form of the network without octaves.
    pub plain: bool,
}

/// What a user asked for.
pub struct Wanted {
    pub layers: Option<PathBuf>,
    pub networks: Vec<String>,
    pub dtypes: Vec<Dtype>,
    pub accuracy: AccuracyArgs,
    pub limits: Limits,
}

impl Subjects {
    /// Reads files. `facts`: of the device.
    pub fn new(wanted: &Wanted, facts: &DeviceFacts) -> Result<Self> {
        let layers = match &wanted.layers {
            Some(file) => layer_file::read_list(file, wanted.limits, None)?,
            None => layer_file::parse_list("the built-in layers".as_ref(), LAYERS)?,
        };
        let names: Vec<&str> = match wanted.networks.is_empty() {
            true => NETWORKS.to_vec(),
            false => wanted.networks.iter().map(String::as_str).collect(),
        };
        let settings = Settings { alpha: None, width: None, stem: None, classes: None };
        let load = |name: &&str| network_source::load(name, &settings, wanted.limits);
        let networks = names.iter().map(load).collect::<Result<Vec<_>>>()?;
        unique("layers", layers.iter().map(|layer| &layer.name))?;
        unique("networks", networks.iter().map(|source| &source.network.name))?;
        let has = |dtype: &Dtype| *dtype == Dtype::F32 || facts.features.contains(wgpu::Features::SHADER_F16);
        let asked = if wanted.dtypes.is_empty() { vec![Dtype::F32, Dtype::F16] } else { wanted.dtypes.clone() };
        let dtypes: Vec<_> =
            [Dtype::F32, Dtype::F16].into_iter().filter(|dtype| asked.contains(dtype) && has(dtype)).collect();
        ensure!(!dtypes.is_empty(), "--dtype is f16: the device lacks SHADER_F16");
        let (accuracy, limits, software) = (wanted.accuracy, wanted.limits, facts.software);
        let (unplanned, jobs) = (None, Vec::new());
        let mut subjects = Self { layers, networks, dtypes, accuracy, limits, software, unplanned, jobs };
        match subjects.list_jobs(facts) {
            Ok(jobs) => subjects.jobs = jobs,
            // A device that cannot run the network may run layers, and others.
            Err(error) if refusal::is_one(&error) => subjects.unplanned = Some(one_line(&output::reason(&error))),
            Err(error) => return Err(error),
        }
        Ok(subjects)
    }

    /// What a report measured, if files of layers and networks had no part in it.
    pub fn of_report(report: &Report) -> Result<Self> {
        let options = &report.options;
        let wanted = Wanted {
            layers: None,
            networks: options.networks.clone(),
            dtypes: Vec::new(),
            accuracy: if options.fast { AccuracyArgs::FAST } else { AccuracyArgs::default() },
            limits: Limits::default(),
        };
        Self::new(&wanted, &DeviceFacts::default())
    }

    pub fn layer_options(&self, dtype: Dtype) -> LayerOptions {
        LayerOptions { precision: Precision::of(dtype), accuracy: self.accuracy.accuracy(), ..LayerOptions::default() }
    }

    pub fn network_options(&self, dtype: Dtype) -> NetworkOptions {
        let (precision, accuracy) = (Precision::of(dtype), self.accuracy.accuracy());
        NetworkOptions { precision, accuracy, keep: Vec::new(), ..NetworkOptions::default() }
    }

    pub fn jobs(&self) -> &[LayerJob] {
        &self.jobs
    }

    /// As the report keeps them.
    pub fn options(&self) -> Result<Options> {
        let networks: Vec<_> = self.networks.iter().map(|source| (&source.network, source.size)).collect();
        let contents = serde_json::to_vec(&(&networks, &self.layers))?;
        Ok(Options {
            networks: networks.iter().map(|(network, _)| network.name.clone()).collect(),
            layers: self.layers.iter().map(|layer| layer.name.clone()).collect(),
            contents: format!("{:08x}", crc32fast::hash(&contents)),
            dtypes: self.dtypes.iter().map(Dtype::to_string).collect(),
            fast: self.accuracy.accuracy() == octconv::Accuracy::Fast,
        })
    }

    fn list_jobs(&self, facts: &DeviceFacts) -> Result<Vec<LayerJob>> {
        let Some(Source { network, size }) = self.networks.first() else { return Ok(Vec::new()) };
        let options = self.network_options(self.dtypes[0]);
        let mut all = Vec::new();
        for (network, plain) in [(network.clone(), false), (network.plain(), true)] {
            let mut jobs = Jobs::default();
            jobs.add_network(&network, *size, &options, facts)?;
            all.extend(jobs.0.into_iter().map(|job| LayerJob { job, plain }));
        }
        Ok(all)
    }
}

/// Refuses names that stand for two things: a report could not tell them apart.
fn unique<'a>(what: &str, names: impl Iterator<Item = &'a String>) -> Result<()> {
    let mut seen = std::collections::HashSet::new();
    for name in names {
        ensure!(seen.insert(name), "{what} have the name {name} twice: each must have its own");
    }
    Ok(())
}

#[cfg(test)]
pub mod testing {
    use std::fs;

    use serde_json::{Value, json};

    use super::*;

    /// Layers and networks of these names. All layers are alike, and so are all networks.
    pub fn subjects(layers: &[&str], networks: &[&str], facts: &DeviceFacts) -> Result<Subjects> {
        let layer = |name: &&str| layer(name, 8);
        of(
            &layers.iter().map(layer).collect(),
            &networks.iter().map(|name| network(name, 8)).collect::<Vec<_>>(),
            facts,
        )
    }

    pub fn layer(name: &str, channels: u32) -> Value {
        let size = json!({"h": 8, "w": 8});
        json!({"name": name, "size": size, "input": {"channels": 8, "alpha": 0.5}, "channels": channels, "alpha": 0.5})
    }

    pub fn network(name: &str, channels: u32) -> Value {
        let conv = json!({"name": "a", "op": "conv", "input": "input", "channels": channels, "alpha": 0.5});
        let pool = json!({"name": "b", "op": "global_pool", "input": "a"});
        json!({"name": name, "input": {"channels": 3}, "nodes": [conv, pool], "output": "b"})
    }

    pub fn of(layers: &Value, networks: &[Value], facts: &DeviceFacts) -> Result<Subjects> {
        let folder = tempfile::tempdir()?;
        let file = |name: String, value: &Value| {
            let path = folder.path().join(name);
            fs::write(&path, value.to_string()).map(|()| path)
        };
        let networks = networks.iter().enumerate();
        let networks = networks.map(|(i, value)| Ok(file(format!("{i}.json"), value)?.to_string_lossy().into_owned()));
        let wanted = Wanted {
            layers: Some(file("layers.json".into(), layers)?),
            networks: networks.collect::<Result<_>>()?,
            dtypes: Vec::new(),
            accuracy: AccuracyArgs::default(),
            limits: Limits::default(),
        };
        Subjects::new(&wanted, facts)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::testing::{layer, network, of};
    use super::*;

    #[test]
    fn other_contents_are_other_options() {
        let options = |layer_channels, network_channels| {
            let (layers, network) = (json!([layer("a", layer_channels)]), network("n", network_channels));
            of(&layers, &[network], &DeviceFacts::default()).unwrap().options().unwrap()
        };
        assert_eq!(options(8, 8), options(8, 8));
        assert_ne!(options(8, 8), options(16, 8));
        assert_ne!(options(8, 8), options(8, 16));
    }

    #[test]
    fn a_wrong_network_is_refused_on_any_device() {
        let mut wrong = network("n", 8);
        wrong["output"] = json!("nothing");
        let tiny = wgpu::Limits { max_storage_buffer_binding_size: 1000, ..Default::default() };
        let facts = DeviceFacts { limits: tiny, ..DeviceFacts::default() };
        assert!(of(&json!([layer("a", 8)]), &[wrong], &facts).is_err());
    }
}

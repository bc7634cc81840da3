//! A layer in files, and layers from the reference's fixtures.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::run::{Outcome, octconv};

/// Names, shapes and values.
pub type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// A folder with spec.json and in.safetensors.
pub struct Folder {
    pub folder: TempDir,
}

impl Folder {
    pub fn new(spec: &Value, tensors: &Tensors) -> Self {
        let folder = Self { folder: tempfile::tempdir().unwrap() };
        fs::write(folder.spec(), spec.to_string()).unwrap();
        fs::write(folder.input(), serialize(tensors, Dtype::F32)).unwrap();
        folder
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn spec(&self) -> PathBuf {
        self.path("spec.json")
    }

    pub fn input(&self) -> PathBuf {
        self.path("in.safetensors")
    }

    pub fn output(&self) -> PathBuf {
        self.path("out.safetensors")
    }

    pub fn command(&self, flags: &[&str], more: &[&str]) -> Command {
        let mut command = octconv();
        command.arg("apply").args([self.spec(), self.input(), self.output()]).args(flags).args(more);
        command
    }

    pub fn apply(&self, flags: &[&str], more: &[&str]) -> Outcome {
        Outcome::of(&mut self.command(flags, more))
    }

    pub fn outputs(&self) -> Tensors {
        read(&fs::read(self.output()).unwrap())
    }

    pub fn assert_no_output(&self) {
        let names = fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let others: Vec<_> = names.filter(|name| name != "spec.json" && name != "in.safetensors").collect();
        assert!(others.is_empty(), "{others:?} left behind");
    }
}

/// A layer from the reference's fixtures.
pub struct Fixture {
    pub name: String,
    pub spec: Value,
    pub tensors: Tensors,
}

fn fixture_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/reference")
}

pub fn fixtures() -> Vec<Fixture> {
    let paths = fs::read_dir(fixture_folder()).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|e| e == "safetensors")).map(|path| Fixture::read(&path)).collect()
}

pub fn fixture(name: &str) -> Fixture {
    Fixture::read(&fixture_folder().join(format!("{name}.safetensors")))
}

impl Fixture {
    fn read(path: &Path) -> Self {
        let bytes = fs::read(path).unwrap();
        let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
        let spec = serde_json::from_str(&metadata.metadata().as_ref().unwrap()["spec"]).unwrap();
        Self { name: path.file_stem().unwrap().to_string_lossy().into_owned(), spec, tensors: read(&bytes) }
    }

    /// The layer as SPEC.json, unless its two batch norms differ in their eps.
    pub fn cli_spec(&self) -> Option<Value> {
        let field = |name: &str| self.spec[name].clone();
        let count = |name: &str| self.spec[name].as_u64().unwrap();
        let [eps, other] = ["eps_h", "eps_l"].map(field);
        if eps != other {
            return None;
        }
        let map = |side: &str| {
            let [high, low] = ["high", "low"].map(|part| count(&format!("{side}_{part}")));
            json!({"channels": high + low, "split": [high, low]})
        };
        let mut spec = map("out");
        spec["input"] = map("in");
        for name in ["kernel", "stride", "padding", "dilation", "high_to_low", "low_to_high", "rounding"] {
            spec[name] = field(name);
        }
        spec["downsample"] = json!(if field("downsample") == "average_pool" { "average" } else { "strided" });
        spec["activation"] = match field("slope") {
            Value::Null => field("activation"),
            slope => json!({"leaky_relu": {"slope": slope}}),
        };
        if !eps.is_null() {
            spec["norm_eps"] = eps;
        }
        match field("groups") {
            Value::String(_) => spec["depthwise"] = json!(true),
            groups => spec["groups"] = groups,
        }
        let time = field("time");
        if time != json!({"kernel": 1, "stride": 1, "padding": 0, "dilation": 1}) {
            for name in ["kernel", "padding", "dilation"] {
                spec[name].as_array_mut().unwrap().insert(0, time[name].clone());
            }
            spec["stride"] = json!([time["stride"], spec["stride"], spec["stride"]]);
        }
        Some(spec)
    }

    fn part(&self, of_outputs: bool) -> Tensors {
        let tensors = self.tensors.clone().into_iter();
        tensors.filter(|(name, _)| name.starts_with("y_") == of_outputs).collect()
    }

    pub fn inputs(&self) -> Tensors {
        self.part(false)
    }

    pub fn outputs(&self) -> Tensors {
        self.part(true)
    }
}

pub fn read(bytes: &[u8]) -> Tensors {
    let file = SafeTensors::deserialize(bytes).unwrap();
    let tensors = file.iter().map(|(name, view)| {
        let data = view.data();
        let values = match view.dtype() {
            Dtype::F32 => data.as_chunks().0.iter().map(|&v| f32::from_le_bytes(v)).collect(),
            Dtype::F16 => data.as_chunks().0.iter().map(|&v| half::f16::from_le_bytes(v).to_f32()).collect(),
            dtype => panic!("{name} is {dtype}"),
        };
        (name.to_string(), (view.shape().to_vec(), values))
    });
    tensors.collect()
}

pub fn serialize(tensors: &Tensors, dtype: Dtype) -> Vec<u8> {
    let bytes = |&v: &f32| match dtype {
        Dtype::F16 => half::f16::from_f32(v).to_le_bytes().to_vec(),
        _ => v.to_le_bytes().to_vec(),
    };
    let data: BTreeMap<&String, Vec<u8>> =
        tensors.iter().map(|(name, (_, values))| (name, values.iter().flat_map(bytes).collect())).collect();
    let view = |(name, (shape, _)): (&String, &(Vec<usize>, Vec<f32>))| {
        (name.clone(), TensorView::new(dtype, shape.clone(), &data[name]).unwrap())
    };
    safetensors::serialize(tensors.iter().map(view), None).unwrap()
}

pub fn assert_close(found: &Tensors, expected: &Tensors, tolerance: f32, what: &str) {
    let shapes = |tensors: &Tensors| -> Vec<(String, Vec<usize>)> {
        tensors.iter().map(|(name, (shape, _))| (name.clone(), shape.clone())).collect()
    };
    assert_eq!(shapes(found), shapes(expected), "{what}");
    for (name, (_, values)) in found {
        for (i, (a, b)) in values.iter().zip(&expected[name].1).enumerate() {
            assert!((a - b).abs() <= tolerance * b.abs().max(1.0), "{what}: {name} is {a} at {i}, must be {b}");
        }
    }
}

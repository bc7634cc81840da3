//! What tests/operations/make_fixtures.py and tests/pools/make_fixtures.py wrote: a few nodes, and what PyTorch computes of
//! them.

use octconv::network::{Checkpoint, Graph, HostTensor, Network};
use octconv::{Dims, InputSize};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
pub struct Case {
    pub name: String,
    rounding: String,
    nodes: Vec<Value>,
    /// n t h w
    size: [u32; 4],
    x: Vec<Value>,
    /// Both frequencies, if the answer is a map.
    pub high: Option<Part>,
    pub low: Option<Part>,
    vector: Option<Vec<Value>>,
}

#[derive(Deserialize)]
pub struct Part {
    /// t h w
    size: [u32; 3],
    values: Vec<Value>,
}

/// Operations other than pools.
pub fn operations() -> Vec<Case> {
    read(include_str!("cases.json"), 82)
}

pub fn pools() -> Vec<Case> {
    read(include_str!("../pools/cases.json"), 69)
}

fn read(text: &str, count: usize) -> Vec<Case> {
    let cases: Vec<Case> = serde_json::from_str(text).unwrap();
    assert_eq!(cases.len(), count);
    cases
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| value.as_str().unwrap().parse().unwrap())
}

impl Case {
    /// A convolution that copies the input into high frequency, and its means of 2x2 into low frequency; then the nodes.
    pub fn graph(&self) -> Graph {
        let both = json!({"name": "both", "op": "conv", "input": "input", "channels": 2, "alpha": 0.5});
        let nodes = [&[both], self.nodes.as_slice()].concat();
        let (rounding, output) = (&self.rounding, &nodes[nodes.len() - 1]["name"]);
        let network = json!({"name": self.name, "input": {"channels": 1}, "rounding": rounding, "nodes": nodes,
                             "output": output});
        let network: Network = serde_json::from_value(network).unwrap_or_else(|e| panic!("{}: {e}", self.name));
        Graph::new(&network).unwrap_or_else(|e| panic!("{}: {e}", self.name))
    }

    /// Weights of 1.
    pub fn checkpoint(&self) -> Checkpoint {
        let ones = |shape: Vec<usize>| HostTensor { data: vec![1.0; shape.iter().product()], shape };
        let tensors = self.graph().tensors().into_iter().map(|spec| (spec.name, ones(spec.shape)));
        Checkpoint { tensors: tensors.collect() }
    }

    pub fn size(&self) -> InputSize {
        let [n, t, h, w] = self.size;
        InputSize { n, t, h, w }
    }

    pub fn input(&self) -> Vec<f32> {
        self.x.iter().map(|value| number(value) as f32).collect()
    }

    /// Asserts that a frequency of the answer is what PyTorch computes, up to `tolerance` relative to the value.
    pub fn check(&self, part: Option<&Part>, dims: Dims, found: &[f64], tolerance: f64) {
        let part = part.unwrap_or_else(|| panic!("{}: PyTorch's is no map", self.name));
        assert_eq!([dims.t, dims.h, dims.w], part.size, "{}", self.name);
        self.compare(&part.values, found, tolerance);
    }

    /// Asserts that the answer is the vector that PyTorch computes.
    pub fn check_vector(&self, found: &[f64], tolerance: f64) {
        let wanted = self.vector.as_ref().unwrap_or_else(|| panic!("{}: PyTorch's is no vector", self.name));
        self.compare(wanted, found, tolerance);
    }

    fn compare(&self, wanted: &[Value], found: &[f64], tolerance: f64) {
        let name = &self.name;
        assert_eq!(found.len(), wanted.len(), "{name}");
        // Terms of a sum are up to 1024, and may cancel. They are f32 or f64, even if the sum is stored in f16.
        let absolute = 1024.0 * tolerance.min(1e-6);
        // An infinity is near to nothing: its bound would be infinite.
        let near = |a: f64, b: f64| b.is_finite() && (a - b).abs() <= absolute + tolerance * b.abs();
        let same = |a: f64, b: f64| a == b || a.is_nan() && b.is_nan() || near(a, b);
        for (i, (&found, wanted)) in found.iter().zip(wanted.iter().map(number)).enumerate() {
            assert!(same(found, wanted), "{name}: element {i} is {found} in place of {wanted}");
        }
    }
}

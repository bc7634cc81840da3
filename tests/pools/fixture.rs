//! What tests/pools/make_fixtures.py wrote: pools of both frequencies, and what PyTorch computes of them.

use octconv::network::{Checkpoint, Graph, HostTensor, Network};
use octconv::{Dims, InputSize};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
pub struct Case {
    pub name: String,
    rounding: String,
    pool: Value,
    /// n t h w
    size: [u32; 4],
    x: Vec<Value>,
    pub high: Part,
    pub low: Part,
}

#[derive(Deserialize)]
pub struct Part {
    /// t h w
    size: [u32; 3],
    values: Vec<Value>,
}

pub fn all() -> Vec<Case> {
    let cases: Vec<Case> = serde_json::from_str(include_str!("cases.json")).unwrap();
    assert_eq!(cases.len(), 69);
    cases
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| value.as_str().unwrap().parse().unwrap())
}

impl Part {
    fn values(&self) -> Vec<f64> {
        self.values.iter().map(number).collect()
    }
}

impl Case {
    /// A convolution that copies the input into high frequency, and its means of 2x2 into low frequency; then the pool.
    pub fn graph(&self) -> Graph {
        let mut pool = self.pool.clone();
        for (field, value) in [("name", "pool"), ("op", "pool"), ("input", "both")] {
            pool[field] = value.into();
        }
        let both = json!({"name": "both", "op": "conv", "input": "input", "channels": 2, "alpha": 0.5});
        let (rounding, nodes) = (&self.rounding, [both, pool]);
        let network = json!({"name": self.name, "input": {"channels": 1}, "rounding": rounding, "nodes": nodes,
                             "output": "pool"});
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

    /// Asserts that a part is what PyTorch computes, up to `tolerance` relative to the value.
    pub fn check(&self, part: &Part, dims: Dims, found: &[f64], tolerance: f64) {
        let (name, wanted) = (&self.name, part.values());
        assert_eq!([dims.t, dims.h, dims.w], part.size, "{name}");
        assert_eq!(found.len(), wanted.len(), "{name}");
        let same = |a: f64, b: f64| a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= tolerance * b.abs();
        for (i, (&found, &wanted)) in found.iter().zip(&wanted).enumerate() {
            assert!(same(found, wanted), "{name}: element {i} is {found} in place of {wanted}");
        }
    }
}

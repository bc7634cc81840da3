//! The official code's names, from file to network.

use octconv::Error;
use octconv::network::{Checkpoint, Graph, Network};

use crate::{bytes, read_bytes};

fn graph(name: &str) -> Graph {
    let network: Network = serde_json::from_slice(&bytes(&format!("networks/{name}.json"))).unwrap();
    Graph::new(&network).unwrap()
}

fn own(name: &str) -> Checkpoint {
    Checkpoint::from_safetensors(&bytes(&format!("networks/{name}.safetensors"))).unwrap()
}

fn named(name: &str, dialect: &str) -> Checkpoint {
    read_bytes(&bytes(&format!("networks/{name}.{dialect}.params"))).unwrap().checkpoint
}

/// `shift` more in each variance.
fn shifted(mut checkpoint: Checkpoint, shift: f64) -> Checkpoint {
    let vars = checkpoint.tensors.iter_mut().filter(|(name, _)| name.ends_with(".var"));
    vars.flat_map(|(_, tensor)| &mut tensor.data).for_each(|var| *var = (f64::from(*var) + shift) as f32);
    checkpoint
}

#[test]
fn official_names_are_translated() {
    for name in ["plain", "se", "preactivation"] {
        let graph = graph(name);
        let eps = f64::from(graph.network().norm_eps);
        // Symbol's networks add 1e-4 to variances.
        assert_eq!(named(name, "symbol").fit(&graph).unwrap(), shifted(own(name), 1e-4 - eps), "{name}");
        assert_eq!(named(name, "gluon").fit(&graph).unwrap(), own(name), "{name}");
        for dialect in ["symbol", "gluon"] {
            let found = named(name, dialect).fit_with_eps(&graph, 1e-3).unwrap();
            assert_eq!(found, shifted(own(name), 1e-3 - eps), "{name} {dialect}");
        }
    }
    let refusal = named("plain", "gluon").fit_with_eps(&graph("plain"), 1.0).unwrap_err().to_string();
    assert_eq!(refusal, "eps is 1: must be in [0, 1)");
}

#[test]
fn folding_is_the_same() {
    // The variance is used as gamma / sqrt(var + eps).
    let graph = graph("plain");
    let found = named("plain", "symbol").fit(&graph).unwrap();
    let name = "layer1.0.conv2.norm_l.var";
    for (found, file) in found.get(name).unwrap().iter().zip(own("plain").get(name).unwrap()) {
        let (ours, theirs) = (f64::from(*found) + f64::from(graph.network().norm_eps), f64::from(*file) + 1e-4);
        assert!((ours / theirs - 1.0).abs() < 2e-7, "{ours} {theirs}");
    }
}

#[test]
fn norms_before_and_behind_convolutions_are_not_mixed_up() {
    for (file, network) in [("preactivation", "plain"), ("plain", "preactivation")] {
        for dialect in ["symbol", "gluon"] {
            let fitted = named(file, dialect).fit(&graph(network));
            assert!(matches!(fitted, Err(Error::Checkpoint { .. })), "{file} {dialect} in {network}");
        }
    }
}

#[test]
fn biases_of_an_output_are_added() {
    let mut network: Network = serde_json::from_slice(&bytes("networks/plain.json")).unwrap();
    let node = network.nodes.iter_mut().find(|node| node.name == "layer1.1.conv3").unwrap();
    let octconv::network::Op::Conv(conv) = &mut node.op else { panic!() };
    conv.bias = true;
    let mut file = named("plain", "gluon");
    for (path, data) in [("h2h", [1.0, 2.0, 3.0, 4.0]), ("l2h", [10.0, 20.0, 30.0, 40.0]), ("h2l", [0.5; 4])] {
        let tensor = octconv::network::HostTensor { shape: vec![4], data: data.into() };
        file.tensors.insert(format!("L1_B1.conv3.conv_{path}.bias"), tensor);
    }
    let fitted = file.fit(&Graph::new(&network).unwrap()).unwrap();
    assert_eq!(fitted.get("layer1.1.conv3.bias_h"), Some([11.0, 22.0, 33.0, 44.0].as_slice()));
    assert_eq!(fitted.get("layer1.1.conv3.bias_l"), Some([0.5; 4].as_slice()));
}

//! The networks of assets/cifar on the CPU reference, against PyTorch.

use crate::cifar_fixture::{OCTAVE, PLAIN, Trained, network};
use octconv::network::{Checkpoint, Network};
use octconv::reference::network::{Value, run};

/// Relative to the largest |logit|.
const TOLERANCE: f64 = 1e-6;

fn logits(trained: &Trained, weights: &Checkpoint) -> Vec<f64> {
    let output = run(&trained.graph, weights, trained.size, &trained.input, &mut |_, _| {}).unwrap();
    let Value::Vector { data, .. } = output else { panic!("the output is no vector") };
    data
}

#[test]
fn the_reference_gives_pytorchs_logits() {
    for name in [PLAIN].iter().chain(&OCTAVE) {
        let trained = Trained::new(name);
        let logits = logits(&trained, &trained.weights);
        let error = trained.error(&logits);
        assert!(error < TOLERANCE, "{name}: {error:e}");
        assert_eq!(trained.answers(logits), trained.answers(trained.logits.iter().copied()), "{name}");
    }
}

#[test]
fn trained_weights_matter_to_the_logits() {
    let trained = Trained::new(OCTAVE[2]);
    let mut weights = trained.weights.clone();
    for value in &mut weights.tensors.get_mut("layer2.0.conv2.w_lh").unwrap().data {
        *value *= 0.99;
    }
    assert!(trained.error(&logits(&trained, &weights)) > TOLERANCE);
}

#[test]
fn the_networks_differ_in_alpha_alone() {
    let plain = network(PLAIN);
    for name in OCTAVE {
        let octave = network(name);
        assert_ne!(octave.nodes, plain.nodes);
        let named = Network { name: plain.name.clone(), ..octave.plain() };
        assert_eq!(named, plain, "{name}");
    }
}

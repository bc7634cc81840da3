//! A small network that names the class of each position: octave convolutions go down to a quarter of the size, and back
//! up by way of what they saw at each size. `segmentation.json` describes it. The weights are random, and the answer is
//! compared with the CPU reference.
//!
//!     cargo run --release --example segmentation --all-features
//!
//! With trained weights, `octconv classify PICTURE --network examples/segmentation.json --weights FILE --map OUT.png`
//! draws the classes of a picture.

use octconv::network::{Checkpoint, Graph, Model, Network, NetworkOptions};
use octconv::reference::network as reference;
use octconv::{Context, ContextOptions, InputSize};

/// The class of each position: the channel with the largest value.
fn classes(answer: &[f32], positions: usize) -> Vec<usize> {
    let value = |class: usize, at: usize| answer[class * positions + at];
    let all = answer.len() / positions;
    (0..positions).map(|at| (0..all).max_by(|&a, &b| value(a, at).total_cmp(&value(b, at))).unwrap_or(0)).collect()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let network: Network = serde_json::from_str(include_str!("segmentation.json"))?;
    let graph = Graph::new(&network)?;
    let context = Context::new(&ContextOptions::default())?;
    let model = Model::new(context.engine(), graph.clone(), Checkpoint::random(&graph, 1))?;
    // Any size will do: each map that goes up takes the size of the one that it is joined with.
    for (h, w) in [(64, 96), (61, 45)] {
        let size = InputSize::image(1, h, w);
        let inference = model.compile(model.plan(size, &NetworkOptions::default())?, |_| {})?;
        let picture: Vec<f32> = (0..3 * h * w).map(|i| (f64::from(i) * 0.37).sin() as f32).collect();
        let answer = inference.run(&context, &picture)?;

        let positions = h as usize * w as usize;
        let mut counts = [0; 4];
        classes(&answer, positions).into_iter().for_each(|class| counts[class] += 1);
        println!("{h}x{w}: {} dispatches; positions of each class: {counts:?}", inference.plan().dispatches());
        let expected = reference::run(&graph, model.checkpoint(), size, &picture, &mut |_, _| {})?.to_f32();
        let apart = answer.iter().zip(&expected).map(|(a, b)| (a - b).abs());
        // A NaN is the largest.
        let apart = apart.max_by(f32::total_cmp).ok_or("there is no answer")?;
        println!("  at most {apart:.1e} from the reference");
        if apart.is_nan() || apart > 1e-4 {
            return Err("the answer is not the reference's".into());
        }
    }
    Ok(())
}

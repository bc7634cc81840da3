//! A network of your own: a small octave network from image to image, described in `image_to_image.json`. It runs at
//! two sizes, which share weights and pipelines, and each answer is compared with the CPU reference. The weights are
//! random.
//!
//!     cargo run --release --example image_to_image --all-features

use octconv::network::{Checkpoint, Graph, Model, Network, NetworkOptions};
use octconv::reference::network as reference;
use octconv::{Context, ContextOptions, InputSize};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let network: Network = serde_json::from_str(include_str!("image_to_image.json"))?;
    let graph = Graph::new(&network)?;
    for tensor in graph.tensors().iter().take(4) {
        println!("wants {} {:?}", tensor.name, tensor.shape);
    }
    println!("and {} more tensors", graph.tensors().len() - 4);

    let context = Context::new(&ContextOptions::default())?;
    let model = Model::new(context.engine(), graph.clone(), Checkpoint::random(&graph, 1))?;
    for (h, w) in [(64, 96), (75, 41)] {
        let size = InputSize::image(1, h, w);
        let plan = model.plan(size, &NetworkOptions::default())?;
        let inference = model.compile(plan, |_| {})?;
        println!(
            "{h}x{w}: {} dispatches, {} bytes of activations, {} pipelines and {} bytes of weights so far",
            inference.plan().dispatches(),
            inference.plan().activation_bytes(),
            context.engine().pipelines(),
            model.weight_bytes(),
        );

        let picture: Vec<f32> = (0..3 * h * w).map(|i| (f64::from(i) * 0.37).sin() as f32).collect();
        let answer = inference.run(&context, &picture)?;
        let expected = reference::run(&graph, model.checkpoint(), size, &picture, &mut |_, _| {})?.to_f32();
        let apart = answer.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max);
        let largest = expected.iter().fold(0.0f32, |most, v| most.max(v.abs()));
        println!(
            "  {} values, at most {apart:.1e} from the reference, where the largest is {largest:.2}",
            answer.len()
        );
    }
    Ok(())
}

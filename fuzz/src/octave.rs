use octconv::InputSize;
use octconv::network::{Checkpoint, Graph, ValueShape};
use octconv_import::to_octave;

use crate::check;

/// The most weights that are split.
const MOST_WEIGHTS: u64 = 20_000;

/// An alpha, in sixteenths, and the JSON of a network, which becomes an octave network.
pub fn octave(data: &[u8]) {
    let Some((&alpha, text)) = data.split_first() else { return };
    let alpha = if alpha == u8::MAX { f64::NAN } else { f64::from(alpha) / 16.0 };
    let Ok(text) = str::from_utf8(text) else { return };
    let Ok(network) = octconv_cli::fuzzing::network(text) else { return };
    let size = InputSize::image(1, 32, 24);
    let Ok(graph) = Graph::new(&network) else { return };
    let (Ok(shapes), Ok(cost)) = (graph.shapes(size), graph.cost(size)) else { return };
    let channels = |shape: &ValueShape| match *shape {
        ValueShape::Map { high, low, .. } => [high, low].into_iter().flatten().map(|dims| u64::from(dims.c)).sum(),
        ValueShape::Vector { c, .. } => u64::from(c),
        _ => 0,
    };
    let weights = (cost.params <= MOST_WEIGHTS).then(|| Checkpoint::random(&graph, 1));
    let made = match to_octave(&network, weights.as_ref(), alpha, size) {
        Ok(made) => made,
        Err(error) => return check::refused(&error),
    };
    let octave = Graph::new(&made.network).unwrap();
    let after = octave.shapes(size).unwrap();
    assert_eq!(made.checkpoint.is_some(), weights.is_some());
    if let Some(checkpoint) = made.checkpoint {
        checkpoint.fit(&octave).unwrap();
    }
    for (before, after) in shapes.iter().zip(&after) {
        assert_eq!(channels(before), channels(after));
    }
    assert!((0.0..=1.0).contains(&alpha), "{alpha}");
    if alpha == 0.0 {
        assert_eq!(shapes, after);
    }
}

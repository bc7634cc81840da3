//! Draws the maps of a node.

use std::io::Cursor;

use anyhow::{Context as _, Result, ensure};
use image::{GrayImage, ImageFormat, Luma};
use octconv::InputSize;
use octconv::network::{Graph, ValueShape};

use crate::predictor::Features;

/// Pixels between maps, and between the two frequencies.
const GAP: u32 = 2;
const MIDDLE: u32 = 16;
/// Brightness of the background.
const GROUND: u8 = 96;
/// A map is enlarged to about this many pixels.
const MAP: u32 = 56;
/// The most maps of one frequency that are drawn: 16 x 16.
const MOST: u32 = 256;

/// The first node that ends a stage and has both frequencies, or else the first with both, or else the last map.
pub fn default_node(graph: &Graph, size: InputSize) -> Result<String> {
    let shapes = graph.shapes(size)?;
    let network = graph.network();
    let nodes = || network.nodes.iter().zip(&shapes[1..]);
    let both = |shape: &ValueShape| matches!(shape, ValueShape::Map { high: Some(_), low: Some(_), .. });
    let stage = nodes().find(|(node, shape)| network.stages.contains(&node.name) && both(shape));
    let found = stage.or_else(|| nodes().find(|(_, shape)| both(shape)));
    let any = || nodes().rev().find(|(_, shape)| matches!(shape, ValueShape::Map { .. }));
    let (node, _) = found.or_else(any).context("the network has no maps")?;
    Ok(node.name.clone())
}

/// A PNG with the high-frequency maps on the left and the low-frequency ones on the right, at one scale: a map of low
/// frequency has half the pixels, each twice as large. Black and white are the smallest and largest value of a frequency.
pub fn draw(maps: &Features) -> Result<Vec<u8>> {
    let [high, low] = maps;
    let size =
        high.as_ref().map(|(dims, _)| dims[1..].to_vec()).or(low.as_ref().map(|(d, _)| vec![2 * d[1], 2 * d[2]]));
    let [h, w] = size.context("the node has no maps")?.try_into().ok().context("the node has no maps")?;
    // At low resolution an odd size is rounded up, and the last row reaches beyond the high-frequency map.
    let scale = (MAP / h.max(w)).max(1);
    let blocks = [(high, scale), (low, 2 * scale)].map(|(part, scale)| {
        part.as_ref().map(|([c, rows, cols], values)| Block::new([*c, *rows, *cols], values, scale))
    });
    let present: Vec<_> = blocks.into_iter().flatten().collect();
    let width = present.iter().map(Block::width).sum::<u32>() + MIDDLE * (present.len() as u32 - 1);
    let height = present.iter().map(Block::height).max().unwrap_or(0);
    ensure!(u64::from(width) * u64::from(height) <= 1 << 28, "maps of {h}x{w} are too large to draw");
    let mut picture = GrayImage::from_pixel(width, height, Luma([GROUND]));
    let mut left = 0;
    for block in &present {
        block.paint(&mut picture, left);
        left += block.width() + MIDDLE;
    }
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png)?;
    Ok(bytes.into_inner())
}

/// The maps of one frequency, in a square of rows and columns.
struct Block<'a> {
    dims: [u32; 3],
    values: &'a [f32],
    scale: u32,
    columns: u32,
}

impl<'a> Block<'a> {
    fn new([c, h, w]: [u32; 3], values: &'a [f32], scale: u32) -> Self {
        let c = c.min(MOST);
        let columns = (1..=c).find(|n| n * n >= c).unwrap_or(1);
        Self { dims: [c, h, w], values, scale, columns }
    }

    fn width(&self) -> u32 {
        self.columns * (self.dims[2] * self.scale + GAP) + GAP
    }

    fn height(&self) -> u32 {
        self.dims[0].div_ceil(self.columns) * (self.dims[1] * self.scale + GAP) + GAP
    }

    fn paint(&self, picture: &mut GrayImage, left: u32) {
        let [c, h, w] = self.dims;
        let least = self.values.iter().copied().fold(f32::INFINITY, f32::min);
        let most = self.values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let range = if most > least { most - least } else { 1.0 };
        for map in 0..c {
            let x0 = left + GAP + map % self.columns * (w * self.scale + GAP);
            let y0 = GAP + map / self.columns * (h * self.scale + GAP);
            for (y, x) in (0..h * self.scale).flat_map(|y| (0..w * self.scale).map(move |x| (y, x))) {
                let at = (map * h + y / self.scale) * w + x / self.scale;
                let value = (self.values[at as usize] - least) / range;
                picture.put_pixel(x0 + x, y0 + y, Luma([(255.0 * value) as u8]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_frequencies_have_one_scale() {
        let map = |c, h, w| Some(([c, h, w], (0..c * h * w).map(|v| v as f32).collect()));
        for maps in [[map(5, 7, 6), map(3, 4, 3)], [map(1, 1, 1), None], [None, map(2, 3, 3)]] {
            let png = draw(&maps).unwrap();
            let picture = image::load_from_memory(&png).unwrap().to_luma8();
            assert!(picture.pixels().any(|p| p.0[0] == 255) || maps[0].as_ref().is_some_and(|(d, _)| *d == [1; 3]));
        }
        assert!(draw(&[None, None]).is_err());
    }
}

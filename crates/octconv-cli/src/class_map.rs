//! The class of each position, for networks that answer with a map.

use anyhow::{Result, bail, ensure};
use octconv::InputSize;
use octconv::network::{Graph, ValueShape};

use crate::output::shown;

/// Colours of a palette.
const COLOURS: usize = 256;

/// A map with a channel per class.
#[derive(Clone, Copy, Debug)]
pub struct ClassMap {
    classes: usize,
    h: u32,
    w: u32,
}

impl ClassMap {
    /// The map that a network answers with; `None` if it answers with a vector.
    pub fn of_answer(graph: &Graph, size: InputSize) -> Result<Option<Self>> {
        let name = shown(&graph.network().name);
        let dims = match graph.output_shape(&graph.shapes(size)?) {
            ValueShape::Map { high: Some(high), low: None, .. } => high,
            ValueShape::Map { .. } => {
                bail!(
                    "{name} answers with a map that has low frequency: must have a channel of high frequency per class"
                )
            }
            _ => return Ok(None),
        };
        ensure!(dims.t == 1, "{name} answers with a map of {} frames: must have one", dims.t);
        ensure!(dims.c > 1, "{name} answers with a map of one channel: must have a channel per class");
        Ok(Some(Self { classes: dims.c as usize, h: dims.h, w: dims.w }))
    }

    /// Refuses a map of more classes than a palette has colours.
    pub fn check_drawable(&self) -> Result<()> {
        let Self { classes, .. } = self;
        ensure!(*classes <= COLOURS, "the answer has {classes} classes, and --map draws at most {COLOURS}");
        Ok(())
    }

    pub fn class_count(&self) -> usize {
        self.classes
    }

    /// Positions of a class.
    pub fn positions(&self) -> usize {
        self.h as usize * self.w as usize
    }

    /// The class of each position, row by row: the first of those with the largest value. `values` is `[class][h][w]`.
    pub fn classes(&self, values: &[f32]) -> Vec<usize> {
        let mut largest = vec![(0, f32::NEG_INFINITY); self.positions()];
        for (class, plane) in values.chunks(self.positions()).enumerate() {
            for (best, &value) in largest.iter_mut().zip(plane) {
                if value > best.1 {
                    *best = (class, value);
                }
            }
        }
        largest.into_iter().map(|(class, _)| class).collect()
    }

    /// The share of positions of each class.
    pub fn shares(&self, classes: &[usize]) -> Vec<f32> {
        let mut counts = vec![0u32; self.classes];
        for &class in classes {
            counts[class] += 1;
        }
        counts.into_iter().map(|count| (f64::from(count) / classes.len() as f64) as f32).collect()
    }

    /// A PNG with a palette. A pixel is the number of its class.
    pub fn draw(&self, classes: &[usize]) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, self.w, self.h);
        encoder.set_color(png::ColorType::Indexed);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_palette((0..self.classes.min(COLOURS)).flat_map(colour).collect::<Vec<u8>>());
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&classes.iter().map(|&class| class as u8).collect::<Vec<u8>>())?;
        writer.finish()?;
        Ok(bytes)
    }
}

/// The colour of a class, as PASCAL VOC has them: bits 0, 3 and 6 of the class become the highest bits of red, bits 1, 4
/// and 7 those of green, and bits 2 and 5 those of blue.
fn colour(class: usize) -> [u8; 3] {
    [0, 1, 2].map(|channel| (0..3).map(|i| ((class >> (3 * i + channel) & 1) << (7 - i)) as u8).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pixel_is_the_class_of_the_largest_value() {
        let map = ClassMap { classes: 3, h: 2, w: 2 };
        // The first of two equal values counts.
        let classes = map.classes(&[1.0, 0.0, 5.0, -1.0, 1.0, 2.0, -5.0, -2.0, 0.5, 3.0, 0.0, -3.0]);
        assert_eq!(classes, [0, 2, 0, 0]);
        assert_eq!(map.shares(&classes), [0.75, 0.0, 0.25]);
        let bytes = map.draw(&classes).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(&bytes)).read_info().unwrap();
        assert_eq!(reader.info().palette.as_deref(), Some(&[0, 0, 0, 128, 0, 0, 0, 128, 0][..]));
        let mut pixels = [9; 4];
        reader.next_frame(&mut pixels).unwrap();
        assert_eq!(pixels, [0, 2, 0, 0]);
        let shown = image::load_from_memory(&bytes).unwrap().to_rgb8();
        assert_eq!(shown.get_pixel(1, 0).0, [0, 128, 0]);
    }

    #[test]
    fn colours_are_those_of_voc() {
        let colours = [3, 4, 5, 15, 20, 255].map(colour);
        let wanted = [[128, 128, 0], [0, 0, 128], [128, 0, 128], [192, 128, 128], [0, 64, 128], [224, 224, 192]];
        assert_eq!(colours, wanted);
    }
}

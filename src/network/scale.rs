//! Scales pictures, and only the part of them that is kept.
//!
//! The result is that of the crate image's `resize` with a triangle filter on the whole picture, cropped afterwards. That would
//! make the whole picture first, which may be far larger than the part: a line of pixels, scaled to a network's height.

use std::ops::Range;

use crate::error::Error;
use crate::memory::with_room;

/// A picture: `channels` values for each pixel, row by row.
pub(super) struct Pixels<'a> {
    pub(super) values: &'a [u8],
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) channels: usize,
}

/// One axis of a picture: its size, the size that it is scaled to, and the positions that are kept of that.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    from: u32,
    to: u64,
    kept: Range<u64>,
}

impl Axis {
    /// All of an axis.
    pub(super) fn whole(from: u32, to: u32) -> Self {
        Self { from, to: to.into(), kept: 0..to.into() }
    }

    /// The middle of an axis.
    pub(super) fn middle(from: u32, to: u64, kept: u32) -> Self {
        let first = (to - u64::from(kept)) / 2;
        Self { from, to, kept: first..first + u64::from(kept) }
    }

    /// The middle of an axis. Half of an odd number is rounded to the even one, as Python rounds.
    pub(super) fn middle_to_even(from: u32, to: u64, kept: u32) -> Self {
        let around = to - u64::from(kept);
        let first = around / 2 + u64::from(around % 4 == 3);
        Self { from, to, kept: first..first + u64::from(kept) }
    }

    fn ratio(&self) -> f64 {
        f64::from(self.from) / self.to as f64
    }

    /// Where a position lies in the picture, and which of its pixels the filter reaches.
    fn reach(&self, position: u64) -> (f64, Range<u32>) {
        let (centre, reach) = ((position as f64 + 0.5) * self.ratio(), self.ratio().max(1.0));
        let first = ((centre - reach).floor() as u32).min(self.from - 1);
        (centre, first..((centre + reach).ceil() as u32).clamp(first + 1, self.from))
    }

    /// How many positions are kept.
    fn len(&self) -> usize {
        (self.kept.end - self.kept.start) as usize
    }

    /// The pixels that the kept positions read.
    fn read(&self) -> Range<u32> {
        self.reach(self.kept.start).1.start..self.reach(self.kept.end - 1).1.end
    }

    /// For each kept position, the first of the pixels that it reads, counted from the first that any reads, and their
    /// weights.
    fn weights(&self) -> impl Iterator<Item = (usize, Vec<f32>)> {
        let reach = self.ratio().max(1.0);
        let start = self.read().start;
        self.kept.clone().map(move |position| {
            let (centre, pixels) = self.reach(position);
            let weight = |pixel| (1.0 - (f64::from(pixel) + 0.5 - centre).abs() / reach).max(0.0) as f32;
            let mut weights: Vec<f32> = pixels.clone().map(weight).collect();
            let sum: f32 = weights.iter().sum();
            weights.iter_mut().for_each(|weight| *weight /= sum);
            ((pixels.start - start) as usize, weights)
        })
    }
}

/// The kept part of a picture that is scaled along both axes.
pub(super) fn scaled(picture: &Pixels, columns: &Axis, rows: &Axis) -> Result<Vec<u8>, Error> {
    let channels = picture.channels;
    let part = part(picture, columns.read(), rows.read())?;
    let [w, h] = [columns, rows].map(|axis| axis.read().len());
    let [kept_w, kept_h] = [columns, rows].map(Axis::len);
    // The axis whose scaling leaves less goes first.
    let values = if w as u64 * kept_h as u64 <= kept_w as u64 * h as u64 {
        let lines = along(&part, 1, w * channels, rows)?;
        along(&lines, kept_h, channels, columns)?
    } else {
        let lines = along(&part, h, channels, columns)?;
        along(&lines, 1, kept_w * channels, rows)?
    };
    let mut rounded = with_room(values.len() as u64, OPERATION)?;
    rounded.extend(values.into_iter().map(|value| value.round() as u8));
    Ok(rounded)
}

/// What needs memory.
const OPERATION: &str = "scaling a picture";

/// Some columns of some rows.
fn part(picture: &Pixels, columns: Range<u32>, rows: Range<u32>) -> Result<Vec<u8>, Error> {
    debug_assert!(columns.end <= picture.width && rows.end <= picture.height);
    let row = picture.width as usize * picture.channels;
    let inside = columns.start as usize * picture.channels..columns.end as usize * picture.channels;
    let mut part = with_room(rows.len() as u64 * inside.len() as u64, OPERATION)?;
    for line in picture.values.chunks_exact(row).skip(rows.start as usize).take(rows.len()) {
        part.extend_from_slice(&line[inside.clone()]);
    }
    Ok(part)
}

/// Scales one axis of values that lie as `[outer][axis][inner]`.
fn along<T: Copy + Into<f32>>(values: &[T], outer: usize, inner: usize, axis: &Axis) -> Result<Vec<f32>, Error> {
    let (from, to) = (axis.read().len(), axis.len());
    let count = [outer, to, inner].iter().fold(1, |all: u64, &d| all.saturating_mul(d as u64));
    let mut scaled = with_room(count, OPERATION)?;
    // There is room for so many.
    scaled.resize(count as usize, 0.0);
    for (position, (first, weights)) in axis.weights().enumerate() {
        for i in 0..outer {
            let sums = &mut scaled[(i * to + position) * inner..][..inner];
            let lines = values[(i * from + first) * inner..].chunks_exact(inner);
            for (line, weight) in lines.zip(&weights) {
                sums.iter_mut().zip(line).for_each(|(sum, &value): (&mut f32, _)| *sum += weight * value.into());
            }
        }
    }
    Ok(scaled)
}

#[cfg(test)]
mod tests {
    use image::imageops::{self, FilterType};
    use image::{Rgb, RgbImage};

    use super::*;

    /// A picture with edges, slopes and noise.
    fn picture(w: u32, h: u32) -> RgbImage {
        RgbImage::from_fn(w, h, |x, y| {
            let noise = (x % 1000 * 7919 + y % 1000 * 104_729) % 251;
            let slope = u64::from(x) * 255 / u64::from(w);
            Rgb([noise as u8, if (x / 5 + y / 3) % 2 == 0 { 230 } else { 20 }, slope as u8])
        })
    }

    fn scaled(picture: &RgbImage, columns: &Axis, rows: &Axis) -> RgbImage {
        let (width, height) = picture.dimensions();
        let pixels = Pixels { values: picture.as_raw(), width, height, channels: 3 };
        let values = super::scaled(&pixels, columns, rows).unwrap();
        RgbImage::from_raw(columns.len() as u32, rows.len() as u32, values).unwrap()
    }

    /// The largest difference from the whole picture, scaled by the image crate and cropped.
    fn difference(picture: &RgbImage, columns: &Axis, rows: &Axis) -> u8 {
        let whole = imageops::resize(picture, columns.to as u32, rows.to as u32, FilterType::Triangle);
        let (x, y) = (columns.kept.start as u32, rows.kept.start as u32);
        let (w, h) = (columns.len() as u32, rows.len() as u32);
        let expected = imageops::crop_imm(&whole, x, y, w, h).to_image();
        let found = scaled(picture, columns, rows);
        assert_eq!(found.dimensions(), (w, h));
        found.iter().zip(expected.iter()).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
    }

    #[test]
    fn what_is_kept_is_what_scaling_the_whole_gives() {
        // Sums of many weights round apart, so a value just between two levels may fall on either.
        for (w, h) in [(640, 480), (480, 640), (91, 57), (20, 15), (1, 1), (300, 2), (2, 300), (33, 1)] {
            let picture = picture(w, h);
            for (to_w, to_h) in [(256, 256), (40, 30), (13, 57)] {
                let whole = difference(&picture, &Axis::whole(w, to_w), &Axis::whole(h, to_h));
                let columns = Axis::middle(w, to_w.into(), to_w * 7 / 8);
                let part = difference(&picture, &columns, &Axis::middle(h, to_h.into(), to_h / 3));
                assert!(whole <= 1 && part <= 1, "{w}x{h} to {to_w}x{to_h}: {whole}, {part}");
            }
        }
    }

    #[test]
    fn strips_cost_what_their_window_costs() {
        // Scaled whole, each has 4 billion pixels.
        let (long, short) = (Axis::middle(1 << 16, 1 << 24, 224), Axis::middle(1, 256, 224));
        let wide = scaled(&picture(1 << 16, 1), &long, &short);
        let tall = scaled(&picture(1, 1 << 16), &short, &long);
        assert_eq!((wide.dimensions(), tall.dimensions()), ((224, 224), (224, 224)));
        // All of a long line, scaled to more rows than it has.
        let line = scaled(&picture(1 << 20, 1), &Axis::whole(1 << 20, 28), &Axis::whole(1, 1 << 12));
        assert_eq!(line.dimensions(), (28, 1 << 12));
    }
}

//! Makes inputs of networks from pictures.

use std::borrow::Cow;

use super::description::{Invert, Picture, Resize};
use super::scale::{Axis, Pixels, scaled};
use crate::error::Error;
use crate::memory::with_room;

/// The longest side of an input that is made of a picture, and the most pixels that its shorter side is scaled to.
const MOST_SIDE: u32 = 1 << 14;

impl Picture {
    /// Makes the input of a picture. `rgb` has 3 bytes for each pixel, row by row: upright and without transparency. The
    /// result is `[channels, height, width]`. Only what is kept of the picture is scaled.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] if there are not `width` by `height` pixels, or if this cannot make an input; [`Error::OutOfMemory`].
    pub fn input(&self, rgb: &[u8], width: u32, height: u32) -> Result<Vec<f32>, Error> {
        self.check()?;
        for (name, side) in [("width", width), ("height", height)] {
            if side == 0 {
                return Err(Error::argument(name, side, "must be above 0"));
            }
        }
        if rgb.len() as u64 != (u64::from(width) * u64::from(height)).saturating_mul(3) {
            let allowed = format!("must be 3 bytes for each of {width}x{height} pixels");
            return Err(Error::argument("rgb", format!("{} bytes", rgb.len()), allowed));
        }
        let mut values = Cow::Borrowed(rgb);
        if self.channels == 1 {
            values = Cow::Owned(mapped(rgb.as_chunks().0, grey)?);
        }
        let channels = self.channels as usize;
        if self.invert == Invert::Auto && border_is_light(&values, width as usize * channels, channels) {
            values = Cow::Owned(mapped(&values, |value| !value)?);
        }
        let values = self.resized(&Pixels { values: &values, width, height, channels })?;
        let mut input = with_room(values.len() as u64, "making an input")?;
        for (c, (mean, std)) in self.mean.iter().zip(&self.std).enumerate() {
            let of_channel = values.iter().skip(c).step_by(channels);
            input.extend(of_channel.map(|&value| (f32::from(value) / 255.0 - mean) / std));
        }
        Ok(input)
    }

    /// Refuses what cannot make an input.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] with the name of the field.
    pub fn check(&self) -> Result<(), Error> {
        self.check_channels()?;
        self.check_sizes()?;
        self.check_values()
    }

    fn check_values(&self) -> Result<(), Error> {
        if let Some(mean) = self.mean.iter().find(|mean| !mean.is_finite()) {
            return Err(Error::argument("picture.mean", mean, "must be finite"));
        }
        match self.std.iter().find(|std| !(std.is_finite() && **std > 0.0)) {
            Some(std) => Err(Error::argument("picture.std", std, "must be finite and above 0")),
            None => Ok(()),
        }
    }

    fn check_sizes(&self) -> Result<(), Error> {
        for (name, side) in [("picture.height", self.height), ("picture.width", self.width)] {
            if !(1..=MOST_SIDE).contains(&side) {
                return Err(Error::argument(name, side, format!("must be 1 to {MOST_SIDE}")));
            }
        }
        let least = self.height.max(self.width);
        match self.resize {
            Resize::Shorter(shorter) if !(least..=MOST_SIDE).contains(&shorter) => {
                let allowed = format!("must be {least}, the longer side of the input, to {MOST_SIDE}");
                Err(Error::argument("picture.resize.shorter", shorter, allowed))
            }
            _ => Ok(()),
        }
    }

    fn resized<'a>(&self, picture: &Pixels<'a>) -> Result<Cow<'a, [u8]>, Error> {
        let (w, h) = (picture.width, picture.height);
        let [columns, rows] = match self.resize {
            Resize::Fit | Resize::Crop if (w, h) == (self.width, self.height) => {
                return Ok(Cow::Borrowed(picture.values));
            }
            Resize::Fit => [Axis::whole(w, self.width), Axis::whole(h, self.height)],
            Resize::Crop => {
                // With the larger of the two scales, only the other axis has more to crop.
                let scale =
                    (f64::from(self.width) / f64::from(w)).max(f64::from(self.height) / f64::from(h)) * 256.0 / 224.0;
                let middle = |size: u32, kept: u32| {
                    Axis::middle(size, ((f64::from(size) * scale).round() as u64).max(kept.into()), kept)
                };
                [middle(w, self.width), middle(h, self.height)]
            }
            Resize::Shorter(shorter) => {
                let scaled_to = |size: u32| u64::from(shorter) * u64::from(size) / u64::from(w.min(h));
                let middle = |size: u32, kept: u32| Axis::middle_to_even(size, scaled_to(size), kept);
                [middle(w, self.width), middle(h, self.height)]
            }
        };
        scaled(picture, &columns, &rows).map(Cow::Owned)
    }
}

fn mapped<T: Copy>(values: &[T], map: impl Fn(T) -> u8) -> Result<Vec<u8>, Error> {
    let mut made = with_room(values.len() as u64, "copying a picture")?;
    made.extend(values.iter().map(|&value| map(value)));
    Ok(made)
}

/// The brightness of a pixel, as the crate image has it.
fn grey(rgb: [u8; 3]) -> u8 {
    let [r, g, b] = rgb.map(u32::from);
    ((2126 * r + 7152 * g + 722 * b) / 10_000) as u8
}

/// Whether the mean of the border is light. `row`: the values of a row.
fn border_is_light(values: &[u8], row: usize, channels: usize) -> bool {
    let last = values.len() / row - 1;
    let (mut sum, mut count) = (0u64, 0u64);
    for (y, line) in values.chunks_exact(row).enumerate() {
        let (start, end) = line.split_at(channels);
        let sides = [start, &end[end.len().saturating_sub(channels)..]];
        let border: &[&[u8]] = if y == 0 || y == last { &[line] } else { &sides };
        for &value in border.iter().copied().flatten() {
            (sum, count) = (sum + u64::from(value), count + 1);
        }
    }
    sum > 127 * count
}

#[cfg(test)]
mod tests {
    use image::{Rgb, RgbImage, imageops};

    use super::*;

    fn rule(channels: u32, resize: Resize) -> Picture {
        let (mean, std) = (vec![0.0; channels as usize], vec![1.0; channels as usize]);
        Picture { height: 3, width: 5, channels, resize, mean, std, invert: Invert::Never }
    }

    #[test]
    fn grey_is_that_of_the_crate_image() {
        let picture = RgbImage::from_fn(256, 256, |x, y| Rgb([x as u8, y as u8, (x * 7 + y * 13) as u8]));
        let wanted = imageops::grayscale(&picture).into_raw();
        assert_eq!(mapped(picture.as_raw().as_chunks().0, grey).unwrap(), wanted);
    }

    #[test]
    fn borders_are_what_is_at_an_edge() {
        for (w, h) in [(1, 1), (1, 4), (4, 1), (5, 3)] {
            for light in 0..w * h {
                let picture =
                    image::GrayImage::from_fn(w, h, |x, y| image::Luma([if y * w + x == light { 255 } else { 0 }]));
                let border =
                    picture.enumerate_pixels().filter(|&(x, y, _)| x == 0 || y == 0 || x + 1 == w || y + 1 == h);
                let border: Vec<u64> = border.map(|(.., pixel)| pixel.0[0].into()).collect();
                let wanted = border.iter().sum::<u64>() > 127 * border.len() as u64;
                assert_eq!(border_is_light(picture.as_raw(), w as usize, 1), wanted, "{w}x{h}: {light}");
            }
        }
    }

    #[test]
    fn what_makes_no_input_is_refused() {
        let refusal = |rule: &Picture, bytes: usize| rule.input(&vec![9; bytes], 4, 2).unwrap_err().to_string();
        let fit = rule(3, Resize::Fit);
        assert_eq!(fit.input(&[51; 24], 4, 2).unwrap(), [0.2; 45]);
        assert_eq!(rule(1, Resize::Crop).input(&[51; 24], 4, 2).unwrap(), [0.2; 15]);
        for bytes in [0, 8, 23, 25] {
            assert!(refusal(&fit, bytes).contains("must be 3 bytes for each of 4x2 pixels"));
        }
        assert!(fit.input(&[], 0, 2).is_err() && fit.input(&[], u32::MAX, u32::MAX).is_err());
        assert!(refusal(&Picture { mean: vec![0.5], ..fit.clone() }, 24).contains("picture.mean is [0.5]"));
        assert!(refusal(&Picture { channels: 4, ..fit.clone() }, 24).contains("picture.channels is 4"));
        assert!(refusal(&Picture { height: 0, ..fit.clone() }, 24).contains("picture.height is 0"));
        assert!(refusal(&Picture { width: MOST_SIDE + 1, ..fit.clone() }, 24).contains("picture.width is 16385"));
        assert!(refusal(&rule(3, Resize::Shorter(4)), 24).contains("picture.resize.shorter is 4: must be 5"));
        assert_eq!(rule(3, Resize::Shorter(5)).input(&[51; 24], 4, 2).unwrap(), [0.2; 45]);
    }
}

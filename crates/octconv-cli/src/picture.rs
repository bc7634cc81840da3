//! Reads pictures from files, and makes inputs of networks from them.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use image::imageops::{self, FilterType};
use image::{DynamicImage, ImageDecoder, ImageReader, Rgb, RgbImage};
use octconv::network::{Invert, Picture, Resize};

/// Reads a PNG or JPEG, and turns it upright.
pub fn read(path: &Path) -> Result<DynamicImage> {
    let read = || -> Result<DynamicImage> {
        let mut decoder = ImageReader::open(path)?.with_guessed_format()?.into_decoder()?;
        let orientation = decoder.orientation()?;
        let mut picture = DynamicImage::from_decoder(decoder)?;
        picture.apply_orientation(orientation);
        Ok(picture)
    };
    read().with_context(|| format!("reading {}", path.display()))
}

/// The pictures that a command line names: files, and all pictures in folders.
pub fn expand(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let reading = || format!("reading the folder {}", path.display());
        let mut inside = Vec::new();
        for entry in path.read_dir().with_context(reading)? {
            let file = entry.with_context(reading)?.path();
            let extension = file.extension().and_then(|e| e.to_str()).map(str::to_lowercase);
            if matches!(extension.as_deref(), Some("png" | "jpg" | "jpeg")) && file.is_file() {
                inside.push(file);
            }
        }
        if inside.is_empty() {
            bail!("the folder {} has no PNG or JPEG", path.display());
        }
        inside.sort();
        files.extend(inside);
    }
    Ok(files)
}

/// The input `[c, h, w]` that `rule` makes from a picture.
pub fn to_input(picture: &DynamicImage, rule: &Picture) -> Vec<f32> {
    let mut rgb = on_white(picture);
    if rule.channels == 1 {
        rgb = DynamicImage::ImageLuma8(imageops::grayscale(&rgb)).to_rgb8();
    }
    if rule.invert == Invert::Auto && border_is_light(&rgb) {
        imageops::invert(&mut rgb);
    }
    let rgb = resized(rgb, rule);
    let channels = rule.channels as usize;
    let mut input = Vec::with_capacity(channels * rgb.pixels().len());
    for c in 0..channels {
        let value = |pixel: &Rgb<u8>| (f32::from(pixel.0[c]) / 255.0 - rule.mean[c]) / rule.std[c];
        input.extend(rgb.pixels().map(value));
    }
    input
}

/// The picture on white paper, which shows through transparent pixels.
fn on_white(picture: &DynamicImage) -> RgbImage {
    if !picture.color().has_alpha() {
        return picture.to_rgb8();
    }
    let rgba = picture.to_rgba8();
    RgbImage::from_fn(rgba.width(), rgba.height(), |x, y| {
        let [r, g, b, a] = rgba.get_pixel(x, y).0.map(u32::from);
        Rgb([r, g, b].map(|v| ((v * a + 255 * (255 - a) + 127) / 255) as u8))
    })
}

fn border_is_light(rgb: &RgbImage) -> bool {
    let (w, h) = rgb.dimensions();
    let border = rgb.enumerate_pixels().filter(|&(x, y, _)| x == 0 || y == 0 || x + 1 == w || y + 1 == h);
    let (sum, count) = border.fold((0u64, 0u64), |(sum, count), (.., pixel)| {
        (sum + pixel.0.iter().map(|&v| u64::from(v)).sum::<u64>(), count + 3)
    });
    sum > 127 * count
}

fn resized(rgb: RgbImage, rule: &Picture) -> RgbImage {
    let (w, h) = rgb.dimensions();
    if (w, h) == (rule.width, rule.height) {
        return rgb;
    }
    match rule.resize {
        Resize::Fit => imageops::resize(&rgb, rule.width, rule.height, FilterType::Triangle),
        Resize::Crop => {
            // With the larger of the two scales, only the other axis has more to crop.
            let scale =
                (f64::from(rule.width) / f64::from(w)).max(f64::from(rule.height) / f64::from(h)) * 256.0 / 224.0;
            let scaled = |size: u32, least: u32| ((f64::from(size) * scale).round() as u32).max(least);
            let (w, h) = (scaled(w, rule.width), scaled(h, rule.height));
            let whole = imageops::resize(&rgb, w, h, FilterType::Triangle);
            let (x, y) = ((w - rule.width) / 2, (h - rule.height) / 2);
            imageops::crop_imm(&whole, x, y, rule.width, rule.height).to_image()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(channels: u32, resize: Resize, invert: Invert) -> Picture {
        let (mean, std) = (vec![0.5; channels as usize], vec![0.25; channels as usize]);
        Picture { height: 4, width: 6, channels, resize, mean, std, invert }
    }

    #[test]
    fn values_are_shifted_and_scaled_a_channel_at_a_time() {
        let picture = DynamicImage::ImageRgb8(RgbImage::from_pixel(6, 4, Rgb([0, 255, 51])));
        let input = to_input(&picture, &rule(3, Resize::Fit, Invert::Never));
        assert_eq!(input.len(), 3 * 4 * 6);
        assert_eq!((input[0], input[24], input[71]), (-2.0, 2.0, (0.2 - 0.5) / 0.25));
    }

    #[test]
    fn every_size_becomes_the_inputs() {
        for (w, h) in [(1, 1), (6, 4), (7, 300), (300, 7)] {
            for resize in [Resize::Fit, Resize::Crop] {
                let picture = DynamicImage::ImageRgb8(RgbImage::from_pixel(w, h, Rgb([9; 3])));
                assert_eq!(to_input(&picture, &rule(1, resize, Invert::Never)).len(), 24, "{w}x{h}");
            }
        }
    }

    #[test]
    fn dark_on_light_is_turned_round() {
        let mut page = RgbImage::from_pixel(6, 4, Rgb([250; 3]));
        page.put_pixel(2, 2, Rgb([5; 3]));
        let mut slate = page.clone();
        imageops::invert(&mut slate);
        let rule = rule(1, Resize::Fit, Invert::Auto);
        let [page, slate] = [page, slate].map(|picture| to_input(&DynamicImage::ImageRgb8(picture), &rule));
        assert_eq!(page, slate);
        assert!(page[2 * 6 + 2] > page[0]);
    }

    #[test]
    fn what_is_transparent_is_white() {
        let clear = image::RgbaImage::from_pixel(3, 3, image::Rgba([10, 20, 30, 0]));
        assert_eq!(on_white(&DynamicImage::ImageRgba8(clear)).get_pixel(1, 1).0, [255; 3]);
    }
}

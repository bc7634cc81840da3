//! Makes inputs of networks from pictures, as the command `octconv` does.

use image::{ImageBuffer, Pixel, Rgb, RgbImage, imageops};
use octconv::network::{Invert, Picture, Resize};

/// The input `[c, h, w]` that `rule` makes from the pixels of a picture: red, green, blue and alpha, row by row. `None`
/// if there are not `width` by `height` pixels, or if the rule has other channels than 1 or 3.
pub fn to_input(rgba: &[u8], width: u32, height: u32, rule: &Picture) -> Option<Vec<f32>> {
    let pixels = (width as usize).checked_mul(height as usize)?;
    if pixels == 0 || rgba.len() != pixels.checked_mul(4)? || rule.mean.len() != rule.std.len() {
        return None;
    }
    // White paper shows through transparent pixels.
    let on_white = |v: u8, a: u8| ((u32::from(v) * u32::from(a) + 255 * (255 - u32::from(a)) + 127) / 255) as u8;
    let rgb = RgbImage::from_fn(width, height, |x, y| {
        let at = 4 * (y as usize * width as usize + x as usize);
        let alpha = rgba[at + 3];
        Rgb([0, 1, 2].map(|channel| on_white(rgba[at + channel], alpha)))
    });
    match (rule.channels, rule.mean.len()) {
        (1, 1) => Some(input(imageops::grayscale(&rgb), rule)),
        (3, 3) => Some(input(rgb, rule)),
        _ => None,
    }
}

fn input<P: Pixel<Subpixel = u8> + 'static>(mut picture: ImageBuffer<P, Vec<u8>>, rule: &Picture) -> Vec<f32> {
    if rule.invert == Invert::Auto && border_is_light(&picture) {
        imageops::invert(&mut picture);
    }
    let picture = resized(picture, rule);
    let value = |c: usize| {
        let (mean, std) = (rule.mean[c], rule.std[c]);
        move |pixel: &P| (f32::from(pixel.channels()[c]) / 255.0 - mean) / std
    };
    (0..rule.channels as usize).flat_map(|c| picture.pixels().map(value(c)).collect::<Vec<_>>()).collect()
}

fn border_is_light<P: Pixel<Subpixel = u8>>(picture: &ImageBuffer<P, Vec<u8>>) -> bool {
    let (w, h) = picture.dimensions();
    let border = picture.enumerate_pixels().filter(|&(x, y, _)| x == 0 || y == 0 || x + 1 == w || y + 1 == h);
    let (sum, count) = border
        .flat_map(|(.., pixel)| pixel.channels())
        .fold((0u64, 0u64), |(sum, count), &value| (sum + u64::from(value), count + 1));
    sum > 127 * count
}

/// Scales the whole picture, and cuts out the middle.
fn resized<P: Pixel<Subpixel = u8> + 'static>(
    picture: ImageBuffer<P, Vec<u8>>,
    rule: &Picture,
) -> ImageBuffer<P, Vec<u8>> {
    let (w, h) = picture.dimensions();
    let scaled = |size: u32, scale: f64, least: u32| ((f64::from(size) * scale).round() as u32).max(least);
    let (whole_w, whole_h) = match rule.resize {
        Resize::Fit => (rule.width, rule.height),
        Resize::Crop => {
            let scale = (f64::from(rule.width) / f64::from(w)).max(f64::from(rule.height) / f64::from(h));
            let scale = scale * 256.0 / 224.0;
            (scaled(w, scale, rule.width), scaled(h, scale, rule.height))
        }
        Resize::Shorter(shorter) => {
            let side = |size: u32| u64::from(shorter) * u64::from(size) / u64::from(w.min(h));
            [w, h].map(|size| side(size).max(1) as u32).into()
        }
    };
    let picture = match (w, h) == (whole_w, whole_h) {
        true => picture,
        false => imageops::resize(&picture, whole_w, whole_h, imageops::FilterType::Triangle),
    };
    if (whole_w, whole_h) == (rule.width, rule.height) {
        return picture;
    }
    let middle = |whole: u32, kept: u32| whole.saturating_sub(kept) / 2;
    let (x, y) = (middle(whole_w, rule.width), middle(whole_h, rule.height));
    imageops::crop_imm(&picture, x, y, rule.width, rule.height).to_image()
}

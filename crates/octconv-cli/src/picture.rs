//! Reads pictures from files, and makes inputs of networks from them.

use std::cell::Cell;
use std::collections::HashSet;
use std::io::{self, Cursor};
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Once;

use anyhow::{Context as _, Result, bail, ensure};
use image::codecs::png::PngDecoder;
use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, ImageDecoder, ImageFormat, Rgb, RgbImage};
use octconv::network::Picture;
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use crate::limits::{Holds, Limits};
use crate::output::shown_path;

/// Reads a PNG or JPEG, and turns it upright.
pub fn read(path: &Path, limits: Limits) -> Result<DynamicImage> {
    let bytes = limits.read(path, Holds::Picture)?;
    decode(&bytes, limits).with_context(|| format!("reading {}", shown_path(path)))
}

/// The picture in the bytes of a PNG or JPEG, upright.
pub fn decode(bytes: &[u8], limits: Limits) -> Result<DynamicImage> {
    let (mut picture, orientation) = match image::guess_format(bytes) {
        Ok(ImageFormat::Png) => png(bytes, limits)?,
        // zune-jpeg panics at some damaged files (etemesi254/zune-image#409). Other pictures are answered all the same.
        Ok(ImageFormat::Jpeg) => caught(|| jpeg(bytes, limits)).context("the decoder of JPEGs failed at it")??,
        _ => bail!("it is neither a PNG nor a JPEG"),
    };
    picture.apply_orientation(orientation);
    Ok(picture)
}

thread_local! {
    /// Whether a panic of this thread is caught, and so is not told.
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// What `run` returns, or `None` if it panics, which is not printed.
fn caught<T>(run: impl FnOnce() -> T) -> Option<T> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let tell = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if !CAUGHT.get() {
                tell(panic);
            }
        }));
    });
    CAUGHT.set(true);
    let returned = panic::catch_unwind(AssertUnwindSafe(run));
    CAUGHT.set(false);
    returned.ok()
}

fn png(bytes: &[u8], limits: Limits) -> Result<(DynamicImage, Orientation)> {
    let mut for_chunks = image::Limits::no_limits();
    for_chunks.max_alloc = Some(limits.most(Holds::Picture));
    let mut decoder = PngDecoder::with_limits(Cursor::new(bytes), for_chunks)?;
    check_size(decoder.dimensions(), decoder.color_type().bytes_per_pixel(), limits)?;
    let orientation = decoder.orientation()?;
    Ok((DynamicImage::from_decoder(decoder)?, orientation))
}

/// Decodes with zune-jpeg itself: through the image crate it invents what a damaged file lacks.
fn jpeg(bytes: &[u8], limits: Limits) -> Result<(DynamicImage, Orientation)> {
    let most = usize::from(u16::MAX);
    let options = DecoderOptions::default().set_strict_mode(true).set_max_width(most).set_max_height(most);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers()?;
    let (w, h) = decoder.dimensions().context("it has no size")?;
    let (w, h) = (w as u32, h as u32);
    let grey = decoder.input_colorspace() == Some(ColorSpace::Luma);
    check_size((w, h), 3, limits)?;
    ensure!(has_end(bytes), "the file is cut short: its end marker is missing");
    let colours = if grey { ColorSpace::Luma } else { ColorSpace::RGB };
    decoder.set_options(options.jpeg_set_out_colorspace(colours));
    let pixels = decoder.decode()?;
    let picture = match grey {
        true => GrayImage::from_raw(w, h, pixels).map(DynamicImage::from),
        false => RgbImage::from_raw(w, h, pixels).map(DynamicImage::from),
    };
    let orientation = decoder.exif().and_then(|exif| Orientation::from_exif_chunk(exif));
    Ok((picture.context("it has too few pixels")?, orientation.unwrap_or(Orientation::NoTransforms)))
}

/// Whether a JPEG has its end marker. Decoders do without it.
fn has_end(bytes: &[u8]) -> bool {
    const START_OF_IMAGE: usize = 2;
    const END: u8 = 0xd9;
    let mut rest = bytes.get(START_OF_IMAGE..).unwrap_or_default();
    // Pixels lie between markers. A byte of 0xff is followed there by 0, or by the number of a restart.
    while let Some(at) = rest.iter().position(|&byte| byte == 0xff) {
        rest = &rest[at + 1..];
        match rest {
            [END, ..] => return true,
            [0x00 | 0x01 | 0xd0..=0xd7 | 0xff, ..] => {}
            [_, high, low, ..] => {
                rest = rest.get(1 + usize::from(u16::from_be_bytes([*high, *low]))..).unwrap_or_default()
            }
            _ => return false,
        }
    }
    false
}

/// Refuses a picture that takes too much memory, as its header says. All become RGB, of at least 3 bytes.
fn check_size((w, h): (u32, u32), bytes_per_pixel: u8, limits: Limits) -> Result<()> {
    let bytes = u64::from(w) * u64::from(h);
    let bytes = bytes.saturating_mul(bytes_per_pixel.max(3).into());
    limits.check(&format!("it is {w}x{h}, which takes"), bytes, Holds::Picture)
}

/// The pictures that a command line names: files, and all pictures in folders.
pub fn expand(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            files.extend(in_folder(path)?);
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}

/// The pictures in a folder and in the folders inside, sorted. A folder that links lead to again is read once.
pub fn in_folder(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    collect(folder, &mut HashSet::new(), &mut files)?;
    ensure!(!files.is_empty(), "the folder {} has no PNG or JPEG", shown_path(folder));
    Ok(files)
}

fn collect(folder: &Path, seen: &mut HashSet<PathBuf>, files: &mut Vec<PathBuf>) -> Result<()> {
    let place = folder.canonicalize().with_context(|| format!("reading the folder {}", shown_path(folder)))?;
    if !seen.insert(place) {
        return Ok(());
    }
    for path in entries(folder)? {
        let extension = path.extension().and_then(|e| e.to_str()).map(str::to_lowercase);
        if path.is_dir() {
            collect(&path, seen, files)?;
        } else if matches!(extension.as_deref(), Some("png" | "jpg" | "jpeg")) && path.is_file() {
            files.push(path);
        }
    }
    Ok(())
}

/// What is in a folder, sorted.
pub fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let read = || -> io::Result<Vec<PathBuf>> { folder.read_dir()?.map(|entry| Ok(entry?.path())).collect() };
    let mut entries = read().with_context(|| format!("reading the folder {}", shown_path(folder)))?;
    entries.sort();
    Ok(entries)
}

/// The input `[c, h, w]` that `rule` makes from a picture.
pub fn to_input(picture: DynamicImage, rule: &Picture) -> Result<Vec<f32>> {
    let rgb = on_white(picture);
    Ok(rule.input(rgb.as_raw(), rgb.width(), rgb.height())?)
}

/// The picture on white paper, which shows through transparent pixels.
fn on_white(picture: DynamicImage) -> RgbImage {
    if !picture.color().has_alpha() {
        return picture.into_rgb8();
    }
    let rgba = picture.into_rgba8();
    RgbImage::from_fn(rgba.width(), rgba.height(), |x, y| {
        let [r, g, b, a] = rgba.get_pixel(x, y).0.map(u32::from);
        Rgb([r, g, b].map(|v| ((v * a + 255 * (255 - a) + 127) / 255) as u8))
    })
}

#[cfg(test)]
mod tests {
    use image::imageops;
    use octconv::network::{Invert, Resize};

    use super::*;

    fn to_input(picture: DynamicImage, rule: &Picture) -> Vec<f32> {
        super::to_input(picture, rule).unwrap()
    }

    fn rule(channels: u32, resize: Resize, invert: Invert) -> Picture {
        let (mean, std) = (vec![0.5; channels as usize], vec![0.25; channels as usize]);
        Picture { height: 4, width: 6, channels, resize, mean, std, invert }
    }

    #[test]
    fn values_are_shifted_and_scaled_a_channel_at_a_time() {
        let picture = DynamicImage::ImageRgb8(RgbImage::from_pixel(6, 4, Rgb([0, 255, 51])));
        let input = to_input(picture, &rule(3, Resize::Fit, Invert::Never));
        assert_eq!(input.len(), 3 * 4 * 6);
        assert_eq!((input[0], input[24], input[71]), (-2.0, 2.0, (0.2 - 0.5) / 0.25));
    }

    #[test]
    fn every_size_becomes_the_inputs() {
        for (w, h) in [(1, 1), (6, 4), (7, 300), (300, 7)] {
            for resize in [Resize::Fit, Resize::Crop] {
                let picture = DynamicImage::ImageRgb8(RgbImage::from_pixel(w, h, Rgb([9; 3])));
                assert_eq!(to_input(picture, &rule(1, resize, Invert::Never)).len(), 24, "{w}x{h}");
            }
        }
    }

    #[test]
    fn a_crop_is_what_is_left_of_the_whole() {
        let (mean, std) = (vec![0.0; 3], vec![1.0; 3]);
        let rule = Picture { height: 56, width: 84, mean, std, ..rule(3, Resize::Crop, Invert::Never) };
        for (w, h) in [(640, 480), (480, 640), (90, 60), (31, 17), (84, 57)] {
            let picture =
                RgbImage::from_fn(w, h, |x, y| Rgb([(x * 7 % 256) as u8, (y * 3 % 256) as u8, (x * y) as u8]));
            let scale = (84.0 / f64::from(w)).max(56.0 / f64::from(h)) * 256.0 / 224.0;
            let [whole_w, whole_h] = [w, h].map(|size| (f64::from(size) * scale).round() as u32);
            let whole = imageops::resize(&picture, whole_w, whole_h, imageops::FilterType::Triangle);
            let whole = imageops::crop_imm(&whole, (whole_w - 84) / 2, (whole_h - 56) / 2, 84, 56).to_image();
            let input = to_input(picture.into(), &rule);
            let found = |x: u32, y: u32, c: u32| (input[((c * 56 + y) * 84 + x) as usize] * 255.0).round() as u8;
            let differences = whole
                .enumerate_pixels()
                .flat_map(|(x, y, pixel)| [0, 1, 2].map(|c: u32| found(x, y, c).abs_diff(pixel.0[c as usize])));
            let most = differences.max();
            // Two orders of adding up may round apart.
            assert!(most.unwrap() <= 1, "{w}x{h}: {most:?}");
        }
    }

    #[test]
    fn pictures_are_scaled_as_torchvision_scales_them() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pictures");
        let pair = |text: &str| {
            let (w, h) = text.split_once('x').unwrap();
            (w.parse::<u32>().unwrap(), h.parse::<u32>().unwrap())
        };
        let mut compared = 0;
        for entry in folder.read_dir().unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap();
            let ["out", from, how, to] = name.split('-').collect::<Vec<_>>()[..] else { continue };
            let (width, height) = pair(to);
            let resize = match how.strip_prefix("shorter") {
                Some(shorter) => Resize::Shorter(shorter.parse().unwrap()),
                None => Resize::Fit,
            };
            let (mean, std) = (vec![0.0; 3], vec![1.0; 3]);
            let rule = Picture { height, width, channels: 3, resize, mean, std, invert: Invert::Never };
            let load = |path: &Path| read(path, Limits::default()).unwrap();
            let found = to_input(load(&folder.join(format!("in-{from}.png"))), &rule);
            let as_it_is = Picture { resize: Resize::Fit, ..rule };
            let expected = to_input(load(&path), &as_it_is);
            assert_eq!(found.len(), expected.len(), "{name}");
            // torchvision rounds after each of the two axes.
            let most = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).max_by(f32::total_cmp).unwrap();
            assert!(most < 1.01 / 255.0, "{name}: {most}");
            compared += 1;
        }
        assert_eq!(compared, 9);
    }

    #[test]
    fn what_is_cut_is_refused() {
        let pictures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/digits/pictures");
        for name in ["eight.jpg", "three.jpg", "seven.png"] {
            let bytes = std::fs::read(pictures.join(name)).unwrap();
            for length in 0..bytes.len() {
                // The end of a PNG, behind the last pixel, says nothing.
                let refused = decode(&bytes[..length], Limits::default()).is_err();
                assert!(refused || name == "seven.png" && length + 12 >= bytes.len(), "{name}: {length} bytes");
            }
            // Cameras append more behind the end.
            assert!(decode(&[&bytes[..], b"more"].concat(), Limits::default()).is_ok(), "{name}");
        }
    }

    #[test]
    fn dark_on_light_is_turned_round() {
        let mut page = RgbImage::from_pixel(6, 4, Rgb([250; 3]));
        page.put_pixel(2, 2, Rgb([5; 3]));
        let mut slate = page.clone();
        imageops::invert(&mut slate);
        let rule = rule(1, Resize::Fit, Invert::Auto);
        let [page, slate] = [page, slate].map(|picture| to_input(DynamicImage::ImageRgb8(picture), &rule));
        assert_eq!(page, slate);
        assert!(page[2 * 6 + 2] > page[0]);
    }

    #[test]
    fn what_is_transparent_is_white() {
        let clear = image::RgbaImage::from_pixel(3, 3, image::Rgba([10, 20, 30, 0]));
        assert_eq!(on_white(DynamicImage::ImageRgba8(clear)).get_pixel(1, 1).0, [255; 3]);
    }
}

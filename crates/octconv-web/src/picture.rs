//! Makes inputs of networks from pictures, as the command `octconv` does.

use octconv::Error;
use octconv::network::Picture;

/// The input `[c, h, w]` that `rule` makes from the pixels of a picture: red, green, blue and alpha, row by row.
pub fn to_input(rgba: &[[u8; 4]], width: u32, height: u32, rule: &Picture) -> Result<Vec<f32>, Error> {
    // White paper shows through transparent pixels.
    let on_white = |v: u8, a: u8| ((u32::from(v) * u32::from(a) + 255 * (255 - u32::from(a)) + 127) / 255) as u8;
    let rgb: Vec<[u8; 3]> = rgba.iter().map(|&[r, g, b, a]| [r, g, b].map(|v| on_white(v, a))).collect();
    rule.input(rgb.as_flattened(), width, height)
}

#[cfg(test)]
mod tests {
    use octconv::network::{Invert, Resize};

    use super::*;

    fn rule(resize: Resize) -> Picture {
        let (mean, std) = (vec![0.485, 0.456, 0.406], vec![0.229, 0.224, 0.225]);
        Picture { height: 224, width: 224, channels: 3, resize, mean, std, invert: Invert::Never }
    }

    /// Scaled as a whole, the picture would have four billion pixels.
    #[test]
    fn a_strip_costs_what_its_window_costs() {
        for (w, h) in [(60_000, 1), (1, 60_000)] {
            let rgba: Vec<[u8; 4]> = (0..60_000).map(|i: u32| [(i % 251) as u8, (i / 251) as u8, 9, 255]).collect();
            let rgb: Vec<[u8; 3]> = rgba.iter().map(|&[r, g, b, _]| [r, g, b]).collect();
            for rule in [rule(Resize::Crop), rule(Resize::Shorter(256))] {
                let input = to_input(&rgba, w, h, &rule).unwrap();
                assert_eq!(input.len(), 3 * 224 * 224);
                assert_eq!(input, rule.input(rgb.as_flattened(), w, h).unwrap());
            }
        }
    }

    #[test]
    fn transparent_pixels_are_white_and_others_are_counted() {
        let rule = Picture { mean: vec![0.0; 3], std: vec![1.0; 3], ..rule(Resize::Fit) };
        assert_eq!(to_input(&[[10, 20, 30, 0]], 1, 1, &rule).unwrap(), vec![1.0; 3 * 224 * 224]);
        for pixels in [0, 1, 3] {
            assert!(to_input(&vec![[0; 4]; pixels], 2, 1, &rule).is_err(), "{pixels}");
        }
    }
}

use octconv::network::{Invert, Picture, Resize};
use octconv_cli::fuzzing;

use crate::draw::Draw;
use crate::layer_list::printed;

/// The most bytes of a picture.
const MOST: u64 = 1 << 20;

/// A PNG or JPEG, and the input of a network from it. The last bytes, which may stand behind the picture, make a rule too.
pub fn picture(data: &[u8]) {
    for rule in rules() {
        match fuzzing::picture(data, &rule, MOST) {
            Ok(input) => {
                assert_eq!(input.len() as u32, rule.channels * rule.height * rule.width);
                // Of a value from 0 to 1, shifted and scaled.
                assert!(input.iter().all(|value| (-2.0..=2.0).contains(value)), "{input:?}");
            }
            Err(error) => return printed(&error),
        }
    }
    let rule = drawn(&mut Draw::new(&data[data.len().saturating_sub(TAIL)..]));
    match (rule.check(), fuzzing::picture(data, &rule, MOST)) {
        (Ok(()), Ok(input)) => {
            assert_eq!(input.len() as u32, rule.channels * rule.height * rule.width);
            let ordinary = rule.mean.iter().all(|mean| mean.abs() < 1e6) && rule.std.iter().all(|&std| std > 1e-6);
            assert!(!ordinary || input.iter().all(|value| value.is_finite()), "{rule:?}: {input:?}");
        }
        (Err(_), Err(error)) => printed(&error),
        (check, input) => panic!("{rule:?}: {check:?} and {input:?}"),
    }
}

/// The bytes at the end that a rule is drawn from.
const TAIL: usize = 48;

/// A rule, which may be senseless. A sensible one makes a small input.
fn drawn(draw: &mut Draw) -> Picture {
    let side =
        |draw: &mut Draw| if draw.once_in(16) { draw.choose(&[0, 16_385, u32::MAX]) } else { draw.within(1..=40) };
    let [height, width] = [side(draw), side(draw)];
    let channels = if draw.once_in(16) { draw.within(0..=5) } else { draw.choose(&[1, 3]) };
    let resize = match draw.within(0..=3) {
        0 => Resize::Fit,
        1 => Resize::Crop,
        2 => Resize::Shorter(height.max(width).saturating_add(draw.within(0..=300))),
        _ => Resize::Shorter(draw.choose(&[0, 1, 39, 40, 16_384, 16_385, u32::MAX])),
    };
    let numbers = |draw: &mut Draw| -> Vec<f32> {
        let more = u32::from(draw.once_in(24));
        let number = |draw: &mut Draw| if draw.once_in(8) { draw.float() } else { draw.within(1..=100) as f32 / 64.0 };
        (0..channels + more).map(|_| number(draw)).collect()
    };
    let (mean, std) = (numbers(draw), numbers(draw));
    Picture { height, width, channels, resize, mean, std, invert: draw.choose(&[Invert::Never, Invert::Auto]) }
}

fn rules() -> [Picture; 2] {
    let rule = |channels: u32, resize, invert| {
        let (mean, std) = (vec![0.5; channels as usize], vec![0.25; channels as usize]);
        Picture { height: 6, width: 9, channels, resize, mean, std, invert }
    };
    [rule(3, Resize::Crop, Invert::Never), rule(1, Resize::Fit, Invert::Auto)]
}

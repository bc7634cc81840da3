use octconv::network::{Invert, Picture, Resize};
use octconv_cli::fuzzing;

use crate::layer_list::printed;

/// A PNG or JPEG, and the input of a network from it.
pub fn picture(data: &[u8]) {
    const MOST: u64 = 1 << 20;
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
}

fn rules() -> [Picture; 2] {
    let rule = |channels: u32, resize, invert| {
        let (mean, std) = (vec![0.5; channels as usize], vec![0.25; channels as usize]);
        Picture { height: 6, width: 9, channels, resize, mean, std, invert }
    };
    [rule(3, Resize::Crop, Invert::Never), rule(1, Resize::Fit, Invert::Auto)]
}

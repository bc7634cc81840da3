use std::str;

use octconv::InputSize;
use octconv::network::NetworkOptions;

use crate::{check, facts};

/// The JSON of a network, and its plans at several sizes.
pub fn network_json(data: &[u8]) {
    let Ok(network) =
        str::from_utf8(data).map_err(drop).and_then(|text| octconv_cli::fuzzing::network(text).map_err(drop))
    else {
        return;
    };
    let [gpu, _, _, full_software, ..] = facts::devices();
    let sizes = [InputSize::image(1, 32, 24), InputSize::video(2, 3, 9, 11), InputSize::video(1 << 20, 1, 1, 1 << 20)];
    for (size, facts) in sizes.into_iter().zip([&gpu, &full_software, &gpu]) {
        if let Err(error) = check::network(&network, size, &NetworkOptions::default(), facts) {
            check::refused(&error);
        }
    }
}

use std::str;

use octconv_cli::fuzzing;

/// A file of a command that holds JSON: a list of layers, a layer, or the description of a network.
pub fn layer_list(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    match fuzzing::layers(text) {
        Ok(layers) => {
            assert!(!layers.is_empty());
            for entry in layers {
                // The list was refused unless every layer can be built.
                let spec = entry.layer.spec().unwrap();
                let _ = spec.cost(entry.size);
            }
        }
        Err(error) => printed(&error),
    }
    let others = [fuzzing::layer(text).map(drop), fuzzing::network(text).map(drop)];
    others.into_iter().filter_map(Result::err).for_each(|error| printed(&error));
}

/// An error of a command is one line, and says something.
pub(crate) fn printed(error: &str) {
    assert!(!error.is_empty() && !error.chars().any(char::is_control), "{error:?}");
}

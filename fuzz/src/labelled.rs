use std::str;

use octconv_cli::fuzzing;

use crate::layer_list::printed;

/// What `octconv evaluate` reads about pictures: a list in CSV, or a JSON about sheets.
pub fn labelled(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    for read in fuzzing::labelled(text) {
        match read {
            Ok(labels) => assert!(!labels.is_empty() && labels.iter().all(|&label| label < 10), "{labels:?}"),
            Err(error) => printed(&error),
        }
    }
}

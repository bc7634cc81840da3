use std::str;

use octconv_cli::fuzzing;

use crate::file;
use crate::layer_list::printed;

/// The two files of `octconv apply`: the first line is the layer, the second the header of the tensors, and the rest are
/// their values.
pub fn apply(data: &[u8]) {
    let mut parts = data.splitn(2, |&byte| byte == b'\n');
    let (spec, tensors) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let Ok(spec) = str::from_utf8(spec) else { return };
    if let Err(error) = fuzzing::apply(spec, &file::safetensors(tensors)) {
        printed(&error);
    }
}

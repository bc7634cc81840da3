use octconv::network::Graph;
use octconv_import::{ImportOptions, Imported, import_onnx};

use crate::check;

/// What is asked for, and the bytes of an ONNX file. Tensors in other files are short.
///
/// A bit of the first byte says of each option whether it is given. Then come rows, columns, frames, a sixteenth of the
/// most bytes, and the length of the name of the answer; then that name, and the file.
pub fn onnx(data: &[u8]) {
    let Some((&[given, h, w, frames, most, length], rest)) = data.split_first_chunk::<6>() else { return };
    let Some((output, file)) = rest.split_at_checked(length.into()) else { return };
    let is_given = |bit: u8| given >> bit & 1 == 1;
    let mut options = ImportOptions::default();
    options.size = is_given(0).then(|| [h, w].map(u32::from));
    options.frames = is_given(1).then(|| frames.into());
    options.max_bytes = is_given(2).then(|| u64::from(most) * 16);
    options.output = is_given(3).then(|| String::from_utf8_lossy(output).into_owned());
    let mut external = |_: &str, _, length: u64| match length {
        0..=64 => Ok(vec![1; length as usize]),
        _ => Err("there is no other file".into()),
    };
    let Imported { network, checkpoint, .. } = match import_onnx(file, &options, &mut external) {
        Ok(imported) => imported,
        Err(error) => {
            let text = error.to_string();
            assert!(!text.is_empty() && text.len() <= 100_000 && !text.contains(char::is_control), "{text:?}");
            return;
        }
    };
    match Graph::new(&network) {
        // What was written has the tensors that it wants.
        Ok(graph) => drop(checkpoint.fit(&graph).unwrap()),
        Err(error) => check::refused(&error),
    }
}

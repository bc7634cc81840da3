use octconv::network::Graph;
use octconv_import::{ImportOptions, Imported, import_onnx};

use crate::check;

/// The bytes of an ONNX file. Tensors in other files are short.
pub fn onnx(data: &[u8]) {
    let mut external = |_: &str, _, length: u64| match length {
        0..=64 => Ok(vec![1; length as usize]),
        _ => Err("there is no other file".into()),
    };
    let Ok(Imported { network, checkpoint, .. }) = import_onnx(data, &ImportOptions::default(), &mut external) else {
        return;
    };
    match Graph::new(&network) {
        // What was written has the tensors that it wants.
        Ok(graph) => drop(checkpoint.fit(&graph).unwrap()),
        Err(error) => check::refused(&error),
    }
}

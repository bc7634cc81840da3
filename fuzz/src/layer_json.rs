use std::str;

use octconv::{Accuracy, DeviceFacts, Dtype, InputSize, LayerDescription, ListedLayer, Options, Precision, wgpu};

use crate::{check, facts};

/// The JSON of an entry of a list, or of a layer on its own, and its plans on every device.
pub fn layer_json(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let (layer, size) = match serde_json::from_str::<ListedLayer>(text) {
        Ok(entry) => (entry.layer, entry.size),
        Err(_) => match serde_json::from_str::<LayerDescription>(text) {
            Ok(layer) => (layer, InputSize::image(1, 9, 7)),
            Err(_) => return,
        },
    };
    let spec = match layer.spec() {
        Ok(spec) => spec,
        Err(error) => return check::refused(&error),
    };
    let written = serde_json::to_string(&layer).unwrap();
    assert_eq!(serde_json::from_str::<LayerDescription>(&written).unwrap(), layer, "{written}");
    if let Err(error) = spec.cost(size) {
        check::refused(&error);
    }
    for facts in facts::devices() {
        check::plans(&spec, size, &options(&facts), &facts);
    }
}

/// The narrowest types that the device has, and all kernels.
fn options(facts: &DeviceFacts) -> Options {
    let half = facts.features.contains(wgpu::Features::SHADER_F16);
    let precision = Precision::of(if half { Dtype::F16 } else { Dtype::F32 });
    Options { precision, accuracy: Accuracy::Fast, ..Options::default() }
}

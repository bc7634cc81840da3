use octconv::Dtype;
use octconv_cli::fuzzing;

use crate::file;
use crate::layer_list::printed;

/// A safetensors file as a command reads it: the bytes as they are, and as a header with the tensors behind it.
pub fn tensors(data: &[u8]) {
    read(data);
    read(&file::safetensors(data));
}

fn read(bytes: &[u8]) {
    let tensors = match fuzzing::tensors(bytes) {
        Ok(tensors) => tensors,
        Err(error) => return printed(&error),
    };
    for (shape, values) in tensors.into_values() {
        let Some(values) = values else { continue };
        assert_eq!(values.len(), shape.iter().product::<usize>());
        for dtype in [Dtype::F32, Dtype::F16] {
            let written = fuzzing::write_tensor(shape.clone(), values.clone(), dtype).unwrap();
            let mut back = fuzzing::tensors(&written).unwrap();
            let (back_shape, back) = back.remove("x").unwrap();
            let back = back.unwrap();
            assert_eq!((back_shape, back.len()), (shape.clone(), values.len()));
            // Halves are rounded.
            let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert!(dtype == Dtype::F16 || bits(&back) == bits(&values));
        }
    }
}

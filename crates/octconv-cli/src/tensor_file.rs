//! Safetensors files: names, shapes and f32 values.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use octconv::Dtype;
use safetensors::tensor::TensorView;
use safetensors::{Dtype as FileDtype, SafeTensors};

/// The tensors of a file, by name; nothing is copied or converted yet.
pub type Views<'a> = BTreeMap<String, TensorView<'a>>;

/// A tensor to be written.
pub struct Named {
    pub name: String,
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

/// Finds the tensors in the bytes of a file.
pub fn views(bytes: &[u8]) -> Result<Views<'_>> {
    octconv::network::check_safetensors(bytes)?;
    Ok(SafeTensors::deserialize(bytes)?.tensors().into_iter().collect())
}

/// Whether [`values`] can read this type.
pub fn is_readable(dtype: FileDtype) -> bool {
    matches!(dtype, FileDtype::F32 | FileDtype::F16)
}

/// The values of a tensor in f32.
pub fn values(view: &TensorView) -> Result<Vec<f32>> {
    let data = view.data();
    match view.dtype() {
        FileDtype::F32 => Ok(data.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()),
        FileDtype::F16 => {
            Ok(data.as_chunks().0.iter().map(|&bytes| half::f16::from_le_bytes(bytes).to_f32()).collect())
        }
        dtype => bail!("it is {dtype}: must be F32 or F16"),
    }
}

/// The bytes of a file with these tensors.
pub fn serialize(tensors: &[Named], dtype: Dtype) -> Result<Vec<u8>> {
    let data: Vec<Vec<u8>> = tensors
        .iter()
        .map(|tensor| match dtype {
            Dtype::F32 => tensor.values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Dtype::F16 => tensor.values.iter().flat_map(|&v| half::f16::from_f32(v).to_le_bytes()).collect(),
        })
        .collect();
    let file_dtype = match dtype {
        Dtype::F32 => FileDtype::F32,
        Dtype::F16 => FileDtype::F16,
    };
    let views = tensors.iter().zip(&data).map(|(tensor, data)| {
        let view = TensorView::new(file_dtype, tensor.shape.clone(), data)?;
        Ok((tensor.name.as_str(), view))
    });
    let views = views.collect::<Result<Vec<_>>>()?;
    safetensors::serialize(views, None).context("writing safetensors")
}

/// The bytes of a NumPy array, version 1.0 of its format.
pub fn npy(tensor: &Named) -> Vec<u8> {
    const START: &[u8] = b"\x93NUMPY\x01\x00";
    // The values begin at a multiple of this.
    const ALIGNMENT: usize = 64;
    let shape: String = tensor.shape.iter().map(|d| format!("{d}, ")).collect();
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}), }}", shape.trim_end());
    let before = START.len() + 2;
    let length = (before + header.len() + 1).next_multiple_of(ALIGNMENT) - before;
    let mut bytes = START.to_vec();
    bytes.extend((length as u16).to_le_bytes());
    bytes.extend(format!("{header:<width$}\n", width = length - 1).bytes());
    bytes.extend(tensor.values.iter().flat_map(|v| v.to_le_bytes()));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_types_come_back() {
        for dtype in [Dtype::F32, Dtype::F16] {
            let tensor = Named { name: "y_h".into(), shape: vec![1, 3], values: vec![1.0, -0.5, 2.25] };
            let bytes = serialize(&[tensor], dtype).unwrap();
            let views = views(&bytes).unwrap();
            assert_eq!(views["y_h"].shape(), [1, 3]);
            assert_eq!(values(&views["y_h"]).unwrap(), [1.0, -0.5, 2.25]);
        }
    }

    #[test]
    fn damaged_headers_are_refused() {
        let file = |header: &str| {
            let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
            bytes.extend(header.as_bytes());
            bytes
        };
        // Offsets whose sum with the header's length overflows: eight tensors of 2^61 - 2^58 bytes and the rest.
        let mut offset = 0u64;
        let mut tensors = Vec::new();
        for i in 0.. {
            let elements = ((1u64 << 61) - 8).min(u64::MAX - offset);
            tensors.push(format!(
                r#""t{i}": {{"dtype": "U8", "shape": [{elements}], "data_offsets": [{offset}, {}]}}"#,
                offset + elements
            ));
            offset += elements;
            if offset == u64::MAX {
                break;
            }
        }
        let refused = [
            Vec::new(),
            vec![0; 7],
            u64::MAX.to_le_bytes().to_vec(),
            file(""),
            file("{"),
            file("[]"),
            file(r#"{"x": 1}"#),
            file(r#"{"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}"#),
            file(r#"{"x": {"dtype": "F32", "shape": [4294967296, 4294967296], "data_offsets": [0, 0]}}"#),
            file(&format!("{{{}}}", tensors.join(","))),
        ];
        for bytes in refused {
            assert!(views(&bytes).is_err(), "{}", String::from_utf8_lossy(&bytes));
        }
    }
}

//! Safetensors files.

use std::collections::BTreeMap;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::checkpoint::{Checkpoint, HostTensor};
use super::dialects::is_counter;
use crate::error::Error;

impl Checkpoint {
    /// Reads a safetensors file of F32, F16, BF16 or F64 tensors, and converts them to f32. Leaves out PyTorch's
    /// counters of batches (`num_batches_tracked`).
    ///
    /// # Errors
    ///
    /// [`Error::File`] if the bytes are no such file, or if a tensor has another type.
    pub fn from_safetensors(bytes: &[u8]) -> Result<Self, Error> {
        check_safetensors(bytes)?;
        let file = SafeTensors::deserialize(bytes).map_err(|error| Error::File { problem: error.to_string() })?;
        let mut tensors = BTreeMap::new();
        for (name, view) in file.tensors() {
            if !is_counter(&name) {
                let data = values(&name, &view)?;
                tensors.insert(name, HostTensor { shape: view.shape().to_vec(), data });
            }
        }
        Ok(Self { tensors })
    }

    /// Writes these tensors into the bytes of a safetensors file, in F32.
    ///
    /// # Errors
    ///
    /// [`Error::File`] if a tensor has more or fewer elements than its shape says.
    pub fn to_safetensors(&self) -> Result<Vec<u8>, Error> {
        let problem = |error: safetensors::SafeTensorError| Error::File { problem: error.to_string() };
        let bytes = |tensor: &HostTensor| tensor.data.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
        let data: Vec<Vec<u8>> = self.tensors.values().map(bytes).collect();
        let views = self.tensors.iter().zip(&data).map(|((name, tensor), data)| {
            let view = TensorView::new(Dtype::F32, tensor.shape.clone(), data).map_err(problem)?;
            Ok((name, view))
        });
        let views = views.collect::<Result<Vec<_>, Error>>()?;
        safetensors::serialize(views, None).map_err(problem)
    }
}

/// Refuses a safetensors file with offsets beyond its end.
///
/// Call it before you read such a file with the safetensors crate. That crate adds offsets before it compares them, and
/// the addition overflows on crafted files. [`Checkpoint::from_safetensors`] calls it.
///
/// # Errors
///
/// [`Error::File`] with the name of the tensor.
pub fn check_safetensors(bytes: &[u8]) -> Result<(), Error> {
    let Some((length, rest)) = bytes.split_first_chunk() else { return Ok(()) };
    let header = usize::try_from(u64::from_le_bytes(*length)).ok().and_then(|length| rest.get(..length));
    let Some(header) = header else { return Ok(()) };
    let Ok(serde_json::Value::Object(header)) = serde_json::from_slice(header) else { return Ok(()) };
    for (name, tensor) in &header {
        let ends = tensor["data_offsets"].as_array().into_iter().flatten();
        if ends.filter_map(serde_json::Value::as_u64).any(|end| end > rest.len() as u64) {
            let problem = format!("tensor {name} ends beyond the file, which is truncated or damaged");
            return Err(Error::File { problem });
        }
    }
    Ok(())
}

fn values(name: &str, view: &TensorView) -> Result<Vec<f32>, Error> {
    let data = view.data();
    Ok(match view.dtype() {
        Dtype::F32 => data.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect(),
        Dtype::F64 => data.as_chunks().0.iter().map(|&bytes| f64::from_le_bytes(bytes) as f32).collect(),
        Dtype::F16 => data.as_chunks().0.iter().map(|&bytes| half::f16::from_le_bytes(bytes).to_f32()).collect(),
        Dtype::BF16 => data.as_chunks().0.iter().map(|&bytes| half::bf16::from_le_bytes(bytes).to_f32()).collect(),
        dtype => {
            return Err(Error::File { problem: format!("tensor {name} is {dtype}: must be F32, F16, BF16 or F64") });
        }
    })
}

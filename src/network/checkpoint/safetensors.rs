//! Safetensors files.

use std::collections::BTreeMap;
use std::fmt;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

use super::checkpoint::{Checkpoint, HostTensor};
use super::dialects::is_counter;
use crate::error::Error;
use crate::memory::with_room;

impl Checkpoint {
    /// Reads a safetensors file of F32, F16, BF16 or F64 tensors, and converts them to f32. Leaves out PyTorch's
    /// counters of batches (`num_batches_tracked`).
    ///
    /// # Errors
    ///
    /// [`Error::File`] if the bytes are no such file, or if a tensor has another type. [`Error::OutOfMemory`] if there is no
    /// memory for a tensor.
    pub fn from_safetensors(bytes: &[u8]) -> Result<Self, Error> {
        check_safetensors(bytes)?;
        let file = SafeTensors::deserialize(bytes).map_err(|error| refused(&error.to_string()))?;
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
    /// [`Error::File`] if a tensor has more or fewer elements than its shape says, or a name of more than 1000 bytes.
    /// [`Error::OutOfMemory`] if there is no memory for the file.
    pub fn to_safetensors(&self) -> Result<Vec<u8>, Error> {
        let problem = |error: safetensors::SafeTensorError| refused(&error.to_string());
        if let Some(name) = self.tensors.keys().find(|name| name.len() > LONGEST_NAME) {
            return Err(refused(&too_long(name)));
        }
        let mut total = 0;
        let bytes = |(name, tensor): (&String, &HostTensor)| {
            let needs = tensor.data.len() as u64 * 4;
            total += needs;
            let mut bytes = with_room(needs, &format!("writing {name}"))?;
            bytes.extend(tensor.data.iter().flat_map(|v| v.to_le_bytes()));
            Ok(bytes)
        };
        let data: Vec<Vec<u8>> = self.tensors.iter().map(bytes).collect::<Result<_, Error>>()?;
        let views = self.tensors.iter().zip(&data).map(|((name, tensor), data)| {
            let view = TensorView::new(Dtype::F32, tensor.shape.clone(), data).map_err(problem)?;
            Ok((name, view))
        });
        let views = views.collect::<Result<Vec<_>, Error>>()?;
        // The crate does not ask whether there is room.
        with_room::<u8>(total, "writing a safetensors file").map(drop)?;
        safetensors::serialize(views, None).map_err(problem)
    }
}

/// The longest header that the format allows.
const LONGEST_HEADER: u64 = 100_000_000;
/// The most bytes of a tensor's name.
const LONGEST_NAME: usize = 1000;

fn too_long(name: &str) -> String {
    let (length, start) = (name.len(), name.chars().take(40).collect::<String>());
    format!("the name {start}... has {length} bytes: must be at most {LONGEST_NAME}")
}

/// Refuses a safetensors file whose header is too long, is not the JSON object that the format wants, names a tensor in more
/// than 1000 bytes, or has offsets beyond the end of the file.
///
/// Call it before you read such a file with the safetensors crate. That crate adds offsets before it compares them, and
/// the addition overflows on crafted files. [`Checkpoint::from_safetensors`] calls it. It keeps nothing of the header.
///
/// # Errors
///
/// [`Error::File`], with the name of the tensor if it concerns one.
pub fn check_safetensors(bytes: &[u8]) -> Result<(), Error> {
    let Some((length, rest)) = bytes.split_first_chunk() else {
        return Err(refused(&format!("it has {} bytes: must be at least 8", bytes.len())));
    };
    let length = u64::from_le_bytes(*length);
    if length > LONGEST_HEADER {
        return Err(refused(&format!("its header has {length} bytes: must be at most {LONGEST_HEADER}")));
    }
    let Some(header) = rest.get(..length as usize) else {
        return Err(refused(&format!("its header ends beyond the file's {} bytes", bytes.len())));
    };
    // The format says so. Programs tell the file by it, also to limit the header before they read it.
    if let Some(&first) = header.first().filter(|&&first| first != b'{') {
        return Err(refused(&format!("its header begins with {:?}: must begin with '{{'", char::from(first))));
    }
    match serde_json::from_slice::<LastTensor>(header) {
        Ok(LastTensor { name, end }) if end > rest.len() as u64 => {
            Err(refused(&format!("tensor {name} ends beyond the file, which is truncated or damaged")))
        }
        Ok(_) => Ok(()),
        Err(error) => Err(refused(&format!("its header: {error}"))),
    }
}

/// An error about a file, in one short line whatever its header has.
fn refused(problem: &str) -> Error {
    const MOST: usize = 2000;
    let mut line = String::new();
    for c in problem.chars().take(MOST) {
        if c.is_control() { line.extend(c.escape_default()) } else { line.push(c) }
    }
    if problem.chars().nth(MOST).is_some() {
        line.push_str("...");
    }
    Error::File { problem: line }
}

/// The tensor of a header that ends last.
#[derive(Default)]
struct LastTensor {
    name: String,
    end: u64,
}

impl<'de> Deserialize<'de> for LastTensor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Header)
    }
}

/// Reads the header, an object of objects. Derived readers would take lists too, as that of the safetensors crate does.
struct Header;

impl<'de> Visitor<'de> for Header {
    type Value = LastTensor;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<LastTensor, A::Error> {
        let mut last = LastTensor::default();
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            if name.len() > LONGEST_NAME {
                return Err(A::Error::custom(too_long(&name)));
            }
            let in_tensor = |error| A::Error::custom(format!("tensor {name}: {error}"));
            let Offsets(end) = map.next_value().map_err(in_tensor)?;
            if end >= last.end {
                last = LastTensor { name, end };
            }
        }
        Ok(last)
    }
}

/// The larger of a tensor's two offsets.
struct Offsets(u64);

impl<'de> Deserialize<'de> for Offsets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Offsets;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Offsets, A::Error> {
                let mut offsets = None;
                while let Some(field) = map.next_key::<String>()? {
                    if field == "data_offsets" {
                        offsets = Some(map.next_value::<[u64; 2]>()?);
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                let [from, to] = offsets.ok_or_else(|| A::Error::missing_field("data_offsets"))?;
                Ok(Offsets(from.max(to)))
            }
        }

        deserializer.deserialize_map(Fields)
    }
}

fn values(name: &str, view: &TensorView) -> Result<Vec<f32>, Error> {
    let data = view.data();
    match view.dtype() {
        Dtype::F32 => converted(name, data, f32::from_le_bytes),
        Dtype::F64 => converted(name, data, |bytes| f64::from_le_bytes(bytes) as f32),
        Dtype::F16 => converted(name, data, |bytes| half::f16::from_le_bytes(bytes).to_f32()),
        Dtype::BF16 => converted(name, data, |bytes| half::bf16::from_le_bytes(bytes).to_f32()),
        dtype => Err(refused(&format!("tensor {name} is {dtype}: must be F32, F16, BF16 or F64"))),
    }
}

fn converted<const N: usize>(name: &str, data: &[u8], convert: impl Fn([u8; N]) -> f32) -> Result<Vec<f32>, Error> {
    let (numbers, _) = data.as_chunks();
    let mut values = with_room(numbers.len() as u64, &format!("reading {name}"))?;
    values.extend(numbers.iter().map(|&bytes| convert(bytes)));
    Ok(values)
}

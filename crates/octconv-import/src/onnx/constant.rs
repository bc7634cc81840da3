//! Constants of a graph: its initializers, and what is computed from them.

use std::borrow::Cow;

use half::{bf16, f16};
use ndarray::{ArrayD, IxDyn};

use super::proto::{EXTERNAL, TensorProto, data_type};
use crate::External;

/// A tensor whose values are known.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Constant {
    Float(ArrayD<f32>),
    /// All kinds of whole numbers, and truth values.
    Int(ArrayD<i64>),
}

/// The most elements of a constant that is computed: what a file says must not decide how much memory is taken.
pub(super) const MOST_ELEMENTS: usize = 1 << 26;

/// The most axes of a constant.
pub(super) const MOST_AXES: usize = 64;

impl Constant {
    /// Reads a tensor of the file. `external` gives the bytes of a tensor that lies in another file.
    pub(super) fn read(tensor: &TensorProto, external: &mut External) -> Result<Self, String> {
        let shape = shape(&tensor.dims)?;
        let bytes = match (&tensor.raw_data, tensor.data_location) {
            (_, Some(EXTERNAL)) => Some(Cow::Owned(read_external(tensor, external)?)),
            (Some(raw), _) => Some(Cow::Borrowed(raw.as_slice())),
            (None, _) => None,
        };
        let kind = tensor.data_type.unwrap_or_default();
        let ints = |each: usize, read: fn(&[u8]) -> i64| match &bytes {
            Some(bytes) => whole(bytes, each).map(|parts| parts.map(read).collect()),
            None if kind == data_type::INT64 => Ok(tensor.int64_data.clone()),
            None => Ok(tensor.int32_data.iter().map(|&v| v.into()).collect()),
        };
        let floats = |each: usize, read: fn(&[u8]) -> f32, stored: &dyn Fn() -> Vec<f32>| match &bytes {
            Some(bytes) => whole(bytes, each).map(|parts| parts.map(read).collect()),
            None => Ok(stored()),
        };
        let of_bits = |read: fn(u16) -> f32| tensor.int32_data.iter().map(move |&v| read(v as u16)).collect::<Vec<_>>();
        match kind {
            data_type::FLOAT => {
                let stored = || tensor.float_data.clone();
                floats(4, |b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]), &stored)
            }
            data_type::DOUBLE => {
                let stored = || tensor.double_data.iter().map(|&v| v as f32).collect();
                floats(8, |b| f64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]) as f32, &stored)
            }
            data_type::FLOAT16 => {
                floats(2, |b| f16::from_le_bytes([b[0], b[1]]).to_f32(), &|| of_bits(|v| f16::from_bits(v).to_f32()))
            }
            data_type::BFLOAT16 => {
                floats(2, |b| bf16::from_le_bytes([b[0], b[1]]).to_f32(), &|| of_bits(|v| bf16::from_bits(v).to_f32()))
            }
            data_type::INT64 => {
                let values = ints(8, |b| i64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]))?;
                return array(&shape, values).map(Self::Int);
            }
            data_type::INT32 => {
                let values = ints(4, |b| i32::from_le_bytes([b[0], b[1], b[2], b[3]]).into())?;
                return array(&shape, values).map(Self::Int);
            }
            data_type::BOOL | data_type::UINT8 => return array(&shape, ints(1, |b| b[0].into())?).map(Self::Int),
            data_type::INT8 => return array(&shape, ints(1, |b| (b[0] as i8).into())?).map(Self::Int),
            _ => Err(format!(
                "its type is {}: must be float, float16, bfloat16, double or a whole number",
                data_type::name(kind)
            )),
        }
        .and_then(|values| array(&shape, values).map(Self::Float))
    }

    pub(super) fn shape(&self) -> &[usize] {
        match self {
            Self::Float(array) => array.shape(),
            Self::Int(array) => array.shape(),
        }
    }

    /// Its elements as whole numbers. None if they are not.
    pub(super) fn ints(&self) -> Option<Vec<i64>> {
        match self {
            Self::Int(array) => Some(array.iter().copied().collect()),
            Self::Float(_) => None,
        }
    }

    /// Its elements as numbers.
    pub(super) fn floats(&self) -> Vec<f32> {
        match self {
            Self::Float(array) => array.iter().copied().collect(),
            Self::Int(array) => array.iter().map(|&v| v as f32).collect(),
        }
    }

    /// Its only element.
    pub(super) fn scalar(&self) -> Option<f32> {
        match self {
            Self::Float(array) if array.len() == 1 => array.first().copied(),
            Self::Int(array) if array.len() == 1 => array.first().map(|&v| v as f32),
            _ => None,
        }
    }
}

/// The parts of `each` bytes. An error if bytes are left over.
fn whole(bytes: &[u8], each: usize) -> Result<std::slice::ChunksExact<'_, u8>, String> {
    let parts = bytes.chunks_exact(each);
    if parts.remainder().is_empty() { Ok(parts) } else { Err(format!("it has {} bytes", bytes.len())) }
}

fn array<T>(shape: &[usize], values: Vec<T>) -> Result<ArrayD<T>, String> {
    let count = values.len();
    ArrayD::from_shape_vec(IxDyn(shape), values)
        .map_err(|_| format!("it has {count} elements, and the shape {shape:?}"))
}

/// A shape that the file gives, if its elements can be counted.
pub(super) fn shape(dims: &[i64]) -> Result<Vec<usize>, String> {
    let sizes: Option<Vec<usize>> = dims.iter().map(|&d| usize::try_from(d).ok()).collect();
    let count = sizes.as_ref().and_then(|sizes| sizes.iter().try_fold(1usize, |all, &d| all.checked_mul(d)));
    match (sizes, count) {
        (Some(sizes), Some(count)) if count <= 1 << 40 && sizes.len() <= MOST_AXES => Ok(sizes),
        _ if dims.len() > MOST_AXES => Err(format!("it has {} axes: must have at most {MOST_AXES}", dims.len())),
        _ => Err(format!("its shape is {dims:?}")),
    }
}

fn read_external(tensor: &TensorProto, external: &mut External) -> Result<Vec<u8>, String> {
    let get = |wanted: &str| {
        let entry = tensor.external_data.iter().find(|entry| entry.key.as_deref() == Some(wanted));
        entry.and_then(|entry| entry.value.as_deref())
    };
    let number = |wanted: &str| match get(wanted) {
        None => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| format!("its {wanted} in another file is {text:?}")),
    };
    let location = get("location").ok_or("it lies in another file, and the name of the file is missing")?;
    external(location, number("offset")?.unwrap_or(0), number("length")?)
}

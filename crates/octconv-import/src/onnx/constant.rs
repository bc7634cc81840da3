//! Constants of a graph: its initializers, and what is computed from them.

use std::borrow::Cow;

use half::{bf16, f16};
use ndarray::{ArrayD, IxDyn};

use super::proto::{EXTERNAL, TensorProto, data_type};
use super::read::elements;
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

/// Where constants come from, and how many bytes all of them may take.
pub(super) struct Source<'a, 'b> {
    external: &'a mut External<'b>,
    most: u64,
    taken: u64,
    /// Elements that came from other files.
    pub(super) outside: usize,
}

impl<'a, 'b> Source<'a, 'b> {
    pub(super) fn new(external: &'a mut External<'b>, most: u64) -> Self {
        Self { external, most, taken: 0, outside: 0 }
    }

    /// Takes room for the elements of a tensor, before there is memory for them.
    fn take(&mut self, count: usize, each: usize) -> Result<(), String> {
        let taken = self.taken.saturating_add((count as u64).saturating_mul(each as u64));
        let most = self.most;
        if taken > most {
            return Err(format!("with those before it, it takes {taken} bytes, and {most} are allowed (--max-bytes)"));
        }
        self.taken = taken;
        Ok(())
    }

    /// So many elements of a tensor that lies in another file.
    fn read(&mut self, tensor: &TensorProto, count: usize, each: usize) -> Result<Vec<u8>, String> {
        let get = |wanted: &str| {
            let entry = tensor.external_data.iter().find(|entry| entry.key.as_deref() == Some(wanted));
            entry.and_then(|entry| entry.value.as_deref())
        };
        let number = |wanted: &str| match get(wanted) {
            None => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| format!("its {wanted} in another file is {text:?}")),
        };
        let location = get("location").ok_or("it lies in another file, and the name of the file is missing")?;
        let wanted = (count as u64).saturating_mul(each as u64);
        match number("length")? {
            Some(length) if length != wanted => {
                return Err(format!("it has {length} bytes in another file, and its {count} elements {wanted}"));
            }
            _ => {}
        }
        self.outside = self.outside.saturating_add(count);
        (self.external)(location, number("offset")?.unwrap_or(0), wanted)
    }
}

/// The bytes of an element in a file, and of what it becomes.
fn element_bytes(kind: i32) -> Result<[usize; 2], String> {
    const REAL: usize = size_of::<f32>();
    const WHOLE: usize = size_of::<i64>();
    match kind {
        data_type::FLOAT => Ok([4, REAL]),
        data_type::DOUBLE => Ok([8, REAL]),
        data_type::FLOAT16 | data_type::BFLOAT16 => Ok([2, REAL]),
        data_type::INT64 => Ok([8, WHOLE]),
        data_type::INT32 => Ok([4, WHOLE]),
        data_type::BOOL | data_type::UINT8 | data_type::INT8 => Ok([1, WHOLE]),
        _ => Err(format!(
            "its type is {}: must be float, float16, bfloat16, double or a whole number",
            data_type::name(kind)
        )),
    }
}

impl Constant {
    /// Reads a tensor of the file, or of another one.
    pub(super) fn read(tensor: &TensorProto, source: &mut Source) -> Result<Self, String> {
        let shape = shape(&tensor.dims)?;
        let (count, kind) = (elements(&shape), tensor.data_type.unwrap_or_default());
        let [each, kept] = element_bytes(kind)?;
        source.take(count, kept)?;
        let bytes = match (&tensor.raw_data, tensor.data_location) {
            (_, Some(EXTERNAL)) => Some(Cow::Owned(source.read(tensor, count, each)?)),
            (Some(raw), _) => Some(Cow::Borrowed(raw.as_slice())),
            (None, _) => None,
        };
        let found = match &bytes {
            Some(bytes) if bytes.len() % each != 0 => return Err(format!("it has {} bytes", bytes.len())),
            Some(bytes) => bytes.len() / each,
            None => listed(tensor, kind),
        };
        if found != count {
            return Err(format!("it has {found} elements, and the shape {shape:?}"));
        }
        let bytes = bytes.as_deref().map(|bytes| bytes.chunks_exact(each));
        let ints = |read: fn(&[u8]) -> i64| match bytes.clone() {
            Some(parts) => parts.map(read).collect(),
            None if kind == data_type::INT64 => tensor.int64_data.clone(),
            None => tensor.int32_data.iter().map(|&v| v.into()).collect(),
        };
        let floats = |read: fn(&[u8]) -> f32, stored: &dyn Fn() -> Vec<f32>| match bytes.clone() {
            Some(parts) => parts.map(read).collect(),
            None => stored(),
        };
        let of_bits = |read: fn(u16) -> f32| tensor.int32_data.iter().map(move |&v| read(v as u16)).collect::<Vec<_>>();
        let values = match kind {
            data_type::FLOAT => {
                let stored = || tensor.float_data.clone();
                floats(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]), &stored)
            }
            data_type::DOUBLE => {
                let stored = || tensor.double_data.iter().map(|&v| v as f32).collect();
                floats(|b| f64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]) as f32, &stored)
            }
            data_type::FLOAT16 => {
                floats(|b| f16::from_le_bytes([b[0], b[1]]).to_f32(), &|| of_bits(|v| f16::from_bits(v).to_f32()))
            }
            data_type::BFLOAT16 => {
                floats(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32(), &|| of_bits(|v| bf16::from_bits(v).to_f32()))
            }
            data_type::INT64 => {
                let values = ints(|b| i64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]));
                return array(&shape, values).map(Self::Int);
            }
            data_type::INT32 => {
                let values = ints(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]]).into());
                return array(&shape, values).map(Self::Int);
            }
            data_type::INT8 => return array(&shape, ints(|b| (b[0] as i8).into())).map(Self::Int),
            // BOOL and UINT8.
            _ => return array(&shape, ints(|b| b[0].into())).map(Self::Int),
        };
        array(&shape, values).map(Self::Float)
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

/// How many elements a tensor has in the list for its type.
fn listed(tensor: &TensorProto, kind: i32) -> usize {
    match kind {
        data_type::FLOAT => tensor.float_data.len(),
        data_type::DOUBLE => tensor.double_data.len(),
        data_type::INT64 => tensor.int64_data.len(),
        _ => tensor.int32_data.len(),
    }
}

fn array<T>(shape: &[usize], values: Vec<T>) -> Result<ArrayD<T>, String> {
    let count = values.len();
    ArrayD::from_shape_vec(IxDyn(shape), values)
        .map_err(|_| format!("it has {count} elements, and the shape {shape:?}"))
}

/// The elements of a constant of this shape, where an axis of none counts as one: ndarray wants the product of the others
/// to be a number too. `None` if they cannot be counted.
pub(super) fn counted(sizes: &[usize]) -> Option<usize> {
    sizes.iter().try_fold(1usize, |all, &d| all.checked_mul(d.max(1)))
}

/// A shape that the file gives, if its elements can be counted.
pub(super) fn shape(dims: &[i64]) -> Result<Vec<usize>, String> {
    let sizes: Option<Vec<usize>> = dims.iter().map(|&d| usize::try_from(d).ok()).collect();
    let count = sizes.as_deref().and_then(counted);
    match (sizes, count) {
        (Some(sizes), Some(count)) if count <= 1 << 40 && sizes.len() <= MOST_AXES => Ok(sizes),
        _ if dims.len() > MOST_AXES => Err(format!("it has {} axes: must have at most {MOST_AXES}", dims.len())),
        _ => Err(format!("its shape is {dims:?}")),
    }
}

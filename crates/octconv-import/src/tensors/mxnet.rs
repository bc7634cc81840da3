//! MXNet's `.params`: a list of arrays, then a list of names.
//!
//! The list starts with its magic and a reserved number, both of 64 bits. An array is, in little-endian order:
//!
//! | field | since | |
//! |---|---|---|
//! | magic: 32 bits | V1 | before V1 the number of dimensions stands here, and sizes have 32 bits |
//! | storage type: i32 | V2 | 0 for a dense array |
//! | number of dimensions: i32; the sizes: i64 each | | none and unknown (-1) mean that nothing follows. Since V3, none is a scalar |
//! | device: two i32 | | |
//! | type: i32; the elements | | |

use std::collections::BTreeMap;

use octconv::network::HostTensor;

use super::bytes::Bytes;
use super::element::{Element, Order};
use super::error::Error;
use super::kind::{Kind, MXNET_MAGIC};
use super::limits::{Budget, check_name};

const KIND: Kind = Kind::MxNet;
const V1: u32 = 0xF993_FAC8;
const V2: u32 = 0xF993_FAC9;
const V3: u32 = 0xF993_FACA;
/// MXNet has no array of more.
const MOST_DIMENSIONS: u32 = 32;

/// The arrays by name, without the prefixes `arg:` and `aux:`.
pub(super) fn read(bytes: &[u8], budget: &mut Budget) -> Result<BTreeMap<String, HostTensor>, Error> {
    let mut bytes = Bytes::new(KIND, bytes);
    if bytes.u64("the magic number")? != MXNET_MAGIC {
        return Err(Error::damaged(KIND, "not a list of arrays"));
    }
    bytes.u64("the header")?;
    let count = bytes.count(8, "the number of arrays")?;
    let mut arrays = Vec::new();
    for index in 0..count {
        arrays.push(array(&mut bytes, index, budget)?);
    }
    let names = bytes.count(8, "the number of names")?;
    if names != count {
        return Err(Error::damaged(KIND, format!("{count} arrays, but {names} names")));
    }
    let mut tensors = BTreeMap::new();
    for array in arrays {
        let length = bytes.count(1, "the length of a name")?;
        let name = std::str::from_utf8(bytes.take(length, "a name")?);
        let name = name.map_err(|_| Error::damaged(KIND, "a name is not UTF-8"))?;
        check_name(name)?;
        let name = name.strip_prefix("arg:").or(name.strip_prefix("aux:")).unwrap_or(name);
        if tensors.insert(name.to_owned(), array).is_some() {
            return Err(Error::damaged(KIND, format!("{name} is there twice")));
        }
    }
    match bytes.rest().len() {
        0 => Ok(tensors),
        more => Err(Error::damaged(KIND, format!("{more} bytes stand behind the last name"))),
    }
}

fn array(bytes: &mut Bytes, index: u64, budget: &mut Budget) -> Result<HostTensor, Error> {
    let what = format!("array {index}");
    let magic = bytes.u32(&what)?;
    let is_legacy = magic <= MOST_DIMENSIONS;
    if !is_legacy && ![V1, V2, V3].contains(&magic) {
        return Err(Error::damaged(KIND, format!("{what} has the unknown magic number {magic:#010x}")));
    }
    if matches!(magic, V2 | V3) && !matches!(bytes.i32(&what)?, 0 | -1) {
        return Err(Error::unsupported(KIND, format!("{what} is sparse: only dense arrays are read")));
    }
    let dimensions = if is_legacy { magic as i32 } else { bytes.i32(&what)? };
    if dimensions < 0 || (dimensions == 0 && magic != V3) {
        return Err(Error::unsupported(KIND, format!("{what} is empty")));
    }
    if dimensions.unsigned_abs() > MOST_DIMENSIONS {
        return Err(Error::damaged(KIND, format!("{what} has {dimensions} dimensions: must be at most 32")));
    }
    let mut shape = Vec::new();
    for _ in 0..dimensions {
        let size = if is_legacy { u64::from(bytes.u32(&what)?) } else { bytes.u64(&what)? };
        if i64::try_from(size).is_err() {
            return Err(Error::damaged(KIND, format!("{what} has a negative size")));
        }
        shape.push(size);
    }
    bytes.take(8, &what)?;
    let flag = bytes.i32(&what)?;
    let element = match flag {
        0 => Element::F32,
        1 => Element::F64,
        2 => Element::F16,
        3 => Element::U8,
        4 => Element::I32,
        5 => Element::I8,
        6 => Element::I64,
        7 => Element::Bool,
        12 => Element::Bf16,
        _ => return Err(Error::unsupported(KIND, format!("{what} has elements of the unknown type {flag}"))),
    };
    let elements = shape.iter().fold(1u64, |all, &size| all.saturating_mul(size));
    let data = bytes.take(elements.saturating_mul(element.size() as u64), &what)?;
    let count = budget.take(&what, &shape)?;
    let shape = shape.into_iter().map(|size| size as usize).collect();
    Ok(HostTensor { shape, data: element.values(data, count, Order::Little) })
}

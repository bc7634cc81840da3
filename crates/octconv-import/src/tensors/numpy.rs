//! NumPy's `.npy` and `.npz`.
//!
//! A `.npy` is a magic number, a version, the length of the header, the header and the elements. The header is a
//! dictionary of Python with three entries: `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`.

use std::collections::BTreeMap;

use octconv::network::HostTensor;

use super::archive::Archive;
use super::bytes::Bytes;
use super::element::{Element, Order, View};
use super::error::Error;
use super::kind::Kind;
use super::limits::Budget;

/// NumPy has no array of more.
const MOST_DIMENSIONS: usize = 64;

/// The arrays of an `.npz`, by name.
pub(super) fn read_npz(archive: &Archive, budget: &mut Budget) -> Result<BTreeMap<String, HostTensor>, Error> {
    let mut tensors = BTreeMap::new();
    for entry in archive.names() {
        let name = entry.strip_suffix(".npy").unwrap_or(entry);
        let bytes = archive.read(entry)?;
        if let Some(tensor) = read_npy(Kind::Npz, name, &bytes, budget)?
            && tensors.insert(name.to_owned(), tensor).is_some()
        {
            return Err(Error::damaged(Kind::Npz, format!("{name} is there twice")));
        }
    }
    Ok(tensors)
}

/// The array of an `.npy`. `None` if it is one object of Python, which is left out.
pub(super) fn read_npy(kind: Kind, name: &str, bytes: &[u8], budget: &mut Budget) -> Result<Option<HostTensor>, Error> {
    let mut bytes = Bytes::new(kind, bytes);
    if bytes.array::<6>(name)? != *b"\x93NUMPY" {
        return Err(Error::damaged(kind, format!("{name} is not an array")));
    }
    let [version, _] = bytes.array(name)?;
    let length = match version {
        1 => u32::from(bytes.u16(name)?),
        2 | 3 => bytes.u32(name)?,
        _ => {
            return Err(Error::unsupported(
                kind,
                format!("{name} has the format's version {version}: 1 to 3 are read"),
            ));
        }
    };
    let header = bytes.take(length.into(), &format!("the header of {name}"))?;
    let header = std::str::from_utf8(header).ok().and_then(Header::parse);
    let header = header.ok_or_else(|| Error::damaged(kind, format!("the header of {name} is damaged")))?;
    let Some((element, order)) = element(&header.descr) else {
        // Chainer writes such an array for a parameter that is None.
        if header.descr.ends_with('O') && header.shape.is_empty() {
            return Ok(None);
        }
        let problem = match header.descr.ends_with('O') {
            true => format!("{name} holds objects of Python, which are never read"),
            false => {
                let descr: String = header.descr.chars().take(100).collect();
                format!("{name} has elements of type {descr}: numbers of up to 64 bits are read")
            }
        };
        return Err(Error::unsupported(kind, problem));
    };
    if header.shape.len() > MOST_DIMENSIONS {
        let problem = format!("{name} has more than {MOST_DIMENSIONS} dimensions");
        return Err(Error::damaged(kind, problem));
    }
    let elements = header.shape.iter().fold(1u64, |all, &size| all.saturating_mul(size));
    let data = bytes.take(elements.saturating_mul(element.size() as u64), name)?;
    if !bytes.rest().is_empty() {
        return Err(Error::damaged(kind, format!("{} bytes stand behind the elements of {name}", bytes.rest().len())));
    }
    let count = budget.take(name, &header.shape)?;
    let values = if header.fortran_order {
        let strides = header.shape.iter().scan(1u64, |next, &size| {
            let stride = *next;
            *next = next.saturating_mul(size.max(1));
            Some(stride)
        });
        let view = View { offset: 0, strides: strides.collect(), shape: header.shape.clone() };
        element.strided(data, &view, count, order)
    } else {
        element.values(data, count, order)
    };
    let shape = header.shape.into_iter().map(|size| size as usize).collect();
    Ok(Some(HostTensor { shape, data: values }))
}

fn element(descr: &str) -> Option<(Element, Order)> {
    let (order, kind) = match descr.split_at_checked(1)? {
        (">", kind) => (Order::Big, kind),
        ("<" | "|" | "=", kind) => (Order::Little, kind),
        _ => return None,
    };
    let element = match kind {
        "f8" => Element::F64,
        "f4" => Element::F32,
        "f2" => Element::F16,
        "i8" => Element::I64,
        "i4" => Element::I32,
        "i2" => Element::I16,
        "i1" => Element::I8,
        "u8" => Element::U64,
        "u4" => Element::U32,
        "u2" => Element::U16,
        "u1" => Element::U8,
        "b1" => Element::Bool,
        _ => return None,
    };
    Some((element, order))
}

#[derive(Debug, PartialEq)]
struct Header {
    descr: String,
    fortran_order: bool,
    shape: Vec<u64>,
}

impl Header {
    /// Reads a dictionary with exactly the three entries. A `descr` that is not a text, such as that of records, is kept as
    /// it stands.
    fn parse(text: &str) -> Option<Self> {
        let mut rest = text.trim().strip_prefix('{')?.strip_suffix('}')?.trim();
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        while !rest.is_empty() {
            let (key, value) = rest.strip_prefix('\'')?.split_once("':")?;
            let value = value.trim_start();
            // A value goes up to the next key, or to the end.
            let end = ["'descr':", "'fortran_order':", "'shape':"].iter().filter_map(|key| value.find(key)).min();
            let (value, behind) = value.split_at(end.unwrap_or(value.len()));
            rest = behind;
            let value = value.trim().trim_end_matches(',').trim();
            let is_new = match key {
                "descr" => descr.replace(value.trim_matches('\'').to_owned()).is_none(),
                "fortran_order" => fortran_order.replace(boolean(value)?).is_none(),
                "shape" => shape.replace(tuple(value)?).is_none(),
                _ => false,
            };
            if !is_new {
                return None;
            }
        }
        Some(Self { descr: descr?, fortran_order: fortran_order?, shape: shape? })
    }
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "True" => Some(true),
        "False" => Some(false),
        _ => None,
    }
}

/// A tuple of numbers, up to one more than an array can have. Python 2 wrote an L behind long ones.
fn tuple(text: &str) -> Option<Vec<u64>> {
    let inner = text.strip_prefix('(')?.strip_suffix(')')?.trim().trim_end_matches(',');
    let number = |text: &str| text.trim().trim_end_matches('L').parse().ok();
    if inner.is_empty() { Some(Vec::new()) } else { inner.split(',').take(MOST_DIMENSIONS + 1).map(number).collect() }
}

#[cfg(test)]
mod tests {
    use super::super::limits::Limits;
    use super::*;

    /// A header may be as long as the file.
    #[test]
    fn a_shape_without_an_end_takes_no_memory() {
        assert_eq!(tuple(&format!("({})", "1,".repeat(MOST_DIMENSIONS))), Some(vec![1; MOST_DIMENSIONS]));
        let shape = tuple(&format!("({})", "1,".repeat(1_000_000))).unwrap();
        assert_eq!(shape.len(), MOST_DIMENSIONS + 1);
        let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}), }}", "1,".repeat(1000));
        let start = [&b"\x93NUMPY\x02\0"[..], &(header.len() as u32).to_le_bytes()].concat();
        let bytes = [&start, header.as_bytes(), &[0; 4]].concat();
        let refusal = read_npy(Kind::Npy, "x", &bytes, &mut Budget::new(Limits::default())).unwrap_err();
        assert!(refusal.to_string().ends_with("x has more than 64 dimensions"), "{refusal}");
    }

    #[test]
    fn headers_are_read() {
        let header = |descr: &str, fortran_order, shape: &[u64]| {
            Some(Header { descr: descr.into(), fortran_order, shape: shape.into() })
        };
        for (text, wanted) in [
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }   \n", header("<f4", false, &[3, 4])),
            ("{'shape': (3L,), 'fortran_order': True, 'descr': '>i8'}", header(">i8", true, &[3])),
            ("{'descr': '|b1', 'fortran_order': False, 'shape': (), }", header("|b1", false, &[])),
            (
                "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }",
                header("[('a', '<f4')]", false, &[2]),
            ),
            ("", None),
            ("{", None),
            ("{}", None),
            ("{'descr': '<f4', 'shape': (3,), }", None),
            ("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (), }", None),
            ("{'descr': '<f4', 'fortran_order': 0, 'shape': (3,), }", None),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (-3,), }", None),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': ((3,),), }", None),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }", None),
            ("{'other': '<f4', 'fortran_order': False, 'shape': (3,), }", None),
        ] {
            assert_eq!(Header::parse(text), wanted, "{text}");
        }
    }
}

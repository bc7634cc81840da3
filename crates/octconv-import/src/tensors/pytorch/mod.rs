//! PyTorch's files: a pickle that describes the tensors, and storages with their elements.

mod machine;
mod unwrap;
mod value;

use std::collections::BTreeMap;

use octconv::network::HostTensor;

use self::machine::Machine;
use self::unwrap::{Content, unwrap};
use self::value::{Arena, Id, Storage, Tensor, Value};
use super::archive::Archive;
use super::bytes::Bytes;
use super::element::Order;
use super::error::Error;
use super::kind::Kind;
use super::limits::Budget;

/// What a file of PyTorch has.
pub(super) struct Found {
    pub(super) kind: Kind,
    pub(super) within: Vec<String>,
    pub(super) left_out: Vec<String>,
    pub(super) left_out_more: usize,
    pub(super) tensors: BTreeMap<String, HostTensor>,
}

/// Whether an entry of an archive is the pickle that `torch.save` writes. It is in a folder named after the file.
pub(super) fn is_pickle(entry: &str) -> bool {
    entry == "data.pkl" || entry.ends_with("/data.pkl")
}

/// Reads an archive, as `torch.save` has written them since PyTorch 1.6.
pub(super) fn read_zip(archive: &Archive, budget: &mut Budget) -> Result<Found, Error> {
    let kind = Kind::PyTorch;
    let pickle = archive.names().filter(|name| is_pickle(name)).min_by_key(|name| name.len());
    let pickle = pickle.unwrap_or("data.pkl").to_owned();
    let folder = pickle.trim_end_matches("data.pkl").to_owned();
    if archive.has(&format!("{folder}constants.pkl")) {
        let problem = "a TorchScript archive, which is a program: save the state_dict() of the module in Python";
        return Err(Error::unsupported(kind, problem));
    }
    let byteorder = format!("{folder}byteorder");
    let order = match archive.has(&byteorder) && archive.read(&byteorder)?.starts_with(b"big") {
        true => Order::Big,
        false => Order::Little,
    };
    let pickle = archive.read(&pickle)?;
    let mut arena = Arena::new(kind, budget.limits.values);
    let root = Machine::new(Bytes::new(kind, &pickle)).run(&mut arena)?.0;
    drop(pickle);
    let content = unwrap(&arena, root)?;
    let counts = take(&content, budget)?;

    // A storage is read once, for all tensors in it.
    let mut by_storage: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (i, (_, tensor)) in content.tensors.iter().enumerate() {
        let key = arena.key(arena.storage(tensor))?;
        by_storage.entry(key).or_default().push(i);
    }
    let mut tensors = BTreeMap::new();
    for (key, members) in by_storage {
        let data = archive.read(&format!("{folder}data/{key}"))?;
        for i in members {
            let (name, tensor) = content.tensors[i];
            tensors.insert(name.to_owned(), build(&arena, name, tensor, &data, counts[i], order)?);
        }
    }
    let Content { within, left_out, left_out_more, .. } = content;
    Ok(Found { kind, within, left_out, left_out_more, tensors })
}

/// The number that a file of PyTorch before 1.6 starts with, as a pickle has it.
const LEGACY_MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
/// The only version of that format.
const LEGACY_PROTOCOL: i64 = 1001;

/// Reads what `torch.save` wrote before PyTorch 1.6: pickles of a magic number, a version, facts of the machine, the
/// object and the keys of the storages; then for each storage the number of its elements, and these.
pub(super) fn read_legacy(bytes: &[u8], budget: &mut Budget) -> Result<Found, Error> {
    let kind = Kind::PyTorchLegacy;
    let mut arena = Arena::new(kind, budget.limits.values);
    let mut rest = Bytes::new(kind, bytes);
    let next = |arena: &mut Arena, rest: &mut Bytes| -> Result<Id, Error> {
        let (id, behind) = Machine::new(*rest).run(arena)?;
        *rest = behind;
        Ok(id)
    };
    let magic = next(&mut arena, &mut rest)?;
    if !matches!(arena.value(magic), Value::Long(digits) if *digits == LEGACY_MAGIC) {
        return Err(Error::unsupported(kind, "a pickle that torch.save did not write: it has no storages of tensors"));
    }
    let protocol = next(&mut arena, &mut rest)?;
    if !matches!(arena.value(protocol), Value::Int(LEGACY_PROTOCOL)) {
        return Err(Error::unsupported(kind, "another version of the format than 1001"));
    }
    next(&mut arena, &mut rest)?;
    let root = next(&mut arena, &mut rest)?;
    let keys = next(&mut arena, &mut rest)?;
    let Value::List(keys) = arena.value(keys) else {
        return Err(Error::damaged(kind, "there is no list of storages behind the object"));
    };
    let content = unwrap(&arena, root)?;
    let counts = take(&content, budget)?;

    let mut elements = BTreeMap::new();
    for storage in arena.storages() {
        elements.entry(arena.key(storage)?).or_insert(storage.element);
    }
    let mut storages: BTreeMap<String, &[u8]> = BTreeMap::new();
    for &key in keys {
        let key = arena.key_text(key)?;
        let count = rest.u64(&format!("storage {key}"))?;
        let element = elements.get(&key).copied().flatten();
        let element =
            element.ok_or_else(|| Error::damaged(kind, format!("nothing tells the type of storage {key}")))?;
        let data = rest.take(count.saturating_mul(element.size() as u64), &format!("storage {key}"))?;
        if storages.insert(key.clone(), data).is_some() {
            return Err(Error::damaged(kind, format!("storage {key} is there twice")));
        }
    }
    let mut tensors = BTreeMap::new();
    for ((name, tensor), count) in content.tensors.iter().zip(counts) {
        let key = arena.key(arena.storage(tensor))?;
        let data = storages.get(&key).ok_or_else(|| Error::damaged(kind, format!("there is no storage {key}")))?;
        tensors.insert((*name).to_owned(), build(&arena, name, tensor, data, count, Order::Little)?);
    }
    let Content { within, left_out, left_out_more, .. } = content;
    Ok(Found { kind, within, left_out, left_out_more, tensors })
}

/// Takes all tensors from the budget. Gives the number of elements of each.
fn take(content: &Content, budget: &mut Budget) -> Result<Vec<usize>, Error> {
    content.tensors.iter().map(|(name, tensor)| budget.take(name, &tensor.view.shape)).collect()
}

/// A tensor of `count` elements from the bytes of its storage.
fn build(
    arena: &Arena,
    name: &str,
    tensor: &Tensor,
    data: &[u8],
    count: usize,
    order: Order,
) -> Result<HostTensor, Error> {
    let Storage { class, element, elements, .. } = arena.storage(tensor);
    let element = tensor.element.or(*element);
    let element = element.ok_or_else(|| {
        let problem = format!("{name} lies in a {}: numbers of up to 64 bits are read", arena.name(*class));
        Error::unsupported(arena.kind, problem)
    })?;
    let view = &tensor.view;
    // A storage without a type counts bytes.
    let claimed =
        if tensor.element.is_some() { data.len() as u64 } else { elements.saturating_mul(element.size() as u64) };
    let (end, has) = (view.end(), claimed.min(data.len() as u64) / element.size() as u64);
    if end.is_none_or(|end| end > has) {
        let reaches = end.map_or_else(|| "beyond all numbers".into(), |end| format!("to element {end}"));
        let problem = format!("{name} reaches {reaches} of a storage of {has}");
        return Err(Error::damaged(arena.kind, problem));
    }
    let values = if view.is_contiguous() {
        let start = if count == 0 { 0 } else { view.offset as usize * element.size() };
        element.values(&data[start..], count, order)
    } else {
        element.strided(data, view, count, order)
    };
    Ok(HostTensor { shape: view.shape.iter().map(|&size| size as usize).collect(), data: values })
}

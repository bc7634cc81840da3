//! ZIP archives in memory. The crate `rawzip` finds the entries, and takes no memory for what an archive claims.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{self, Read as _};

use flate2::bufread::DeflateDecoder;
use rawzip::{CompressionMethod, ZipArchive, ZipArchiveEntryWayfinder, ZipSliceArchive};

use super::error::Error;
use super::kind::Kind;
use super::limits::{Limits, check_name};

/// An archive, and where its entries are.
pub(super) struct Archive<'a> {
    kind: Kind,
    bytes: &'a [u8],
    archive: ZipSliceArchive<&'a [u8]>,
    entries: BTreeMap<String, (CompressionMethod, ZipArchiveEntryWayfinder)>,
    /// The most bytes of an entry when it is unpacked.
    most: u64,
    /// The bytes that all entries may still have when they are unpacked. Without that limit, many entries could be the
    /// same few bytes of a small archive.
    left: Cell<u64>,
}

impl<'a> Archive<'a> {
    pub(super) fn new(kind: Kind, bytes: &'a [u8], limits: Limits) -> Result<Self, Error> {
        // An entry for each tensor, and some about all of them.
        let most = limits.tensors.saturating_add(1000);
        let archive = ZipArchive::from_slice(bytes).map_err(|error| damaged(kind, &error))?;
        let mut entries = BTreeMap::new();
        for entry in archive.entries() {
            let entry = entry.map_err(|error| damaged(kind, &error))?;
            let name = String::from_utf8_lossy(entry.file_path().as_bytes()).into_owned();
            check_name(&name)?;
            if entries.len() == most {
                let (what, needs) = ("the archive".into(), "more entries".into());
                return Err(Error::Limit { what, needs, allowed: most as u64 });
            }
            if entries.insert(name.clone(), (entry.compression_method(), entry.wayfinder())).is_some() {
                return Err(Error::damaged(kind, format!("the archive has {name} twice")));
            }
        }
        // Numbers of 64 bits become f32. What stands beside them, such as headers, is little larger than when it is packed.
        let left = Cell::new(limits.bytes.saturating_mul(2).saturating_add(bytes.len() as u64));
        Ok(Self { kind, bytes, archive, entries, most: limits.bytes, left })
    }

    /// The same, as a file of another kind.
    pub(super) fn of_kind(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// The bytes of an entry. Their checksum is checked.
    pub(super) fn read(&self, name: &str) -> Result<Cow<'a, [u8]>, Error> {
        let missing = || Error::damaged(self.kind, format!("the archive has no {name}"));
        let &(method, wayfinder) = self.entries.get(name).ok_or_else(missing)?;
        let entry = self.archive.get_entry(wayfinder).map_err(|error| damaged(self.kind, &error))?;
        let size = wayfinder.uncompressed_size_hint();
        let exceeds = |what: String, allowed| Err(Error::Limit { what, needs: format!("{size} bytes"), allowed });
        if size > self.most {
            return exceeds(format!("{name} in the archive"), self.most);
        }
        match self.left.get().checked_sub(size) {
            Some(left) => self.left.set(left),
            None => return exceeds(format!("{name} in the archive, behind others,"), self.left.get()),
        }
        let wrong = |error: io::Error| Error::damaged(self.kind, format!("{name} in the archive: {error}"));
        if method == CompressionMethod::STORE {
            let (from, to) = entry.compressed_data_range();
            let data = self.bytes.get(from as usize..to as usize).ok_or_else(missing)?;
            io::copy(&mut entry.verifying_reader(data), &mut io::sink()).map_err(wrong)?;
            return Ok(Cow::Borrowed(data));
        }
        if method != CompressionMethod::DEFLATE {
            let problem = format!("{name} in the archive is compressed as {method}: only deflate is read");
            return Err(Error::unsupported(self.kind, problem));
        }
        // It grows as its bytes come, and never beyond what it claims.
        let mut bytes = Vec::new();
        let decoder = DeflateDecoder::new(entry.data()).take(size.saturating_add(1));
        entry.verifying_reader(decoder).read_to_end(&mut bytes).map_err(wrong)?;
        Ok(Cow::Owned(bytes))
    }
}

fn damaged(kind: Kind, error: &rawzip::Error) -> Error {
    Error::damaged(kind, format!("not a usable ZIP archive: {error}"))
}

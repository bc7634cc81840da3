//! ZIP archives in memory. The crate `rawzip` finds the entries, and takes no memory for what an archive claims.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Read as _};

use flate2::bufread::DeflateDecoder;
use rawzip::{CompressionMethod, ZipArchive, ZipArchiveEntryWayfinder, ZipSliceArchive};

use super::error::Error;
use super::kind::Kind;

/// An archive, and where its entries are.
pub(super) struct Archive<'a> {
    kind: Kind,
    bytes: &'a [u8],
    archive: ZipSliceArchive<&'a [u8]>,
    entries: BTreeMap<String, (CompressionMethod, ZipArchiveEntryWayfinder)>,
}

impl<'a> Archive<'a> {
    /// `most`: the most entries.
    pub(super) fn new(kind: Kind, bytes: &'a [u8], most: usize) -> Result<Self, Error> {
        let archive = ZipArchive::from_slice(bytes).map_err(|error| damaged(kind, &error))?;
        let mut entries = BTreeMap::new();
        for entry in archive.entries() {
            let entry = entry.map_err(|error| damaged(kind, &error))?;
            let name = String::from_utf8_lossy(entry.file_path().as_bytes()).into_owned();
            if entries.len() == most {
                let (what, needs) = ("the archive".into(), "more entries".into());
                return Err(Error::Limit { what, needs, allowed: most as u64 });
            }
            if entries.insert(name.clone(), (entry.compression_method(), entry.wayfinder())).is_some() {
                return Err(Error::damaged(kind, format!("the archive has {name} twice")));
            }
        }
        Ok(Self { kind, bytes, archive, entries })
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

    /// The bytes of an entry, which may be at most `most`. Their checksum is checked.
    pub(super) fn read(&self, name: &str, most: u64) -> Result<Cow<'a, [u8]>, Error> {
        let missing = || Error::damaged(self.kind, format!("the archive has no {name}"));
        let &(method, wayfinder) = self.entries.get(name).ok_or_else(missing)?;
        let entry = self.archive.get_entry(wayfinder).map_err(|error| damaged(self.kind, &error))?;
        let size = wayfinder.uncompressed_size_hint();
        if size > most {
            let (what, needs) = (format!("{name} in the archive"), format!("{size} bytes"));
            return Err(Error::Limit { what, needs, allowed: most });
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

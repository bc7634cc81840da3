//! Reads numbers and parts of a file, and never beyond its end.

use super::error::Error;
use super::kind::Kind;

/// The rest of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bytes<'a> {
    kind: Kind,
    rest: &'a [u8],
}

impl<'a> Bytes<'a> {
    pub(super) fn new(kind: Kind, bytes: &'a [u8]) -> Self {
        Self { kind, rest: bytes }
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `count` bytes.
    pub(super) fn take(&mut self, count: u64, what: &str) -> Result<&'a [u8], Error> {
        let left = self.rest.len() as u64;
        if count > left {
            return Err(Error::Truncated { kind: self.kind, what: what.into(), needs: count, left });
        }
        let (part, rest) = self.rest.split_at(count as usize);
        self.rest = rest;
        Ok(part)
    }

    /// The next `N` bytes.
    pub(super) fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], Error> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N as u64, what)?);
        Ok(array)
    }

    pub(super) fn byte(&mut self, what: &str) -> Result<u8, Error> {
        Ok(self.array::<1>(what)?[0])
    }

    pub(super) fn u16(&mut self, what: &str) -> Result<u16, Error> {
        Ok(u16::from_le_bytes(self.array(what)?))
    }

    pub(super) fn u32(&mut self, what: &str) -> Result<u32, Error> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    pub(super) fn i32(&mut self, what: &str) -> Result<i32, Error> {
        Ok(i32::from_le_bytes(self.array(what)?))
    }

    pub(super) fn u64(&mut self, what: &str) -> Result<u64, Error> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// A number of things that take at least `least` bytes each.
    pub(super) fn count(&mut self, least: u64, what: &str) -> Result<u64, Error> {
        let count = self.u64(what)?;
        let (needs, left) = (count.saturating_mul(least), self.rest.len() as u64);
        if needs > left {
            return Err(Error::Truncated { kind: self.kind, what: what.into(), needs, left });
        }
        Ok(count)
    }

    /// The bytes of a line, without its end.
    pub(super) fn line(&mut self, what: &str) -> Result<&'a [u8], Error> {
        let left = self.rest.len() as u64;
        let end = self.rest.iter().position(|&byte| byte == b'\n').map_or(left, |end| end as u64);
        let line = self.take(end, what)?;
        self.take(1, what)?;
        Ok(line)
    }
}

//! Bytes that are kept on a disk or shipped. A first line says what they are, and has a checksum of them.

/// `body` behind its first line. `kind` names the contents, their format and their version, without a line break.
pub(crate) fn seal(kind: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = line(kind, body);
    bytes.extend_from_slice(body);
    bytes
}

/// The body that [`seal`] got with the same kind, or `None` if any byte is missing, surplus or different.
pub(crate) fn unseal<'a>(kind: &str, bytes: &'a [u8]) -> Option<&'a [u8]> {
    let (line_end, _) = bytes.iter().enumerate().find(|(_, byte)| **byte == b'\n')?;
    let (found, body) = bytes.split_at(line_end + 1);
    (found == line(kind, body)).then_some(body)
}

fn line(kind: &str, body: &[u8]) -> Vec<u8> {
    format!("octconv {kind} {} {:08x}\n", body.len(), crc32fast::hash(body)).into_bytes()
}

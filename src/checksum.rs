//! Bytes that are kept on a disk or shipped, behind a line that tells what they are and that they are whole.

/// `body` behind its line. `kind` has no line break; it names the contents, their format and their version.
pub(crate) fn seal(kind: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = line(kind, body);
    bytes.extend_from_slice(body);
    bytes
}

/// The body of what [`seal`] made of the same kind; `None` where a byte is missing, surplus or another.
pub(crate) fn unseal<'a>(kind: &str, bytes: &'a [u8]) -> Option<&'a [u8]> {
    let (line_end, _) = bytes.iter().enumerate().find(|(_, byte)| **byte == b'\n')?;
    let (found, body) = bytes.split_at(line_end + 1);
    (found == line(kind, body)).then_some(body)
}

fn line(kind: &str, body: &[u8]) -> Vec<u8> {
    format!("octconv {kind} {} {:08x}\n", body.len(), crc32fast::hash(body)).into_bytes()
}

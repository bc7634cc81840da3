//! Safetensors files out of bytes that a fuzzer can change without counting.

/// A safetensors file whose header is the first line of `data`, and whose tensors are the rest.
pub(crate) fn safetensors(data: &[u8]) -> Vec<u8> {
    let mut parts = data.splitn(2, |&byte| byte == b'\n');
    let (header, values) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    [&(header.len() as u64).to_le_bytes(), header, values].concat()
}

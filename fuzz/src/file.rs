//! Files out of bytes that a fuzzer can change without counting.

/// A safetensors file whose header is the first line of `data`, and whose tensors are the rest.
pub(crate) fn safetensors(data: &[u8]) -> Vec<u8> {
    let mut parts = data.splitn(2, |&byte| byte == b'\n');
    let (header, values) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    [&(header.len() as u64).to_le_bytes(), header, values].concat()
}

/// A ZIP archive of entries that are stored as they are. The checksums are right, which no change of an archive leaves.
pub(crate) fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in entries {
        let start = file.len() as u32;
        let (checksum, size) = (crc32fast::hash(data), data.len() as u32);
        // Version 2.0, without flags, stored, without a time.
        let mut facts = [20u16, 0, 0, 0, 0].map(u16::to_le_bytes).concat();
        facts.extend([checksum, size, size, name.len() as u32].map(u32::to_le_bytes).concat());
        directory.extend([b"PK\x01\x02\x14\0", &facts[..], &[0; 10], &start.to_le_bytes(), name.as_bytes()].concat());
        file.extend([b"PK\x03\x04", &facts[..], name.as_bytes(), data].concat());
    }
    let [entries, length, start] = [entries.len(), directory.len(), file.len()].map(|number| number as u32);
    let counts = [0, 0, entries as u16, entries as u16].map(u16::to_le_bytes).concat();
    let places = [length, start].map(u32::to_le_bytes).concat();
    [&file[..], &directory, b"PK\x05\x06", &counts, &places, &[0; 2]].concat()
}

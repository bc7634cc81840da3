//! Files that are cut, changed, or crafted.

use std::fs;
use std::io::Write as _;

use octconv_import::tensors::{Error, Limits, read};

use crate::{bytes, files, fixture, read_bytes, refusal};

/// All fixtures that are whole.
fn whole() -> impl Iterator<Item = (String, Vec<u8>)> {
    let paths = ["pytorch", "numpy", "mxnet", "refused"].into_iter().flat_map(files);
    let networks = ["networks/plain.gluon.params", "pytorch/plain.safetensors"].map(fixture);
    paths.chain(networks).map(|path| (path.display().to_string(), fs::read(&path).unwrap()))
}

#[test]
fn files_that_are_cut_are_refused() {
    for (name, file) in whole() {
        // Large ones at some lengths, and at all where their heads and tails are.
        let step = if file.len() > 4000 { 37 } else { 1 };
        let lengths = (0..file.len().min(200))
            .chain((0..file.len()).step_by(step))
            .chain(file.len().saturating_sub(200)..file.len());
        for length in lengths {
            assert!(read_bytes(&file[..length]).is_err(), "{name} of {length} bytes");
        }
    }
}

#[test]
fn no_byte_makes_a_reader_panic() {
    let few = Limits { bytes: 1 << 20, tensors: 100, values: 1 << 16 };
    for (_, mut file) in whole() {
        let step = file.len().div_ceil(150);
        for at in (0..file.len()).step_by(step) {
            let was = file[at];
            for byte in [0, 1, 0x7f, 0x80, 0xff, was ^ 1, was.wrapping_add(1)] {
                file[at] = byte;
                // Whatever comes out, it is within the limits.
                if let Ok(found) = read(&file, few) {
                    let values: usize = found.checkpoint.tensors.values().map(|tensor| tensor.data.len()).sum();
                    assert!(values <= 1 << 19);
                    assert!(
                        found.checkpoint.tensors.values().all(|t| t.data.len() == t.shape.iter().product::<usize>())
                    );
                }
            }
            file[at] = was;
        }
    }
}

/// A ZIP archive of deflated entries.
fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = rawzip::ZipArchiveWriter::new(Vec::new());
    for (name, data) in entries {
        let file = writer.new_file(name).compression_method(rawzip::CompressionMethod::DEFLATE);
        let (mut entry, config) = file.start().unwrap();
        let encoder = flate2::write::DeflateEncoder::new(&mut entry, flate2::Compression::best());
        let mut data_writer = config.wrap(encoder);
        data_writer.write_all(data).unwrap();
        let (encoder, descriptor) = data_writer.finish().unwrap();
        encoder.finish().unwrap();
        entry.finish(descriptor).unwrap();
    }
    writer.finish().unwrap()
}

#[test]
fn archives_do_not_burst() {
    let zeros = vec![0; 8 << 20];
    let file = archive(&[("a.npy", &zeros)]);
    assert!(file.len() < 1 << 17);
    let few = Limits { bytes: 1 << 20, ..Limits::default() };
    let refused = read(&file, few).unwrap_err();
    assert!(matches!(&refused, Error::Limit { what, .. } if what == "a.npy in the archive"), "{refused}");
    // The same if the directory claims that it is small: it stands at the end, behind the signature PK 1 2.
    let mut file = file;
    let at = file.windows(4).rposition(|window| window == b"PK\x01\x02").unwrap();
    file[at + 24..at + 28].copy_from_slice(&1000u32.to_le_bytes());
    let refused = refusal(&file);
    assert!(refused.contains("a.npy in the archive: "), "{refused}");
    // Many small ones.
    let array = bytes("numpy/plain.npy");
    let names: Vec<String> = (0..50).map(|i| format!("{i}.npy")).collect();
    let entries: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), array.as_slice())).collect();
    let few = Limits { bytes: 24 * 49, ..Limits::default() };
    assert!(matches!(read(&archive(&entries), few), Err(Error::Limit { .. })));
    assert!(read(&archive(&entries), Limits { bytes: 24 * 50, ..few }).is_ok());
    assert!(matches!(read(&archive(&entries), Limits { tensors: 49, ..few }), Err(Error::Limit { .. })));
}

/// Entries of a directory may be the same bytes.
#[test]
fn bytes_of_an_archive_are_not_read_again_and_again() {
    // Not an array, and much larger than the archive.
    let objects = b"\x93NUMPY\x01\0\x3c\0{'descr': '|O', 'fortran_order': False, 'shape': (), }        ";
    let mut entry = objects.to_vec();
    entry.resize(1 << 20, 0);
    let file = archive(&[("0.npy", &entry)]);
    let at = file.windows(4).rposition(|window| window == b"PK\x01\x02").unwrap();
    let (local, rest) = file.split_at(at);
    let end = rest.windows(4).rposition(|window| window == b"PK\x05\x06").unwrap();
    let (record, end) = rest.split_at(end);
    let name = record.windows(5).position(|window| window == b"0.npy").unwrap();
    let records: Vec<u8> = (0..50u8)
        .flat_map(|i| {
            let mut record = record.to_vec();
            record[name] = b'0' + i;
            record
        })
        .collect();
    let mut end = end.to_vec();
    end[8..12].copy_from_slice(&[50, 0, 50, 0]);
    end[12..16].copy_from_slice(&(records.len() as u32).to_le_bytes());
    let many = [local, &records, &end].concat();
    assert!(many.len() < 10_000);
    let few = Limits { bytes: 2 << 20, ..Limits::default() };
    let refused = read(&many, few).unwrap_err().to_string();
    let wanted = " in the archive, behind others, needs 1048576 bytes, and ";
    assert!(refused.contains(wanted), "{refused}");
    // There is room for four.
    assert!(refused.starts_with("4.npy"), "{refused}");
}

#[test]
fn messages_are_short_lines() {
    let array = bytes("numpy/plain.npy");
    let long = refusal(&archive(&[(&format!("{}.npy", "n".repeat(1001)), &array)]));
    assert_eq!(long, format!("the name {}... needs 1005 bytes, and 1000 are allowed", "n".repeat(40)));
    assert_eq!(
        refusal(&archive(&[("a\n.npy", b"")])),
        r"NumPy (.npz): a\n needs 6 bytes, and 0 are left: the file is truncated or damaged"
    );
    let header = format!("{{'descr': '{}', 'fortran_order': False, 'shape': (), }}", "x".repeat(60_000));
    let array = [b"\x93NUMPY\x01\0", &(header.len() as u16).to_le_bytes()[..], header.as_bytes()].concat();
    assert!(refusal(&array).len() < 250, "{}", refusal(&array));
    // Names of MXNet are as long as they say.
    let mut names = bytes("mxnet/v2.params");
    let at = names.windows(5).position(|window| window == b"arg:a").unwrap();
    names.splice(at - 8..at + 5, [&2000u64.to_le_bytes()[..], &[b'n'; 2000]].concat());
    assert!(refusal(&names).ends_with("... needs 2000 bytes, and 1000 are allowed"), "{}", refusal(&names));
}

#[test]
fn archives_have_each_name_once_and_right_checksums() {
    let array = bytes("numpy/plain.npy");
    assert!(refusal(&archive(&[("a.npy", &array), ("a.npy", &array)])).contains("the archive has a.npy twice"));
    // NumPy takes the ending away.
    assert!(refusal(&archive(&[("a.npy", &array), ("a", &array)])).contains("a is there twice"));
    let mut file = bytes("pytorch/plain.pth");
    let two = 2.0f32.to_le_bytes();
    let at = file.windows(4).position(|window| window == two).unwrap();
    file[at] ^= 1;
    assert!(refusal(&file).contains("plain/data/0 in the archive: "), "{}", refusal(&file));
    assert!(refusal(&archive(&[("x/data.pkl", b"\x80\x02}.")])).contains("it holds an empty dictionary"));
}

#[test]
fn headers_of_arrays_are_checked() {
    let array = |header: &str, more: &[u8]| {
        [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), more].concat()
    };
    let shaped =
        |shape: &str| array(&format!("{{'descr': '<f4', 'fortran_order': True, 'shape': {shape}, }}"), &[0; 16]);
    for (file, wanted) in [
        (shaped("(4294967296, 4294967296)"), "array needs 18446744073709551615 bytes, and 16 are left"),
        (shaped("(5,)"), "array needs 20 bytes, and 16 are left"),
        (shaped("(3,)"), "4 bytes stand behind the elements of array"),
        (shaped(&format!("({})", "1, ".repeat(100))), "array has more than 64 dimensions"),
        (shaped(&format!("({})", "(".repeat(10_000))), "the header of array is damaged"),
        (array("{}", &[]), "the header of array is damaged"),
        (b"\x93NUMPY\x02\0\xff\xff\xff\xff{".to_vec(), "the header of array needs 4294967295 bytes"),
        (b"\x93NUMPY\x09\0\x02\0{}".to_vec(), "array has the format's version 9: 1 to 3 are read"),
    ] {
        assert!(refusal(&file).contains(wanted), "{}\n  wanted {wanted}", refusal(&file));
    }
    // Sizes whose product is 0, whatever the others are.
    let empty = array("{'descr': '<f4', 'fortran_order': True, 'shape': (0, 9999999999999999999), }", &[]);
    assert_eq!(read_bytes(&empty).unwrap().checkpoint.get("array"), Some([].as_slice()));
}

#[test]
fn lists_of_arrays_are_checked() {
    let head = |count: u64| [0x112u64, 0, count].map(u64::to_le_bytes).concat();
    let array = |words: &[u32]| [head(1), words.iter().flat_map(|word| word.to_le_bytes()).collect()].concat();
    let v2 = 0xF993_FAC9;
    for (file, wanted) in [
        (head(1 << 60), "the number of arrays needs 9223372036854775808 bytes, and 0 are left"),
        (array(&[0xF993_FACB, 0, 1]), "array 0 has the unknown magic number 0xf993facb"),
        (array(&[v2, 0, 1 << 30, 0, 0]), "array 0 has 1073741824 dimensions: must be at most 32"),
        (array(&[v2, 0, u32::MAX, 0, 0]), "array 0 is empty"),
        (array(&[0, 0, 0]), "array 0 is empty"),
        (array(&[v2, 0, 1, 0, 1 << 31, 1, 0, 0]), "array 0 has a negative size"),
        (array(&[v2, 0, 2, 0, 1 << 30, 0, 1 << 30, 1, 0, 0]), "array 0 needs 18446744073709551615 bytes"),
        (array(&[v2, 0, 1, 1, 0, 1, 0, 11, 0]), "array 0 has elements of the unknown type 11"),
        // Sizes of 32 bits, before V1.
        (array(&[2, u32::MAX, u32::MAX, 1, 0, 0]), "array 0 needs 18446744073709551615 bytes"),
    ] {
        assert!(refusal(&file).contains(wanted), "{}\n  wanted {wanted}", refusal(&file));
    }
    let whole = bytes("mxnet/v2.params");
    assert!(refusal(&[&whole[..], b"\0"].concat()).contains("1 bytes stand behind the last name"));
    let mut names = whole.clone();
    let at = whole.windows(5).position(|window| window == b"arg:a").unwrap();
    names[at] = 0xff;
    assert!(refusal(&names).contains("a name is not UTF-8"));
    let mut count = whole;
    count[at - 16] = 1;
    assert!(refusal(&count).contains("2 arrays, but 1 names"));
}

use octconv_import::tensors::{Limits, read};

use crate::{file, fit};

/// The most bytes of tensors.
const MOST: u64 = 1 << 22;

/// The bytes of a file of tensors of any framework: as they are, as an array of an archive of NumPy, and as the pickle and the
/// storages of an archive of PyTorch.
pub fn foreign(data: &[u8]) {
    whole(data);
    whole(&file::archive(&[("a.npy", data), ("b.npy", data)]));
    let storages = ["x/data/0", "x/data/1", "x/data/2"].map(|name| (name, data));
    whole(&file::archive(&[&[("x/data.pkl", data)], &storages[..]].concat()));
}

fn whole(bytes: &[u8]) {
    let limits = Limits { bytes: MOST, ..Limits::default() };
    let tensors = match read(bytes, limits) {
        Ok(tensors) => tensors,
        Err(error) => return told(&error.to_string()),
    };
    assert!(tensors.left_out.len() <= 10 && tensors.left_out.iter().all(|text| text.len() < 10_000));
    let elements: usize = tensors.checkpoint.tensors.values().map(|tensor| tensor.data.len()).sum();
    for (name, tensor) in &tensors.checkpoint.tensors {
        assert!(name.len() <= 1000);
        assert_eq!(tensor.shape.iter().product::<usize>(), tensor.data.len());
    }
    assert!(elements as u64 * 4 <= MOST.max(4 * bytes.len() as u64), "{elements} elements");
    fit::to_small_network(tensors.checkpoint);
}

/// An error is one line that can be read, whatever the file has.
fn told(error: &str) {
    assert!(!error.is_empty() && error.len() <= 100_000, "{} bytes", error.len());
    assert!(!error.contains(char::is_control), "{error:?}");
}

use octconv_import::tensors::{Limits, read};

use crate::fit;

/// The most bytes of tensors.
const MOST: u64 = 1 << 22;

/// The bytes of a file of tensors of any framework.
pub fn foreign(data: &[u8]) {
    let limits = Limits { bytes: MOST, ..Limits::default() };
    let Ok(tensors) = read(data, limits) else { return };
    let elements: usize = tensors.checkpoint.tensors.values().map(|tensor| tensor.data.len()).sum();
    for tensor in tensors.checkpoint.tensors.values() {
        assert_eq!(tensor.shape.iter().product::<usize>(), tensor.data.len());
    }
    assert!(elements as u64 * 4 <= MOST.max(4 * data.len() as u64), "{elements} elements");
    fit::to_small_network(tensors.checkpoint);
}

use octconv::network::{Checkpoint, check_safetensors};

use crate::{check, file, fit};

/// The bytes of a safetensors file: as they are, and as a header with the tensors behind it.
pub fn checkpoint(data: &[u8]) {
    read(data);
    read(&file::safetensors(data));
}

fn read(bytes: &[u8]) {
    let checkpoint = match Checkpoint::from_safetensors(bytes) {
        Ok(checkpoint) => checkpoint,
        Err(error) => return check::refused(&error),
    };
    assert_eq!(check_safetensors(bytes), Ok(()));
    let written = checkpoint.to_safetensors().unwrap();
    fit::assert_same(&Checkpoint::from_safetensors(&written).unwrap(), &checkpoint);
    fit::to_small_network(checkpoint);
}

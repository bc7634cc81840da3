//! Files as PyTorch, NumPy and MXNet write them.

use std::fs;

use octconv::network::Checkpoint;
use octconv_import::tensors::{Error, Kind, Limits, read};

use crate::{bytes, files, read_bytes, refusal};

#[test]
fn files_give_what_their_programs_read() {
    for (folder, count) in [("pytorch", 23), ("numpy", 4), ("mxnet", 6)] {
        let files = files(folder);
        assert_eq!(files.len(), count, "{files:?}");
        for file in files {
            let expected = fs::read(file.with_extension("safetensors")).unwrap();
            let expected = Checkpoint::from_safetensors(&expected).unwrap().without_counters();
            let found = read_bytes(&fs::read(&file).unwrap()).unwrap_or_else(|error| panic!("{file:?}: {error}"));
            assert_eq!(found.checkpoint.without_counters(), expected, "{file:?}");
        }
    }
}

#[test]
fn the_content_tells_the_kind() {
    for (name, kind) in [
        ("pytorch/plain.pth", Kind::PyTorch),
        ("pytorch/plain.safetensors", Kind::Safetensors),
        ("pytorch/legacy_views.pth", Kind::PyTorchLegacy),
        ("numpy/plain.npy", Kind::Npy),
        ("numpy/types.npz", Kind::Npz),
        ("mxnet/v2.params", Kind::MxNet),
    ] {
        assert_eq!(read_bytes(&bytes(name)).unwrap().kind, kind, "{name}");
    }
    // A safetensors file whose header has as many bytes as MXNet's magic number says.
    let mut header = br#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#.to_vec();
    header.resize(0x112, b' ');
    let file = [&0x112u64.to_le_bytes()[..], &header, &1.5f32.to_le_bytes()].concat();
    assert_eq!(read_bytes(&file).unwrap().checkpoint.get("a"), Some([1.5].as_slice()));
    for (file, wanted) in [
        (&b"hello, world"[..], "not a file of tensors of a kind that is known: safetensors, PyTorch (.pth, .pt), "),
        (b"", "not a file of tensors"),
        (&[&[0; 257][..], b"ustar", &[0; 300]].concat(), "a TAR archive: unpack it"),
    ] {
        assert!(refusal(file).starts_with(wanted), "{}", refusal(file));
    }
}

#[test]
fn wrappers_are_told() {
    for (name, within) in [
        ("plain", &[][..]),
        ("in_state_dict", &["state_dict"]),
        ("in_model_state_dict", &["model_state_dict"]),
        ("in_net", &["net"]),
        ("in_ema_alone", &["state_dict_ema"]),
        ("in_model_in_state_dict", &["model", "state_dict"]),
    ] {
        assert_eq!(read_bytes(&bytes(&format!("pytorch/{name}.pth"))).unwrap().within, within, "{name}");
    }
    let beside = read_bytes(&bytes("pytorch/beside_numbers.pth")).unwrap();
    let wanted = ["epoch (a number)", "best (the class or function torch.nn.modules.linear.Identity)"];
    assert_eq!((beside.left_out, beside.left_out_more), (wanted.map(String::from).into(), 0));
}

#[test]
fn other_files_are_refused_in_plain_words() {
    let mut names: Vec<_> = files("refused").iter().map(|file| file.file_name().unwrap().to_owned()).collect();
    for (name, wanted) in [
        ("module.pth", "PyTorch (ZIP): it holds a whole pickled module, torch.nn.modules.linear.Linear, which only"),
        ("module_legacy.pth", "PyTorch (legacy): it holds a whole pickled module, torch.nn.modules.linear.Linear"),
        ("module_in_model.pth", "Save its state_dict() in Python: torch.save(model.state_dict(), \"weights.pth\")"),
        ("script.pth", "a TorchScript archive, which is a program: save the state_dict() of the module"),
        ("sparse.pth", "a is made by torch._utils._rebuild_sparse_tensor: only dense tensors"),
        ("quantised.pth", "a is made by torch._utils._rebuild_qtensor: only dense tensors"),
        ("complex.pth", "a lies in a torch.ComplexFloatStorage: numbers of up to 64 bits are read"),
        ("list.pth", "it holds a list of 1, not a dictionary of tensors"),
        ("tensor.pth", "it holds a tensor, not a dictionary of tensors"),
        ("empty.pth", "it holds an empty dictionary"),
        ("number.pth", "The keys that are there: epoch (a number), model_stat (a dictionary of 1), lr (a list of 1)"),
        ("number.pth", "; model_stat is near model_state"),
        ("objects.npz", "a holds objects of Python, which are never read"),
        ("records.npz", "a has elements of type [('x', '<f4'), ('y', '<i4')]: numbers of up to 64 bits are read"),
        ("zip.zip", "a ZIP archive with neither a data.pkl, as PyTorch's have, nor an .npy, as NumPy's have"),
        ("sparse.params", "array 0 is sparse: only dense arrays are read"),
        ("none.params", "array 0 is empty"),
        ("nothing.params", "there are no tensors in it"),
        ("twice.params", "a is there twice"),
    ] {
        let refusal = refusal(&bytes(&format!("refused/{name}")));
        assert!(refusal.contains(wanted), "{name}\n  gives  {refusal}\n  wanted {wanted}");
        names.retain(|other| other != name);
    }
    assert!(names.is_empty(), "{names:?} are not tested");
}

/// `octconv import` writes one for a network without weights.
#[test]
fn a_safetensors_file_may_be_empty() {
    let empty = Checkpoint::default();
    let found = read(&empty.to_safetensors().unwrap(), Limits::default()).unwrap();
    assert_eq!(found.checkpoint, empty);
}

#[test]
fn limits_are_kept() {
    // Of f32: 4 tensors of 100 bytes and less.
    let plain = bytes("pytorch/plain.pth");
    let with = |bytes: &[u8], limits| read(bytes, limits).map(|found| found.checkpoint.tensors.len());
    let limit = |result| matches!(result, Err(Error::Limit { .. }));
    // The pickle takes more than the two tensors.
    let fits = Limits { bytes: 1000, tensors: 2, values: 1000 };
    assert_eq!(with(&plain, fits).unwrap(), 2);
    assert!(limit(with(&plain, Limits { bytes: 100, ..fits })));
    assert!(limit(with(&plain, Limits { tensors: 1, ..fits })));
    assert!(limit(with(&plain, Limits { values: 20, ..fits })));
    let arrays = bytes("mxnet/v2.params");
    assert_eq!(with(&arrays, Limits { bytes: 28, ..fits }).unwrap(), 2);
    assert!(limit(with(&arrays, Limits { bytes: 27, ..fits })));
    let array = bytes("numpy/plain.npy");
    assert_eq!(with(&array, Limits { bytes: 24, ..fits }).unwrap(), 1);
    assert!(limit(with(&array, Limits { bytes: 23, ..fits })));
}

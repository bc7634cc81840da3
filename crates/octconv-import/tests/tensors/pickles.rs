//! Pickles that are written here, code by code.

use crate::{read_bytes, refusal};

/// The codes that start a file of PyTorch before 1.6, up to the object.
fn legacy_head() -> Vec<u8> {
    let magic = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
    [&magic[..], b"\x80\x02M\xe9\x03.", b"\x80\x02}."].concat()
}

/// A file with `object`, and a storage "0" of these floats.
pub fn legacy(object: &[u8], values: &[f32]) -> Vec<u8> {
    let mut file = legacy_head();
    file.extend(object);
    file.extend(b"\x80\x02]X\x01\0\0\0\x30a.");
    file.extend((values.len() as u64).to_le_bytes());
    file.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    file
}

/// The codes of a storage "0" of one element.
const STORAGE: &[u8] = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0\x30X\x03\0\0\0cpuK\x01tQ";

/// The codes of a tensor in storage "0" that claims `elements`. `view`: codes of offset, shape and strides.
pub fn tensor(elements: u8, view: &[u8]) -> Vec<u8> {
    in_storage(b"0", elements, view)
}

/// The same in a storage of this name.
fn in_storage(key: &[u8], elements: u8, view: &[u8]) -> Vec<u8> {
    let mut codes = b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX".to_vec();
    codes.extend((key.len() as u32).to_le_bytes());
    codes.extend(key);
    codes.extend(b"X\x03\0\0\0cpuK");
    codes.push(elements);
    codes.extend(b"tQ");
    codes.extend(view);
    codes.extend(b"\x89ccollections\nOrderedDict\n)RtR");
    codes
}

/// A pickle of a dictionary that has `value` as "a".
pub fn dictionary(value: &[u8]) -> Vec<u8> {
    [b"\x80\x02}X\x01\0\0\0a", value, b"s."].concat()
}

/// Offset 0, shape [2, 2], strides [2, 1].
pub const SQUARE: &[u8] = b"K\0K\x02K\x02\x86K\x02K\x01\x86";

#[test]
fn tensors_are_found() {
    let file = legacy(&dictionary(&tensor(4, SQUARE)), &[1.0, 2.0, 3.0, 4.0]);
    let found = read_bytes(&file).unwrap().checkpoint;
    assert_eq!((found.get("a").unwrap(), &found.tensors["a"].shape[..]), (&[1.0, 2.0, 3.0, 4.0][..], &[2, 2][..]));
}

#[test]
fn nothing_is_executed() {
    let folder = std::env::temp_dir().join("octconv-pickle-test");
    let command = format!("mkdir {}", folder.display());
    let system =
        format!("cos\nsystem\n(X{}{command}tR", String::from_utf8_lossy(&(command.len() as u32).to_le_bytes()));
    // In place of the whole object, beside a tensor, and as its storage.
    let alone = legacy(&[b"\x80\x02", system.as_bytes(), b"."].concat(), &[]);
    assert!(refusal(&alone).contains("it holds an object that os.system makes, not a dictionary of tensors"));
    let pair = [&tensor(4, SQUARE)[..], b"sX\x01\0\0\0b", system.as_bytes()].concat();
    let beside = read_bytes(&legacy(&dictionary(&pair), &[1.0; 4])).unwrap();
    assert_eq!(beside.left_out, ["b (an object that os.system makes)"]);
    let view = [&b"ctorch._utils\n_rebuild_tensor_v2\n("[..], system.as_bytes(), SQUARE, b"tR"].concat();
    assert!(refusal(&legacy(&dictionary(&view), &[1.0; 4])).contains("a tensor has no storage"));
    assert!(!folder.exists());
}

#[test]
fn damaged_pickles_are_refused() {
    let object = |codes: &[u8]| legacy(&[b"\x80\x02", codes, b"."].concat(), &[]);
    let with = |codes: &[u8]| legacy(&dictionary(codes), &[1.0; 4]);
    let many = [&b"("[..], &b"K\x01".repeat(70), b"t"].concat();
    let dimensions = [&b"K\0"[..], &many, &many].concat();
    let long = format!("c{}\nx\n", "m".repeat(2000));
    // Names of a text that the memo keeps.
    let text = [&b"X\xd0\x07\0\0"[..], &[b'm'; 2000], b"q\x010h\x01h\x01\x93"].concat();
    for (file, wanted) in [
        (object(b""), "its stack is empty"),
        (object(b"0"), "its stack is empty"),
        (object(b"t"), "a mark is missing"),
        (object(b"(K\x01a"), "its stack is empty"),
        (object(b"K\x01(0"), "its stack is empty"),
        (object(b"(K\x01d"), "a key has no value"),
        (object(b"h\x05"), "it recalls what it did not remember"),
        (object(b"\xff"), "it has the code 0xff, which torch.save does not write"),
        // A program of protocol 0.
        (object(b"i"), "it has the code 0x69"),
        (object(b"X\xff\xff\xff\xffa"), "the pickle needs 4294967295 bytes"),
        (object(b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffa"), "the pickle needs 18446744073709551615 bytes"),
        (object(b"\x8b\xff\xff\xff\xff1"), "the pickle needs 4294967295 bytes"),
        (object(b"K\x01Q"), "arguments are no tuple"),
        (object(b"K\x01K\x01\x86Q"), "an id is neither that of a storage nor of a module"),
        (object(long.as_bytes()), "the name of a class has more than 1000 bytes"),
        (object(&text), "the name of a class has more than 1000 bytes"),
        (with(b"ctorch._utils\n_rebuild_tensor_v2\n)R"), "a tensor has the wrong number of arguments"),
        (with(&tensor(4, b"K\0K\x02K\x02\x86K\x02\x85")), "a tensor has not as many strides as dimensions"),
        (with(&tensor(4, b"K\0J\xff\xff\xff\xffK\x02\x86K\x02K\x01\x86")), "not a number of at least 0"),
        (with(&tensor(4, b"K\0NN")), "arguments are no tuple"),
        (with(&tensor(4, &dimensions)), "a tensor has more than 64 dimensions"),
        // The whole of the storage and one element more; an offset; strides; and more than the storage is.
        (with(&tensor(4, b"K\0K\x05\x85K\x01\x85")), "a reaches to element 5 of a storage of 4"),
        (with(&tensor(4, b"K\x01K\x02K\x02\x86K\x02K\x01\x86")), "a reaches to element 5 of a storage of 4"),
        (with(&tensor(4, b"K\0K\x02K\x02\x86K\x04K\x01\x86")), "a reaches to element 6 of a storage of 4"),
        (with(&tensor(3, SQUARE)), "a reaches to element 4 of a storage of 3"),
        (with(&tensor(9, b"K\0K\x09\x85K\x01\x85")), "a reaches to element 9 of a storage of 4"),
        (
            with(&tensor(4, b"K\0K\x02K\x02\x86\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x86")),
            "a reaches beyond all numbers of a storage of 4",
        ),
    ] {
        let refusal = refusal(&file);
        assert!(refusal.contains(wanted), "{refusal}\n  wanted {wanted}");
    }
    // Twice the same name.
    let twice = [&tensor(4, SQUARE)[..], b"sX\x01\0\0\0a", &tensor(4, SQUARE)].concat();
    assert!(refusal(&legacy(&dictionary(&twice), &[1.0; 4])).contains("a is there twice"));
}

#[test]
fn long_names_are_refused() {
    let named = |length: usize| {
        let name = [&(length as u32).to_le_bytes()[..], &vec![b'n'; length]].concat();
        legacy(&[b"\x80\x02}X", &name[..], &tensor(4, SQUARE), b"s."].concat(), &[1.0; 4])
    };
    assert!(read_bytes(&named(1000)).is_ok());
    let wanted = format!("the name {}... needs 1001 bytes, and 1000 are allowed", "n".repeat(40));
    assert_eq!(refusal(&named(1001)), wanted);
    let key = legacy(&dictionary(&in_storage(&[b'n'; 1001], 4, SQUARE)), &[1.0; 4]);
    assert_eq!(refusal(&key), wanted);
}

#[test]
fn little_is_told_of_what_is_left_out() {
    let other = format!("X\x01\0\0\0bq\x02c{}\nx\n)Rq\x01", "m".repeat(900));
    let again = b"h\x02h\x01".repeat(100_000);
    let pairs = [&b"\x80\x02}(X\x01\0\0\0a"[..], &tensor(4, SQUARE), other.as_bytes(), &again, b"u."];
    let found = read_bytes(&legacy(&pairs.concat(), &[1.0; 4])).unwrap();
    assert_eq!((found.left_out.len(), found.left_out_more), (10, 99_991));
    assert!(found.left_out[9].starts_with("b (an object that mmm"), "{}", found.left_out[9]);
}

#[test]
fn small_pickles_do_not_grow() {
    let object = |codes: &[u8]| legacy(&[b"\x80\x02", codes, b"."].concat(), &[]);
    let limit = "the pickle needs more values, and 4194304 are allowed";
    // Values on the stack, which need no bytes of their own.
    assert!(refusal(&object(&[&b"N"[..], &b"2".repeat(5 << 20)].concat())).contains(limit));
    assert!(refusal(&object(&b"(".repeat(5 << 20))).contains(limit));
    // Names of a text that the memo keeps.
    let name = [&b"X\x84\x03\0\0"[..], &[b'm'; 900], b"q\x010X\x01\0\0\0xq\x020"].concat();
    assert!(refusal(&object(&[&name[..], &b"h\x01h\x02\x930".repeat(1 << 20)].concat())).contains(limit));
    // Tensors of the same lists of sizes and strides.
    let ones = [&b"("[..], &b"K\x01".repeat(64), b"t"].concat();
    let arguments =
        [&b"ctorch._utils\n_rebuild_tensor_v2\nq\x010("[..], STORAGE, b"K\0", &ones, &ones, b"tq\x020"].concat();
    let many = [&arguments[..], &b"h\x01h\x02R0".repeat(100_000)].concat();
    assert!(refusal(&object(&many)).contains(limit));
    // A list of pairs that becomes a dictionary, often.
    let pairs = [&b"]("[..], &b"NN\x86".repeat(10_000), b"e\x85q\x010"].concat();
    let often = b"ccollections\nOrderedDict\nh\x01R0".repeat(1000);
    assert!(refusal(&object(&[pairs, often].concat())).contains(limit));
    // A tensor that repeats one element.
    let huge = b"K\0\x8a\x06\0\0\0\0\0\x01\x85K\0\x85";
    let refused = refusal(&legacy(&dictionary(&tensor(1, huge)), &[1.0]));
    assert!(
        refused.starts_with("tensor a of [1099511627776], with those before it, needs 4398046511104 bytes"),
        "{refused}"
    );
    // Lists in lists, as deep as the pickle is long, are no recursion, and neither is one in itself.
    let deep = [&b"]".repeat(1 << 20)[..], &b"a".repeat((1 << 20) - 1)].concat();
    assert!(refusal(&object(&deep)).contains("it holds a list of 1, not a dictionary of tensors"));
    assert!(refusal(&object(b"}q\0X\x05\0\0\0modelh\0s")).contains("there are no tensors under the keys"));
}

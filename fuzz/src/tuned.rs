use octconv::{DeviceFacts, InputSize, Options, Spec, Tuned};

use crate::check;

/// The lines of a file of tuned choices, behind a first line that has their checksum, and the same bytes as they are.
pub fn tuned(data: &[u8]) {
    read(data);
    read(&sealed(data));
}

fn read(bytes: &[u8]) {
    let Some(tuned) = Tuned::from_bytes(bytes) else { return };
    assert_eq!(Tuned::from_bytes(&tuned.to_bytes()).as_ref(), Some(&tuned));
    let mut twice = tuned.clone();
    twice.merge(tuned.clone());
    assert_eq!((&twice, twice.len()), (&tuned, tuned.len()));
    let Some(choices) = tuned.choices(&check::device()) else { return };
    // A layer that the files of the corpus name. Whatever they choose for it, it can be planned.
    let spec = Spec::builder(16, 16).alpha(0.5, 0.5).kernel([3, 3]).same_padding().build().unwrap();
    let facts = DeviceFacts::default();
    let plan = choices.plan(&spec, InputSize::image(1, 12, 10), &Options::default(), &facts).unwrap();
    check::plan(&plan, &facts);
}

/// `body` behind the first line of such files: that of an empty one, with the length and the checksum of `body`.
fn sealed(body: &[u8]) -> Vec<u8> {
    let empty = String::from_utf8(Tuned::default().to_bytes()).unwrap();
    let kind = empty.trim_end().rsplitn(3, ' ').last().unwrap();
    let mut bytes = format!("{kind} {} {:08x}\n", body.len(), crc32fast::hash(body)).into_bytes();
    bytes.extend(body);
    bytes
}

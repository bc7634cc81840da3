//! Memory that several threads share, and who has touched what.

use super::arithmetic::Slot;

/// Who touches a scalar: a thread of a workgroup, between two barriers.
#[derive(Clone, Copy, Debug)]
pub struct By {
    pub workgroup: u32,
    pub thread: u32,
    /// How many barriers the workgroup has passed.
    pub barriers: u32,
}

const NOBODY: u32 = u32::MAX;
const SEVERAL: u32 = u32::MAX - 1;

/// Who has touched a scalar last, in a dispatch.
#[derive(Clone, Copy)]
pub struct Touched {
    writer: By,
    reader: By,
    /// Whether several workgroups have read it.
    read_widely: bool,
}

impl Touched {
    pub const NEVER: Self = {
        let nobody = By { workgroup: NOBODY, thread: NOBODY, barriers: 0 };
        Self { writer: nobody, reader: nobody, read_widely: false }
    };

    pub fn is_written(&self) -> bool {
        self.writer.workgroup != NOBODY
    }

    /// Whom a read races with.
    pub fn read(&mut self, by: By) -> Option<String> {
        let races = self.is_written() && race(self.writer, by);
        let Self { reader, .. } = self;
        self.read_widely |= reader.workgroup != NOBODY && reader.workgroup != by.workgroup;
        let same = reader.workgroup == by.workgroup && reader.barriers == by.barriers;
        *reader = if same && reader.thread != by.thread { By { thread: SEVERAL, ..by } } else { by };
        races.then(|| format!("{} reads what {} writes", name(by), name(self.writer)))
    }

    pub fn write(&mut self, by: By) -> Option<String> {
        let Self { writer, reader, read_widely } = *self;
        self.writer = by;
        if writer.workgroup != NOBODY && race(writer, by) {
            return Some(format!("{} and {} write it", name(by), name(writer)));
        }
        let read = reader.workgroup != NOBODY && (read_widely || race(reader, by));
        read.then(|| format!("{} writes what {} reads", name(by), name(reader)))
    }
}

/// Whether nothing orders what these two do.
fn race(a: By, b: By) -> bool {
    a.workgroup != b.workgroup || (a.barriers == b.barriers && a.thread != b.thread)
}

fn name(by: By) -> String {
    let thread = match by.thread {
        SEVERAL => "several threads".into(),
        thread => format!("thread {thread}"),
    };
    format!("{thread} of workgroup {}", by.workgroup)
}

/// A buffer of a device.
#[derive(Clone)]
pub struct Buffer {
    pub bytes: Vec<u8>,
    /// Whether a byte has a value that somebody has written.
    pub known: Vec<bool>,
}

impl Buffer {
    /// One whose bytes the host has written.
    pub fn set(bytes: Vec<u8>) -> Self {
        let known = vec![true; bytes.len()];
        Self { bytes, known }
    }

    /// One that nobody has written.
    pub fn unset(bytes: Vec<u8>) -> Self {
        let known = vec![false; bytes.len()];
        Self { bytes, known }
    }
}

/// A range of a buffer that is bound.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    pub number: u32,
    pub buffer: usize,
    pub offset: usize,
    pub bytes: usize,
}

/// What the threads of a dispatch share.
pub struct Shared<'a> {
    pub buffers: &'a mut [Buffer],
    /// Of each binding of the program.
    pub bound: Vec<Bound>,
    /// Of each binding that the kernel writes, for each unit of it.
    pub touched: Vec<Vec<Touched>>,
    pub workgroup: Vec<Slot>,
    pub touched_in_workgroup: Vec<Touched>,
}

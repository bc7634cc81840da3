//! A kernel as a list of simple steps on slots. WGSL has no recursion, so every value of every function has a slot of its own.

use naga::BuiltIn;

use super::arithmetic::{Binary, Math, Slot, Unary};
use super::layout::Kind;

/// The first slot of a value.
pub type At = u32;

pub enum Op {
    Copy {
        to: At,
        from: At,
        count: u32,
    },
    Fill {
        to: At,
        from: At,
        count: u32,
    },
    /// A step of 0 takes one scalar for all components.
    Binary {
        apply: Binary,
        to: At,
        operands: [At; 2],
        steps: [u32; 2],
        count: u32,
    },
    Unary {
        apply: Unary,
        to: At,
        from: At,
        count: u32,
    },
    Math {
        apply: Math,
        to: At,
        arguments: [At; 3],
        count: u32,
    },
    Dot {
        multiply: Binary,
        add: Binary,
        to: At,
        operands: [At; 2],
        count: u32,
    },
    Select {
        to: At,
        condition: At,
        step: u32,
        accept: At,
        reject: At,
        count: u32,
    },
    All {
        to: At,
        from: At,
        count: u32,
    },
    Any {
        to: At,
        from: At,
        count: u32,
    },
    Unpack {
        to: At,
        from: At,
    },
    Pack {
        to: At,
        from: At,
    },
    Load {
        to: At,
        place: usize,
    },
    Store {
        place: usize,
        from: At,
    },
    /// The place itself, for a function that takes a pointer.
    Point {
        to: At,
        place: usize,
    },
    Length {
        to: At,
        place: usize,
    },
    Jump(usize),
    JumpUnless {
        condition: At,
        to: usize,
    },
    Call(usize),
    Return,
    Barrier {
        workgroup: bool,
        storage: bool,
    },
    Matrix(Matrix),
}

/// What the threads of a subgroup do together. They all have the same operands.
#[derive(Clone, Copy)]
pub enum Matrix {
    Load { to: At, place: usize, stride: At, by_rows: bool, side: u32 },
    Store { from: At, place: usize, stride: At, by_rows: bool, side: u32 },
    MultiplyAdd { to: At, factors: [At; 2], added: At, side: u32, sums: Kind },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// Of a thread.
    Own,
    Workgroup,
    /// A binding of the program.
    Buffer(usize),
}

/// Where something lies, in slots, or in bytes of a buffer.
#[derive(Clone, Debug)]
pub struct Place {
    pub space: Space,
    pub first: u32,
    /// The slot that has a place to start from, if it is an argument.
    pub pointer: Option<At>,
    pub indices: Vec<Index>,
    /// What lies there: the first byte of each scalar, and its kind.
    pub scalars: Vec<(u32, Kind)>,
    pub slots: u32,
}

impl Place {
    /// Whether it is always the same slot of a thread. Most variables are.
    pub fn is_known(&self) -> bool {
        self.space == Space::Own && self.pointer.is_none() && self.indices.is_empty()
    }
}

#[derive(Clone, Debug)]
pub struct Index {
    pub at: At,
    pub step: u32,
    pub length: Length,
}

#[derive(Clone, Copy, Debug)]
pub enum Length {
    Fixed(u32),
    /// As many as the binding has from this byte on.
    Rest(u32),
}

/// A buffer that a kernel binds.
pub struct Binding {
    pub number: u32,
    pub name: String,
    pub written: bool,
    /// Bytes of its smallest scalar.
    pub unit: u32,
    /// The bytes that it has at least, and those of an element behind them.
    pub least: u32,
}

pub struct Program {
    pub ops: Vec<Op>,
    /// The line of each step.
    pub lines: Vec<u32>,
    pub places: Vec<Place>,
    pub entry: usize,
    /// What a thread has at the beginning.
    pub slots: Vec<Slot>,
    /// Those that it may change and that have a value at the beginning.
    pub private: Vec<std::ops::Range<usize>>,
    pub workgroup_slots: u32,
    pub bindings: Vec<Binding>,
    pub builtins: Vec<(BuiltIn, At)>,
    /// Threads of a workgroup.
    pub threads: u32,
    pub source: String,
}
